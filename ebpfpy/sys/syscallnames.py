"""What the kernel calls the functions of system calls: that of ``read(2)`` is ``__x64_sys_read`` on x86.

Kernels with wrappers (CONFIG_ARCH_HAS_SYSCALL_WRAPPER, Linux 4.17) hand the registers over in one structure; on others
the function is ``__se_sys_read`` or plain ``sys_read``.
"""

from __future__ import annotations

import os
from typing import Final

WRAPPERS: Final = {
    "x86_64": "__x64_sys_",
    "aarch64": "__arm64_sys_",
    "riscv64": "__riscv_sys_",
    "s390x": "__s390x_sys_",
}
"""What a wrapper's name begins with, by machine; others have none."""
_PLAIN: Final = ("__se_sys_", "sys_")


def functions_of(name: str) -> list[str]:
    """What the function of a system call may be called on this machine, likeliest first."""
    own = WRAPPERS.get(os.uname().machine)
    return [f"{prefix}{name}" for prefix in ((own,) if own else ()) + _PLAIN]


def system_call(function: str) -> str | None:
    """The system call that a name without a wrapper's beginning is meant for: "read" of "sys_read"; else None."""
    for prefix in ("__do_sys_", "__se_sys_", "sys_", "SyS_"):
        if function.startswith(prefix) and len(function) > len(prefix):
            return function[len(prefix) :]
    return None
