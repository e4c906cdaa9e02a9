"""Links: a program attached to something, for as long as the link lives."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy import sys

if TYPE_CHECKING:
    import os

    from ebpfpy.loader import Program


class Link:
    """An attached program. Closing the link detaches it, unless the link is pinned.

    Owns its descriptor: close it, or use it as a context manager. One that is dropped open is closed with a
    ResourceWarning. Closing is safe from any thread.

    Args:
        fd: the descriptor, which the link takes over.
        text: what is attached where, in words.
    """

    def __init__(self, fd: sys.Fd, text: str) -> None:
        self._fd = fd
        self.text = text

    @property
    def info(self) -> sys.LinkInfo:
        """What the kernel says of it (Linux 5.8); `details` has what is particular to its kind."""
        return sys.link_info(self._fd)

    def fileno(self) -> int:
        """The descriptor; still owned by the link."""
        return self._fd.fileno()

    @property
    def closed(self) -> bool:
        """Whether it was detached."""
        return self._fd.closed

    def detach(self) -> None:
        """Take the program off. Does nothing if that has been done. A pinned link stays: see `sever`."""
        self._fd.close()

    def close(self) -> None:
        """The same as `detach`."""
        self.detach()

    def sever(self) -> None:
        """Take the program off although the link is pinned or open elsewhere, too; it stays as a dead object (5.9).

        For cgroup, network namespace, XDP, tcx, netkit, netfilter and struct_ops links.

        Raises:
            KernelError: EOPNOTSUPP: links of this kind cannot.
        """
        sys.link_detach(self._fd, subject=self.text)

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the link a name on a bpf file system: the program stays attached after this process (Linux 5.7)."""
        sys.obj_pin(self._fd, path)

    def update(self, program: Program, *, expected: Program | None = None) -> None:
        """Put another program in its place at once (Linux 5.7; not for every kind of link).

        For cgroup, network namespace, XDP, tcx, netkit, and sockmap links.

        Args:
            program: of the same type.
            expected: replace only this one, fail with EPERM if another is there by now.

        Raises:
            KernelError: the kernel refused; EINVAL or EOPNOTSUPP for kinds that cannot.
        """
        sys.link_update(self._fd, program, old_prog_fd=expected, subject=self.text)

    def __enter__(self) -> Link:
        return self

    def __exit__(self, *exc: object) -> None:
        self.detach()

    def __repr__(self) -> str:
        state = "detached" if self._fd.closed else f"fd {self._fd.fileno()}"
        return f"<{type(self).__name__} {self.text} {state}>"
