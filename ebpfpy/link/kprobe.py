"""kprobes: a program at (nearly) any instruction of the kernel, or at a function's return.

A perf event of the unit ``kprobe`` stands for the probe. The kernel finds the function by its name, which may be a
module's as ``MODULE:FUNCTION``; kernels that do not understand the colon (before 6.7, and in between) get the address
from /proc/kallsyms. A name with several addresses is refused: which one is meant, nobody knows.

System calls have functions whose names depend on machine and kernel: ``__x64_sys_openat``, ``__arm64_sys_openat``,
``__se_sys_openat``. `attach_ksyscall` finds the one that is there.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import AmbiguousTargetError, InputError, KernelError, TargetNotFoundError
from ebpfpy.features.evidence import Evidence
from ebpfpy.sys import ProgramType
from ebpfpy.sys.kallsyms import CODE
from ebpfpy.sys.perfevent import PerfEventAttr, perf_event_open
from ebpfpy.sys.pmu import return_bit, unit
from ebpfpy.sys.rights import hides_addresses
from ebpfpy.sys.syscallnames import functions_of
from ebpfpy.sys.vmlinux import VMLINUX

from .events import link_event
from .refusal import check_cookie, check_type

if TYPE_CHECKING:
    from ebpfpy.loader import Program

    from .link import Link


def attach_kprobe(
    program: Program,
    function: str | None = None,
    *,
    offset: int = 0,
    address: int | None = None,
    cookie: int = 0,
) -> Link:
    """Attach a program to an instruction of the kernel, mostly a function's first (Linux 4.17; CAP_PERFMON).

    Args:
        program: of type KPROBE.
        function: its name, or "MODULE:NAME", or either with "+OFFSET"; None: what the program's section says.
        offset: bytes from the function's start; the start of an instruction.
        address: instead of a function.
        cookie: what bpf_get_attach_cookie() returns in the program (Linux 5.15).

    Returns:
        The link; the caller closes it.

    Raises:
        TargetNotFoundError: there is no such function.
        AmbiguousTargetError: there are several of that name.
        UnsupportedError: no kprobes here; or a cookie before Linux 5.15.
        KernelError: the kernel refused: EINVAL, EILSEQ: no place for a probe.
    """
    return _attach(program, function, offset, address, cookie, returns=False)


def attach_kretprobe(
    program: Program, function: str | None = None, *, address: int | None = None, cookie: int = 0
) -> Link:
    """Attach a program to the return of a function of the kernel; as `attach_kprobe`."""
    return _attach(program, function, 0, address, cookie, returns=True)


def attach_ksyscall(program: Program, name: str | None = None, *, cookie: int = 0) -> Link:
    """Attach a program to the function of a system call; as `attach_kprobe`.

    Args:
        program: of type KPROBE; it finds the arguments with libbpf's BPF_KSYSCALL().
        name: of the system call ("openat"); None: what the program's section says.
        cookie: what bpf_get_attach_cookie() returns in the program (Linux 5.15).
    """
    return _attach(program, _syscall_function(program, name), 0, None, cookie, returns=False)


def attach_kretsyscall(program: Program, name: str | None = None, *, cookie: int = 0) -> Link:
    """Attach a program to the return of a system call's function; as `attach_ksyscall`."""
    return _attach(program, _syscall_function(program, name), 0, None, cookie, returns=True)


def _attach(
    program: Program, function: str | None, offset: int, address: int | None, cookie: int, *, returns: bool
) -> Link:
    kind = "kretprobe" if returns else "kprobe"
    check_type(program, f"{kind}s", ProgramType.KPROBE)
    if address is None:
        function, offset = _place(program, kind, function, offset)
    elif function is not None:
        raise InputError(f"program {program.name}: a {kind} has either a function or an address")
    else:
        check_cookie(address, "address")
    if returns and offset:
        raise InputError(f"program {program.name}: a kretprobe has no offset: {function}+{offset:#x}")
    where = function if function is not None else f"{address:#x}"
    text = f"{program.name} to {kind} {where}{f'+{offset:#x}' if offset else ''}"
    return link_event(_open(function, offset, address or 0, text, returns=returns), program, text, cookie=cookie)


def _place(program: Program, kind: str, function: str | None, offset: int) -> tuple[str, int]:
    """Function and offset, from the arguments or from the section's name."""
    function = function or program.spec.attach_to
    name, plus, more = function.partition("+")
    if plus:
        try:
            offset += int(more, 0)
        except ValueError:
            raise InputError(f"program {program.name}: {function!r}: {more!r} is no number of bytes") from None
    if not name:
        raise InputError(
            f"program {program.name}: section {program.spec.section!r} names no function:"
            f" use link.attach_{kind}(program, function)"
        )
    if "\0" in name or not 0 <= offset < 1 << 64:
        raise InputError(f"program {program.name}: {function!r} is no place for a {kind}")
    return name, offset


def _open(function: str | None, offset: int, address: int, text: str, *, returns: bool) -> sys.Fd:
    attr = PerfEventAttr(type=unit("kprobe"), config=return_bit("kprobe") if returns else 0)
    if function is None:
        attr.config2 = address
    else:
        name = function.encode() + b"\0"
        attr.config1 = name
        attr.config2 = offset
    try:
        return perf_event_open(attr, pid=-1, cpu=0, subject=text)
    except KernelError as error:
        if function is None or error.errno not in (errno.ENOENT, errno.EADDRNOTAVAIL, errno.EINVAL):
            error.hint = error.hint or _hint(error)
            raise
        only = _explain(function, text, error)
        if ":" not in function:
            raise
        attr.config1, attr.config2 = 0, only.address + offset
        again = error
    try:
        return perf_event_open(attr, pid=-1, cpu=0, subject=text)
    except KernelError as error:
        error.hint = error.hint or (again.hint if error.errno == errno.EINVAL else _hint(error))
        raise


def _explain(function: str, text: str, error: KernelError) -> sys.Symbol:
    """The one symbol that a refused name stands for, if the refusal was not about the name.

    Raises:
        TargetNotFoundError: there is none.
        AmbiguousTargetError: there are several.
        KernelError: there is one, but its address cannot be known.
    """
    module, colon, name = function.rpartition(":")
    evidence = Evidence.of_running_kernel()
    found = [
        symbol
        for symbol in evidence.exact(name)
        if symbol.kind in CODE and (not colon or (symbol.module or VMLINUX) == module)
    ]
    if not found:
        where = f"module {module}" if colon else "the kernel, and no loaded module,"
        raise TargetNotFoundError(
            f"{text}: {where} has no function {name!r}", name=name, module=module or None, searched=("kallsyms",)
        ) from error
    if len(found) > 1:
        places = tuple(f"{symbol.module or VMLINUX}:{name} at {symbol.address:#x}" for symbol in found)
        raise AmbiguousTargetError(
            f"{text}: {name!r} is the name of {len(found)} functions ({', '.join(places)}):"
            " name the module, or give the address",
            candidates=places,
            name=name,
            module=module or None,
        ) from error
    error.hint = evidence.why_no_kprobe(found[0]) or _hint(error)
    if colon and not found[0].address:
        error.hint = f"addresses of the kernel's functions are hidden: {hides_addresses()}"
        raise error
    return found[0]


def _hint(error: KernelError) -> str | None:
    if error.errno in (errno.EINVAL, errno.ENOENT):
        return "the kernel forbids probes there (/sys/kernel/debug/kprobes/blacklist), or has no such address"
    if error.errno == errno.EILSEQ:
        return "no instruction starts at that offset"
    return None


def _syscall_function(program: Program, name: str | None) -> str:
    """The function of a system call on this machine and kernel."""
    check_type(program, "system calls", ProgramType.KPROBE)
    name = name or program.spec.attach_to
    if not name:
        raise InputError(
            f"program {program.name}: section {program.spec.section!r} names no system call:"
            " use link.attach_ksyscall(program, name)"
        )
    candidates = functions_of(name)
    there = sys.find_symbols(candidates)
    for candidate in candidates:
        if candidate in there:
            return candidate
    raise TargetNotFoundError(
        f"program {program.name}: this kernel has no system call {name!r} (looked for {', '.join(candidates)})",
        name=name,
        searched=("kallsyms",),
    )
