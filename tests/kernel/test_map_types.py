"""Every type of map that the running kernel has: made, described, shown and closed; and why some are refused."""

import mmap

import pytest

import ebpfpy
from ebpfpy import btf, features
from ebpfpy.errors import ClosedError, InputError, KernelError, UnsupportedError
from ebpfpy.loader import create_map
from ebpfpy.loader.objectbtf import ObjectTypes
from ebpfpy.sys import MapFlags, MapType
from tests.kernel.features import require_map_type

PLAIN = ebpfpy.MapSpec("plain", MapType.ARRAY, 4, 4, 1)
NO_PREALLOC = MapFlags.NO_PREALLOC
KEYLESS = {"key_size": 0, "max_entries": 8}
RING = {"key_size": 0, "value_size": 0, "max_entries": mmap.PAGESIZE}
STORAGE = {"max_entries": 0, "flags": NO_PREALLOC}
OF_CGROUPS = {"key_size": 16, "max_entries": 0}
SHAPES = {
    MapType.LPM_TRIE: {"key_size": 8, "flags": NO_PREALLOC},
    MapType.STACK_TRACE: {"value_size": 8},
    MapType.ARRAY_OF_MAPS: {"inner": PLAIN},
    MapType.HASH_OF_MAPS: {"inner": PLAIN},
    MapType.CGROUP_STORAGE: OF_CGROUPS,
    MapType.PERCPU_CGROUP_STORAGE: OF_CGROUPS,
    MapType.QUEUE: KEYLESS,
    MapType.STACK: KEYLESS,
    MapType.BLOOM_FILTER: KEYLESS,
    MapType.RINGBUF: RING,
    MapType.USER_RINGBUF: RING,
    MapType.SK_STORAGE: STORAGE,
    MapType.INODE_STORAGE: STORAGE,
    MapType.TASK_STORAGE: STORAGE,
    MapType.CGRP_STORAGE: STORAGE,
    MapType.ARENA: {**RING, "max_entries": 2, "flags": MapFlags.MMAPABLE},
    MapType.INSN_ARRAY: {"value_size": 16},
    MapType.RHASH: {"flags": NO_PREALLOC},
}
TYPES = [kind for kind in MapType if kind not in (MapType.UNSPEC, MapType.STRUCT_OPS)]


@pytest.fixture(scope="module")
def types():
    """A number as BTF in the kernel: local storage has to say what it holds."""
    builder = btf.Builder()
    builder.add(btf.Int("int", 4, 1))
    spec = builder.spec("number")
    handle = btf.Handle.load(spec)
    yield ObjectTypes(handle, spec)
    handle.close()


def blueprint(kind, types, **changes):
    number = types.spec.type_by_name("int")
    fields = {"key_size": 4, "value_size": 4, "max_entries": 4, "key": number, "value": number}
    if kind.name.endswith("CGROUP_STORAGE"):
        fields["key"] = None
    return ebpfpy.MapSpec(name="conformance", type=kind, **{**fields, **SHAPES.get(kind, {}), **changes})


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.name)
def test_a_map_of_every_type_is_made_described_shown_and_closed(kind, types):
    support = features.have_map_type(kind)
    if not support:
        text = f"this kernel does not have map type {kind.name}: Linux {support.minimum} and newer have it"
        with pytest.raises(KernelError, match=text):
            create_map(blueprint(kind, types), types)
        return
    with create_map(blueprint(kind, types), types) as made:
        info = made.info
        assert info.type == made.type == kind
        assert info.key_size == made.spec.key_size
        assert info.value_size == made.spec.value_size
        assert info.max_entries == made.spec.max_entries
        assert info.name == "conformance"
        assert repr(made) == f"<Map conformance {kind.name} fd {made.fileno()}>"
    assert made.closed
    assert repr(made) == f"<Map conformance {kind.name} closed>"
    made.close()
    with pytest.raises(ClosedError):
        made.fileno()


def test_the_list_of_types_has_all_that_the_running_kernel_has():
    known = btf.load_kernel_spec().type_by_name("bpf_map_type", btf.Enum)
    names = {each.name.removeprefix("BPF_MAP_TYPE_") for each in known.enumerators if "MAX" not in each.name}
    tested = {kind.name for kind in MapType}
    assert {name.removesuffix("_DEPRECATED") for name in names} <= tested | {"INSN_ARRAY", "RHASH"}


@pytest.mark.parametrize("kind", [MapType.QUEUE, MapType.STACK])
def test_a_queue_gives_the_oldest_first_and_a_stack_the_newest(kind, types):
    with create_map(blueprint(kind, types), types) as made:
        assert (made.peek(), made.take()) == (None, None)
        for number in (1, 2, 3):
            made.push(number)
        order = [1, 2, 3] if kind == MapType.QUEUE else [3, 2, 1]
        assert made.peek() == order[0]
        assert [made.take() for _ in range(4)] == [*order, None]
        for number in range(8):
            made.push(number)
        with pytest.raises(KernelError, match="it is full"):
            made.push(8)
        made.push(8, flags=2)


def test_a_bloom_filter_is_asked_for_values_and_gives_none_back(types):
    require_map_type(MapType.BLOOM_FILTER)
    with create_map(blueprint(MapType.BLOOM_FILTER, types), types) as made:
        assert 0 not in made
        made.push(7)
        assert 7 in made
        assert not all(number in made for number in range(100, 140))
        for ask in (made.peek, made.take):
            with pytest.raises(UnsupportedError, match="ask it with `value in map`"):
                ask()
        with pytest.raises(InputError, match="must be an int"):
            "seven" in made  # noqa: B015


def test_a_map_with_keys_is_no_queue(types):
    with create_map(PLAIN, None) as made:
        for ask in (made.peek, made.take, lambda: made.push(1)):
            with pytest.raises(UnsupportedError, match="no queue, stack or Bloom filter"):
                ask()


@pytest.mark.parametrize(
    ("kind", "changes", "why"),
    [
        (MapType.HASH, {"max_entries": 0}, "max_entries is 0"),
        (MapType.ARRAY, {"key_size": 8}, "the keys of a ARRAY are 4 bytes, not 8"),
        (MapType.HASH, {"value_size": 0}, "value_size is 0"),
        (MapType.HASH, {"key_size": 0, "key": None, "value": None}, "key_size is 0"),
        (MapType.HASH, {"value_size": 1 << 31, "key": None, "value": None}, "value_size 2147483648"),
        (MapType.ARENA, {"value_size": 4}, "an ARENA has neither keys nor values"),
        (MapType.ARENA, {"map_extra": 12345}, "no multiple of a page: 0x3039"),
        (MapType.ARENA, {"max_entries": 1 << 31}, "an ARENA has 4 GiB at most, not 2147483648 pages"),
        (MapType.HASH, {"numa_node": 1023}, "this machine has no NUMA node 1023"),
        (MapType.HASH, {"map_extra": 1}, "map_extra of a HASH must be 0"),
        (MapType.HASH, {"flags": 1 << 31}, "flags 0x80000000 are not known"),
        (MapType.LPM_TRIE, {"flags": 0}, "LPM_TRIE needs the flag BPF_F_NO_PREALLOC"),
        (MapType.QUEUE, {"key_size": 4}, "a QUEUE has no keys, but key_size is 4"),
        (MapType.RINGBUF, {"key_size": 4}, "a RINGBUF has no keys, but key_size is 4"),
        (MapType.CGROUP_STORAGE, {"max_entries": 1}, "a CGROUP_STORAGE has no max_entries"),
        (MapType.PERCPU_ARRAY, {"value_size": 1 << 22, "key": None, "value": None}, "value_size 4194304"),
        (MapType.SK_STORAGE, {"max_entries": 5}, "a SK_STORAGE has no max_entries"),
        (MapType.SK_STORAGE, {"value": None, "key": None}, "a SK_STORAGE needs BTF types"),
    ],
    ids=str,
)
def test_a_map_that_is_refused_says_what_its_type_demands(kind, changes, why, types):
    if not features.have_map_type(kind):
        why = f"this kernel does not have map type {kind.name}"
    with pytest.raises(KernelError, match=why):
        create_map(blueprint(kind, types, **changes), types)


def test_a_map_of_a_type_that_no_kernel_has_is_refused_without_a_guess(types):
    with pytest.raises(KernelError, match="map conformance: BPF_MAP_CREATE"):
        create_map(blueprint(MapType.HASH, types, flags=1 << 30), types)
