"""uprobes: a program at an instruction of user space, in every process that runs the file, or in one.

A perf event of the unit ``uprobe`` stands for the probe; the kernel knows its place as an offset in a file. A section
says ``uprobe/PATH:FUNCTION``, with "+OFFSET" behind it, or an offset in the file as a number in the function's place::

    SEC("uprobe//usr/lib/x86_64-linux-gnu/libc.so.6:malloc")
    SEC("uretprobe/libc.so.6:getaddrinfo")
    SEC("uprobe/bash:readline+0x4")
    SEC("uprobe//usr/bin/app:0x1234")
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ebpfpy.errors import InputError, KernelError
from ebpfpy.sys import ProgramType
from ebpfpy.sys.perfevent import PerfEventAttr, perf_event_open
from ebpfpy.sys.pmu import counter_shift, return_bit, unit

from .events import link_event
from .executable import Executable, find_binary
from .refusal import check_type
from .ziparchive import SEPARATOR

if TYPE_CHECKING:
    from ebpfpy import sys
    from ebpfpy.loader import Program

    from .link import Link


def attach_uprobe(
    program: Program,
    binary: str | os.PathLike[str] | None = None,
    function: str | None = None,
    *,
    offset: int = 0,
    pid: int | None = None,
    ref_ctr_offset: int = 0,
    cookie: int = 0,
) -> Link:
    """Attach a program to an instruction of an executable or library (Linux 4.17; CAP_SYS_ADMIN or CAP_PERFMON).

    Args:
        program: of type KPROBE.
        binary: the file, or the name of a library ("libc.so.6") or program in the usual directories, or
            "ARCHIVE!/MEMBER" for a library that is stored in a zip archive; None: what the program's section says.
        function: a function that the file defines, with "@VERSION" if need be; None for an `offset` alone.
        offset: bytes from the function's start, or without a function from the file's.
        pid: only in this process (0: in this one); None: in all.
        ref_ctr_offset: offset in the file of a 16-bit counter that is above zero while a probe is there (Linux 4.20).
        cookie: what bpf_get_attach_cookie() returns in the program (Linux 5.15).

    Returns:
        The link; the caller closes it.

    Raises:
        TargetNotFoundError: there is no such file in the directories, or no such function in the file.
        AmbiguousTargetError: the file has several functions of that name.
        ElfError: the file is no ELF file.
        KernelError: the kernel refused.
        UnsupportedError: no uprobes here; or a cookie before Linux 5.15.
    """
    return _attach(program, binary, function, offset, pid, ref_ctr_offset, cookie, returns=False)


def attach_uretprobe(
    program: Program,
    binary: str | os.PathLike[str] | None = None,
    function: str | None = None,
    *,
    offset: int = 0,
    pid: int | None = None,
    ref_ctr_offset: int = 0,
    cookie: int = 0,
) -> Link:
    """Attach a program to the return of a function of an executable or library; as `attach_uprobe`."""
    return _attach(program, binary, function, offset, pid, ref_ctr_offset, cookie, returns=True)


def _attach(
    program: Program,
    binary: str | os.PathLike[str] | None,
    function: str | None,
    offset: int,
    pid: int | None,
    ref_ctr_offset: int,
    cookie: int,
    *,
    returns: bool,
) -> Link:
    kind = "uretprobe" if returns else "uprobe"
    check_type(program, f"{kind}s", ProgramType.KPROBE)
    if binary is None:
        binary, function, offset = section_place(program, kind)
    path = find_binary(os.fspath(binary))
    file, start = place_of(path, function)
    place = start + offset
    text = f"{program.name} to {kind} {path}:{place_text(function, offset)}"
    check_place(place, text)
    return link_event(
        open_uprobe(file, place, text, pid=pid, ref_ctr_offset=ref_ctr_offset, returns=returns),
        program,
        text,
        cookie=cookie,
    )


def section_place(program: Program, kind: str) -> tuple[str, str | None, int]:
    """Binary, function and offset that a section names.

    Raises:
        InputError: it names none.
    """
    place = program.spec.attach_to
    binary, _, function = place.rpartition(":")
    if not binary or not function:
        raise InputError(
            f"program {program.name}: section {program.spec.section!r} names no place in a file:"
            f" use link.attach_{kind}(program, binary, function)"
        )
    name, _, more = function.partition("+")
    try:
        if name[:1].isdigit():
            return binary, None, int(name, 0) + (int(more, 0) if more else 0)
        return binary, name, int(more, 0) if more else 0
    except ValueError:
        raise InputError(f"program {program.name}: {place!r}: {function!r} has no number of bytes") from None


def place_of(path: str, function: str | None) -> tuple[str, int]:
    """The file that the kernel is told, and where in it a function starts; without a function, where offsets start."""
    if function is None and SEPARATOR not in path:
        return path, 0
    with Executable(path) as executable:
        return executable.file, executable.start if function is None else executable.function(function)


def place_text(function: str | None, offset: int) -> str:
    """A place in words."""
    if function is None:
        return f"{offset:#x}"
    return f"{function}{f'+{offset:#x}' if offset else ''}"


def check_place(offset: int, text: str) -> None:
    """Refuse an offset that no file has.

    Raises:
        InputError: it is negative, or too large.
    """
    if not 0 <= offset < 1 << 63:
        raise InputError(f"{text}: no file has an offset {offset:#x}")


def open_uprobe(path: str, offset: int, text: str, *, pid: int | None, ref_ctr_offset: int, returns: bool) -> sys.Fd:
    """The perf event for a place in a file."""
    if "\0" in path:
        raise InputError(f"{text}: no path has a NUL")
    if not 0 <= ref_ctr_offset < 1 << 32:
        raise InputError(f"{text}: offset {ref_ctr_offset} of a reference counter does not fit into 32 bits")
    config = return_bit("uprobe") if returns else 0
    if ref_ctr_offset:
        config |= ref_ctr_offset << counter_shift("uprobe")
    attr = PerfEventAttr(type=unit("uprobe"), config=config)
    name = os.fsencode(path) + b"\0"
    attr.config1 = name
    attr.config2 = offset
    try:
        return perf_event_open(attr, pid=-1 if pid is None else pid, cpu=0 if pid is None else -1, subject=text)
    except KernelError as error:
        error.hint = _HINTS.get(error.errno or 0) or error.hint
        raise


_HINTS = {
    errno.ENOENT: "there is no such file",
    errno.ESRCH: "there is no such process",
    errno.EINVAL: "no probe can be at that place: it is behind the file's end, or of a file system without mmap",
    errno.EIO: "no probe can be at that place: the file cannot be read there",
    errno.ENOTSUP: "the instruction there cannot be probed",
}
