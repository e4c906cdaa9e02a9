"""The kernel's functions that can be traced, by pattern: what kprobe.multi is given.

A pattern is a name in which ``*`` stands for any characters and ``?`` for one; nothing else in it is special. With
"MODULE:" in front only that module's functions are meant.
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from ebpfpy.errors import kernel_error
from ebpfpy.sys.ftracelist import WITH_ADDRESSES, FtraceList, Traceable
from ebpfpy.sys.rights import other_causes
from ebpfpy.sys.vmlinux import VMLINUX

from .tracepoint import tracefs

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        yield from FtraceList.read(place)
    except OSError as error:
        hint = ", ".join(other_causes()) if error.errno == errno.EPERM else None  # EACCES: not root
        path = error.filename or f"{place}/{WITH_ADDRESSES}"
        raise kernel_error(error.errno or 0, "read", subject=path, hint=hint) from error
