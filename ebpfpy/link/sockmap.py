"""Maps of sockets: programs that cut streams into messages and redirect what sockets send and receive."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import InputError, UnsupportedError
from ebpfpy.sys import AttachType, LinkType, ProgramType

from .attachment import Attachment, keep
from .link import Link
from .refusal import attaching, check_type

if TYPE_CHECKING:
    from ebpfpy.loader import Map, Program

_TYPES = {
    AttachType.SK_SKB_STREAM_PARSER: "stream parser",
    AttachType.SK_SKB_STREAM_VERDICT: "stream verdict",
    AttachType.SK_SKB_VERDICT: "verdict",
    AttachType.SK_MSG_VERDICT: "message verdict",
}
_HINTS = {
    errno.EBUSY: "the map has a program of that kind, or of one that excludes it, through another link",
    errno.EINVAL: "that is no SOCKMAP or SOCKHASH",
    errno.EOPNOTSUPP: "that is no SOCKMAP or SOCKHASH, or the kernel has no stream parser",
}


def attach_sockmap(program: Program, sockets: Map, *, attach_type: AttachType | None = None) -> Link:
    """Attach a program to a map of sockets: it runs for those that are put into it from now on (Linux 4.14).

    Before Linux 6.10 there is no link for this: what comes back is an `Attachment`, and takes the place of a program
    that is there.

    Args:
        program: of type SK_SKB or SK_MSG.
        sockets: a SOCKMAP or SOCKHASH.
        attach_type: None: what the program's section says; the section sk_skb leaves it open.

    Returns:
        The link; the caller closes it.

    Raises:
        KernelError: EBUSY: the map has such a program.
    """
    check_type(program, "maps of sockets", ProgramType.SK_SKB, ProgramType.SK_MSG)
    if attach_type is None:
        message = program.type == ProgramType.SK_MSG
        attach_type = program.spec.attach_type or (AttachType.SK_MSG_VERDICT if message else None)
    if attach_type not in _TYPES:
        raise InputError(
            f"program {program.name} ({program.spec.section}): say its attach_type,"
            " such as AttachType.SK_SKB_STREAM_VERDICT"
        )
    text = f"{program.name} to {_TYPES[attach_type]} of map {sockets.name}"
    try:
        with attaching(text, LinkType.SOCKMAP, hints=_HINTS):
            return Link(sys.link_create(program, attach_type=attach_type, target_fd=sockets), text)
    except UnsupportedError:
        return _attach_directly(program, sockets, attach_type, text)


def _attach_directly(program: Program, sockets: Map, attach_type: AttachType, text: str) -> Attachment:
    own = keep(program, text)
    try:
        place = keep(sockets, text)
    except BaseException:
        own.close()
        raise
    try:
        with attaching(text, attach_type=attach_type, hints=_HINTS):
            sys.prog_attach(own, attach_type=attach_type, target_fd=place)
    except BaseException:
        own.close()
        place.close()
        raise

    def undo() -> None:
        sys.prog_detach(own, attach_type=attach_type, target_fd=place, subject=text)

    return Attachment(own, text, undo, instead=("sockmap links", "6.10"), also=place)
