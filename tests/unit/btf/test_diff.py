"""What changed between two sets of types."""

import json
import subprocess
import sys
import time

import pytest

from ebpfpy import btf
from ebpfpy.btf import (
    Array,
    Builder,
    Change,
    Const,
    Enum,
    Enumerator,
    Float,
    Func,
    FuncProto,
    Int,
    Member,
    Param,
    Pointer,
    Struct,
    TypeChange,
    Typedef,
    Union,
)
from ebpfpy.errors import BtfError, TypeNotFoundError

INT = Int("int", 4, 1)
LONG = Int("long int", 8, 1)


def spec(*types, noise=0):
    """Types in a spec, and an int; `noise` shifts their ids."""
    builder = Builder()
    builder.add(INT)
    for index in range(noise):
        builder.add(Array(INT, INT, 1000 + index))
    builder.add_all(types)
    return builder.spec("test")


def changes(old, new):
    (changed,) = btf.diff(spec(old), spec(new, noise=3)).changed
    return list(changed.changes)


def test_equal_types_with_other_ids_are_no_difference():
    node = Struct("node", 16, (Member("next", Pointer(lambda: node)), Member("value", INT, 64)))
    found = btf.diff(spec(node), spec(node, noise=5))
    assert not found
    assert found.unchanged == 2


def test_types_that_one_side_has_are_added_or_removed():
    found = btf.diff(spec(Struct("old", 0), Typedef("both", INT)), spec(Union("new", 0), Typedef("both", INT)))
    assert found.added == (("union", "new"),)
    assert found.removed == (("struct", "old"),)
    assert found.changed == ()


def test_members_move_grow_come_and_go():
    old = Struct("s", 16, (Member("a", INT), Member("b", INT, 32), Member("gone", LONG, 64)))
    new = Struct("s", 24, (Member("a", LONG), Member("b", INT, 64), Member("fresh", Pointer(INT), 128)))
    assert changes(old, new) == [
        Change("size", "", 16, 24),
        Change("retyped", "a", "int", "long int"),
        Change("resized", "a", 4, 8),
        Change("moved", "b", 32, 64),
        Change("removed", "gone", "long int", None, 64),
        Change("added", "fresh", None, "int *", 128),
    ]


def test_a_bitfield_has_its_width():
    old = Struct("s", 4, (Member("a", INT, 0, 3), Member("b", INT, 3, 5)))
    new = Struct("s", 4, (Member("a", INT, 0, 4), Member("b", INT, 4, 5)))
    assert changes(old, new) == [Change("width", "a", 3, 4), Change("moved", "b", 3, 4)]


def test_members_of_unnamed_members_count_as_the_outer_ones():
    def make(offset):
        inner = Struct("", 8, (Member("x", INT, offset),))
        return Struct("s", 24, (Member("", inner), Member("in", inner, 64), Member("many", Array(inner, INT, 1), 128)))

    assert changes(make(0), make(32)) == [
        Change("moved", "x", 0, 32),
        Change("moved", "in.x", 64, 96),
        Change("moved", "many.x", 128, 160),
    ]


def test_a_change_is_told_where_it_was_made_and_nowhere_else():
    def make(size):
        inner = Struct("inner", size, (Member("x", INT),))
        return spec(Struct("outer", 64, (Member("p", Pointer(inner)), Member("q", Pointer(Const(inner)), 64))))

    found = btf.diff(make(4), make(8))
    assert found.changed == (TypeChange("struct", "inner", (Change("size", "", 4, 8),)),)


def test_a_member_whose_type_grew_is_resized():
    def make(size):
        return spec(Struct("outer", 64, (Member("in", Struct("inner", size)),)))

    outer = btf.diff(make(4), make(8), "outer")
    assert outer.changed[0].changes == (Change("resized", "in", 4, 8),)


def test_a_struct_that_became_a_union_is_another_type():
    found = btf.diff(spec(Struct("s", 4, (Member("a", INT),))), spec(Union("s", 4, (Member("a", INT),))))
    assert (found.removed, found.added, found.changed) == ((("struct", "s"),), (("union", "s"),), ())


def test_a_member_that_went_into_an_unnamed_union_stayed_where_it_is():
    old = Struct("s", 4, (Member("a", INT),))
    new = Struct("s", 4, (Member("", Union("", 4, (Member("a", INT), Member("b", INT)))),))
    assert changes(old, new) == [Change("added", "b", None, "int", 0)]


def test_a_member_that_became_a_bitfield_or_is_none_any_more_is_retyped():
    plain, bits = Struct("s", 4, (Member("a", INT),)), Struct("s", 4, (Member("a", INT, 0, 32),))
    assert changes(plain, bits) == [Change("retyped", "a", "int", "int:32")]
    assert changes(bits, plain) == [Change("retyped", "a", "int:32", "int")]


def unnamed(*offsets):
    return Struct("", 8, tuple(Member(f"m{index}", INT, offset) for index, offset in enumerate(offsets)))


BEHIND = {
    "a pointer": lambda of: Struct("s", 8, (Member("p", Pointer(of)),)),
    "pointers to arrays": lambda of: Struct("s", 8, (Member("p", Pointer(Array(Pointer(of), INT, 3))),)),
    "a parameter's pointer": lambda of: Struct("s", 8, (Member("f", Pointer(FuncProto(INT, (Param("", of),)))),)),
    "another one": lambda of: Struct("s", 8, (Member("p", Pointer(Struct("", 8, (Member("q", Pointer(of)),)))),)),
    "a typedef": lambda of: Typedef("t", of),
    "a typedef of a pointer": lambda of: Typedef("t", Pointer(of)),
    "a typedef of an array": lambda of: Typedef("t", Array(of, INT, 3)),
    "a result": lambda of: Func("f", FuncProto(Pointer(of)), 1),
    "a parameter": lambda of: Func("f", FuncProto(INT, (Param("x", Pointer(of)),)), 1),
}


@pytest.mark.parametrize("where", BEHIND)
@pytest.mark.parametrize(
    ("old", "new"),
    [
        (unnamed(0), unnamed(32)),
        (unnamed(0), unnamed(0, 32)),
        (unnamed(0), Union("", 8, (Member("m0", INT),))),
        (unnamed(0), Struct("", 12, (Member("m0", INT),))),
        (unnamed(*range(0, 640, 32)), unnamed(*range(0, 608, 32), 1024)),
        (Enum("", 4, (Enumerator("A", 1),)), Enum("", 4, (Enumerator("A", 2),))),
    ],
)
def test_what_has_no_name_differs_wherever_it_is(where, old, new):
    make = BEHIND[where]
    assert not btf.diff(spec(make(old)), spec(make(old), noise=3))
    (changed,) = btf.diff(spec(make(old)), spec(make(new))).changed
    assert changed.changes
    assert all(change.old != change.new for change in changed.changes)


def test_what_has_no_name_is_spelled_out_behind_a_pointer():
    old, new = (Struct("s", 8, (Member("p", Pointer(unnamed(*offsets))),)) for offsets in ((0,), (0, 32)))
    before = "struct {int m0 @ 0; 8 bytes} *"
    assert changes(old, new) == [Change("retyped", "p", before, "struct {int m0 @ 0; int m1 @ 4; 8 bytes} *")]


def test_what_takes_nothing_and_what_does_not_say_differ():
    old, new = Func("f", FuncProto(INT), 1), Func("f", FuncProto(INT, (Param("", btf.Void()),)), 1)
    assert changes(old, new) == [Change("prototype", "", "int (void)", "int ()")]


def test_unnamed_types_deep_in_one_another_take_no_deep_stack_and_no_endless_text():
    def deep(inner):
        for _ in range(3000):
            inner = Struct("", 8, (Member("p", Pointer(inner)), Member("q", Pointer(inner), 64)))
        return spec(Struct("s", 8, (Member("p", Pointer(inner)),)))

    assert not btf.diff(deep(unnamed(0)), deep(unnamed(0)))
    assert btf.diff(deep(unnamed(0)), deep(unnamed(32)))


def test_an_error_says_which_side_it_is_on():
    circle = Struct("s", 8, (Member("p", Pointer(Array(lambda: endless, INT, 1))),))
    endless = Struct("", 8, (Member("p", Pointer(lambda: endless)),))
    fine = spec(Struct("s", 8))
    for pair, side in (((spec(circle), fine), "old"), ((fine, spec(circle)), "new")):
        with pytest.raises(BtfError, match=f"the {side} types: .*itself"):
            btf.diff(*pair)


def test_order_alone_is_a_change():
    one, two = Member("a", INT), Member("b", INT)
    old, new = Union("u", 4, (one, two)), Union("u", 4, (two, one))
    assert changes(old, new) == [Change("order", "", "a, b", "b, a")]
    old, new = (Enum("e", 4, tuple(Enumerator(n, 0) for n in names)) for names in ("AB", "BA"))
    assert changes(old, new) == [Change("order", "", "A, B", "B, A")]


def test_negative_and_large_enumerators():
    old = Enum("e", 4, (Enumerator("A", -1),), True)
    new = Enum("e", 8, (Enumerator("A", 1 << 63),), False, True)
    assert changes(old, new) == [Change("size", "", 4, 8), Change("value", "A", -1, 1 << 63)]


def test_enumerators():
    old = Enum("e", 4, (Enumerator("A", 0), Enumerator("B", 1), Enumerator("C", 2)))
    new = Enum("e", 8, (Enumerator("A", 0), Enumerator("C", 3), Enumerator("D", 1 << 40)), False, True)
    assert changes(old, new) == [
        Change("size", "", 4, 8),
        Change("removed", "B", 1, None),
        Change("value", "C", 2, 3),
        Change("added", "D", None, 1 << 40),
    ]


def test_prototypes_without_the_names_of_parameters():
    old = Func("f", FuncProto(INT, (Param("a", INT),)), 1)
    same = Func("f", FuncProto(INT, (Param("b", INT),)), 0)
    new = Func("f", FuncProto(INT, (Param("a", INT), Param("flags", LONG))), 1)
    assert not btf.diff(spec(old), spec(same))
    assert changes(old, new) == [Change("prototype", "", "int (int a)", "int (int a, long int flags)")]
    other = Func("f", FuncProto(LONG, (Param("a", INT),)), 1)
    assert changes(old, other) == [Change("prototype", "", "int (int a)", "long int (int a)")]


def test_typedefs():
    assert changes(Typedef("t", INT), Typedef("t", LONG)) == [Change("target", "", "int", "long int")]
    old, new = (Typedef("t", Struct("", 8, (Member("x", INT, offset),))) for offset in (0, 32))
    assert changes(old, new) == [Change("moved", "x", 0, 32)]
    pointer = Typedef("t", Pointer(INT))
    assert changes(old, pointer) == [Change("target", "", "struct {...}", "int *")]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (Int("char", 1, 1), Int("char", 1), [Change("encoding", "", "signed", "unsigned")]),
        (Int("long", 4, 1), Int("long", 8, 1), [Change("size", "", 4, 8)]),
        (
            Int("flag", 4),
            Int("flag", 1, 4, 1, 3),
            [Change("size", "", 4, 1), Change("encoding", "", "unsigned", "bool, bits 3 to 4")],
        ),
        (Int("c", 1, 3), Int("c", 1, 8), [Change("encoding", "", "signed char", "encoding 0x8")]),
        (Float("double", 8), Float("double", 4), [Change("size", "", 8, 4)]),
    ],
    ids=lambda value: "" if isinstance(value, list) else f"{value.name} {value.size}",
)
def test_a_number_that_changed_is_told_once_where_it_was_made(old, new, expected):
    func = [Func("f", FuncProto(each, (Param("x", Pointer(each)),))) for each in (old, new)]
    assert changes(func[0], func[1]) == expected
    (told,) = btf.diff(spec(func[0]), spec(func[1]), old.name).changed
    assert (told.kind, told.name) == ("float" if isinstance(old, Float) else "int", old.name)


def test_numbers_come_and_go_as_other_types_do():
    found = btf.diff(spec(Typedef("t", INT)), spec(Typedef("t", LONG)))
    assert (found.added, found.removed) == ((("int", "long int"),), ())
    assert [each.name for each in found.changed] == ["t"]


def test_the_kernels_char_lost_its_sign_in_6_2(vmlinux, testdata):
    new = btf.load_spec(testdata / "btf/6.12.117+deb12-amd64/vmlinux.btf.xz")
    sign = TypeChange("int", "char", (Change("encoding", "", "signed", "unsigned"),))
    assert list(btf.diff(vmlinux, new, "char").changed) == [sign]


def test_types_of_one_name_are_paired_by_content_first():
    one, two, three = (Struct("s", size, (Member("x", INT),)) for size in (4, 8, 12))
    found = btf.diff(spec(one, two), spec(two, three))
    assert found.changed == (TypeChange("struct", "s", (Change("size", "", 4, 12),)),)
    assert found.unchanged == 2
    assert btf.diff(spec(one, two), spec(two)).removed == (("struct", "s"),)


def test_only_one_name_on_request():
    old, new = spec(Struct("a", 4), Struct("b", 4)), spec(Struct("a", 8), Struct("b", 8))
    assert [each.name for each in btf.diff(old, new, "a").changed] == ["a"]
    with pytest.raises(TypeNotFoundError):
        btf.diff(old, new, "c")


def test_two_kernels(vmlinux, testdata):
    new = btf.load_spec(testdata / "btf/6.12.117+deb12-amd64/vmlinux.btf.xz")
    found = btf.diff(vmlinux, new)
    assert len(found.added) > 5000
    assert len(found.changed) > 1000
    assert found.unchanged > 40_000
    page = next(each for each in found.changed if (each.kind, each.name) == ("struct", "kmem_cache"))
    assert page.changes
    assert not btf.diff(vmlinux, vmlinux)


def run(*words):
    return subprocess.run([sys.executable, "-m", "ebpfpy", "btf", "diff", *words], capture_output=True, text=True)  # noqa: PLW1510


def test_command_says_what_changed_and_exits_like_diff(kernel_dir, testdata):
    old, new = kernel_dir / "vmlinux.btf.xz", testdata / "btf/6.12.117+deb12-amd64/vmlinux.btf.xz"
    people = run(old, new, "--type", "sk_buff")
    assert people.returncode == 1
    assert "! struct sk_buff\n" in people.stdout
    assert "    ~ nf_trace: offset 128:4 -> 131:4\n" in people.stdout
    assert people.stdout.splitlines()[-1] == "vmlinux -> vmlinux: struct +0 -0 !1; 0 types are the same"
    programs = json.loads(run(old, new, "--type", "bpf_prog_type", "--json").stdout)
    change = {"what": "added", "member": "BPF_PROG_TYPE_NETFILTER", "old": None, "new": 32, "offset_bits": None}
    assert change in programs["changed"][0]["changes"]
    assert run(old, old, "--type", "sk_buff").returncode == 0
    missing = run(old, new, "--type", "no_such_type")
    assert missing.returncode == 2
    assert "no_such_type" in missing.stderr
    module = run(kernel_dir / "tun.btf.xz", old)
    assert module.returncode == 2
    assert "--base-a" in module.stderr


def test_what_doubles_at_every_level_is_refused_at_once_however_large_the_file_is():
    doubled = btf.Union("", 4, (btf.Member("x", INT),))
    for _ in range(30):
        doubled = btf.Union("", 4, (btf.Member("", doubled), btf.Member("", doubled)))
    many = btf.Enum("many", 4, tuple(btf.Enumerator("x", at) for at in range(200_000)))
    big = spec(many, btf.Struct("s", 4, (btf.Member("u", doubled),)))
    started = time.process_time()
    with pytest.raises(BtfError, match="too many members"):
        btf.diff(big, big, "s")
    with pytest.raises(BtfError, match="proportion"):
        "".join(btf.format_header(big))
    assert time.process_time() - started < 3
