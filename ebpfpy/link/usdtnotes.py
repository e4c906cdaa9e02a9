r"""What an executable says about its static probes (USDT): notes in the section ``.note.stapsdt``.

A probe is an instruction that does nothing, and a note that says where it is and where its arguments are::

    u64 place, u64 base, u64 semaphore      addresses; 0: no semaphore
    "provider\0" "name\0" "-4@%edi 8@-24(%rbp)\0"

An argument is its size in bytes, negative for signed numbers, and an operand as the assembler writes it. One probe may
have several places (a function that was inlined), each with operands of its own. A semaphore is a counter that the
program looks at before it prepares expensive arguments; the kernel raises it while a probe is there.

Source: the SystemTap wiki on user-space markers (format of the notes, version 3).
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Final, NamedTuple

from ebpfpy.errors import ElfError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .executable import Executable

_STAPSDT: Final = 3
_CONST, _REG, _DEREF = range(3)

# offsets in struct pt_regs (arch/x86/include/uapi/asm/ptrace.h, 64 bit)
_X86: Final = {
    "r15": 0, "r14": 8, "r13": 16, "r12": 24, "bp": 32, "bx": 40, "r11": 48, "r10": 56, "r9": 64, "r8": 72,
    "ax": 80, "cx": 88, "dx": 96, "si": 104, "di": 112, "ip": 128, "sp": 152,
}  # fmt: skip
_SIZE = r"(-?[1248])(?:f)?@"
_X86_OPERAND = re.compile(r"(?:\$(?P<const>-?\d+)|(?P<offset>-?\d+)?\(%(?P<base>\w+)\)|%(?P<reg>\w+))\Z")
_ARM_OPERAND = re.compile(r"(?:(?P<const>-?\d+)|\[(?P<base>\w+)(?:, *(?P<offset>-?\d+))?\]|(?P<reg>\w+))\Z")
_ARGUMENT = re.compile(_SIZE + r"((?:\[[^\]]*\]|[^\s\[])+)")


class Argument(NamedTuple):
    """Where an argument is.

    Attributes:
        size: bytes, negative for a signed number.
        kind: 0 a constant, 1 in a register, 2 in memory that a register points near.
        value: the constant, or the distance from where the register points.
        register: offset of the register in the kernel's struct pt_regs.
    """

    size: int
    kind: int
    value: int
    register: int


class Probe(NamedTuple):
    """A place of a static probe.

    Attributes:
        provider, name: what it is called.
        offset: in the file.
        semaphore: offset in the file of its counter, 0 for none.
        arguments: as the note has them.
    """

    provider: str
    name: str
    offset: int
    semaphore: int
    arguments: str


def probes(executable: Executable) -> Iterator[Probe]:
    """The static probes of a file.

    Raises:
        ElfError: malformed notes.
    """
    data = executable.section(".note.stapsdt")
    if data is None:
        return
    word = "Q" if executable.wide else "I"
    head = struct.Struct(executable.mark + "III")
    places = struct.Struct(executable.mark + 3 * word)
    at = 0
    while at + head.size <= len(data):
        name_size, size, kind = head.unpack_from(data, at)
        start = at + head.size + name_size + -name_size % 4
        if start + size > len(data):
            raise ElfError("a note is longer than .note.stapsdt", source=executable.path, offset=at)
        note = bytes(data[start : start + size])
        at = start + size + -size % 4
        if kind != _STAPSDT or size < places.size:
            continue
        place, _, semaphore = places.unpack_from(note)
        texts = note[places.size :].split(b"\0")
        if len(texts) < 3:
            raise ElfError("a note of a static probe has no names", source=executable.path, offset=start)
        provider, name, arguments = (text.decode("utf-8", "replace") for text in texts[:3])
        offset = executable.offset_of(place)
        if offset is not None:
            yield Probe(provider, name, offset, executable.offset_of(semaphore) or 0 if semaphore else 0, arguments)


def parse_arguments(text: str, machine: str) -> list[Argument]:
    """The arguments of a note.

    Args:
        text: as the note has it.
        machine: as os.uname() names it.

    Raises:
        UnsupportedError: an operand that ebpfpy does not know, or another machine.
    """
    if not text.strip():
        return []
    if machine not in ("x86_64", "aarch64"):
        raise UnsupportedError(f"arguments of static probes are not known for {machine}", feature=f"USDT on {machine}")
    found, at = [], 0
    for match in _ARGUMENT.finditer(text):
        if text[at : match.start()].strip():
            raise _strange(text, text[at : match.start()])
        at = match.end()
        found.append(_argument(int(match[1]), match[2], text, machine))
    if text[at:].strip():
        raise _strange(text, text[at:])
    return found


def _argument(size: int, operand: str, text: str, machine: str) -> Argument:
    match = (_X86_OPERAND if machine == "x86_64" else _ARM_OPERAND).match(operand)
    if match is None:
        raise _strange(text, operand)
    if match["const"] is not None:
        return Argument(size, _CONST, int(match["const"]), 0)
    register = _register(match["base"] or match["reg"], machine)
    if register is None:
        raise _strange(text, operand)
    return Argument(size, _DEREF if match["base"] else _REG, int(match["offset"] or 0), register)


def _register(name: str, machine: str) -> int | None:
    """The offset in struct pt_regs of a register, whichever part of it is named."""
    if machine == "aarch64":
        if name == "sp":
            return 31 * 8
        number = int(name[1:]) if name[:1] in ("x", "w") and name[1:].isdigit() else 31
        return 8 * number if number < 31 else None
    if name[:1] == "r" and name[1:].rstrip("dwb").isdigit():
        return _X86.get(name.rstrip("dwb"))
    for short in (name, name[1:], f"{name[:-1]}x", name[:-1]):  # ax; rax, eax; al; sil
        if short in _X86 and not short.startswith("r"):
            return _X86[short]
    return None


def _strange(text: str, part: str) -> UnsupportedError:
    return UnsupportedError(
        f"argument {part.strip()!r} of a static probe ({text!r}) is nothing that ebpfpy knows", feature="USDT arguments"
    )
