"""An object's BTF before the kernel sees it: externs become what the kernel understands, ids stay."""

from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.elf import load_collection_spec
from ebpfpy.loader.objectbtf import kconfig_places, kernel_blob

TESTDATA = Path(__file__).parents[3] / "testdata"


@pytest.fixture(scope="module")
def types() -> btf.Spec:
    spec = load_collection_spec(TESTDATA / "supplied.bpf.o")
    assert spec.types is not None
    return spec.types


@pytest.fixture(scope="module")
def changed(types: btf.Spec) -> btf.Spec:
    return btf.Spec(kernel_blob(types))


def test_an_object_without_externs_is_loaded_as_it_is() -> None:
    types = load_collection_spec(TESTDATA / "demo.bpf.o").types
    assert types is not None
    assert kernel_blob(types) == bytes(types.raw)


def test_ids_stay_and_what_is_made_up_comes_last(types: btf.Spec, changed: btf.Spec) -> None:
    assert len(types) < len(changed) <= len(types) + 2
    for old, new in zip(types, changed, strict=False):
        assert (type(old), getattr(old, "name", None)) == (type(new), getattr(new, "name", None))


def test_kconfig_variables_are_laid_out_aligned_ascending_and_without_overlap(
    types: btf.Spec, changed: btf.Spec
) -> None:
    places = kconfig_places(types)
    section = changed.type_by_name(".kconfig", btf.Datasec)
    end = 0
    for entry in section.variables:
        assert isinstance(entry.var, btf.Var)
        assert (entry.offset, entry.size) == places[entry.var.name]
        assert entry.offset >= end
        assert entry.offset % btf.alignof(entry.var.type) == 0
        assert entry.var.linkage == 1
        end = entry.offset + entry.size
    assert section.size == end


def test_kconfig_variables_lie_as_libbpf_lays_them(types: btf.Spec) -> None:
    places = kconfig_places(types)
    order = sorted(places, key=lambda name: places[name].offset)
    ints = ["CONFIG_EBPFPY_NONE", "CONFIG_HZ", "CONFIG_NET", "LINUX_KERNEL_VERSION"]
    bytes_ = ["CONFIG_BPF_SYSCALL", "CONFIG_INET", "LINUX_HAS_BPF_COOKIE", "LINUX_HAS_SYSCALL_WRAPPER"]
    assert order == [*ints, *bytes_, "CONFIG_DEFAULT_HOSTNAME"]
    assert sum(place.size for place in places.values()) == 4 * 4 + 4 + 32


def test_ksyms_become_four_bytes_of_an_integer_variable_each(changed: btf.Spec) -> None:
    section = changed.type_by_name(".ksyms", btf.Datasec)
    assert section.size == 4 * len(section.variables)
    for number, entry in enumerate(section.variables):
        assert (entry.offset, entry.size) == (4 * number, 4)
        assert isinstance(entry.var, btf.Var)
        assert isinstance(entry.var.type, btf.Int)


def test_extern_functions_become_global(types: btf.Spec, changed: btf.Spec) -> None:
    name = "bpf_rcu_read_lock"
    assert types.type_by_name(name, btf.Func).linkage == 2
    assert changed.type_by_name(name, btf.Func).linkage == 1
