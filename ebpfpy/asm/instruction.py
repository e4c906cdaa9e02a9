"""Instructions and their bytes.

One slot is 8 bytes: ``u8 opcode, u4 dst, u4 src, s16 offset, s32 imm``. Multi-byte fields are in the
program's byte order, and so are the two nibbles of the register byte: in a little-endian program `dst`
is the low nibble (``r1 = r2`` is ``bf 21``), in a big-endian one the high (``bf 12``).

A 64-bit immediate load takes two slots: the second has only an immediate, which is the upper half.
Its `Instruction` holds the whole 64 bits, so an instruction's index in a decoded list is not its slot
number. Jumps and side tables count slots.

Nothing on the load path decodes a program: this is for people.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Literal, NamedTuple

from ebpfpy.errors import InstructionError

from .opcodes import INSN_SIZE, LD_IMM64, Class, Mode, Size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ByteOrder = Literal["little", "big"]

# u8 opcode, u8 registers, s16 offset, s32 imm
_SLOT = {"little": struct.Struct("<BBhi"), "big": struct.Struct(">BBhi")}

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF


class Instruction(NamedTuple):
    """One instruction.

    Attributes:
        opcode: 0-255; see `opcodes`.
        dst: destination register, 0-10.
        src: source register, or what a load or call means by its immediate.
        offset: signed 16 bits: of a memory access in bytes, of a jump in slots.
        imm: signed 32 bits; of a 64-bit immediate load unsigned 64 bits.
    """

    opcode: int
    dst: int = 0
    src: int = 0
    offset: int = 0
    imm: int = 0

    @property
    def is_wide(self) -> bool:
        """Whether this is a 64-bit immediate load, the only instruction of two slots."""
        return self.opcode == LD_IMM64

    @property
    def slots(self) -> int:
        """1, or 2 for a 64-bit immediate load."""
        return 2 if self.opcode == LD_IMM64 else 1

    @property
    def cls(self) -> Class:
        """The class: the lowest three bits of the opcode."""
        return Class(self.opcode & 0x07)

    @property
    def size(self) -> Size:
        """How much a load or store moves; meaningless for other classes."""
        return Size(self.opcode & 0x18)

    @property
    def mode(self) -> Mode | None:
        """How a load or store addresses memory, or None for a mode without a name."""
        number = self.opcode & 0xE0
        return Mode(number) if number not in (0xA0, 0xE0) else None

    def to_bytes(self, byte_order: ByteOrder = "little") -> bytes:
        """The 8 or 16 bytes of this instruction.

        Raises:
            InstructionError: a field does not fit.
        """
        return b"".join(_slots(self, byte_order))


def _registers(dst: int, src: int, byte_order: ByteOrder) -> int:
    return dst | src << 4 if byte_order == "little" else dst << 4 | src


def _signed(value: int) -> int:
    return value - (1 << 32) if value & 0x80000000 else value


def _slots(instruction: Instruction, byte_order: ByteOrder) -> Iterator[bytes]:
    opcode, dst, src, offset, imm = instruction
    if not (0 <= opcode <= 0xFF and 0 <= dst <= 0xF and 0 <= src <= 0xF and -0x8000 <= offset <= 0x7FFF):
        raise InstructionError(f"a field does not fit: {instruction!r}")
    pack = _packer(byte_order).pack
    registers = _registers(dst, src, byte_order)
    if opcode == LD_IMM64:
        if not -(1 << 63) <= imm <= _MASK64:
            raise InstructionError(f"immediate does not fit into 64 bits: {instruction!r}")
        yield pack(opcode, registers, offset, _signed(imm & _MASK32))
        yield pack(0, 0, 0, _signed(imm >> 32 & _MASK32))
        return
    if not -(1 << 31) <= imm <= _MASK32:
        raise InstructionError(f"immediate does not fit into 32 bits: {instruction!r}")
    yield pack(opcode, registers, offset, _signed(imm & _MASK32))


def _packer(byte_order: str) -> struct.Struct:
    packer = _SLOT.get(byte_order)
    if packer is None:
        raise InstructionError(f'byte order is "little" or "big", not {byte_order!r}')
    return packer


def encode(instructions: Iterable[Instruction], byte_order: ByteOrder = "little") -> bytes:
    """The bytes of `instructions`.

    Raises:
        InstructionError: a field does not fit.
    """
    return b"".join(slot for instruction in instructions for slot in _slots(instruction, byte_order))


def iter_decode(code: bytes, byte_order: ByteOrder = "little") -> Iterator[tuple[int, Instruction]]:
    """Slot number and instruction, one after the other.

    Args:
        code: instructions, 8 bytes a slot. Opcodes are not judged.
        byte_order: of `code`.

    Raises:
        InstructionError: a length that is no multiple of 8 (before the first instruction), or a 64-bit
            immediate load that is cut in half or has anything but an immediate in its second slot.
    """
    packer = _packer(byte_order)
    if len(code) % INSN_SIZE:
        whole = len(code) // INSN_SIZE * INSN_SIZE
        raise InstructionError(f"{len(code)} bytes are no whole number of instructions", offset=whole)
    return _iter_slots(packer.iter_unpack(code), big=byte_order == "big")


def _iter_slots(slots: Iterator[tuple[int, int, int, int]], *, big: bool) -> Iterator[tuple[int, Instruction]]:
    number = 0
    for opcode, registers, offset, imm in slots:
        low, high = registers & 0xF, registers >> 4
        dst, src = (high, low) if big else (low, high)
        if opcode != LD_IMM64:
            yield number, Instruction(opcode, dst, src, offset, imm)
            number += 1
            continue
        second = next(slots, None)
        if second is None:
            raise InstructionError("64-bit immediate load without its second half", offset=number * INSN_SIZE)
        if second[:3] != (0, 0, 0):
            raise InstructionError(
                "second half of a 64-bit immediate load holds more than an immediate",
                offset=(number + 1) * INSN_SIZE,
            )
        whole = (imm & _MASK32) | (second[3] & _MASK32) << 32
        yield number, Instruction(opcode, dst, src, offset, whole)
        number += 2


def decode(code: bytes, byte_order: ByteOrder = "little") -> list[Instruction]:
    """All instructions of `code`; a 64-bit immediate load is one. Errors as of `iter_decode`."""
    return [instruction for _, instruction in iter_decode(code, byte_order)]
