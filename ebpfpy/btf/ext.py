""".BTF.ext: function, line and CO-RE records that go with an object's code.

Header: ``u16 magic, u8 version, u8 flags, u32 hdr_len``, then offset and length (from the end of the header) of
function info, line info and, if `hdr_len` is 32 or more, CO-RE relocations. Each part is ``u32 record size``
followed by blocks, one for each ELF section: ``u32 section name, u32 number of records``, the records.
Records may be longer than what is known here; the rest of each is skipped. Offsets into code are in bytes.
"""

from __future__ import annotations

import struct
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ebpfpy.errors import BtfError

from .kinds import MAGIC
from .spec import check_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .header import ByteOrder
    from .spec import Spec

_Record = TypeVar("_Record", bound="tuple[int, ...]")
_MIN_HEADER = 24
_HEADER_WITH_CORE = 32


class FuncInfo(NamedTuple):
    """A function starts at byte `offset` of its section; `type_id` is its Func."""

    offset: int
    type_id: int


class LineInfo(NamedTuple):
    """Source position of the instruction at byte `offset`; file and line are string offsets.

    `line_col` holds the line in its upper 22 bits and the column in its lower 10.
    """

    offset: int
    file_off: int
    line_off: int
    line_col: int


class CoreInfo(NamedTuple):
    """A CO-RE relocation of the instruction at byte `offset`; `access_off` is a string offset."""

    offset: int
    type_id: int
    access_off: int
    kind: int


class ExtInfo(NamedTuple):
    """The contents of .BTF.ext, by name of the ELF section that the code is in."""

    functions: dict[str, list[FuncInfo]]
    lines: dict[str, list[LineInfo]]
    relocations: dict[str, list[CoreInfo]]


def parse_ext(data: bytes | memoryview, strings: Spec, *, source: str = ".BTF.ext") -> ExtInfo:
    """Parse .BTF.ext.

    Args:
        data: the section.
        strings: the object's BTF, whose strings the records refer to.
        source: what to call it in errors.

    Raises:
        BtfError: it is malformed.
    """
    check_spec(strings)
    data = memoryview(data)
    order: ByteOrder = strings.byte_order
    mark = "<" if order == "little" else ">"
    if len(data) < 8:
        raise BtfError(f"truncated: {len(data)} bytes", source=source, offset=len(data))
    magic, version, flags, length = struct.unpack_from(mark + "HBBI", data)
    if magic != MAGIC:
        raise BtfError("the magic number is not that of the object's BTF", source=source, offset=0)
    if version != 1 or flags:
        raise BtfError(f"version {version} with flags {flags:#x} is unknown", source=source, offset=2)
    if not _MIN_HEADER <= length <= len(data):
        raise BtfError(f"header length {length} does not fit into {len(data)} bytes", source=source, offset=4)
    functions: dict[str, list[FuncInfo]] = {}
    lines: dict[str, list[LineInfo]] = {}
    relocations: dict[str, list[CoreInfo]] = {}
    part = _Part(data, strings, source, mark)
    start, extent = struct.unpack_from(mark + "II", data, 8)
    for name, records in part.blocks("function info", length + start, extent, 2):
        functions.setdefault(name, []).extend(_as(FuncInfo, records))
    start, extent = struct.unpack_from(mark + "II", data, 16)
    for name, records in part.blocks("line info", length + start, extent, 4):
        lines.setdefault(name, []).extend(_as(LineInfo, records))
    if length >= _HEADER_WITH_CORE:
        start, extent = struct.unpack_from(mark + "II", data, 24)
        for name, records in part.blocks("CO-RE", length + start, extent, 4):
            relocations.setdefault(name, []).extend(_as(CoreInfo, records))
    return ExtInfo(functions, lines, relocations)


def _as(kind: type[_Record], records: Iterable[tuple[int, ...]]) -> Iterator[_Record]:
    """Named tuples of tuples with the right number of fields; without Python's own code for each."""
    return map(tuple.__new__, repeat(kind), records)


class _Part(NamedTuple):
    data: memoryview
    strings: Spec
    source: str
    mark: str

    def blocks(
        self, what: str, start: int, extent: int, fields: int
    ) -> Iterator[tuple[str, Iterator[tuple[int, ...]]]]:
        """The blocks of one part: section name and records, each cut to its first `fields` words."""
        if not extent:
            return
        end = start + extent
        if end > len(self.data) or extent < 4:
            raise BtfError(f"truncated: {what} of {extent} bytes", source=self.source, offset=start)
        (size,) = struct.unpack_from(self.mark + "I", self.data, start)
        if size < 4 * fields or size % 4:
            raise BtfError(f"{what} records of {size} bytes", source=self.source, offset=start)
        record = struct.Struct(f"{self.mark}{fields}I{size - 4 * fields}x")
        head = struct.Struct(self.mark + "II")
        at = start + 4
        while at < end:
            if at + 8 > end:
                raise BtfError(f"truncated: a block of {what}", source=self.source, offset=at)
            name_off, count = head.unpack_from(self.data, at)
            at += 8
            if count * size > end - at:
                raise BtfError(f"truncated: {count} records of {what}", source=self.source, offset=at)
            yield self.strings.string(name_off), record.iter_unpack(self.data[at : at + count * size])
            at += count * size
