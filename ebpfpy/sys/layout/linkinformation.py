"""What BPF_OBJ_GET_INFO_BY_FD fills in of links: one part for each kind."""

from __future__ import annotations

from ctypes import Structure, Union, c_int32, c_uint32, c_uint64

from .information import Info


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
