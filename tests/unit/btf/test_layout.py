from __future__ import annotations

import time

import pytest

from ebpfpy import btf
from ebpfpy.errors import BtfError, InputError, TypeNotFoundError
from tests.unit.core.records import SIGNED, Records

INT = btf.Int("int", 4, 1)
LONG = btf.Int("long", 8, 1)
CHAR = btf.Int("char", 1, 1)


@pytest.mark.parametrize(
    ("of", "size", "align"),
    [
        (INT, 4, 4),
        (btf.Int("__int128", 16), 16, 8),
        (btf.Pointer(btf.Void()), 8, 8),
        (btf.Float("double", 8), 8, 8),
        (btf.Array(INT, INT, 5), 20, 4),
        (btf.Array(btf.Array(LONG, INT, 2), INT, 3), 48, 8),
        (btf.Typedef("t", btf.Const(btf.Volatile(btf.TypeTag("x", LONG)))), 8, 8),
        (btf.Enum("e", 2), 2, 2),
        (btf.Struct("s", 16, (btf.Member("a", CHAR), btf.Member("b", LONG, 64))), 16, 8),
        (btf.Struct("packed", 9, (btf.Member("a", CHAR), btf.Member("b", LONG, 8))), 9, 1),
        (btf.Struct("odd", 9, (btf.Member("b", LONG), btf.Member("a", CHAR, 64))), 9, 1),
        (btf.Struct("bits", 4, (btf.Member("a", INT, 0, 3), btf.Member("b", INT, 3, 5))), 4, 4),
        (btf.Union("u", 8, (btf.Member("a", CHAR), btf.Member("b", LONG))), 8, 8),
        (btf.Struct("empty", 0), 0, 1),
    ],
)
def test_sizes_and_alignments(of: btf.Type, size: int, align: int) -> None:
    assert btf.sizeof(of) == size
    assert btf.alignof(of) == align


@pytest.mark.parametrize("of", [btf.Void(), btf.Fwd("f"), btf.FuncProto(btf.Void()), btf.Func("f", btf.Void())])
def test_what_has_no_size_says_so(of: btf.Type) -> None:
    with pytest.raises(BtfError, match="has no size"):
        btf.sizeof(of)
    with pytest.raises(BtfError, match="has no alignment"):
        btf.alignof(of)


def test_cycles_are_errors() -> None:
    loop = btf.Typedef("loop", lambda: btf.Const(loop))
    ring = btf.Array(lambda: ring, INT, 1)
    inside = btf.Struct("inside", 4, (btf.Member("again", lambda: inside),))
    for of in (loop, ring):
        with pytest.raises(BtfError):
            btf.sizeof(of)
    with pytest.raises(BtfError, match="cycle"):
        btf.resolve(loop)
    for of in (ring, inside):
        with pytest.raises(BtfError, match="depends on itself"):
            btf.alignof(of)


def test_alignment_of_deep_and_doubling_structs_takes_no_time() -> None:
    inner: btf.Type = INT
    for level in range(2000):
        inner = btf.Struct(f"s{level}", 4, (btf.Member("a", inner), btf.Member("b", inner)))
    assert btf.alignof(inner) == 4


def test_resolve_goes_through_every_decoration() -> None:
    of = btf.Typedef("a", btf.Const(btf.Volatile(btf.Restrict(btf.TypeTag("t", INT)))))
    assert btf.resolve(of) is INT
    assert btf.resolve(INT) is INT


def chained(records: Records, end: int, links: int) -> int:
    """The last of so many typedefs and qualifiers in a row."""
    for at in range(links):
        end = records.typedef(f"t{at}", end) if at % 2 else records.const(end)
    return end


@pytest.mark.parametrize("links", [1, 31, 32, 33, 100_000])
@pytest.mark.parametrize("in_base", [False, True])
def test_what_is_at_the_end_of_a_long_chain_is_found_soon_by_everything_on_it(links: int, in_base: bool) -> None:
    lower = Records()
    number = lower.int("long", 8, SIGNED)
    middle = chained(lower, number, links // 2)
    upper = Records(base=lower) if in_base else lower
    last = chained(upper, middle, links - links // 2)
    array = upper.array(last, 3, number)
    base = lower.spec("base")
    spec = upper.spec("split", base) if in_base else base
    start = time.process_time()
    for type_id in range(number, last + 1, max(1, links // 1000)):
        of = spec.type_by_id(type_id)
        assert btf.resolve(of) is base.type_by_id(number)
        assert (btf.sizeof(of), btf.alignof(of)) == (8, 8)
    assert (btf.sizeof(spec.type_by_id(array)), btf.alignof(spec.type_by_id(array))) == (24, 8)
    assert time.process_time() - start < 1


@pytest.mark.parametrize("links", [1, 31, 32, 33, 5000])
def test_a_circle_of_any_length_is_told(links: int) -> None:
    records = Records()
    chained(records, links, links)
    spec = records.spec()
    for question in (btf.resolve, btf.sizeof, btf.alignof):
        with pytest.raises(BtfError, match=r"cycle|depends on itself"):
            question(spec.type_by_id(1))


@pytest.mark.parametrize("links", [1, 33, 9000, 50_000])
def test_what_is_at_the_end_of_a_long_chain_has_a_value(links: int) -> None:
    records = Records()
    last = chained(records, records.int("long", 8, SIGNED), links)
    of = records.spec().type_by_id(last)
    assert btf.decode(of, bytes((5, *bytes(7)))) == 5
    assert btf.dump_data(of, bytes((5, *bytes(7))), skip_names=True) == "5"


def test_a_chain_that_is_too_long_is_not_called_a_cycle() -> None:
    typedefs: btf.Type = INT
    arrays: btf.Type = INT
    for _ in range(10_100):
        typedefs = btf.Typedef("t", typedefs)
        arrays = btf.Array(arrays, INT, 1)
    calls = [(ask, typedefs) for ask in (btf.resolve, btf.sizeof, _decode, _dump)]
    for ask, of in (*calls, (btf.sizeof, arrays), (_dump, arrays)):
        with pytest.raises(BtfError, match="a chain of more than 10000 types"):
            ask(of)
    with pytest.raises(InputError, match="nested more than 64"):
        _decode(arrays)


def _decode(of: btf.Type) -> object:
    return btf.decode(of, bytes(4))


def _dump(of: btf.Type) -> object:
    return btf.dump_data(of, bytes(4))


@pytest.mark.parametrize("links", [10, 100])
def test_a_chain_that_leads_to_nothing_is_an_error(links: int) -> None:
    records = Records()
    last = chained(records, 0, links)
    assert isinstance(btf.resolve(records.spec().type_by_id(last)), btf.Void)
    records = Records()
    last = chained(records, 5000, links)
    with pytest.raises(TypeNotFoundError, match="no type has id 5000"):
        btf.resolve(records.spec().type_by_id(last))


@pytest.mark.parametrize("size", [4, 8])
def test_pointer_size_is_guessed_from_long_and_can_be_set(size: int) -> None:
    builder = btf.Builder()
    builder.add_all([btf.Int("long unsigned int", size), btf.Pointer(btf.Void())])
    spec = builder.spec()
    assert spec.pointer_size == size
    assert btf.sizeof(spec.type_by_id(2)) == size
    spec.pointer_size = 12 - size
    assert btf.sizeof(spec.type_by_id(2)) == 12 - size
    assert btf.decode(spec.type_by_id(2), b"\1" + bytes(7)) in (1, 1 << 56, 1 << 24)
