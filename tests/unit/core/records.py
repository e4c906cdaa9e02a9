"""A writer of raw BTF for tests: every word can be chosen, so that good, odd and broken type graphs can be written.

`ebpfpy.btf.Builder` writes from type objects and refuses what makes no sense; tests of the relocator need
the senseless, too,
and types that refer to ids which come later.

Offsets of members are in bits. A member is (name, type id, offset) or (name, type id, offset, width of the bitfield).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ebpfpy import btf, core
from ebpfpy.btf import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SIGNED, CHAR, BOOL = 1, 2, 4


class Records:
    """BTF in the making; ids are handed out in the order of writing, starting after the base's."""

    def __init__(self, byte_order: str = "little", base: Records | None = None) -> None:
        self.byte_order = byte_order
        self._mark = "<" if byte_order == "little" else ">"
        self._first = base.next_id if base is not None else 1
        self._first_string = base.strings_end if base is not None else 0
        self._strings = bytearray(b"\0" if base is None else b"")
        self._offsets: dict[str, int] = {"": 0}
        self._words: list[int] = []
        self._count = 0

    @property
    def next_id(self) -> int:
        return self._first + self._count

    @property
    def strings_end(self) -> int:
        return self._first_string + len(self._strings)

    def string(self, text: str) -> int:
        if text not in self._offsets:
            self._offsets[text] = self.strings_end
            self._strings += text.encode() + b"\0"
        return self._offsets[text]

    def add(
        self, kind: int, name: str = "", *, vlen: int = 0, flag: bool = False, value: int = 0, words: Iterable[int] = ()
    ) -> int:
        info = (1 << 31 if flag else 0) | kind << 24 | vlen
        self._words += [self.string(name), info, value, *words]
        self._count += 1
        return self.next_id - 1

    def int(self, name: str, size: int, encoding: int = 0, *, bit_offset: int = 0, bits: int | None = None) -> int:
        width = size * 8 if bits is None else bits
        return self.add(Kind.INT, name, value=size, words=[encoding << 24 | bit_offset << 16 | width])

    def float(self, name: str, size: int) -> int:
        return self.add(Kind.FLOAT, name, value=size)

    def pointer(self, target: int = 0) -> int:
        return self.add(Kind.PTR, value=target)

    def array(self, element: int, count: int, index: int = 0) -> int:
        return self.add(Kind.ARRAY, words=[element, index, count])

    def struct(self, name: str, size: int, members: Sequence[tuple] = (), kind: int = Kind.STRUCT) -> int:
        flag = any(len(member) > 3 and member[3] for member in members)
        words: list[int] = []
        for member_name, type_id, offset, *width in members:
            words += [self.string(member_name), type_id, offset | (width[0] << 24 if width else 0)]
        return self.add(kind, name, vlen=len(members), flag=flag, value=size, words=words)

    def union(self, name: str, size: int, members: Sequence[tuple] = ()) -> int:
        return self.struct(name, size, members, Kind.UNION)

    def enum(self, name: str, values: Sequence[tuple[str, int]], *, size: int = 4, signed: bool = False) -> int:
        words: list[int] = []
        for value_name, value in values:
            words += [self.string(value_name), value & 0xFFFF_FFFF]
        return self.add(Kind.ENUM, name, vlen=len(values), flag=signed, value=size, words=words)

    def enum64(self, name: str, values: Sequence[tuple[str, int]], *, size: int = 8, signed: bool = False) -> int:
        words: list[int] = []
        for value_name, value in values:
            words += [self.string(value_name), value & 0xFFFF_FFFF, value >> 32 & 0xFFFF_FFFF]
        return self.add(Kind.ENUM64, name, vlen=len(values), flag=signed, value=size, words=words)

    def forward(self, name: str, *, union: bool = False) -> int:
        return self.add(Kind.FWD, name, flag=union)

    def typedef(self, name: str, target: int) -> int:
        return self.add(Kind.TYPEDEF, name, value=target)

    def const(self, target: int) -> int:
        return self.add(Kind.CONST, value=target)

    def prototype(self, result: int, params: Sequence[int]) -> int:
        return self.add(
            Kind.FUNC_PROTO, vlen=len(params), value=result, words=[word for p in params for word in (0, p)]
        )

    def blob(self) -> bytes:
        types = struct.pack(f"{self._mark}{len(self._words)}I", *self._words)
        # u16 magic, u8 version, u8 flags, u32 header length, types at, types length, strings at, strings length
        header = struct.pack(f"{self._mark}HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self._strings))
        return header + types + bytes(self._strings)

    def spec(self, name: str = "", base: btf.Spec | None = None) -> btf.Spec:
        return btf.Spec(self.blob(), base, name=name)


def relocation(spec: btf.Spec, type_id: int, access: str, kind: core.RelocationKind, insn: int = 0) -> core.Relocation:
    """A relocation of a function "prog"."""
    return core.Relocation(spec, type_id, access, kind, insn, "prog", insn, "raw_tp/x")
