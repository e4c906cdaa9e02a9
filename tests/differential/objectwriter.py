"""A writer of the smallest BPF objects that carry CO-RE relocations: one program, one instruction for each of them."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

SECTION = "raw_tp/x"

MOV, LDX, LD_IMM64 = 0xB7, 0x61, 0x18
LOAD_OF = {1: 0x71, 2: 0x69, 4: 0x61, 8: 0x79}
STORE_OF = {1: 0x73, 2: 0x6B, 4: 0x63, 8: 0x7B}
STORE_IMM_OF = {1: 0x72, 2: 0x6A, 4: 0x62, 8: 0x7A}


class Types(Protocol):
    """BTF whose strings can be added to, until it is written."""

    def string(self, text: str) -> int:
        """The offset of a string."""
        ...

    def blob(self) -> bytes:
        """The types with all strings."""
        ...


class Asked(NamedTuple):
    """A relocation to be written: what is asked, and the instruction, with the number that the compiler
    would put there."""

    type_id: int
    access: str
    kind: int
    opcode: int
    value: int


def encode(opcode: int, value: int) -> bytes:
    """One instruction that holds `value`."""
    low = struct.unpack("<i", struct.pack("<I", value & 0xFFFF_FFFF))[0]
    if opcode == LD_IMM64:
        return struct.pack("<BBhI", opcode, 0, 0, value & 0xFFFF_FFFF) + struct.pack(
            "<BBhI", 0, 0, 0, value >> 32 & 0xFFFF_FFFF
        )
    if opcode & 7 in (1, 2, 3):
        return struct.pack("<BBhi", opcode, 0x10, value, 0)
    return struct.pack("<BBhi", opcode, 0, 0, low)


def object_file(types: Types, asked: Sequence[Asked], places: Sequence[int] | None = None) -> bytes:
    """A little-endian object with a program `prog` that holds every relocation, in order.

    With `places` the relocations say that they are at those byte offsets, wherever their instructions are.
    """
    section_name = types.string(SECTION)
    code = b""
    records = b""
    for at, each in enumerate(asked):
        place = len(code) if places is None else places[at]
        # u32 byte offset of the instruction, u32 type id, u32 access string, u32 kind
        records += struct.pack("<IIII", place, each.type_id, types.string(each.access), each.kind)
        code += encode(each.opcode, each.value)
    code += encode(MOV, 0) + struct.pack("<BBhi", 0x95, 0, 0, 0)
    relocations = struct.pack("<III", 16, section_name, len(asked)) + records
    # u16 magic, u8 version, u8 flags, u32 header length, then offset and length of functions, lines, relocations
    ext = struct.pack("<HBBIIIIIII", 0xEB9F, 1, 0, 32, 0, 0, 0, 0, 0, len(relocations)) + relocations
    return _elf(
        [(SECTION, 1, 6, code), ("license", 1, 3, b"GPL\0"), (".BTF", 1, 0, types.blob()), (".BTF.ext", 1, 0, ext)],
        len(code),
    )


def _elf(parts: list[tuple[str, int, int, bytes]], code_size: int) -> bytes:
    names = b"\0"
    name_at = {}
    for name in [*(part[0] for part in parts), ".symtab", ".strtab", "prog", "LICENSE"]:
        name_at[name] = len(names)
        names += name.encode() + b"\0"
    # u32 name, u8 info, u8 other, u16 section, u64 value, u64 size
    symbols = bytes(24)
    symbols += struct.pack("<IBBHQQ", name_at["prog"], 0x12, 0, 1, 0, code_size)
    symbols += struct.pack("<IBBHQQ", name_at["LICENSE"], 0x11, 0, 2, 0, 4)
    strtab = len(parts) + 2
    sections = [(name, kind, flags, data, 0, 0, 0) for name, kind, flags, data in parts]
    sections += [(".symtab", 2, 0, symbols, strtab, 1, 24), (".strtab", 3, 0, names, 0, 0, 0)]
    body = b""
    # u32 name, u32 kind, u64 flags, u64 address, u64 offset, u64 size, u32 link, u32 info, u64 align, u64 entry size
    headers = bytes(64)
    for name, kind, flags, data, link, info, entry in sections:
        body += bytes(-len(body) % 8)
        headers += struct.pack(
            "<IIQQQQIIQQ", name_at[name], kind, flags, 0, 64 + len(body), len(data), link, info, 8, entry
        )
        body += data
    body += bytes(-len(body) % 8)
    head = b"\x7fELF\x02\x01\x01" + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 1, 247, 1, 0, 0, 64 + len(body), 0, 64, 0, 0, 64, len(sections) + 1, strtab)
    return head + body + headers
