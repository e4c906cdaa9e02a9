"""Structural equality, copying and pickling of type graphs that are cyclic, tangled or deep."""

from __future__ import annotations

import copy
import pickle
import threading
from typing import Any

import pytest

from ebpfpy import btf

INT = btf.Int("int", 4, 1)
DEPTH = 100_000


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


def nonsense() -> btf.Spec:
    """Typedefs, arrays, qualifiers and a struct that contain themselves, as no compiler would write them."""
    typedef = btf.Typedef("t", lambda: array)
    array: btf.Type = btf.Array(btf.Const(typedef), lambda: array, 3)
    struct = btf.Struct("s", 8, (btf.Member("s", lambda: struct), btf.Member("t", typedef)))
    builder = btf.Builder()
    builder.add_all([typedef, struct, btf.FuncProto(lambda: array, (btf.Param("p", struct),))])
    return builder.spec("nonsense")


def large(count: int) -> btf.Struct:
    made: list[btf.Struct] = []
    members = (btf.Member(f"m{i}", btf.Pointer(lambda: made[0]), 64 * i) for i in range(count))
    made.append(btf.Struct("large", 8 * count, members))
    return made[0]


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("graph", ["chain", "large", "nonsense"])
def test_graphs_of_any_shape_are_pickled_by_every_protocol(graph: str, protocol: int) -> None:
    of: Any = {"chain": lambda: chain(DEPTH // 10, INT), "large": lambda: large(10_000), "nonsense": nonsense}[graph]()
    again = pickle.loads(pickle.dumps(of, protocol))
    if isinstance(of, btf.Spec):
        assert all(btf.same_type(a, b) for a, b in zip(of, again, strict=True))
    else:
        assert btf.same_type(again, of)


@pytest.mark.parametrize("graph", ["chain", "large", "nonsense"])
def test_graphs_of_any_shape_are_walked_shown_compared_and_copied(graph: str) -> None:
    if graph == "nonsense":
        spec = nonsense()
    else:
        builder = btf.Builder()
        builder.add(chain(DEPTH, INT) if graph == "chain" else large(10_000))
        spec = builder.spec()
    for of in spec:
        assert len(repr(of)) < 100
        assert copy.copy(of) is copy.deepcopy(of) is of
        assert {of: 1}[of] == 1
    first = next(iter(spec))
    twin = copy.deepcopy(spec)
    assert btf.same_type(first, twin.type_by_id(1))
    assert twin.type_by_id(1) is not first


def test_a_deep_copy_of_a_spec_has_types_and_a_base_of_its_own() -> None:
    base = nonsense()
    builder = btf.Builder(base)
    builder.add(btf.Pointer(base.type_by_id(1)))
    split = builder.spec("split")
    two, below = copy.deepcopy((split, base))
    assert two.base is below is not base
    assert bytes(two.raw) == bytes(split.raw)
    assert two.name == "split"
    pointer = two.type_by_id(two.first_id)
    assert isinstance(pointer, btf.Pointer)
    assert pointer.target is below.type_by_id(1)


def test_parts_are_pickled_with_the_type_that_they_belong_to() -> None:
    builder = btf.Builder()
    proto = btf.FuncProto(INT, (btf.Param("p", INT),))
    var = btf.Var("v", INT)
    builder.add_all([node(INT), btf.Func("f", proto), btf.Datasec(".data", 4, (btf.VarSecinfo(var, 0, 4),))])
    spec = builder.spec()
    struct = spec.type_by_name("node", btf.Struct)
    func = spec.type_by_name("f", btf.Func)
    data = spec.type_by_name(".data", btf.Datasec)
    parts = (struct.members[1], func.params[0], data.variables[0])
    again, *owners = pickle.loads(pickle.dumps((parts, struct, func, data)))
    assert again[0] is owners[0].members[1]
    assert again[1] is owners[1].params[0]
    assert again[2] is owners[2].variables[0]
    value = pickle.loads(pickle.dumps(btf.Enumerator("A", 1)))
    assert value == btf.Enumerator("A", 1)
    lone = pickle.loads(pickle.dumps(btf.Member("m", node(INT), 8, 3)))
    assert (lone.name, lone.offset_bits, lone.bitfield_size, lone.type.name) == ("m", 8, 3, "node")
    assert pickle.loads(pickle.dumps(btf.VarSecinfo(var, 8, 4))).var.name == "v"


def test_threads_see_the_same_types_and_members(vmlinux_bytes: bytes) -> None:
    spec = btf.Spec(vmlinux_bytes)
    seen: list[list[object]] = [[] for _ in range(4)]

    def walk(into: list[object]) -> None:
        for name in ("task_struct", "sock", "file"):
            struct = spec.type_by_name(name, btf.Struct)
            into += [struct, *struct.members, *(member.type for member in struct.members)]

    threads = [threading.Thread(target=walk, args=(into,)) for into in seen]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen[0]) > 300
    for other in seen[1:]:
        assert all(a is b for a, b in zip(seen[0], other, strict=True))
