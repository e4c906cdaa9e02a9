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

import sys
from array import array
from bisect import bisect_left
from enum import Enum
from operator import itemgetter
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy.btf.rows import Rows

from .objectfile import (
    BIND_GLOBAL,
    BIND_LOCAL,
    INDEX_UNDEFINED,
    SYMBOL_FUNC,
    SYMBOL_NOTYPE,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ebpfpy.btf.ext import ExtInfo
    from ebpfpy.errors import ElfError

    from .objectfile import ObjectFile, Section, Symbol

OPCODE_LD_IMM64 = 0x18
OPCODE_CALL = 0x85
PSEUDO_CALL = 1
PSEUDO_FUNC = 4
_REFERRING = frozenset({OPCODE_LD_IMM64, OPCODE_CALL})
_WITHIN_INSN = (7).__and__
_NOTHING: Rows[Any] = Rows(array("I"), 1)
_NAMELESS = "a nameless symbol"


class TargetKind(Enum):
    """What an instruction refers to."""

    CALL = "call"
    ADDRESS = "address"
    DATA = "data"
    UNDEFINED = "undefined"


# to get at the member of an enum takes longer than what is done with it here
CALL, ADDRESS, DATA, UNDEFINED = TargetKind


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
        functions: .BTF.ext's function records: (instruction, type id); instructions count from the section's start.
        lines: .BTF.ext's line records: (instruction, file name offset, line offset, line and column).
        relocations: .BTF.ext's CO-RE records: (instruction, type id, access string offset, kind).
    """

    name: str
    section: Section
    start: int
    code: bytes
    is_local: bool
    targets: tuple[Target, ...]
    functions: Rows[tuple[int, int]]
    lines: Rows[tuple[int, int, int, int]]
    relocations: Rows[tuple[int, int, int, int]]


class Tables(NamedTuple):
    """.BTF.ext by section, and by instruction of the section; the rows are those of `ObjectFunction`."""

    functions: dict[str, Rows[tuple[int, int]]]
    lines: dict[str, Rows[tuple[int, int, int, int]]]
    relocations: dict[str, Rows[tuple[int, int, int, int]]]


def read_tables(file: ObjectFile, ext: ExtInfo | None) -> Tables:
    """What .BTF.ext says of the sections of code.

    Args:
        file: the object.
        ext: its .BTF.ext, which counts bytes; None without.

    Raises:
        ElfError: it describes something between two instructions, or behind the last.
    """
    if ext is None:
        return Tables({}, {}, {})
    sizes = {section.name: section.size for section in file.code}
    return Tables(
        _by_instruction(file, sizes, ext.functions),
        _by_instruction(file, sizes, ext.lines),
        _by_instruction(file, sizes, ext.relocations),
    )


def _by_instruction(file: ObjectFile, sizes: Mapping[str, int], parts: Mapping[str, Rows[Any]]) -> dict[str, Rows[Any]]:
    """The records of each section, sorted; those of all sections are worked out together: there may be hundreds."""
    kept = [(name, rows) for name, rows in parts.items() if rows.words and name in sizes]
    if not kept:
        return {}
    width = kept[0][1].width
    words = array("I")
    for _, rows in kept:
        words += rows.words
    offsets = words[::width].tolist()
    places = [offset >> 3 for offset in offsets]
    words[::width] = array("I", places)
    aligned = not any(map(_WITHIN_INSN, offsets))
    found: dict[str, Rows[Any]] = {}
    at = 0
    for name, rows in kept:
        end = at + len(rows.words) // width
        firsts = places[at:end]
        own: Rows[Any] = Rows(words[at * width : end * width], width, tuple, firsts)
        if firsts != sorted(firsts):
            own = own.sorted()
        if not aligned or 8 * own.firsts[-1] >= sizes[name]:
            _refuse_places(file, name, sizes[name], offsets[at:end])
        found[name] = own
        at = end
    return found


def _refuse_places(file: ObjectFile, name: str, size: int, offsets: list[int]) -> None:
    """Say what is described that is no instruction of a section; nothing if that is in another section."""
    for offset in offsets:
        if offset & 7 or offset >= size:
            raise file.error(
                f".BTF.ext describes byte {offset}, where no instruction of section {name} starts",
                section=file.section(".BTF.ext"),
            )


def read_functions(file: ObjectFile, section: Section, tables: Tables) -> list[ObjectFunction]:
    """The functions of a section of code, in the order of their addresses.

    Args:
        file: the object.
        section: one with instructions.
        tables: what .BTF.ext says of the object's code.

    Raises:
        ElfError: functions that overlap or leave the section, relocations that fit no instruction.
    """
    code = file.contents(section)
    if len(code) % 8:
        raise file.error(f"{len(code)} bytes are no whole number of instructions", section=section)
    relocations = file.relocations(section)
    for offset, _ in relocations:
        if offset % 8:
            raise file.error("a relocation between two instructions", section=section, offset=offset)
    parts = _Code(file, section, code, relocations)
    functions = tables.functions.get(section.name, _NOTHING)
    lines = tables.lines.get(section.name, _NOTHING)
    core = tables.relocations.get(section.name, _NOTHING)
    return [
        ObjectFunction(
            symbol.name,
            section,
            symbol.value,
            code[symbol.value : end],
            symbol.bind == BIND_LOCAL,
            parts.targets(symbol.value, end),
            functions.within(symbol.value >> 3, end >> 3),
            lines.within(symbol.value >> 3, end >> 3),
            core.within(symbol.value >> 3, end >> 3),
        )
        for symbol, end in _extents(file, section)
    ]


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


class _Code:
    """A section of code with its relocations: what its instructions refer to."""

    def __init__(self, file: ObjectFile, section: Section, code: bytes, relocations: list[tuple[int, Symbol]]) -> None:
        self._sections = file.sections
        self._little = file.byte_order == "little"
        self._file = file
        self._section = section
        self._code = code
        self._relocations = relocations
        # s32 words of this machine: an instruction's immediate is the second of its two
        self._words = array("i", code)
        if file.byte_order != sys.byteorder:
            self._words.byteswap()

    def targets(self, start: int, end: int) -> tuple[Target, ...]:
        """What the instructions of the function in bytes `start` to `end` refer to, sorted."""
        own = self._relocations
        if own and not start <= own[0][0] <= own[-1][0] < end:  # the section has other functions, too
            first = bisect_left(own, start, key=itemgetter(0))
            own = own[first : bisect_left(own, end, lo=first, key=itemgetter(0))]
        result = [self._relocated(offset, symbol, start, end) for offset, symbol in own]
        # the second half of a 64-bit load has opcode 0, so every byte found here is a call
        opcodes = self._code[start:end:8]
        index = opcodes.find(OPCODE_CALL)
        if index < 0:
            return tuple(result)
        relocated = {target.insn for target in result}
        while index >= 0:
            offset = start + index * 8
            if index not in relocated and self._source_register(offset) == PSEUDO_CALL:
                goal = offset + (self._words[offset // 4 + 1] + 1) * 8
                result.append(Target(index, CALL, self._section.index, goal, ""))
            index = opcodes.find(OPCODE_CALL, index + 1)
        result.sort(key=itemgetter(0))
        return tuple(result)

    def _relocated(self, offset: int, symbol: Symbol, start: int, end: int) -> Target:
        insn = (offset - start) // 8
        opcode = self._code[offset]
        name, _, _, _, index, value, _ = symbol
        if opcode not in _REFERRING:
            raise self._error(
                f"a relocation of {name or _NAMELESS} in an instruction with opcode {opcode:#04x}: neither a call nor"
                " a 64-bit load",
                offset,
            )
        if opcode == OPCODE_LD_IMM64 and offset + 16 > end:
            raise self._error("a 64-bit load cut off after its first half", offset)
        if index == INDEX_UNDEFINED:
            return Target(insn, UNDEFINED, 0, 0, name)
        if index >= len(self._sections):
            raise self._error(f"a relocation of {name or _NAMELESS}, which is in no section ({index:#x})", offset)
        immediate = self._words[offset // 4 + 1]
        is_code = self._sections[index].is_code
        if opcode == OPCODE_CALL:
            if not is_code or self._source_register(offset) != PSEUDO_CALL:
                what = f"a call of {name or _NAMELESS} in section {self._sections[index].name}: no function"
                raise self._error(what, offset)
            return Target(insn, CALL, index, value + (immediate + 1) * 8, name)
        kind = ADDRESS if is_code else DATA
        return Target(insn, kind, index, value + immediate, name)

    def _source_register(self, offset: int) -> int:
        registers = self._code[offset + 1]
        return registers >> 4 if self._little else registers & 15

    def _error(self, message: str, offset: int) -> ElfError:
        return self._file.error(message, section=self._section, offset=offset)
