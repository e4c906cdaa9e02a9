"""Classic traffic control: a filter ``bpf`` at the ``clsact`` queueing discipline (Linux 4.5), which tcx supersedes.

The discipline does nothing itself; it gives an interface two places for filters, ingress and egress. It is made when
the first program needs it and left there: filters of others may hang on it. Filters run by priority, the smallest
first, and for one priority by handle. In direct-action mode the program's return value is the verdict (TC_ACT_OK and so
on).

Source: include/uapi/linux/rtnetlink.h, pkt_cls.h, pkt_sched.h; tc-bpf(8).
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final, Literal

from ebpfpy.errors import InputError, KernelError
from ebpfpy.sys import ProgramType, netlink

from .attachment import Attachment, keep
from .interface import interface_index
from .refusal import attaching, check_type

if TYPE_CHECKING:
    from ebpfpy.loader import Program

Direction = Literal["ingress", "egress"]
"""Packets that come to an interface, or packets that go."""

_NEW_QDISC: Final = 36
_NEW_FILTER: Final = 44
_DEL_FILTER: Final = 45
_CLSACT: Final = 0xFFFFFFF1
_PARENTS: Final = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
_CLSACT_HANDLE: Final = 0xFFFF0000
_ETH_P_ALL: Final = 3
_KIND: Final = 1
_OPTIONS: Final = 2
_BPF_FD: Final = 6
_BPF_NAME: Final = 7
_BPF_FLAGS: Final = 8
_DIRECT: Final = 1
_TCMSG = struct.Struct("=BBHiIII")  # u8 family, u8, u16, s32 ifindex, u32 handle, u32 parent, u32 info
_HINTS: Final = {
    errno.EEXIST: "another filter has that priority and handle",
    errno.ENODEV: "there is no such interface in this network namespace",
    errno.EPERM: "needs CAP_NET_ADMIN",
    errno.ENOENT: "the kernel has no filters of kind bpf (CONFIG_NET_CLS_BPF), or the module cls_bpf cannot be loaded",
}


def attach_tc(
    program: Program, interface: str | int, direction: Direction | None = None, *, priority: int = 0, handle: int = 0
) -> Attachment:
    """Attach a program to the packets of an interface by classic traffic control (Linux 4.5; CAP_NET_ADMIN).

    Args:
        program: of type SCHED_CLS.
        interface: its name or number, in this process's network namespace.
        direction: "ingress" for packets that come, "egress" for those that go; None: what the program's section says.
        priority: 1 to 65535, the smallest runs first; 0: the kernel chooses, before those it chose earlier.
        handle: tells filters of one priority apart; 0: the kernel chooses.

    Returns:
        The attachment: closing it takes the filter off, `Attachment.leave` leaves it.

    Raises:
        NotFoundError: no such interface.
        KernelError: EEXIST: another filter has that priority and handle.
        UnsupportedError: the kernel has no clsact.
    """
    check_type(program, "traffic control", ProgramType.SCHED_CLS)
    if direction is None:
        direction = _direction(program)
    parent = _PARENTS.get(direction) if isinstance(direction, str) else None
    if parent is None:
        raise InputError(f"{direction!r} is no direction: 'ingress' or 'egress'")
    if not 0 <= priority < 1 << 16 or not 0 <= handle < 1 << 32:
        raise InputError(f"priority {priority}, handle {handle}: a priority has 16 bits, a handle 32")
    index = interface_index(interface)
    text = f"{program.name} to tc {direction} of {interface}"
    own = keep(program, text)
    try:
        with attaching(text, hints=_HINTS):
            _ensure_clsact(index, text)
            priority, handle = _add(own.fileno(), program.name, index, parent, priority, handle, text)
    except BaseException:
        own.close()
        raise

    def undo() -> None:
        body = _TCMSG.pack(0, 0, 0, index, handle, parent, _info(priority)) + netlink.attribute(_KIND, "bpf")
        try:
            netlink.request(_DEL_FILTER, 0, body, subject=text, call="RTM_DELTFILTER")
        except KernelError as error:
            if error.errno not in (errno.ENODEV, errno.EINVAL):  # the interface or its clsact has gone
                raise

    text += f", priority {priority}, handle {handle:#x}"
    return Attachment(own, text, undo, instead=("tcx links", "6.6"))


def _direction(program: Program) -> Direction:
    last = program.spec.section.rpartition("/")[2]
    if last == "ingress":
        return "ingress"
    if last == "egress":
        return "egress"
    raise InputError(f"program {program.name} ({program.spec.section}): say its direction: 'ingress' or 'egress'")


def _info(priority: int) -> int:
    """Priority and protocol in one word; the protocol is in network order."""
    return priority << 16 | socket.htons(_ETH_P_ALL)


def _ensure_clsact(index: int, text: str) -> None:
    body = _TCMSG.pack(0, 0, 0, index, _CLSACT_HANDLE, _CLSACT, 0) + netlink.attribute(_KIND, "clsact")
    try:
        netlink.request(_NEW_QDISC, netlink.CREATE | netlink.EXCL, body, subject=text, call="RTM_NEWQDISC")
    except KernelError as error:
        if error.errno == errno.EEXIST:
            return
        if error.errno == errno.ENOENT:
            error.hint = "the kernel has no clsact (CONFIG_NET_SCH_INGRESS), or the module sch_ingress cannot be loaded"
        raise


def _add(fd: int, name: str, index: int, parent: int, priority: int, handle: int, text: str) -> tuple[int, int]:
    """Add the filter; the kernel echoes it with the priority and handle that it has got."""
    options = (
        netlink.attribute(_BPF_FD, fd) + netlink.attribute(_BPF_NAME, name) + netlink.attribute(_BPF_FLAGS, _DIRECT)
    )
    body = (
        _TCMSG.pack(0, 0, 0, index, handle, parent, _info(priority))
        + netlink.attribute(_KIND, "bpf")
        + netlink.attribute(_OPTIONS, options)
    )
    flags = netlink.CREATE | netlink.EXCL | netlink.ECHO
    for answer in netlink.request(_NEW_FILTER, flags, body, subject=text, call="RTM_NEWTFILTER"):
        if len(answer) >= _TCMSG.size:
            _, _, _, _, handle, _, info = _TCMSG.unpack_from(answer)
            return info >> 16, handle
    return priority, handle
