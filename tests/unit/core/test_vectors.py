"""What each kind of relocation answers, on little type graphs that show one rule each (little endian, 64 bit)."""

from __future__ import annotations

import pytest

from ebpfpy import core
from ebpfpy.btf.names import essential_name
from ebpfpy.core import RelocationKind as R
from ebpfpy.errors import AmbiguousRelocationError, RelocationError
from tests.unit.core.records import CHAR, SIGNED, Records, relocation

POISON = "poison"


class Side:
    """Records with the types that every vector needs."""

    def __init__(self) -> None:
        self.records = Records()
        self.int = self.records.int("int", 4, SIGNED)
        self.u32 = self.records.int("unsigned int", 4)
        self.long = self.records.int("long", 8, SIGNED)
        self.u64 = self.records.int("unsigned long", 8)
        self.char = self.records.int("char", 1, CHAR)
        self.pointer = self.records.pointer(0)


def fixup(local: Side, target: Side, root: int, access: str, kind: R) -> core.Fixup:
    (found,) = core.relocate(
        [relocation(local.records.spec("object"), root, access, kind)], [target.records.spec("vmlinux")]
    )
    return found


def value(local: Side, target: Side, root: int, access: str, kind: R) -> int | str:
    found = fixup(local, target, root, access, kind)
    return POISON if found.poisoned else found.target_value


@pytest.fixture
def local() -> Side:
    return Side()


@pytest.fixture
def target() -> Side:
    return Side()


class TestChangedStruct:
    """s1{int a@0; u32 b@4} -> s1{unsigned long b@0; long a@8}."""

    @pytest.fixture(autouse=True)
    def types(self, local, target):
        self.root = local.records.struct("s1", 8, [("a", local.int, 0), ("b", local.u32, 32)])
        target.records.struct("s1", 16, [("b", target.u64, 0), ("a", target.long, 64)])

    @pytest.mark.parametrize(
        ("access", "kind", "before", "after"),
        [
            ("0:0", R.BYTE_OFF, 0, 8),
            ("0:1", R.BYTE_OFF, 4, 0),
            ("0:1", R.BYTE_SZ, 4, 8),
            ("0:0", R.SIGNED, 1, 1),
            ("0:1", R.SIGNED, 0, 0),
            ("0:1", R.LSHIFT_U64, 32, 0),
            ("0:1", R.RSHIFT_U64, 32, 0),
            ("0:0", R.FIELD_EXISTS, 1, 1),
            ("0", R.TYPE_SIZE, 8, 16),
            ("0", R.TYPE_EXISTS, 1, 1),
            ("0", R.TYPE_MATCHES, 1, 0),
            ("3:0", R.BYTE_OFF, 24, 56),
        ],
    )
    def test_values_before_and_after(self, local, target, access, kind, before, after):
        found = fixup(local, target, self.root, access, kind)
        assert (found.local_value, found.target_value) == (before, after)

    def test_a_load_of_a_signed_field_cannot_change_its_size(self, local, target):
        found = fixup(local, target, self.root, "0:0", R.BYTE_OFF)
        assert "4 bytes in the object, 8 bytes in the kernel" in found.memory_size_reason
        assert not found.poisoned  # only a load or store is: pointer arithmetic is not

    def test_a_load_of_an_unsigned_field_changes_its_size(self, local, target):
        found = fixup(local, target, self.root, "0:1", R.BYTE_OFF)
        assert (found.memory_size_reason, found.local_size, found.target_size) == (None, 4, 8)


def test_a_struct_is_no_union(local, target):
    root = local.records.struct("s2", 4, [("a", local.int, 0)])
    target.records.union("s2", 4, [("a", target.int, 0)])
    assert value(local, target, root, "0:0", R.FIELD_EXISTS) == 0
    assert value(local, target, root, "0:0", R.BYTE_OFF) == POISON
    assert value(local, target, root, "0", R.TYPE_SIZE) == 0
    assert fixup(local, target, root, "0", R.TYPE_SIZE).candidates == ()


def test_an_integer_field_that_became_a_pointer_does_not_exist(local, target):
    root = local.records.struct("s3", 8, [("a", local.long, 0)])
    target.records.struct("s3", 8, [("a", target.pointer, 0)])
    assert value(local, target, root, "0:0", R.FIELD_EXISTS) == 0


def test_a_field_that_moved_into_an_anonymous_union_is_found(local, target):
    root = local.records.struct("s4", 8, [("x", local.int, 0), ("y", local.int, 32)])
    union = target.records.union("", 8, [("z", target.long, 0), ("y", target.int, 0)])
    target.records.struct("s4", 24, [("pad", target.long, 0), ("", union, 64), ("x", target.int, 128)])
    assert value(local, target, root, "0:1", R.BYTE_OFF) == 8
    assert value(local, target, root, "0:0", R.BYTE_OFF) == 16
    assert fixup(local, target, root, "0:1", R.BYTE_OFF).target == "[8] struct s4.y (0:1:1 @ offset 8)"


@pytest.mark.parametrize(
    ("access", "kind", "before", "after"),
    [
        ("0:0", R.BYTE_OFF, 0, 8),
        ("0:0", R.BYTE_SZ, 4, 8),
        ("0:0", R.LSHIFT_U64, 61, 31),
        ("0:0", R.RSHIFT_U64, 61, 61),
        ("0:1", R.BYTE_OFF, 0, 12),
        ("0:1", R.LSHIFT_U64, 56, 58),
        ("0:1", R.SIGNED, 1, 1),
    ],
)
def test_the_unit_of_a_bitfield_grows_until_the_field_fits(local, target, access, kind, before, after):
    root = local.records.struct("s5", 4, [("f", local.u32, 0, 3), ("g", local.int, 3, 5)])
    target.records.struct("s5", 16, [("p", target.u64, 0), ("f", target.u32, 94, 3), ("g", target.int, 97, 5)])
    found = fixup(local, target, root, access, kind)
    assert (found.local_value, found.target_value) == (before, after)


class TestShrunkArray:
    """s6{int a[4]} -> s6{int a[2]}."""

    @pytest.fixture(autouse=True)
    def types(self, local, target):
        self.root = local.records.struct("s6", 16, [("a", local.records.array(local.int, 4), 0)])
        target.records.struct("s6", 8, [("a", target.records.array(target.int, 2), 0)])

    @pytest.mark.parametrize(
        ("access", "kind", "after"),
        [
            ("0:0:1", R.BYTE_OFF, 4),
            ("0:0:3", R.BYTE_OFF, POISON),
            ("0:0:3", R.FIELD_EXISTS, 0),
            ("0:0", R.BYTE_SZ, 8),
            ("0:0:1", R.BYTE_SZ, 4),
            ("0:0", R.BYTE_OFF, 0),
        ],
    )
    def test_values(self, local, target, access, kind, after):
        assert value(local, target, self.root, access, kind) == after

    def test_an_element_beyond_the_local_array_is_an_error(self, local, target):
        with pytest.raises(RelocationError, match="element 4 of 4"):
            value(local, target, self.root, "0:0:4", R.BYTE_OFF)

    @pytest.mark.parametrize("kind", [R.SIGNED, R.LSHIFT_U64, R.RSHIFT_U64])
    def test_the_sign_of_an_element_is_an_error(self, local, target, kind):
        with pytest.raises(RelocationError, match=f"{kind.text} of an array element"):
            value(local, target, self.root, "0:0:1", kind)


def test_an_array_that_became_flexible_has_every_element(local, target):
    root = local.records.struct("s7", 20, [("n", local.int, 0), ("a", local.records.array(local.int, 4), 32)])
    target.records.struct("s7", 4, [("n", target.int, 0), ("a", target.records.array(target.int, 0), 32)])
    assert value(local, target, root, "0:1:3", R.BYTE_OFF) == 16


def test_an_empty_array_that_is_not_the_last_member_has_no_element(local, target):
    root = local.records.struct("s7", 20, [("n", local.int, 0), ("a", local.records.array(local.int, 4), 32)])
    target.records.struct("s7", 8, [("a", target.records.array(target.int, 0), 0), ("n", target.int, 32)])
    assert value(local, target, root, "0:1:3", R.BYTE_OFF) == POISON


class TestWiderEnum:
    """enum e1{A___x=1, B=2, C=3} -> enum64 e1{B=0x100000002, A=7}."""

    @pytest.fixture(autouse=True)
    def types(self, local, target):
        self.root = local.records.enum("e1", [("A___x", 1), ("B", 2), ("C", 3)])
        target.records.enum64("e1", [("B", 0x1_0000_0002), ("A", 7)])

    @pytest.mark.parametrize(
        ("access", "kind", "after"),
        [
            ("0", R.ENUMVAL_VALUE, 7),
            ("1", R.ENUMVAL_VALUE, 4294967298),
            ("2", R.ENUMVAL_VALUE, POISON),
            ("2", R.ENUMVAL_EXISTS, 0),
            ("1", R.ENUMVAL_EXISTS, 1),
            ("0", R.TYPE_SIZE, 8),
        ],
    )
    def test_values(self, local, target, access, kind, after):
        assert value(local, target, self.root, access, kind) == after


def test_values_of_a_32_bit_enum_are_sign_extended(local, target):
    root = local.records.enum("e", [("A", 0)])
    target.records.enum("e", [("A", -1)])
    assert value(local, target, root, "0", R.ENUMVAL_VALUE) == -1


def test_minus_one_of_an_enum_and_all_ones_of_an_enum64_agree(local, target):
    root = local.records.enum("e", [("A", 0)])
    target.records.enum("e", [("A", -1)], signed=True)
    target.records.enum64("e___wide", [("A", -1)], signed=True)
    assert value(local, target, root, "0", R.ENUMVAL_VALUE) == -1


class TestAmbiguous:
    """amb{int a@0; int b@4} -> amb{a@0, b@4} and amb___2{a@0, b@8}."""

    @pytest.fixture(autouse=True)
    def types(self, local, target):
        self.root = local.records.struct("amb", 8, [("a", local.int, 0), ("b", local.int, 32)])
        target.records.struct("amb", 8, [("a", target.int, 0), ("b", target.int, 32)])
        target.records.struct("amb___2", 16, [("a", target.int, 0), ("b", target.int, 64)])

    @pytest.mark.parametrize(
        ("access", "kind"),
        [("0:1", R.BYTE_OFF), ("0:1", R.FIELD_EXISTS), ("0:1", R.BYTE_SZ), ("0", R.TYPE_SIZE), ("0", R.TARGET_TYPE_ID)],
    )
    def test_candidates_that_differ_are_refused(self, local, target, access, kind):
        with pytest.raises(AmbiguousRelocationError) as caught:
            value(local, target, self.root, access, kind)
        assert len(caught.value.candidates) == 2
        assert all(text.startswith("vmlinux: [") for text in caught.value.candidates)

    @pytest.mark.parametrize(("access", "kind", "after"), [("0:0", R.BYTE_OFF, 0), ("0", R.TYPE_EXISTS, 1)])
    def test_candidates_that_agree_are_fine(self, local, target, access, kind, after):
        assert value(local, target, self.root, access, kind) == after


@pytest.mark.parametrize(
    ("access", "kind", "after"),
    [
        ("0:0", R.BYTE_OFF, POISON),
        ("0:0", R.BYTE_SZ, POISON),
        ("0:0", R.SIGNED, POISON),
        ("0:0", R.LSHIFT_U64, POISON),
        ("0:0", R.RSHIFT_U64, POISON),
        ("0:0", R.FIELD_EXISTS, 0),
        ("0", R.TYPE_EXISTS, 0),
        ("0", R.TYPE_MATCHES, 0),
        ("0", R.TYPE_SIZE, 0),
        ("0", R.TARGET_TYPE_ID, 0),
    ],
)
@pytest.mark.parametrize("declared", [False, True], ids=["missing", "only declared"])
def test_a_missing_type_is_poison_or_nothing(local, target, access, kind, after, declared):
    root = local.records.struct("gone", 4, [("a", local.int, 0)])
    if declared:
        target.records.forward("gone")
    assert value(local, target, root, access, kind) == after


def test_a_missing_enumerator_is_poison_and_does_not_exist(local, target):
    root = local.records.enum("gone", [("A", 1)])
    assert value(local, target, root, "0", R.ENUMVAL_VALUE) == POISON
    assert value(local, target, root, "0", R.ENUMVAL_EXISTS) == 0


def test_a_typedef_of_a_struct_is_no_typedef_of_an_integer(local, target):
    root = local.records.typedef("s1_t", local.records.struct("", 4, [("a", local.int, 0)]))
    target.records.typedef("s1_t", target.long)
    assert value(local, target, root, "0:0", R.FIELD_EXISTS) == 0
    assert value(local, target, root, "0", R.TYPE_EXISTS) == 0


@pytest.mark.parametrize("reverse", [False, True])
def test_two_half_matching_targets_are_ambiguous_in_either_order(local, target, reverse):
    root = local.records.struct("foo", 8, [("a", local.int, 0), ("b", local.int, 32)])
    target.records.struct("foo", 4, [("a", target.int, 0)])
    target.records.struct("foo___v2", 4, [("b", target.int, 0)])
    spec = local.records.spec()
    asked = [relocation(spec, root, access, R.FIELD_EXISTS) for access in ("0:0", "0:1")]
    with pytest.raises(AmbiguousRelocationError):
        core.relocate(asked[::-1] if reverse else asked, [target.records.spec()])


def test_the_local_type_id_stays_even_for_a_type_without_a_name(local, target):
    root = local.records.struct("", 4, [("a", local.int, 0)])
    assert value(local, target, root, "0", R.LOCAL_TYPE_ID) == root


def test_the_target_type_id_is_the_id_over_there(local, target):
    root = local.records.struct("s", 4, [("a", local.int, 0)])
    target.records.struct("other", 0)
    there = target.records.struct("s", 4, [("a", target.int, 0)])
    assert value(local, target, root, "0", R.TARGET_TYPE_ID) == there != root


@pytest.mark.parametrize(
    ("name", "essential"),
    [
        ("foo___bar", "foo"), ("foo____bar", "foo____bar"), ("foo___", "foo___"), ("___foo", "___foo"),
        ("foo__bar", "foo__bar"),
        ("a___b___c", "a___b"), ("foo___bar___", "foo"), ("f___b", "f"), ("", ""),
    ],
)  # fmt: skip
def test_the_essential_name(name, essential):
    assert essential_name(name) == essential


def test_flavours_of_one_type_are_candidates_for_each_other(local, target):
    root = local.records.struct("s___here", 4, [("a", local.int, 0)])
    target.records.struct("s___there", 8, [("a", target.int, 32)])
    assert value(local, target, root, "0:0", R.BYTE_OFF) == 4


def test_a_pointer_field_matches_any_pointer_and_may_change_its_size(local, target):
    root = local.records.struct("s", 8, [("p", local.records.pointer(local.int), 0)])
    target.records.struct("s", 8, [("p", target.records.pointer(target.char), 0)])
    found = fixup(local, target, root, "0:0", R.BYTE_OFF)
    assert (found.target_value, found.memory_size_reason) == (0, None)


@pytest.mark.parametrize("bitfield_side", ["local", "target"])
def test_a_load_of_what_is_a_bitfield_on_one_side_only_is_poisoned(local, target, bitfield_side):
    root = local.records.struct("s", 8, [("a", local.u32, 0, *([3] if bitfield_side == "local" else []))])
    target.records.struct("s", 8, [("a", target.u32, 32, *([3] if bitfield_side == "target" else []))])
    found = fixup(local, target, root, "0:0", R.BYTE_OFF)
    assert found.target_value == 4
    assert "a bitfield" in found.memory_size_reason


def test_a_namesake_of_another_type_inside_an_anonymous_member_does_not_end_the_search(local, target):
    root = local.records.struct("s", 8, [("a", local.int, 32)])
    inner = target.records.struct("", 16, [("a", target.pointer, 64)])
    target.records.struct("s", 24, [("", inner, 0), ("a", target.int, 128)])
    assert value(local, target, root, "0:0", R.BYTE_OFF) == 16


def test_the_first_namesake_of_a_struct_decides(local, target):
    root = local.records.struct("s", 8, [("a", local.int, 0)])
    target.records.struct("s", 16, [("a", target.pointer, 0), ("a", target.int, 64)])
    assert value(local, target, root, "0:0", R.BYTE_OFF) == POISON


class TestMatches:
    """type_matches: names and contents, but behind a pointer names and kinds only."""

    def matches(self, local, target, root) -> int:
        return value(local, target, root, "0", R.TYPE_MATCHES)

    def test_order_and_offset_do_not_count(self, local, target):
        root = local.records.struct("s", 8, [("a", local.int, 0), ("b", local.u32, 32)])
        target.records.struct("s", 24, [("b", target.u32, 64), ("c", target.long, 128), ("a", target.int, 0)])
        assert self.matches(local, target, root) == 1

    @pytest.mark.parametrize(("attribute", "expected"), [("int", 1), ("u32", 0), ("long", 0)])
    def test_size_and_sign_of_integers_count(self, local, target, attribute, expected):
        local_int = local.records.int("number", 4, SIGNED)
        root = local.records.struct("s", 8, [("a", local_int, 0)])
        size, encoding = {"int": (4, SIGNED), "u32": (4, 0), "long": (8, SIGNED)}[attribute]
        target.records.struct("s", 8, [("a", target.records.int("number", size, encoding), 0)])
        assert self.matches(local, target, root) == expected

    def test_the_contents_of_a_struct_behind_a_pointer_do_not_count(self, local, target):
        for side, member in ((local, "x"), (target, "y")):
            inner = side.records.struct("inner", 8, [(member, side.int, 0)])
            root = side.records.struct("s", 8, [("p", side.records.pointer(inner), 0)])
        assert self.matches(local, target, root) == 1

    @pytest.mark.parametrize(("union", "expected"), [(False, 1), (True, 0)])
    def test_a_declared_struct_behind_a_pointer_matches_a_struct(self, local, target, union, expected):
        inner = local.records.struct("inner", 8, [("x", local.int, 0)])
        root = local.records.struct("s", 8, [("p", local.records.pointer(inner), 0)])
        target.records.struct("s", 8, [("p", target.records.pointer(target.records.forward("inner", union=union)), 0)])
        assert self.matches(local, target, root) == expected

    @pytest.mark.parametrize(("count", "expected"), [(4, 1), (5, 0)])
    def test_the_number_of_elements_counts(self, local, target, count, expected):
        root = local.records.struct("s", 8, [("a", local.records.array(local.int, 4), 0)])
        target.records.struct("s", 8, [("a", target.records.array(target.int, count), 0)])
        assert self.matches(local, target, root) == expected

    def test_a_struct_with_two_anonymous_unions_matches_itself(self, local):
        unions = [local.records.union("", 8, [(name, local.long, 0)]) for name in ("x", "y")]
        root = local.records.struct("s", 16, [("", unions[0], 0), ("", unions[1], 64)])
        assert self.matches(local, local, root) == 1

    @pytest.mark.parametrize(
        ("there", "expected"), [([("B", 9), ("A", 8)], 1), ([("A", 1)], 0), ([("A", 1), ("C", 2)], 0)]
    )
    def test_every_local_enumerator_has_to_be_there_whatever_its_value(self, local, target, there, expected):
        root = local.records.enum("e", [("A", 1), ("B", 2)])
        target.records.enum("e", there)
        assert self.matches(local, target, root) == expected


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda s: s.records.prototype(s.int, [s.pointer, s.long]), 1),
        (lambda s: s.records.prototype(s.char, [s.pointer, s.u32]), 1),
        (lambda s: s.records.prototype(s.int, [s.pointer]), 0),
        (lambda s: s.records.prototype(s.int, [s.long, s.pointer]), 0),
        (lambda s: s.records.prototype(s.pointer, [s.pointer, s.long]), 0),
    ],
)
def test_function_types_are_alike_by_arity_and_kinds(local, target, make, expected):
    root = local.records.typedef(
        "f_t", local.records.pointer(local.records.prototype(local.int, [local.pointer, local.long]))
    )
    target.records.typedef("f_t", target.records.pointer(make(target)))
    assert value(local, target, root, "0", R.TYPE_EXISTS) == expected


def test_a_big_endian_target_shifts_from_the_other_end():
    local, target = Records("big"), Records("big")
    root = local.struct("s", 4, [("f", local.int("unsigned int", 4), 2, 3)])
    target.struct("s", 8, [("f", target.int("unsigned int", 4), 37, 3)])
    asked = [
        relocation(local.spec(), root, "0:0", kind) for kind in (R.BYTE_OFF, R.BYTE_SZ, R.LSHIFT_U64, R.RSHIFT_U64)
    ]
    assert [f.target_value for f in core.relocate(asked, [target.spec()])] == [4, 4, 32 + 5, 61]
