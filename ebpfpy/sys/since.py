"""Which kernel was the first to have what: for messages. Whether this one has it is asked, not looked up.

Source: the kernel's history (include/uapi/linux/bpf.h); the commits are listed in the project ebpf-docs,
data/feature-versions.yaml.
"""

from __future__ import annotations

from typing import Final

from .enums import AttachType, LinkType, MapFlags, MapType, ProgramFlags, ProgramType

_P = ProgramType
_M = MapType
_F = MapFlags

PROGRAM_TYPES: Final[dict[int, str]] = {
    _P.SOCKET_FILTER: "3.19",
    _P.KPROBE: "4.1",
    _P.SCHED_CLS: "4.1",
    _P.SCHED_ACT: "4.1",
    _P.TRACEPOINT: "4.7",
    _P.XDP: "4.8",
    _P.PERF_EVENT: "4.9",
    _P.CGROUP_SKB: "4.10",
    _P.CGROUP_SOCK: "4.10",
    _P.LWT_IN: "4.10",
    _P.LWT_OUT: "4.10",
    _P.LWT_XMIT: "4.10",
    _P.SOCK_OPS: "4.13",
    _P.SK_SKB: "4.14",
    _P.CGROUP_DEVICE: "4.15",
    _P.SK_MSG: "4.17",
    _P.RAW_TRACEPOINT: "4.17",
    _P.CGROUP_SOCK_ADDR: "4.17",
    _P.LWT_SEG6LOCAL: "4.18",
    _P.LIRC_MODE2: "4.18",
    _P.SK_REUSEPORT: "4.19",
    _P.FLOW_DISSECTOR: "4.20",
    _P.CGROUP_SYSCTL: "5.2",
    _P.RAW_TRACEPOINT_WRITABLE: "5.2",
    _P.CGROUP_SOCKOPT: "5.3",
    _P.TRACING: "5.5",
    _P.STRUCT_OPS: "5.6",
    _P.EXT: "5.6",
    _P.LSM: "5.7",
    _P.SK_LOOKUP: "5.9",
    _P.SYSCALL: "5.14",
    _P.NETFILTER: "6.4",
}

MAP_TYPES: Final[dict[int, str]] = {
    _M.HASH: "3.19",
    _M.ARRAY: "3.19",
    _M.PROG_ARRAY: "4.2",
    _M.PERF_EVENT_ARRAY: "4.3",
    _M.PERCPU_HASH: "4.6",
    _M.PERCPU_ARRAY: "4.6",
    _M.STACK_TRACE: "4.6",
    _M.CGROUP_ARRAY: "4.8",
    _M.LRU_HASH: "4.10",
    _M.LRU_PERCPU_HASH: "4.10",
    _M.LPM_TRIE: "4.11",
    _M.ARRAY_OF_MAPS: "4.12",
    _M.HASH_OF_MAPS: "4.12",
    _M.DEVMAP: "4.14",
    _M.SOCKMAP: "4.14",
    _M.CPUMAP: "4.15",
    _M.XSKMAP: "4.18",
    _M.SOCKHASH: "4.18",
    _M.CGROUP_STORAGE: "4.19",
    _M.REUSEPORT_SOCKARRAY: "4.19",
    _M.PERCPU_CGROUP_STORAGE: "4.20",
    _M.QUEUE: "4.20",
    _M.STACK: "4.20",
    _M.SK_STORAGE: "5.2",
    _M.DEVMAP_HASH: "5.4",
    _M.STRUCT_OPS: "5.6",
    _M.RINGBUF: "5.8",
    _M.INODE_STORAGE: "5.10",
    _M.TASK_STORAGE: "5.11",
    _M.BLOOM_FILTER: "5.16",
    _M.USER_RINGBUF: "6.1",
    _M.CGRP_STORAGE: "6.2",
    _M.ARENA: "6.9",
    _M.INSN_ARRAY: "6.19",
    _M.RHASH: "7.2",
}

MAP_FLAGS: Final[dict[int, str]] = {
    _F.NO_PREALLOC: "4.6",
    _F.NO_COMMON_LRU: "4.10",
    _F.NUMA_NODE: "4.14",
    _F.RDONLY: "4.15",
    _F.WRONLY: "4.15",
    _F.STACK_BUILD_ID: "4.17",
    _F.ZERO_SEED: "5.0",
    _F.RDONLY_PROG: "5.2",
    _F.WRONLY_PROG: "5.2",
    _F.CLONE: "5.4",
    _F.MMAPABLE: "5.5",
    _F.PRESERVE_ELEMS: "5.10",
    _F.INNER_MAP: "5.10",
    _F.SEGV_ON_FAULT: "6.9",
    _F.NO_USER_CONV: "6.9",
}

_A = AttachType

ATTACH_TYPES: Final[dict[int, str]] = {
    _A.CGROUP_INET_INGRESS: "4.10",
    _A.CGROUP_INET_EGRESS: "4.10",
    _A.CGROUP_INET_SOCK_CREATE: "4.10",
    _A.CGROUP_SOCK_OPS: "4.13",
    _A.SK_SKB_STREAM_PARSER: "4.14",
    _A.SK_SKB_STREAM_VERDICT: "4.14",
    _A.CGROUP_DEVICE: "4.15",
    _A.SK_MSG_VERDICT: "4.17",
    _A.CGROUP_INET4_BIND: "4.17",
    _A.CGROUP_INET6_BIND: "4.17",
    _A.CGROUP_INET4_CONNECT: "4.17",
    _A.CGROUP_INET6_CONNECT: "4.17",
    _A.CGROUP_INET4_POST_BIND: "4.17",
    _A.CGROUP_INET6_POST_BIND: "4.17",
    _A.CGROUP_UDP4_SENDMSG: "4.18",
    _A.CGROUP_UDP6_SENDMSG: "4.18",
    _A.LIRC_MODE2: "4.18",
    _A.FLOW_DISSECTOR: "4.20",
    _A.CGROUP_SYSCTL: "5.2",
    _A.CGROUP_UDP4_RECVMSG: "5.2",
    _A.CGROUP_UDP6_RECVMSG: "5.2",
    _A.CGROUP_GETSOCKOPT: "5.3",
    _A.CGROUP_SETSOCKOPT: "5.3",
    _A.TRACE_RAW_TP: "5.5",
    _A.TRACE_FENTRY: "5.5",
    _A.TRACE_FEXIT: "5.5",
    _A.MODIFY_RETURN: "5.7",
    _A.LSM_MAC: "5.7",
    _A.TRACE_ITER: "5.8",
    _A.CGROUP_INET4_GETPEERNAME: "5.8",
    _A.CGROUP_INET6_GETPEERNAME: "5.8",
    _A.CGROUP_INET4_GETSOCKNAME: "5.8",
    _A.CGROUP_INET6_GETSOCKNAME: "5.8",
    _A.XDP_DEVMAP: "5.8",
    _A.CGROUP_INET_SOCK_RELEASE: "5.9",
    _A.XDP_CPUMAP: "5.9",
    _A.SK_LOOKUP: "5.9",
    _A.XDP: "5.9",
    _A.SK_SKB_VERDICT: "5.13",
    _A.SK_REUSEPORT_SELECT: "5.14",
    _A.SK_REUSEPORT_SELECT_OR_MIGRATE: "5.14",
    _A.PERF_EVENT: "5.15",
    _A.TRACE_KPROBE_MULTI: "5.18",
    _A.LSM_CGROUP: "6.0",
    _A.STRUCT_OPS: "6.4",
    _A.NETFILTER: "6.4",
    _A.TCX_INGRESS: "6.6",
    _A.TCX_EGRESS: "6.6",
    _A.TRACE_UPROBE_MULTI: "6.6",
    _A.CGROUP_UNIX_CONNECT: "6.7",
    _A.CGROUP_UNIX_SENDMSG: "6.7",
    _A.CGROUP_UNIX_RECVMSG: "6.7",
    _A.CGROUP_UNIX_GETPEERNAME: "6.7",
    _A.CGROUP_UNIX_GETSOCKNAME: "6.7",
    _A.NETKIT_PRIMARY: "6.7",
    _A.NETKIT_PEER: "6.7",
    _A.TRACE_KPROBE_SESSION: "6.10",
    _A.TRACE_UPROBE_SESSION: "6.13",
    _A.TRACE_FSESSION: "7.0",
    _A.TRACE_FENTRY_MULTI: "7.2",
    _A.TRACE_FEXIT_MULTI: "7.2",
    _A.TRACE_FSESSION_MULTI: "7.2",
}

PROGRAM_FLAGS: Final[dict[int, str]] = {ProgramFlags.SLEEPABLE: "5.10", ProgramFlags.XDP_HAS_FRAGS: "5.18"}

LINK_TYPES: Final[dict[int, str]] = {
    LinkType.RAW_TRACEPOINT: "4.17",
    LinkType.TRACING: "5.5",
    LinkType.CGROUP: "5.7",
    LinkType.ITER: "5.8",
    LinkType.NETNS: "5.8",
    LinkType.XDP: "5.9",
    LinkType.PERF_EVENT: "5.15",
    LinkType.KPROBE_MULTI: "5.18",
    LinkType.STRUCT_OPS: "6.4",
    LinkType.NETFILTER: "6.4",
    LinkType.TCX: "6.6",
    LinkType.UPROBE_MULTI: "6.6",
    LinkType.TRACING_MULTI: "7.2",
    LinkType.NETKIT: "6.7",
    LinkType.SOCKMAP: "6.10",
}

# the highest helper number of each kernel that added some; numbers are given out in order
_LAST_HELPERS: Final = (
    (3, "3.19"),  # map_delete_elem
    (11, "4.1"),  # l4_csum_replace
    (16, "4.2"),  # get_current_comm
    (22, "4.3"),  # perf_event_read
    (25, "4.4"),  # perf_event_output
    (26, "4.5"),  # skb_load_bytes
    (30, "4.6"),  # skb_set_tunnel_opt
    (36, "4.8"),  # probe_write_user
    (41, "4.9"),  # set_hash_invalid
    (44, "4.10"),  # xdp_adjust_head
    (45, "4.11"),  # probe_read_str
    (47, "4.12"),  # get_socket_uid
    (50, "4.13"),  # skb_adjust_room
    (53, "4.14"),  # sock_map_update
    (57, "4.15"),  # getsockopt
    (59, "4.16"),  # sock_ops_cb_flags_set
    (64, "4.17"),  # bind
    (80, "4.18"),  # get_current_cgroup_id
    (83, "4.19"),  # skb_ancestor_cgroup_id
    (90, "4.20"),  # msg_push_data
    (92, "5.0"),  # rc_pointer_rel
    (98, "5.1"),  # get_listener_sock
    (108, "5.2"),  # sk_storage_delete
    (109, "5.3"),  # send_signal
    (110, "5.4"),  # tcp_gen_syncookie
    (115, "5.5"),  # probe_read_kernel_str
    (118, "5.6"),  # jiffies64
    (124, "5.7"),  # sk_assign
    (135, "5.8"),  # csum_level
    (141, "5.9"),  # get_task_stack
    (155, "5.10"),  # redirect_peer
    (162, "5.11"),  # sock_from_file
    (163, "5.12"),  # check_mtu
    (165, "5.13"),  # snprintf
    (168, "5.14"),  # sys_close
    (175, "5.15"),  # task_pt_regs
    (179, "5.16"),  # kallsyms_lookup_name
    (185, "5.17"),  # get_func_arg_cnt
    (193, "5.18"),  # ima_file_hash
    (203, "5.19"),  # dynptr_data
    (207, "6.0"),  # tcp_raw_check_syncookie_ipv6
    (209, "6.1"),  # user_ringbuf_drain
    (211, "6.2"),  # cgrp_storage_delete
)


def helper_since(number: int) -> str | None:
    """The first kernel with helper `number` in at least one type of program; None for a number without a name."""
    return next((kernel for last, kernel in _LAST_HELPERS if 0 < number <= last), None)
