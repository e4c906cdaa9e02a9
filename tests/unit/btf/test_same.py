"""Structural equality, copying and pickling of type graphs that are cyclic, tangled or deep."""

from __future__ import annotations

import copy
import pickle

import pytest

from ebpfpy import btf

INT = btf.Int("int", 4, 1)
DEPTH = 50_000


def node(payload: btf.Type, name: str = "node") -> btf.Struct:
    made: list[btf.Struct] = []
    made.append(
        btf.Struct(name, 16, (btf.Member("next", btf.Pointer(lambda: made[0])), btf.Member("value", payload, 64)))
    )
    return made[0]


def ring(length: int, last: btf.Type = INT) -> btf.Struct:
    """`length` copies of one self-referring struct, each pointing at the next, the last at the first."""
    made: list[btf.Struct] = []
    for index in range(length):
        following = btf.Pointer(lambda index=index: made[(index + 1) % length])
        value = last if index == length - 1 else INT
        made.append(btf.Struct("node", 16, (btf.Member("next", following), btf.Member("value", value, 64))))
    return made[0]


def chain(length: int, end: btf.Type) -> btf.Type:
    for _ in range(length):
        end = btf.Pointer(end)
    return end


def test_structs_that_point_at_themselves_are_compared() -> None:
    assert btf.same_type(node(INT), node(btf.Int("int", 4, 1)))
    assert not btf.same_type(node(INT), node(btf.Int("int", 4)))
    assert not btf.same_type(node(INT), node(INT, "other"))


def test_rings_of_different_lengths_unroll_to_the_same_type() -> None:
    assert btf.same_type(ring(1), ring(7))
    assert btf.same_type(ring(6), ring(35))
    assert not btf.same_type(ring(6), ring(35, btf.Int("char", 1)))


def test_a_type_equals_itself_in_another_spec() -> None:
    builder = btf.Builder()
    builder.add(node(INT))
    one, other = builder.spec(), btf.Spec(builder.marshal("big"))
    for left, right in zip(one, other, strict=True):
        assert btf.same_type(left, right)
    assert not btf.same_type(one.type_by_id(1), one.type_by_id(2))


@pytest.mark.parametrize(
    ("left", "right"),
    [
        (INT, btf.Float("int", 4)),
        (btf.Int("x", 4, bits=3), btf.Int("x", 4, bits=4)),
        (btf.Int("x", 4, bits=3), btf.Int("x", 4, bits=3, bit_offset=1)),
        (btf.Pointer(INT), btf.Const(INT)),
        (btf.Volatile(INT), btf.Restrict(INT)),
        (btf.Pointer(INT), btf.Pointer(btf.Void())),
        (btf.Typedef("a", INT), btf.Typedef("b", INT)),
        (btf.Typedef("a", INT), btf.TypeTag("a", INT)),
        (btf.TypeTag("a", INT), btf.TypeTag("a", INT, True)),
        (btf.DeclTag("a", INT, 1), btf.DeclTag("a", INT, 2)),
        (btf.Array(INT, INT, 2), btf.Array(INT, INT, 3)),
        (btf.Array(INT, INT, 2), btf.Array(INT, btf.Int("long", 8, 1), 2)),
        (btf.Struct("s", 4), btf.Union("s", 4)),
        (btf.Struct("s", 4), btf.Fwd("s")),
        (btf.Struct("s", 4), btf.Struct("s", 8)),
        (btf.Struct("s", 4, (btf.Member("a", INT),)), btf.Struct("s", 4, (btf.Member("b", INT),))),
        (btf.Struct("s", 4, (btf.Member("a", INT),)), btf.Struct("s", 4, (btf.Member("a", INT, 8),))),
        (btf.Struct("s", 4, (btf.Member("a", INT),)), btf.Struct("s", 4, (btf.Member("a", INT, 0, 3),))),
        (btf.Struct("s", 4, (btf.Member("a", INT),)), btf.Struct("s", 4)),
        (btf.Fwd("s"), btf.Fwd("s", True)),
        (btf.Enum("e", 4), btf.Enum("e", 4, is64=True)),
        (btf.Enum("e", 4), btf.Enum("e", 4, signed=True)),
        (btf.Enum("e", 4, (btf.Enumerator("A", 1),)), btf.Enum("e", 4, (btf.Enumerator("A", 2),))),
        (btf.FuncProto(INT, (btf.Param("a", INT),)), btf.FuncProto(INT, (btf.Param("b", INT),))),
        (btf.FuncProto(INT, (btf.Param("a", INT),)), btf.FuncProto(INT)),
        (btf.Func("f", btf.FuncProto(INT)), btf.Func("f", btf.FuncProto(INT), 1)),
        (btf.Var("v", INT), btf.Var("v", INT, 1)),
        (btf.Datasec(".bss", 4, (btf.VarSecinfo(btf.Var("v", INT), 0, 4),)), btf.Datasec(".bss", 4)),
    ],
)  # fmt: skip
def test_any_difference_counts(left: btf.Type, right: btf.Type) -> None:
    assert not btf.same_type(left, right)
    assert not btf.same_type(right, left)
    assert btf.same_type(left, left)
    assert btf.same_type(left, pickle.loads(pickle.dumps(left)))


def test_depth_does_not_matter() -> None:
    left, right = chain(DEPTH, INT), chain(DEPTH, btf.Int("int", 4, 1))
    assert btf.same_type(left, right)
    assert not btf.same_type(left, chain(DEPTH, btf.Int("int", 8)))
    assert not btf.same_type(left, chain(DEPTH + 1, INT))


def test_deep_and_cyclic_graphs_are_pickled_and_come_back_equal() -> None:
    for graph in (chain(DEPTH, INT), node(INT), ring(1000)):
        assert btf.same_type(pickle.loads(pickle.dumps(graph)), graph)


def test_types_of_one_spec_stay_one_anothers_through_one_pickle() -> None:
    builder = btf.Builder()
    builder.add(node(INT))
    spec = builder.spec("x")
    struct, pointer = spec.type_by_id(1), spec.type_by_id(2)
    again, same, target, its = pickle.loads(pickle.dumps([struct, struct, pointer, spec]))
    assert again is same
    assert target.target is again
    assert its.type_by_id(1) is again
    assert again is not struct


def test_types_of_a_split_share_the_base_through_a_pickle() -> None:
    builder = btf.Builder()
    builder.add(INT)
    base = builder.spec("vmlinux")
    upper = btf.Builder(base)
    upper.add(btf.Pointer(base.type_by_id(1)))
    split = upper.spec("module")
    pointer, number = pickle.loads(pickle.dumps((split.type_by_id(2), base.type_by_id(1))))
    assert pointer.target is number
    assert pickle.loads(pickle.dumps(base.type_by_id(0))).spec is not None


def test_copies_are_the_same_frozen_objects() -> None:
    graph = node(INT)
    for each in (
        graph,
        graph.members[0],
        btf.Param("a", INT),
        btf.VarSecinfo(btf.Var("v", INT), 0, 4),
        INT,
        btf.Void(),
    ):
        assert copy.copy(each) is each
        assert copy.deepcopy(each) is each
    assert copy.deepcopy({"a": [graph]})["a"][0] is graph
