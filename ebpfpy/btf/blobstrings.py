"""The strings of one BTF blob, where they lie.

Nothing is copied when a blob is opened: a string is cut out of it when it is asked for, and a name is looked for by
searching the whole section, which the C library does in a tenth of a millisecond. The strings of a *split* blob
continue those of its base: an offset below its first string is answered by the base.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from ebpfpy.errors import BtfError
from ebpfpy.sys.memory import Memory, find

from .kept import Kept
from .names import RawName, check_bytes, decode_name
from .typebase import as_number, iterable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .spec import Spec

USUAL_NAME = 64
"""Bytes: a name that is not longer is cut out of the blob in one go."""
_REMEMBERED_NAMES = 1024


class BlobStrings:
    """What a `Spec` knows of its blob's strings."""

    name: str
    base: Spec | None
    _data: Any
    _strings_at: int  # bytes from the start of the blob
    _strings_length: int
    _first_string: int  # the offset that the first own string has
    _memory: Memory | None = None
    _name_offsets: dict[bytes, tuple[int, ...]] | None = None
    _long_strings = Kept[int, bytes]()
    _long_names = Kept[bytes, str]()

    def string(self, offset: int) -> str:
        """The string at an offset of a `name_off` field, in this spec or its base; a `RawName` where it is no UTF-8.

        Raises:
            BtfError: the offset is out of range, or is not where a string starts.
        """
        found = self.string_bytes(offset)
        if len(found) > USUAL_NAME:
            text = self._long_names.get(found)
            if text is None:
                text = self._long_names[found] = decode_name(found)
            return text
        try:
            return found.decode()
        except UnicodeDecodeError:
            return RawName(found)

    def string_bytes(self, offset: int) -> bytes:
        """`string`, undecoded."""
        if offset.__class__ is not int:
            offset = as_number(offset)
        own = offset - self._first_string
        if 0 < own < self._strings_length:
            at = self._strings_at + own
            piece = self._data[at - 1 : at + USUAL_NAME]
            if piece[0]:
                raise BtfError(f"string offset {offset} is not the start of a string", source=self._label)
            end = piece.find(b"\0", 1)
            return piece[1:end] if end > 0 else self._long_string(at)
        if own > 0:
            raise BtfError(f"string offset {offset} is beyond the end of the strings", source=self._label)
        if offset == 0:
            return b""
        if self.base is None:
            raise BtfError(f"string offset {offset} is negative", source=self._label)
        if own < 0:
            return self.base.string_bytes(offset)
        if not self._strings_length:
            raise BtfError(f"string offset {offset} is beyond the end of the strings", source=self._label)
        return self._long_string(self._strings_at)  # the first string of a split spec

    def strings_at(self, offsets: Iterable[int]) -> list[bytes]:
        """`string_bytes` for many offsets at once, which is faster."""
        first, length, start, data = self._first_string - 1, self._strings_length - 1, self._strings_at - 1, self._data
        found: list[bytes] = []
        for offset in iterable(offsets, "offsets of strings"):
            at = (offset if offset.__class__ is int else as_number(offset)) - first
            if 1 < at <= length:
                at += start
                piece = data[at - 1 : at + USUAL_NAME]
                end = piece.find(b"\0", 1)
                if end > 0 and not piece[0]:
                    found.append(piece[1:end])
                    continue
            found.append(self.string_bytes(offset))
        return found

    @property
    def strings_end(self) -> int:
        """The string offset after the last string of this spec: where a split spec's own strings would start."""
        return self._first_string + self._strings_length

    def own_strings(self) -> bytes:
        """A copy of the string section; offset 0 of it is ``strings_end - len()``."""
        found: bytes = self._data[self._strings_at : self._strings_at + self._strings_length]
        return found

    def each_string(self) -> Iterator[tuple[bytes, int]]:
        """Every string with its offset, the base's first."""
        if self.base is not None:
            yield from self.base.each_string()
        at = self._first_string
        for text in self.own_strings().split(b"\0")[:-1]:
            yield text, at
            at += len(text) + 1

    def string_offsets(self, name: bytes) -> list[int]:
        """Every offset at which `name` stands as a whole string; base strings first."""
        if name.__class__ is not bytes:
            check_bytes(name)
        return [*(self.base._offsets_of(name) if self.base is not None else ()), *self._each_own_offset(name)]

    def _offsets_of(self, name: bytes) -> tuple[int, ...]:
        """`string_offsets`, remembered: what many splits ask their base."""
        known = self._name_offsets
        if known is None or len(known) >= _REMEMBERED_NAMES:
            known = self._name_offsets = {}
        found = known.get(name)
        if found is None:
            found = known[name] = tuple(self.string_offsets(name))
        return found

    def _each_own_offset(self, name: bytes) -> Iterator[int]:
        if b"\0" in name:
            return
        start, end = self._strings_at, self._strings_at + self._strings_length
        needle = name + b"\0"
        if self._data[start : start + len(needle)] == needle:
            yield self._first_string
        needle = b"\0" + needle
        at = self._find(needle, start, end)
        while at >= 0:
            yield self._first_string + at + 1 - start
            at = self._find(needle, at + 1, end)

    def _long_string(self, at: int) -> bytes:
        """The string at a byte of the blob, however long it is: kept, as a thousand types may have that name."""
        known = self._long_strings.get(at)
        if known is not None:
            return known
        data, length = self._data, USUAL_NAME
        while True:
            piece: bytes = data[at : at + length]
            end = piece.find(b"\0")
            if end >= 0:
                return self._long_strings.setdefault(at, piece[:end])
            length *= 4

    def _find(self, needle: bytes, start: int, end: int) -> int:
        """The first place of some bytes in a part of the blob, -1 if there is none."""
        if isinstance(self._data, bytes):
            return find(self._data, needle, start, end)
        if self._memory is None:
            self._memory = Memory(self.raw)
        return self._memory.find(needle, start, end)

    @cached_property
    def raw(self) -> memoryview:
        """The blob: a view (`memoryview`) of its bytes that cannot be written to; ``bytes(spec.raw)`` copies them."""
        return memoryview(self._data).cast("B").toreadonly()

    @property
    def _label(self) -> str:
        return self.name or "BTF"
