"""tcx and netkit: programs for packets at an interface, in an order that everybody can see and choose.

tcx (Linux 6.6) is what replaces filters of classic traffic control (`ebpfpy.link.tc`); netkit (6.7) is a virtual pair
of interfaces that has places for programs of its own.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ebpfpy import sys
from ebpfpy.errors import InputError
from ebpfpy.sys import AttachType, LinkType, ProgramType

from .anchor import flags_of, place_text
from .interface import interface_index
from .link import Link
from .refusal import attaching, check_type

if TYPE_CHECKING:
    from ebpfpy.loader import Program

    from .anchor import Anchor
    from .tc import Direction

_TCX: Final = {"ingress": AttachType.TCX_INGRESS, "egress": AttachType.TCX_EGRESS}
_HINTS = {
    errno.ESTALE: "the list of programs has changed meanwhile (expected_revision)",
    errno.ENODEV: "there is no such interface in this network namespace",
    errno.ENOENT: "what the anchor names is not attached there",
    errno.EEXIST: "the program is attached there already",
    errno.ERANGE: "too many programs are attached there",
    errno.EDOM: "the anchor's program or link cannot be there",
}


def attach_tcx(
    program: Program,
    interface: str | int,
    direction: Direction | None = None,
    *,
    anchor: Anchor | None = None,
    expected_revision: int = 0,
) -> Link:
    """Attach a program to the packets of an interface (tcx; Linux 6.6; CAP_NET_ADMIN).

    Args:
        program: of type SCHED_CLS.
        interface: its name or number, in this process's network namespace.
        direction: "ingress" for packets that come, "egress" for those that go; None: what the program's section says.
        anchor: `First`, `Last`, `Before` or `After` another; None: last.
        expected_revision: fail if the list of programs has another revision (`attached_programs` tells it); 0: any.

    Returns:
        The link; the caller closes it.

    Raises:
        NotFoundError: no such interface.
        KernelError: ESTALE: another revision. ENOENT: the anchor is not there.
        UnsupportedError: the kernel has no tcx: `attach_tc` does nearly the same.
    """
    check_type(program, "tcx", ProgramType.SCHED_CLS)
    if direction is not None and not isinstance(direction, str):
        raise InputError(f"{direction!r:.60} is no direction: 'ingress' or 'egress'")
    attach_type = _TCX.get(direction) if direction is not None else program.spec.attach_type
    if attach_type not in _TCX.values():
        raise InputError(f"program {program.name} ({program.spec.section}): say its direction: 'ingress' or 'egress'")
    assert attach_type is not None
    return _attach(program, interface, attach_type, LinkType.TCX, anchor, expected_revision)


def attach_netkit(
    program: Program, interface: str | int, *, anchor: Anchor | None = None, expected_revision: int = 0
) -> Link:
    """Attach a program to a netkit interface (Linux 6.7; CAP_NET_ADMIN).

    Args:
        program: of a section netkit/primary (packets that the interface itself sends) or netkit/peer (those that its
            other end sends).
        interface: the primary one of the pair.
        anchor: as for `attach_tcx`.
        expected_revision: as for `attach_tcx`.

    Returns:
        The link; the caller closes it.
    """
    check_type(program, "netkit", ProgramType.SCHED_CLS)
    attach_type = program.spec.attach_type
    if attach_type not in (AttachType.NETKIT_PRIMARY, AttachType.NETKIT_PEER):
        raise InputError(
            f"program {program.name} ({program.spec.section}): its section must be netkit/primary or netkit/peer"
        )
    return _attach(program, interface, attach_type, LinkType.NETKIT, anchor, expected_revision)


def attached_programs(interface: str | int, direction: Direction) -> sys.Attached:
    """The programs that tcx runs at an interface, in their order (Linux 6.6; CAP_NET_ADMIN)."""
    text = f"tcx {direction} of {interface}"
    attach_type = _TCX.get(direction) if isinstance(direction, str) else None
    if attach_type is None:
        raise InputError(f"{direction!r} is no direction: 'ingress' or 'egress'")
    with attaching(text, LinkType.TCX):
        return sys.prog_query(attach_type=attach_type, target_fd=interface_index(interface), links=True)


def _attach(
    program: Program,
    interface: str | int,
    attach_type: AttachType,
    link_type: LinkType,
    anchor: Anchor | None,
    expected_revision: int,
) -> Link:
    index = interface_index(interface)
    kind, _, side = attach_type.name.lower().partition("_")
    text = f"{program.name} to {kind} {side} of {interface}{place_text(anchor)}"
    flags, relative = flags_of(anchor)
    options = sys.RelativeOptions(relative=relative, expected_revision=expected_revision)
    hints = _HINTS if link_type is LinkType.TCX else _HINTS | {errno.ENXIO: "the interface is no netkit device"}
    with attaching(text, link_type, hints=hints):
        return Link(
            sys.link_create(program, attach_type=attach_type, target_fd=index, flags=flags, options=options), text
        )
