"""Iterators: a program for each object of a kind (tasks, maps, sockets ...), whose output is read like a file.

A link (Linux 5.8) stands for the iterator; every reading of it goes through the objects once more.
"""

from __future__ import annotations

import errno
import os
import struct
from enum import IntEnum
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import InputError, kernel_error
from ebpfpy.sys import AttachType, LinkType, ProgramType

from .link import Link
from .refusal import attaching, check_type

if TYPE_CHECKING:
    from ebpfpy.loader import Map, Program

_CHUNK = 1 << 16
_INFO = 16  # bytes of union bpf_iter_link_info
_HINTS = {
    errno.EINVAL: "this iterator needs another kind of parameter, or none",
    errno.EBADF: "this iterator needs a map, or a cgroup",
    errno.EACCES: "the program writes to what the map does not let it write",
}


class CgroupOrder(IntEnum):
    """``enum bpf_cgroup_iter_order``: in which order to go through cgroups.

    Attributes:
        SELF_ONLY: the one alone.
        DESCENDANTS_PRE: those below, each before those below it.
        DESCENDANTS_POST: those below, each after those below it.
        ANCESTORS_UP: those above.
        CHILDREN: those right below (Linux 7.x).
    """

    SELF_ONLY = 1
    DESCENDANTS_PRE = 2
    DESCENDANTS_POST = 3
    ANCESTORS_UP = 4
    CHILDREN = 5


class IterLink(Link):
    """An iterator. Closing it leaves what was opened from it readable."""

    def open(self) -> sys.Fd:
        """Open it for reading from the start; the caller closes it.

        Raises:
            KernelError: the kernel refused.
        """
        return sys.iter_create(self, subject=self.text)

    def read(self) -> bytes:
        """Go through all objects once; what the program wrote about them.

        Raises:
            KernelError: the program, or the kernel, gave up.
        """
        parts: list[bytes] = []
        with self.open() as fd:
            while True:
                try:
                    part = os.read(fd.fileno(), _CHUNK)
                except BlockingIOError:  # many objects without output: the kernel takes a break
                    continue
                except OSError as error:
                    raise kernel_error(error.errno or 0, "read", subject=self.text) from error
                if not part:
                    return b"".join(parts)
                parts.append(part)


def attach_iter(
    program: Program,
    *,
    elements_of: Map | None = None,
    cgroup: str | os.PathLike[str] | int | sys.HasFileno | None = None,
    order: CgroupOrder = CgroupOrder.DESCENDANTS_PRE,
    pid: int = 0,
    tid: int = 0,
) -> IterLink:
    """Make an iterator of a program (Linux 5.8; CAP_BPF and CAP_PERFMON).

    Args:
        program: of a section iter/...
        elements_of: the map that bpf_map_elem, bpf_sk_storage_map and sockmap go through.
        cgroup: where an iterator over cgroups starts: a directory, or a descriptor of one (6.1); for an iterator over
            cgroups without it, the root.
        order: of an iterator over cgroups.
        pid: go through the threads of this process only, for task, task_file and task_vma (6.1); 0: of all.
        tid: go through this thread only (6.1).

    Returns:
        The iterator; the caller closes it.

    Raises:
        InputError: parameters for several kinds of iterators.
        KernelError: EINVAL, EBADF: the parameters are not what this iterator needs.
    """
    check_type(program, "iterators", ProgramType.TRACING)
    if program.spec.attach_type not in (AttachType.TRACE_ITER, None):
        raise InputError(f"program {program.name} ({program.spec.section}) is no iterator")
    if (elements_of is not None) + (cgroup is not None) + bool(pid) + bool(tid) > 1:
        raise InputError(f"program {program.name}: an iterator takes one of elements_of, cgroup, pid and tid")
    for number in (pid, tid):
        if not 0 <= number < 1 << 31:
            raise InputError(f"program {program.name}: no process or thread has the number {number}")
    what = program.target.name if program.target is not None else program.spec.attach_to
    text = f"{program.name} to iterator {what}"
    if elements_of is not None:
        return _attach(program, text + f" of map {elements_of.name}", struct.pack("=I", elements_of.fileno()))
    if pid or tid:
        return _attach(program, text + (f" of process {pid}" if pid else f" of thread {tid}"), _words(tid, pid))
    if cgroup is None and what == "cgroup":
        return _attach(program, text, _words(order))
    if cgroup is None:
        return _attach(program, text, b"")
    if not isinstance(cgroup, str | os.PathLike):
        return _attach(program, text, _words(order, sys.number_of(cgroup)))
    path = os.fspath(cgroup)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        code = error.errno if isinstance(error, OSError) else errno.EINVAL
        raise kernel_error(code or 0, "open", subject=f"cgroup {path}") from None
    try:
        return _attach(program, f"{text} from {path}", _words(order, fd))
    finally:
        os.close(fd)


def _words(*words: int) -> bytes:
    return struct.pack(f"={len(words)}I", *words)


def _attach(program: Program, text: str, info: bytes) -> IterLink:
    options = sys.IterOptions(info.ljust(_INFO, b"\0")) if info else None
    with attaching(text, LinkType.ITER, hints=_HINTS):
        return IterLink(sys.link_create(program, attach_type=AttachType.TRACE_ITER, options=options), text)
