"""Why the kernel may have refused: read after the failure, never before a success.

EPERM is the common and the least informative answer of bpf(2). What stands behind it, in the order in
which it is looked for here:

1. the process lacks a capability that the command needs (CAP_BPF and its companions since 5.8,
   CAP_SYS_ADMIN before), or has it only inside a user namespace;
2. unprivileged use is switched off (``kernel.unprivileged_bpf_disabled``, nearly everywhere);
3. the kernel is locked down (secure boot), which forbids some commands even to root;
4. before 5.11, maps and programs counted against the limit of locked memory (`ebpfpy.sys.memlock` lifts it if it may);
5. a seccomp filter, as container runtimes install it.

Source: kernel/bpf/syscall.c, Documentation/admin-guide/sysctl/kernel.rst, kernel_lockdown(7).
"""

from __future__ import annotations

import errno
from typing import Final

from .enums import Command
from .refusals import ENOTSUPP

_CAPABILITIES: Final[dict[str, int]] = {
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}

_BY_ID: Final = ("CAP_SYS_ADMIN",)

_NEEDED: Final[dict[Command, tuple[tuple[str, ...], str]]] = {
    Command.MAP_CREATE: (("CAP_BPF",), ""),
    Command.PROG_LOAD: (("CAP_BPF",), "and CAP_PERFMON for tracing or CAP_NET_ADMIN for networking programs"),
    Command.BTF_LOAD: (("CAP_BPF",), ""),
    Command.RAW_TRACEPOINT_OPEN: (("CAP_PERFMON",), ""),
    Command.LINK_CREATE: ((), "CAP_PERFMON for tracing or CAP_NET_ADMIN for networking programs"),
    Command.PROG_TEST_RUN: ((), "CAP_BPF or CAP_NET_ADMIN, as the program's type says"),
    Command.PROG_GET_NEXT_ID: (_BY_ID, ""),
    Command.MAP_GET_NEXT_ID: (_BY_ID, ""),
    Command.BTF_GET_NEXT_ID: (_BY_ID, ""),
    Command.LINK_GET_NEXT_ID: (_BY_ID, ""),
    Command.PROG_GET_FD_BY_ID: (_BY_ID, ""),
    Command.MAP_GET_FD_BY_ID: (_BY_ID, ""),
    Command.BTF_GET_FD_BY_ID: (_BY_ID, ""),
    Command.LINK_GET_FD_BY_ID: (_BY_ID, ""),
    Command.ENABLE_STATS: (_BY_ID, ""),
    Command.PROG_BIND_MAP: (("CAP_BPF",), ""),
}

_READ: Final = frozenset((Command.MAP_LOOKUP_ELEM, Command.MAP_GET_NEXT_KEY, Command.MAP_LOOKUP_BATCH))
_WRITE: Final = frozenset(
    (
        Command.MAP_UPDATE_ELEM,
        Command.MAP_DELETE_ELEM,
        Command.MAP_LOOKUP_AND_DELETE_ELEM,
        Command.MAP_UPDATE_BATCH,
        Command.MAP_DELETE_BATCH,
        Command.MAP_LOOKUP_AND_DELETE_BATCH,
        Command.MAP_FREEZE,
    )
)
_ACCOUNTED: Final = frozenset((Command.MAP_CREATE, Command.PROG_LOAD, Command.BTF_LOAD))


def hint_for(code: int, command: Command) -> str | None:
    """What to do about the error number `code` from `command`, or None where nothing is known."""
    if code == errno.EPERM:
        return _permission(command)
    if code == errno.ENOSYS:
        return "this kernel has no bpf(2), or a seccomp filter hides it"
    if code == errno.E2BIG and command not in (Command.PROG_LOAD, Command.MAP_UPDATE_ELEM):
        return "this kernel does not know an attribute that was set"
    if code == ENOTSUPP:
        return "this kernel does not support it"
    return None


def _permission(command: Command) -> str:
    if command in _READ:
        return "the map's descriptor or the map itself does not allow reading"
    if command in _WRITE:
        return "the map is frozen or read-only, or its descriptor is"
    status = _status()
    needed, rest = _NEEDED.get(command, ((), "CAP_BPF or CAP_SYS_ADMIN"))
    what = " ".join(word for word in ("needs", " and ".join(needed), rest) if word)
    effective = _effective(status)
    if effective is None:
        return what
    admin = _has(effective, "CAP_SYS_ADMIN")
    missing = [name for name in (needed or ("CAP_BPF",)) if not admin and not _has(effective, name)]
    causes = [f"this process lacks {' and '.join(missing)}"] if missing else []
    if missing and command in _ACCOUNTED and _text("/proc/sys/kernel/unprivileged_bpf_disabled") in ("1", "2"):
        causes.append("kernel.unprivileged_bpf_disabled is set")
    if not missing:
        # the program's type says which of these is needed; one that is not there is the likelier cause
        lacking = [name for name in _CAPABILITIES if name in rest and not admin and not _has(effective, name)]
        causes += [f"this process lacks {' and '.join(lacking)}"] if lacking else _privileged_causes(command, status)
    return what + (": " + ", ".join(causes) if causes else "")


def _privileged_causes(command: Command, status: dict[str, str]) -> list[str]:
    causes = []
    if _in_user_namespace():
        causes.append("this process has its capabilities only in a user namespace")
    lockdown = _text("/sys/kernel/security/lockdown")
    if "[integrity]" in lockdown or "[confidentiality]" in lockdown:
        causes.append("the kernel is locked down")
    elif not lockdown:
        causes.append("the kernel may be locked down (/sys/kernel/security/lockdown cannot be read)")
    resources = _has(_effective(status) or 0, "CAP_SYS_RESOURCE")  # with it, the limit has been lifted already
    if command in _ACCOUNTED and not resources and (limit := _memlock()) is not None:
        causes.append(f"before Linux 5.11 the limit of locked memory ({limit} bytes) may be too low")
    if status.get("Seccomp", "0") == "2":
        causes.append("a seccomp filter may forbid it")
    return causes


def _status() -> dict[str, str]:
    pairs = (line.partition(":") for line in _text("/proc/self/status").splitlines())
    return {name: value.strip() for name, _, value in pairs}


def lacks(capability: str) -> bool:
    """Whether this process is known to have neither a capability nor CAP_SYS_ADMIN, which stands in for it."""
    effective = _effective(_status())
    return effective is not None and not _has(effective, "CAP_SYS_ADMIN") and not _has(effective, capability)


def _effective(status: dict[str, str]) -> int | None:
    try:
        return int(status["CapEff"], 16)
    except (KeyError, ValueError):
        return None


def _has(effective: int, capability: str) -> bool:
    return bool(effective >> _CAPABILITIES[capability] & 1)


def _in_user_namespace() -> bool:
    words = _text("/proc/self/uid_map").split()
    return bool(words) and words != ["0", "0", "4294967295"]


def _memlock() -> int | None:
    for line in _text("/proc/self/limits").splitlines():
        if line.startswith("Max locked memory"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None


def _text(path: str) -> str:
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""
