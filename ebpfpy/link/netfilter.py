"""netfilter: programs among the rules of iptables and nftables (Linux 6.4)."""

from __future__ import annotations

import errno
from enum import IntEnum
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import InputError
from ebpfpy.sys import AttachType, LinkType, ProgramType

from .link import Link
from .refusal import attaching, check_type

if TYPE_CHECKING:
    from ebpfpy.loader import Program

_DEFRAGMENT = 1
_HINTS = {
    errno.EEXIST: "a program has that priority already",
    errno.EBUSY: "a program has that priority already",
    errno.EAFNOSUPPORT: "only IPv4 and IPv6 have such hooks; their defragmentation may be missing",
    errno.ERANGE: "the smallest and the largest priority are the kernel's own",
}


class NetfilterFamily(IntEnum):
    """Protocol family: NFPROTO_*."""

    IPV4 = 2
    IPV6 = 10


class NetfilterHook(IntEnum):
    """Where on a packet's way: NF_INET_*."""

    PRE_ROUTING = 0
    LOCAL_IN = 1
    FORWARD = 2
    LOCAL_OUT = 3
    POST_ROUTING = 4


def attach_netfilter(
    program: Program,
    family: NetfilterFamily,
    hook: NetfilterHook,
    *,
    priority: int = 0,
    defragment: bool = False,
) -> Link:
    """Attach a netfilter program in this process's network namespace (Linux 6.4; CAP_NET_ADMIN).

    Args:
        program: of type NETFILTER; it returns NF_DROP (0) or NF_ACCEPT (1).
        family: IPv4 or IPv6.
        hook: where on a packet's way.
        priority: the smallest runs first; -400 and 2**31 - 1 are near the ends that the kernel keeps for itself.
        defragment: let the program see whole packets (6.6); then it must run after priority -400.

    Returns:
        The link; the caller closes it.

    Raises:
        KernelError: EBUSY, EEXIST: a program has that priority.
        UnsupportedError: the kernel has no netfilter programs.
    """
    check_type(program, "netfilter", ProgramType.NETFILTER)
    if not -(1 << 31) <= priority < 1 << 31:
        raise InputError(f"priority {priority} is no number of 32 bits")
    try:
        family, hook = NetfilterFamily(family), NetfilterHook(hook)
    except ValueError as error:
        raise InputError(f"program {program.name}: {error}") from None
    text = f"{program.name} to netfilter {family.name.lower()} {hook.name.lower()}, priority {priority}"
    options = sys.NetfilterOptions(family, hook, priority, _DEFRAGMENT if defragment else 0)
    with attaching(text, LinkType.NETFILTER, hints=_HINTS):
        return Link(sys.link_create(program, attach_type=AttachType.NETFILTER, options=options), text)
