"""All 19 kinds, written and read in either byte order."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

from ebpfpy import btf
from ebpfpy.errors import BtfError, MemberNotFoundError
from tests.strategies import raw_btf, structure

INT = btf.Int("int", 4, 1)
PROTO = btf.FuncProto(INT, (btf.Param("a", INT), btf.Param("", btf.Void())))
VAR = btf.Var("counter", INT, 1)
EVERY_KIND: list[btf.Type] = [
    INT,
    btf.Pointer(btf.Void()),
    btf.Array(INT, INT, 3),
    btf.Struct("s", 8, (btf.Member("a", INT, 0, 3), btf.Member("b", INT, 32))),
    btf.Union("u", 4, (btf.Member("a", INT), btf.Member("", btf.Struct("", 4, (btf.Member("b", INT),))))),
    btf.Enum("e", 4, (btf.Enumerator("MINUS", -1), btf.Enumerator("ONE", 1)), signed=True),
    btf.Fwd("f", union=True),
    btf.Typedef("t", INT),
    btf.Volatile(INT),
    btf.Const(INT),
    btf.Restrict(btf.Pointer(INT)),
    btf.Func("main", PROTO, 1),
    PROTO,
    VAR,
    btf.Datasec(".data", 4, (btf.VarSecinfo(VAR, 0, 4),)),
    btf.Float("double", 8),
    btf.DeclTag("tag", VAR, -1),
    btf.TypeTag("user", INT),
    btf.Enum("e64", 8, (btf.Enumerator("BIG", 1 << 63), btf.Enumerator("ONE", 1)), is64=True),
]
IDS = [t.kind.name for t in EVERY_KIND]


def test_the_list_has_every_kind() -> None:
    assert {t.kind for t in EVERY_KIND} == set(btf.Kind) - {btf.Kind.VOID}


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("of", EVERY_KIND, ids=IDS)
def test_each_kind_is_read_as_it_was_written(of: btf.Type, order: Any) -> None:
    builder = btf.Builder()
    assert builder.add(of) == 1
    back = btf.Spec(builder.marshal(order)).type_by_id(1)
    assert type(back) is type(of)
    assert back.kind is of.kind
    assert structure([back]) == structure([of])


@pytest.mark.parametrize("of", EVERY_KIND, ids=IDS)
def test_repr_is_one_short_line_with_the_class(of: btf.Type) -> None:
    assert repr(of).startswith(f"<{type(of).__name__}")
    assert "\n" not in repr(of)
    assert len(repr(of)) < 80


def test_attributes_read_back() -> None:
    builder = btf.Builder()
    builder.add_all(EVERY_KIND)
    spec = builder.spec("everything")
    s = spec.type_by_name("s", btf.Struct)
    assert [(m.name, m.offset_bits, m.bitfield_size, m.offset) for m in s.members] == [("a", 0, 3, 0), ("b", 32, 0, 4)]
    assert s.member("b").type is spec.type_by_name("int")
    for name, near in (("bb", "; near: b"), ("nothing", ""), (3, "")):
        with pytest.raises(MemberNotFoundError) as caught:
            s.member(name)  # type: ignore[arg-type]
        assert isinstance(caught.value, KeyError)
        assert str(caught.value) == f"{s!r} has no member {name!r}{near}"
    e = spec.type_by_name("e", btf.Enum)
    assert e.signed
    assert e.enumerators == (btf.Enumerator("MINUS", -1), btf.Enumerator("ONE", 1))
    e64 = spec.type_by_name("e64", btf.Enum)
    assert e64.is64
    assert e64.kind is btf.Kind.ENUM64
    assert e64.enumerators[0].value == 1 << 63
    tag = spec.type_by_name("tag", btf.DeclTag)
    assert tag.component == -1
    assert tag.target is spec.type_by_name("counter")
    section = spec.type_by_name(".data", btf.Datasec)
    assert section.variables[0].var is spec.type_by_name("counter")
    main = spec.type_by_name("main", btf.Func)
    assert main.linkage == 1
    proto = main.proto
    assert isinstance(proto, btf.FuncProto)
    assert [p.name for p in proto.params] == ["a", ""]
    assert isinstance(proto.params[1].type, btf.Void)
    assert spec.type_by_name("f", btf.Fwd).union
    assert spec.type_by_name("int", btf.Int).signed


@pytest.mark.parametrize("flag", [False, True])
def test_tags_remember_whether_they_are_bare_attributes(flag: bool) -> None:
    builder = btf.Builder()
    builder.add_all([btf.TypeTag("x", INT, flag), btf.DeclTag("y", VAR, 0, flag)])
    spec = builder.spec()
    assert spec.type_by_name("x", btf.TypeTag).attribute is flag
    assert spec.type_by_name("y", btf.DeclTag).attribute is flag


@pytest.mark.parametrize("order", ["little", "big"])
def test_legacy_bitfields_keep_their_bits_and_offset(order: Any) -> None:
    builder = btf.Builder()
    builder.add(btf.Int("unsigned int", 4, 0, 3, 5))
    of = btf.Spec(builder.marshal(order)).type_by_id(1)
    assert isinstance(of, btf.Int)
    assert (of.size, of.bits, of.bit_offset, of.signed) == (4, 3, 5, False)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize(
    ("is64", "signed", "values"),
    [
        (False, True, (-(1 << 31), -1, 0, (1 << 31) - 1)),
        (False, False, (0, 1 << 31, (1 << 32) - 1)),
        (True, True, (-(1 << 63), -(1 << 32), -1, (1 << 63) - 1)),
        (True, False, (0, 1 << 32, (1 << 64) - 1)),
    ],
)
def test_enumerators_have_the_sign_that_the_flag_says(is64: bool, signed: bool, values: Any, order: Any) -> None:
    builder = btf.Builder()
    body = tuple(btf.Enumerator(f"v{i}", value) for i, value in enumerate(values))
    builder.add(btf.Enum("e", 8 if is64 else 4, body, signed, is64))
    of = btf.Spec(builder.marshal(order)).type_by_id(1)
    assert isinstance(of, btf.Enum)
    assert tuple(each.value for each in of.enumerators) == values
    assert (of.signed, of.is64) == (signed, is64)


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("header_size", [24, 32])
def test_pointers_have_the_size_of_long(order: Any, header_size: int) -> None:
    pointer = btf.Pointer(btf.Void())
    builder = btf.Builder()
    builder.add_all([btf.Int("long", 4, 1), pointer, btf.Array(pointer, INT, 3)])
    spec = btf.Spec(builder.marshal(order, header_size=header_size))
    assert spec.pointer_size == 4
    assert btf.sizeof(spec.type_by_id(3)) == 12
    assert btf.alignof(spec.type_by_id(2)) == 4
    assert btf.decode(spec.type_by_id(2), (5).to_bytes(4, order)) == 5
    spec.pointer_size = 8
    assert btf.sizeof(spec.type_by_id(3)) == 24
    assert btf.decode(spec.type_by_id(2), (5).to_bytes(8, order)) == 5


@pytest.mark.parametrize("of", [*EVERY_KIND, EVERY_KIND[3].members[0], PROTO.params[0], btf.Enumerator("A", 1)])  # type: ignore[attr-defined]
def test_nothing_of_a_type_can_be_changed(of: Any) -> None:
    builder = btf.Builder()
    builder.add_all(EVERY_KIND)
    for each in (of, *builder.spec()):
        for name in each.__match_args__:
            with pytest.raises(AttributeError, match="cannot be changed"):
                setattr(each, name, 1)
            with pytest.raises(AttributeError, match="cannot be changed"):
                delattr(each, name)
    with pytest.raises(AttributeError):
        of.new = 1


def test_types_can_be_matched() -> None:
    match btf.Member("next", btf.Pointer(btf.Struct("node", 8))):
        case btf.Member(name, btf.Pointer(btf.Struct(target, size)), offset):
            assert (name, target, size, offset) == ("next", "node", 8, 0)
        case _:
            pytest.fail("no match")


def test_what_follows_a_record_is_read_when_asked_for() -> None:
    words = [1, 4 << 24 | 1, 4, 99, 0, 0, 3, 13 << 24 | 1, 0, 99, 0]
    spec = btf.Spec(raw_btf(words, b"\0s\0"))
    struct, proto = spec.type_by_id(1), spec.type_by_id(2)
    assert repr(struct) == "<Struct 's' size=4>"
    assert repr(proto) == "<FuncProto params=1>"
    with pytest.raises(BtfError, match="99"):
        _ = struct.members  # type: ignore[attr-defined]
    with pytest.raises(BtfError, match="99"):
        _ = proto.params  # type: ignore[attr-defined]


def test_equality_and_hash_are_identity() -> None:
    assert btf.Int("int", 4) != btf.Int("int", 4)
    assert len({INT, INT, btf.Int("int", 4, 1)}) == 2


def test_repr_of_cyclic_types_terminates() -> None:
    node = btf.Struct("node", 8, (btf.Member("next", btf.Pointer(lambda: node)),))
    loop = btf.Typedef("loop", lambda: loop)
    builder = btf.Builder()
    builder.add_all([node, loop])
    for of in (node, loop, *builder.spec()):
        assert len(repr(of)) < 100
    assert repr(builder.spec().type_by_name("node")) == "<Struct 'node' size=8>"


def test_copying_a_type_gives_the_type() -> None:
    assert copy.copy(INT) is INT
    assert copy.deepcopy([INT])[0] is INT


def test_a_pickled_type_takes_its_spec_along_and_stays_one_of_its_types() -> None:
    builder = btf.Builder()
    builder.add(EVERY_KIND[3])
    spec = builder.spec()
    spec2, of = pickle.loads(pickle.dumps((spec, spec.type_by_name("s"))))
    assert of is spec2.type_by_name("s")
    assert pickle.loads(pickle.dumps(btf.Int("x", 4))).name == "x"
