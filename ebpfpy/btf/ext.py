""".BTF.ext: function, line and CO-RE records that go with an object's code.

Header: ``u16 magic, u8 version, u8 flags, u32 hdr_len``, then offset and length (from the end of the header) of
function info, line info and, if `hdr_len` is 32 or more, CO-RE relocations. Each part is ``u32 record size``
followed by blocks, one for each ELF section: ``u32 section name, u32 number of records``, the records.
Records may be longer than what is known here; the rest of each is skipped. Offsets into code are in bytes.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from ebpfpy.errors import BtfError, InputError

from .kinds import MAGIC
from .rows import Rows
from .spec import check_spec

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    functions: dict[str, Rows[FuncInfo]]
    lines: dict[str, Rows[LineInfo]]
    relocations: dict[str, Rows[CoreInfo]]


def parse_ext(data: bytes | memoryview, strings: Spec, *, source: str = ".BTF.ext") -> ExtInfo:
    """Parse .BTF.ext.

    Args:
        data: the section.
        strings: the object's BTF, whose strings the records refer to.
        source: what to call it in errors.

    Raises:
        BtfError: it is malformed.
        InputError: these are no bytes, or no `Spec`.
    """
    check_spec(strings)
    try:
        data = memoryview(data).cast("B")
    except TypeError:
        raise InputError(f".BTF.ext is bytes, not {type(data).__name__}") from None
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
    part = _Part(data, strings, source, mark, {})
    functions = part.rows("function info", 8, length, FuncInfo)
    lines = part.rows("line info", 16, length, LineInfo)
    relocations = part.rows("CO-RE", 24, length, CoreInfo) if length >= _HEADER_WITH_CORE else {}
    return ExtInfo(functions, lines, relocations)


class _Part(NamedTuple):
    data: memoryview
    strings: Spec
    source: str
    mark: str
    names: dict[int, str]  # of sections, which each part names again

    def rows(self, what: str, at: int, header: int, kind: type[_Record]) -> dict[str, Rows[_Record]]:
        """The records of one part by section, each cut to the words that are known.

        Args:
            what: the part, in words.
            at: where in the header its place and its length are.
            header: bytes of the header.
            kind: the named tuple that the records are.
        """
        width = len(kind._fields)  # type: ignore[attr-defined]
        start, extent = struct.unpack_from(self.mark + "II", self.data, at)
        found: dict[str, array[int]] = {}
        for name, records, size in self._blocks(what, header + start, extent, width):
            words = array("I", records.tobytes())
            if size > width:
                words = array(
                    "I", [word for first in range(0, len(words), size) for word in words[first : first + width]]
                )
            known = found.setdefault(name, words)
            if known is not words:
                known.extend(words)
        if self.strings.byte_order != sys.byteorder:
            for words in found.values():
                words.byteswap()
        return {name: Rows(words, width, kind) for name, words in found.items()}

    def _blocks(self, what: str, start: int, extent: int, fields: int) -> Iterator[tuple[str, memoryview, int]]:
        """The blocks of one part: section name, records, and words of a record."""
        if not extent:
            return
        end = start + extent
        if end > len(self.data) or extent < 4:
            raise BtfError(f"truncated: {what} of {extent} bytes", source=self.source, offset=start)
        (size,) = struct.unpack_from(self.mark + "I", self.data, start)
        if size < 4 * fields or size % 4:
            raise BtfError(f"{what} records of {size} bytes", source=self.source, offset=start)
        head = struct.Struct(self.mark + "II").unpack_from
        at = start + 4
        while at < end:
            if at + 8 > end:
                raise BtfError(f"truncated: a block of {what}", source=self.source, offset=at)
            name_off, count = head(self.data, at)
            at += 8
            behind = at + count * size
            if behind > end:
                raise BtfError(f"truncated: {count} records of {what}", source=self.source, offset=at)
            name = self.names.get(name_off)
            if name is None:
                name = self.names[name_off] = self.strings.string(name_off)
            yield name, self.data[at:behind], size // 4
            at = behind
