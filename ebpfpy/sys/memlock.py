"""The limit of locked memory, against which maps and programs counted before Linux 5.11.

The default limit is 64 KiB, which a ring buffer alone exceeds; the kernel then answers EPERM, as it does for many other
reasons, or ENOMEM. Newer kernels charge the memory to the process's cgroup instead, and the limit does not matter.

Which of the two a kernel does is not asked beforehand. After a refusal that may have come from the limit, the limit is
lifted and the kernel asked once more; if that was not the reason, the limit is put back.

Source: commit d5299b67dd59 ("bpf: Memcg-based memory accounting for bpf maps"), in 5.11; setrlimit(2).
"""

from __future__ import annotations

import errno
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_REASONS = frozenset((-errno.EPERM, -errno.ENOMEM))


def without_limit(ask: Callable[[], int]) -> int:
    """The kernel's answer; asked again without the limit where the limit may have been the reason.

    Lifting it above the hard limit needs CAP_SYS_RESOURCE; without, the soft limit is raised as far as it goes.

    Args:
        ask: calls the kernel: the result, or the error number negated.
    """
    result = ask()
    if result not in _REASONS:
        return result
    try:
        import resource
    except ImportError:  # of a process that may no longer read Python's own files
        return result
    limit = resource.RLIMIT_MEMLOCK
    before = resource.getrlimit(limit)
    if before[0] == resource.RLIM_INFINITY or not _lift(limit, before[1], resource.RLIM_INFINITY):
        return result
    again = ask()
    if again < 0:
        with suppress(OSError, ValueError):  # another thread may have lowered the hard limit
            resource.setrlimit(limit, before)
    return again


def _lift(limit: int, hard: int, infinity: int) -> bool:
    import resource

    for wanted in ((infinity, infinity), (hard, hard)):
        try:
            resource.setrlimit(limit, wanted)
        except (OSError, ValueError):
            continue
        return True
    return False
