"""A file descriptor with an owner."""

from __future__ import annotations

import fcntl
import os
import warnings
from typing import Protocol

from ebpfpy.errors import ClosedError, InputError

_FIRST_GOOD = 3


class HasFileno(Protocol):
    """Anything with a file descriptor."""

    def fileno(self) -> int:
        """The descriptor's number."""
        ...


class Fd:
    """Owner of a descriptor of a kernel object: a map, a program, BTF, a link.

    A context manager; closing twice is harmless, from any thread. Dropping an open one closes it with a
    ResourceWarning. The kernel creates descriptors of bpf(2) with close-on-exec set.

    A descriptor below 3 (the process runs with standard input closed, say) is moved up at once: several
    attributes of bpf(2) take 0 for "none".

    Args:
        number: an open descriptor, which the new object takes over.
        what: what it stands for, in words ("map events").
    """

    __slots__ = ("__weakref__", "_cell", "what")

    def __init__(self, number: int, what: str = "bpf object") -> None:
        self.what = what
        self._cell: list[int] = []  # empty once closed; list.pop is atomic, which makes close() thread-safe
        if 0 <= number < _FIRST_GOOD:
            low = number
            try:
                number = fcntl.fcntl(low, fcntl.F_DUPFD_CLOEXEC, _FIRST_GOOD)
            finally:
                os.close(low)
        self._cell.append(number)

    def fileno(self) -> int:
        """The descriptor's number.

        Raises:
            ClosedError: it has been closed or handed on.
        """
        try:
            return self._cell[0]
        except IndexError:
            raise ClosedError(f"{self.what} is closed") from None

    @property
    def closed(self) -> bool:
        """Whether it has been closed or handed on."""
        return not self._cell

    def close(self) -> None:
        """Close the descriptor. Does nothing if that has been done."""
        try:
            number = self._cell.pop()
        except IndexError:
            return
        os.close(number)

    def detach(self) -> int:
        """Hand the descriptor on: this object is closed, the caller owns the number.

        Raises:
            ClosedError: it has been closed or handed on already.
        """
        try:
            return self._cell.pop()
        except IndexError:
            raise ClosedError(f"{self.what} is closed") from None

    def __enter__(self) -> Fd:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = f"fd {self._cell[0]}" if self._cell else "closed"
        return f"<Fd {self.what}: {state}>"

    def __del__(self) -> None:
        if getattr(self, "_cell", None):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()


def number_of(fd: int | HasFileno) -> int:
    """The number of a descriptor given as number or as its owner."""
    if isinstance(fd, int):
        return fd
    try:
        return fd.fileno()
    except AttributeError:
        if hasattr(fd, "fileno"):
            raise
        raise InputError(f"a descriptor is a number, or what has a fileno(), not {fd!r:.60}") from None
