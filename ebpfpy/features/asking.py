"""Offering something to the kernel, and reading its refusal."""

from __future__ import annotations

import errno
import sys as _sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from ebpfpy import asm, sys
from ebpfpy.errors import InputError, KernelError, kernel_error
from ebpfpy.sys.refusals import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ebpfpy.asm import Instruction
    from ebpfpy.sys import MapType, ProgramType

NOWHERE: Final = 0x7FFFFFFF
"""A descriptor or interface that does not exist."""
RETURN_0: Final = (asm.mov_imm(0, 0), asm.exit_())
"""The smallest program."""

_LOG: Final = 1 << 14


def name_of(kind: str, of: int) -> str:
    """What to call a feature, such as "program type XDP"; newer ones go by their number."""
    return f"{kind} {getattr(of, 'name', None) or of}"


def member_of(kind: type[ProgramType] | type[MapType], value: int) -> Any:
    """The enumerator, or the number itself if it is newer than this library.

    Raises:
        InputError: no type of program or map can have that number.
    """
    try:
        member = kind(value)
    except ValueError:
        if not isinstance(value, int) or not 0 < value < 1 << 32:
            raise InputError(f"{kind.__name__} is a number of 32 bits, not {value!r}") from None
        return value
    if not member:
        raise InputError(f"{kind.__name__} UNSPEC is no type")
    return member


@contextmanager
def about(feature: str) -> Iterator[None]:
    """Let errors name the feature that was asked for."""
    try:
        yield
    except KernelError as error:
        error.subject = f"asking for {feature}"
        raise


def verdict(type_: int, code: Sequence[Instruction], **arguments: Any) -> str | None:
    """Offer a program.

    Returns:
        None if the kernel took it, else the verifier's log, "" if it was refused before the verifier looked.

    Raises:
        KernelError: no answer.
    """
    try:
        fd, _ = sys.prog_load(
            type=type_,
            insns=asm.encode(code, _sys.byteorder),
            license="GPL",
            name="probe",
            log_level=1,
            log_size=_LOG,
            **arguments,
        )
    except KernelError as error:
        if error.log:
            return error.log
        if error.errno in (errno.EINVAL, errno.E2BIG):
            return ""
        raise
    fd.close()
    return None


def takes_map(**arguments: Any) -> bool:
    """Offer a map.

    Raises:
        KernelError: no answer.
    """
    try:
        sys.map_create(name="probe", **arguments).close()
    except KernelError as error:
        if error.errno in (errno.EINVAL, errno.E2BIG, errno.EOPNOTSUPP):
            return False
        raise
    return True


def refusal(ask: Callable[[], sys.Fd]) -> int:
    """The error number with which the kernel refuses; 0 if it does not."""
    try:
        ask().close()
    except KernelError as error:
        return error.errno or 0
    return 0


def knows_link(ask: Callable[[], sys.Fd], *refusals: int) -> bool:
    """Ask for a link that cannot be; `refusals` come from a kernel that knows its kind.

    Raises:
        KernelError: no answer.
    """
    code = refusal(ask)
    if code in (0, *refusals):
        return True
    if code in UNKNOWN:
        return False
    raise kernel_error(code, "BPF_LINK_CREATE", subject="probe", hint="this says nothing about the feature")
