"""Maps that the kernel does not make, for a reason that it does not tell: it is found by asking."""

import errno

import pytest

import ebpfpy
from ebpfpy import features
from ebpfpy.errors import KernelError
from ebpfpy.features.maps import _FLAGGED, shape_of
from ebpfpy.sys import MapFlags, MapType
from tests.kernel.blueprints import collection_of


def create(kind, **fields):
    numbers = shape_of(kind) | fields
    ebpfpy.Collection(collection_of(maps=[ebpfpy.MapSpec("wanted", kind, **numbers)])).close()


def refusal_of(kind, **fields):
    with pytest.raises(KernelError, match="map wanted: BPF_MAP_CREATE: ") as caught:
        create(kind, **fields)
    return str(caught.value)


# --- what the kernel lacks ----------------------------------------------------------------------------


@pytest.mark.parametrize("flag", _FLAGGED, ids=lambda flag: flag.name)
def test_a_flag_that_the_kernel_lacks_is_named_with_its_first_kernel(flag):
    support = features.have_map_flag(flag)
    shape = dict(_FLAGGED[flag])
    kind = shape.pop("type")
    shape["flags"] = shape.get("flags", 0) | flag
    if support:
        create(kind, **shape)
    elif features.have_map_type(kind):
        text = f"this kernel does not have map flag {flag.name}: Linux {support.minimum} and newer have it"
        assert text in refusal_of(kind, **shape)
    else:
        assert f"this kernel does not have map type {kind.name}" in refusal_of(kind, **shape)


# --- what the kernel has, and does not take -----------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "fields", "why"),
    [
        (MapType.STACK_TRACE, {"value_size": 5}, "value_size 5, but value_size 8"),
        (MapType.STACK_TRACE, {"key_size": 8}, "key_size 8, but key_size 4"),
        (
            MapType.STACK_TRACE,
            {"key_size": 8, "value_size": 5},
            "key_size 8 or value_size 5, but key_size 4, value_size 8",
        ),
        (MapType.LPM_TRIE, {"key_size": 3}, "key_size 3, but key_size 8"),
        (MapType.CPUMAP, {"max_entries": 100_000}, "max_entries 100000, but max_entries 1"),
        (MapType.DEVMAP, {"value_size": 5}, "value_size 5, but value_size 4"),
        (MapType.SOCKMAP, {"value_size": 16}, "value_size 16, but value_size 4"),
        (MapType.PROG_ARRAY, {"value_size": 8}, "value_size 8, but value_size 4"),
        (MapType.CGROUP_STORAGE, {"key_size": 3}, "key_size 3, but key_size 16"),
        (MapType.HASH, {"flags": MapFlags.MMAPABLE}, "the flag MMAPABLE"),
        (MapType.HASH, {"flags": MapFlags.LINK}, "the flag LINK"),
        (MapType.RINGBUF, {"flags": MapFlags.RDONLY_PROG}, "the flag RDONLY_PROG"),
        (MapType.PERCPU_ARRAY, {"numa_node": 0}, "numa_node 0"),
    ],
)
def test_what_a_type_does_not_take_is_found_by_asking(kind, fields, why):
    assert f"(map type {kind.name} cannot have {why})" in refusal_of(kind, **fields)


def test_an_lru_hash_that_is_not_preallocated_is_not_supported_and_the_flag_named():
    with pytest.raises(KernelError, match="LRU_HASH cannot have the flag NO_PREALLOC") as caught:
        create(MapType.LRU_HASH, flags=MapFlags.NO_PREALLOC)
    assert caught.value.errno_name == "ENOTSUPP"


def test_what_is_taken_by_itself_and_refused_together_is_said():
    text = "(map type ARRAY can have the flag RDONLY and the flag WRONLY each by itself, but not together)"
    assert text in refusal_of(MapType.ARRAY, flags=MapFlags.RDONLY | MapFlags.WRONLY)


def test_a_map_that_is_far_too_large_is_not_made_to_find_out():
    with pytest.raises(KernelError) as caught:
        create(MapType.HASH, max_entries=1 << 31)
    assert caught.value.errno in (errno.E2BIG, errno.ENOMEM)
    assert "2147483648 entries" in str(caught.value)
