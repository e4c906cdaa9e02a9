"""Changes to a copy of BTF: words in place, types and strings behind all others. Ids and offsets of strings stay."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ebpfpy.btf.kinds import HEADER_SIZE

if TYPE_CHECKING:
    from ebpfpy.btf import Spec


class Patch:
    """A copy of BTF that is being changed.

    Args:
        types: what it is a copy of; no split.
    """

    def __init__(self, types: Spec) -> None:
        self.types = types
        self._blob = bytearray(types.raw)
        self._word = struct.Struct("<I" if types.byte_order == "little" else ">I")
        header, type_off = self.get(4), self.get(8)
        self._start = header + type_off
        self._added: list[int] = []
        self._next_id = types.first_id + len(types)
        self._names: dict[str, int] = {}
        self._strings = bytearray()

    def get(self, at: int) -> int:
        """The word at a byte of the blob."""
        value: int = self._word.unpack_from(self._blob, at)[0]
        return value

    def set(self, at: int, value: int) -> None:
        """Change a word."""
        self._word.pack_into(self._blob, at, value)

    def place(self, type_id: int) -> int:
        """The byte in the blob where a type's record starts."""
        return self._start + 4 * self.types.locate(type_id)[1]

    def name(self, text: str) -> int:
        """The offset of a string that goes behind all others."""
        found = self._names.get(text)
        if found is None:
            found = self._names[text] = self.get(20) + len(self._strings)
            self._strings += text.encode() + b"\0"
        return found

    def add(self, *words: int) -> int:
        """Add a type's record behind all others; its id."""
        self._added += words
        self._next_id += 1
        return self._next_id - 1

    def blob(self) -> bytes:
        """Header, types, what was added, strings: without any layout section."""
        header, type_len = self.get(4), self.get(12)
        string_off, string_len = self.get(16), self.get(20)
        types = bytes(self._blob[self._start : self._start + type_len])
        types += b"".join(self._word.pack(word) for word in self._added)
        strings = bytes(self._blob[header + string_off : header + string_off + string_len]) + bytes(self._strings)
        head = bytearray(self._blob[:HEADER_SIZE])
        for at, value in ((4, HEADER_SIZE), (8, 0), (12, len(types)), (16, len(types)), (20, len(strings))):
            self._word.pack_into(head, at, value)
        return bytes(head) + types + strings
