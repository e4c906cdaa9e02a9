"""The attributes of commands that attach. BPF_LINK_CREATE has one part for each kind of link."""

from __future__ import annotations

from ctypes import Structure, Union, c_char_p, c_int32, c_uint32, c_uint64

from .attribute import Attr


class RawTracepoint(Attr):
    """BPF_RAW_TRACEPOINT_OPEN."""

    MEMBER = "raw_tracepoint"
    _fields_ = (("name", c_char_p), ("prog_fd", c_uint32), ("cookie", c_uint64))


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


class IterCreate(Attr):
    """BPF_ITER_CREATE."""

    MEMBER = "iter_create"
    _fields_ = (("link_fd", c_uint32), ("flags", c_uint32))


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
