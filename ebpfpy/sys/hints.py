"""Why the kernel may have refused: read after the failure, never before a success.

EPERM is the common and the least informative answer of bpf(2). What stands behind it, in the order in
which it is looked for here:

1. the process lacks a capability that the command needs (CAP_BPF and its companions since 5.8,
   CAP_SYS_ADMIN before), or has it only inside a user namespace;
2. unprivileged use is switched off (``kernel.unprivileged_bpf_disabled``, nearly everywhere);
3. before 5.11, maps and programs counted against the limit of locked memory (`ebpfpy.sys.memlock` lifts it if it may);
4. lockdown, a seccomp filter, a security module: see `ebpfpy.sys.rights`.

Source: kernel/bpf/syscall.c, Documentation/admin-guide/sysctl/kernel.rst, kernel_lockdown(7).
"""

from __future__ import annotations

import errno
from typing import Final

from .enums import Command, ProgramType
from .refusals import ENOTSUPP
from .rights import CAPABILITIES, known, lacking, locked_memory, other_causes, raises_limits, read

_BY_ID: Final = ("CAP_SYS_ADMIN",)

_NEEDED: Final[dict[Command, tuple[tuple[str, ...], str]]] = {
    Command.MAP_CREATE: (("CAP_BPF",), ""),
    Command.PROG_LOAD: (("CAP_BPF",), "and what its type needs"),
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

TRACING: Final = frozenset(
    (
        ProgramType.KPROBE,
        ProgramType.TRACEPOINT,
        ProgramType.PERF_EVENT,
        ProgramType.RAW_TRACEPOINT,
        ProgramType.RAW_TRACEPOINT_WRITABLE,
        ProgramType.TRACING,
        ProgramType.LSM,
        ProgramType.STRUCT_OPS,
        ProgramType.EXT,
    )
)
_NETWORKING: Final = frozenset(
    (
        ProgramType.SCHED_CLS,
        ProgramType.SCHED_ACT,
        ProgramType.XDP,
        ProgramType.LWT_IN,
        ProgramType.LWT_OUT,
        ProgramType.LWT_XMIT,
        ProgramType.LWT_SEG6LOCAL,
        ProgramType.SK_SKB,
        ProgramType.SK_MSG,
        ProgramType.LIRC_MODE2,
        ProgramType.FLOW_DISSECTOR,
        ProgramType.CGROUP_DEVICE,
        ProgramType.CGROUP_SOCK,
        ProgramType.CGROUP_SOCK_ADDR,
        ProgramType.CGROUP_SOCKOPT,
        ProgramType.CGROUP_SYSCTL,
        ProgramType.SOCK_OPS,
        ProgramType.NETFILTER,
        ProgramType.EXT,
    )
)
_PROGRAM_TYPES: Final = frozenset(filter(None, ProgramType))
"""By what they need besides CAP_BPF: is_perfmon_prog_type(), is_net_admin_prog_type() in kernel/bpf/syscall.c."""

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
_ACCOUNTED: Final = frozenset((Command.MAP_CREATE, Command.PROG_LOAD))
_UNPRIVILEGED: Final = frozenset((*_ACCOUNTED, Command.BTF_LOAD))
"""What a process without capabilities may ask for, within limits, unless kernel.unprivileged_bpf_disabled is set."""


def hint_for(code: int, command: Command, kind: int = 0) -> str | None:
    """What to do about a refusal, or None where nothing is known.

    Args:
        code: the error number.
        command: what was refused.
        kind: the type of program, for BPF_PROG_LOAD.
    """
    if code == errno.EPERM:
        return _permission(command, kind)
    if code == errno.ENOSYS:
        return "this kernel has no bpf(2), or a seccomp filter hides it"
    if code == errno.E2BIG and command not in (Command.PROG_LOAD, Command.MAP_UPDATE_ELEM):
        return "this kernel does not know an attribute that was set"
    if code == ENOTSUPP:
        return "this kernel does not support it"
    return None


def _permission(command: Command, kind: int) -> str:
    if command in _READ:
        return "the map's descriptor or the map itself does not allow reading"
    if command in _WRITE:
        return "the map is frozen or read-only, or its descriptor is"
    needed, rest = _needs(command, kind)
    what = " ".join(word for word in ("needs", " and ".join(needed), rest) if word)
    if not known():
        return what
    missing = lacking(*(needed or ("CAP_BPF",)))
    # the program's type says which of these is needed; one that is not there is the likelier cause
    missing = missing or lacking(*(name for name in CAPABILITIES if name in rest))
    if not missing:
        return f"{what}, which this process has: {', '.join((*_limits(command), *other_causes()))}"
    causes = [f"this process lacks {' and '.join(missing)}"]
    if "CAP_BPF" in missing:
        switch = read("/proc/sys/kernel/unprivileged_bpf_disabled")
        if command in _UNPRIVILEGED and switch in ("1", "2"):
            causes.append(f"kernel.unprivileged_bpf_disabled is {switch}")
    else:
        causes += _limits(command)
    return f"{what}: {', '.join(causes)}"


def _needs(command: Command, kind: int) -> tuple[tuple[str, ...], str]:
    """The capabilities that a command needs, and what else to say about that."""
    if command is Command.PROG_LOAD and kind in _PROGRAM_TYPES:
        return program_needs(kind), ""
    return _NEEDED.get(command, ((), "CAP_BPF or CAP_SYS_ADMIN"))


def program_needs(kind: int) -> tuple[str, ...]:
    """The capabilities that loading a type of program needs, as far as they are known."""
    more = [name for name, of in (("CAP_PERFMON", TRACING), ("CAP_NET_ADMIN", _NETWORKING)) if kind in of]
    return ("CAP_BPF", *more)


def _limits(command: Command) -> list[str]:
    """The limit of locked memory, if it can be the cause: with CAP_SYS_RESOURCE it has been lifted already."""
    if command not in _ACCOUNTED or raises_limits() or (limit := locked_memory()) is None:
        return []
    return [f"before Linux 5.11 the limit of locked memory ({limit} bytes, RLIMIT_MEMLOCK) may be too low"]
