"""What this process may do, and what forbids it the rest: read from /proc and securityfs, after a refusal only.

A process may have every capability and still be refused, because it has them in a user namespace only, because the
kernel is locked down, or because a filter of system calls stands in between. `other_causes` names those that hold;
where none does, it says what was looked at.

Lockdown takes two steps. ``integrity`` hides bpf_probe_write_user() from programs. ``confidentiality`` forbids to read
the kernel, too: it hides the helpers that read its memory, refuses kprobes by name, and closes the lists of tracefs.
What the verifier knows the type of can still be followed, for one the arguments of fentry programs.

Source: capabilities(7), kernel_lockdown(7), security/lockdown/lockdown.c, bpf_tracing_func_proto() in
kernel/trace/bpf_trace.c.
"""

from __future__ import annotations

from typing import Final

CAPABILITIES: Final[dict[str, int]] = {
    "CAP_NET_ADMIN": 12,
    "CAP_SYS_ADMIN": 21,
    "CAP_SYS_RESOURCE": 24,
    "CAP_SYSLOG": 34,
    "CAP_PERFMON": 38,
    "CAP_BPF": 39,
}
"""By number: include/uapi/linux/capability.h."""

LOCKDOWN: Final = "/sys/kernel/security/lockdown"
_LEVELS: Final = ("none", "integrity", "confidentiality")
_HIDDEN_HELPERS: Final[dict[int, tuple[str, str]]] = {
    36: ("integrity", "to write into the memory of processes"),  # probe_write_user
    **dict.fromkeys((4, 45, 113, 115), ("confidentiality", "to read memory of the kernel")),  # probe_read*
}


def known() -> bool:
    """Whether /proc tells what this process may do."""
    return _effective() is not None


def lacking(*capabilities: str) -> list[str]:
    """Those of the capabilities that this process is known not to have; CAP_SYS_ADMIN stands in for each."""
    effective = _effective()
    if effective is None or effective >> CAPABILITIES["CAP_SYS_ADMIN"] & 1:
        return []
    return [name for name in capabilities if not effective >> CAPABILITIES[name] & 1]


def lacks(capability: str) -> bool:
    """Whether this process is known to have neither a capability nor CAP_SYS_ADMIN, which stands in for it."""
    return bool(lacking(capability))


def raises_limits() -> bool:
    """Whether this process has CAP_SYS_RESOURCE, with which limits are no limits; nothing stands in for that."""
    return _has("CAP_SYS_RESOURCE")


def hides_addresses() -> str:
    """Why /proc/kallsyms shows every address as zero."""
    level = read("/proc/sys/kernel/kptr_restrict")
    if level == "2" or _has("CAP_SYSLOG"):
        return f"kernel.kptr_restrict is {level or 'not known'}"
    return f"this process lacks CAP_SYSLOG, and kernel.kptr_restrict is {level or 'not known'}"


def _has(capability: str) -> bool:
    return bool((_effective() or 0) >> CAPABILITIES[capability] & 1)


def other_causes() -> list[str]:
    """What may forbid something to a process that has the capabilities; what was looked at, where nothing does."""
    found = []
    if _in_user_namespace():
        found.append("this process has its capabilities only in a user namespace")
    level = lockdown()
    if level in _LEVELS[1:]:
        found.append(f"the kernel is locked down ({level})")
    if _status().get("Seccomp") == "2":
        found.append("a seccomp filter may forbid it")
    if level is None:
        found.append(f"the kernel may be locked down ({LOCKDOWN} cannot be read)")
    if not found:
        found.append(
            "it is in no user namespace, has no seccomp filter, and the kernel is not locked down: a security module"
            " (LSM) may forbid it"
        )
    return found


def lockdown() -> str | None:
    """How far the kernel is locked down: "none", "integrity" or "confidentiality"; None if that cannot be read."""
    text = read(LOCKDOWN)
    return next((level for level in _LEVELS if f"[{level}]" in text), None)


def hiding(number: int, *, sure: bool) -> str | None:
    """Why a helper that the kernel has is hidden: it is locked down.

    Args:
        number: of the helper.
        sure: nothing else would hide it: then it counts where the level cannot be read, too.

    Returns:
        One line; None if lockdown is not the reason.
    """
    level, what = _HIDDEN_HELPERS.get(number, ("", ""))
    if not level:
        return None
    now = lockdown()
    if now is None:
        return f"a kernel that is locked down forbids programs {what} ({LOCKDOWN} cannot be read)" if sure else None
    if _LEVELS.index(now) < _LEVELS.index(level):
        return None
    return f"the kernel is locked down ({now}), which forbids programs {what}"


def read(path: str) -> str:
    """A small file's text; "" if it cannot be read."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def locked_memory() -> int | None:
    """The soft limit of locked memory in bytes; None if there is none, or it cannot be read."""
    for line in read("/proc/self/limits").splitlines():
        if line.startswith("Max locked memory"):
            soft = line.split()[3]
            return int(soft) if soft.isdigit() else None
    return None


def _status() -> dict[str, str]:
    pairs = (line.partition(":") for line in read("/proc/self/status").splitlines())
    return {name: value.strip() for name, _, value in pairs}


def _effective() -> int | None:
    try:
        return int(_status()["CapEff"], 16)
    except (KeyError, ValueError):
        return None


def _in_user_namespace() -> bool:
    words = read("/proc/self/uid_map").split()
    return bool(words) and words != ["0", "0", "4294967295"]
