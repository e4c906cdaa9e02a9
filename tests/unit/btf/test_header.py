from __future__ import annotations

import struct

import pytest

from ebpfpy import btf
from ebpfpy.btf.kinds import make_info
from ebpfpy.errors import BtfError, InputError, TypeNotFoundError
from tests.strategies import raw_btf

STRINGS = b"\0int\0long\0odd\0"
INT = [1, make_info(1), 4, 0x0100_0020]
LONG = [5, make_info(1), 8, 0x0100_0040]
UNKNOWN = [10, make_info(25, 2), 0, 111, 1, 2, 3, 4]  # 4 bytes of its own, 2 entries of 8 bytes
LAYOUT = bytes(4 * 25) + bytes((4, 8, 0, 0))


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("header", [24, 32, 40])
def test_headers_of_any_size_in_either_byte_order_are_read(order: str, header: int) -> None:
    spec = btf.Spec(raw_btf(INT + LONG, STRINGS, order=order, header=header))
    assert spec.byte_order == order
    assert [(t.name, t.size) for t in spec if isinstance(t, btf.Int)] == [("int", 4), ("long", 8)]


def test_the_layout_section_lets_an_unknown_kind_be_skipped() -> None:
    spec = btf.Spec(raw_btf(INT + UNKNOWN + LONG, STRINGS, layout=LAYOUT, header=32))
    assert len(spec) == 3
    assert spec.type_id(spec.type_by_name("long")) == 3
    assert int(spec.type_by_id(2).kind) == 25


def test_split_btf_skips_unknown_kinds_by_the_layout_of_its_base() -> None:
    base = btf.Spec(raw_btf(INT, STRINGS, layout=LAYOUT, header=32))
    split = btf.Spec(raw_btf(UNKNOWN + LONG, b""), base)
    assert len(split) == 2
    assert split.type_id(split.type_by_name("long")) == 3


def test_an_unknown_kind_without_layout_is_an_error_with_its_number_id_and_place() -> None:
    spec = btf.Spec(raw_btf(INT + UNKNOWN + LONG, STRINGS), name="new.o")
    with pytest.raises(BtfError, match=r"new\.o: type 2 has the unknown kind UNKNOWN\(25\)") as caught:
        spec.type_by_id(3)
    assert caught.value.offset == 24 + 16


def test_types_before_a_malformed_record_can_be_used() -> None:
    spec = btf.Spec(raw_btf(INT + UNKNOWN + LONG, STRINGS))
    for _ in range(2):
        assert spec.type_by_id(1).kind is btf.Kind.INT
        assert spec.type_by_name("int") is spec.type_by_id(1)
        with pytest.raises(BtfError):
            len(spec)


def test_vlen_has_24_bits() -> None:
    count = 70_000
    words = [*INT, 10, make_info(btf.Kind.ENUM, count), 4]
    for value in range(count):
        words += (1, value)
    spec = btf.Spec(raw_btf(words + LONG, STRINGS))
    enum = spec.type_by_name("odd", btf.Enum)
    assert len(enum.enumerators) == count
    assert enum.enumerators[-1].value == count - 1
    assert spec.type_id(spec.type_by_name("long")) == 3


def test_a_record_that_runs_past_the_end_is_named() -> None:
    spec = btf.Spec(raw_btf([*INT, 10, make_info(btf.Kind.STRUCT, 5), 4, 1, 1, 0], STRINGS))
    with pytest.raises(BtfError, match="truncated: the record of type 2") as caught:
        spec.type_by_id(2)
    assert caught.value.offset == 24 + 16


@pytest.mark.parametrize("extra", [1, 2])
def test_words_that_are_no_whole_record_are_named(extra: int) -> None:
    spec = btf.Spec(raw_btf([*INT, *[make_info(2)] * extra], STRINGS))
    assert spec.type_by_id(1)
    with pytest.raises(BtfError, match="record of type 2"):
        len(spec)


def test_an_absurd_vlen_is_an_error() -> None:
    spec = btf.Spec(raw_btf([1, make_info(btf.Kind.STRUCT, 0xFF_FFFF), 4], STRINGS))
    with pytest.raises(BtfError, match="truncated"):
        list(spec)


@pytest.mark.parametrize("size", range(24))
def test_truncated_header_is_an_error_that_says_where(size: int) -> None:
    with pytest.raises(BtfError) as caught:
        btf.Spec(raw_btf(INT, STRINGS)[:size], name="short")
    assert caught.value.source == "short"
    assert caught.value.offset == (size if size >= 2 else 0)


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\0\0", "magic"),
        (2, b"\2", "version 2"),
        (4, struct.pack("<I", 23), "header length 23"),
        (4, struct.pack("<I", 0xFFFF_FFFF), "header length"),
        (8, struct.pack("<I", 2), "whole words"),
        (8, struct.pack("<I", 0xFFFF_FFFC), "type section"),
        (12, struct.pack("<I", 15), "whole words"),
        (12, struct.pack("<I", 0x4000), "type section"),
        (16, struct.pack("<I", 0x4000), "string section"),
        (20, struct.pack("<I", 0x4000), "string section"),
        (20, struct.pack("<I", 3), "NUL"),
        (20, struct.pack("<I", 0), "NUL"),
    ],
)
def test_every_field_of_the_header_is_checked(at: int, value: bytes, message: str) -> None:
    blob = bytearray(raw_btf(INT, STRINGS))
    blob[at : at + len(value)] = value
    with pytest.raises(BtfError, match=message) as caught:
        btf.Spec(bytes(blob))
    assert caught.value.offset is not None


def test_sections_may_come_in_any_order_with_gaps() -> None:
    types = struct.pack("<4I", *INT)
    blob = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 20, 16, 0, len(STRINGS)) + STRINGS.ljust(20, b"?") + types
    assert btf.Spec(blob + b"behind").type_by_name("int")


def test_strings_of_a_base_must_start_with_nul() -> None:
    with pytest.raises(BtfError, match="start with NUL"):
        btf.Spec(raw_btf([], b"int\0"))


def test_empty_split_btf_of_24_bytes_has_no_types() -> None:
    base = btf.Spec(raw_btf(INT, STRINGS))
    blob = raw_btf([], b"")
    assert len(blob) == 24
    split = btf.Spec(blob, base)
    assert len(split) == 0
    assert list(split) == []
    assert split.first_id == 2
    assert split.type_by_id(1) is base.type_by_id(1)
    with pytest.raises(TypeNotFoundError):
        split.type_by_id(2)
    with pytest.raises(TypeNotFoundError):
        split.type_by_name("int")


def test_split_and_base_must_have_one_byte_order() -> None:
    base = btf.Spec(raw_btf(INT, STRINGS))
    with pytest.raises(BtfError, match="big-endian"):
        btf.Spec(raw_btf([], b"", order="big"), base)


def test_a_string_offset_that_is_not_a_start_is_an_error() -> None:
    spec = btf.Spec(raw_btf([2, *INT[1:]], STRINGS))
    with pytest.raises(BtfError, match="offset 2 is not the start"):
        spec.type_by_id(1)


@pytest.mark.parametrize("offset", [len(STRINGS), 0xFFFF_FFFF])
def test_a_string_offset_out_of_range_is_an_error(offset: int) -> None:
    spec = btf.Spec(raw_btf([offset, *INT[1:]], STRINGS))
    with pytest.raises(BtfError, match="beyond the end"):
        spec.type_by_id(1)


def test_a_reference_out_of_range_is_an_error_when_it_is_followed() -> None:
    spec = btf.Spec(raw_btf([0, make_info(btf.Kind.PTR), 77], STRINGS))
    pointer = spec.type_by_id(1)
    assert isinstance(pointer, btf.Pointer)
    with pytest.raises(TypeNotFoundError, match="77"):
        _ = pointer.target


@pytest.mark.parametrize("type_id", [-1, 2, 1 << 31, 1 << 70])
def test_ids_out_of_range_are_not_found(type_id: int) -> None:
    spec = btf.Spec(raw_btf(INT, STRINGS))
    with pytest.raises(TypeNotFoundError):
        spec.type_by_id(type_id)
    with pytest.raises(TypeNotFoundError):
        spec.locate(type_id)


def test_a_negative_string_offset_is_an_error() -> None:
    with pytest.raises(InputError):
        btf.Spec(raw_btf(INT, STRINGS)).string(-1)
