"""Attaching by the section's name: what an object says about itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.errors import UnsupportedError
from ebpfpy.sys import AttachType, ProgramType

from .tracing import attach_raw_tracepoint, attach_tracing

if TYPE_CHECKING:
    from ebpfpy.loader import Program

    from .link import Link

_TRACING = frozenset(
    {
        AttachType.TRACE_RAW_TP,
        AttachType.TRACE_FENTRY,
        AttachType.TRACE_FEXIT,
        AttachType.MODIFY_RETURN,
        AttachType.LSM_MAC,
    }
)


def attach(program: Program) -> Link:
    """Attach a program to what its section's name says.

    ==================================  =====================================================================
    section                             attached to
    ==================================  =====================================================================
    ``fentry/FUNC``, ``fexit/FUNC``     a function of the kernel or of any loaded module
    ``fentry/MODULE:FUNC``              a function of that module (``vmlinux``: of the kernel itself)
    ``tp_btf/NAME``                     a tracepoint, with typed arguments
    ``raw_tp/NAME``                     a tracepoint, with raw arguments
    ==================================  =====================================================================

    Returns:
        The link; the caller closes it.

    Raises:
        UnsupportedError: the section names a kind of hook that cannot be attached from its name alone.
        KernelError: the kernel refused.
    """
    spec = program.spec
    if spec.type in (ProgramType.TRACING, ProgramType.LSM) and spec.attach_type in _TRACING:
        return attach_tracing(program)
    if spec.type in (ProgramType.RAW_TRACEPOINT, ProgramType.RAW_TRACEPOINT_WRITABLE):
        return attach_raw_tracepoint(program)
    raise UnsupportedError(
        f"program {program.name}: section {spec.section!r} ({spec.type.name}) cannot be attached by its name",
        feature=f"attaching {spec.section}",
    )
