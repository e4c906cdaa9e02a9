"""Link a program: its own function, and behind it every subprogram that it reaches, each once.

The kernel takes a program as one run of instructions. Calls inside it are relative: a call at instruction 6
of a function that starts at instruction 40 holds ``40 - 6 - 1 = 33``. So linking is: walk the calls depth-first
from the program's function, in the order of the instructions (a function met before is not walked again, so recursion
ends), lay the functions' bytes end to end, write each call's distance, and shift each function's tables by where it
came to lie. libbpf's order is the same, so the kernel gives a program the same tag whoever loads it.

    program "first" (8 instructions) calls twice_and_one and nested; twice_and_one calls twice; nested calls
    parent_of_current and twice

    0..8 first   8..11 twice_and_one   11..14 twice   14..37 nested   37..58 parent_of_current

The address of a function (a callback) is a 64-bit load with source register 4 (BPF_PSEUDO_FUNC) and the same
kind of distance. Everything stays in the byte order of the object.

One function is reached without any instruction: the one that a program's declaration tag "exception_callback:NAME"
names, which the kernel calls when the program throws (Linux 6.7). It is laid behind the others.
"""

from __future__ import annotations

import struct
from array import array
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from ebpfpy import btf
from ebpfpy.btf.rows import Rows
from ebpfpy.core.relocation import Relocation, RelocationKind

from .functions import ADDRESS, CALL, PSEUDO_FUNC, UNDEFINED, ObjectFunction
from .spec import Function, Reference, ReferenceKind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .functions import Target
    from .objectfile import ObjectFile
    from .spec import ByteOrder

MAX_LINKED = 8 << 20
"""Instructions of all linked programs of an object together: more is absurd (the kernel takes a million
each)."""

_EXCEPTION_CALLBACK = b"exception_callback:"
_MAP, _MAP_VALUE = ReferenceKind.MAP, ReferenceKind.MAP_VALUE
_KINDS = {int(kind): kind for kind in RelocationKind}


@attrs.frozen
class DataSymbols:
    """Where loads of data lead: what is at a byte of a section.

    Attributes:
        maps: names of the maps by byte offset in ".maps".
        maps_section: index of ".maps"; 0 for none.
        sections: names and sizes of the maps of the data sections, by index of the section.
    """

    maps: dict[int, str]
    maps_section: int
    sections: dict[int, tuple[str, int]]


class LinkedProgram(NamedTuple):
    """The parts of a `ProgramSpec` that linking makes; see there."""

    code: bytes
    functions: tuple[Function, ...]
    references: tuple[Reference, ...]
    relocations: tuple[Relocation, ...]
    func_infos: Rows[tuple[int, int]]
    line_infos: Rows[tuple[int, int, int, int]]


class Linker:
    """Links the programs of one object.

    Args:
        file: the object.
        functions: all its functions by section index and byte offset.
        data: what loads of data lead to.
        types: the object's BTF.
    """

    def __init__(
        self,
        file: ObjectFile,
        functions: Mapping[tuple[int, int], ObjectFunction],
        data: DataSymbols,
        types: btf.Spec | None,
    ) -> None:
        self._file = file
        self._functions = functions
        self._data = data
        self._types = types
        self._linked = 0
        self._strings: dict[int, str] = {}
        self._distance = struct.Struct(file.mark + "i")

    @property
    def byte_order(self) -> ByteOrder:
        """The byte order of the object, and of the code."""
        return self._file.byte_order

    def link(self, program: ObjectFunction) -> LinkedProgram:
        """Lay out a program and everything that it reaches.

        Raises:
            ElfError: a call or an address that leads to no function, a load that leads to no map or variable,
                all programs together being absurdly large.
        """
        order: list[ObjectFunction] = []
        starts: dict[tuple[int, int], int] = {}
        position = 0
        for root in (program, *self._exception_callbacks(program)):
            waiting = [root]  # a stack: what a function calls is laid behind it, before its other callees
            while waiting:
                function = waiting.pop()
                place = function.section.index, function.start
                if place in starts:
                    continue
                starts[place] = position
                order.append(function)
                position += len(function.code) // 8
                if self._linked + position > MAX_LINKED:
                    raise self._file.error(f"programs of more than {MAX_LINKED} instructions together")
                if function.targets:
                    waiting += [
                        self._callee(function, target)
                        for target in reversed(function.targets)
                        if target.kind is CALL or target.kind is ADDRESS
                    ]
        self._linked += position
        return self._lay_out(order, starts)

    def _exception_callbacks(self, program: ObjectFunction) -> list[ObjectFunction]:
        """The functions that the program's declaration tags name."""
        if not self._callback_names or not program.functions:
            return []
        names = dict.fromkeys(self._callback_names.get(program.functions[0][1], ()))
        found: list[ObjectFunction] = []
        for name in names:
            callees = self._global_functions.get(name, [])
            if len(callees) != 1:
                raise self._file.error(
                    f"program {program.name} has the exception callback {name!r}, of which there are {len(callees)}",
                    section=program.section,
                    offset=program.start,
                )
            found += callees
        return found

    @cached_property
    def _global_functions(self) -> dict[str, list[ObjectFunction]]:
        result: dict[str, list[ObjectFunction]] = {}
        for each in self._functions.values():
            if not each.is_local:
                result.setdefault(each.name, []).append(each)
        return result

    @cached_property
    def _callback_names(self) -> dict[int, list[str]]:
        """Names of exception callbacks by type id of the function that is tagged."""
        result: dict[int, list[str]] = {}
        if self._types is None or _EXCEPTION_CALLBACK not in bytes(self._types.raw):
            return result
        prefix = _EXCEPTION_CALLBACK.decode()
        for each in self._types:
            if isinstance(each, btf.DeclTag) and each.component < 0 and each.name.startswith(prefix):
                result.setdefault(self._types.type_id(each.target), []).append(each.name.removeprefix(prefix))
        return result

    def _callee(self, function: ObjectFunction, target: Target) -> ObjectFunction:
        callee = self._functions.get((target.section, target.offset))
        if callee is None:
            what = "calls" if target.kind is CALL else "takes the address of"
            raise self._file.error(
                f"function {function.name} {what} byte {target.offset} of section"
                f" {self._file.sections[target.section].name}, where no function starts",
                section=function.section,
                offset=function.start + target.insn * 8,
            )
        return callee

    def _lay_out(self, order: list[ObjectFunction], starts: dict[tuple[int, int], int]) -> LinkedProgram:
        code = bytearray().join([function.code for function in order])
        functions: list[Function] = []
        references: list[Reference] = []
        relocations: list[Relocation] = []
        func_infos: list[tuple[Rows[Any], int]] = []
        line_infos: list[tuple[Rows[Any], int]] = []
        for function in order:
            start = starts[function.section.index, function.start]
            functions.append(Function(function.name, function.section.name, start, start + len(function.code) // 8))
            shift = start - function.start // 8
            func_infos.append((function.functions, shift))
            line_infos.append((function.lines, shift))
            if function.relocations.words:
                relocations += [self._relocation(function, start, row) for row in function.relocations]
            for target in function.targets:
                kind, insn = target.kind, start + target.insn
                if kind is CALL or kind is ADDRESS:
                    goal = starts[target.section, target.offset]
                    self._distance.pack_into(code, insn * 8 + 4, goal - insn - 1)
                    if kind is ADDRESS:
                        self._mark_address(code, insn)
                        name = self._callee(function, target).name
                        references.append(Reference(insn, ReferenceKind.FUNCTION, name, goal))
                else:
                    references.append(self._reference(function, insn, target))
        return LinkedProgram(
            bytes(code),
            tuple(functions),
            tuple(references),
            tuple(relocations),
            _joined(func_infos, 2),
            _joined(line_infos, 4),
        )

    def _mark_address(self, code: bytearray, insn: int) -> None:
        registers = code[insn * 8 + 1]
        if self._file.byte_order == "little":
            code[insn * 8 + 1] = registers & 0x0F | PSEUDO_FUNC << 4
        else:
            code[insn * 8 + 1] = registers & 0xF0 | PSEUDO_FUNC
        code[insn * 8 + 12 : insn * 8 + 16] = bytes(4)

    def _reference(self, function: ObjectFunction, insn: int, target: Target) -> Reference:
        if target.kind is UNDEFINED:
            return Reference(insn, ReferenceKind.UNRESOLVED, target.name)
        section = self._file.sections[target.section]
        if target.section == self._data.maps_section:
            name = self._data.maps.get(target.offset)
            if name is not None:
                return Reference(insn, _MAP, name)
            what = "no map starts"
        elif target.section in self._data.sections:
            name, size = self._data.sections[target.section]
            if 0 <= target.offset <= size:
                return Reference(insn, _MAP_VALUE, name, target.offset)
            what = f"the section has {size} bytes"
        else:  # a section that is not understood: the program cannot be loaded, but it can be read
            return Reference(insn, ReferenceKind.UNRESOLVED, target.name or section.name, target.offset)
        raise self._file.error(
            f"function {function.name} refers to byte {target.offset} of section {section.name}: {what}",
            section=function.section,
            offset=function.start + target.insn * 8,
        )

    def _relocation(self, function: ObjectFunction, start: int, row: tuple[int, int, int, int]) -> Relocation:
        at, type_id, access, number = row
        insn = at - function.start // 8
        kind = _KINDS.get(number)
        if kind is None:
            raise self._file.error(
                f"CO-RE relocation of unknown kind {number} in function {function.name}, instruction {insn}",
                section=self._file.section(".BTF.ext"),
            )
        assert self._types is not None
        text = self._strings.get(access)
        if text is None:
            text = self._strings[access] = self._types.string(access)
        return Relocation(self._types, type_id, text, kind, start + insn, function.name, insn, function.section.name)


def _joined(parts: list[tuple[Rows[Any], int]], width: int) -> Rows[Any]:
    """Records of .BTF.ext of several functions, those of each moved by a number of instructions.

    Args:
        parts: the records of each function, and by how much they move.
        width: words of a record.
    """
    if len(parts) == 1 and not parts[0][1]:  # most programs are one function, and have a section of their own
        return parts[0][0]
    words = array("I")
    for rows, shift in parts:
        words += rows.moved([at + shift for at in rows.firsts]).words if shift else rows.words
    return Rows(words, width)
