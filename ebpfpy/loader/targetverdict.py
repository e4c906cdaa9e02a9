"""Why a function cannot be attached to, when the kernel has refused to: what `features.explain_target` makes of it.

The kernel says "the address of function X cannot be found", or a number. The audit knows that only X.isra.0 is left, or
that X is in a section that is thrown away after boot, and what to attach to instead.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ebpfpy.errors import EbpfError, VerifierError
from ebpfpy.sys import AttachType
from ebpfpy.sys.refusals import ENOTSUPP
from ebpfpy.sys.vmlinux import VMLINUX

from .programtarget import ProgramTarget

if TYPE_CHECKING:
    from ebpfpy import btf
    from ebpfpy.elf.spec import ProgramSpec
    from ebpfpy.errors import KernelError

    from .target import AttachTarget

_FUNCTIONS = frozenset(
    {AttachType.TRACE_FENTRY, AttachType.TRACE_FEXIT, AttachType.TRACE_FSESSION, AttachType.MODIFY_RETURN}
)
_OF_THE_TARGET = frozenset({errno.ENOENT, errno.EADDRNOTAVAIL, errno.ENODEV, ENOTSUPP})


def is_of_target(error: KernelError, target: AttachTarget) -> bool:
    """Whether a refusal to load can be one of the function that the program attaches to."""
    return error.errno in _OF_THE_TARGET or (isinstance(error, VerifierError) and target.name in error.reason)


def verdict(spec: ProgramSpec, target: AttachTarget | None, cache: btf.Cache | None = None) -> str | None:
    """Why a program cannot attach to its function, and to what instead; None if nothing is known against it.

    Args:
        spec: the program.
        target: what it was to be attached to.
        cache: the running kernel's types, if they are at hand.
    """
    if target is None or isinstance(target, ProgramTarget) or spec.attach_type not in _FUNCTIONS:
        return None
    from ebpfpy.features import explain_target

    try:
        audit = explain_target(target.name, target.module or VMLINUX, cache=cache)
    except EbpfError:
        return None
    if audit.fentry is None or audit.lucky:
        return None
    instead = f'; SEC("{audit.sections[0]}") can' if audit.sections else ""
    return f"{audit.fentry}{instead}"
