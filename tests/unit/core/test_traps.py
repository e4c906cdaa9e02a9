"""Twenty-three places where relocators went wrong, one test or more for each, by number.

Each was met in cilium/ebpf, aya or libbpf; what is right here is libbpf's answer, except where a test says otherwise.
"""

from __future__ import annotations

import lzma
import struct
from pathlib import Path

import pytest

from ebpfpy import btf, core
from ebpfpy.btf.names import essential_name
from ebpfpy.core import RelocationKind as R
from ebpfpy.elf import load_collection_spec
from ebpfpy.errors import AmbiguousRelocationError, BtfError, RelocationError
from tests.unit.core.records import CHAR, SIGNED, Records, relocation

TESTDATA = Path(__file__).parents[3] / "testdata"
POISON = (0x85, core.POISON_CALL)


def sides(order: str = "little") -> tuple[Records, Records]:
    """Records of an object and of a kernel; in both int is 1, unsigned int 2, long 3, void * 4, double 5."""
    found = Records(order), Records(order)
    for each in found:
        each.int("int", 4, SIGNED)
        each.int("unsigned int", 4)
        each.int("long", 8, SIGNED)
        each.pointer(0)
        each.float("double", 8)
    return found


INT, U32, LONG, POINTER, DOUBLE = 1, 2, 3, 4, 5


def solve(local: Records, target: Records, *asked: tuple[int, str, R]) -> list[int | None]:
    """The values for (root, access, kind), None for poison."""
    spec = local.spec("object")
    fixups = core.relocate([relocation(spec, *each) for each in asked], [target.spec("vmlinux")])
    return [fixup.target_value for fixup in fixups]


def one(local: Records, target: Records, root: int, access: str, kind: R) -> int | None:
    return solve(local, target, (root, access, kind))[0]


# --- 1-6: which type answers --------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["___slab_alloc", "___pskb_trim", "____fput", "____sys_recvmsg"])
def test_trap_01_a_name_that_begins_with_underscores_is_no_flavour(name):
    assert essential_name(name) == name
    local, target = sides()
    root = local.struct(name, 4, [("a", INT, 0)])
    target.struct(name, 8, [("a", INT, 32)])
    assert one(local, target, root, "0:0", R.BYTE_OFF) == 4


def test_trap_02_a_name_finds_itself_alone_and_the_relocator_every_flavour():
    local, target = sides()
    names = ["foo", "foo___a", "foo___b", "foo___c"]
    ids = [target.struct(name, 4, [("a", INT, 0)]) for name in names]
    spec = target.spec("vmlinux")
    assert [spec.type_id(each) for each in spec.any_types_by_name("foo")] == ids[:1]
    assert spec.type_by_name("foo", btf.Struct).name == "foo"
    root = local.struct("foo", 4, [("a", INT, 0)])
    (fixup,) = core.relocate([relocation(local.spec(), root, "0:0", R.BYTE_OFF)], [spec])
    assert [candidate.type_id for candidate in fixup.candidates] == ids


@pytest.mark.parametrize("other", ["typedef", "union", "function", "declaration"])
def test_trap_03_only_types_of_the_same_kind_are_candidates(other):
    local, target = sides()
    root = local.struct("s", 4, [("a", INT, 0)])
    if other == "typedef":
        target.typedef("s", target.struct("s_inner", 4, [("a", INT, 0)]))
    elif other == "union":
        target.union("s", 4, [("a", INT, 0)])
    elif other == "function":
        target.add(btf.Kind.FUNC, "s", value=target.prototype(0, []))
    else:
        target.forward("s")
    asked = [(root, "0:0", R.FIELD_EXISTS), (root, "0:0", R.BYTE_OFF), (root, "0", R.TYPE_EXISTS)]
    assert solve(local, target, *asked) == [0, None, 0]


def test_trap_03_an_enum_and_an_enum64_are_of_one_kind():
    local, target = sides()
    root = local.enum("e", [("A", 1)])
    target.enum64("e", [("A", 1 << 40)])
    assert one(local, target, root, "0", R.ENUMVAL_VALUE) == 1 << 40


def test_trap_04_all_relocations_of_a_type_follow_one_candidate_the_one_that_answers_most():
    local, target = sides()
    root = local.struct("s", 12, [("a", INT, 0), ("b", INT, 32), ("c", INT, 64)])
    target.struct("s", 4, [("a", INT, 0)])
    target.struct("s___2", 20, [("a", INT, 96), ("b", INT, 128)])
    asked = [(root, "0:0", R.BYTE_OFF), (root, "0:1", R.FIELD_EXISTS), (root, "0:2", R.FIELD_EXISTS)]
    assert solve(local, target, *asked) == [12, 1, 0]


def test_trap_04_candidates_that_answer_nothing_never_win_and_are_no_ambiguity():
    local, target = sides()
    root = local.struct("s", 4, [("a", INT, 0)])
    target.struct("s", 4, [("x", INT, 0)])
    target.struct("s___2", 8, [("y", INT, 0)])
    assert solve(local, target, (root, "0:0", R.BYTE_OFF), (root, "0:0", R.FIELD_EXISTS)) == [None, 0]


def test_trap_04_the_local_id_is_no_matter_of_the_candidates():
    local, target = sides()
    root = local.struct("s", 4, [("a", INT, 0)])
    for name in ("s", "s___2"):
        target.struct(name, 4, [("a", INT, 0)])
    assert solve(local, target, (root, "0", R.LOCAL_TYPE_ID), (root, "0:0", R.BYTE_OFF)) == [root, 0]


def test_trap_05_size_and_id_of_a_missing_type_are_0_and_no_poison():
    local, target = sides()
    root = local.struct("gone", 4, [("a", INT, 0)])
    assert solve(local, target, (root, "0", R.TYPE_SIZE), (root, "0", R.TARGET_TYPE_ID)) == [0, 0]


def test_trap_06_type_ids_that_a_linker_has_moved_are_not_held_against_the_instruction():
    program = load_collection_spec(TESTDATA / "core_linked.bpf.o").programs["type_local_id_of_typedef"]
    (asked,) = program.relocations
    assert int.from_bytes(program.code[4:8], "little") != asked.type_id
    patched = core.patch(program.code, core.relocate([asked], []), "little")
    assert int.from_bytes(patched[4:8], "little") == asked.type_id


# --- 7-9: loads and bit-fields ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mine", "theirs", "outcome"),
    [
        ((4, 0), (8, 0), 0x79), ((8, 0), (4, 0), 0x61), ((1, 0), (2, 0), 0x69), ((1, CHAR), (4, 0), 0x61),
        ((4, SIGNED), (8, SIGNED), 0x85), ((4, 0), (8, SIGNED), 0x85), ((4, SIGNED), (4, 0), 0x61),
    ],
)  # fmt: skip
def test_trap_07_a_load_follows_the_size_of_an_unsigned_field_and_is_poisoned_for_a_signed_one(mine, theirs, outcome):
    local, target = Records(), Records()
    root = local.struct("s", 8, [("a", local.int("x", *mine), 0)])
    target.struct("s", 16, [("a", target.int("x", *theirs), 64)])
    (fixup,) = core.relocate([relocation(local.spec(), root, "0:0", R.BYTE_OFF)], [target.spec()])
    load = {1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79}[mine[0]]
    patched = core.patch(struct.pack("<BBhi", load, 0x10, 0, 0), [fixup], "little")
    assert patched[0] == outcome


def test_trap_08_the_unit_of_a_bitfield_is_widened_until_the_field_fits():
    """6 bits at bit 30 of unsigned int: no 4-byte load holds them, an 8-byte load does."""
    local, target = sides()
    root = local.struct("s", 4, [("f", U32, 0, 6)])
    target.struct("s", 8, [("f", U32, 30, 6)])
    asked = [(root, "0:0", kind) for kind in (R.BYTE_OFF, R.BYTE_SZ, R.LSHIFT_U64, R.RSHIFT_U64)]
    assert solve(local, target, *asked) == [0, 8, 64 - 36, 58]


@pytest.mark.parametrize("became", [DOUBLE, POINTER, "struct"])
def test_trap_08_a_bitfield_that_became_no_integer_is_missing_and_breaks_nothing(became):
    local, target = sides()
    root = local.struct("s", 4, [("f", U32, 0, 6), ("b", INT, 32)])
    of = target.struct("inner", 8, [("x", INT, 0)]) if became == "struct" else became
    target.struct("s", 16, [("f", of, 0), ("b", INT, 64)])
    assert solve(local, target, (root, "0:0", R.BYTE_OFF), (root, "0:1", R.BYTE_OFF)) == [None, 8]


@pytest.mark.parametrize("of", [POINTER, DOUBLE, "struct"])
def test_trap_09_the_sign_of_what_is_no_integer_is_0(of):
    local, target = sides()
    for side in (local, target):
        kind = side.struct("inner", 8, [("x", INT, 0)]) if of == "struct" else of
        root = side.struct("s", 8, [("a", kind, 0)])
    assert one(local, target, root, "0:0", R.SIGNED) == 0


# --- 10-12: ways to a field ---------------------------------------------------------------------------


def test_trap_10_anonymous_members_on_either_side_are_looked_through_and_count_no_step():
    local, target = sides()
    inner = local.struct("", 8, [("x", INT, 0), ("y", INT, 32)])
    root = local.struct("s", 16, [("p", LONG, 0), ("", inner, 64)])
    deep = target.union("", 4, [("y", INT, 0)])
    middle = target.struct("", 12, [("q", LONG, 0), ("", deep, 64)])
    target.struct("s", 32, [("", middle, 96), ("x", INT, 0)])
    assert solve(local, target, (root, "0:1:0", R.BYTE_OFF), (root, "0:1:1", R.BYTE_OFF)) == [0, 12 + 8]


def test_trap_10_an_anonymous_struct_that_contains_itself_ends_the_search():
    local, target = sides()
    root = local.struct("s", 4, [("a", INT, 0)])
    target.struct("s", 8, [("", target.next_id, 0)])
    assert one(local, target, root, "0:0", R.FIELD_EXISTS) == 0


@pytest.mark.parametrize(
    ("mine", "theirs", "last", "value"),
    [
        (0, 0, True, 16),
        (4, 0, True, 16),
        (0, 4, True, 16),
        (0, 2, True, None),
        (4, 0, False, None),
        (1, 0, False, None),
    ],
)
def test_trap_11_a_flexible_array_has_every_element_where_it_is_the_last_member(mine, theirs, last, value):
    local, target = sides()
    root = local.struct("s", 4, [("n", INT, 0), ("a", local.array(INT, mine), 32)])
    array = target.array(INT, theirs)
    members = [("n", INT, 0), ("a", array, 32)]
    target.struct("s", 4, members if last else members[::-1])
    if mine == 1:  # element 3 of one is a mistake of the object's
        with pytest.raises(RelocationError, match="element 3 of 1"):
            one(local, target, root, "0:1:3", R.BYTE_OFF)
    else:
        assert one(local, target, root, "0:1:3", R.BYTE_OFF) == value


def test_trap_12_arrays_are_compared_by_their_elements_even_where_no_element_is_named():
    local, target = sides()
    root = local.struct("s", 8, [("a", local.array(INT, 2), 0), ("b", local.array(INT, 2, INT), 32)])
    target.struct("s", 32, [("a", target.array(POINTER, 2), 0), ("b", target.array(INT, 2, LONG), 128)])
    asked = [(root, access, R.FIELD_EXISTS) for access in ("0:0", "0:0:1", "0:1")]
    assert solve(local, target, *asked) == [0, 0, 1], "int is no pointer; the type of the index does not count"


# --- 13-15: types and enumerators -----------------------------------------------------------------------


def test_trap_13_types_are_compared_by_kinds_and_not_by_names_or_sizes():
    local, target = sides()
    mine = local.struct("one", 4, [("a", INT, 0)])
    root = local.typedef("f", local.pointer(local.prototype(INT, [local.pointer(mine), INT])))
    other = target.struct("two", 8, [("b", LONG, 0)])
    target.typedef("f", target.pointer(target.prototype(LONG, [target.pointer(other), LONG])))
    assert one(local, target, root, "0", R.TYPE_EXISTS) == 1


def test_trap_13_a_declaration_is_no_struct():
    local, target = sides()
    root = local.typedef("f", local.pointer(local.prototype(0, [local.pointer(local.forward("x"))])))
    target.typedef("f", target.pointer(target.prototype(0, [target.pointer(target.struct("x", 4))])))
    assert one(local, target, root, "0", R.TYPE_EXISTS) == 0


def test_trap_13_a_float_does_not_exist_as_a_type_and_breaks_nothing():
    local, target = sides()
    assert solve(local, target, (DOUBLE, "0", R.TYPE_EXISTS), (INT, "0", R.TYPE_EXISTS)) == [0, 1]


def test_trap_13_integers_with_a_bit_offset_compare_with_nothing():
    local, target = sides()
    root = local.typedef("t", INT)
    target.typedef("t", target.int("odd", 4, SIGNED, bit_offset=3, bits=5))
    assert one(local, target, root, "0", R.TYPE_EXISTS) == 0


def test_trap_14_behind_a_pointer_type_matches_looks_at_names_and_kinds_only():
    local, target = sides()
    for side, member in ((local, "x"), (target, "y")):
        inner = side.struct("inner", 4, [(member, INT, 0)])
        root = side.struct("s", 8, [("p", side.pointer(inner), 0)])
    assert one(local, target, root, "0", R.TYPE_MATCHES) == 1


def test_trap_14_a_struct_with_two_anonymous_unions_matches_itself():
    local, target = sides()
    for side in (local, target):
        unions = [side.union("", 8, [(name, LONG, 0)]) for name in ("x", "y")]
        root = side.struct("s", 16, [("", unions[0], 0), ("", unions[1], 64)])
    assert one(local, target, root, "0", R.TYPE_MATCHES) == 1


def test_trap_14_member_names_match_by_their_essential_names():
    local, target = sides()
    root = local.struct("s", 4, [("a___mine", INT, 0)])
    target.struct("s", 4, [("a", INT, 0)])
    assert one(local, target, root, "0", R.TYPE_MATCHES) == 1


def test_trap_15_minus_1_of_an_enum_without_a_sign_is_minus_1():
    local, target = sides()
    root = local.enum("e", [("A", 0)])
    target.enum("e", [("A", -1)], signed=False)
    assert one(local, target, root, "0", R.ENUMVAL_VALUE) == -1


def test_trap_15_a_big_value_is_cut_where_the_instruction_has_32_bits_and_whole_where_it_has_64():
    local, target = sides()
    root = local.enum("e", [("A", 5)])
    target.enum64("e", [("A", 0x1_8000_0002)])
    fixups = core.relocate([relocation(local.spec(), root, "0", R.ENUMVAL_VALUE)], [target.spec()])
    assert core.patch(struct.pack("<BBhi", 0xB7, 1, 0, 5), fixups, "little")[4:] == b"\x02\0\0\x80"
    wide = core.patch(struct.pack("<BBhiBBhi", 0x18, 1, 0, 5, 0, 0, 0, 0), fixups, "little")
    assert (wide[4:8], wide[12:16]) == (b"\x02\0\0\x80", b"\x01\0\0\0")


# --- 16-18: instructions, odd roots --------------------------------------------------------------------


def test_trap_16_poison_is_libbpfs_call_in_both_halves_and_names_the_field():
    local, target = sides()
    root = local.struct("gone", 4, [("a", INT, 0)])
    (fixup,) = core.relocate([relocation(local.spec(), root, "0:0", R.BYTE_OFF)], [target.spec("vmlinux")])
    patched = core.patch(struct.pack("<BBhiBBhi", 0x18, 1, 0, 0, 0, 0, 0, 0), [fixup], "little")
    halves = struct.unpack("<BBhiBBhi", patched)
    assert (halves[0], halves[3], halves[4], halves[7]) == POISON * 2
    assert "struct gone.a (0:0 @ offset 0)" in fixup.explain()


@pytest.mark.parametrize(
    ("opcode", "good"),
    [
        (0xB7, True), (0xB4, True), (0x07, True), (0x61, True), (0x63, True), (0x62, True),
        (0xBF, False), (0x0F, False), (0xD4, False), (0xDC, False), (0x85, False), (0x95, False), (0x05, False),
        (0x20, False), (0x40, False),
    ],
)  # fmt: skip
def test_trap_17_constants_loads_and_stores_can_be_relocated_and_nothing_else(opcode, good):
    local, target = sides()
    for side in (local, target):
        root = side.struct("s", 4, [("a", U32, 0)])
    (fixup,) = core.relocate([relocation(local.spec(), root, "0:0", R.BYTE_OFF)], [target.spec()])
    code = struct.pack("<BBhi", opcode, 0, 0, 0)
    if good:
        assert core.patch(code, [fixup], "little") == code
    else:
        with pytest.raises(RelocationError):
            core.patch(code, [fixup], "little")


def test_trap_18_a_type_without_a_name_can_only_be_asked_for_its_own_id():
    local, target = sides()
    root = local.struct("", 4, [("a", INT, 0)])
    target.struct("", 4, [("a", INT, 0)])
    assert one(local, target, root, "0", R.LOCAL_TYPE_ID) == root
    for access, kind in (("0:0", R.BYTE_OFF), ("0", R.TYPE_EXISTS), ("0", R.TARGET_TYPE_ID)):
        with pytest.raises(RelocationError, match="no name"):
            one(local, target, root, access, kind)


def test_trap_18_the_first_step_counts_in_the_size_that_the_type_has_on_each_side():
    local, target = sides()
    root = local.struct("s", 8, [("a", INT, 32)])
    target.struct("s", 24, [("a", INT, 64)])
    spec = local.spec()
    (fixup,) = core.relocate([relocation(spec, root, "3:0", R.BYTE_OFF)], [target.spec()])
    assert (fixup.local_value, fixup.target_value) == (3 * 8 + 4, 3 * 24 + 8)


# --- 19-23: formats and order ----------------------------------------------------------------------------


def test_trap_19_pointers_have_the_size_that_the_targets_long_has():
    local, target = sides()
    root = local.struct("s", 24, [("p", local.array(POINTER, 2), 0), ("x", INT, 128)])
    small = Records()
    long = small.int("long", 4, SIGNED)
    small.struct("s", 12, [("p", small.array(small.pointer(0), 2), 0), ("x", long, 64)])
    asked = [(root, "0:0", R.BYTE_SZ), (root, "0:0:1", R.BYTE_OFF), (root, "0:1", R.BYTE_OFF)]
    assert solve(local, small, *asked) == [8, 4, 8]
    target.struct("s", 24, [("p", target.array(POINTER, 2), 0), ("x", INT, 128)])
    assert solve(local, target, *asked) == [16, 8, 16]


def test_trap_20_btf_ext_of_an_old_compiler_has_no_relocations_and_longer_records_are_read():
    """u16 magic, u8 version, u8 flags, u32 length, functions at, length, lines at, length[, relocations at, length]."""
    local, _ = sides()
    section, access = local.string("raw_tp/x"), local.string("0")
    spec = local.spec()
    old = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 0)
    assert btf.parse_ext(old, spec).relocations == {}
    record = struct.pack("<IIIII", 8, INT, access, R.TYPE_SIZE, 0xFFFF)  # 4 bytes more than is known
    body = struct.pack("<III", 20, section, 1) + record
    new = struct.pack("<HBBIIIIIII", 0xEB9F, 1, 0, 32, 0, 0, 0, 0, 0, len(body)) + body
    (found,) = btf.parse_ext(new, spec).relocations["raw_tp/x"]
    assert tuple(found)[1:4] == (INT, access, R.TYPE_SIZE) or (found.type_id, found.kind) == (INT, R.TYPE_SIZE)


def test_trap_21_bitfields_of_the_old_kind_inside_the_integer_do_not_exist_for_a_field():
    """Before Linux 4.20 an integer type said where in itself the field was; libbpf does not compare those, nor we."""
    local, target = sides()
    root = local.struct("s", 4, [("a", INT, 0)])
    target.struct("s", 4, [("a", target.int("int", 4, SIGNED, bit_offset=3, bits=5), 0)])
    assert one(local, target, root, "0:0", R.FIELD_EXISTS) == 0


def test_trap_22_the_header_with_a_layout_section_is_read():
    number = btf.Int("int", 4, SIGNED)
    builder = btf.Builder()
    builder.add(btf.Struct("s", 8, (btf.Member("a", number, 32),)))
    target = btf.Spec(builder.marshal("little", header_size=32), name="vmlinux")
    local, _ = sides()
    root = local.struct("s", 4, [("a", INT, 0)])
    (fixup,) = core.relocate([relocation(local.spec(), root, "0:0", R.BYTE_OFF)], [target])
    assert fixup.target_value == 4


def test_trap_22_a_struct_may_have_more_members_than_16_bits_count():
    local, target = sides()
    root = local.struct("s", 4, [("a", INT, 0)])
    target.struct("s", 1 << 19, [(f"m{at}", INT, 32 * at) for at in range(66_000)] + [("a", INT, 32 * 66_000)])
    assert one(local, target, root, "0:0", R.BYTE_OFF) == 4 * 66_000


def test_trap_22_an_unknown_kind_is_an_error_that_says_so():
    local, target = sides()
    root = local.struct("s", 4, [("a", INT, 0)])
    target.add(99, "s")
    target.struct("s", 4, [("a", INT, 0)])
    with pytest.raises(BtfError, match=r"unknown kind .*99"):
        one(local, target, root, "0:0", R.BYTE_OFF)


def test_trap_23_of_several_errors_the_same_one_is_reported_every_time():
    directory = TESTDATA / "btf" / "6.12.117+deb12-amd64"
    names = ("vmlinux", "e1000", "e1000e")
    blobs = {name: lzma.decompress((directory / f"{name}.btf.xz").read_bytes()) for name in names}
    vmlinux = btf.Spec(blobs["vmlinux"], name="vmlinux")
    modules = [btf.Spec(blobs[name], vmlinux, name=name) for name in ("e1000", "e1000e")]
    program = load_collection_spec(TESTDATA / "namesakes.bpf.o").programs["on_neither"]
    texts = set()
    for _ in range(5):
        with pytest.raises(AmbiguousRelocationError) as caught:
            core.relocate(program.relocations, [vmlinux, *modules])
        texts.add(str(caught.value))
    assert len(texts) == 1


def test_every_trap_has_a_test():
    numbers = {int(name.split("_")[2]) for name in globals() if name.startswith("test_trap_")}
    assert numbers == set(range(1, 24))
