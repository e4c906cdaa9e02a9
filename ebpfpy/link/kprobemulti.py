"""kprobe.multi: one link at many functions of the kernel (Linux 5.18), much faster than a kprobe for each.

A session (6.10) runs the program at the functions' entry and again at their return; what it returns at the entry
decides whether it runs at the return.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ebpfpy import features, sys
from ebpfpy.errors import InputError, TargetNotFoundError
from ebpfpy.sys import AttachType, LinkType, ProgramType

from .link import Link
from .refusal import attaching, check_cookie, check_type
from .symbols import traceable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ebpfpy.loader import Program

_RETURN = 1
_HINTS = {
    errno.ESRCH: "one of the functions does not exist, cannot be traced, or is there several times: give addresses",
    errno.ENOENT: "one of the functions does not exist, or cannot be traced",
    errno.EINVAL: "one of the addresses is no start of a function that can be traced",
    errno.E2BIG: "too many functions for one link",
}


def attach_kprobe_multi(
    program: Program,
    pattern: str | None = None,
    *,
    symbols: Sequence[str] = (),
    addresses: Sequence[int] = (),
    cookies: Sequence[int] = (),
) -> Link:
    """Attach a program to many functions of the kernel at once (Linux 5.18, sessions 6.10; CAP_PERFMON).

    Args:
        program: of a section kprobe.multi, kretprobe.multi or kprobe.session.
        pattern: all functions with such a name: ``*`` stands for any characters, ``?`` for one; "MODULE:" in front for
            those of a module. None: what the program's section says, unless symbols or addresses are given.
        symbols: instead, the functions' names.
        addresses: instead, the functions' addresses.
        cookies: one for each symbol or address: what bpf_get_attach_cookie() returns there.

    Returns:
        The link; the caller closes it.

    Raises:
        TargetNotFoundError: nothing matches the pattern.
        KernelError: ESRCH: one of the functions is not there.
        UnsupportedError: the kernel has no kprobe.multi; or tracefs, which lists the functions, is not mounted.
    """
    return _attach(program, pattern, symbols, addresses, cookies, returns=False)


def attach_kretprobe_multi(
    program: Program,
    pattern: str | None = None,
    *,
    symbols: Sequence[str] = (),
    addresses: Sequence[int] = (),
    cookies: Sequence[int] = (),
) -> Link:
    """Attach a program to the return of many functions of the kernel at once; as `attach_kprobe_multi`."""
    return _attach(program, pattern, symbols, addresses, cookies, returns=True)


def _attach(
    program: Program,
    pattern: str | None,
    symbols: Sequence[str],
    addresses: Sequence[int],
    cookies: Sequence[int],
    *,
    returns: bool,
) -> Link:
    kind = "kretprobe.multi" if returns else "kprobe.multi"
    check_type(program, kind, ProgramType.KPROBE)
    session = program.spec.attach_type == AttachType.TRACE_KPROBE_SESSION
    if session and returns:
        raise InputError(f"program {program.name}: a session is at entry and return anyway: use attach_kprobe_multi")
    if bool(symbols) + bool(addresses) + bool(pattern) > 1:
        raise InputError(f"program {program.name}: give one of pattern, symbols and addresses")
    if not symbols and not addresses:
        pattern = pattern or program.spec.attach_to
        if not pattern:
            raise InputError(
                f"program {program.name}: section {program.spec.section!r} names no function:"
                f" use link.attach_{kind.replace('.', '_')}(program, pattern)"
            )
        if cookies:
            raise InputError(f"program {program.name}: cookies need symbols or addresses, whose order is known")
        symbols, addresses = _functions(program, pattern, kind)
    for number in (*addresses, *cookies):
        check_cookie(number, "number")
    what = pattern or (symbols[0] if len(symbols) == 1 else f"{len(symbols or addresses)} functions")
    kind = "kprobe.session" if session else kind
    text = f"{program.name} to {kind} {what}"
    options = sys.KprobeMultiOptions(symbols, addresses, cookies, _RETURN if returns else 0)
    attach_type = AttachType.TRACE_KPROBE_SESSION if session else AttachType.TRACE_KPROBE_MULTI
    have, minimum = features.have_kprobe_multi, "6.10" if session else "5.18"
    with attaching(
        text, LinkType.KPROBE_MULTI, feature=kind, attach_type=attach_type, have=have, minimum=minimum, hints=_HINTS
    ):
        return Link(sys.link_create(program, attach_type=attach_type, options=options), text)


def _functions(program: Program, pattern: str, kind: str) -> tuple[list[str], list[int]]:
    """The functions that a pattern means: their names, or, where they can be had, their addresses."""
    if not set("*?:") & set(pattern):
        return [pattern], []
    found = traceable(pattern)
    if not found:
        raise TargetNotFoundError(
            f"program {program.name}: {kind}: no function that can be traced matches {pattern!r}",
            name=pattern,
            searched=("available_filter_functions",),
        )
    if all(each.address for each in found):
        return [], [each.address for each in found]
    return sorted({each.name for each in found}), []
