"""perf_event_open(2): counters, tracepoints, probes, and the per-CPU buffers of BPF programs.

A perf event is a descriptor. Mapping it gives a ring buffer that the kernel writes records into; an ioctl switches it
on or off, or lets a BPF program run whenever it fires.

Source: include/uapi/linux/perf_event.h, the kernel's arch/*/syscalls tables, arch/*/include/uapi/asm/ioctl.h.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
from ctypes import Structure, c_char_p, c_int32, c_uint16, c_uint32, c_uint64
from enum import IntEnum, IntFlag
from functools import cache
from typing import Any, Final

from ebpfpy.errors import UnsupportedError, kernel_error

from .fd import Fd, HasFileno, number_of
from .rights import known, lacks, other_causes, read

SYSCALL_NUMBERS: Final[dict[str, int]] = {
    "x86_64": 298,
    "aarch64": 241,
    "riscv64": 241,
    "s390x": 331,
    "ppc64le": 319,
}
"""__NR_perf_event_open by machine, as os.uname() names it."""


class EventType(IntEnum):
    """``enum perf_type_id``: PERF_TYPE_*. Higher numbers are in /sys/bus/event_source/devices/*/type."""

    HARDWARE = 0
    SOFTWARE = 1
    TRACEPOINT = 2
    HW_CACHE = 3
    RAW = 4
    BREAKPOINT = 5


class SoftwareEvent(IntEnum):
    """``enum perf_sw_ids``: PERF_COUNT_SW_*."""

    CPU_CLOCK = 0
    TASK_CLOCK = 1
    PAGE_FAULTS = 2
    CONTEXT_SWITCHES = 3
    CPU_MIGRATIONS = 4
    PAGE_FAULTS_MIN = 5
    PAGE_FAULTS_MAJ = 6
    ALIGNMENT_FAULTS = 7
    EMULATION_FAULTS = 8
    DUMMY = 9
    BPF_OUTPUT = 10
    CGROUP_SWITCHES = 11


class SampleType(IntFlag):
    """``enum perf_event_sample_format``: PERF_SAMPLE_*, those in use here."""

    RAW = 1 << 10


class RecordType(IntEnum):
    """``enum perf_event_type``: PERF_RECORD_*, those that BPF programs cause."""

    LOST = 2
    SAMPLE = 9


class EventFlag(IntFlag):
    """The bits of ``struct perf_event_attr`` between `read_format` and `wakeup_events`, those in use here.

    The kernel declares them as a bit-field, which big-endian machines fill from the other end: see
    `PerfEventAttr.set_flags`.
    """

    DISABLED = 1 << 0
    INHERIT = 1 << 1
    FREQ = 1 << 10
    WATERMARK = 1 << 14


class PerfEventAttr(Structure):
    """``struct perf_event_attr``, 144 bytes. The kernel accepts a longer one than it knows if the rest is zero.

    Attributes:
        config1: also ``bp_addr``, ``kprobe_func``, ``uprobe_path``: an address as a number, or bytes.
        config2: also ``bp_len``, ``kprobe_addr``, ``probe_offset``.
    """

    _fields_ = (
        ("type", c_uint32),
        ("size", c_uint32),
        ("config", c_uint64),
        ("sample_period", c_uint64),
        ("sample_type", c_uint64),
        ("read_format", c_uint64),
        ("flags", c_uint64),
        ("wakeup_events", c_uint32),
        ("bp_type", c_uint32),
        ("config1", c_char_p),
        ("config2", c_uint64),
        ("branch_sample_type", c_uint64),
        ("sample_regs_user", c_uint64),
        ("sample_stack_user", c_uint32),
        ("clockid", c_int32),
        ("sample_regs_intr", c_uint64),
        ("aux_watermark", c_uint32),
        ("sample_max_stack", c_uint16),
        ("reserved_2", c_uint16),
        ("aux_sample_size", c_uint32),
        ("aux_action", c_uint32),
        ("sig_data", c_uint64),
        ("config3", c_uint64),
        ("config4", c_uint64),
    )

    def set_flags(self, flags: EventFlag) -> None:
        """Set the bit-field, whichever end this machine fills it from."""
        bits = int(flags)
        self.flags = bits if sys.byteorder == "little" else int(f"{bits:064b}"[::-1], 2)


_FIRST_UNIT: Final = 6
"""PERF_TYPE_MAX: from here on, types are numbers of units that the kernel gave out, those of probes for one."""
CLOEXEC: Final = 8
"""PERF_FLAG_FD_CLOEXEC (3.14)."""


@cache
def _entry() -> tuple[Any, int]:
    """The typed syscall(2) and the number of perf_event_open(2) on this machine."""
    machine = os.uname().machine
    number = SYSCALL_NUMBERS.get(machine)
    if not sys.platform.startswith("linux") or number is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        raise UnsupportedError(
            f"the number of perf_event_open(2) on {sys.platform} {machine} is not known to ebpfpy; it knows "
            + ", ".join(SYSCALL_NUMBERS)
            + " (Linux, 64-bit Python)",
            feature="perf_event_open(2)",
        )
    syscall = ctypes.CDLL(None, use_errno=True)["syscall"]  # a function object of our own, typed for this call
    syscall.restype = ctypes.c_long
    syscall.argtypes = (ctypes.c_long, ctypes.c_void_p, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_ulong)
    return syscall, number


def perf_event_open(
    attr: PerfEventAttr,
    *,
    pid: int = -1,
    cpu: int = -1,
    group_fd: int = -1,
    flags: int = CLOEXEC,
    subject: str | None = None,
) -> Fd:
    """Open a perf event (2.6.31; CAP_PERFMON, or as kernel.perf_event_paranoid allows).

    Args:
        attr: what to observe; its `size` is set here.
        pid: a process, 0 for this one, -1 for all (then `cpu` must be one).
        cpu: a CPU, -1 for all (then `pid` must be one).
        group_fd: leader of the group, -1 for none.
        flags: PERF_FLAG_*.
        subject: for the error's message.

    Raises:
        KernelError: the kernel refused. ENODEV: the CPU is offline.
        UnsupportedError: this is no machine with a known perf_event_open(2).
    """
    syscall, number = _entry()
    attr.size = ctypes.sizeof(attr)
    result: int = syscall(number, ctypes.addressof(attr), pid, cpu, group_fd, flags)
    if result < 0:
        code = ctypes.get_errno()
        raise kernel_error(code, "perf_event_open", subject=subject, hint=_hint(code, attr.type))
    return Fd(result, subject or "perf event")


def _hint(code: int, type_: int) -> str | None:
    if code in (errno.EACCES, errno.EPERM):
        return _permission(probe=type_ >= _FIRST_UNIT)
    if code == errno.ENOSYS:
        return "this kernel has no perf_event_open(2), or a seccomp filter hides it"
    if code == errno.EMFILE:
        return "too many open files: a perf event takes a descriptor for each CPU"
    return None


def _permission(*, probe: bool) -> str:
    needs = "needs CAP_PERFMON (CAP_SYS_ADMIN before Linux 5.8)"
    level = read("/proc/sys/kernel/perf_event_paranoid")
    if not known():
        return needs
    if not lacks("CAP_PERFMON"):
        if lacks("CAP_SYS_ADMIN") and level.isdigit() and int(level) > 2:  # as Debian's and Ubuntu's kernels do
            return (
                f"kernel.perf_event_paranoid is {level}, with which some kernels want CAP_SYS_ADMIN, which this process"
                " lacks: set it to 2"
            )
        return f"{needs}, which this process has: {', '.join(other_causes())}"
    sysctl = "" if probe or not level else f", or a lower kernel.perf_event_paranoid (now {level})"
    return f"{needs}{sysctl}: this process lacks CAP_PERFMON"


def ioctl_number(command: int, size: int = 0) -> int:
    """The number of perf's ioctl `command`, with `size` bytes of argument to be read by the kernel."""
    if os.uname().machine.startswith("ppc"):  # 3 bits of direction: none is 1, write 4
        return (4 if size else 1) << 29 | size << 16 | ord("$") << 8 | command
    return bool(size) << 30 | size << 16 | ord("$") << 8 | command


def enable(fd: int | HasFileno) -> None:
    """Let an event count and write (PERF_EVENT_IOC_ENABLE)."""
    _ioctl(fd, "PERF_EVENT_IOC_ENABLE", ioctl_number(0), 0)


def disable(fd: int | HasFileno) -> None:
    """Stop an event (PERF_EVENT_IOC_DISABLE)."""
    _ioctl(fd, "PERF_EVENT_IOC_DISABLE", ioctl_number(1), 0)


def set_bpf(fd: int | HasFileno, prog_fd: int | HasFileno) -> None:
    """Run a program whenever the event fires, until the event is closed (PERF_EVENT_IOC_SET_BPF, 4.1).

    Since 5.15 a link does the same and can be pinned: `link_create` with ``AttachType.PERF_EVENT``.
    """
    _ioctl(fd, "PERF_EVENT_IOC_SET_BPF", ioctl_number(8, 4), number_of(prog_fd))


def _ioctl(fd: int | HasFileno, name: str, number: int, argument: int) -> None:
    import fcntl

    try:
        fcntl.ioctl(number_of(fd), number, argument)
    except OSError as error:
        raise kernel_error(error.errno or errno.EIO, name, subject="perf event") from None
