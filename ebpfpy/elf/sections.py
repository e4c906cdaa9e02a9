"""What the name of a program's section means: ``SEC("fexit/tun:tun_chr_open")``.

A name is a pattern of the table below, possibly behind a "?" (load only when asked), and possibly with a
slash and an extra part, the target. The table is libbpf's; three shapes of pattern exist:

    "xdp"        exactly that
    "kprobe+"    "kprobe" or "kprobe/EXTRA"
    "iter.s+"    the same with a suffix that sets a flag (".s": may sleep)

For functions of the kernel (fentry, fexit, fmod_ret) the extra part may say the module: of
"fexit/tun:tun_chr_open" `attach_module` is "tun" and `attach_to` "tun_chr_open". Other kinds keep their extra
part as written: colons and slashes in it mean something else there (uprobes: a path).

    match("fexit/tun:tun_chr_open").attach_module   == "tun"
    match("?kprobe/vfs_read").autoload              == False
    match("mystery/section")                        is None

Source: the section definitions in tools/lib/bpf/libbpf.c and libbpf's documentation of program types.
"""

from __future__ import annotations

from functools import cache, lru_cache

import attrs

from ebpfpy.sys.enums import AttachType as A
from ebpfpy.sys.enums import ProgramFlags
from ebpfpy.sys.enums import ProgramType as P

SLEEPABLE = int(ProgramFlags.SLEEPABLE)
FRAGS = int(ProgramFlags.XDP_HAS_FRAGS)


@attrs.frozen
class SectionKind:
    """A row of the table.

    Attributes:
        pattern: the name, without a trailing "+".
        extra: may a slash and an extra part follow?
        type: the program type.
        attach_type: the expected attach type; None where the kernel wants none.
        flags: ``BPF_F_*`` of program loading.
        module: may the extra part say "module:function"?
    """

    pattern: str
    extra: bool
    type: P
    attach_type: A | None
    flags: int = 0
    module: bool = False


@attrs.frozen
class SectionMatch:
    """What a section's name says about its programs; the attributes are those of `ProgramSpec`."""

    kind: SectionKind
    attach_to: str
    attach_module: str | None
    autoload: bool


# pattern (with "+": an extra part may follow), program type, attach type, flags
_ROWS: tuple[tuple[str, P, A | None, int], ...] = (
    ("socket", P.SOCKET_FILTER, None, 0),
    ("sk_reuseport/migrate", P.SK_REUSEPORT, A.SK_REUSEPORT_SELECT_OR_MIGRATE, 0),
    ("sk_reuseport", P.SK_REUSEPORT, A.SK_REUSEPORT_SELECT, 0),
    ("kprobe+", P.KPROBE, None, 0),
    ("kretprobe+", P.KPROBE, None, 0),
    ("uprobe+", P.KPROBE, None, 0),
    ("uprobe.s+", P.KPROBE, None, SLEEPABLE),
    ("uretprobe+", P.KPROBE, None, 0),
    ("uretprobe.s+", P.KPROBE, None, SLEEPABLE),
    ("kprobe.multi+", P.KPROBE, A.TRACE_KPROBE_MULTI, 0),
    ("kretprobe.multi+", P.KPROBE, A.TRACE_KPROBE_MULTI, 0),
    ("kprobe.session+", P.KPROBE, A.TRACE_KPROBE_SESSION, 0),
    ("uprobe.multi+", P.KPROBE, A.TRACE_UPROBE_MULTI, 0),
    ("uprobe.multi.s+", P.KPROBE, A.TRACE_UPROBE_MULTI, SLEEPABLE),
    ("uretprobe.multi+", P.KPROBE, A.TRACE_UPROBE_MULTI, 0),
    ("uretprobe.multi.s+", P.KPROBE, A.TRACE_UPROBE_MULTI, SLEEPABLE),
    ("uprobe.session+", P.KPROBE, A.TRACE_UPROBE_SESSION, 0),
    ("uprobe.session.s+", P.KPROBE, A.TRACE_UPROBE_SESSION, SLEEPABLE),
    ("ksyscall+", P.KPROBE, None, 0),
    ("kretsyscall+", P.KPROBE, None, 0),
    ("usdt+", P.KPROBE, None, 0),
    ("usdt.s+", P.KPROBE, None, SLEEPABLE),
    ("tc/ingress", P.SCHED_CLS, A.TCX_INGRESS, 0),
    ("tc/egress", P.SCHED_CLS, A.TCX_EGRESS, 0),
    ("tcx/ingress", P.SCHED_CLS, A.TCX_INGRESS, 0),
    ("tcx/egress", P.SCHED_CLS, A.TCX_EGRESS, 0),
    ("tc", P.SCHED_CLS, None, 0),
    ("classifier", P.SCHED_CLS, None, 0),
    ("action", P.SCHED_ACT, None, 0),
    ("netkit/primary", P.SCHED_CLS, A.NETKIT_PRIMARY, 0),
    ("netkit/peer", P.SCHED_CLS, A.NETKIT_PEER, 0),
    ("tracepoint+", P.TRACEPOINT, None, 0),
    ("tracepoint.s+", P.TRACEPOINT, None, SLEEPABLE),
    ("tp+", P.TRACEPOINT, None, 0),
    ("tp.s+", P.TRACEPOINT, None, SLEEPABLE),
    ("raw_tracepoint+", P.RAW_TRACEPOINT, None, 0),
    ("raw_tracepoint.s+", P.RAW_TRACEPOINT, None, SLEEPABLE),
    ("raw_tp+", P.RAW_TRACEPOINT, None, 0),
    ("raw_tp.s+", P.RAW_TRACEPOINT, None, SLEEPABLE),
    ("raw_tracepoint.w+", P.RAW_TRACEPOINT_WRITABLE, None, 0),
    ("raw_tp.w+", P.RAW_TRACEPOINT_WRITABLE, None, 0),
    ("tp_btf+", P.TRACING, A.TRACE_RAW_TP, 0),
    ("tp_btf.s+", P.TRACING, A.TRACE_RAW_TP, SLEEPABLE),
    ("fentry+", P.TRACING, A.TRACE_FENTRY, 0),
    ("fentry.s+", P.TRACING, A.TRACE_FENTRY, SLEEPABLE),
    ("fexit+", P.TRACING, A.TRACE_FEXIT, 0),
    ("fexit.s+", P.TRACING, A.TRACE_FEXIT, SLEEPABLE),
    ("fsession+", P.TRACING, A.TRACE_FSESSION, 0),
    ("fsession.s+", P.TRACING, A.TRACE_FSESSION, SLEEPABLE),
    ("fentry.multi+", P.TRACING, A.TRACE_FENTRY_MULTI, 0),
    ("fentry.multi.s+", P.TRACING, A.TRACE_FENTRY_MULTI, SLEEPABLE),
    ("fexit.multi+", P.TRACING, A.TRACE_FEXIT_MULTI, 0),
    ("fexit.multi.s+", P.TRACING, A.TRACE_FEXIT_MULTI, SLEEPABLE),
    ("fsession.multi+", P.TRACING, A.TRACE_FSESSION_MULTI, 0),
    ("fsession.multi.s+", P.TRACING, A.TRACE_FSESSION_MULTI, SLEEPABLE),
    ("fmod_ret+", P.TRACING, A.MODIFY_RETURN, 0),
    ("fmod_ret.s+", P.TRACING, A.MODIFY_RETURN, SLEEPABLE),
    ("freplace+", P.EXT, None, 0),
    ("lsm+", P.LSM, A.LSM_MAC, 0),
    ("lsm.s+", P.LSM, A.LSM_MAC, SLEEPABLE),
    ("lsm_cgroup+", P.LSM, A.LSM_CGROUP, 0),
    ("iter+", P.TRACING, A.TRACE_ITER, 0),
    ("iter.s+", P.TRACING, A.TRACE_ITER, SLEEPABLE),
    ("syscall", P.SYSCALL, None, SLEEPABLE),
    ("xdp.frags/devmap", P.XDP, A.XDP_DEVMAP, FRAGS),
    ("xdp/devmap", P.XDP, A.XDP_DEVMAP, 0),
    ("xdp.frags/cpumap", P.XDP, A.XDP_CPUMAP, FRAGS),
    ("xdp/cpumap", P.XDP, A.XDP_CPUMAP, 0),
    ("xdp.frags", P.XDP, A.XDP, FRAGS),
    ("xdp", P.XDP, A.XDP, 0),
    ("perf_event", P.PERF_EVENT, None, 0),
    ("lwt_in", P.LWT_IN, None, 0),
    ("lwt_out", P.LWT_OUT, None, 0),
    ("lwt_xmit", P.LWT_XMIT, None, 0),
    ("lwt_seg6local", P.LWT_SEG6LOCAL, None, 0),
    ("sockops", P.SOCK_OPS, A.CGROUP_SOCK_OPS, 0),
    ("sk_skb/stream_parser", P.SK_SKB, A.SK_SKB_STREAM_PARSER, 0),
    ("sk_skb/stream_verdict", P.SK_SKB, A.SK_SKB_STREAM_VERDICT, 0),
    ("sk_skb/verdict", P.SK_SKB, A.SK_SKB_VERDICT, 0),
    ("sk_skb", P.SK_SKB, None, 0),
    ("sk_msg", P.SK_MSG, A.SK_MSG_VERDICT, 0),
    ("lirc_mode2", P.LIRC_MODE2, A.LIRC_MODE2, 0),
    ("flow_dissector", P.FLOW_DISSECTOR, A.FLOW_DISSECTOR, 0),
    ("cgroup_skb/ingress", P.CGROUP_SKB, A.CGROUP_INET_INGRESS, 0),
    ("cgroup_skb/egress", P.CGROUP_SKB, A.CGROUP_INET_EGRESS, 0),
    ("cgroup/skb", P.CGROUP_SKB, None, 0),
    ("cgroup/sock_create", P.CGROUP_SOCK, A.CGROUP_INET_SOCK_CREATE, 0),
    ("cgroup/sock_release", P.CGROUP_SOCK, A.CGROUP_INET_SOCK_RELEASE, 0),
    ("cgroup/sock", P.CGROUP_SOCK, A.CGROUP_INET_SOCK_CREATE, 0),
    ("cgroup/post_bind4", P.CGROUP_SOCK, A.CGROUP_INET4_POST_BIND, 0),
    ("cgroup/post_bind6", P.CGROUP_SOCK, A.CGROUP_INET6_POST_BIND, 0),
    ("cgroup/bind4", P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_BIND, 0),
    ("cgroup/bind6", P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_BIND, 0),
    ("cgroup/connect4", P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_CONNECT, 0),
    ("cgroup/connect6", P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_CONNECT, 0),
    ("cgroup/connect_unix", P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_CONNECT, 0),
    ("cgroup/sendmsg4", P.CGROUP_SOCK_ADDR, A.CGROUP_UDP4_SENDMSG, 0),
    ("cgroup/sendmsg6", P.CGROUP_SOCK_ADDR, A.CGROUP_UDP6_SENDMSG, 0),
    ("cgroup/sendmsg_unix", P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_SENDMSG, 0),
    ("cgroup/recvmsg4", P.CGROUP_SOCK_ADDR, A.CGROUP_UDP4_RECVMSG, 0),
    ("cgroup/recvmsg6", P.CGROUP_SOCK_ADDR, A.CGROUP_UDP6_RECVMSG, 0),
    ("cgroup/recvmsg_unix", P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_RECVMSG, 0),
    ("cgroup/getpeername4", P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_GETPEERNAME, 0),
    ("cgroup/getpeername6", P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_GETPEERNAME, 0),
    ("cgroup/getpeername_unix", P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_GETPEERNAME, 0),
    ("cgroup/getsockname4", P.CGROUP_SOCK_ADDR, A.CGROUP_INET4_GETSOCKNAME, 0),
    ("cgroup/getsockname6", P.CGROUP_SOCK_ADDR, A.CGROUP_INET6_GETSOCKNAME, 0),
    ("cgroup/getsockname_unix", P.CGROUP_SOCK_ADDR, A.CGROUP_UNIX_GETSOCKNAME, 0),
    ("cgroup/sysctl", P.CGROUP_SYSCTL, A.CGROUP_SYSCTL, 0),
    ("cgroup/getsockopt", P.CGROUP_SOCKOPT, A.CGROUP_GETSOCKOPT, 0),
    ("cgroup/setsockopt", P.CGROUP_SOCKOPT, A.CGROUP_SETSOCKOPT, 0),
    ("cgroup/dev", P.CGROUP_DEVICE, A.CGROUP_DEVICE, 0),
    ("struct_ops+", P.STRUCT_OPS, None, 0),
    ("struct_ops.s+", P.STRUCT_OPS, None, SLEEPABLE),
    ("sk_lookup", P.SK_LOOKUP, A.SK_LOOKUP, 0),
    ("netfilter", P.NETFILTER, A.NETFILTER, 0),
)

MULTI = frozenset({A.TRACE_FENTRY_MULTI, A.TRACE_FEXIT_MULTI, A.TRACE_FSESSION_MULTI})
"""Attach types of tracing programs that are loaded for no function, and attached to many."""
_MODULE_ATTACH_TYPES = MULTI | {A.TRACE_FENTRY, A.TRACE_FEXIT, A.TRACE_FSESSION, A.MODIFY_RETURN}

TABLE: tuple[SectionKind, ...] = tuple(
    SectionKind(
        pattern.removesuffix("+"),
        pattern.endswith("+"),
        program_type,
        attach_type,
        flags,
        program_type is P.TRACING and attach_type in _MODULE_ATTACH_TYPES,
    )
    for pattern, program_type, attach_type, flags in _ROWS
)
"""Every section name that is understood."""


@cache
def _by_pattern() -> dict[str, SectionKind]:
    return {kind.pattern: kind for kind in TABLE}


@lru_cache(maxsize=256)
def match(section: str) -> SectionMatch | None:
    """What a section's name means; None for a name that the table does not have."""
    autoload = not section.startswith("?")
    name = section.removeprefix("?")
    kinds = _by_pattern()
    kind = kinds.get(name)
    if kind is not None:
        return SectionMatch(kind, "", None, autoload)
    head, _, extra = name.partition("/")
    kind = kinds.get(head)
    if kind is None or not kind.extra:
        return None
    module: str | None = None
    if kind.module and ":" in extra:
        module, _, extra = extra.partition(":")
    return SectionMatch(kind, extra, module, autoload)
