"""Kinds of links, and what they can carry."""

from __future__ import annotations

import errno
import sys as _sys
from functools import cache

from ebpfpy import asm, sys
from ebpfpy.errors import KernelError
from ebpfpy.sys import AttachType, ProgramType

from .asking import NOWHERE, RETURN_0, about, knows_link, refusal
from .support import Support


@cache
def have_bpf_link() -> Support:
    """Whether programs can be attached by links (BPF_LINK_CREATE).

    Raises:
        KernelError: no answer.
    """
    with about("links"):
        known = knows_link(lambda: sys.link_create(NOWHERE, attach_type=0, target_fd=NOWHERE), errno.EBADF)
    return Support("links", known, "5.7")


def _have_link(
    feature: str,
    minimum: str,
    program_type: ProgramType,
    attach_type: AttachType,
    refusals: tuple[int, ...],
    *,
    expected: AttachType | int = 0,
    options: sys.LinkOptions | None = None,
    target: int = 0,
) -> Support:
    code = asm.encode(RETURN_0, _sys.byteorder)
    with about(feature):
        try:
            program, _ = sys.prog_load(
                type=program_type, insns=code, license="GPL", name="probe", expected_attach_type=expected
            )
        except KernelError as error:
            if error.errno not in (errno.EINVAL, errno.E2BIG):
                raise
            return Support(feature, False, minimum)
        with program:
            known = knows_link(
                lambda: sys.link_create(program, attach_type=attach_type, target_fd=target, options=options), *refusals
            )
    return Support(feature, known, minimum)


@cache
def have_perf_event_link() -> Support:
    """Whether kprobes, uprobes and tracepoints can be attached by links, with cookies (CAP_PERFMON).

    Raises:
        KernelError: no answer.
    """
    return _have_link(
        "links of perf events",
        "5.15",
        ProgramType.TRACEPOINT,
        AttachType.PERF_EVENT,
        (errno.EBADF,),
        target=NOWHERE,
    )


@cache
def have_kprobe_multi() -> Support:
    """Whether one link can attach to many functions, kprobe.multi (CAP_PERFMON).

    Raises:
        KernelError: no answer.
    """
    attach_type = AttachType.TRACE_KPROBE_MULTI
    options = sys.KprobeMultiOptions(symbols=("ebpfpy no such function",))
    refusals = (errno.ESRCH, errno.ENOENT)
    return _have_link(
        "kprobe.multi", "5.18", ProgramType.KPROBE, attach_type, refusals, expected=attach_type, options=options
    )


@cache
def have_uprobe_multi() -> Support:
    """Whether one link can attach to many places of a file, uprobe.multi (CAP_PERFMON).

    Raises:
        KernelError: no answer.
    """
    attach_type = AttachType.TRACE_UPROBE_MULTI
    options = sys.UprobeMultiOptions(path="/", offsets=(0,))  # no file: EBADF
    refusals = (errno.EBADF,)
    return _have_link(
        "uprobe.multi", "6.6", ProgramType.KPROBE, attach_type, refusals, expected=attach_type, options=options
    )


@cache
def have_uprobe_multi_of_process() -> Support:
    """Whether uprobe.multi can be limited to a process; kernels before 6.10 limited it to a thread (CAP_PERFMON).

    Raises:
        KernelError: no answer.
    """
    feature, minimum = "uprobe.multi of a process", "6.10"
    if not have_uprobe_multi():
        return Support(feature, False, minimum)
    attach_type = AttachType.TRACE_UPROBE_MULTI
    options = sys.UprobeMultiOptions(path="/", offsets=(0,), pid=0xFFFF_FFFF)
    code = asm.encode(RETURN_0, _sys.byteorder)
    with about(feature):
        program, _ = sys.prog_load(
            type=ProgramType.KPROBE, insns=code, license="GPL", name="probe", expected_attach_type=attach_type
        )
        with program:  # who limits it to processes, looks at the number before the path
            answer = refusal(lambda: sys.link_create(program, attach_type=attach_type, options=options))
    return Support(feature, answer == errno.EINVAL, minimum)


@cache
def have_tcx() -> Support:
    """Whether traffic control programs can be attached by links, tcx (CAP_NET_ADMIN).

    Raises:
        KernelError: no answer.
    """
    return _have_link("tcx", "6.6", ProgramType.SCHED_CLS, AttachType.TCX_INGRESS, (errno.ENODEV,), target=NOWHERE)


@cache
def have_raw_tracepoint_cookie() -> Support:
    """Whether raw tracepoints and tp_btf programs can be attached with a cookie (CAP_PERFMON).

    Raises:
        KernelError: no answer.
    """
    feature = "cookies of raw tracepoints"
    code = asm.encode(RETURN_0, _sys.byteorder)
    with about(feature):
        program, _ = sys.prog_load(type=ProgramType.RAW_TRACEPOINT, insns=code, license="GPL", name="probe")
        with program:
            known = knows_link(
                lambda: sys.raw_tracepoint_open(program, "ebpfpy_no_such_tracepoint", cookie=1), errno.ENOENT
            )
    return Support(feature, known, "6.10")
