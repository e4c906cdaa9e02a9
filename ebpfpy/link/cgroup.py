"""cgroups: programs for what the processes of a cgroup do with sockets, devices, sysctls, and security hooks.

A link (Linux 5.7) lets several programs live side by side and goes with its owner. `attach_cgroup_directly` is the
older way, whose programs stay until they are detached.
"""

from __future__ import annotations

import errno
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import InputError, kernel_error
from ebpfpy.sys import AttachFlags, AttachType, LinkType, ProgramType

from .anchor import flags_of, place_text
from .attachment import Attachment, keep
from .link import Link
from .refusal import attaching, check_type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ebpfpy.loader import Program

    from .anchor import Anchor

_TYPES = (
    ProgramType.CGROUP_SKB,
    ProgramType.CGROUP_SOCK,
    ProgramType.CGROUP_SOCK_ADDR,
    ProgramType.CGROUP_DEVICE,
    ProgramType.CGROUP_SYSCTL,
    ProgramType.CGROUP_SOCKOPT,
    ProgramType.SOCK_OPS,
    ProgramType.LSM,
)
_ONLY = {  # what a program that was opened from a pin can only be for
    ProgramType.CGROUP_DEVICE: AttachType.CGROUP_DEVICE,
    ProgramType.CGROUP_SYSCTL: AttachType.CGROUP_SYSCTL,
    ProgramType.SOCK_OPS: AttachType.CGROUP_SOCK_OPS,
    ProgramType.LSM: AttachType.LSM_CGROUP,
}
_HINTS = {
    errno.EPERM: "needs CAP_NET_ADMIN, and that no cgroup above forbids it (a program attached without ALLOW_MULTI)",
    errno.EBADF: "that is no cgroup of version 2",
}


def attach_cgroup(
    program: Program,
    cgroup: str | os.PathLike[str] | int | sys.HasFileno,
    *,
    attach_type: AttachType | None = None,
    anchor: Anchor | None = None,
) -> Link:
    """Attach a program to a cgroup and all below it (Linux 5.7; lsm_cgroup 6.0; CAP_NET_ADMIN).

    Args:
        program: of a type for cgroups: sections cgroup/..., cgroup_skb/..., sockops, lsm_cgroup/...
        cgroup: a directory of cgroup version 2, or a descriptor of one.
        attach_type: None: what the program's section says; cgroup/skb leaves it open.
        anchor: `First`, `Last`, `Before` or `After` another (Linux 6.17); None: last.

    Returns:
        The link; the caller closes it.

    Raises:
        InputError: it is not said what for; or that is no cgroup.
        KernelError: the kernel refused.
    """
    attach_type = _attach_type(program, attach_type)
    flags, relative = flags_of(anchor)
    options = sys.RelativeOptions(relative=relative) if anchor is not None else None
    minimum = "6.0" if attach_type == AttachType.LSM_CGROUP else None
    with _opened(cgroup) as (fd, name):
        text = f"{program.name} to {attach_type.name.lower()} of {name}{place_text(anchor)}"
        with attaching(text, LinkType.CGROUP, attach_type=attach_type, minimum=minimum, hints=_HINTS):
            return Link(
                sys.link_create(program, attach_type=attach_type, target_fd=fd, flags=flags, options=options), text
            )


def attach_cgroup_directly(
    program: Program,
    cgroup: str | os.PathLike[str] | int | sys.HasFileno,
    *,
    attach_type: AttachType | None = None,
    flags: AttachFlags = AttachFlags.ALLOW_MULTI,
    replace: Program | None = None,
) -> Attachment:
    """Attach a program to a cgroup without a link (Linux 4.10; CAP_NET_ADMIN).

    Args:
        program: of a type for cgroups.
        cgroup: a directory of cgroup version 2, or a descriptor of one.
        attach_type: None: what the program's section says.
        flags: ALLOW_MULTI: beside others (4.15); ALLOW_OVERRIDE: alone, but cgroups below may have another in its
            place; none: alone, and cgroups below may have none.
        replace: a program that was attached with ALLOW_MULTI, whose place this one takes (5.6).

    Returns:
        The attachment: closing it detaches, `Attachment.leave` leaves the program attached.
    """
    attach_type = _attach_type(program, attach_type)
    if replace is not None:
        flags |= AttachFlags.REPLACE
    with _opened(cgroup) as (fd, name):
        text = f"{program.name} to {attach_type.name.lower()} of {name} (no link)"
        place, own = keep(fd, name), keep(program, text)
        try:
            with attaching(text, attach_type=attach_type, hints=_HINTS):
                sys.prog_attach(own, attach_type=attach_type, target_fd=place, flags=flags, replace=replace or 0)
        except BaseException:
            place.close()
            own.close()
            raise

    def undo() -> None:
        sys.prog_detach(own, attach_type=attach_type, target_fd=place, subject=text)

    return Attachment(own, text, undo, instead=("cgroup links", "5.7"), also=place)


def _attach_type(program: Program, attach_type: AttachType | None) -> AttachType:
    check_type(program, "cgroups", *_TYPES)
    attach_type = attach_type if attach_type is not None else program.spec.attach_type
    if attach_type is None:
        attach_type = _ONLY.get(program.type)
    if attach_type is None:
        raise InputError(
            f"program {program.name} ({program.spec.section or program.type.name}): say its attach_type,"
            " such as AttachType.CGROUP_INET_EGRESS"
        )
    if program.type == ProgramType.LSM and attach_type != AttachType.LSM_CGROUP:
        raise InputError(f"program {program.name} ({program.spec.section}) is for all processes: use attach_tracing")
    return attach_type


@contextmanager
def _opened(cgroup: str | os.PathLike[str] | int | sys.HasFileno) -> Iterator[tuple[int, str]]:
    """A descriptor of a cgroup for the time of the block, and what to call it."""
    if isinstance(cgroup, int):
        yield cgroup, f"cgroup fd {cgroup}"
        return
    if not isinstance(cgroup, str | os.PathLike):
        yield cgroup.fileno(), f"cgroup fd {cgroup.fileno()}"
        return
    path = os.fspath(cgroup)
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        number = error.errno if isinstance(error, OSError) else errno.EINVAL
        raise kernel_error(number or 0, "open", subject=f"cgroup {path}") from None
    try:
        yield fd, path
    finally:
        os.close(fd)
