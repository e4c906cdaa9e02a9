"""Places in a list of programs: tcx and netkit (Linux 6.6, 6.7), cgroups (6.17).

Several programs on one hook run one after the other. A new one goes last unless an anchor says otherwise::

    link.attach_tcx(program, "eth0", "ingress", anchor=Before(other_link))
    link.attach_tcx(program, "eth0", "ingress", anchor=First())
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ebpfpy.sys import AttachFlags

from .link import Link

if TYPE_CHECKING:
    from ebpfpy.loader import Program


class First(NamedTuple):
    """Before all others."""


class Last(NamedTuple):
    """After all others."""


class Before(NamedTuple):
    """Right before a link's program, or a program that was attached without a link."""

    other: Link | Program


class After(NamedTuple):
    """Right after a link's program, or a program that was attached without a link."""

    other: Link | Program


Anchor = First | Last | Before | After
"""A place in a list of programs."""


def flags_of(anchor: Anchor | None) -> tuple[AttachFlags, int]:
    """The kernel's flags for a place, and the descriptor that they are about."""
    if anchor is None:
        return AttachFlags(0), 0
    before = isinstance(anchor, First | Before)
    flags = AttachFlags.BEFORE if before else AttachFlags.AFTER
    if isinstance(anchor, First | Last):
        return flags, 0
    other = anchor.other
    return flags | AttachFlags.LINK if isinstance(other, Link) else flags, other.fileno()


def place_text(anchor: Anchor | None) -> str:
    """A place in words, with a blank before it."""
    if anchor is None:
        return ""
    if isinstance(anchor, First | Last):
        return f" ({type(anchor).__name__.lower()})"
    other = anchor.other
    return f" ({type(anchor).__name__.lower()} {other.text if isinstance(other, Link) else other.name})"
