"""What programs can be made of."""

from __future__ import annotations

import errno
import sys as _sys
from functools import cache

from ebpfpy import asm, sys
from ebpfpy.asm import AluOp, AtomicOp, Instruction, JumpOp
from ebpfpy.errors import InputError, KernelError
from ebpfpy.sys import ProgramType
from ebpfpy.sys.refusals import ENOTSUPP

from .asking import RETURN_0, about
from .support import Support

# a longer jump (which some stable kernels have without the rest), a move with sign, a swap of bytes
_V4 = (Instruction(asm.Class.JMP32 | JumpOp.JA), Instruction(0xBF, 0, 0, 8, 0), Instruction(0xD7, 0, 0, 0, 16))


def _runs(feature: str, minimum: str, *code: Instruction) -> Support:
    with about(feature):
        try:
            insns = asm.encode((*code, *RETURN_0), _sys.byteorder)
            sys.prog_load(type=ProgramType.SOCKET_FILTER, insns=insns, license="GPL", name="probe")[0].close()
        except KernelError as error:
            if error.errno not in (errno.EINVAL, errno.E2BIG, errno.EACCES, ENOTSUPP):
                raise
            return Support(feature, False, minimum)
    return Support(feature, True, minimum)


@cache
def have_large_programs() -> Support:
    """Whether programs can have more than 4096 instructions (CAP_BPF).

    Raises:
        KernelError: no answer.
    """
    return _runs("programs of more than 4096 instructions", "5.2", *[asm.mov_imm(0, 1)] * 4096)


@cache
def have_bounded_loops() -> Support:
    """Whether the verifier follows loops that end.

    Raises:
        KernelError: no answer.
    """
    loop = (asm.mov_imm(0, 10), asm.alu_imm(AluOp.SUB, 0, 1), asm.jump_imm(JumpOp.JNE, 0, 0, -2))
    return _runs("bounded loops", "5.3", *loop)


@cache
def have_isa(version: int) -> Support:
    """Whether the kernel runs an instruction set of clang's -mcpu (CAP_BPF).

    Args:
        version: 2 adds jumps if below, 3 jumps on 32 bits, 4 longer jumps, signed division and more.

    Raises:
        InputError: another version.
        KernelError: no answer.
    """
    tests = {
        2: ("4.14", (asm.mov_imm(0, 0), asm.jump_imm(JumpOp.JLT, 0, 1, 0))),
        3: ("5.1", (asm.mov_imm(0, 0), asm.jump_imm(JumpOp.JLT, 0, 1, 0, narrow=True))),
        4: ("6.6", (asm.mov_imm(0, 0), *_V4)),
    }
    if version not in tests:
        raise InputError(f"instruction set version is 2, 3 or 4, not {version}")
    minimum, code = tests[version]
    return _runs(f"instruction set v{version}", minimum, *code)


@cache
def have_atomics() -> Support:
    """Whether atomic operations can return the old value (the machine's JIT decides, too).

    Raises:
        KernelError: no answer.
    """
    code = (asm.st(8, 10, -8, 0), asm.mov_imm(1, 1), asm.atomic(AtomicOp.ADD | AtomicOp.FETCH, 8, 10, -8, 1))
    return _runs("atomic operations that fetch", "5.12", *code)
