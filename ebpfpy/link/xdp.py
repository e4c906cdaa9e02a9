"""XDP: a program for every packet that an interface receives, before the kernel looks at it."""

from __future__ import annotations

import errno
from enum import IntFlag
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import InputError
from ebpfpy.sys import AttachType, LinkType, ProgramType

from .interface import interface_index
from .link import Link
from .refusal import attaching, check_type

if TYPE_CHECKING:
    from ebpfpy.loader import Program

_HINTS = {
    errno.EBUSY: "the interface has an XDP program already, or another link holds it",
    errno.EEXIST: "the interface has an XDP program in another mode",
    errno.EOPNOTSUPP: "the interface's driver has no XDP in this mode: XdpMode.SKB works everywhere",
    errno.ENODEV: "there is no such interface in this network namespace",
}


class XdpMode(IntFlag):
    """Where an XDP program runs: XDP_FLAGS_*.

    Attributes:
        SKB: in the kernel's general receive path; every interface can.
        DRV: in the driver, before a packet becomes an skb.
        HW: on the network card.
    """

    SKB = 1 << 1
    DRV = 1 << 2
    HW = 1 << 3


def attach_xdp(program: Program, interface: str | int, *, mode: XdpMode | None = None) -> Link:
    """Attach an XDP program to an interface (Linux 5.9; CAP_NET_ADMIN). `Link.update` replaces it without a gap.

    Args:
        program: of type XDP, not for a map of devices or CPUs.
        interface: its name or number, in this process's network namespace.
        mode: where the program runs; None: in the driver if it can, else as SKB.

    Returns:
        The link; the caller closes it. It survives the interface, as a dead object.

    Raises:
        NotFoundError: no such interface.
        KernelError: EBUSY: another program is there. EOPNOTSUPP: not in this mode.
        UnsupportedError: the kernel has no XDP links.
    """
    check_type(program, "XDP", ProgramType.XDP)
    if program.spec.attach_type in (AttachType.XDP_DEVMAP, AttachType.XDP_CPUMAP):
        raise InputError(f"program {program.name} ({program.spec.section}) is for a map, not for an interface")
    index = interface_index(interface)
    text = f"{program.name} to XDP of {interface}{f' ({mode.name})' if mode else ''}"
    with attaching(text, LinkType.XDP, hints=_HINTS):
        return Link(sys.link_create(program, attach_type=AttachType.XDP, target_fd=index, flags=mode or 0), text)
