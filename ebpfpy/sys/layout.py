"""The memory that bpf(2) reads and writes, as ctypes structures.

``union bpf_attr`` is one union for forty commands; each command uses one member struct. There is one
class here for each member struct in use, with the kernel's field names in the kernel's order, so that
`MEMBER` plus a field's name is a path into the kernel's own BTF. tests/kernel/test_sys.py walks those
paths in the running kernel and compares every offset and size: the library is its own witness.

Sizes and old kernels. The size passed to bpf(2) is always the whole structure's. A kernel that knows
fewer fields accepts a longer attribute as long as everything past what it knows is zero
(bpf_check_uarg_tail_zero, since 4.5) and answers E2BIG otherwise, so a new field costs nothing until
it is used. Trimming the zero tail would buy nothing and lose results: the kernel stores
``log_true_size`` and the like only if the size passed covers them.

Pointers. A pointer field is a ``c_char_p``: it takes ``bytes`` (ctypes then keeps the object alive as
long as the structure), an address as int (the caller keeps the memory alive), or None. Every supported
machine is 64-bit, where this is the kernel's ``__aligned_u64``. Do not read such a field back.

Source: include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from ctypes import Structure, Union, c_char, c_char_p, c_int32, c_uint8, c_uint32, c_uint64
from typing import ClassVar

NAME_SIZE = 16
"""BPF_OBJ_NAME_LEN: bytes of a name in the kernel, the closing NUL included."""


class Attr(Structure):
    """A member struct of ``union bpf_attr``.

    Attributes:
        MEMBER: the member's name in the union; "" for the anonymous ones.
    """

    MEMBER: ClassVar[str] = ""


class MapCreate(Attr):
    """BPF_MAP_CREATE."""

    _fields_ = (
        ("map_type", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("inner_map_fd", c_uint32),
        ("numa_node", c_uint32),
        ("map_name", c_char * NAME_SIZE),
        ("map_ifindex", c_uint32),
        ("btf_fd", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("map_extra", c_uint64),
        ("value_type_btf_obj_fd", c_int32),
        ("map_token_fd", c_int32),
        ("excl_prog_hash", c_char_p),
        ("excl_prog_hash_size", c_uint32),
    )


class MapElem(Attr):
    """BPF_MAP_*_ELEM; `value` is `next_key` of BPF_MAP_GET_NEXT_KEY. Also BPF_MAP_FREEZE."""

    _fields_ = (
        ("map_fd", c_uint32),
        ("key", c_char_p),
        ("value", c_char_p),
        ("flags", c_uint64),
    )


class MapBatch(Attr):
    """BPF_MAP_*_BATCH; `count` is read and written."""

    MEMBER = "batch"
    _fields_ = (
        ("in_batch", c_char_p),
        ("out_batch", c_char_p),
        ("keys", c_char_p),
        ("values", c_char_p),
        ("count", c_uint32),
        ("map_fd", c_uint32),
        ("elem_flags", c_uint64),
        ("flags", c_uint64),
    )


class _AttachObject(Union):
    _fields_ = (("attach_prog_fd", c_uint32), ("attach_btf_obj_fd", c_uint32))


class ProgLoad(Attr):
    """BPF_PROG_LOAD; `log_true_size` is written (6.4)."""

    _anonymous_ = ("_attach_object",)
    _fields_ = (
        ("prog_type", c_uint32),
        ("insn_cnt", c_uint32),
        ("insns", c_char_p),
        ("license", c_char_p),
        ("log_level", c_uint32),
        ("log_size", c_uint32),
        ("log_buf", c_char_p),
        ("kern_version", c_uint32),
        ("prog_flags", c_uint32),
        ("prog_name", c_char * NAME_SIZE),
        ("prog_ifindex", c_uint32),
        ("expected_attach_type", c_uint32),
        ("prog_btf_fd", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_char_p),
        ("func_info_cnt", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("line_info", c_char_p),
        ("line_info_cnt", c_uint32),
        ("attach_btf_id", c_uint32),
        ("_attach_object", _AttachObject),
        ("core_relo_cnt", c_uint32),
        ("fd_array", c_char_p),
        ("core_relos", c_char_p),
        ("core_relo_rec_size", c_uint32),
        ("log_true_size", c_uint32),
        ("prog_token_fd", c_int32),
        ("fd_array_cnt", c_uint32),
    )


class Obj(Attr):
    """BPF_OBJ_PIN and BPF_OBJ_GET."""

    _fields_ = (("pathname", c_char_p), ("bpf_fd", c_uint32), ("file_flags", c_uint32), ("path_fd", c_int32))


class ProgTestRun(Attr):
    """BPF_PROG_TEST_RUN; `retval`, `duration` and the two `..._out` sizes are written."""

    MEMBER = "test"
    _fields_ = (
        ("prog_fd", c_uint32),
        ("retval", c_uint32),
        ("data_size_in", c_uint32),
        ("data_size_out", c_uint32),
        ("data_in", c_char_p),
        ("data_out", c_char_p),
        ("repeat", c_uint32),
        ("duration", c_uint32),
        ("ctx_size_in", c_uint32),
        ("ctx_size_out", c_uint32),
        ("ctx_in", c_char_p),
        ("ctx_out", c_char_p),
        ("flags", c_uint32),
        ("cpu", c_uint32),
        ("batch_size", c_uint32),
    )


class GetId(Attr):
    """BPF_*_GET_NEXT_ID and BPF_*_GET_FD_BY_ID; `start_id` is also prog_id, map_id, btf_id, link_id."""

    _fields_ = (
        ("start_id", c_uint32),
        ("next_id", c_uint32),
        ("open_flags", c_uint32),
        ("fd_by_id_token_fd", c_int32),
    )


class InfoByFd(Attr):
    """BPF_OBJ_GET_INFO_BY_FD; `info_len` is read and written."""

    MEMBER = "info"
    _fields_ = (("bpf_fd", c_uint32), ("info_len", c_uint32), ("info", c_char_p))


class RawTracepoint(Attr):
    """BPF_RAW_TRACEPOINT_OPEN."""

    MEMBER = "raw_tracepoint"
    _fields_ = (("name", c_char_p), ("prog_fd", c_uint32), ("cookie", c_uint64))


class BtfLoad(Attr):
    """BPF_BTF_LOAD; `btf_log_true_size` is written (6.4)."""

    _fields_ = (
        ("btf", c_char_p),
        ("btf_log_buf", c_char_p),
        ("btf_size", c_uint32),
        ("btf_log_size", c_uint32),
        ("btf_log_level", c_uint32),
        ("btf_log_true_size", c_uint32),
        ("btf_flags", c_uint32),
        ("btf_token_fd", c_int32),
    )


class LinkIter(Structure):
    """The part of BPF_LINK_CREATE for iterators (anonymous in the kernel)."""

    _fields_ = (("iter_info", c_char_p), ("iter_info_len", c_uint32))


class LinkPerfEvent(Structure):
    """The part of BPF_LINK_CREATE for kprobe, uprobe and tracepoint events."""

    _fields_ = (("bpf_cookie", c_uint64),)


class LinkKprobeMulti(Structure):
    """The part of BPF_LINK_CREATE for kprobe.multi."""

    _fields_ = (
        ("flags", c_uint32),
        ("cnt", c_uint32),
        ("syms", c_char_p),
        ("addrs", c_char_p),
        ("cookies", c_char_p),
    )


class LinkTracing(Structure):
    """The part of BPF_LINK_CREATE for fentry, fexit, fmod_ret, tp_btf, lsm and freplace."""

    _fields_ = (("target_btf_id", c_uint32), ("cookie", c_uint64))


class LinkNetfilter(Structure):
    """The part of BPF_LINK_CREATE for netfilter."""

    _fields_ = (("pf", c_uint32), ("hooknum", c_uint32), ("priority", c_int32), ("flags", c_uint32))


class LinkRelative(Structure):
    """The part of BPF_LINK_CREATE for tcx, netkit and cgroup; `relative_id` is `relative_fd`."""

    _fields_ = (("relative_fd", c_uint32), ("expected_revision", c_uint64))


class LinkUprobeMulti(Structure):
    """The part of BPF_LINK_CREATE for uprobe.multi."""

    _fields_ = (
        ("path", c_char_p),
        ("offsets", c_char_p),
        ("ref_ctr_offsets", c_char_p),
        ("cookies", c_char_p),
        ("cnt", c_uint32),
        ("flags", c_uint32),
        ("pid", c_uint32),
    )


class LinkTracingMulti(Structure):
    """The part of BPF_LINK_CREATE for fentry.multi and its kin; `ids` and `cookies` are addresses of arrays."""

    _fields_ = (("ids", c_uint64), ("cookies", c_uint64), ("cnt", c_uint32))


class _LinkOptions(Union):
    _anonymous_ = ("_iter",)
    _fields_ = (
        ("target_btf_id", c_uint32),
        ("_iter", LinkIter),
        ("perf_event", LinkPerfEvent),
        ("kprobe_multi", LinkKprobeMulti),
        ("tracing", LinkTracing),
        ("netfilter", LinkNetfilter),
        ("tcx", LinkRelative),
        ("netkit", LinkRelative),
        ("cgroup", LinkRelative),
        ("uprobe_multi", LinkUprobeMulti),
        ("tracing_multi", LinkTracingMulti),
    )


class LinkCreate(Attr):
    """BPF_LINK_CREATE; `prog_fd` is also map_fd, `target_fd` is also target_ifindex."""

    MEMBER = "link_create"
    _anonymous_ = ("_options",)
    _fields_ = (
        ("prog_fd", c_uint32),
        ("target_fd", c_uint32),
        ("attach_type", c_uint32),
        ("flags", c_uint32),
        ("_options", _LinkOptions),
    )


class LinkUpdate(Attr):
    """BPF_LINK_UPDATE; the `..._prog_fd` are also `..._map_fd`."""

    MEMBER = "link_update"
    _fields_ = (
        ("link_fd", c_uint32),
        ("new_prog_fd", c_uint32),
        ("flags", c_uint32),
        ("old_prog_fd", c_uint32),
    )


class LinkDetach(Attr):
    """BPF_LINK_DETACH."""

    MEMBER = "link_detach"
    _fields_ = (("link_fd", c_uint32),)


class EnableStats(Attr):
    """BPF_ENABLE_STATS."""

    MEMBER = "enable_stats"
    _fields_ = (("type", c_uint32),)


class TokenCreate(Attr):
    """BPF_TOKEN_CREATE."""

    MEMBER = "token_create"
    _fields_ = (("flags", c_uint32), ("bpffs_fd", c_uint32))


class IterCreate(Attr):
    """BPF_ITER_CREATE."""

    MEMBER = "iter_create"
    _fields_ = (("link_fd", c_uint32), ("flags", c_uint32))


class ProgBindMap(Attr):
    """BPF_PROG_BIND_MAP."""

    MEMBER = "prog_bind_map"
    _fields_ = (("prog_fd", c_uint32), ("map_fd", c_uint32), ("flags", c_uint32))


class ProgAttach(Attr):
    """BPF_PROG_ATTACH and BPF_PROG_DETACH; `target_fd` is also target_ifindex, `relative_fd` also relative_id."""

    _fields_ = (
        ("target_fd", c_uint32),
        ("attach_bpf_fd", c_uint32),
        ("attach_type", c_uint32),
        ("attach_flags", c_uint32),
        ("replace_bpf_fd", c_uint32),
        ("relative_fd", c_uint32),
        ("expected_revision", c_uint64),
    )


class ProgQuery(Attr):
    """BPF_PROG_QUERY; `target_fd` is also target_ifindex. `attach_flags`, `prog_cnt` and `revision` are written."""

    MEMBER = "query"
    _fields_ = (
        ("target_fd", c_uint32),
        ("attach_type", c_uint32),
        ("query_flags", c_uint32),
        ("attach_flags", c_uint32),
        ("prog_ids", c_uint64),
        ("prog_cnt", c_uint32),
        ("prog_attach_flags", c_uint64),
        ("link_ids", c_uint64),
        ("link_attach_flags", c_uint64),
        ("revision", c_uint64),
    )


ATTRS: tuple[type[Attr], ...] = (
    MapCreate, MapElem, MapBatch, ProgLoad, Obj, ProgTestRun, GetId, InfoByFd, RawTracepoint, BtfLoad,
    LinkCreate, LinkUpdate, LinkDetach, EnableStats, TokenCreate, IterCreate, ProgBindMap, ProgAttach, ProgQuery,
)  # fmt: skip
"""Every member struct of ``union bpf_attr`` in this file."""


# --- what BPF_OBJ_GET_INFO_BY_FD fills in -----------------------------------------------------------


class Info(Structure):
    """A structure of BPF_OBJ_GET_INFO_BY_FD.

    Attributes:
        KERNEL: the structure's name in the kernel.
    """

    KERNEL: ClassVar[str] = ""


class MapInfo(Info):
    """``struct bpf_map_info``."""

    KERNEL = "bpf_map_info"
    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("key_size", c_uint32),
        ("value_size", c_uint32),
        ("max_entries", c_uint32),
        ("map_flags", c_uint32),
        ("name", c_char * NAME_SIZE),
        ("ifindex", c_uint32),
        ("btf_vmlinux_value_type_id", c_uint32),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("btf_id", c_uint32),
        ("btf_key_type_id", c_uint32),
        ("btf_value_type_id", c_uint32),
        ("btf_vmlinux_id", c_uint32),
        ("map_extra", c_uint64),
    )


class ProgInfo(Info):
    """``struct bpf_prog_info``; the ``..._ids`` and the like are addresses of the caller's memory."""

    KERNEL = "bpf_prog_info"
    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("tag", c_uint8 * 8),
        ("jited_prog_len", c_uint32),
        ("xlated_prog_len", c_uint32),
        ("jited_prog_insns", c_uint64),
        ("xlated_prog_insns", c_uint64),
        ("load_time", c_uint64),
        ("created_by_uid", c_uint32),
        ("nr_map_ids", c_uint32),
        ("map_ids", c_uint64),
        ("name", c_char * NAME_SIZE),
        ("ifindex", c_uint32),
        ("gpl_compatible", c_uint32, 1),
        ("netns_dev", c_uint64),
        ("netns_ino", c_uint64),
        ("nr_jited_ksyms", c_uint32),
        ("nr_jited_func_lens", c_uint32),
        ("jited_ksyms", c_uint64),
        ("jited_func_lens", c_uint64),
        ("btf_id", c_uint32),
        ("func_info_rec_size", c_uint32),
        ("func_info", c_uint64),
        ("nr_func_info", c_uint32),
        ("nr_line_info", c_uint32),
        ("line_info", c_uint64),
        ("jited_line_info", c_uint64),
        ("nr_jited_line_info", c_uint32),
        ("line_info_rec_size", c_uint32),
        ("jited_line_info_rec_size", c_uint32),
        ("nr_prog_tags", c_uint32),
        ("prog_tags", c_uint64),
        ("run_time_ns", c_uint64),
        ("run_cnt", c_uint64),
        ("recursion_misses", c_uint64),
        ("verified_insns", c_uint32),
        ("attach_btf_obj_id", c_uint32),
        ("attach_btf_id", c_uint32),
    )


class BtfInfo(Info):
    """``struct bpf_btf_info``; `btf` and `name` are addresses of the caller's memory."""

    KERNEL = "bpf_btf_info"
    _fields_ = (
        ("btf", c_uint64),
        ("btf_size", c_uint32),
        ("id", c_uint32),
        ("name", c_uint64),
        ("name_len", c_uint32),
        ("kernel_btf", c_uint32),
    )


class InfoRawTracepoint(Structure):
    """The part of ``struct bpf_link_info`` for raw tracepoints; `tp_name` is an address."""

    _fields_ = (("tp_name", c_uint64), ("tp_name_len", c_uint32), ("cookie", c_uint64))


class InfoTracing(Structure):
    """The part of ``struct bpf_link_info`` for fentry, fexit, fmod_ret, tp_btf, lsm and freplace."""

    _fields_ = (
        ("attach_type", c_uint32),
        ("target_obj_id", c_uint32),
        ("target_btf_id", c_uint32),
        ("cookie", c_uint64),
    )


class InfoCgroup(Structure):
    """The part of ``struct bpf_link_info`` for cgroups."""

    _fields_ = (("cgroup_id", c_uint64), ("attach_type", c_uint32))


class InfoNetns(Structure):
    """The part of ``struct bpf_link_info`` for network namespaces."""

    _fields_ = (("netns_ino", c_uint32), ("attach_type", c_uint32))


class InfoXdp(Structure):
    """The part of ``struct bpf_link_info`` for XDP."""

    _fields_ = (("ifindex", c_uint32),)


class InfoInterface(Structure):
    """The part of ``struct bpf_link_info`` for tcx and netkit."""

    _fields_ = (("ifindex", c_uint32), ("attach_type", c_uint32))


class InfoNetfilter(Structure):
    """The part of ``struct bpf_link_info`` for netfilter."""

    _fields_ = (("pf", c_uint32), ("hooknum", c_uint32), ("priority", c_int32), ("flags", c_uint32))


class InfoStructOps(Structure):
    """The part of ``struct bpf_link_info`` for struct_ops."""

    _fields_ = (("map_id", c_uint32),)


class InfoIterMap(Structure):
    """What an iterator over a map's elements goes through."""

    _fields_ = (("map_id", c_uint32),)


class InfoIterCgroup(Structure):
    """Where an iterator over cgroups starts."""

    _fields_ = (("cgroup_id", c_uint64), ("order", c_uint32))


class InfoIterTask(Structure):
    """What an iterator over tasks is limited to."""

    _fields_ = (("tid", c_uint32), ("pid", c_uint32))


class _IterMap(Union):
    _fields_ = (("map", InfoIterMap),)


class _IterPlace(Union):
    _fields_ = (("cgroup", InfoIterCgroup), ("task", InfoIterTask))


class InfoIter(Structure):
    """The part of ``struct bpf_link_info`` for iterators; `target_name` is an address."""

    _anonymous_ = ("_map", "_place")
    _fields_ = (
        ("target_name", c_uint64),
        ("target_name_len", c_uint32),
        ("_map", _IterMap),
        ("_place", _IterPlace),
    )


class InfoKprobeMulti(Structure):
    """The part of ``struct bpf_link_info`` for kprobe.multi; `addrs` and `cookies` are addresses of arrays."""

    _fields_ = (
        ("addrs", c_uint64),
        ("count", c_uint32),
        ("flags", c_uint32),
        ("missed", c_uint64),
        ("cookies", c_uint64),
    )


class InfoUprobeMulti(Structure):
    """The part of ``struct bpf_link_info`` for uprobe.multi; `path` and the arrays are addresses."""

    _fields_ = (
        ("path", c_uint64),
        ("offsets", c_uint64),
        ("ref_ctr_offsets", c_uint64),
        ("cookies", c_uint64),
        ("path_size", c_uint32),
        ("count", c_uint32),
        ("flags", c_uint32),
        ("pid", c_uint32),
    )


class InfoUprobe(Structure):
    """A uprobe; `file_name` is an address."""

    _fields_ = (
        ("file_name", c_uint64),
        ("name_len", c_uint32),
        ("offset", c_uint32),
        ("cookie", c_uint64),
        ("ref_ctr_offset", c_uint64),
    )


class InfoKprobe(Structure):
    """A kprobe; `func_name` is an address."""

    _fields_ = (
        ("func_name", c_uint64),
        ("name_len", c_uint32),
        ("offset", c_uint32),
        ("addr", c_uint64),
        ("missed", c_uint64),
        ("cookie", c_uint64),
    )


class InfoTracepoint(Structure):
    """A tracepoint; `tp_name` is an address."""

    _fields_ = (("tp_name", c_uint64), ("name_len", c_uint32), ("cookie", c_uint64))


class InfoEvent(Structure):
    """Another perf event."""

    _fields_ = (("config", c_uint64), ("type", c_uint32), ("cookie", c_uint64))


class _PerfEventDetails(Union):
    _fields_ = (("uprobe", InfoUprobe), ("kprobe", InfoKprobe), ("tracepoint", InfoTracepoint), ("event", InfoEvent))


class InfoPerfEvent(Structure):
    """The part of ``struct bpf_link_info`` for perf events; `type` is an ``enum bpf_perf_event_type``."""

    _anonymous_ = ("_event",)
    _fields_ = (("type", c_uint32), ("_event", _PerfEventDetails))


class InfoSockmap(Structure):
    """The part of ``struct bpf_link_info`` for sockmaps."""

    _fields_ = (("map_id", c_uint32), ("attach_type", c_uint32))


class _LinkDetails(Union):
    _fields_ = (
        ("raw_tracepoint", InfoRawTracepoint),
        ("tracing", InfoTracing),
        ("cgroup", InfoCgroup),
        ("netns", InfoNetns),
        ("xdp", InfoXdp),
        ("struct_ops", InfoStructOps),
        ("netfilter", InfoNetfilter),
        ("tcx", InfoInterface),
        ("netkit", InfoInterface),
        ("iter", InfoIter),
        ("kprobe_multi", InfoKprobeMulti),
        ("uprobe_multi", InfoUprobeMulti),
        ("perf_event", InfoPerfEvent),
        ("sockmap", InfoSockmap),
    )


class LinkInfo(Info):
    """``struct bpf_link_info``."""

    KERNEL = "bpf_link_info"
    _anonymous_ = ("_details",)
    _fields_ = (
        ("type", c_uint32),
        ("id", c_uint32),
        ("prog_id", c_uint32),
        ("_details", _LinkDetails),
    )


INFOS: tuple[type[Info], ...] = (MapInfo, ProgInfo, BtfInfo, LinkInfo)
"""Every structure of BPF_OBJ_GET_INFO_BY_FD in this file."""
