"""Tracepoints of the kernel, by category and name: ``SEC("tp/syscalls/sys_enter_openat")``.

A tracepoint has a number, which tracefs tells, and a perf event with that number runs the program. Its context is the
record that tracefs describes in the file `format` beside the number.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ebpfpy.errors import InputError, TargetNotFoundError, UnsupportedError, kernel_error
from ebpfpy.sys import ProgramType
from ebpfpy.sys.ftracelist import TRACEFS
from ebpfpy.sys.perfevent import EventType, PerfEventAttr, perf_event_open

from .events import link_event
from .refusal import check_type

if TYPE_CHECKING:
    from ebpfpy.loader import Program

    from .link import Link


def attach_tracepoint(
    program: Program, category: str | None = None, name: str | None = None, *, cookie: int = 0
) -> Link:
    """Attach a program to a tracepoint (Linux 4.7; CAP_PERFMON, and tracefs readable).

    Args:
        program: of type TRACEPOINT.
        category: the directory in events/ of tracefs ("syscalls"); None: what the program's section names.
        name: the tracepoint ("sys_enter_openat"); together with `category`.
        cookie: what bpf_get_attach_cookie() returns in the program (Linux 5.15).

    Returns:
        The link; the caller closes it.

    Raises:
        TargetNotFoundError: there is no such tracepoint.
        UnsupportedError: tracefs is not mounted; or a cookie before Linux 5.15.
        KernelError: the kernel refused.
    """
    check_type(program, "tracepoints", ProgramType.TRACEPOINT)
    if category is None and name is None:
        category, _, name = program.spec.attach_to.partition("/")
    if not category or not name:
        raise InputError(
            f"program {program.name}: section {program.spec.section!r} names no tracepoint:"
            " use link.attach_tracepoint(program, category, name)"
        )
    text = f"{program.name} to tracepoint {category}:{name}"
    attr = PerfEventAttr(type=EventType.TRACEPOINT, config=tracepoint_id(category, name))
    return link_event(perf_event_open(attr, pid=-1, cpu=0, subject=text), program, text, cookie=cookie)


def tracepoint_id(category: str, name: str) -> int:
    """The number of a tracepoint.

    Raises:
        TargetNotFoundError: there is no such tracepoint.
        UnsupportedError: tracefs is not mounted.
        KernelError: PermissionError: tracefs is not for this process.
    """
    for part in (category, name):
        if "/" in part or part in ("", ".", ".."):
            raise InputError(f"tracepoint {category}:{name}: {part!r} is no name")
    path = os.path.join(tracefs(), "events", category, name, "id")
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except FileNotFoundError:
        raise TargetNotFoundError(
            f"tracepoint {category}:{name}: this kernel has none of that name, or the module that defines it is not"
            " loaded",
            name=name,
            searched=(os.path.dirname(os.path.dirname(path)),),
        ) from None
    except OSError as error:
        raise kernel_error(error.errno or 0, "read", subject=path, hint="tracefs needs CAP_DAC_READ_SEARCH") from None
    except ValueError:
        raise UnsupportedError(f"{path} has no number in it", feature="tracefs") from None


def tracefs() -> str:
    """Where tracefs is mounted.

    Raises:
        UnsupportedError: nowhere that is known, or this process cannot see it.
    """
    for place in TRACEFS:
        if os.path.isdir(f"{place}/events"):
            return place
    raise UnsupportedError(
        f"tracefs is not mounted at {' or '.join(TRACEFS)}, or this process may not look into it:"
        f" mount -t tracefs tracefs {TRACEFS[0]}",
        feature="tracefs",
    )
