"""How many CPUs the kernel may ever have: the number of values in an element of a per-CPU map."""

from __future__ import annotations

import errno
from functools import cache

from ebpfpy.errors import InputError, kernel_error

_POSSIBLE = "/sys/devices/system/cpu/possible"


def count_cpus(text: str, *, source: str = "CPU list") -> int:
    """The number of CPUs up to the highest in a kernel CPU list.

    Args:
        text: a list such as "0-3" or "0,2-5".
        source: where it comes from, for the error.

    Returns:
        The highest CPU number plus one: per-CPU values are indexed by CPU number, holes included.

    Raises:
        InputError: the text is no CPU list.
    """
    highest = -1
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        if not first.isdecimal() or not (last.isdecimal() or (not last and "-" not in part)):
            raise InputError(f"no list of CPUs: {text[:80]!r}", source=source)
        if last and int(last) < int(first):
            raise InputError(f"CPU range backwards: {part!r}", source=source)
        highest = max(highest, int(last or first))
    return highest + 1


@cache
def possible_cpus() -> int:
    """The number of possible CPUs; fixed while the kernel runs.

    Raises:
        KernelError: /sys/devices/system/cpu/possible cannot be read.
        InputError: it is not understood.
    """
    try:
        with open(_POSSIBLE, encoding="ascii", errors="replace") as file:
            text = file.read()
    except OSError as error:
        raise kernel_error(error.errno or errno.EIO, "read", subject=_POSSIBLE) from error
    return count_cpus(text, source=_POSSIBLE)
