"""Relocations that make no sense, whatever the target: a RelocationError that says which one, and why."""

from __future__ import annotations

import contextlib
import time

import pytest

from ebpfpy import core
from ebpfpy.btf import Kind
from ebpfpy.core import RelocationKind as R
from ebpfpy.elf import load_collection_spec, write_relocated
from ebpfpy.errors import AmbiguousRelocationError, EbpfError, KernelError, RelocationError
from tests.differential.objectwriter import MOV, Asked, object_file
from tests.unit.core.records import SIGNED, Records, relocation


class Local:
    def __init__(self) -> None:
        self.records = r = Records()
        self.int = r.int("int", 4, SIGNED)
        self.array = r.array(self.int, 4)
        self.struct = r.struct("s", 32, [("a", self.int, 0), ("list", self.array, 32)])
        self.enum = r.enum("e", [("A", 1), ("B", 2)])
        self.anonymous = r.struct("", 4, [("a", self.int, 0)])
        self.forward = r.forward("declared")
        self.typedef = r.typedef("loop", r.next_id + 1)
        r.typedef("pool", self.typedef)
        self.dangling = r.struct("dangling", 8, [("a", 9999, 0)])
        self.function = r.add(Kind.FUNC, "function", value=1)
        self.spec = r.spec("object")


@pytest.mark.parametrize(
    ("root", "access", "kind", "reason"),
    [
        ("struct", "", R.BYTE_OFF, "malformed access string ''"),
        ("struct", ":0", R.BYTE_OFF, "malformed access string ':0'"),
        ("struct", "0:", R.BYTE_OFF, "malformed access string '0:'"),
        ("struct", "0::1", R.BYTE_OFF, "malformed access string"),
        ("struct", "0:x", R.BYTE_OFF, "malformed access string '0:x'"),
        ("struct", "0:-1", R.BYTE_OFF, "malformed access string '0:-1'"),
        ("struct", "0: 1", R.BYTE_OFF, "malformed access string"),
        ("struct", "0:²", R.BYTE_OFF, "malformed access string"),
        ("struct", "0:99999999999", R.BYTE_OFF, "malformed access string"),
        ("struct", ":".join("0" * 65), R.BYTE_OFF, "access string with 65 steps, at most 64"),
        ("struct", "0:2", R.BYTE_OFF, "member 2 of 2"),
        ("struct", "0:1:4", R.BYTE_OFF, "element 4 of 4"),
        ("struct", "0:0:0", R.BYTE_OFF, "a step into something that is neither struct nor array"),
        ("struct", "0:1:0", R.SIGNED, "signed of an array element"),
        ("struct", "0", R.RSHIFT_U64, "rshift_u64 of an array element"),
        ("struct", "0:0", R.TYPE_EXISTS, "a relocation of a type has '0'"),
        ("struct", "1", R.TYPE_SIZE, "a relocation of a type has '0'"),
        ("struct", "0", R.ENUMVAL_VALUE, "no enum"),
        ("enum", "2", R.ENUMVAL_VALUE, "no index of the enum's 2 values"),
        ("enum", "0:0", R.ENUMVAL_EXISTS, "no index of the enum's 2 values"),
        ("anonymous", "0:0", R.BYTE_OFF, "no name"),
        ("anonymous", "0", R.TYPE_EXISTS, "no name"),
        ("forward", "0:0", R.BYTE_OFF, "no size"),
        ("forward", "0", R.TYPE_SIZE, "no size"),
        ("typedef", "0:0", R.BYTE_OFF, "cycle"),
        ("dangling", "0:0", R.BYTE_OFF, "no type has id 9999"),
        ("function", "0", R.BYTE_OFF, "no size"),
        ("struct", "0", 13, "relocation kind 13 is unknown"),
        ("struct", "0", 1 << 31, "relocation kind 2147483648 is unknown"),
    ],
)
def test_a_malformed_relocation_is_named_with_its_reason(root, access, kind, reason):
    local = Local()
    asked = core.Relocation(local.spec, getattr(local, root), access, kind, 12, "on_open", 7, "fentry/x")
    with pytest.raises(RelocationError) as caught:
        core.relocate([asked], [local.spec])
    error = caught.value
    assert reason in error.message
    assert (error.program, error.insn) == ("on_open", 7)
    assert f"[{getattr(local, root)}]" in error.relocation
    assert str(error).startswith("program on_open: instruction 7: ")


@pytest.mark.parametrize("type_id", [0, 9999, 0xFFFF_FFFF])
@pytest.mark.parametrize("kind", [R.BYTE_OFF, R.TYPE_EXISTS, R.TARGET_TYPE_ID, R.ENUMVAL_VALUE])
def test_a_type_id_that_is_nobodys_is_an_error(type_id, kind):
    local = Local()
    with pytest.raises(RelocationError, match=r"prog"):
        core.relocate([relocation(local.spec, type_id, "0", kind)], [local.spec])


def test_a_malformed_relocation_is_an_error_even_where_nothing_is_known_of_the_kernel():
    local = Local()
    with pytest.raises(RelocationError, match="member 9 of 2"):
        core.relocate([relocation(local.spec, local.struct, "0:9", R.FIELD_EXISTS)], [])


def test_64_steps_are_allowed():
    records = Records()
    inner = records.int("int", 4, SIGNED)
    for _ in range(63):
        inner = root = records.struct("deep", 4, [("a", inner, 0)])
    spec = records.spec()
    text = ":".join("0" * 64)
    (fixup,) = core.relocate([relocation(spec, root, text, R.BYTE_OFF)], [spec])
    assert fixup.local_value == 0


# --- objects whose relocations cannot be carried out --------------------------------------------------


def object_with(places: list[int], kind: int = R.BYTE_OFF, access: str = "0:0") -> bytes:
    """An object of four times `r0 = 0`, then `exit` at byte 32, with relocations at these byte offsets."""
    records = Records()
    root = records.struct("s", 4, [("a", records.int("int", 4, SIGNED), 0)])
    return object_file(records, [Asked(root, access, kind, MOV, 0)] * 3, places=places)


@pytest.mark.parametrize("place", [4, 1, 40, 48, 4096, 0xFFFF_FFF8])
def test_a_relocation_outside_the_code_or_between_instructions_is_an_error_of_the_file(place):
    with pytest.raises(EbpfError) as caught:
        load_collection_spec(object_with([place, 0, 8])).relocate([Local().spec])
    assert not isinstance(caught.value, KernelError)
    assert str(place) in str(caught.value) or str(place // 8) in str(caught.value)


def test_a_relocation_of_an_instruction_that_cannot_be_patched_names_program_instruction_and_relocation():
    spec = load_collection_spec(object_with([0, 8, 32]))  # the last one is exit
    program = spec.programs["prog"]
    before = program.code
    target = Records()
    target.struct("s", 8, [("a", target.int("int", 4, SIGNED), 32)])
    fixups = core.relocate(program.relocations, [target.spec("vmlinux")])
    assert [fixup.target_value for fixup in fixups] == [4, 4, 4]
    with pytest.raises(RelocationError) as caught:
        core.patch(program.code, fixups, "little")
    error = caught.value
    assert (error.program, error.insn) == ("prog", 4)
    assert error.relocation == "byte_off of [2] struct s.a (0:0 @ offset 0)"
    assert "opcode 0x95 cannot be relocated" in str(error)
    assert program.code == before, "what could be patched was not"


def test_an_object_is_written_whole_or_not_at_all():
    source = object_with([0, 8, 32])
    target = Records()
    target.struct("s", 8, [("a", target.int("int", 4, SIGNED), 32)])
    report = load_collection_spec(source).relocate([target.spec("vmlinux")])
    with pytest.raises(RelocationError, match="program prog: instruction 4"):
        write_relocated(source, report)


# --- bombs ------------------------------------------------------------------------------------------------


def deep(records: Records, depth: int, wrap: str) -> int:
    """An integer inside so many structs, arrays or typedefs."""
    inner = records.int("int", 4, SIGNED)
    for at in range(depth):
        if wrap == "struct":
            inner = records.struct("" if at < depth - 1 else "s", 4, [("" if at else "a", inner, 0)])
        elif wrap == "array":
            inner = records.array(inner, 1)
        else:
            inner = records.typedef("t", inner)
    return inner


@pytest.mark.parametrize("wrap", ["struct", "array", "typedef"])
@pytest.mark.parametrize("kind", [R.BYTE_OFF, R.TYPE_EXISTS, R.TYPE_SIZE, R.TYPE_MATCHES])
def test_types_nested_a_hundred_thousand_deep_end_in_an_answer_or_an_error_of_ours(wrap, kind):
    records = Records()
    inner = deep(records, 100_000, wrap)
    root = records.typedef("root", inner)
    spec = records.spec("object")
    with contextlib.suppress(EbpfError):
        (fixup,) = core.relocate([relocation(spec, root, "0", kind)], [spec])
        fixup.explain()


def test_a_struct_of_ten_thousand_members_is_searched_and_matched():
    local, target = Records(), Records()
    for side in (local, target):
        number = side.int("int", 4, SIGNED)
        members = [(f"m{at}", number, 32 * at) for at in range(10_000)]
        root = side.struct("s", 40_000, members if side is local else members[::-1])
    spec = local.spec()
    asked = [relocation(spec, root, f"0:{at}", R.BYTE_OFF) for at in range(0, 10_000, 10)]
    fixups = core.relocate([*asked, relocation(spec, root, "0", R.TYPE_MATCHES)], [target.spec()])
    assert [fixup.target_value for fixup in fixups[:3]] == [0, 40, 80]
    assert fixups[-1].target_value == 1


def doubling(records: Records, wrap: str, leaf: str) -> int:
    """Twenty levels, each of which has the one below it twice."""
    number = inner = records.int(leaf, 4, SIGNED)
    for at in range(20):
        if wrap == "function":
            inner = records.prototype(number, [inner, inner])
        elif wrap == "union":
            inner = records.union(f"u{at}", 4, [("a", inner, 0), ("b", inner, 0)])
        else:
            inner = records.union("", 4, [("" if at else leaf, inner, 0)] * 2)
    return inner


@pytest.mark.parametrize("wrap", ["function", "union", "unnamed union"])
@pytest.mark.parametrize("leaf", ["int", "long"])
@pytest.mark.parametrize("kind", [R.TYPE_EXISTS, R.TYPE_MATCHES])
def test_types_that_double_at_every_level_are_compared_at_once_and_to_the_end(wrap, leaf, kind):
    local, target = Records(), Records()
    root = local.typedef("root", doubling(local, wrap, "int"))
    for flavour in range(8):
        target.typedef(f"root___{flavour}", doubling(target, wrap, leaf))
    started = time.process_time()
    (fixup,) = core.relocate([relocation(local.spec(), root, "0", kind)], [target.spec()])
    assert fixup.target_value == (kind == R.TYPE_EXISTS or leaf == "int")
    assert time.process_time() - started < 1


@pytest.mark.parametrize("kind", [R.ENUMVAL_VALUE, R.BYTE_OFF])
def test_hundreds_of_missing_names_among_thousands_are_found_out_and_explained_in_time(kind):
    local, target = Records(), Records()
    for side, letter in ((local, "A"), (target, "B")):
        number = side.int("int", 4, SIGNED)
        names = [f"member_{letter}{at}" for at in range(5_000)]
        if kind == R.BYTE_OFF:
            root = side.struct("s", 4, [(name, number, 0) for name in names])
        else:
            root = side.enum("e", [(name, at) for at, name in enumerate(names)])
    spec, steps = local.spec(), "0:{}" if kind == R.BYTE_OFF else "{}"
    started = time.process_time()
    fixups = core.relocate([relocation(spec, root, steps.format(at), kind) for at in range(200)], [target.spec()])
    assert all(fixup.poisoned for fixup in fixups)
    assert time.process_time() - started < 1
    assert all("did you mean" in fixup.explain() for fixup in fixups[:20])
    assert time.process_time() - started < 2


def test_an_ambiguity_of_a_thousand_types_names_the_first_few_and_keeps_all():
    local, target = Records(), Records()
    number = local.int("int", 4, SIGNED)
    root = local.struct("s", 4, [("a", number, 0)])
    number = target.int("int", 4, SIGNED)
    for at in range(1_000):
        target.struct(f"s___{at}", 4 * at + 4, [("a", number, 32 * at)])
    with pytest.raises(AmbiguousRelocationError, match=r"1000 types fit .*___7\.a .*; \.\.\.") as caught:
        core.relocate([relocation(local.spec(), root, "0:0", R.BYTE_OFF)], [target.spec()])
    assert len(str(caught.value)) < 1_000
    assert len(caught.value.candidates) == 1_000
