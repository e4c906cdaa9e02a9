"""Bytes to values and back."""

from __future__ import annotations

import gc
import struct
import weakref
from typing import Any

import pytest

from ebpfpy import btf
from ebpfpy.errors import InputError

U8, U16, U32, U64 = btf.Int("u8", 1), btf.Int("u16", 2), btf.Int("u32", 4), btf.Int("u64", 8)
S8, S32, S64 = btf.Int("signed char", 1, 1), btf.Int("int", 4, 1), btf.Int("long", 8, 1)
CHAR = btf.Int("char", 1, 1)
BOOL = btf.Int("_Bool", 1, 4)
COLOUR = btf.Enum("colour", 4, (btf.Enumerator("RED", 0), btf.Enumerator("GREEN", 7), btf.Enumerator("ROUGE", 0)))
ORDERS = ["little", "big"]


def chars(count: int) -> btf.Array:
    return btf.Array(CHAR, U32, count)


def written(of: btf.Type, order: Any) -> btf.Type:
    """The type as a blob of that byte order has it."""
    builder = btf.Builder()
    type_id = builder.add(of)
    return btf.Spec(builder.marshal(order)).type_by_id(type_id)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("of", "code", "value"),
    [
        (U8, "B", 200),
        (S8, "b", -3),
        (U16, "H", 0x1234),
        (S32, "i", -70_000),
        (U32, "I", 0xFEDC_BA98),
        (S64, "q", -(1 << 40)),
        (U64, "Q", 1 << 63),
        (BOOL, "B", True),
        (btf.Pointer(btf.Void()), "Q", 0xFFFF_8880_0000_0000),
        (btf.Float("float", 4), "f", 1.5),
        (btf.Float("double", 8), "d", -2.25),
        (btf.Typedef("t", btf.Const(btf.Volatile(btf.TypeTag("x", U32)))), "I", 9),
        (btf.Var("counter", U64), "Q", 5),
        (btf.Array(U16, U32, 3), "3H", [1, 2, 0xFFFF]),
    ],
)
def test_plain_values_in_either_byte_order(of: btf.Type, code: str, value: Any, order: str) -> None:
    of = written(of, order)
    raw = struct.pack((">" if order == "big" else "<") + code, *(value if isinstance(value, list) else [value]))
    decoded = btf.decode(of, raw)
    assert decoded == value
    assert type(decoded) is type(value)
    assert btf.encode(of, value) == raw


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("value", [-1, 1 << 100, -(1 << 120)])
def test_integers_of_16_bytes(order: Any, value: int) -> None:
    of = written(btf.Int("__int128", 16, 1), order)
    raw = value.to_bytes(16, order, signed=True)
    assert btf.decode(of, raw) == value
    assert btf.encode(of, value) == raw


def test_structs_become_dicts_in_the_order_of_their_members() -> None:
    event = btf.Struct(
        "event",
        40,
        (
            btf.Member("pid", U32),
            btf.Member("when", U64, 64),
            btf.Member("comm", chars(16), 128),
            btf.Member("colour", COLOUR, 256),
            btf.Member("ok", BOOL, 288),
        ),
    )
    raw = struct.pack("=I4xQ16sIB3x", 7, 1 << 40, b"bash\0junk", 7, 1)
    value = {"pid": 7, "when": 1 << 40, "comm": "bash", "colour": "GREEN", "ok": True}
    assert btf.decode(event, raw) == value
    assert list(btf.decode(event, raw)) == list(value)
    assert btf.encode(event, value) == raw.replace(b"junk", b"\0\0\0\0")
    assert btf.decode(event, raw, text=False)["comm"] == b"bash\0junk".ljust(16, b"\0")


def test_members_of_anonymous_members_are_in_the_same_dict() -> None:
    pair = btf.Struct("", 8, (btf.Member("low", U32), btf.Member("high", U32, 32)))
    both = btf.Union("", 8, (btf.Member("", pair), btf.Member("whole", U64)))
    outer = btf.Struct("outer", 16, (btf.Member("first", U64), btf.Member("", both, 64)))
    raw = struct.pack("=QII", 1, 2, 3)
    assert btf.decode(outer, raw) == {"first": 1, "low": 2, "high": 3, "whole": struct.unpack("=Q", raw[8:])[0]}
    assert btf.encode(outer, {"first": 1, "low": 2, "high": 3}) == raw


def test_unions_show_every_member() -> None:
    of = btf.Union(
        "u", 4, (btf.Member("word", U32), btf.Member("bytes", btf.Array(U8, U32, 4)), btf.Member("half", U16))
    )
    raw = struct.pack("=I", 0x01020304)
    assert btf.decode(of, raw) == {"word": 0x01020304, "bytes": list(raw), "half": struct.unpack("=H", raw[:2])[0]}
    assert btf.encode(of, {"word": 0x01020304}) == raw
    assert btf.encode(of, btf.decode(of, raw)) == raw
    assert btf.encode(of, {}) == bytes(4)


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (chars(8), True),
        (btf.Typedef("name_t", btf.Array(btf.Const(btf.Typedef("c", CHAR)), U32, 8)), True),
        (btf.Array(btf.Int("whatever", 1, 2), U32, 8), True),
        (btf.Array(U8, U32, 8), False),
        (btf.Array(btf.Int("unsigned char", 1), U32, 8), False),
        (btf.Array(S8, U32, 8), False),
    ],
)
def test_only_arrays_of_char_are_text(of: btf.Type, text: bool) -> None:
    raw = b"ab\0cd\0\0\0"
    assert btf.decode(of, raw) == ("ab" if text else list(raw))
    assert btf.decode(of, raw, text=False) == (raw if text else list(raw))


def test_text_ends_at_the_first_nul_or_with_the_array() -> None:
    assert btf.decode(chars(4), b"abcd") == "abcd"
    assert btf.decode(chars(4), b"\0bcd") == ""
    assert btf.decode(chars(4), b"\xff\xc3\xa4\0") == "\\xffä"
    assert btf.encode(chars(4), "ä") == b"\xc3\xa4\0\0"
    assert btf.encode(chars(4), b"\0ab") == b"\0ab\0"
    assert btf.decode(CHAR, b"a") == 97  # a single char is a number


def test_arrays_of_text_structs_and_arrays() -> None:
    point = btf.Struct("point", 2, (btf.Member("x", U8), btf.Member("y", U8, 8)))
    assert btf.decode(btf.Array(chars(2), U32, 3), b"a\0bc\0d") == ["a", "bc", ""]
    assert btf.decode(btf.Array(point, U32, 2), b"\1\2\3\4") == [{"x": 1, "y": 2}, {"x": 3, "y": 4}]
    grid = btf.Array(btf.Array(U8, U32, 3), U32, 2)
    assert btf.decode(grid, bytes(range(6))) == [[0, 1, 2], [3, 4, 5]]
    assert btf.encode(grid, [[0, 1, 2], [3, 4, 5]]) == bytes(range(6))
    assert btf.decode(btf.Array(COLOUR, U32, 2), struct.pack("=II", 7, 8)) == ["GREEN", 8]
    assert btf.encode(btf.Array(U8, U32, 4), [1, 2]) == b"\1\2\0\0"
    assert btf.decode(
        btf.Struct("s", 4, (btf.Member("none", btf.Array(U32, U32, 0)), btf.Member("x", U32))), bytes(4)
    ) == {
        "none": [],
        "x": 0,
    }


@pytest.mark.parametrize(
    ("enum", "raw", "value"),
    [
        (COLOUR, struct.pack("=I", 0), "RED"),
        (COLOUR, struct.pack("=I", 3), 3),
        (btf.Enum("e", 1, (btf.Enumerator("A", 255),)), b"\xff", "A"),
        (btf.Enum("e", 1, (btf.Enumerator("A", -1),), signed=True), b"\xff", "A"),
        (btf.Enum("e", 1, (btf.Enumerator("OLD", 0xFFFF_FFFF),)), b"\xff", "OLD"),  # a compiler without the flag
        (btf.Enum("e", 4, (btf.Enumerator("A", -2),), signed=True), struct.pack("=i", -2), "A"),
        (btf.Enum("e", 4, (), signed=True), struct.pack("=i", -2), -2),
        (btf.Enum("e", 8, (btf.Enumerator("A", 1 << 63),), is64=True), struct.pack("=Q", 1 << 63), "A"),
        (btf.Enum("e", 8, (btf.Enumerator("A", -1),), True, True), struct.pack("=q", -1), "A"),
    ],
)
def test_enums_are_names_where_they_have_one(enum: btf.Enum, raw: bytes, value: Any) -> None:
    assert btf.decode(enum, raw) == value
    assert btf.encode(enum, value) == raw


def test_both_names_of_one_value_are_written() -> None:
    assert btf.encode(COLOUR, "ROUGE") == btf.encode(COLOUR, "RED") == btf.encode(COLOUR, 0)


BITS = btf.Struct(
    "bits",
    8,
    (
        btf.Member("a", U32, 0, 3),
        btf.Member("b", S32, 3, 5),
        btf.Member("c", U32, 8, 12),
        btf.Member("d", BOOL, 20, 1),
        btf.Member("e", btf.Enum("e", 4, (btf.Enumerator("X", 2),)), 21, 2),
        btf.Member("f", U64, 23, 33),
        btf.Member("g", U8, 56),
    ),
)
VALUES = {"a": 5, "b": -7, "c": 0xABC, "d": True, "e": "X", "f": 0x1_2345_6789, "g": 0x42}
WIDTHS = [3, 5, 12, 1, 2, 33, 8]
NUMBERS = [5, -7 & 0x1F, 0xABC, 1, 2, 0x1_2345_6789, 0x42]


@pytest.mark.parametrize("order", ORDERS)
def test_bitfields_in_either_byte_order(order: str) -> None:
    """The first member is in the lowest bits of a little-endian number, in the highest of a big-endian one."""
    whole, at = 0, 0
    for width, number in zip(WIDTHS, NUMBERS, strict=True):
        whole |= number << (at if order == "little" else 64 - at - width)
        at += width
    raw = whole.to_bytes(8, "little" if order == "little" else "big")
    of = written(BITS, order)
    assert btf.decode(of, raw) == VALUES
    assert btf.encode(of, VALUES) == raw


@pytest.mark.parametrize("order", ORDERS)
def test_legacy_bitfields_have_their_width_in_the_integer(order: str) -> None:
    old = btf.Struct(
        "old", 4, (btf.Member("low", btf.Int("u", 4, 0, 4, 0)), btf.Member("next", btf.Int("u", 4, 0, 6, 0), 4))
    )
    raw = {"little": b"\x95\x02\0\0", "big": b"\x5a\x40\0\0"}[order]
    assert btf.decode(written(old, order), raw) == {"low": 5, "next": 0x29}
    assert btf.encode(written(old, order), {"low": 5, "next": 0x29}) == raw


def test_writing_a_bitfield_leaves_its_neighbours_alone() -> None:
    assert btf.decode(BITS, btf.encode(BITS, {"c": 0xFFF}))["c"] == 0xFFF
    assert btf.decode(BITS, btf.encode(BITS, {"b": -1})) == {
        "a": 0,
        "b": -1,
        "c": 0,
        "d": False,
        "e": 0,
        "f": 0,
        "g": 0,
    }


FLEX = btf.Struct("flex", 4, (btf.Member("count", U32), btf.Member("items", btf.Array(U16, U32, 0), 32)))


def test_a_flexible_array_takes_what_is_left() -> None:
    assert btf.decode(FLEX, struct.pack("=I3H", 3, 1, 2, 3)) == {"count": 3, "items": [1, 2, 3]}
    assert btf.decode(FLEX, struct.pack("=IHB", 3, 1, 2)) == {"count": 3, "items": [1]}
    assert btf.decode(FLEX, struct.pack("=I", 3)) == {"count": 3, "items": []}
    assert btf.encode(FLEX, {"count": 3, "items": [1, 2, 3]}) == struct.pack("=I3H", 3, 1, 2, 3)
    line = btf.Struct("line", 2, (btf.Member("n", U8), btf.Member("text", chars(0), 8)))
    assert btf.decode(line, b"\1abc\0\0") == {"n": 1, "text": "abc"}
    assert btf.encode(line, {"n": 1, "text": "abc"}) == b"\1abc"


def test_a_flexible_array_inside_the_last_members_takes_what_is_left_too() -> None:
    outer = btf.Struct("outer", 8, (btf.Member("x", U32), btf.Member("flex", FLEX, 32)))
    assert btf.decode(outer, struct.pack("=II2H", 9, 2, 5, 6)) == {"x": 9, "flex": {"count": 2, "items": [5, 6]}}
    wrapped = btf.Struct(
        "wrapped", 4, (btf.Member("n", U32), btf.Member("", btf.Union("", 0, (btf.Member("t", chars(0)),)), 32))
    )
    assert btf.decode(wrapped, b"\0\0\0\0abc") == {"n": 0, "t": "abc"}
    inner = btf.Struct("inner", 8, (btf.Member("flex", FLEX), btf.Member("x", U32, 32)))
    assert btf.decode(inner, struct.pack("=II", 2, 9)) == {"flex": {"count": 2, "items": []}, "x": 9}


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_any_buffer_may_be_longer_than_the_type(kind: Any) -> None:
    assert btf.decode(U32, kind(struct.pack("=I4x", 7))) == 7
    of = btf.Struct("s", 8, (btf.Member("a", chars(4)), btf.Member("b", BITS.members[0].type, 32, 3)))
    assert btf.decode(of, kind(b"abc\0\0\0\0\0padding")) == {"a": "abc", "b": 0}


def test_wide_views_count_in_bytes() -> None:
    assert btf.decode(btf.Array(U8, U32, 4), memoryview(b"\1\2\3\4").cast("I")) == [1, 2, 3, 4]


def test_a_short_buffer_is_an_error_that_says_how_much_is_missing() -> None:
    with pytest.raises(InputError, match="has 8 bytes, 3 are missing") as caught:
        btf.decode(BITS, bytes(5))
    assert caught.value.offset == 5


@pytest.mark.parametrize("buffer", ["text", 5, None, [1, 2]])
def test_what_is_no_buffer_is_refused(buffer: Any) -> None:
    with pytest.raises(InputError, match="buffer"):
        btf.decode(U32, buffer)


@pytest.mark.parametrize("of", [btf.Void(), btf.Fwd("f"), btf.FuncProto(U32), btf.Func("f", btf.FuncProto(U32))])
def test_types_without_values_are_refused(of: btf.Type) -> None:
    with pytest.raises(InputError, match="has no value"):
        btf.decode(of, bytes(8))
    with pytest.raises(InputError, match=r"s\.x: .* has no value"):
        btf.decode(btf.Struct("s", 8, (btf.Member("x", of),)), bytes(8))


def deep(levels: int) -> btf.Type:
    of: btf.Type = U8
    for _ in range(levels):
        of = btf.Struct("s", 1, (btf.Member("x", of),))
    return of


def make_cycle() -> btf.Type:
    inside = btf.Struct("inside", 4, (btf.Member("again", btf.Array(lambda: inside, U32, 1)),))
    return inside


def make_anonymous_cycle() -> btf.Type:
    inside = btf.Struct("inside", 4, (btf.Member("", lambda: inside),))
    return inside


def make_typedef_cycle() -> btf.Type:
    loop = btf.Typedef("loop", lambda: loop)
    return loop


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (make_cycle(), "contains itself"),
        (make_anonymous_cycle(), "contains itself"),
        (make_typedef_cycle(), "form a cycle"),
        (deep(65), "nested more than 64 deep"),
        (deep(5000), "nested more than 64 deep"),
        (btf.Array(btf.Struct("empty", 0), U32, 0xFFFF_FFFF), "would make"),
        (btf.Array(btf.Array(U8, U32, 0xFFFF_FFFF), U32, 0xFFFF_FFFF), "bytes"),
        (
            btf.Union("u", 8, tuple(btf.Member(f"m{i}", btf.Array(U8, U32, 8)) for i in range(2000))),
            "would make 166",
        ),
        (btf.Struct("s", 4, (btf.Member("x", U64),)), "ends at byte 8 of 4"),
        (btf.Struct("s", 4, (btf.Member("x", U32, 8),)), "ends at byte 5 of 4"),
        (btf.Struct("s", 4, (btf.Member("x", U8, 3),)), "starts at bit 3"),
        (btf.Struct("s", 4, (btf.Member("x", U32, 30, 3),)), "does not fit 4 bytes"),
        (btf.Struct("s", 8, (btf.Member("x", btf.Pointer(U8), 0, 3),)), "cannot be a bitfield"),
        (btf.Struct("s", 8, (btf.Member("x", U8), btf.Member("x", U8, 8))), "two members 'x'"),
        (btf.Int("odd", 0), "no integer has 0 bytes"),
        (btf.Int("wide", 32, 0, 255), "no integer has 32 bytes"),
        (btf.Float("odd", 3), "no float of 3 bytes"),
        (btf.Enum("e", 3), "no enum has 3 bytes"),
    ],
)
def test_types_that_make_no_sense_are_refused(of: btf.Type, message: str) -> None:
    for _ in range(2):
        with pytest.raises(InputError, match=message):
            btf.decode(of, bytes(64))
        with pytest.raises(InputError, match=message):
            btf.encode(of, {})


def test_what_is_nested_64_deep_has_a_value() -> None:
    value = btf.decode(deep(63), b"\7")
    for _ in range(63):
        value = value["x"]
    assert value == 7


def test_empty_structs_are_empty_dicts() -> None:
    empty = btf.Struct("empty", 0)
    assert btf.decode(empty, b"") == {}
    assert btf.decode(btf.Array(empty, U32, 3), b"") == [{}, {}, {}]
    assert btf.encode(empty, {}) == b""


EVENT = btf.Struct(
    "event",
    32,
    (
        btf.Member("pid", U32),
        btf.Member("name", chars(8), 32),
        btf.Member(
            "points", btf.Array(btf.Struct("point", 2, (btf.Member("x", U8), btf.Member("y", S8, 8))), U32, 2), 96
        ),
        btf.Member("colour", COLOUR, 128),
        btf.Member("bits", U32, 160, 3),
        btf.Member("ratio", btf.Float("double", 8), 192),
    ),
)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"pid": 1 << 32}, r"^\.pid: 4294967296 does not fit <Int 'u32' size=4>"),
        ({"pid": -1}, r"\.pid: -1 does not fit"),
        ({"pid": "1"}, r"\.pid: '1' does not fit .*: it must be an int"),
        ({"pid": 1.0}, r"\.pid: 1.0 does not fit"),
        ({"pid": None}, r"\.pid: None"),
        ({"pids": 1}, "has no member 'pids'"),
        ({"name": "123456789"}, r"\.name: '123456789' does not fit char\[8\]: it has 9 bytes"),
        ({"name": 5}, r"\.name: 5 .*it must be str or bytes"),
        ({"name": "\udc80"}, r"\.name: "),
        ({"points": [{"x": 1}, {"y": 128}]}, r"^\.points\[1\]\.y: 128 does not fit"),
        ({"points": [{}, {}, {}]}, "it has 3 elements"),
        ({"points": {"x": 1}}, "it must be a sequence"),
        ({"points": [5]}, r"\.points\[0\]: 5 .*must be a dict"),
        ({"colour": "BLUE"}, "no enumerator of that name"),
        ({"colour": 1 << 32}, "does not fit"),
        ({"bits": 8}, "must be within 0 and 7"),
        ({"bits": "x"}, "no enumerator|must be an int"),
        ({"ratio": "x"}, "does not fit"),
        ([], "must be a dict"),
        (None, "must be a dict"),
    ],
)
def test_values_that_do_not_fit_are_refused_with_the_place(value: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        btf.encode(EVENT, value)


@pytest.mark.parametrize(
    ("of", "low", "high"),
    [
        (btf.Int("s8", 1, 1), -128, 127),
        (btf.Int("u32", 4), 0, (1 << 32) - 1),
        (btf.Int("s128", 16, 1), -(1 << 127), (1 << 127) - 1),
        (btf.Enum("e", 4, (), signed=True), -(1 << 31), (1 << 31) - 1),
        (btf.Pointer(btf.Void()), 0, (1 << 64) - 1),
    ],
)
def test_a_number_out_of_range_is_told_the_range(of: btf.Type, low: int, high: int) -> None:
    assert btf.decode(of, btf.encode(of, low)) == low
    assert btf.decode(of, btf.encode(of, high)) == high
    for number in (low - 1, high + 1):
        with pytest.raises(InputError, match=f": it must be within {low} and {high}$"):
            btf.encode(of, number)


def test_numbers_that_count_as_integers_are_taken() -> None:
    class Five:
        def __index__(self) -> int:
            return 5

    assert btf.decode(EVENT, btf.encode(EVENT, {"pid": Five(), "bits": True}))["pid"] == 5


def test_data_sections_become_dicts_of_their_variables() -> None:
    one, two = btf.Var("one", U32), btf.Var("two", U64)
    section = btf.Datasec(".data", 16, (btf.VarSecinfo(one, 0, 4), btf.VarSecinfo(two, 8, 8)))
    raw = struct.pack("=I4xQ", 1, 2)
    assert btf.decode(section, raw) == {"one": 1, "two": 2}
    assert btf.encode(section, {"two": 2, "one": 1}) == raw
    with pytest.raises(InputError, match="ends at byte 16 of 0"):
        btf.decode(btf.Datasec(".data", 0, section.variables[1:]), raw)


def test_kernel_structs_decode(vmlinux: btf.Spec) -> None:
    task = vmlinux.type_by_name("task_struct", btf.Struct)
    raw = bytearray(task.size)
    comm = task.member("comm")
    raw[comm.offset : comm.offset + 5] = b"init\0"
    struct.pack_into("<i", raw, task.member("pid").offset, 1)
    value = btf.decode(task, raw)
    assert (value["comm"], value["pid"]) == ("init", 1)
    assert value["se"]["load"] == {"weight": 0, "inv_weight": 0}
    assert btf.encode(task, value) == bytes(raw)


def test_readers_are_kept_by_the_spec_and_die_with_types_made_by_hand() -> None:
    of = written(EVENT, "little")
    spec = of.spec
    assert spec is not None
    btf.decode(of, bytes(32))
    (codecs,) = spec.derived.values()
    codec = codecs[of]
    btf.decode(of, bytes(32))
    assert codecs[of] is codec
    mine = btf.Struct("mine", 4, (btf.Member("a", U32),))
    btf.decode(mine, bytes(4))
    gone = weakref.ref(mine)
    del mine
    gc.collect()
    assert gone() is None


@pytest.mark.parametrize("size", [10, 12, 16])
def test_floats_that_python_cannot_hold_are_bytes(size: int) -> None:
    wide = btf.Float("long double", size)
    of = btf.Struct(
        "s",
        4 + 3 * size,
        (btf.Member("a", U32), btf.Member("x", wide, 32), btf.Member("y", btf.Array(wide, U32, 2), 32 + 8 * size)),
    )
    raw = bytes(range(4 + 3 * size))
    parts = [raw[4 + size * index : 4 + size * (index + 1)] for index in range(3)]
    value = btf.decode(of, memoryview(raw))
    assert value == {"a": struct.unpack("I", raw[:4])[0], "x": parts[0], "y": parts[1:]}
    assert btf.encode(of, value) == raw
    assert btf.decode(wide, bytearray(parts[0])) == parts[0]
    assert btf.encode(of, {"a": 1}) == struct.pack("I", 1) + bytes(3 * size)
    for wrong in (1.5, "x", b"", bytes(size + 1), None):
        with pytest.raises(InputError, match=f"x: .* does not fit .*it must be {size} bytes"):
            btf.encode(of, {"x": wrong})
