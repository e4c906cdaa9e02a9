"""uprobe.multi: one link at many places of a file (Linux 6.6); sessions at entry and return (6.13).

Sections say ``uprobe.multi/FILE:PATTERN``; in the pattern ``*`` stands for any characters and ``?`` for one.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ebpfpy import features, sys
from ebpfpy.errors import InputError, TargetNotFoundError
from ebpfpy.sys import AttachType, LinkType, ProgramType

from .executable import Executable, find_binary
from .link import Link
from .refusal import attaching, check_cookie, check_type
from .symbols import matching
from .uprobe import check_place, place_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ebpfpy.loader import Program

_RETURN = 1
_HINTS = {
    errno.EBADF: "there is no such file",
    errno.ENOENT: "there is no such file",
    errno.ESRCH: "there is no such process",
    errno.EINVAL: "no probe can be at one of the places, or the file is of a file system without mmap",
    errno.E2BIG: "too many places for one link",
}


def attach_uprobe_multi(
    program: Program,
    binary: str | os.PathLike[str] | None = None,
    pattern: str | None = None,
    *,
    functions: Sequence[str] = (),
    offsets: Sequence[int] = (),
    ref_ctr_offsets: Sequence[int] = (),
    cookies: Sequence[int] = (),
    pid: int | None = None,
) -> Link:
    """Attach a program to many places of an executable or library at once (Linux 6.6, sessions 6.13; CAP_PERFMON).

    Args:
        program: of a section uprobe.multi, uretprobe.multi or uprobe.session.
        binary: the file, or the name of a library or program in the usual directories, or
            "ARCHIVE!/MEMBER" for a library that is stored in a zip archive; None: what the program's section says.
        pattern: all functions that the file defines with such a name: ``*`` stands for any characters, ``?`` for one.
        functions: instead, the functions' names.
        offsets: instead, offsets in the file.
        ref_ctr_offsets: one for each place: the offset in the file of a counter (see `attach_uprobe`).
        cookies: one for each place: what bpf_get_attach_cookie() returns there.
        pid: only in this process (0: in this one); None: in all.

    Returns:
        The link; the caller closes it.

    Raises:
        TargetNotFoundError: nothing matches the pattern, or the file does not define one of the functions.
        ElfError: the file is no ELF file.
        KernelError: the kernel refused.
        UnsupportedError: the kernel has no uprobe.multi.
    """
    return _attach(program, binary, pattern, functions, offsets, ref_ctr_offsets, cookies, pid, returns=False)


def attach_uretprobe_multi(
    program: Program,
    binary: str | os.PathLike[str] | None = None,
    pattern: str | None = None,
    *,
    functions: Sequence[str] = (),
    offsets: Sequence[int] = (),
    ref_ctr_offsets: Sequence[int] = (),
    cookies: Sequence[int] = (),
    pid: int | None = None,
) -> Link:
    """Attach a program to the return of many functions of a file at once; as `attach_uprobe_multi`."""
    return _attach(program, binary, pattern, functions, offsets, ref_ctr_offsets, cookies, pid, returns=True)


def _attach(
    program: Program,
    binary: str | os.PathLike[str] | None,
    pattern: str | None,
    functions: Sequence[str],
    offsets: Sequence[int],
    ref_ctr_offsets: Sequence[int],
    cookies: Sequence[int],
    pid: int | None,
    *,
    returns: bool,
) -> Link:
    kind = "uretprobe.multi" if returns else "uprobe.multi"
    check_type(program, kind, ProgramType.KPROBE)
    session = program.spec.attach_type == AttachType.TRACE_UPROBE_SESSION
    if session and returns:
        raise InputError(f"program {program.name}: a session is at entry and return anyway: use attach_uprobe_multi")
    if binary is None:
        binary, _, pattern = program.spec.attach_to.rpartition(":")
        if not binary or not pattern:
            raise InputError(
                f"program {program.name}: section {program.spec.section!r} names no functions of a file:"
                f" use link.attach_{kind.replace('.', '_')}(program, binary, pattern)"
            )
    if bool(pattern) + bool(functions) + bool(offsets) != 1:
        raise InputError(f"program {program.name}: give one of pattern, functions and offsets")
    if pattern and (cookies or ref_ctr_offsets):
        raise InputError(
            f"program {program.name}: cookies and counters need functions or offsets, whose order is known"
        )
    path = find_binary(os.fspath(binary))
    if offsets:
        file, start = place_of(path, None)
        offsets = [start + offset for offset in offsets]
    else:
        file, offsets = _offsets(program, path, pattern, functions)
    what = pattern or (functions[0] if len(functions) == 1 else f"{len(offsets)} places")
    kind = "uprobe.session" if session else kind
    text = f"{program.name} to {kind} {path}:{what}"
    for offset in (*offsets, *ref_ctr_offsets):
        check_place(offset, text)
    for cookie in cookies:
        check_cookie(cookie)
    if "\0" in path:
        raise InputError(f"{text}: no path has a NUL")
    number = os.getpid() if pid == 0 else pid or 0
    options = sys.UprobeMultiOptions(file, offsets, ref_ctr_offsets, cookies, number, _RETURN if returns else 0)
    attach_type = AttachType.TRACE_UPROBE_SESSION if session else AttachType.TRACE_UPROBE_MULTI
    have, minimum = features.have_uprobe_multi, "6.13" if session else "6.6"
    with attaching(
        text, LinkType.UPROBE_MULTI, feature=kind, attach_type=attach_type, have=have, minimum=minimum, hints=_HINTS
    ):
        return Link(sys.link_create(program, attach_type=attach_type, options=options), text)


def _offsets(program: Program, path: str, pattern: str | None, functions: Sequence[str]) -> tuple[str, list[int]]:
    """The file that the kernel is told, and the places in it."""
    with Executable(path) as executable:
        file = executable.file
        if pattern is None or not set("*?") & set(pattern):
            return file, [executable.function(name) for name in functions or [pattern or ""]]
        found = executable.functions(matching(pattern).match)
    if not found:
        raise TargetNotFoundError(
            f"program {program.name}: {path} defines no function that matches {pattern!r}",
            name=pattern,
            searched=(path,),
        )
    return file, sorted(set(found.values()))
