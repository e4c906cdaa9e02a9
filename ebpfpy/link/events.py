"""Perf events with programs: what kprobes, uprobes, tracepoints and counters have in common.

Since Linux 5.15 a link holds event and program together, can be pinned and carries a cookie. Before, the event is told
to run the program, and closing the event ends it.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ebpfpy import features, sys
from ebpfpy.errors import InputError, KernelError
from ebpfpy.sys import AttachType, ProgramType, perfevent

from .attachment import Attachment, keep
from .link import Link
from .refusal import check_cookie, check_type, missing

if TYPE_CHECKING:
    from collections.abc import Callable

    from ebpfpy.loader import Program

_LINKS = ("links of perf events", "5.15")


def attach_perf_event(program: Program, event: int | sys.HasFileno, *, cookie: int = 0) -> Link:
    """Run a program whenever a perf event fires, and switch the event on (Linux 4.9; CAP_PERFMON).

    Args:
        program: of type PERF_EVENT.
        event: of perf_event_open(2), as `ebpfpy.sys.perfevent` opens them; the caller still owns it, and may close it
            while the link lives. Before Linux 5.15 the program stays on the event as long as the event is open, and
            closing the link switches the event off.
        cookie: what bpf_get_attach_cookie() returns in the program (Linux 5.15).

    Returns:
        The link; the caller closes it.

    Raises:
        KernelError: EEXIST: the event has a program already. EINVAL: it is no perf event.
        UnsupportedError: a cookie, before Linux 5.15.
    """
    check_type(program, "perf events", ProgramType.PERF_EVENT)
    text = f"{program.name} to perf event fd {sys.number_of(event)}"
    try:
        own = keep(event, text)
    except OSError:
        raise InputError(f"{text}: there is no such descriptor") from None
    return link_event(own, program, text, cookie=cookie, undo=lambda: perfevent.disable(own))


def link_event(
    event: sys.Fd, program: Program, text: str, *, cookie: int = 0, undo: Callable[[], None] | None = None
) -> Link:
    """Let an event run a program.

    Args:
        event: is taken over: the link holds it, or it is closed.
        program: to run.
        text: what is attached where, in words.
        cookie: what bpf_get_attach_cookie() returns in the program (Linux 5.15).
        undo: what to do on closing, besides that, where there are no links; for events that are open elsewhere, too.
    """
    try:
        check_cookie(cookie)
        return _linked(event, program, text, cookie, undo)
    except BaseException:
        event.close()
        raise


def _linked(event: sys.Fd, program: Program, text: str, cookie: int, undo: Callable[[], None] | None) -> Link:
    try:
        options = sys.PerfEventOptions(cookie=cookie)
        fd = sys.link_create(program, attach_type=AttachType.PERF_EVENT, target_fd=event, options=options, subject=text)
    except KernelError as error:
        if error.errno not in (errno.EINVAL, errno.E2BIG) or features.have_perf_event_link():
            raise
        if cookie:
            raise missing(text, "cookies of perf events", "5.15") from error
        perfevent.set_bpf(event, program)
        perfevent.enable(event)
        return Attachment(event, text, undo, instead=_LINKS)
    link = Link(fd, text)
    try:
        perfevent.enable(event)
    except BaseException:
        link.close()
        raise
    event.close()  # the link keeps what it stands for
    return link
