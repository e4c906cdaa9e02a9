"""A BTF blob taken apart into its sections, without looking at a single type.

Header, 24 bytes: ``u16 magic, u8 version, u8 flags, u32 hdr_len, u32 type_off, u32 type_len, u32 str_off,
u32 str_len``; since 2026 optionally followed by ``u32 layout_off, u32 layout_len``. Offsets count from the end
of the header, which is `hdr_len` bytes long whatever its version. The magic number tells the byte order.

Everything in the type section is a 32-bit word, so BTF of the other byte order is swapped once, as a whole, and
then reads like native BTF.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import Any, Final, Literal, NamedTuple

from ebpfpy.errors import BtfError

from .kinds import HEADER_SIZE, HEADER_SIZE_LAYOUT

ByteOrder = Literal["little", "big"]

# u16 magic, u8 version, u8 flags, u32 hdr_len, type_off, type_len, str_off, str_len
_HEADER = {"little": struct.Struct("<HBBIIIII"), "big": struct.Struct(">HBBIIIII")}
_USUAL_ORDER: Final = "little"
_USUAL, _MAGIC = _HEADER[_USUAL_ORDER].unpack_from, 0xEB9F
_ORDERS: dict[bytes, ByteOrder] = {b"\x9f\xeb": "little", b"\xeb\x9f": "big"}
_LAYOUT = {"little": struct.Struct("<II"), "big": struct.Struct(">II")}


class Sections(NamedTuple):
    """Where the parts of a blob are, as absolute byte offsets.

    Attributes:
        byte_order: of every number in the blob.
        types, types_end: the type records.
        strings, strings_end: the strings.
        layout: per kind, bytes after the record header and bytes per entry; empty when the blob has no such section.
    """

    byte_order: ByteOrder
    types: int
    types_end: int
    strings: int
    strings_end: int
    layout: tuple[tuple[int, int], ...]


_new_sections = tuple.__new__  # without NamedTuple's Python constructor


def looks_like_btf(data: Any) -> bool:
    """Whether the first two bytes are BTF's magic number in either byte order."""
    head = data[:2]
    return (head if head.__class__ is bytes else bytes(head)) in _ORDERS


def extent(data: bytes) -> int:
    """How many bytes BTF of this machine's usual sort has, by its header: up to the last string; -1 for other data."""
    if len(data) < HEADER_SIZE:
        return -1
    magic, _, _, length, _, _, start, size = _USUAL(data)
    return length + start + size if magic == _MAGIC else -1


def read_header(data: Any, *, source: str, split: bool) -> Sections:
    """Check a blob's header and find its sections.

    Args:
        data: the whole blob, a buffer; slices of it are bytes.
        source: what it is called in errors.
        split: it continues another blob: its strings may be empty or start with any character.

    Raises:
        BtfError: it is no BTF, or its header contradicts itself or the blob's length.
    """
    size, order = len(data), _USUAL_ORDER
    if size < HEADER_SIZE or (fields := _USUAL(data))[0] != _MAGIC:
        order, fields = _unusual(data, source)
    _, version, _flags, length, type_off, type_len, str_off, str_len = fields
    if version != 1:
        raise BtfError(f"BTF version {version} is unknown", source=source, offset=2)
    if not HEADER_SIZE <= length <= size:
        raise BtfError(f"header length {length} does not fit into {size} bytes", source=source, offset=4)
    layout_off = layout_len = 0
    if length >= HEADER_SIZE_LAYOUT:
        layout_off, layout_len = _LAYOUT[order].unpack_from(data, HEADER_SIZE)
    types, strings, room = length + type_off, length + str_off, size - length
    types_end, strings_end = types + type_len, strings + str_len
    if types_end > size or strings_end > size or layout_off + layout_len > room:
        _refuse_overrun(size, length, (type_off, type_len), (str_off, str_len), (layout_off, layout_len), source)
    if (type_off | type_len) % 4:
        raise BtfError("type section is not made of whole words", source=source, offset=8)
    if str_len and data[strings_end - 1 : strings_end] != b"\0":
        raise BtfError("string section does not end with NUL", source=source, offset=strings_end - 1)
    if not split and (not str_len or data[strings : strings + 1] != b"\0"):
        raise BtfError(
            "string section does not start with NUL: it may continue another blob, as a module's does: pass that base",
            source=source,
            offset=strings,
        )
    layout = _read_layout(data[length + layout_off : length + layout_off + layout_len], source) if layout_len else ()
    return _new_sections(Sections, (order, types, types_end, strings, strings_end, layout))


def _unusual(data: Any, source: str) -> tuple[ByteOrder, tuple[Any, ...]]:
    """The byte order and the header of a blob that is not of the usual byte order, or no blob at all."""
    head = bytes(data[:HEADER_SIZE])
    order = _ORDERS.get(head[:2])
    if order is None:
        raise BtfError("not BTF: the magic number 0xeb9f is missing", source=source, offset=0)
    if len(head) < HEADER_SIZE:
        raise BtfError(f"truncated: {len(head)} bytes, a header has {HEADER_SIZE}", source=source, offset=len(head))
    return order, _HEADER[order].unpack(head)


def _refuse_overrun(
    size: int, length: int, types: tuple[int, int], strings: tuple[int, int], layout: tuple[int, int], source: str
) -> None:
    """Say which of the sections runs past the end of the blob."""
    for what, (offset, extent), field in (("type", types, 8), ("string", strings, 16), ("layout", layout, 24)):
        if length + offset + extent > size:
            raise BtfError(
                f"truncated: {what} section of {extent} bytes at {length + offset} in {size} bytes",
                source=source,
                offset=field,
            )


def layout_section(data: Any, order: ByteOrder) -> Any:
    """The bytes of a blob's layout section, none if it has none; its header has been checked."""
    mark = "<" if order == "little" else ">"
    (length,) = struct.unpack_from(mark + "I", data, 4)
    if length < HEADER_SIZE_LAYOUT:
        return b""
    start, size = _LAYOUT[order].unpack_from(data, HEADER_SIZE)
    return data[length + start : length + start + size]


def _read_layout(data: bytes, source: str) -> tuple[tuple[int, int], ...]:
    """Per kind: ``u8 info_sz, u8 elem_sz, u16 flags``."""
    if len(data) % 4:
        raise BtfError("layout section is not made of whole entries", source=source, offset=28)
    return tuple((data[i], data[i + 1]) for i in range(0, len(data), 4))


def native_words(data: memoryview, sections: Sections) -> memoryview:
    """The type section as 32-bit words of this machine: a view where the byte order is ours, else a copy."""
    types = data[sections.types : sections.types_end]
    if sections.byte_order == sys.byteorder:
        return types.cast("I")
    swapped = array("I", types.tobytes())
    swapped.byteswap()
    return memoryview(swapped)
