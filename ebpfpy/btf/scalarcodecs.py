"""Codecs of single values: integers, enums, floats, bitfields, and text in arrays of ``char``.

Bitfields count bits in memory order: in little-endian BTF the bit offset counts from the least significant bit of
the first byte upwards, in big-endian BTF from its most significant bit downwards. So a field of `width` bits at
`offset` is covered by the bytes from ``offset // 8`` to ``(offset + width + 7) // 8``; read as one number in the byte
order at hand, the field has ``offset % 8`` bits below it (little) or above it (big).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from ebpfpy.errors import InputError

from . import types as t
from .codec import Codec, unfit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .header import ByteOrder

WIDE_FLOATS = (10, 12, 16)
"""Bytes of ``long double``, whose format differs from machine to machine: of x87, with or without padding, or IEEE."""
MAX_INTEGER = 16
"""Bytes of the largest integer."""


def plain(
    order: ByteOrder,
    size: int,
    code: str,
    convert: Callable[[Any], Any] | None,
    revert: Callable[[Any], Any],
    what: str,
) -> Codec:
    """A codec around one format character."""
    packer = struct.Struct(("<" if order == "little" else ">") + code)
    unpack, pack = packer.unpack_from, packer.pack_into

    def read(buffer: Any, at: int) -> Any:
        return unpack(buffer, at)[0]

    def read_converted(buffer: Any, at: int) -> Any:
        return convert(unpack(buffer, at)[0])  # type: ignore[misc]

    def write(value: Any, out: bytearray, at: int) -> None:
        try:
            pack(out, at, revert(value))
        except struct.error as error:
            raise unfit(value, what, _bounds(size, code.islower()) if code in "bhiqBHIQ" else error) from None
        except (TypeError, ValueError, OverflowError) as error:
            raise unfit(value, what, error) from None

    return Codec(size, 1, read if convert is None else read_converted, write, code, convert)


def _bounds(size: int, signed: bool) -> str:
    """What an integer of so many bytes must be."""
    span = 1 << 8 * size
    low, high = (-span // 2, span // 2 - 1) if signed else (0, span - 1)
    return f"it must be within {low} and {high}"


def integer(order: ByteOrder, size: int, signed: bool, convert: Callable[[Any], Any] | None, what: str) -> Codec:
    """A codec for an integer of 1 to 16 bytes."""
    code = {1: "b", 2: "h", 4: "i", 8: "q"}.get(size)
    if code is not None:
        return plain(order, size, code if signed else code.upper(), convert, as_int, what)
    if not 0 < size <= MAX_INTEGER:
        raise InputError(f"{what}: no integer has {size} bytes")

    def read(buffer: Any, at: int) -> Any:
        number = int.from_bytes(buffer[at : at + size], order, signed=signed)
        return number if convert is None else convert(number)

    def write(value: Any, out: bytearray, at: int) -> None:
        try:
            out[at : at + size] = as_int(value).to_bytes(size, order, signed=signed)
        except TypeError as error:
            raise unfit(value, what, error) from None
        except OverflowError:
            raise unfit(value, what, _bounds(size, signed)) from None

    return Codec(size, 1, read, write)


def enum(order: ByteOrder, of: t.Enum) -> Codec:
    """A codec that reads names where there are some."""
    if of.size not in (1, 2, 4, 8):
        raise InputError(f"{of!r}: no enum has {of.size} bytes")
    name_of, value_of = _enum_tables(of, of.size * 8)
    code = {1: "b", 2: "h", 4: "i", 8: "q"}[of.size]
    get = name_of.get

    def convert(number: int) -> Any:
        return get(number, number)

    def revert(value: Any) -> int:
        return _enum_value(value, value_of)

    return plain(order, of.size, code if of.signed else code.upper(), convert, revert, repr(of))


def bitfield(order: ByteOrder, of: t.Type, offset_bits: int, width: int, room: int) -> Codec:
    """A codec for `width` bits that start `offset_bits` from where it is applied, within `room` bytes."""
    start, end = offset_bits // 8, (offset_bits + width + 7) // 8
    if width == 0 or end > room:
        raise InputError(f"{of!r}: a bitfield of {width} bits at bit {offset_bits} does not fit {room} bytes")
    shift = offset_bits % 8 if order == "little" else 8 * (end - start) - offset_bits % 8 - width
    mask = (1 << width) - 1
    sign = 1 << width - 1
    signed = isinstance(of, (t.Int, t.Enum)) and of.signed
    convert: Callable[[Any], Any] | None = None
    value_of: Mapping[str, int] = {}
    if isinstance(of, t.Enum):
        name_of, value_of = _enum_tables(of, width)
        convert = _lookup(name_of)
    elif isinstance(of, t.Int):
        convert = bool if of.bool else None
    else:
        raise InputError(f"{of!r} cannot be a bitfield")
    what = f"{of!r} of {width} bits"
    number_of = int.from_bytes

    def read(buffer: Any, at: int) -> Any:
        number = number_of(buffer[at + start : at + end], order) >> shift & mask
        if signed:
            number = (number ^ sign) - sign
        return number if convert is None else convert(number)

    def write(value: Any, out: bytearray, at: int) -> None:
        try:
            number = _enum_value(value, value_of) if isinstance(value, str) else as_int(value)
        except (TypeError, ValueError) as error:
            raise unfit(value, what, error) from None
        lowest, highest = (-sign, sign - 1) if signed else (0, mask)
        if not lowest <= number <= highest:
            raise unfit(value, what, f"it must be within {lowest} and {highest}")
        around = number_of(out[at + start : at + end], order) & ~(mask << shift)
        whole = around | (number & mask) << shift
        out[at + start : at + end] = whole.to_bytes(end - start, order)

    return Codec(end, 1, read, write)


def wide_float(size: int, what: str) -> Codec:
    """A codec for floats that Python cannot hold: they are bytes."""

    def read(buffer: Any, at: int) -> Any:
        return bytes(buffer[at : at + size])

    def write(value: Any, out: bytearray, at: int) -> None:
        if not isinstance(value, (bytes, bytearray, memoryview)) or len(raw := bytes(value)) != size:
            raise unfit(value, what, f"it must be {size} bytes, as they are in memory")
        out[at : at + size] = raw

    return Codec(size, 1, read, write, f"{size}s")


def text_array(count: int, decoded: bool, last: bool) -> Codec:
    """A codec for ``char[count]``: str if `decoded`, else bytes; `last` if nothing follows it."""
    convert = _to_text if decoded else None
    flexible = count == 0 and last

    def read(buffer: Any, at: int) -> Any:
        raw = bytes(buffer[at:] if flexible else buffer[at : at + count])
        return raw if convert is None else convert(raw)

    def write(value: Any, out: bytearray, at: int) -> None:
        raw = _to_bytes(value)
        if flexible:
            out.extend(bytes(max(0, at + len(raw) - len(out))))
        elif len(raw) > count:
            raise unfit(value, f"char[{count}]", f"it has {len(raw)} bytes")
        out[at : at + len(raw)] = raw
        if not flexible:
            out[at + len(raw) : at + count] = bytes(count - len(raw))

    return Codec(count, 1, read, write, "" if flexible or not count else f"{count}s", convert)


def as_int(value: Any) -> int:
    """A number that counts as an integer, as one."""
    if isinstance(value, int):
        return int(value)
    index = getattr(type(value), "__index__", None)
    if index is None:
        raise TypeError("it must be an int")
    return int(index(value))


def _enum_tables(of: t.Enum, bits: int) -> tuple[dict[int, str], dict[str, int]]:
    """Value -> name and name -> value, values as a field of `bits` bits reads them; the first of equals wins."""
    mask, sign = (1 << bits) - 1, 1 << bits - 1
    name_of: dict[int, str] = {}
    value_of: dict[str, int] = {}
    for each in of.enumerators:
        value = each.value & mask
        if of.signed:
            value = (value ^ sign) - sign
        name_of.setdefault(value, each.name)
        value_of.setdefault(each.name, value)
    return name_of, value_of


def _lookup(name_of: dict[int, str]) -> Callable[[int], Any]:
    get = name_of.get
    return lambda number: get(number, number)


def _enum_value(value: Any, value_of: Mapping[str, int]) -> int:
    if not isinstance(value, str):
        return as_int(value)
    try:
        return value_of[value]
    except KeyError:
        raise ValueError("it has no enumerator of that name") from None


def _to_text(raw: bytes) -> str:
    end = raw.find(0)
    return (raw if end < 0 else raw[:end]).decode("utf-8", "backslashreplace")


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise unfit(value, "an array of char", error) from None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise unfit(value, "an array of char", "it must be str or bytes")
