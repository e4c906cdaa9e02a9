"""fentry, fexit, fmod_ret, tp_btf and LSM programs: attached to what they were loaded for."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.btf.loadedmodules import is_still_loaded
from ebpfpy.errors import InputError, KernelError, TargetNotFoundError
from ebpfpy.sys import AttachType, ProgramType
from ebpfpy.sys.refusals import ENOTSUPP

from .link import Link
from .refusal import check_program

if TYPE_CHECKING:
    from ebpfpy.loader import Program

_OTHER_REASONS = frozenset({errno.EPERM, errno.EACCES, errno.ENOMEM, errno.E2BIG, errno.EMFILE, errno.ENFILE})


def attach_tracing(program: Program, *, cookie: int = 0) -> Link:
    """Attach a tracing or LSM program to its target (Linux 5.5; targets in modules 5.11; CAP_PERFMON).

    Args:
        program: was loaded with its target: fentry, fexit, fmod_ret, tp_btf, lsm.
        cookie: what bpf_get_attach_cookie() returns in the program (Linux 5.19).

    Returns:
        The link; the caller closes it.

    Raises:
        TargetNotFoundError: the module has gone since the program was loaded: kernels before 6.4 do not keep it.
        KernelError: the kernel refused, with a hint where the reason is known.
    """
    check_program(program)
    if program.type not in (ProgramType.TRACING, ProgramType.LSM):
        raise InputError(f"program {program.name} ({program.spec.section}) is not for tracing")
    target = program.target
    text = f"{program.name} to {target or program.spec.section}"
    if (
        target is not None
        and target.module is not None
        and not is_still_loaded(target.module, target.incarnation, target.directory)
    ):
        raise TargetNotFoundError(
            f"{text}: module {target.module} was unloaded, or loaded anew, since the program was loaded: load it again",
            name=target.name,
            module=target.module,
            searched=(target.module,),
        )
    try:
        if cookie:
            if program.spec.attach_type is None:
                raise InputError(f"program {program.name}: its attach type is not known: it was opened from a pin")
            options = sys.TracingOptions(cookie=cookie)
            fd = sys.link_create(program, attach_type=program.spec.attach_type, options=options, subject=text)
        else:
            fd = sys.raw_tracepoint_open(program, subject=text)
    except KernelError as error:
        error.hint = error.hint or _verdict(error, program) or _hint(error, program)
        raise
    return Link(fd, text)


def _verdict(error: KernelError, program: Program) -> str | None:
    """What is known against the function, where that can be the reason."""
    from ebpfpy.loader.targetverdict import verdict

    return None if error.errno in _OTHER_REASONS else verdict(program.spec, program.target)


def _hint(error: KernelError, program: Program) -> str | None:
    if error.errno == errno.EADDRNOTAVAIL:
        return (
            "the kernel cannot find one address for the function: it is a copy such as NAME.isra.0,"
            " or exists several times"
        )
    if error.errno == errno.EBUSY:
        return "the function is already patched by something else (live patching, or another kind of tracing)"
    if error.errno == errno.ENOENT and program.target is not None:
        if program.target.module is not None:
            return f"the module {program.target.module} is no longer what it was when the program was loaded"
        if program.spec.attach_type != AttachType.TRACE_RAW_TP:
            return "the program was attached before: it can be attached only once, before Linux 5.13; load it again"
    if error.errno == errno.E2BIG:
        return "too many programs are attached to the function already"
    if error.errno == ENOTSUPP:
        return "this kernel or machine cannot patch functions for tracing (no trampolines)"
    return None


def attach_raw_tracepoint(program: Program, name: str | None = None, *, cookie: int = 0) -> Link:
    """Attach a raw tracepoint program (Linux 4.17; CAP_PERFMON).

    Args:
        program: of type RAW_TRACEPOINT.
        name: the tracepoint; None: the one in the program's section name.
        cookie: what bpf_get_attach_cookie() returns in the program (Linux 6.10).

    Returns:
        The link; the caller closes it.

    Raises:
        KernelError: FileNotFoundError: there is no such tracepoint.
    """
    check_program(program)
    if program.type not in (ProgramType.RAW_TRACEPOINT, ProgramType.RAW_TRACEPOINT_WRITABLE):
        raise InputError(f"program {program.name} ({program.spec.section}) is not for raw tracepoints")
    name = name or program.spec.attach_to
    if not name:
        raise InputError(f"program {program.name}: section {program.spec.section!r} names no tracepoint: pass its name")
    text = f"{program.name} to raw tracepoint {name}"
    try:
        return Link(sys.raw_tracepoint_open(program, name, cookie=cookie, subject=text), text)
    except FileNotFoundError as error:
        if isinstance(error, KernelError):
            error.hint = f"this kernel has no tracepoint {name!r}, or the module that defines it is not loaded"
        raise
