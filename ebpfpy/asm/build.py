"""Instructions by name, for tests and for people who write a few by hand.

Registers are numbers, 0 to 10. Sizes are bytes: 1, 2, 4 or 8. Jumps count slots from the next one.
"""

from __future__ import annotations

from ebpfpy.errors import InstructionError

from .helper_names import helper_number
from .instruction import Instruction
from .opcodes import LD_IMM64, AluOp, AtomicOp, Class, JumpOp, Mode, PseudoCall, PseudoLoad, Size, Source

_SIZES = {1: Size.B, 2: Size.H, 4: Size.W, 8: Size.DW}


def _size(size: int) -> Size:
    if size not in _SIZES:
        raise InstructionError(f"an access has 1, 2, 4 or 8 bytes, not {size}")
    return _SIZES[size]


def alu_imm(op: AluOp, dst: int, imm: int, *, narrow: bool = False) -> Instruction:
    """``dst op= imm``; `narrow`: on the lower 32 bits."""
    return Instruction((Class.ALU if narrow else Class.ALU64) | op | Source.K, dst, 0, 0, imm)


def alu_reg(op: AluOp, dst: int, src: int, *, narrow: bool = False) -> Instruction:
    """``dst op= src``; `narrow`: on the lower 32 bits."""
    return Instruction((Class.ALU if narrow else Class.ALU64) | op | Source.X, dst, src)


def mov_imm(dst: int, imm: int) -> Instruction:
    """``dst = imm``, sign-extended from 32 bits."""
    return alu_imm(AluOp.MOV, dst, imm)


def mov_reg(dst: int, src: int) -> Instruction:
    """``dst = src``."""
    return alu_reg(AluOp.MOV, dst, src)


def ld_imm64(dst: int, value: int) -> Instruction:
    """``dst = value``, all 64 bits."""
    return Instruction(LD_IMM64, dst, PseudoLoad.VALUE, 0, value & 0xFFFFFFFFFFFFFFFF)


def ld_map_fd(dst: int, fd: int) -> Instruction:
    """``dst = map``, by descriptor."""
    return Instruction(LD_IMM64, dst, PseudoLoad.MAP_FD, 0, fd & 0xFFFFFFFF)


def ld_map_value(dst: int, fd: int, offset: int = 0) -> Instruction:
    """``dst = &value + offset`` of an array map with one element, by descriptor."""
    return Instruction(LD_IMM64, dst, PseudoLoad.MAP_VALUE, 0, (fd & 0xFFFFFFFF) | offset << 32)


def ldx(size: int, dst: int, src: int, offset: int = 0) -> Instruction:
    """``dst = *(size *)(src + offset)``."""
    return Instruction(Class.LDX | Mode.MEM | _size(size), dst, src, offset)


def stx(size: int, dst: int, offset: int, src: int) -> Instruction:
    """``*(size *)(dst + offset) = src``."""
    return Instruction(Class.STX | Mode.MEM | _size(size), dst, src, offset)


def st(size: int, dst: int, offset: int, imm: int) -> Instruction:
    """``*(size *)(dst + offset) = imm``."""
    return Instruction(Class.ST | Mode.MEM | _size(size), dst, 0, offset, imm)


def atomic(op: AtomicOp | int, size: int, dst: int, offset: int, src: int) -> Instruction:
    """An atomic operation on ``*(size *)(dst + offset)``; 4 or 8 bytes."""
    return Instruction(Class.STX | Mode.ATOMIC | _size(size), dst, src, offset, op)


def jump(offset: int) -> Instruction:
    """``goto pc+offset``."""
    return Instruction(Class.JMP | JumpOp.JA, 0, 0, offset)


def jump_imm(op: JumpOp, dst: int, imm: int, offset: int, *, narrow: bool = False) -> Instruction:
    """``if dst op imm goto pc+offset``."""
    return Instruction((Class.JMP32 if narrow else Class.JMP) | op | Source.K, dst, 0, offset, imm)


def jump_reg(op: JumpOp, dst: int, src: int, offset: int, *, narrow: bool = False) -> Instruction:
    """``if dst op src goto pc+offset``."""
    return Instruction((Class.JMP32 if narrow else Class.JMP) | op | Source.X, dst, src, offset)


def call(helper: int | str) -> Instruction:
    """Call a helper by number or name ("map_lookup_elem").

    Raises:
        InstructionError: no helper has that name.
    """
    number = helper_number(helper) if isinstance(helper, str) else helper
    if number is None:
        raise InstructionError(f"no helper is called {helper!r}")
    return Instruction(Class.JMP | JumpOp.CALL, 0, PseudoCall.HELPER, 0, number)


def call_local(offset: int) -> Instruction:
    """Call a function of the same program, `offset` slots from the next one."""
    return Instruction(Class.JMP | JumpOp.CALL, 0, PseudoCall.CALL, 0, offset)


def exit_() -> Instruction:
    """Return r0."""
    return Instruction(Class.JMP | JumpOp.EXIT)
