"""The list of what ftrace can hook, which tracefs holds: every place in the kernel and its modules.

With addresses in ``available_filter_functions_addrs`` (Linux 6.5), else in ``available_filter_functions`` by name only,
behind which a module may stand::

    ffffffff81234560 vfs_read
    ffffffffc0a01000 tun_chr_open [tun]

The name is that of the symbol in whose code the place is; of several symbols at one address, the first. The address
may lie a few bytes behind the symbol's, as an ``endbr64`` may be first. Places in functions that were left out when
the kernel was linked have no name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from .textlines import line_at, line_starts

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACEFS: Final = ("/sys/kernel/tracing", "/sys/kernel/debug/tracing")
"""Where tracefs is mounted; automatically in the second place."""
WITH_ADDRESSES: Final = "available_filter_functions_addrs"
BY_NAME: Final = "available_filter_functions"


class Traceable(NamedTuple):
    """A function: `address` is 0 where the kernel does not tell it, `module` None for the kernel's own."""

    name: str
    address: int
    module: str | None


class FtraceList:
    """The text of such a list, in which names are searched where they stand; or which is gone through.

    Args:
        text: of the file.
        with_addresses: whether it has addresses.
    """

    def __init__(self, text: bytes, *, with_addresses: bool) -> None:
        self.text = b"\n" + text
        self.with_addresses = with_addresses

    @classmethod
    def read(cls, tracefs: str) -> FtraceList:
        """The running kernel's.

        Args:
            tracefs: where it is mounted.

        Raises:
            OSError: the list cannot be read.
        """
        try:
            return cls(_read(f"{tracefs}/{WITH_ADDRESSES}"), with_addresses=True)
        except FileNotFoundError:
            return cls(_read(f"{tracefs}/{BY_NAME}"), with_addresses=False)

    def __iter__(self) -> Iterator[Traceable]:
        """All functions, in the kernel's order."""
        for line in self.text.splitlines():
            if (found := self._parsed(line)) is not None:
                yield found

    def places(self, name: str) -> Iterator[tuple[int, Traceable]]:
        """Those of one name, and where their lines begin."""
        needle = (b" " if self.with_addresses else b"\n") + name.encode("utf-8", "surrogatepass")
        for start in line_starts(self.text, needle, b"\n\t "):
            found = self._parsed(line_at(self.text, start))
            if found is not None and found.name == name:
                yield start, found

    def before(self, start: int, lines: int) -> Iterator[Traceable]:
        """The functions on so many lines before the one that begins there, the nearest first."""
        for _ in range(lines):
            if start <= 1:
                return
            start = self.text.rfind(b"\n", 0, start - 1) + 1
            if (found := self._parsed(line_at(self.text, start))) is not None:
                yield found

    def _parsed(self, line: bytes) -> Traceable | None:
        words = line.decode("utf-8", "replace").split()
        address = 0
        if self.with_addresses and words:
            try:
                address = int(words.pop(0), 16)
            except ValueError:
                return None
        if not words or words[0].startswith("__ftrace_invalid_address"):
            return None
        return Traceable(words[0], address, words[1].strip("[]") if len(words) > 1 else None)


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()
