"""Which spec answers: vmlinux before modules, the program's own module before others, faults kept local."""

from __future__ import annotations

import gc
import lzma
import random
import weakref
from functools import cache
from pathlib import Path

import pytest

from ebpfpy import btf, core
from ebpfpy.core import RelocationKind as R
from ebpfpy.elf import load_collection_spec
from ebpfpy.errors import AmbiguousRelocationError, BtfError, InputError
from tests.unit.core.records import SIGNED, Records, relocation

KERNEL = Path(__file__).parents[3] / "testdata" / "btf" / "6.12.117+deb12-amd64"


@cache
def real(name: str) -> btf.Spec:
    """The BTF of a real kernel or module."""
    blob = lzma.decompress((KERNEL / f"{name}.btf.xz").read_bytes())
    return btf.Spec(blob, None if name == "vmlinux" else real("vmlinux"), name=name)


def question(members: list[str], name: str = "s") -> tuple[btf.Spec, int]:
    """A local struct of integers."""
    records = Records()
    number = records.int("int", 4, SIGNED)
    root = records.struct(name, 4 * len(members), [(member, number, 32 * at) for at, member in enumerate(members)])
    return records.spec("object"), root


def kernel(**structs: dict[str, int]) -> Records:
    """Records of a base with an int (id 1) and structs {member: offset in bytes}."""
    records = Records()
    records.int("int", 4, SIGNED)
    add(records, structs)
    return records


def add(records: Records, structs: dict[str, dict[str, int]]) -> list[int]:
    return [
        records.struct(name, 64, [(member, 1, 8 * offset) for member, offset in members.items()])
        for name, members in structs.items()
    ]


def module(base: Records, base_spec: btf.Spec, name: str, **structs: dict[str, int]) -> btf.Spec:
    records = Records(base=base)
    add(records, structs)
    return records.spec(name, base_spec)


def offsets(fixups: list[core.Fixup]) -> list[int | None]:
    return [fixup.target_value for fixup in fixups]


@pytest.fixture
def asked() -> list[core.Relocation]:
    spec, root = question(["a", "b"])
    return [relocation(spec, root, "0:0", R.BYTE_OFF), relocation(spec, root, "0:1", R.BYTE_OFF)]


def test_vmlinux_answers_before_any_module(asked):
    base = kernel(s={"a": 8, "b": 12})
    vmlinux = base.spec("vmlinux")
    shadow = module(base, vmlinux, "shadow", s={"a": 40, "b": 44})
    for specs in ([vmlinux, shadow], [shadow, vmlinux]):
        fixups = core.relocate(asked, specs, prefer_module="shadow")
        assert offsets(fixups) == [8, 12]
        assert [fixup.module for fixup in fixups] == [None, None]
    (rejected,) = [c for c in fixups[0].candidates if c.verdict != "chosen"]
    assert (rejected.spec, rejected.text) == (shadow, "[3] struct s.a (0:0 @ offset 40)")
    assert rejected.verdict == "comes after vmlinux, which answers as many; would give 40"


def test_the_attached_module_answers_instead_of_vmlinux_if_it_answers_more(asked):
    base = kernel(s={"a": 8})
    vmlinux = base.spec("vmlinux")
    own = module(base, vmlinux, "own", s={"a": 40, "b": 44})
    fixups = core.relocate(asked, [vmlinux, own], prefer_module="own")
    assert offsets(fixups) == [40, 44]
    assert ("vmlinux", "answers 1 of 2 relocations of this type, the chosen one 2") in [
        (c.spec.name, c.verdict) for c in fixups[0].candidates
    ]
    other = core.relocate(asked, [vmlinux, own])
    assert offsets(other) == [8, None], "a module that the program has nothing to do with does not"


def test_a_module_answers_where_the_namesake_in_vmlinux_does_not_match(asked):
    base = kernel(s={"z": 0})
    vmlinux = base.spec("vmlinux")
    own = module(base, vmlinux, "own", s={"a": 40, "b": 44})
    fixups = core.relocate(asked, [vmlinux, own])
    assert offsets(fixups) == [40, 44]
    assert [fixup.module for fixup in fixups] == ["own", "own"]
    assert ("vmlinux", "no member 'a'") in [(c.spec.name, c.verdict) for c in fixups[0].candidates]


def test_the_preferred_module_answers_before_the_others(asked):
    base = kernel()
    vmlinux = base.spec("vmlinux")
    one, two = (module(base, vmlinux, f"net_{n}", s={"a": at, "b": at + 4}) for n, at in (("one", 8), ("two", 16)))
    assert offsets(core.relocate(asked, [vmlinux, one, two], prefer_module="net_two")) == [16, 20]
    assert offsets(core.relocate(asked, [vmlinux, one, two], prefer_module="net-one")) == [8, 12]
    with pytest.raises(AmbiguousRelocationError):
        core.relocate(asked, [vmlinux, one, two])
    with pytest.raises(AmbiguousRelocationError):
        core.relocate(asked, [vmlinux, one, two], prefer_module="net_three")


def test_other_modules_answer_what_the_preferred_one_lacks(asked):
    base = kernel()
    vmlinux = base.spec("vmlinux")
    one, two = module(base, vmlinux, "one", s={"a": 8, "b": 12}), module(base, vmlinux, "two", other={"a": 0})
    fixups = core.relocate(asked, [vmlinux, one, two], prefer_module="two")
    assert [fixup.module for fixup in fixups] == ["one", "one"]


def test_modules_that_agree_are_not_ambiguous(asked):
    base = kernel()
    vmlinux = base.spec("vmlinux")
    modules = [module(base, vmlinux, name, s={"a": 8, "b": 12}) for name in ("one", "two")]
    fixups = core.relocate(asked, [vmlinux, *modules])
    assert offsets(fixups) == [8, 12]
    assert [c.verdict for c in fixups[0].candidates] == ["chosen", "agrees with the chosen one"]


def test_the_fallback_is_asked_only_for_what_is_nowhere_else(asked):
    base = kernel(s={"a": 8, "b": 12})
    vmlinux = base.spec("vmlinux")

    def forbidden() -> list[btf.Spec]:
        raise AssertionError("asked without need")

    assert offsets(core.relocate(asked, [vmlinux], fallback=forbidden)) == [8, 12]
    bare = kernel()
    bare_spec = bare.spec("vmlinux")
    calls = []

    def late() -> list[btf.Spec]:
        calls.append(1)
        return [module(bare, bare_spec, "late", s={"a": 16, "b": 20})]

    assert offsets(core.relocate(asked, [bare_spec], fallback=late)) == [16, 20]
    assert calls == [1]


# --- agreement ---------------------------------------------------------------------------------------


def test_all_relocations_of_a_type_follow_the_target_that_answers_most_in_any_order():
    spec, root = question(["a", "b", "c"])
    base = kernel(s={"a": 0, "b": 4}, s___new={"a": 8, "b": 12, "c": 16})
    asked = [relocation(spec, root, f"0:{index}", kind) for index in range(3) for kind in (R.BYTE_OFF, R.FIELD_EXISTS)]
    expected = {"0:0": 8, "0:1": 12, "0:2": 16}
    for seed in range(20):
        order = random.Random(seed).sample(asked, len(asked))
        fixups = core.relocate(order, [base.spec("vmlinux")])
        assert [f.relocation for f in fixups] == order
        for fixup in fixups:
            assert fixup.type_id == 3
            assert fixup.target_value == (1 if fixup.kind == R.FIELD_EXISTS else expected[fixup.relocation.access])
    loser = next(c for c in fixups[0].candidates if c.type_id == 2)
    assert loser.verdict in ("answers 4 of 6 relocations of this type, the chosen one 6", "no member 'c'")


def test_asking_the_same_twice_does_not_outvote():
    spec, root = question(["a", "b", "c"])
    base = kernel(s={"a": 0}, s___new={"b": 12, "c": 16})
    asked = [relocation(spec, root, "0:0", R.BYTE_OFF)] * 5
    asked += [relocation(spec, root, access, R.BYTE_OFF) for access in ("0:1", "0:2")]
    assert offsets(core.relocate(asked, [base.spec()])) == [None] * 5 + [12, 16]


def test_two_programs_may_follow_two_targets():
    spec, root = question(["a", "b"])
    relocator = core.Relocator([kernel(s={"a": 0}, s___new={"b": 12}).spec()])
    assert offsets(relocator.relocate([relocation(spec, root, "0:0", R.BYTE_OFF)])) == [0]
    assert offsets(relocator.relocate([relocation(spec, root, "0:1", R.BYTE_OFF)])) == [12]


# --- e1000 and e1000e ---------------------------------------------------------------------------------


@pytest.fixture
def adapter() -> list[core.Relocation]:
    records = Records()
    number = records.int("unsigned int", 4)
    device = records.pointer(records.struct("net_device", 0))
    root = records.struct("e1000_adapter", 16, [("netdev", device, 0), ("msg_enable", number, 64)])
    spec = records.spec("object")
    return [relocation(spec, root, "0:0", R.BYTE_OFF), relocation(spec, root, "0:1", R.BYTE_OFF)]


def offset_of(spec: btf.Spec, name: str) -> int:
    (member,) = [m for m in spec.type_by_name("e1000_adapter", btf.Struct).members if m.name == name]
    return member.offset_bits // 8


@pytest.mark.parametrize("driver", ["e1000", "e1000e"])
def test_a_probe_on_a_driver_gets_that_drivers_struct(adapter, driver):
    fixups = core.relocate(adapter, [real("vmlinux"), real("e1000"), real("e1000e")], prefer_module=driver)
    own = real(driver)
    assert offsets(fixups) == [offset_of(own, "netdev"), offset_of(own, "msg_enable")]
    assert {fixup.module for fixup in fixups} == {driver}
    assert {fixup.target_type for fixup in fixups} == {own.type_by_name("e1000_adapter", btf.Struct)}


def test_without_a_driver_both_structs_are_listed_and_neither_is_taken(adapter):
    with pytest.raises(AmbiguousRelocationError) as caught:
        core.relocate(adapter, [real("vmlinux"), real("e1000"), real("e1000e")])
    assert offset_of(real("e1000"), "netdev") != offset_of(real("e1000e"), "netdev")
    texts = caught.value.candidates
    for text, name in zip(texts, ("e1000", "e1000e"), strict=True):
        assert text.startswith(f"{name}: [")
        assert "struct e1000_adapter.netdev (0:" in text
        assert text.endswith(f"@ offset {offset_of(real(name), 'netdev')}) = {offset_of(real(name), 'netdev')}")
    assert all(text in str(caught.value) for text in texts)


def test_one_driver_alone_needs_no_preference(adapter):
    assert {f.module for f in core.relocate(adapter, [real("vmlinux"), real("e1000e")])} == {"e1000e"}


def test_the_type_id_of_a_modules_type_is_the_id_inside_the_module(adapter):
    asked = [adapter[0], relocation(adapter[0].spec, adapter[0].type_id, "0", R.TARGET_TYPE_ID)]
    fixup = core.relocate(asked, [real("vmlinux"), real("e1000e")])[1]
    own = real("e1000e")
    assert fixup.target_value == own.type_id(own.type_by_name("e1000_adapter", btf.Struct)) >= own.first_id
    assert fixup.module == "e1000e"


def test_the_type_id_of_the_kernels_type_names_no_module():
    records = Records()
    root = records.struct("task_struct", 0)
    asked = [relocation(records.spec(), root, "0", R.TARGET_TYPE_ID)]
    (fixup,) = core.relocate(asked, [real("vmlinux"), real("e1000e")], prefer_module="e1000e")
    vmlinux = real("vmlinux")
    assert fixup.target_value == vmlinux.type_id(vmlinux.type_by_name("task_struct", btf.Struct))
    assert fixup.module is None


# --- the same for whole objects -------------------------------------------------------------------------


@pytest.mark.parametrize("release", ["6.1.0-56-amd64", "6.12.117+deb12-amd64"])
def test_programs_of_one_object_on_two_drivers_get_two_layouts(release):
    directory = KERNEL.parent / release
    vmlinux = btf.load_spec(directory / "vmlinux.btf.xz")
    drivers = {name: btf.load_split_spec(directory / f"{name}.btf.xz", vmlinux) for name in ("e1000", "e1000e")}
    spec = load_collection_spec(KERNEL.parents[1] / "namesakes.bpf.o")
    del spec.programs["on_neither"], spec.programs["on_either"]
    report = spec.relocate([vmlinux, *drivers.values()])
    assert [function.name for function in report.functions] == ["on_e1000", "on_e1000e"]
    for function in report.functions:
        own = drivers[function.name.removeprefix("on_")]
        assert [fixup.module for fixup in function.fixups] == [own.name] * 3
        answers = {fixup.kind: fixup.target_value for fixup in function.fixups}
        assert answers[R.BYTE_OFF] == offset_of(own, "netdev")
        assert answers[R.TYPE_SIZE] == btf.sizeof(own.type_by_name("e1000_adapter", btf.Struct))


@pytest.mark.parametrize("program", ["on_neither", "on_either"])
def test_programs_on_neither_or_on_an_unnamed_driver_are_refused_with_both_listed(program):
    spec = load_collection_spec(KERNEL.parents[1] / "namesakes.bpf.o")
    spec.programs = {program: spec.programs[program]}
    with pytest.raises(AmbiguousRelocationError, match=rf"program {program}: .*fit equally well") as caught:
        spec.relocate([real("vmlinux"), real("e1000"), real("e1000e")])
    assert [text.partition(":")[0] for text in caught.value.candidates] == ["e1000", "e1000e"]
    assert "a program on a function of one of these modules gets that one's" in str(caught.value)


def written_module(base: btf.Spec, name: str, offsets: dict[str, int]) -> btf.Spec:
    """Split BTF by `btf.Builder`: struct driver with these members, and a function NAME_open that takes it."""
    builder = btf.Builder(base)
    number = base.type_by_name("int", btf.Int)
    driver = btf.Struct("driver", 64, tuple(btf.Member(each, number, 8 * at) for each, at in offsets.items()))
    proto = btf.FuncProto(btf.Void(), (btf.Param("driver", btf.Pointer(driver)),))
    builder.add(btf.Func(f"{name}_open", proto, 0))
    return builder.spec(name)


def test_two_modules_written_with_the_builder_are_told_apart():
    base_builder = btf.Builder()
    base_builder.add(btf.Int("int", 4, SIGNED))
    vmlinux = base_builder.spec("vmlinux")
    one = written_module(vmlinux, "one", {"a": 0, "b": 4})
    two = written_module(vmlinux, "two", {"b": 16, "a": 48})
    local, root = question(["a", "b"], "driver")
    asked = [relocation(local, root, f"0:{index}", R.BYTE_OFF) for index in range(2)]
    specs = [vmlinux, one, two]
    assert offsets(core.relocate(asked, specs, prefer_module="one")) == [0, 4]
    assert offsets(core.relocate(asked, specs, prefer_module="two")) == [48, 16]
    with pytest.raises(AmbiguousRelocationError) as caught:
        core.relocate(asked, specs)
    assert [text.partition(":")[0] for text in caught.value.candidates] == ["one", "two"]
    ids = [
        f.target_value
        for f in core.relocate([asked[0], relocation(local, root, "0", R.TARGET_TYPE_ID)], [vmlinux, two])
    ]
    assert ids[1] == two.type_id(two.type_by_name("driver", btf.Struct))


# --- faults stay local -----------------------------------------------------------------------------------


def broken_module(base: Records, base_spec: btf.Spec, how: str) -> btf.Spec:
    records = Records(base=base)
    if how == "truncated":
        records.add(4, "s", vlen=1000, value=8)
    elif how == "unknown kind":
        records.add(99, "s")
        records.struct("s", 8)
    elif how == "dangling member":
        records.struct("s", 64, [("a", 9999, 0), ("b", 9999, 32)])
    elif how == "bad string":
        records._words += [records.string("s"), 4 << 24 | 1, 8, 0xFFFFFF, 1, 0]
        records._count += 1
    return records.spec("broken", base_spec)


@pytest.mark.parametrize("how", ["truncated", "unknown kind", "dangling member", "bad string"])
def test_a_broken_module_is_left_out_with_a_warning(asked, how):
    base = kernel()
    vmlinux = base.spec("vmlinux")
    broken = broken_module(base, vmlinux, how)
    good = module(base, vmlinux, "good", s={"a": 8, "b": 12})
    for specs in ([vmlinux, broken, good], [vmlinux, good, broken]):
        fixups = core.relocate(asked, specs)
        assert offsets(fixups) == [8, 12]
        assert [fixup.module for fixup in fixups] == ["good", "good"]
        (warning,) = fixups[0].warnings
        assert warning.startswith("module broken is left out: ")
        assert "warning: module broken is left out" in fixups[0].explain()


@pytest.mark.parametrize("how", ["truncated", "unknown kind", "dangling member", "bad string"])
def test_what_only_a_broken_module_could_have_is_missing_with_a_warning(asked, how):
    base = kernel()
    vmlinux = base.spec("vmlinux")
    fixups = core.relocate(asked, [vmlinux, broken_module(base, vmlinux, how)], prefer_module="broken")
    assert all(fixup.poisoned and fixup.warnings for fixup in fixups)


@pytest.mark.parametrize("how", ["truncated", "unknown kind", "dangling member", "bad string"])
def test_a_broken_module_is_not_touched_by_what_vmlinux_answers(asked, how):
    base = kernel(s={"a": 8, "b": 12})
    vmlinux = base.spec("vmlinux")
    fixups = core.relocate(asked, [vmlinux, broken_module(base, vmlinux, how)])
    assert offsets(fixups) == [8, 12]
    assert fixups[0].warnings == ()
    assert "chosen from vmlinux" in fixups[0].explain()  # which looks at the broken one, and survives


def test_every_program_is_warned_of_a_broken_module(asked):
    base = kernel()
    vmlinux = base.spec("vmlinux")
    relocator = core.Relocator([vmlinux, broken_module(base, vmlinux, "truncated")])
    assert [len(relocator.relocate(asked)[0].warnings) for _ in range(3)] == [1, 1, 1]


def test_an_empty_module_changes_nothing(asked):
    base = kernel()
    vmlinux = base.spec("vmlinux")
    empty, good = module(base, vmlinux, "empty"), module(base, vmlinux, "good", s={"a": 8, "b": 12})
    assert offsets(core.relocate(asked, [vmlinux, empty, good], prefer_module="empty")) == [8, 12]


def test_a_broken_vmlinux_is_an_error(asked):
    records = kernel()
    records.add(99, "s")
    records.struct("s", 8)
    with pytest.raises(BtfError, match="unknown kind"):
        core.relocate(asked, [records.spec("vmlinux")])


def test_no_specs_at_all_poison_everything(asked):
    fixups = core.relocate(asked, [])
    assert offsets(fixups) == [None, None]
    assert fixups[0].reason == "there is no struct s: no kernel types were given"


def test_a_target_of_the_other_byte_order_is_refused(asked):
    with pytest.raises(InputError, match=r"object is little-endian, vmlinux big-endian"):
        core.relocate(asked, [Records("big").spec("vmlinux")])


def test_an_object_keeps_no_kernel_alive_that_it_was_relocated_against():
    local, kernel = Records(), Records()
    root = local.struct("s", 4, [("a", local.int("int", 4, SIGNED), 0)])
    kernel.struct("s", 4, [("a", kernel.int("int", 4, SIGNED), 0)])
    asked = [relocation(local.spec("object"), root, "0:0", R.BYTE_OFF)]
    target = kernel.spec("vmlinux")
    assert core.relocate(asked, [target])[0].target_value == 0
    gone = weakref.ref(target)
    del target
    gc.collect()

    assert gone() is None
