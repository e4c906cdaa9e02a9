"""A relocated object: the same file with the target's numbers in its instructions.

Such an object fits one kernel and needs no CO-RE any more: any loader can take it, one for a small machine without
BTF for instance. Only two things change in the file: the relocated instructions, in place, and the length of the
CO-RE part in the header of .BTF.ext, which becomes 0 so that no loader relocates a second time.
"""

from __future__ import annotations

import struct
from operator import attrgetter
from typing import TYPE_CHECKING, BinaryIO

from ebpfpy import core
from ebpfpy.errors import RelocationError

from .objectfile import SYMBOL_FUNC, open_object

if TYPE_CHECKING:
    import os

    from .objectfile import ObjectFile

_CORE_LENGTH = 28  # byte of the .BTF.ext header where u32 core_relo_len lies
_HEADER_WITH_CORE = 32
_insn = attrgetter("function_insn")


def write_relocated(source: str | os.PathLike[str] | bytes | BinaryIO, report: core.Report) -> bytes:
    """The object file with a report's fixups applied.

    Args:
        source: the object that the report is about.
        report: the answers to all its relocations.

    Returns:
        The bytes of the new object file.

    Raises:
        RelocationError: an instruction cannot hold its number; or a subprogram is shared by programs that attach to
            different modules and need different numbers in it, which one object cannot express.
        ElfError: the file is malformed, or not the one that the report is about.
    """
    file = open_object(source)
    if report.conflicts:
        raise RelocationError(
            f"subprogram {report.conflicts[0]} is shared by programs whose modules disagree on its numbers:"
            " they cannot be relocated in one file"
        )
    places = {
        (file.sections[symbol.section].name, symbol.name): symbol
        for symbol in file.symbols
        if symbol.kind == SYMBOL_FUNC and 0 < symbol.section < len(file.sections)
    }
    data = bytearray(file.data)
    for function in report.functions:
        if not function.fixups:
            continue
        symbol = places.get((function.section, function.name))
        if symbol is None:
            raise file.error(f"there is no function {function.name} in section {function.section}")
        section = file.sections[symbol.section]
        start, end = section.offset + symbol.value, section.offset + section.size
        data[start:end] = core.patch(bytes(data[start:end]), function.fixups, file.byte_order, place=_insn)
    _forget_relocations(file, data)
    return bytes(data)


def _forget_relocations(file: ObjectFile, data: bytearray) -> None:
    section = file.section(".BTF.ext")
    if section is None or section.size < _HEADER_WITH_CORE:
        return
    (length,) = struct.unpack_from(file.mark + "I", data, section.offset + 4)
    if length >= _HEADER_WITH_CORE:
        struct.pack_into(file.mark + "I", data, section.offset + _CORE_LENGTH, 0)
