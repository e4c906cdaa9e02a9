"""Attached without a link of the kernel: what older kernels, classic tc and sockets have.

Nothing in the kernel stands for such an attachment, so nobody but its maker takes it off: it can be neither pinned nor
updated, and outlives a process that dies. `Attachment` behaves like a link as far as that goes.
"""

from __future__ import annotations

import fcntl
import warnings
from typing import TYPE_CHECKING, NoReturn

from ebpfpy import sys
from ebpfpy.errors import UnsupportedError

from .link import Link

if TYPE_CHECKING:
    import os
    from collections.abc import Callable

    from ebpfpy.loader import Program


class Attachment(Link):
    """A program attached without a link; closing takes it off.

    Args:
        fd: what must stay open meanwhile, which the attachment takes over.
        text: what is attached where, in words.
        undo: takes the program off; None where closing `fd` does.
        instead: what a link in its place would be called, and the first kernel that has it; None where there is none.
        also: another descriptor that must stay open meanwhile, which the attachment takes over.
    """

    def __init__(
        self,
        fd: sys.Fd,
        text: str,
        undo: Callable[[], None] | None = None,
        *,
        instead: tuple[str, str] | None = None,
        also: sys.Fd | None = None,
    ) -> None:
        super().__init__(fd, text)
        self._also = also
        self._undo = [undo] if undo is not None else []  # list.pop is atomic: one thread takes it off
        self._instead = instead

    @property
    def info(self) -> sys.LinkInfo:
        """There is none.

        Raises:
            UnsupportedError: always.
        """
        self._refuse("has no information: the kernel knows no link here")

    def detach(self) -> None:
        """Take the program off. Does nothing if that has been done, or if its target has gone.

        Raises:
            KernelError: the kernel refused; the attachment counts as closed all the same.
        """
        try:
            undo = self._undo.pop()
        except IndexError:
            self._let_go()
            return
        try:
            undo()
        except (FileNotFoundError, ProcessLookupError):  # somebody else took it off, or the target has gone
            pass
        finally:
            self._let_go()

    def leave(self) -> None:
        """Let go without taking the program off: it stays until its target goes, or somebody takes it off."""
        if self._undo:
            self._undo.clear()
            self._let_go()
        elif not self.closed:
            self._refuse("ends with its descriptor: it cannot be left behind")

    def sever(self) -> None:
        """The same as `detach`: nobody else holds it."""
        self.detach()

    def pin(self, path: str | os.PathLike[str]) -> NoReturn:
        """Refuse: there is nothing to pin.

        Raises:
            UnsupportedError: always; it names what can be pinned.
        """
        self._refuse(f"cannot be pinned to {path}")

    def update(self, program: Program, *, expected: Program | None = None) -> NoReturn:  # noqa: ARG002
        """Refuse: detach, and attach the other.

        Raises:
            UnsupportedError: always; it names what can be updated.
        """
        self._refuse(f"cannot change its program to {program.name}")

    def _let_go(self) -> None:
        self._fd.close()
        if self._also is not None:
            self._also.close()

    def _refuse(self, what: str) -> NoReturn:
        feature, minimum = self._instead or (None, None)
        hint = f"; {feature} can (Linux {minimum})" if feature else ""
        raise UnsupportedError(
            f"{self.text}: attached without a link, it {what}{hint}", feature=feature or "links", minimum=minimum
        )

    def __del__(self) -> None:
        if getattr(self, "_undo", None):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.detach()


def keep(of: int | sys.HasFileno, what: str) -> sys.Fd:
    """A descriptor of our own for what the caller's descriptor stands for."""
    return sys.Fd(fcntl.fcntl(sys.number_of(of), fcntl.F_DUPFD_CLOEXEC, 3), what)
