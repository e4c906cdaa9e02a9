"""Cut sections of code into functions, and say what each function's instructions refer to.

A section of code holds functions back to back; symbols say where each one starts. Beside the code lie three
sorted tables whose offsets count from the section's start: ELF relocations, and .BTF.ext's functions, lines
and CO-RE relocations. Each function gets its slice of each (binary search).

How an instruction refers to something:

* ``call`` of another function (source register 1, BPF_PSEUDO_CALL). With a relocation, the target is
  ``symbol.value + (imm + 1) * 8`` bytes into the symbol's section: for a static function the symbol is the
  section's (`.text`, imm 49: byte 400), for a global one its own (imm -1: byte 0 of the symbol). Without a
  relocation the assembler has resolved it: imm + 1 instructions further on, in the same section.
* 64-bit immediate load (two slots) with a relocation. The target is ``symbol.value + imm`` bytes into the
  symbol's section: a map, a variable, or a function whose address is taken.

The number of the relocation's type adds nothing to that and is not read.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from enum import Enum
from operator import itemgetter
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import attrs

from .objectfile import (
    BIND_GLOBAL,
    BIND_LOCAL,
    INDEX_UNDEFINED,
    SYMBOL_FUNC,
    SYMBOL_NOTYPE,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ebpfpy.btf.ext import ExtInfo
    from ebpfpy.errors import ElfError

    from .objectfile import ObjectFile, Section, Symbol

Row = TypeVar("Row", bound=tuple[int, ...])

OPCODE_LD_IMM64 = 0x18
OPCODE_CALL = 0x85
PSEUDO_CALL = 1
PSEUDO_FUNC = 4
_REFERRING = frozenset({OPCODE_LD_IMM64, OPCODE_CALL})
_IMMEDIATE = {"little": struct.Struct("<i").unpack_from, "big": struct.Struct(">i").unpack_from}


class TargetKind(Enum):
    """What an instruction refers to."""

    CALL = "call"
    ADDRESS = "address"
    DATA = "data"
    UNDEFINED = "undefined"


class Target(NamedTuple):
    """What one instruction refers to.

    Attributes:
        insn: index of the instruction in its function.
        kind: a call, the address of a function, something in a data section, or a symbol that is not here.
        section: index of the section referred to; 0 if undefined.
        offset: bytes into that section.
        name: of the symbol.
    """

    insn: int
    kind: TargetKind
    section: int
    offset: int
    name: str


class ObjectFunction(NamedTuple):
    """One function, as it is in the object.

    Attributes:
        name: its symbol.
        section: the section.
        start: bytes from the section's start.
        code: its instructions.
        is_local: a static function.
        targets: what its instructions refer to, sorted by `insn`.
        functions: .BTF.ext's function records: (byte, type id); bytes count from the section's start.
        lines: .BTF.ext's line records: (byte, file name offset, line offset, line and column).
        relocations: .BTF.ext's CO-RE records: (byte, type id, access string offset, kind).
    """

    name: str
    section: Section
    start: int
    code: bytes
    is_local: bool
    targets: tuple[Target, ...]
    functions: Sequence[tuple[int, int]]
    lines: Sequence[tuple[int, int, int, int]]
    relocations: Sequence[tuple[int, int, int, int]]


def read_functions(file: ObjectFile, section: Section, ext: ExtInfo | None) -> list[ObjectFunction]:
    """The functions of a section of code, in the order of their addresses.

    Args:
        file: the object.
        section: one with instructions.
        ext: the object's .BTF.ext, if it has one.

    Raises:
        ElfError: functions that overlap or leave the section, relocations that fit no instruction.
    """
    code = file.contents(section)
    if len(code) % 8:
        raise file.error(f"{len(code)} bytes are no whole number of instructions", section=section)
    parts = _Code(file, section, code, file.relocations(section))
    for offset, _ in parts.relocations:
        if offset % 8:
            raise file.error("a relocation between two instructions", section=section, offset=offset)
    name = section.name
    functions = _sorted_rows(file, section, ext.functions.get(name, ()) if ext is not None else ())
    lines = _sorted_rows(file, section, ext.lines.get(name, ()) if ext is not None else ())
    core = _sorted_rows(file, section, ext.relocations.get(name, ()) if ext is not None else ())
    result: list[ObjectFunction] = []
    for symbol, end in _extents(file, section):
        start = symbol.value
        result.append(
            ObjectFunction(
                name=symbol.name,
                section=section,
                start=start,
                code=code[start:end],
                is_local=symbol.bind == BIND_LOCAL,
                targets=parts.targets(start, end),
                functions=functions.within(start, end),
                lines=lines.within(start, end),
                relocations=core.within(start, end),
            )
        )
    return result


def _extents(file: ObjectFile, section: Section) -> list[tuple[Symbol, int]]:
    """(symbol, byte offset of the end) of each function."""
    symbols = file.symbols_by_section.get(section.index, ())
    found = [symbol for symbol in symbols if symbol.kind == SYMBOL_FUNC]
    if not found:  # old compilers give functions no type
        found = [symbol for symbol in symbols if symbol.kind == SYMBOL_NOTYPE and symbol.bind == BIND_GLOBAL]
    # of two names for one function the global one is kept
    if len(found) > 1:
        found.sort(key=lambda symbol: (symbol.value, symbol.bind == BIND_LOCAL))
    kept: list[Symbol] = []
    for symbol in found:
        if not kept or kept[-1].value != symbol.value:
            kept.append(symbol)
    result: list[tuple[Symbol, int]] = []
    for index, symbol in enumerate(kept):
        limit = kept[index + 1].value if index + 1 < len(kept) else section.size
        end = symbol.value + symbol.size if symbol.size else limit
        if symbol.value % 8 or end % 8 or symbol.value >= section.size or end > section.size:
            raise file.error(
                f"function {symbol.name} ({symbol.size} bytes) leaves the section's {section.size}",
                section=section,
                offset=symbol.value,
            )
        if end > limit:
            raise file.error(
                f"function {symbol.name} overlaps {kept[index + 1].name}",
                section=section,
                offset=symbol.value,
            )
        result.append((symbol, end))
    return result


class _Rows(NamedTuple, Generic[Row]):
    """Records of .BTF.ext for one section of code, by the byte that they describe."""

    rows: Sequence[Row]
    starts: list[int]

    def within(self, start: int, end: int) -> Sequence[Row]:
        """Those of the function in bytes `start` to `end`."""
        starts = self.starts
        first = bisect_left(starts, start)
        return self.rows[first : bisect_left(starts, end, first)]


def _sorted_rows(file: ObjectFile, section: Section, rows: Sequence[Row]) -> _Rows[Row]:
    if not rows:
        return _Rows((), [])
    size = section.size
    starts = [row[0] for row in rows]
    for start in starts:
        if start & 7 or start >= size:
            raise file.error(
                f".BTF.ext describes byte {start}, where no instruction of section {section.name} starts",
                section=file.section(".BTF.ext"),
            )
    if starts != sorted(starts):
        rows = sorted(rows, key=itemgetter(0))
        starts.sort()
    return _Rows(rows, starts)


@attrs.define(eq=False)
class _Code:
    """A section of code with its relocations: what its instructions refer to."""

    file: ObjectFile
    section: Section
    code: bytes
    relocations: list[tuple[int, Symbol]]

    def targets(self, start: int, end: int) -> tuple[Target, ...]:
        """What the instructions of the function in bytes `start` to `end` refer to, sorted."""
        own = self.relocations
        if own and not start <= own[0][0] <= own[-1][0] < end:  # the section has other functions, too
            first = bisect_left(own, start, key=itemgetter(0))
            own = own[first : bisect_left(own, end, lo=first, key=itemgetter(0))]
        result = [self._relocated(offset, symbol, start, end) for offset, symbol in own]
        relocated = {offset for offset, _ in own}
        # the second half of a 64-bit load has opcode 0, so every byte found here is a call
        opcodes = self.code[start:end:8]
        index = opcodes.find(OPCODE_CALL)
        while index >= 0:
            offset = start + index * 8
            if offset not in relocated and self._source_register(offset) == PSEUDO_CALL:
                goal = offset + (self._immediate(offset) + 1) * 8
                result.append(Target(index, TargetKind.CALL, self.section.index, goal, ""))
            index = opcodes.find(OPCODE_CALL, index + 1)
        result.sort(key=itemgetter(0))
        return tuple(result)

    def _relocated(self, offset: int, symbol: Symbol, start: int, end: int) -> Target:
        insn = (offset - start) // 8
        opcode = self.code[offset]
        name = symbol.name or "a nameless symbol"
        if opcode not in _REFERRING:
            raise self._error(
                f"a relocation of {name} in an instruction with opcode {opcode:#04x}: neither a call nor a 64-bit load",
                offset,
            )
        if opcode == OPCODE_LD_IMM64 and offset + 16 > end:
            raise self._error("a 64-bit load cut off after its first half", offset)
        if symbol.section == INDEX_UNDEFINED:
            return Target(insn, TargetKind.UNDEFINED, 0, 0, symbol.name)
        if symbol.section >= len(self.file.sections):
            raise self._error(f"a relocation of {name}, which is in no section ({symbol.section:#x})", offset)
        section = self.file.sections[symbol.section]
        immediate = self._immediate(offset)
        if opcode == OPCODE_CALL:
            if not section.is_code or self._source_register(offset) != PSEUDO_CALL:
                raise self._error(f"a call of {name} in section {section.name}: no function", offset)
            goal = symbol.value + (immediate + 1) * 8
            return Target(insn, TargetKind.CALL, section.index, goal, symbol.name)
        kind = TargetKind.ADDRESS if section.is_code else TargetKind.DATA
        return Target(insn, kind, section.index, symbol.value + immediate, symbol.name)

    def _immediate(self, offset: int) -> int:
        number: int = _IMMEDIATE[self.file.byte_order](self.code, offset + 4)[0]
        return number

    def _source_register(self, offset: int) -> int:
        registers = self.code[offset + 1]
        return registers >> 4 if self.file.byte_order == "little" else registers & 15

    def _error(self, message: str, offset: int) -> ElfError:
        return self.file.error(message, section=self.section, offset=offset)
