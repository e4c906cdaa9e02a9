"""The kernel's functions that can be traced, by pattern: what kprobe.multi is given.

tracefs lists them: in ``available_filter_functions_addrs`` with addresses (Linux 6.5), else in
``available_filter_functions`` by name only, behind which a module may stand::

    ffffffff81234560 vfs_read
    ffffffffc0a01000 tun_chr_open [tun]

A pattern is a name in which ``*`` stands for any characters and ``?`` for one; nothing else in it is special. With
"MODULE:" in front only that module's functions are meant.
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy.errors import KernelError, kernel_error
from ebpfpy.sys.rights import other_causes
from ebpfpy.sys.vmlinux import VMLINUX

from .tracepoint import tracefs

if TYPE_CHECKING:
    from collections.abc import Iterator


class Traceable(NamedTuple):
    """A function: `address` is 0 where the kernel does not tell it, `module` None for the kernel's own."""

    name: str
    address: int
    module: str | None


def matching(pattern: str) -> re.Pattern[str]:
    """A regular expression for the whole of a name that a pattern means."""
    parts = re.split(r"([*?])", pattern)
    return re.compile("".join({"*": ".*", "?": "."}.get(part, re.escape(part)) for part in parts) + r"\Z", re.DOTALL)


def traceable(pattern: str) -> list[Traceable]:
    """The functions of the kernel and its modules that match a pattern, in tracefs's order.

    Raises:
        UnsupportedError: tracefs is not mounted.
        KernelError: tracefs cannot be read.
    """
    module, colon, name = pattern.rpartition(":")
    matches = matching(name).match
    return [
        each for each in _listed(tracefs()) if matches(each.name) and (not colon or (each.module or VMLINUX) == module)
    ]


def _listed(place: str) -> Iterator[Traceable]:
    try:
        yield from _read(f"{place}/available_filter_functions_addrs", with_addresses=True)
    except FileNotFoundError:
        yield from _read(f"{place}/available_filter_functions", with_addresses=False)


def _read(path: str, *, with_addresses: bool) -> Iterator[Traceable]:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                words = line.split()
                address = 0
                if with_addresses and words:
                    try:
                        address = int(words.pop(0), 16)
                    except ValueError:
                        continue
                if words and not words[0].startswith("__ftrace_invalid_address"):
                    yield Traceable(words[0], address, words[1].strip("[]") if len(words) > 1 else None)
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        hint = ", ".join(other_causes()) if error.errno == errno.EPERM else None  # EACCES: not root
        raise kernel_error(error.errno or 0, "read", subject=path, hint=hint) from error
