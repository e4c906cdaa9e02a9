"""Exit statuses, and which error leads to which."""

from __future__ import annotations

from ebpfpy.errors import (
    AmbiguousRelocationError,
    AmbiguousTypeError,
    EbpfError,
    KernelError,
    TargetError,
    TypeNotFoundError,
    UnsupportedError,
    VerifierError,
)

OK = 0
DOES_NOT_HOLD = 1
WRONG_COMMAND_LINE = 2
BAD_INPUT = 3
KERNEL_REFUSED = 4

_READING = frozenset({"open", "read"})
"""System calls whose failure means that a file is unreadable."""


class UsageError(EbpfError):
    """The command line names something that the input does not have, or leaves a choice open."""


def status_of(error: Exception) -> int:
    """The exit status that an error leads to."""
    if isinstance(error, UsageError):
        return WRONG_COMMAND_LINE
    if isinstance(error, (AmbiguousRelocationError, TypeNotFoundError, AmbiguousTypeError)):
        return DOES_NOT_HOLD
    if isinstance(error, KernelError):
        return BAD_INPUT if error.call in _READING else KERNEL_REFUSED
    if isinstance(error, TargetError) or (isinstance(error, UnsupportedError) and error.minimum):
        return KERNEL_REFUSED
    return BAD_INPUT


def one_line(error: Exception, *, log_is: str = "shown by --debug") -> str:
    """An error's text on one line; a file that cannot be opened comes without Python's number.

    Args:
        error: any.
        log_is: where the user finds the kernel's log, if there is one.
    """
    if isinstance(error, OSError) and not isinstance(error, EbpfError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    text = error.text(log_is) if isinstance(error, VerifierError) else str(error)
    return "; ".join(line.strip() for line in text.splitlines() if line.strip()) or type(error).__name__
