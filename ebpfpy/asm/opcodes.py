"""The parts that a BPF opcode is made of.

An opcode is one byte; its lowest three bits are the class, which says how to read the other five::

    load and store      mode (3 bits)       size (2 bits)  class (3 bits)
    arithmetic, jumps   operation (4 bits)  source (1 bit) class (3 bits)

Source: Documentation/bpf/standardization/instruction-set.rst (RFC 9669), include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from enum import IntEnum


class Class(IntEnum):
    """The lowest three bits of an opcode."""

    LD = 0x00
    LDX = 0x01
    ST = 0x02
    STX = 0x03
    ALU = 0x04
    JMP = 0x05
    JMP32 = 0x06
    ALU64 = 0x07


class Size(IntEnum):
    """How much a load or store moves: 4, 2, 1 or 8 bytes."""

    W = 0x00
    H = 0x08
    B = 0x10
    DW = 0x18


class Mode(IntEnum):
    """How a load or store addresses memory."""

    IMM = 0x00
    ABS = 0x20
    IND = 0x40
    MEM = 0x60
    MEMSX = 0x80
    ATOMIC = 0xC0


class Source(IntEnum):
    """Whether the second operand is the immediate or the source register."""

    K = 0x00
    X = 0x08


class AluOp(IntEnum):
    """Arithmetic."""

    ADD = 0x00
    SUB = 0x10
    MUL = 0x20
    DIV = 0x30
    OR = 0x40
    AND = 0x50
    LSH = 0x60
    RSH = 0x70
    NEG = 0x80
    MOD = 0x90
    XOR = 0xA0
    MOV = 0xB0
    ARSH = 0xC0
    END = 0xD0


class JumpOp(IntEnum):
    """Jumps, calls and exit."""

    JA = 0x00
    JEQ = 0x10
    JGT = 0x20
    JGE = 0x30
    JSET = 0x40
    JNE = 0x50
    JSGT = 0x60
    JSGE = 0x70
    CALL = 0x80
    EXIT = 0x90
    JLT = 0xA0
    JLE = 0xB0
    JSLT = 0xC0
    JSLE = 0xD0
    JCOND = 0xE0


class AtomicOp(IntEnum):
    """The immediate of an atomic instruction."""

    ADD = 0x00
    OR = 0x40
    AND = 0x50
    XOR = 0xA0
    FETCH = 0x01
    XCHG = 0xE1
    CMPXCHG = 0xF1
    LOAD_ACQ = 0x100
    STORE_REL = 0x110


class PseudoLoad(IntEnum):
    """What the source register of a 64-bit immediate load says about the immediate: BPF_PSEUDO_*."""

    VALUE = 0
    MAP_FD = 1
    MAP_VALUE = 2
    BTF_ID = 3
    FUNC = 4
    MAP_IDX = 5
    MAP_IDX_VALUE = 6


class PseudoCall(IntEnum):
    """What the source register of a call says about the immediate."""

    HELPER = 0
    CALL = 1
    KFUNC_CALL = 2


LD_IMM64 = Class.LD | Mode.IMM | Size.DW
"""The only instruction of two slots: 16 bytes."""

INSN_SIZE = 8
"""Bytes of one slot."""
