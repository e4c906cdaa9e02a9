"""Instructions as text, in the words of the kernel's verifier.

The text is the one that print_bpf_insn() of kernel/bpf/disasm.c writes, so that a line here can be found
in a verifier's log: ``r0 = *(u64 *)(r1 +8)``, ``if r1 != 0x0 goto pc+5``. Where the kernel would print an
address that exists only after loading, the operand says what it stands for instead: ``map[fd:5]``,
``map[fd:5][0]+16``, ``func[pc+3]``; the `symbol` hook can replace it by a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .helper_names import helper_name
from .instruction import ByteOrder, Instruction, iter_decode
from .opcodes import INSN_SIZE, AluOp, AtomicOp, Class, JumpOp, Mode, PseudoCall, PseudoLoad, Size, Source

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Hook = Callable[[int, Instruction], str | None]

_ALU = {
    AluOp.ADD: "+=",
    AluOp.SUB: "-=",
    AluOp.MUL: "*=",
    AluOp.DIV: "/=",
    AluOp.OR: "|=",
    AluOp.AND: "&=",
    AluOp.LSH: "<<=",
    AluOp.RSH: ">>=",
    AluOp.MOD: "%=",
    AluOp.XOR: "^=",
    AluOp.MOV: "=",
    AluOp.ARSH: "s>>=",
}
_SIGNED_ALU = {AluOp.DIV: "s/=", AluOp.MOD: "s%="}
_JUMP = {
    JumpOp.JEQ: "==",
    JumpOp.JGT: ">",
    JumpOp.JGE: ">=",
    JumpOp.JSET: "&",
    JumpOp.JNE: "!=",
    JumpOp.JSGT: "s>",
    JumpOp.JSGE: "s>=",
    JumpOp.JLT: "<",
    JumpOp.JLE: "<=",
    JumpOp.JSLT: "s<",
    JumpOp.JSLE: "s<=",
}
_UNSIGNED = {Size.W: "u32", Size.H: "u16", Size.B: "u8", Size.DW: "u64"}
_SIGNED = {Size.W: "s32", Size.H: "s16", Size.B: "s8", Size.DW: "s64"}
_SIGN_EXTEND = {8: "(s8)", 16: "(s16)", 32: "(s32)"}
_ATOMIC = {AtomicOp.ADD: "add", AtomicOp.AND: "and", AtomicOp.OR: "or", AtomicOp.XOR: "xor"}
_ADDR_SPACE_CAST = 1
_PERCPU_ADDRESS = -1
_MASK32 = 0xFFFFFFFF


class Line(NamedTuple):
    """One instruction as text.

    Attributes:
        slot: its slot number, which jumps and the verifier's log count in.
        instruction: the instruction.
        text: in the verifier's words.
        comment: what the `annotate` hook said, or "".
    """

    slot: int
    instruction: Instruction
    text: str
    comment: str = ""

    @property
    def offset(self) -> int:
        """Its offset in bytes."""
        return self.slot * INSN_SIZE

    def __str__(self) -> str:
        line = f"{self.slot:4}: ({self.instruction.opcode:02x}) {self.text}"
        return f"{line:<48} ; {self.comment}" if self.comment else line


def disassemble(
    code: bytes,
    byte_order: ByteOrder = "little",
    *,
    symbol: Hook | None = None,
    annotate: Hook | None = None,
) -> Iterator[Line]:
    """Every instruction of `code` as text.

    Args:
        code: instructions, 8 bytes a slot.
        byte_order: of `code`.
        symbol: given slot and instruction of a call or a 64-bit immediate load, the text of its operand
            ("map[events]"), or None for the usual one.
        annotate: given slot and instruction, a comment, or None.

    Raises:
        InstructionError: as of `iter_decode`.
    """
    for slot, instruction in iter_decode(code, byte_order):
        operand = symbol(slot, instruction) if symbol is not None else None
        comment = annotate(slot, instruction) if annotate is not None else None
        yield Line(slot, instruction, format_instruction(instruction, operand=operand), comment or "")


def format_instruction(instruction: Instruction, *, operand: str | None = None) -> str:
    """One instruction in the verifier's words; an opcode that does not exist is ``unknown 0x..``.

    Args:
        instruction: what to print.
        operand: replaces what a call calls, or what a 64-bit immediate load loads.
    """
    cls = instruction.opcode & 0x07
    if cls in (Class.ALU, Class.ALU64):
        text = _arithmetic(instruction)
    elif cls in (Class.JMP, Class.JMP32):
        text = _jump(instruction, operand)
    elif cls == Class.LD:
        text = _load(instruction, operand)
    elif cls == Class.LDX:
        text = _load_memory(instruction)
    elif cls == Class.ST:
        text = _store_immediate(instruction)
    else:
        text = _store(instruction)
    return text if text is not None else f"unknown 0x{instruction.opcode:02x}"


def _arithmetic(insn: Instruction) -> str | None:
    wide = insn.opcode & 0x07 == Class.ALU64
    register = "r" if wide else "w"
    operation = insn.opcode & 0xF0
    from_register = bool(insn.opcode & Source.X)
    target = f"{register}{insn.dst}"
    if operation == AluOp.END:
        if wide:
            return f"r{insn.dst} = bswap{insn.imm} r{insn.dst}"
        return f"r{insn.dst} = {'be' if from_register else 'le'}{insn.imm} r{insn.dst}"
    if operation == AluOp.NEG:
        return f"{target} = -{target}"
    if operation not in _ALU:
        return None
    sign = _ALU[AluOp(operation)]
    if operation in _SIGNED_ALU and insn.offset == 1:
        sign = _SIGNED_ALU[AluOp(operation)]
    if not from_register:
        return f"{target} {sign} {insn.imm}"
    extend = ""
    if operation == AluOp.MOV and insn.offset:
        if wide and insn.offset == _ADDR_SPACE_CAST:
            return f"r{insn.dst} = addr_space_cast(r{insn.src}, {insn.imm >> 16 & 0xFFFF}, {insn.imm & 0xFFFF})"
        if wide and insn.offset == _PERCPU_ADDRESS:
            return f"r{insn.dst} = &(void __percpu *)(r{insn.src})"
        extend = _SIGN_EXTEND.get(insn.offset, "")
    return f"{target} {sign} {extend}{register}{insn.src}"


def _jump(insn: Instruction, operand: str | None) -> str | None:
    narrow = insn.opcode & 0x07 == Class.JMP32
    register = "w" if narrow else "r"
    operation = insn.opcode & 0xF0
    from_register = bool(insn.opcode & Source.X)
    if operation == JumpOp.CALL and not narrow:
        return f"callx r{insn.dst}" if from_register else _call(insn, operand)
    if operation == JumpOp.EXIT and not narrow:
        return "exit"
    if operation == JumpOp.JA:
        if from_register:
            return None if narrow else f"gotox r{insn.dst}"
        return f"gotol pc{insn.imm:+d}" if narrow else f"goto pc{insn.offset:+d}"
    if operation == JumpOp.JCOND:
        return f"may_goto pc{insn.offset:+d}" if not narrow and insn.src == 0 else None
    if operation not in _JUMP:
        return None
    right = f"{register}{insn.src}" if from_register else f"0x{insn.imm & _MASK32:x}"
    return f"if {register}{insn.dst} {_JUMP[JumpOp(operation)]} {right} goto pc{insn.offset:+d}"


def _call(insn: Instruction, operand: str | None) -> str:
    if operand is not None:
        return f"call {operand}"
    if insn.src == PseudoCall.CALL:
        return f"call pc{insn.imm:+d}"
    name = "kernel-function" if insn.src == PseudoCall.KFUNC_CALL else helper_name(insn.imm)
    return f"call {name or 'unknown'}#{insn.imm}"


def _load(insn: Instruction, operand: str | None) -> str | None:
    if insn.is_wide:
        return f"r{insn.dst} = {operand if operand is not None else _wide_operand(insn)}"
    size = _UNSIGNED[insn.size]
    if insn.mode is Mode.ABS:
        return f"r0 = *({size} *)skb[{insn.imm}]"
    if insn.mode is Mode.IND:
        return f"r0 = *({size} *)skb[r{insn.src} + {insn.imm}]"
    return None


def _wide_operand(insn: Instruction) -> str:
    low, high = insn.imm & _MASK32, insn.imm >> 32 & _MASK32
    signed = low - (1 << 32) if low & 0x80000000 else low
    if insn.src == PseudoLoad.MAP_FD:
        return f"map[fd:{signed}]"
    if insn.src == PseudoLoad.MAP_VALUE:
        return f"map[fd:{signed}][0]+{high}"
    if insn.src == PseudoLoad.BTF_ID:
        return f"btf[id:{low},fd:{high}]"
    if insn.src == PseudoLoad.FUNC:
        return f"func[pc{signed:+d}]"
    if insn.src == PseudoLoad.MAP_IDX:
        return f"map[idx:{low}]"
    if insn.src == PseudoLoad.MAP_IDX_VALUE:
        return f"map[idx:{low}][0]+{high}"
    return f"0x{insn.imm & 0xFFFFFFFFFFFFFFFF:x}"


def _load_memory(insn: Instruction) -> str | None:
    if insn.mode is Mode.MEM:
        size = _UNSIGNED[insn.size]
    elif insn.mode is Mode.MEMSX:
        size = _SIGNED[insn.size]
    else:
        return None
    return f"r{insn.dst} = *({size} *)(r{insn.src} {insn.offset:+d})"


def _store_immediate(insn: Instruction) -> str | None:
    if insn.mode is not Mode.MEM:
        return None
    return f"*({_UNSIGNED[insn.size]} *)(r{insn.dst} {insn.offset:+d}) = {insn.imm}"


def _store(insn: Instruction) -> str | None:
    size = _UNSIGNED[insn.size]
    place = f"*({size} *)(r{insn.dst} {insn.offset:+d})"
    if insn.mode is Mode.MEM:
        return f"{place} = r{insn.src}"
    if insn.mode is not Mode.ATOMIC:
        return None
    where = f"({size} *)(r{insn.dst} {insn.offset:+d})"
    width = "64" if insn.size is Size.DW else ""
    match insn.imm:
        case AtomicOp.ADD | AtomicOp.AND | AtomicOp.OR | AtomicOp.XOR:
            return f"lock {place} {_ALU[AluOp(insn.imm)]} r{insn.src}"
        case AtomicOp.XCHG:
            return f"r{insn.src} = atomic{width}_xchg({where}, r{insn.src})"
        case AtomicOp.CMPXCHG:
            return f"r0 = atomic{width}_cmpxchg({where}, r0, r{insn.src})"
        case AtomicOp.LOAD_ACQ:
            return f"r{insn.dst} = load_acquire(({size} *)(r{insn.src} {insn.offset:+d}))"
        case AtomicOp.STORE_REL:
            return f"store_release({where}, r{insn.src})"
    operation = insn.imm & ~AtomicOp.FETCH
    if operation not in _ATOMIC:
        return None
    return f"r{insn.src} = atomic{width}_fetch_{_ATOMIC[AtomicOp(operation)]}({where}, r{insn.src})"
