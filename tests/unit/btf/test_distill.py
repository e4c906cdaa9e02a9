"""Distilled bases: what they keep, what moves into the split, and that the way back leads home."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.errors import BtfError, InputError

KERNEL = Path(__file__).parents[3] / "testdata" / "btf" / "6.12.117+deb12-amd64"
INT = btf.Int("int", 4, 1)


@pytest.fixture(scope="module")
def vmlinux() -> btf.Spec:
    return btf.load_spec(KERNEL / "vmlinux.btf.xz")


def split_using(*lower: btf.Type) -> btf.Spec:
    """Split BTF with one struct that has a member of every one of the types; a base with those and others."""
    builder = btf.Builder()
    builder.add_all((btf.Struct("unused", 1), *lower, btf.Float("unused too", 8)))
    base = builder.spec("vmlinux")
    members = tuple(btf.Member(f"m{i}", base.type_by_id(2 + i), 64 * i) for i in range(len(lower)))
    upper = btf.Builder(base)
    upper.add(btf.Struct("mine", 8 * len(lower), members))
    return upper.spec("module")


def lines(spec: btf.Spec) -> list[str]:
    return list(btf.dump_raw(spec))


@pytest.mark.parametrize(
    ("of", "line"),
    [
        (INT, "[1] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED"),
        (btf.Float("double", 8), "[1] FLOAT 'double' size=8"),
        (btf.Fwd("f", True), "[1] FWD 'f' fwd_kind=union"),
        (btf.Struct("s", 8, (btf.Member("a", btf.Float("x", 8)),)), "[1] STRUCT 's' size=8 vlen=0"),
        (btf.Union("u", 8, (btf.Member("a", btf.Float("x", 8)),)), "[1] UNION 'u' size=8 vlen=0"),
        (btf.Enum("e", 4, (btf.Enumerator("E", -1),), True), "[1] ENUM 'e' encoding=UNSIGNED size=4 vlen=0"),
        (btf.Enum("e", 8, (btf.Enumerator("E", 1),), is64=True), "[1] ENUM 'e' encoding=UNSIGNED size=8 vlen=0"),
    ],
    ids=["int", "float", "fwd", "struct", "union", "enum", "enum64"],
)
def test_the_base_keeps_name_and_size(of: btf.Type, line: str) -> None:
    base, split = btf.distill_base(split_using(of))
    assert lines(base) == [line]
    assert lines(split) == ["[2] STRUCT 'mine' size=8 vlen=1", "\t'm0' type_id=1 bits_offset=0"]


@pytest.mark.parametrize(
    "of",
    [
        btf.Pointer(INT),
        btf.Typedef("t", INT),
        btf.Const(INT),
        btf.Volatile(INT),
        btf.Restrict(INT),
        btf.TypeTag("user", INT),
        btf.Array(INT, INT, 3),
        btf.FuncProto(INT, (btf.Param("p", INT),)),
        btf.Struct("", 4, (btf.Member("a", INT),)),
        btf.Union("", 4, (btf.Member("a", INT),)),
    ],
    ids=lambda of: of.kind.name,
)
def test_what_has_no_findable_name_moves_into_the_split(of: btf.Type) -> None:
    base, split = btf.distill_base(split_using(of))
    assert [t.name for t in base] == ["int"]
    first, second = split
    assert first.name == "mine"
    assert type(second) is type(of)
    assert first.members[0].type is second


def test_an_anonymous_enum_moves_with_its_values() -> None:
    of = btf.Enum("", 8, (btf.Enumerator("BIG", 1 << 40),), is64=True)
    base, split = btf.distill_base(split_using(of))
    assert len(base) == 0
    assert split.type_by_id(2).enumerators == of.enumerators
    assert split.type_by_id(2).is64


def test_members_of_named_structs_are_not_followed_those_of_anonymous_ones_are() -> None:
    hidden, seen = btf.Struct("hidden", 4), btf.Struct("seen", 4)
    named = btf.Struct("named", 4, (btf.Member("a", hidden),))
    base, _ = btf.distill_base(split_using(named, btf.Struct("", 4, (btf.Member("a", seen),))))
    assert sorted(t.name for t in base) == ["named", "seen"]


def test_own_types_keep_their_order_and_copies_follow() -> None:
    builder = btf.Builder()
    builder.add_all((btf.Typedef("t", INT), INT))
    base = builder.spec()
    upper = btf.Builder(base)
    upper.add_all((btf.Typedef("a", base.type_by_id(1)), btf.Struct("b", 4), btf.Func("c", btf.FuncProto(btf.Void()))))
    own = upper.spec("m")
    new_base, split = btf.distill_base(own)
    assert split.first_id == 2
    assert [(t.kind, getattr(t, "name", "")) for t in split] == [
        *((t.kind, getattr(t, "name", "")) for t in own),
        (btf.Kind.TYPEDEF, "t"),
    ]
    assert new_base.name == "m.base"
    assert btf.distill_base(upper.spec())[0].name == "distilled base"


def test_both_parts_can_be_written_and_read() -> None:
    base, split = btf.distill_base(split_using(btf.Pointer(INT)))
    again = btf.load_split_spec(bytes(split.raw), btf.load_spec(bytes(base.raw)))
    assert lines(again) == lines(split)


def test_big_endian_stays_big_endian() -> None:
    builder = btf.Builder()
    builder.add_all((btf.Float("unused", 8), INT))
    base = btf.Spec(builder.marshal("big"))
    upper = btf.Builder(base)
    upper.add(btf.Pointer(base.type_by_id(2)))
    new_base, split = btf.distill_base(upper.spec())
    assert new_base.byte_order == split.byte_order == "big"
    assert split.type_by_id(2).target.name == "int"


def test_the_pointer_size_is_kept_even_where_long_is_not() -> None:
    split = split_using(btf.Pointer(INT))
    split.pointer_size = 4
    _, distilled = btf.distill_base(split)
    assert distilled.pointer_size == 4


def test_split_on_split_gets_one_base_for_all_that_lies_below() -> None:
    lower = btf.Builder()
    lower.add_all((btf.Struct("unused", 1), btf.Struct("deep", 8)))
    vmlinux = lower.spec("vmlinux")
    middle = btf.Builder(vmlinux)
    middle.add_all((btf.Struct("unused too", 1), btf.Struct("shallow", 16)))
    module = middle.spec("module")
    top = btf.Builder(module)
    top.add_all((btf.Pointer(vmlinux.type_by_id(2)), btf.Pointer(module.type_by_id(4))))
    base, split = btf.distill_base(top.spec("top"))
    assert base.base is None
    assert [(t.name, t.size) for t in base] == [("deep", 8), ("shallow", 16)]
    assert [t.target.name for t in split] == ["deep", "shallow"]


def test_a_split_that_needs_nothing_gets_an_empty_base() -> None:
    builder = btf.Builder(btf.Builder().spec())
    builder.add(btf.Struct("mine", 8))
    base, split = btf.distill_base(builder.spec())
    assert len(base) == 0
    assert lines(split) == ["[1] STRUCT 'mine' size=8 vlen=0"]


def test_types_that_contain_each_other_end() -> None:
    loop: btf.Type = btf.Typedef("loop", btf.Pointer(btf.FuncProto(btf.Void(), (btf.Param("p", lambda: loop),))))
    base, split = btf.distill_base(split_using(loop))
    assert len(base) == 0
    assert [t.kind.name for t in split] == ["STRUCT", "TYPEDEF", "PTR", "FUNC_PROTO"]


# --- what cannot be distilled ---------------------------------------------------------------------


def test_a_spec_without_base_has_none_to_distil(vmlinux: btf.Spec) -> None:
    with pytest.raises(InputError, match="vmlinux stands alone"):
        btf.distill_base(vmlinux)


@pytest.mark.parametrize(
    "of",
    [
        btf.Func("f", btf.FuncProto(INT)),
        btf.Var("v", INT),
        btf.DeclTag("t", btf.Struct("s", 4)),
        btf.Datasec(".data", 4, (btf.VarSecinfo(btf.Var("v", INT), 0, 4),)),
    ],
    ids=lambda of: of.kind.name,
)
def test_a_split_that_refers_to_what_is_never_shared_is_an_error(of: btf.Type) -> None:
    with pytest.raises(BtfError, match=f"module: type [0-9]+ refers to the {of.kind.name} 2 of its base"):
        btf.distill_base(split_using(of))


def test_an_id_beyond_the_end_is_an_error() -> None:
    lower = btf.Builder()
    lower.add(INT)
    upper = btf.Builder(lower.spec())
    upper.add(btf.Pointer(btf.Pointer(btf.Void())))
    longer = bytes(upper.spec().raw)
    cut = longer.replace((24).to_bytes(4, "little"), (12).to_bytes(4, "little"))  # the length of its types
    with pytest.raises(BtfError, match="broken: type 2 refers to type 3, which does not exist"):
        btf.distill_base(btf.Spec(longer[:8] + cut[8:], lower.spec(), name="broken"))


# --- real data ------------------------------------------------------------------------------------


@pytest.mark.parametrize("module", ["tun", "loop", "veth", "nf_conntrack", "e1000", "e1000e", "ebpfpy_demo"])
def test_a_module_distilled_and_relocated_to_its_own_kernel_is_itself(vmlinux: btf.Spec, module: str) -> None:
    original = btf.load_split_spec(KERNEL / f"{module}.btf.xz", vmlinux)
    base, split = btf.distill_base(original)
    assert len(base.raw) < 4000
    home = btf.relocate_base(split, vmlinux)
    assert home.first_id == original.first_id
    copies = split_copies(original, home)
    for ours, theirs in zip(home, original, strict=False):
        ids = [copies.get(i, i) for i in references(home, ours)]
        assert (ours.kind, getattr(ours, "name", "")) == (theirs.kind, getattr(theirs, "name", ""))
        assert ids == references(original, theirs)
        assert getattr(ours, "size", None) == getattr(theirs, "size", None)


def references(spec: btf.Spec, of: btf.Type) -> list[int]:
    """The ids that a type refers to."""
    match of:
        case btf.Struct() | btf.Union():
            return [spec.type_id(member.type) for member in of.members]
        case btf.FuncProto():
            return [spec.type_id(t) for t in (of.result, *(param.type for param in of.params))]
        case btf.Func():
            return [spec.type_id(of.proto)]
        case btf.Array():
            return [spec.type_id(of.element), of.count]
        case btf.Var():
            return [spec.type_id(of.type)]
        case btf.Datasec():
            return [spec.type_id(place.var) for place in of.variables]
        case _:
            return [spec.type_id(of.target)] if hasattr(of, "target") else []


def split_copies(original: btf.Spec, home: btf.Spec) -> dict[int, int]:
    """Ids of the copies behind the own types -> ids of what they were copied from.

    A copy is only reached through a type that refers to it: the original there says what it was.
    """
    found: dict[int, int] = {}
    todo = list(zip(home, original, strict=False))
    first_copy = original.first_id + len(original)
    for ours, theirs in todo:
        for here, there in zip(references(home, ours), references(original, theirs), strict=True):
            if isinstance(ours, btf.Array) and here == ours.count:
                continue
            if here >= first_copy and here not in found:
                found[here] = there
                todo.append((home.type_by_id(here), original.type_by_id(there)))
    return found
