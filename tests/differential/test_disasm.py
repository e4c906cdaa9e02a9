"""Our disassembly against the verifier's: the kernel prints every instruction that it walks."""

import re
import sys as python

import pytest

from ebpfpy import asm, sys
from ebpfpy.asm import AluOp, AtomicOp, Instruction, JumpOp
from ebpfpy.errors import KernelError

pytestmark = pytest.mark.kernel

ORDER = python.byteorder

# Straight-line code, so that the verifier walks, and prints, all of it.
V1 = [
    asm.mov_imm(6, -5),
    asm.mov_reg(7, 1),
    asm.mov_reg(8, 6),
    asm.alu_imm(AluOp.ADD, 6, 100),
    asm.alu_imm(AluOp.MUL, 6, -3),
    asm.alu_imm(AluOp.ARSH, 6, 1, narrow=True),
    asm.alu_reg(AluOp.LSH, 6, 8, narrow=True),
    Instruction(0xDC, 6, 0, 0, 16),
    Instruction(0xD4, 6, 0, 0, 32),
    Instruction(0x87, 6),
    Instruction(0x84, 6),
    Instruction(0x94, 6, 0, 0, 7),
    asm.st(8, 10, -8, -1),
    asm.st(4, 10, -16, 1),
    asm.stx(1, 10, -12, 6),
    asm.stx(2, 10, -14, 6),
    asm.stx(4, 10, -16, 6),
    asm.stx(8, 10, -16, 6),
    asm.ldx(1, 0, 10, -8),
    asm.ldx(2, 0, 10, -8),
    asm.ldx(4, 0, 10, -8),
    asm.ldx(8, 0, 10, -8),
    asm.atomic(AtomicOp.ADD, 8, 10, -8, 6),
    asm.ld_imm64(2, 0x1122334455667788),
    asm.ld_imm64(2, -1),
    asm.call("get_prandom_u32"),
    asm.call("ktime_get_ns"),
    asm.jump(0),
    asm.jump_imm(JumpOp.JEQ, 6, -1, 0),
    asm.jump_imm(JumpOp.JSLT, 6, 7, 0, narrow=True),
    asm.jump_reg(JumpOp.JSET, 6, 8, 0),
    asm.jump_reg(JumpOp.JLE, 6, 8, 0, narrow=True),
]
ATOMICS = [
    asm.mov_imm(0, 0),
    asm.mov_imm(6, 3),
    asm.st(8, 10, -8, 1),
    asm.atomic(AtomicOp.OR, 8, 10, -8, 6),
    asm.atomic(AtomicOp.AND | AtomicOp.FETCH, 4, 10, -8, 6),
    asm.atomic(AtomicOp.XOR | AtomicOp.FETCH, 8, 10, -8, 6),
    asm.atomic(AtomicOp.XCHG, 8, 10, -8, 6),
    asm.mov_imm(0, 0),
    asm.atomic(AtomicOp.CMPXCHG, 4, 10, -8, 6),
]
V4 = [
    asm.mov_imm(6, -5),
    asm.mov_imm(8, 3),
    asm.st(8, 10, -8, -1),
    Instruction(0xBF, 8, 6, 8),
    Instruction(0xBC, 8, 6, 16),
    Instruction(0xBF, 8, 6, 32),
    Instruction(0xD7, 6, 0, 0, 64),
    Instruction(0x37, 6, 0, 1, 3),
    Instruction(0x9F, 6, 8, 1),
    Instruction(0x81, 0, 10, -8),
    Instruction(0x89, 0, 10, -8),
    Instruction(0x91, 0, 10, -8),
    Instruction(0x06),
]
ACQUIRE = [
    asm.st(8, 10, -8, 1),
    asm.mov_imm(6, 3),
    Instruction(0xDB, 0, 10, -8, AtomicOp.LOAD_ACQ),
    Instruction(0xDB, 10, 6, -8, AtomicOp.STORE_REL),
]
MAY_GOTO = [Instruction(0xE5, offset=0)]


@pytest.mark.parametrize(
    ("body", "minimum"),
    [(V1, "4.20"), (ATOMICS, "5.12"), (V4, "6.6"), (MAY_GOTO, "6.9"), (ACQUIRE, "6.15")],
    ids=["v1", "atomics", "v4", "may_goto", "acquire"],
)
def test_our_text_is_the_verifiers(body, minimum):
    code = asm.encode([*body, asm.mov_imm(0, 0), asm.exit_()], ORDER)
    try:
        program, log = sys.prog_load(
            type=sys.ProgramType.SOCKET_FILTER,
            insns=code,
            license="GPL",
            name="disasm",
            log_level=2,
            log_size=1 << 20,
        )
    except KernelError as error:
        pytest.skip(f"this kernel has not these instructions (Linux {minimum}): {error.log[-200:]}")
    program.close()
    printed = {
        int(slot): (opcode, text)
        for slot, opcode, text in re.findall(r"^(\d+): \(([0-9a-f]{2})\) (.*?)\s*(?:;.*)?$", log, re.MULTILINE)
    }
    ours = {line.slot: (f"{line.instruction.opcode:02x}", line.text) for line in asm.disassemble(code, ORDER)}
    assert printed.keys() <= ours.keys()
    assert len(printed) >= len(body)
    assert printed == {slot: ours[slot] for slot in printed}
