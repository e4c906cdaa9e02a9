"""Attaching programs: one function for each kind of hook, and `attach` for what a section's name says."""

from __future__ import annotations

from ebpfpy.lazy import names_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .anchor import After, Anchor, Before, First, Last
    from .attachment import Attachment
    from .auto import attach
    from .cgroup import attach_cgroup, attach_cgroup_directly
    from .events import attach_perf_event
    from .freplace import attach_freplace
    from .iterator import CgroupOrder, IterLink, attach_iter
    from .kprobe import attach_kprobe, attach_kretprobe, attach_kretsyscall, attach_ksyscall
    from .kprobemulti import attach_kprobe_multi, attach_kretprobe_multi
    from .link import Link
    from .netfilter import NetfilterFamily, NetfilterHook, attach_netfilter
    from .netns import attach_netns
    from .opening import from_id, from_path, iter_links
    from .socketfilter import attach_reuseport, attach_socket_filter
    from .sockmap import attach_sockmap
    from .structops import StructOpsLink, attach_struct_ops
    from .tc import attach_tc
    from .tcx import attach_netkit, attach_tcx, attached_programs
    from .tracepoint import attach_tracepoint
    from .tracing import attach_raw_tracepoint, attach_tracing
    from .tracingmulti import attach_tracing_multi
    from .uprobe import attach_uprobe, attach_uretprobe
    from .uprobemulti import attach_uprobe_multi, attach_uretprobe_multi
    from .usdt import UsdtLink, attach_usdt
    from .xdp import XdpMode, attach_xdp

__all__ = [
    "After",
    "Anchor",
    "Attachment",
    "Before",
    "CgroupOrder",
    "First",
    "IterLink",
    "Last",
    "Link",
    "NetfilterFamily",
    "NetfilterHook",
    "StructOpsLink",
    "UsdtLink",
    "XdpMode",
    "attach",
    "attach_cgroup",
    "attach_cgroup_directly",
    "attach_freplace",
    "attach_iter",
    "attach_kprobe",
    "attach_kprobe_multi",
    "attach_kretprobe",
    "attach_kretprobe_multi",
    "attach_kretsyscall",
    "attach_ksyscall",
    "attach_netfilter",
    "attach_netkit",
    "attach_netns",
    "attach_perf_event",
    "attach_raw_tracepoint",
    "attach_reuseport",
    "attach_socket_filter",
    "attach_sockmap",
    "attach_struct_ops",
    "attach_tc",
    "attach_tcx",
    "attach_tracepoint",
    "attach_tracing",
    "attach_tracing_multi",
    "attach_uprobe",
    "attach_uprobe_multi",
    "attach_uretprobe",
    "attach_uretprobe_multi",
    "attach_usdt",
    "attach_xdp",
    "attached_programs",
    "from_id",
    "from_path",
    "iter_links",
]

__getattr__ = names_of(
    __name__,
    (
        "link",
        "auto",
        "attachment",
        "anchor",
        "opening",
        "tracing",
        "events",
        "kprobe",
        "tracepoint",
        "uprobe",
        "kprobemulti",
        "tracingmulti",
        "uprobemulti",
        "usdt",
        "iterator",
        "freplace",
        "structops",
        "xdp",
        "tcx",
        "tc",
        "cgroup",
        "netns",
        "netfilter",
        "sockmap",
        "socketfilter",
    ),
)
