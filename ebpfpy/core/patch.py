"""Fixups into code.

What an instruction holds where depends on its class: ALU holds the number in ``imm``, loads and stores in the 16-bit
``off``, ld_imm64 in the ``imm`` of both its halves. Nothing else can be relocated. A load or store whose target field
has another size gets another size bit, too.

A relocation without an answer turns its instruction into a call of helper 195896080 (0xbad2310), which no kernel has:
the form that libbpf gave it, so that tools recognise it. ld_imm64 is poisoned in both halves.

Source: libbpf, ``bpf_core_patch_insn``, ``bpf_core_poison_insn`` (behaviour).
"""

from __future__ import annotations

import struct
from operator import attrgetter
from typing import TYPE_CHECKING

from ebpfpy.errors import RelocationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .fixup import Fixup
    from .relocation import Relocation

POISON_CALL = 0x0BAD2310

_LD, _LDX, _ST, _STX, _ALU, _ALU64 = 0, 1, 2, 3, 4, 7
_LD_IMM64 = 0x18
_CALL = 0x85
_NEG, _END = 0x80, 0xD0
_SIZE_BITS = {4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18}
_BYTES = {bits: size for size, bits in _SIZE_BITS.items()}
_SIZE_MASK = 0x18

# u8 opcode, u8 registers, s16 off, s32 imm
_INSN = {"little": struct.Struct("<BBhi"), "big": struct.Struct(">BBhi")}


def patch(
    code: bytes,
    fixups: Iterable[Fixup],
    byte_order: str,
    *,
    place: Callable[[Relocation], int] = attrgetter("insn"),
) -> bytes:
    """Apply fixups to code.

    Args:
        code: instructions of 8 bytes.
        fixups: what to apply.
        byte_order: of the code.
        place: the index in `code` of a relocation's instruction; by default that in the program's linked code.

    Returns:
        The patched code; nothing is changed in place.

    Raises:
        RelocationError: an instruction cannot hold the number, or does not hold what the compiler put there.
    """
    patched = bytearray(code)
    insn = _INSN[byte_order]
    for fixup in fixups:
        _patch_one(patched, insn, fixup, place(fixup.relocation))
    return bytes(patched)


def _patch_one(code: bytearray, insn: struct.Struct, fixup: Fixup, index: int) -> None:
    at = index * 8
    if at < 0 or at + 8 > len(code):
        raise _error(fixup, f"there is no instruction {index}")
    opcode, registers, off, imm = insn.unpack_from(code, at)
    kind = opcode & 7
    wide = opcode == _LD_IMM64
    if wide and at + 16 > len(code):
        raise _error(fixup, "the second half of a 64-bit load is missing")
    if fixup.target_value is None or (fixup.memory_size_reason is not None and kind in (_LDX, _ST, _STX)):
        _poison(code, insn, at, wide)
        return
    value = fixup.target_value
    if kind in (_ALU, _ALU64):
        if opcode & 8:
            raise _error(fixup, "the instruction takes its operand from a register")
        if opcode & 0xF0 in (_NEG, _END):
            raise _error(fixup, f"an instruction with opcode {opcode:#04x} has no operand")
        _expect(fixup, imm, _signed32(fixup.local_value))
        insn.pack_into(code, at, opcode, registers, off, _signed32(value))
    elif kind in (_LDX, _ST, _STX):
        _expect(fixup, off, fixup.local_value)
        if not -0x8000 <= value <= 0x7FFF:
            raise _error(fixup, f"offset {value} does not fit into 16 bits")
        insn.pack_into(code, at, _resized(fixup, opcode), registers, value, imm)
    elif wide:
        if registers >> 4 if insn.format.startswith("<") else registers & 0xF:
            raise _error(fixup, "the 64-bit load refers to an object")
        if off or any(insn.unpack_from(code, at + 8)[:3]):
            raise _error(fixup, "the two halves are no 64-bit load")
        _expect(fixup, _wide_value(code, insn, at), fixup.local_value & 0xFFFF_FFFF_FFFF_FFFF)
        low, high = value & 0xFFFF_FFFF, value >> 32 & 0xFFFF_FFFF
        insn.pack_into(code, at, opcode, registers, off, _signed32(low))
        second = insn.unpack_from(code, at + 8)
        insn.pack_into(code, at + 8, *second[:3], _signed32(high))
    else:
        raise _error(fixup, f"an instruction with opcode {opcode:#04x} cannot be relocated")


def _resized(fixup: Fixup, opcode: int) -> int:
    """The opcode of a load or store with the target field's size."""
    if fixup.local_size == fixup.target_size:
        return opcode
    if _BYTES[opcode & _SIZE_MASK] != fixup.local_size:
        raise _error(
            fixup,
            f"the instruction moves {_BYTES[opcode & _SIZE_MASK]} bytes, the field has {fixup.local_size}",
        )
    if fixup.target_size not in _SIZE_BITS:
        raise _error(fixup, f"no load or store moves {fixup.target_size} bytes")
    return opcode & ~_SIZE_MASK | _SIZE_BITS[fixup.target_size]


def _wide_value(code: bytearray, insn: struct.Struct, at: int) -> int:
    low: int = insn.unpack_from(code, at)[3]
    high: int = insn.unpack_from(code, at + 8)[3]
    return low & 0xFFFF_FFFF | (high & 0xFFFF_FFFF) << 32


def _poison(code: bytearray, insn: struct.Struct, at: int, wide: bool) -> None:
    for half in range(2 if wide else 1):
        insn.pack_into(code, at + 8 * half, _CALL, 0, 0, POISON_CALL)


def _expect(fixup: Fixup, found: int, expected: int) -> None:
    if fixup.validate and found != expected:
        raise _error(fixup, f"the instruction holds {found}, but the object's own types say {expected}")


def _signed32(value: int) -> int:
    value &= 0xFFFF_FFFF
    return value - (1 << 32) if value >> 31 else value


def _error(fixup: Fixup, reason: str) -> RelocationError:
    relocation = fixup.relocation
    return RelocationError(
        reason,
        program=relocation.function or None,
        insn=relocation.function_insn,
        relocation=f"{fixup.kind.text} of {fixup.local}",
    )
