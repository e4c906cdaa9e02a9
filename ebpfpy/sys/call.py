"""bpf(2) itself: one system call through ctypes.

The C library has no wrapper for bpf(2), so this goes through syscall(2), with every argument typed: an
address passed to an untyped variadic function would be cut to a C int. ctypes releases the interpreter
lock during the call and keeps errno per thread.

Two answers of the kernel are no failures but requests to ask again:

* EINTR: a signal arrived. Asked again at once, after Python has run the signal's handler (which may
  raise). Not for BPF_PROG_TEST_RUN, whose program has already had effects, nor for the batch commands,
  which have already stored how far they came.
* EAGAIN from BPF_PROG_LOAD: the verifier saw a pending signal, such as a profiler's timer, and gave up
  early. Asked again a few times only, since a fast timer can hit every attempt.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from functools import cache
from typing import Any, Final

from ebpfpy.errors import UnsupportedError, kernel_error

from .enums import Command
from .hints import hint_for

SYSCALL_NUMBERS: Final[dict[str, int]] = {
    "x86_64": 321,
    "aarch64": 280,
    "riscv64": 280,
    "s390x": 351,
    "ppc64le": 361,
}
"""__NR_bpf by machine, as os.uname() names it. Source: the kernel's arch/*/syscalls tables."""

LOAD_ATTEMPTS: Final = 10
"""How often BPF_PROG_LOAD is asked when the kernel answers EAGAIN."""

_PARTIAL: Final = frozenset(
    (
        Command.PROG_TEST_RUN,
        Command.MAP_LOOKUP_BATCH,
        Command.MAP_LOOKUP_AND_DELETE_BATCH,
        Command.MAP_UPDATE_BATCH,
        Command.MAP_DELETE_BATCH,
    )
)


@cache
def _entry() -> tuple[Any, int]:
    """The typed syscall(2) and the number of bpf(2) on this machine."""
    if not sys.platform.startswith("linux"):
        raise UnsupportedError(f"bpf(2) exists on Linux only, not on {sys.platform}", feature="bpf(2)")
    machine = os.uname().machine
    number = SYSCALL_NUMBERS.get(machine)
    if number is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise UnsupportedError(
            f"the number of bpf(2) on machine {machine} is not known to ebpfpy; it knows "
            + ", ".join(SYSCALL_NUMBERS)
            + " (64-bit Python)",
            feature="bpf(2)",
        )
    syscall = ctypes.CDLL(None, use_errno=True).syscall
    syscall.restype = ctypes.c_long
    syscall.argtypes = (ctypes.c_long, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint)
    return syscall, number


def try_bpf(command: Command, attr: ctypes.Structure) -> int:
    """Call the kernel; never raises for an answer of the kernel.

    Args:
        command: what to do.
        attr: the command's part of ``union bpf_attr``; what it points to must stay alive during the call.

    Returns:
        The result (a descriptor, or 0), or the error number negated.

    Raises:
        UnsupportedError: this is no machine with a known bpf(2).
    """
    syscall, number = _entry()
    attempts = LOAD_ATTEMPTS
    while True:
        result: int = syscall(number, command, ctypes.byref(attr), ctypes.sizeof(attr))
        if result >= 0:
            return result
        code = ctypes.get_errno()
        if code == errno.EINTR and command not in _PARTIAL:
            continue
        if code == errno.EAGAIN and command is Command.PROG_LOAD and attempts > 1:
            attempts -= 1
            continue
        return -code


def bpf(command: Command, attr: ctypes.Structure, *, subject: str | None = None) -> int:
    """Call the kernel; an answer below zero becomes an exception.

    Args:
        command: what to do.
        attr: the command's part of ``union bpf_attr``; what it points to must stay alive during the call.
        subject: what it is about ("map events"), for the error's message.

    Returns:
        The result: a new descriptor that the caller owns, or 0.

    Raises:
        KernelError: the kernel refused; also the builtin OSError subclass of the error number.
        UnsupportedError: this is no machine with a known bpf(2).
    """
    result = try_bpf(command, attr)
    if result < 0:
        raise refusal(-result, command, subject)
    return result


def refusal(code: int, command: Command, subject: str | None = None, *, kind: int = 0) -> Any:
    """The exception for the kernel's answer `code` to `command`, with a hint where one is known.

    `kind` is the type of program, for BPF_PROG_LOAD.
    """
    return kernel_error(code, f"BPF_{command.name}", subject=subject, hint=hint_for(code, command, kind))
