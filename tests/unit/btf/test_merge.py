"""Several modules in one blob with their kernel: nothing lost, nothing twice, and where each type comes from."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path

import pytest

import ebpfpy
from ebpfpy import btf
from ebpfpy.errors import BtfError, InputError, NotFoundError
from tests.unit.core.records import SIGNED, Records

TESTDATA = Path(__file__).parents[3] / "testdata"
KERNEL = TESTDATA / "btf" / "6.12.117+deb12-amd64"
MODULES = ("tun", "veth", "nf_conntrack")


@pytest.fixture(scope="module")
def vmlinux() -> btf.Spec:
    return btf.load_spec(KERNEL / "vmlinux.btf.xz")


@pytest.fixture(scope="module")
def modules(vmlinux: btf.Spec) -> list[btf.Spec]:
    return [btf.load_split_spec(KERNEL / f"{name}.btf.xz", vmlinux) for name in MODULES]


@pytest.fixture(scope="module")
def merged(modules: list[btf.Spec]) -> btf.MergedSpec:
    return btf.merge_splits(modules)


def test_the_kernels_types_come_first_and_unchanged(merged: btf.MergedSpec, vmlinux: btf.Spec) -> None:
    assert merged.base is None
    assert merged.name == "vmlinux"
    assert merged._words[: len(vmlinux._words)] == vmlinux._words
    assert len(vmlinux) < len(merged)


def test_every_type_of_every_module_is_there(merged: btf.MergedSpec, modules: list[btf.Spec]) -> None:
    before, after = [], []
    for index, module in enumerate(modules):
        for each in module:
            found = merged.type_by_id(merged.merged_id(index, module.type_id(each)))
            assert {module.name, "vmlinux"} & set(merged.origins(found))
            before.append(btf.Param("", each))
            after.append(btf.Param("", found))
    # all in one comparison: the graph behind most of them is the whole kernel
    assert btf.same_type(btf.FuncProto(btf.Void(), tuple(before)), btf.FuncProto(btf.Void(), tuple(after)))


def test_the_merged_blob_is_read_again_as_it_is(merged: btf.MergedSpec) -> None:
    again = btf.Spec(bytes(merged.raw))
    assert len(again) == len(merged)
    assert again.type_by_name("tun_file", btf.Struct).size == merged.type_by_name("tun_file", btf.Struct).size


def test_types_know_which_module_they_come_from(merged: btf.MergedSpec) -> None:
    assert merged.modules == MODULES
    assert merged.origins(merged.type_by_name("tun_file", btf.Struct)) == ("tun",)
    assert merged.origins(merged.type_by_name("veth_priv", btf.Struct)) == ("veth",)
    assert merged.origins(merged.type_by_name("task_struct", btf.Struct)) == ("vmlinux",)
    assert merged.origins(0) == ("vmlinux",)
    for outside in (-1, len(merged) + 1):
        with pytest.raises(NotFoundError):
            merged.origins(outside)
    for module, type_id in ((3, len(merged)), (-1, len(merged)), (0, len(merged) + 1), (0, -1)):
        with pytest.raises(NotFoundError):
            merged.merged_id(module, type_id)


@pytest.mark.parametrize(("program", "module"), [("tun", 0), ("veth", 1)])
def test_relocations_have_the_same_values_against_the_merged_blob(
    merged: btf.MergedSpec, vmlinux: btf.Spec, modules: list[btf.Spec], program: str, module: int
) -> None:
    spec = ebpfpy.load_collection_spec(TESTDATA / f"{program}.bpf.o")

    def values(kernel_types: list[btf.Spec]) -> list[tuple]:
        report = spec.relocate(kernel_types)
        return [
            (each.name, fixup.relocation.insn, fixup.kind, fixup.local_value, fixup.target_value, fixup.poisoned)
            for each in report.functions
            for fixup in each.fixups
        ]

    apart, together = values([vmlinux, modules[module]]), values([merged])
    assert apart
    assert not any(poisoned for *_, poisoned in apart)
    assert together == apart


def small() -> tuple[btf.Spec, btf.Spec, btf.Spec]:
    below = Records()
    number = below.int("int", 4, SIGNED)
    base = below.spec("kernel")
    specs = []
    for size in (4, 8):
        r = Records(base=below)
        shared = r.struct("shared", 4, [("a", number, 0)])
        r.struct("clash", size, [("p", r.pointer(shared), 0)])
        specs.append(r.spec(f"m{size}", base))
    return base, *specs


def test_shared_types_become_one_and_clashing_names_stay_apart() -> None:
    _, one, two = small()
    merged = btf.merge_splits([one, two], name="all")
    assert merged.name == "all"
    assert list(btf.dump_raw(merged)) == [
        "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED",
        "[2] STRUCT 'shared' size=4 vlen=1",
        "\t'a' type_id=1 bits_offset=0",
        "[3] PTR '(anon)' type_id=2",
        "[4] STRUCT 'clash' size=4 vlen=1",
        "\t'p' type_id=3 bits_offset=0",
        "[5] STRUCT 'clash' size=8 vlen=1",
        "\t'p' type_id=3 bits_offset=0",
    ]
    assert [merged.origins(i) for i in range(1, 6)] == [
        ("kernel",), ("m4", "m8"), ("m4", "m8"), ("m4",), ("m8",),
    ]  # fmt: skip
    assert merged.merged_id(1, 4) == 5
    assert merged.merged_id(1, 1) == 1


def test_a_merged_spec_survives_pickling_with_its_origins() -> None:
    _, one, two = small()
    merged = btf.merge_splits([one, two])
    for again in (pickle.loads(pickle.dumps(merged)), copy.deepcopy(merged)):
        assert again.origins(5) == ("m8",)
        assert again.raw == merged.raw


def test_equal_bases_need_not_be_one_object() -> None:
    base, one, two = small()
    other = btf.Spec(bytes(base.raw), name="kernel")
    assert len(btf.merge_splits([one, btf.Spec(bytes(two.raw), other)])) == 5


def test_what_cannot_be_merged_is_an_error_that_says_why() -> None:
    base, one, _ = small()
    with pytest.raises(InputError, match="no split BTF to merge"):
        btf.merge_splits([])
    with pytest.raises(InputError, match="kernel: it stands alone"):
        btf.merge_splits([base])
    with pytest.raises(InputError, match="its base is split BTF"):
        btf.merge_splits([btf.Builder(one).spec("second")])
    stranger = btf.Builder(btf.Builder().spec("other")).spec("stranger")
    with pytest.raises(InputError, match="stranger and m4 continue different bases"):
        btf.merge_splits([one, stranger])


def test_ids_and_names_beyond_a_module_do_not_reach_into_the_next_one() -> None:
    base, one, _ = small()
    r = Records()
    r._first, r._first_string = 2, base.strings_end
    r.pointer(3)
    with pytest.raises(BtfError, match="m: type 2 refers to type 3, but the last one is 2"):
        btf.merge_splits([r.spec("m", base), one])
    r = Records()
    r._first, r._first_string = 2, base.strings_end
    r._strings = bytearray()
    r._words, r._count = [base.strings_end + 1, 4 << 24, 4], 1
    with pytest.raises(BtfError, match="beyond the end"):
        btf.merge_splits([r.spec("m", base), one])
