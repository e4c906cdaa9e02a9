"""The kernel's own search for a type by its name: a small program that asks, run once for each question.

A program of type SYSCALL may call the helper ``bpf_btf_find_by_name_kind`` (Linux 5.14, commit 3d78417b60fb, "bpf: Add
bpf_btf_find_by_name_kind() helper"). It looks through the kernel's own types, then through each BTF object of a module
in the order of their ids, takes the first type of that name and kind, and answers in one number::

    id | descriptor << 32     the type's id; of a module's type, also a new descriptor of the module's BTF object
    -ENOENT                   nothing has that name

That takes the kernel well under a millisecond, where the id of a type late in the kernel's BTF costs Python a walk over
a hundred thousand records. What the answer does not say:

* whether there are more types of that name: that is for the caller to find out (`namesakes`);
* whether the module is still loaded: on some kernels an object keeps its id while somebody has it open.

Question and answer travel in the program's context: ``s64 answer, u32 kind, u32 unused, char name[128]``.
"""

from __future__ import annotations

import os
import struct
import sys as _sys
from functools import cache
from typing import NamedTuple

from ebpfpy import asm, sys
from ebpfpy.errors import KernelError, UnsupportedError
from ebpfpy.sys import Command, ProgramFlags, ProgramType
from ebpfpy.sys.call import bpf
from ebpfpy.sys.layout import ProgLoad

from .handle import Handle

_FEATURE, _MINIMUM = "asking the kernel for types by name", "5.14"
_NAME_ROOM = 128  # what the kernel takes for the name of a type, NUL included
_QUESTION = struct.Struct(f"=qII{_NAME_ROOM}s")
_ANSWER = struct.Struct("=q")
_ENOENT = -2
_PROGRAM = "ebpfpy_find"


class Found(NamedTuple):
    """The first type of a name.

    Attributes:
        type_id: its id.
        module: the BTF object of the module that has it, which the caller closes; None for the kernel's own types.
    """

    type_id: int
    module: Handle | None


class KernelSearch:
    """Owner of the program that asks; loaded with the first question. A context manager.

    Args:
        token_fd: descriptor of a BPF token, or 0.
    """

    def __init__(self, token_fd: int = 0) -> None:
        self._token_fd = token_fd
        self._program: sys.Fd | None = None

    def load(self) -> None:
        """Load the program, unless that has been done: tells whether the kernel can be asked at all.

        Raises:
            UnsupportedError: this kernel, or its policy, has no such answer.
        """
        if self._program is None:
            try:
                descriptor = bpf(Command.PROG_LOAD, _request(self._token_fd))
            except KernelError as error:
                raise UnsupportedError(str(error), feature=_FEATURE, minimum=_MINIMUM) from error
            if descriptor == 0:  # it is the first free one: a module's might get it, and look like the kernel's types
                os.close(descriptor)
                raise UnsupportedError("this process has no standard input", feature=_FEATURE)
            self._program = sys.Fd(descriptor, _PROGRAM)

    def find(self, name: bytes, kind: int) -> Found | None:
        """The first type of a name and kind, in the kernel's types or a module's; None if there is none.

        Needs CAP_BPF (and CAP_PERFMON before Linux 5.16), nothing more, not even for a module's object.

        Raises:
            UnsupportedError: this kernel, or its policy, has no such answer; or the name is longer than it takes.
        """
        if len(name) >= _NAME_ROOM or not name or b"\0" in name:
            raise UnsupportedError(f"{name!r} is no name that the kernel would search for", feature=_FEATURE)
        self.load()
        assert self._program is not None
        try:
            context = _QUESTION.pack(0, kind, 0, name)
            (answer,) = _ANSWER.unpack_from(sys.prog_test_run(self._program, context=context).context)
        except KernelError as error:
            raise UnsupportedError(str(error), feature=_FEATURE, minimum=_MINIMUM) from error
        if answer == _ENOENT:
            return None
        if answer <= 0:
            raise UnsupportedError(f"the kernel answers {answer}", feature=_FEATURE)
        type_id, descriptor = answer & 0xFFFF_FFFF, answer >> 32
        return Found(type_id, Handle(sys.Fd(descriptor, "BTF of a module")) if descriptor else None)

    def close(self) -> None:
        """Let go of the program."""
        if self._program is not None:
            self._program.close()
            self._program = None

    def __enter__(self) -> KernelSearch:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


@cache
def _request(token_fd: int) -> ProgLoad:
    """What the kernel is told to load: the same every time, so it is put together once."""
    code = _code()
    return ProgLoad(
        prog_type=ProgramType.SYSCALL,
        insn_cnt=len(code) // asm.INSN_SIZE,
        insns=code,
        license=b"GPL\0",
        prog_flags=ProgramFlags.SLEEPABLE | (ProgramFlags.TOKEN_FD if token_fd else 0),
        prog_name=_PROGRAM.encode(),
        prog_token_fd=token_fd,
    )


def _code() -> bytes:
    """The helper wants the name in memory that it knows the size of, so it is copied to the stack."""
    context, scratch, name = 6, 1, -_NAME_ROOM
    copy = [
        step
        for at in range(0, _NAME_ROOM, 8)
        for step in (asm.ldx(8, scratch, context, 16 + at), asm.stx(8, 10, name + at, scratch))
    ]
    return asm.encode(
        [
            asm.mov_reg(context, 1),
            *copy,
            asm.mov_reg(1, 10),
            asm.alu_imm(asm.AluOp.ADD, 1, name),
            asm.mov_imm(2, _NAME_ROOM),
            asm.ldx(4, 3, context, 8),
            asm.mov_imm(4, 0),
            asm.call("btf_find_by_name_kind"),
            asm.stx(8, context, 0, 0),
            asm.mov_imm(0, 0),
            asm.exit_(),
        ],
        _sys.byteorder,
    )
