"""Commands on programs.

A program is best loaded first without a log, which is faster and needs no memory, and on a refusal
once more with one. The log's size is the caller's affair: a log that does not fit makes the kernel
answer ENOSPC, even for a program that it would accept; since 6.4 it says how much the whole log needs
(`KernelError.log_true_size`), before that the caller can only double. Room that is not written to costs
nothing: it is memory that the machine supplies when it is touched, page by page.
"""

from __future__ import annotations

import mmap
import sys
from ctypes import addressof, c_char
from typing import TYPE_CHECKING, NamedTuple, ParamSpec

from ebpfpy.errors import InputError

from .call import bpf, refusal, try_bpf
from .enums import Command, ProgramFlags
from .fd import Fd, HasFileno, number_of
from .layout import ProgBindMap, ProgLoad, ProgTestRun
from .maps import object_name
from .memlock import without_limit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

INSN_SIZE = 8
P = ParamSpec("P")


class Records(NamedTuple):
    """func_info or line_info for the kernel.

    Attributes:
        data: records side by side, in the machine's byte order.
        record_size: bytes of one.
    """

    data: bytes
    record_size: int


def log_text(buffer: bytes) -> str:
    """The text in a log buffer of the kernel, up to its first NUL."""
    return buffer.partition(b"\0")[0].decode("utf-8", "replace")


def _log_room(size: int) -> mmap.mmap:
    """Zeros that take memory only where the kernel writes; one byte more than it may use."""
    try:
        return mmap.mmap(-1, size + 1)
    except (OSError, ValueError, OverflowError) as error:
        raise InputError(f"there is no room for a log of {size} bytes: {error}") from None


class ProgRequest(NamedTuple):
    """A program as the kernel is asked to load it, ready to be sent.

    Attributes:
        attr: the attributes of BPF_PROG_LOAD.
        log: room for the verifier's log; None without.
        subject: what it is called in errors.
    """

    attr: ProgLoad
    log: mmap.mmap | None
    subject: str

    def send(self) -> tuple[Fd, str]:
        """Load it: the program and its log ("" without one).

        Raises:
            KernelError: the kernel refused; `log` and `log_true_size` are set. ENOSPC: the log did not fit.
        """
        attr, log = self.attr, self.log
        result = without_limit(lambda: try_bpf(Command.PROG_LOAD, attr))
        text = log_text(log[: log.find(b"\0")]) if log is not None else ""
        if result < 0:
            error = refusal(-result, Command.PROG_LOAD, self.subject, kind=attr.prog_type)
            error.log = text
            error.log_true_size = attr.log_true_size
            raise error
        return Fd(result, self.subject), text


def prog_request(
    *,
    type: int,  # noqa: A002
    insns: bytes,
    license: str = "",  # noqa: A002
    name: str = "",
    expected_attach_type: int = 0,
    attach_btf_id: int = 0,
    attach_btf_obj_fd: int = 0,
    attach_prog_fd: int = 0,
    prog_btf_fd: int = 0,
    func_info: Records | None = None,
    line_info: Records | None = None,
    fd_array: Sequence[int] = (),
    flags: int = 0,
    ifindex: int = 0,
    kern_version: int = 0,
    log_level: int = 0,
    log_size: int = 0,
    token_fd: int = 0,
) -> ProgRequest:
    """What `prog_load` asks of the kernel: who loads many programs puts all requests together before the first is sent.

    While the kernel verifies a program, the processor forgets what Python was about; it learns it once, not for each.

    Args:
        type: a `ProgramType`.
        insns: instructions in the machine's byte order, 8 bytes each.
        license: "GPL" opens the helpers that are for GPL programs only.
        name: shortened to what the kernel keeps (15 bytes; 4.15).
        expected_attach_type: an `AttachType`.
        attach_btf_id: type id of the attach target.
        attach_btf_obj_fd: the module's BTF that `attach_btf_id` is of; 0 for vmlinux.
        attach_prog_fd: the program to extend or trace; not together with `attach_btf_obj_fd`.
        prog_btf_fd: the program's own BTF.
        func_info: a record for each function.
        line_info: a record for each line.
        fd_array: descriptors that instructions refer to by index.
        flags: `ProgramFlags`.
        ifindex: interface to offload to, or 0.
        kern_version: LINUX_VERSION_CODE, which kprobe programs needed before 5.0.
        log_level: 0 none, 1 errors and states, 2 everything, 4 statistics.
        log_size: bytes of log at most; 0 means no log, whatever the level.
        token_fd: descriptor of a BPF token that stands in for capabilities, or 0 (6.9).

    Raises:
        InputError: the code is no whole number of instructions.
    """
    count, rest = divmod(len(insns), INSN_SIZE)
    if rest:
        raise InputError(f"program {name}: {len(insns)} bytes are no whole number of instructions")
    if attach_btf_obj_fd and attach_prog_fd:
        raise InputError(f"program {name}: attaches to a program or to a module's function, not to both")
    log = _log_room(log_size) if log_level and log_size else None
    attr = ProgLoad(  # what is left out is 0
        prog_type=type,
        insn_cnt=count,
        insns=insns,
        license=license.encode() + b"\0",
        prog_flags=flags,
        prog_name=object_name(name),
        expected_attach_type=expected_attach_type,
        prog_btf_fd=prog_btf_fd,
        attach_btf_id=attach_btf_id,
        attach_prog_fd=attach_prog_fd or attach_btf_obj_fd,
    )
    if log is not None:
        attr.log_level = log_level
        attr.log_size = log_size
        attr.log_buf = addressof(c_char.from_buffer(log))
    if token_fd:
        attr.prog_flags = flags | ProgramFlags.TOKEN_FD
        attr.prog_token_fd = token_fd
    if fd_array:
        attr.fd_array = b"".join(fd.to_bytes(4, sys.byteorder, signed=True) for fd in fd_array)
    if kern_version or ifindex:
        attr.kern_version = kern_version
        attr.prog_ifindex = ifindex
    if func_info is not None and func_info.data:
        attr.func_info = func_info.data
        attr.func_info_rec_size = func_info.record_size
        attr.func_info_cnt = len(func_info.data) // func_info.record_size
    if line_info is not None and line_info.data:
        attr.line_info = line_info.data
        attr.line_info_rec_size = line_info.record_size
        attr.line_info_cnt = len(line_info.data) // line_info.record_size
    return ProgRequest(attr, log, f"program {name}")


def _sent(request: Callable[P, ProgRequest]) -> Callable[P, tuple[Fd, str]]:
    def prog_load(*args: P.args, **arguments: P.kwargs) -> tuple[Fd, str]:
        """Load a program (BPF_PROG_LOAD; CAP_BPF, and CAP_PERFMON or CAP_NET_ADMIN as the type says).

        Args:
            *args: none.
            **arguments: those of `prog_request`.

        Returns:
            The program and its log ("" without one).

        Raises:
            InputError: the code is no whole number of instructions.
            KernelError: the kernel refused; `log` and `log_true_size` are set. ENOSPC: the log did not fit.
        """
        return request(*args, **arguments).send()

    return prog_load


prog_load = _sent(prog_request)


class RunResult(NamedTuple):
    """What a program did in BPF_PROG_TEST_RUN.

    Attributes:
        retval: what it returned, as unsigned 32 bits.
        duration: average nanoseconds of a run.
        data: the packet afterwards.
        context: the context afterwards; where there was no room for it, the one that was passed, as a SYSCALL program
            may have changed it.
    """

    retval: int
    duration: int
    data: bytes
    context: bytes


def prog_test_run(
    fd: int | HasFileno,
    *,
    data: bytes = b"",
    data_size_out: int = 0,
    context: bytes = b"",
    context_size_out: int = 0,
    repeat: int = 1,
    flags: int = 0,
    cpu: int = 0,
    batch_size: int = 0,
) -> RunResult:
    """Run a program now (BPF_PROG_TEST_RUN, 4.12).

    Args:
        fd: the program.
        data: the packet; networking programs want at least 14 bytes.
        data_size_out: room for the packet afterwards, in bytes; 0 if it does not matter.
        context: the context; SYSCALL and raw tracepoint programs (5.10) get their arguments here.
        context_size_out: room for the context afterwards, in bytes. SYSCALL programs want none: they change the
            context in place.
        repeat: how often; raw tracepoint and SYSCALL programs accept only one run.
        flags: BPF_F_TEST_*.
        cpu: which CPU, with BPF_F_TEST_RUN_ON_CPU (1).
        batch_size: of live XDP frames.

    Raises:
        KernelError: the kernel refused. InterruptedError: a signal came; the program may have run.
    """
    # no ctypes arrays: each length of one is a new class
    out = bytearray(data_size_out) if data_size_out else None
    context_out = bytearray(context_size_out) if context_size_out else None
    # a copy of its own: SYSCALL programs write to it, and bytes must not change
    context_in = bytearray(context) if context else None
    attr = ProgTestRun(
        prog_fd=number_of(fd),
        data_size_in=len(data),
        data_size_out=data_size_out,
        data_in=data or None,
        data_out=addressof(c_char.from_buffer(out)) if out is not None else None,
        repeat=0 if repeat == 1 else repeat,
        ctx_size_in=len(context),
        ctx_size_out=context_size_out,
        ctx_in=addressof(c_char.from_buffer(context_in)) if context_in is not None else None,
        ctx_out=addressof(c_char.from_buffer(context_out)) if context_out is not None else None,
        flags=flags,
        cpu=cpu,
        batch_size=batch_size,
    )
    bpf(Command.PROG_TEST_RUN, attr)
    if context_out is not None:
        after = bytes(context_out[: attr.ctx_size_out])
    else:
        after = bytes(context_in) if context_in is not None else b""
    return RunResult(
        attr.retval,
        attr.duration,
        bytes(out[: attr.data_size_out]) if out is not None else b"",
        after,
    )


def prog_bind_map(prog_fd: int | HasFileno, map_fd: int | HasFileno) -> None:
    """Keep a map alive as long as a program that does not use it (BPF_PROG_BIND_MAP, 5.10)."""
    bpf(Command.PROG_BIND_MAP, ProgBindMap(prog_fd=number_of(prog_fd), map_fd=number_of(map_fd)))
