"""freplace: a program in the place of a function of another program (Linux 5.6; other targets than loaded for 5.10)."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ebpfpy import btf, sys
from ebpfpy.errors import InputError, TargetNotFoundError
from ebpfpy.sys import AttachType, LinkType, ProgramType

from .link import Link
from .refusal import attaching, check_type

if TYPE_CHECKING:
    from ebpfpy.loader import Program

_HINTS = {
    errno.EBUSY: "the function has been replaced already",
    errno.EINVAL: "the function's type is another, or the target has been replaced itself",
}


def attach_freplace(program: Program, target: Program | None = None, function: str | None = None) -> Link:
    """Put a program in the place of a function of another program (Linux 5.6; with a target 5.10; CAP_BPF).

    Args:
        program: of type EXT.
        target: the other program; None: the one that `program` was loaded for.
        function: of `target`, of the type of the one that `program` was loaded for; None: of the same name.

    Returns:
        The link; the caller closes it.

    Raises:
        TargetNotFoundError: the target has no such function, or no BTF.
        KernelError: EBUSY: it has been replaced. PermissionError: BTF of programs by id needs CAP_SYS_ADMIN.
    """
    check_type(program, "replacing functions", ProgramType.EXT)
    if target is None:
        if function is not None:
            raise InputError(f"program {program.name}: function {function!r} of which program?")
        text = f"{program.name} to {program.target or program.spec.section}"
        with attaching(text, LinkType.TRACING, hints=_HINTS):
            return Link(sys.raw_tracepoint_open(program, subject=text), text)
    function = function or (program.target.name if program.target is not None else program.spec.attach_to)
    text = f"{program.name} to program {target.name}:{function}"
    with attaching(text, LinkType.TRACING, feature="freplace with another target", minimum="5.10", hints=_HINTS):
        options = sys.TracingOptions(target_btf_id=_function_id(target, function, text))
        fd = sys.link_create(program, attach_type=AttachType(0), target_fd=target, options=options)
        return Link(fd, text)


def _function_id(target: Program, function: str, text: str) -> int:
    """Type id of a function in a program's BTF."""
    number = target.info.btf_id
    if not number:
        raise TargetNotFoundError(f"{text}: the target has no BTF, and so no functions by name", name=function)
    with btf.Handle.from_id(number) as handle:
        types = handle.spec()
        try:
            return types.type_id(types.type_by_name(function, btf.Func))
        except LookupError as error:
            raise TargetNotFoundError(f"{text}: {error}", name=function) from None
