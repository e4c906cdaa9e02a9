"""Attaching without links: BPF_PROG_ATTACH and its companions, and who is attached where.

What is attached this way stays until it is detached or its target goes, whatever becomes of the process.
"""

from __future__ import annotations

from ctypes import addressof, c_uint32
from enum import IntFlag
from typing import NamedTuple

from ebpfpy.errors import KernelError

from .call import bpf
from .enums import Command
from .fd import HasFileno, number_of
from .layout import ProgAttach, ProgQuery

_FIRST = 64  # programs that the first query has room for
_ENOSPC = 28


class AttachFlags(IntFlag):
    """``attach_flags`` of BPF_PROG_ATTACH, ``flags`` of BPF_LINK_CREATE and BPF_LINK_UPDATE: BPF_F_*.

    Attributes:
        ALLOW_OVERRIDE: a program of a cgroup below may take this one's place (4.12).
        ALLOW_MULTI: several programs at once, those of cgroups below, too (4.15).
        REPLACE: take the place of the given program (5.6).
        BEFORE, AFTER: the given program or link; the first or last of all if none is given (6.6; cgroups 6.17).
        ID: what is given is an id, no descriptor (6.6).
        LINK: what is given is a link (6.6).
    """

    ALLOW_OVERRIDE = 1 << 0
    ALLOW_MULTI = 1 << 1
    REPLACE = 1 << 2
    BEFORE = 1 << 3
    AFTER = 1 << 4
    ID = 1 << 5
    PREORDER = 1 << 6
    LINK = 1 << 13


class Attached(NamedTuple):
    """What BPF_PROG_QUERY answers.

    Attributes:
        prog_ids: in the order in which they run.
        link_ids: of their links, 0 for programs without one; () where the kernel does not say (tcx and netkit 6.6).
        flags: `AttachFlags` of the place.
        revision: counts changes of the list (tcx and netkit 6.6, cgroups 6.17); else 0.
    """

    prog_ids: tuple[int, ...]
    link_ids: tuple[int, ...]
    flags: int
    revision: int


def prog_attach(
    prog_fd: int | HasFileno,
    *,
    attach_type: int,
    target_fd: int | HasFileno,
    flags: int = 0,
    replace: int | HasFileno = 0,
    relative: int = 0,
    expected_revision: int = 0,
    subject: str | None = None,
) -> None:
    """Attach a program to a cgroup, a map of sockets, a network namespace or an interface (BPF_PROG_ATTACH, 4.10).

    Args:
        prog_fd: the program.
        attach_type: an `AttachType`.
        target_fd: what it is attached to; for tcx and netkit the number of the interface.
        flags: `AttachFlags`.
        replace: the program whose place it takes, with REPLACE (5.6).
        relative: the program or link beside which it runs, descriptor or id as the flags say (6.6).
        expected_revision: fail if the list has changed since; 0 for whatever it is (6.6).
        subject: for the error's message.
    """
    attr = ProgAttach(
        target_fd=number_of(target_fd),
        attach_bpf_fd=number_of(prog_fd),
        attach_type=attach_type,
        attach_flags=flags,
        replace_bpf_fd=number_of(replace),
        relative_fd=relative,
        expected_revision=expected_revision,
    )
    bpf(Command.PROG_ATTACH, attr, subject=subject)


def prog_detach(
    prog_fd: int | HasFileno, *, attach_type: int, target_fd: int | HasFileno, subject: str | None = None
) -> None:
    """Undo `prog_attach` (BPF_PROG_DETACH, 4.10)."""
    attr = ProgAttach(target_fd=number_of(target_fd), attach_bpf_fd=number_of(prog_fd), attach_type=attach_type)
    bpf(Command.PROG_DETACH, attr, subject=subject)


def prog_query(
    *, attach_type: int, target_fd: int | HasFileno, flags: int = 0, links: bool = False, subject: str | None = None
) -> Attached:
    """Who is attached (BPF_PROG_QUERY, 4.15; CAP_NET_ADMIN).

    Args:
        attach_type: an `AttachType`.
        target_fd: a cgroup, network namespace or map of sockets; for tcx and netkit the number of the interface.
        flags: 1: for cgroups, all that are in effect, those of cgroups above included.
        links: ask for the ids of the links, too; only tcx and netkit tell them.
        subject: for the error's message.
    """
    room = _FIRST
    while True:
        programs, link_ids = (c_uint32 * room)(), (c_uint32 * room)()
        attr = ProgQuery(
            target_fd=number_of(target_fd),
            attach_type=attach_type,
            query_flags=flags,
            prog_ids=addressof(programs),
            prog_cnt=room,
            link_ids=addressof(link_ids) if links else 0,
        )
        try:
            bpf(Command.PROG_QUERY, attr, subject=subject)
        except KernelError as error:
            if error.errno != _ENOSPC or room >= 1 << 16:
                raise
            room = max(2 * room, attr.prog_cnt)
            continue
        count = min(attr.prog_cnt, room)
        return Attached(
            tuple(programs[:count]), tuple(link_ids[:count]) if links else (), attr.attach_flags, attr.revision
        )
