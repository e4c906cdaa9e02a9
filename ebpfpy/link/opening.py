"""Links that exist already: by id, by pin, all of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import InputError, KernelError
from ebpfpy.sys import LinkType
from ebpfpy.sys.paths import path_text

from .iterator import IterLink
from .link import Link

if TYPE_CHECKING:
    from collections.abc import Iterator


def from_id(number: int) -> Link:
    """Open a link by its id (Linux 5.8; CAP_SYS_ADMIN).

    Returns:
        The link; the caller closes it. Closing does not detach while somebody else holds it.

    Raises:
        KernelError: FileNotFoundError: there is none of that id.
    """
    if not isinstance(number, int) or not 0 < number < 1 << 32:
        raise InputError(f"link id {number} is no positive number of 32 bits")
    return adopt(sys.fd_by_id("link", number), f"id {number}")


def from_path(path: str | os.PathLike[str]) -> Link:
    """Open a pinned link (Linux 5.7); `ebpfpy.pin.load` opens pins of any kind.

    Returns:
        The link; the caller closes it, and the pin keeps it attached.

    Raises:
        InputError: what is pinned there is no link.
        KernelError: FileNotFoundError: there is nothing.
    """
    place = path_text(path, "a pin")
    fd = sys.obj_get(place)
    if not _is_link(fd):
        fd.close()
        raise InputError(f"{place} is no pinned link")
    return adopt(fd, f"pinned at {place}")


def iter_links() -> Iterator[Link]:
    """Every link in the kernel, in the order of the ids (Linux 5.8; CAP_SYS_ADMIN).

    Yields:
        Open links; the caller closes each::

            for each in link.iter_links():
                with each:
                    print(each.info)
    """
    number: int | None = 0
    while (number := sys.next_id("link", number or 0)) is not None:
        try:
            found = from_id(number)
        except FileNotFoundError:  # gone meanwhile
            continue
        yield found


def _is_link(fd: sys.Fd) -> bool:
    """Whether a descriptor is a link's: programs answer the same question, about themselves."""
    try:
        name = os.readlink(f"/proc/self/fd/{fd.fileno()}")
    except OSError:  # no /proc: believe it
        return True
    return name.removeprefix("anon_inode:").strip("[]").replace("_", "-") == "bpf-link"


def adopt(fd: sys.Fd, where: str) -> Link:
    """Make a link of a descriptor: an `IterLink` of an iterator's.

    Args:
        fd: of a link; is taken over.
        where: how it was found, in words.
    """
    try:
        info = sys.link_info(fd)
    except KernelError:  # before Linux 5.8 links told nothing
        return Link(fd, where)
    except BaseException:
        fd.close()
        raise
    kind = IterLink if info.type == LinkType.ITER else Link
    return kind(fd, f"({describe(info)}) {where}")


def describe(info: sys.LinkInfo) -> str:
    """The kind of a link, and what it is attached to where the kernel says."""
    names = {int(each): each.name.lower().replace("_", " ") for each in LinkType}
    kind = names.get(info.type, f"type {info.type}")
    if info.target:
        return f"{kind} {info.target}"
    return f"{kind} {info.number}" if info.number else kind
