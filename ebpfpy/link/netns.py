"""Network namespaces: dissecting packets' headers (Linux 5.8) and choosing sockets for connections (5.9)."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import InputError, kernel_error
from ebpfpy.sys import AttachType, LinkType, ProgramType

from .link import Link
from .refusal import attaching, check_type

if TYPE_CHECKING:
    from ebpfpy.loader import Program

_TYPES = {
    ProgramType.FLOW_DISSECTOR: AttachType.FLOW_DISSECTOR,
    ProgramType.SK_LOOKUP: AttachType.SK_LOOKUP,
}
_HINTS = {
    errno.EEXIST: "the network namespace has a program of that kind already; a flow dissector of the first namespace"
    " applies everywhere",
    errno.EINVAL: "that is no network namespace",
    errno.E2BIG: "too many programs are attached there",
}


def attach_netns(
    program: Program, namespace: str | os.PathLike[str] | int | sys.HasFileno = "/proc/self/ns/net"
) -> Link:
    """Attach a flow dissector or a program that looks sockets up to a network namespace (5.8, 5.9; CAP_NET_ADMIN).

    Args:
        program: of type FLOW_DISSECTOR or SK_LOOKUP. Of the first there is one at a time; of the second, the one that
            was attached first runs first.
        namespace: a file such as /run/netns/NAME or /proc/PID/ns/net, or a descriptor of one.

    Returns:
        The link; the caller closes it. It survives the namespace, as a dead object.

    Raises:
        KernelError: EEXIST: there is a flow dissector.
    """
    check_type(program, "network namespaces", *_TYPES)
    attach_type = _TYPES[program.type]
    if not isinstance(namespace, str | os.PathLike):
        return _attach(program, attach_type, sys.number_of(namespace), f"fd {sys.number_of(namespace)}")
    path = os.fspath(namespace)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise kernel_error(error.errno or 0, "open", subject=f"network namespace {path}") from None
    except ValueError:
        raise InputError(f"network namespace {path!r}: no path has a NUL") from None
    try:
        return _attach(program, attach_type, fd, path)
    finally:
        os.close(fd)


def _attach(program: Program, attach_type: AttachType, fd: int, name: str) -> Link:
    text = f"{program.name} to {attach_type.name.lower()} of network namespace {name}"
    minimum = "5.9" if attach_type == AttachType.SK_LOOKUP else None
    with attaching(text, LinkType.NETNS, attach_type=attach_type, minimum=minimum, hints=_HINTS):
        return Link(sys.link_create(program, attach_type=attach_type, target_fd=fd), text)
