"""Attaching by the section's name: what an object says about itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from ebpfpy.elf.sections import MULTI
from ebpfpy.errors import UnsupportedError
from ebpfpy.sys import AttachType, ProgramType

from .refusal import check_program

if TYPE_CHECKING:
    from ebpfpy.loader import Program

    from .link import Link

# first part of the section's name without ".s" and the like: module here, function in it
_BY_SECTION: Final[dict[str, tuple[str, str]]] = {
    "kprobe": ("kprobe", "attach_kprobe"),
    "kretprobe": ("kprobe", "attach_kretprobe"),
    "ksyscall": ("kprobe", "attach_ksyscall"),
    "kretsyscall": ("kprobe", "attach_kretsyscall"),
    "kprobe.multi": ("kprobemulti", "attach_kprobe_multi"),
    "kretprobe.multi": ("kprobemulti", "attach_kretprobe_multi"),
    "kprobe.session": ("kprobemulti", "attach_kprobe_multi"),
    "uprobe": ("uprobe", "attach_uprobe"),
    "uretprobe": ("uprobe", "attach_uretprobe"),
    "uprobe.multi": ("uprobemulti", "attach_uprobe_multi"),
    "uretprobe.multi": ("uprobemulti", "attach_uretprobe_multi"),
    "uprobe.session": ("uprobemulti", "attach_uprobe_multi"),
    "usdt": ("usdt", "attach_usdt"),
    "tp": ("tracepoint", "attach_tracepoint"),
    "tracepoint": ("tracepoint", "attach_tracepoint"),
    "raw_tp": ("tracing", "attach_raw_tracepoint"),
    "raw_tracepoint": ("tracing", "attach_raw_tracepoint"),
    "iter": ("iterator", "attach_iter"),
    "freplace": ("freplace", "attach_freplace"),
}

_TRACING: Final = frozenset(
    {
        AttachType.TRACE_RAW_TP,
        AttachType.TRACE_FENTRY,
        AttachType.TRACE_FEXIT,
        AttachType.TRACE_FSESSION,
        AttachType.MODIFY_RETURN,
        AttachType.LSM_MAC,
    }
)

_CGROUP: Final = "link.attach_cgroup(program, cgroup)"
_ROUTE: Final = "pin it, and let `ip route ... encap bpf` use it"
_REMEDIES: Final[dict[int, str]] = {
    ProgramType.SOCKET_FILTER: "link.attach_socket_filter(program, socket)",
    ProgramType.KPROBE: "link.attach_kprobe(program, function), link.attach_uprobe(program, binary, function), ...",
    ProgramType.SCHED_CLS: "link.attach_tcx(program, interface) or link.attach_tc(program, interface, direction)",
    ProgramType.SCHED_ACT: "pin it, and let `tc filter ... action bpf` use it",
    ProgramType.XDP: "link.attach_xdp(program, interface)",
    ProgramType.PERF_EVENT: "link.attach_perf_event(program, event)",
    ProgramType.CGROUP_SKB: _CGROUP,
    ProgramType.CGROUP_SOCK: _CGROUP,
    ProgramType.CGROUP_SOCK_ADDR: _CGROUP,
    ProgramType.CGROUP_DEVICE: _CGROUP,
    ProgramType.CGROUP_SYSCTL: _CGROUP,
    ProgramType.CGROUP_SOCKOPT: _CGROUP,
    ProgramType.SOCK_OPS: _CGROUP,
    ProgramType.LWT_IN: _ROUTE,
    ProgramType.LWT_OUT: _ROUTE,
    ProgramType.LWT_XMIT: _ROUTE,
    ProgramType.LWT_SEG6LOCAL: _ROUTE,
    ProgramType.SK_SKB: "link.attach_sockmap(program, map)",
    ProgramType.SK_MSG: "link.attach_sockmap(program, map)",
    ProgramType.SK_REUSEPORT: "link.attach_reuseport(program, socket)",
    ProgramType.FLOW_DISSECTOR: "link.attach_netns(program)",
    ProgramType.SK_LOOKUP: "link.attach_netns(program)",
    ProgramType.NETFILTER: "link.attach_netfilter(program, family, hook)",
    ProgramType.STRUCT_OPS: "link.attach_struct_ops(map), with the map of operations that it is part of",
    ProgramType.SYSCALL: "program.run() runs it",
}


def attach(program: Program) -> Link:
    """Attach a program to what its section's name says.

    ============================================  ===========================================================
    section                                       attached to
    ============================================  ===========================================================
    ``fentry/FUNC``, ``fexit``, ``fsession`` ...   a function of the kernel or of any loaded module
    ``fentry/MODULE:FUNC``                        a function of that module (``vmlinux``: of the kernel itself)
    ``fentry.multi/PATTERN`` and its kin          all functions of the kernel whose names match
    ``lsm/HOOK``                                  a security hook
    ``tp_btf/NAME``, ``raw_tp/NAME``              a tracepoint, with typed or raw arguments
    ``tp/CATEGORY/NAME``                          a tracepoint, with its record
    ``kprobe/FUNC+OFFSET``, ``kretprobe/FUNC``    an instruction of the kernel; a function's return
    ``ksyscall/NAME``, ``kretsyscall/NAME``       a system call's function
    ``kprobe.multi/PATTERN`` and its kin          all functions of the kernel whose names match
    ``uprobe/FILE:FUNC+OFFSET``, ``uretprobe``    an instruction of user space; a function's return
    ``uprobe.multi/FILE:PATTERN`` and its kin     all functions of a file whose names match
    ``usdt/FILE:PROVIDER:NAME``                   a static probe of user space
    ``iter/KIND``                                 an iterator, to be read
    ``freplace/FUNC``                             the function that it was loaded to replace
    ============================================  ===========================================================

    Returns:
        The link; the caller closes it.

    Raises:
        UnsupportedError: the section names a kind of hook that cannot be attached from its name alone; the message
            says which function of this package does it.
        InputError: the section's name has no target, or a malformed one.
        TargetNotFoundError, AmbiguousTargetError: the target.
        KernelError: the kernel refused.
    """
    check_program(program)
    spec = program.spec
    place = _place(spec.section, spec.type, spec.attach_type)
    if place is None:
        remedy = _remedy(spec.type, spec.attach_type)
        raise UnsupportedError(
            f"program {program.name}: section {spec.section!r} ({spec.type.name}) cannot be attached by its name"
            + remedy,
            feature=f"attaching {spec.section}",
        )
    function: Any = getattr(import_module(f"{__package__}.{place[0]}"), place[1])
    attached: Link = function(program)
    return attached


def _place(section: str, kind: ProgramType, attach_type: AttachType | None) -> tuple[str, str] | None:
    """Module and function for a program."""
    if kind in (ProgramType.TRACING, ProgramType.LSM) and attach_type in _TRACING:
        return "tracing", "attach_tracing"
    if kind == ProgramType.TRACING and attach_type in MULTI:
        return "tracingmulti", "attach_tracing_multi"
    if kind in (ProgramType.RAW_TRACEPOINT, ProgramType.RAW_TRACEPOINT_WRITABLE):
        return "tracing", "attach_raw_tracepoint"
    if kind not in (ProgramType.KPROBE, ProgramType.TRACEPOINT, ProgramType.TRACING, ProgramType.EXT):
        return None
    head = section.removeprefix("?").partition("/")[0]
    return _BY_SECTION.get(head.removesuffix(".s"))


def _remedy(kind: ProgramType, attach_type: AttachType | None) -> str:
    if attach_type in (AttachType.XDP_DEVMAP, AttachType.XDP_CPUMAP):
        return ": put it into a map of devices or CPUs"
    if attach_type in (AttachType.NETKIT_PRIMARY, AttachType.NETKIT_PEER):
        return ": use link.attach_netkit(program, interface)"
    if attach_type == AttachType.LSM_CGROUP:
        return f": use {_CGROUP}"
    remedy = _REMEDIES.get(kind)
    if remedy is None:
        return ""
    return f": use {remedy}" if remedy.startswith("link.") else f": {remedy}"
