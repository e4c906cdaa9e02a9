"""What the kernel knows about a link, decoded for every kind of link.

Names and arrays are copied by the kernel into memory of the caller, so most kinds are asked twice: first for the kind
and the sizes, then with room for them. Older kernels leave out what they do not tell; it is zero or "" here.

Source: ``struct bpf_link_info`` in include/uapi/linux/bpf.h, the ``fill_link_info`` functions of the kernel.
"""

from __future__ import annotations

from ctypes import addressof, c_char, c_uint64, sizeof
from enum import IntEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from . import layout
from .call import bpf
from .enums import Command
from .fd import HasFileno, number_of

if TYPE_CHECKING:
    from collections.abc import Callable

_NAME: Final = 256  # bytes for names of functions, tracepoints and iterators
_PATH: Final = 4096
_MOST: Final = 1 << 22  # elements of an array; the kernel itself takes no more than a million places


class PerfEventKind(IntEnum):
    """``enum bpf_perf_event_type``: BPF_PERF_EVENT_*."""

    UNSPEC = 0
    UPROBE = 1
    URETPROBE = 2
    KPROBE = 3
    KRETPROBE = 4
    TRACEPOINT = 5
    EVENT = 6


class RawTracepointDetails(NamedTuple):
    """A raw tracepoint, or a tp_btf program: the tracepoint's `name`, and the `cookie` (6.18)."""

    name: str
    cookie: int


class TracingDetails(NamedTuple):
    """fentry, fexit, fmod_ret, lsm, freplace.

    Attributes:
        attach_type: an `AttachType`.
        target_obj_id: id of the BTF object or program that `target_btf_id` is of (5.13).
        target_btf_id: type id of the target (5.13).
        cookie: (6.18).
    """

    attach_type: int
    target_obj_id: int
    target_btf_id: int
    cookie: int


class CgroupDetails(NamedTuple):
    """A cgroup, by the inode number of its directory."""

    cgroup_id: int
    attach_type: int


class IterDetails(NamedTuple):
    """An iterator.

    Attributes:
        target: what it goes through ("task", "bpf_map_elem").
        map_id: the map whose elements it goes through, or 0.
        cgroup_id, order: where an iterator over cgroups starts, and its ``enum bpf_cgroup_iter_order`` (6.1).
        tid, pid: what an iterator over tasks is limited to, or 0 (6.1).
    """

    target: str
    map_id: int = 0
    cgroup_id: int = 0
    order: int = 0
    tid: int = 0
    pid: int = 0


class NetnsDetails(NamedTuple):
    """A network namespace, by its inode number."""

    netns_ino: int
    attach_type: int


class XdpDetails(NamedTuple):
    """A network interface; 0 if it has gone."""

    ifindex: int


class PerfEventDetails(NamedTuple):
    """A kprobe, uprobe, tracepoint or another perf event (6.6).

    Attributes:
        kind: which of them.
        name: the function, the file, or the tracepoint; "" for others.
        offset: bytes: from the function's start, or of the file.
        address: of a kprobe, 0 where the kernel hides addresses.
        missed: how often the kernel could not run a kprobe (6.7).
        cookie: (6.9).
        ref_ctr_offset: of a uprobe (6.18).
        type, config: of another event.
    """

    kind: PerfEventKind
    name: str = ""
    offset: int = 0
    address: int = 0
    missed: int = 0
    cookie: int = 0
    ref_ctr_offset: int = 0
    type: int = 0
    config: int = 0


class KprobeMultiDetails(NamedTuple):
    """Many functions (6.6).

    Attributes:
        addresses: 0 where the kernel hides them.
        flags: 1: at their return.
        missed: how often the kernel could not run the program (6.7).
        cookies: as many as addresses (6.9), or none.
    """

    addresses: tuple[int, ...]
    flags: int
    missed: int
    cookies: tuple[int, ...]


class StructOpsDetails(NamedTuple):
    """A map of operations."""

    map_id: int


class NetfilterDetails(NamedTuple):
    """A netfilter hook: protocol family, hook and priority."""

    pf: int
    hooknum: int
    priority: int
    flags: int


class TcxDetails(NamedTuple):
    """tcx or netkit: a network interface; 0 if it has gone."""

    ifindex: int
    attach_type: int


class UprobeMultiDetails(NamedTuple):
    """Many places of a file (6.8).

    Attributes:
        path: the file.
        offsets, ref_ctr_offsets, cookies: of each place.
        flags: 1: at their functions' return.
        pid: the process, 0 for all.
    """

    path: str
    offsets: tuple[int, ...]
    ref_ctr_offsets: tuple[int, ...]
    cookies: tuple[int, ...]
    flags: int
    pid: int


class SockmapDetails(NamedTuple):
    """A map of sockets."""

    map_id: int
    attach_type: int


LinkDetails = (
    RawTracepointDetails
    | TracingDetails
    | CgroupDetails
    | IterDetails
    | NetnsDetails
    | XdpDetails
    | PerfEventDetails
    | KprobeMultiDetails
    | StructOpsDetails
    | NetfilterDetails
    | TcxDetails
    | UprobeMultiDetails
    | SockmapDetails
)
"""What is particular to each kind of link."""


class LinkInfo(NamedTuple):
    """What the kernel knows about a link. Each kind's own facts are in `details`; the ones that several have, here.

    Attributes:
        type: a `LinkType`.
        id: its id.
        prog_id: id of the attached program.
        attach_type: an `AttachType`, for the kinds of link that say (0 else).
        target_obj_id: id of the BTF object or program that `target_btf_id` is of (tracing; 5.13).
        target_btf_id: type id of the target (tracing; 5.13).
        cookie: of tracing, raw tracepoints and perf events, 0 where the kernel does not say.
        target: name of the tracepoint, function, file or iterator, for the kinds that have one; else "". Links of
            tp_btf programs are raw tracepoints too.
        number: the interface, cgroup id, network namespace's inode or map id behind the link; else 0.
        details: by kind; None for a kind that this library does not know.
    """

    type: int
    id: int
    prog_id: int
    attach_type: int = 0
    target_obj_id: int = 0
    target_btf_id: int = 0
    cookie: int = 0
    target: str = ""
    number: int = 0
    details: LinkDetails | None = None


def link_info(fd: int | HasFileno) -> LinkInfo:
    """What the kernel knows about a link (5.8)."""
    info = layout.LinkInfo()
    _fill(fd, info)
    details: LinkDetails | None = None
    if decode := _DECODERS.get(info.type):
        details = decode(fd, info)
    elif plain := _PLAIN.get(info.type):
        part = getattr(info, plain[0])
        details = plain[1](*[getattr(part, name) for name in plain[1]._fields])
    return LinkInfo(
        info.type,
        info.id,
        info.prog_id,
        attach_type=getattr(details, "attach_type", 0),
        target_obj_id=getattr(details, "target_obj_id", 0),
        target_btf_id=getattr(details, "target_btf_id", 0),
        cookie=getattr(details, "cookie", 0),
        target=next((getattr(details, name) for name in _NAMES if hasattr(details, name)), ""),
        number=next((getattr(details, name) for name in _NUMBERS if hasattr(details, name)), 0),
        details=details,
    )


_NAMES = ("name", "target", "path")
_NUMBERS = ("map_id", "cgroup_id", "netns_ino", "ifindex")


def _fill(fd: int | HasFileno, info: layout.Info) -> None:
    attr = layout.InfoByFd(bpf_fd=number_of(fd), info_len=sizeof(info), info=addressof(info))
    bpf(Command.OBJ_GET_INFO_BY_FD, attr)


def _text(buffer: object) -> str:
    return bytes(buffer).partition(b"\0")[0].decode("utf-8", "surrogateescape")  # type: ignore[call-overload,no-any-return]


def _raw_tracepoint(fd: int | HasFileno, info: layout.LinkInfo) -> LinkDetails:
    name = (c_char * _NAME)()
    info.raw_tracepoint.tp_name = addressof(name)
    info.raw_tracepoint.tp_name_len = sizeof(name)
    _fill(fd, info)
    return RawTracepointDetails(_text(name), info.raw_tracepoint.cookie)


def _iter(fd: int | HasFileno, info: layout.LinkInfo) -> LinkDetails:
    name = (c_char * _NAME)()
    info.iter.target_name = addressof(name)
    info.iter.target_name_len = sizeof(name)
    _fill(fd, info)
    target, part = _text(name), info.iter
    if target == "cgroup":
        return IterDetails(target, cgroup_id=part.cgroup.cgroup_id, order=part.cgroup.order)
    if target.startswith("task"):
        return IterDetails(target, tid=part.task.tid, pid=part.task.pid)
    return IterDetails(target, map_id=part.map.map_id)


def _perf_event(fd: int | HasFileno, info: layout.LinkInfo) -> LinkDetails:
    name = (c_char * _PATH)()
    try:
        kind = PerfEventKind(info.perf_event.type)
    except ValueError:
        return PerfEventDetails(PerfEventKind.UNSPEC)
    if kind in (PerfEventKind.UPROBE, PerfEventKind.URETPROBE):
        info.perf_event.uprobe.file_name = addressof(name)
        info.perf_event.uprobe.name_len = sizeof(name)
        _fill(fd, info)
        uprobe = info.perf_event.uprobe
        return PerfEventDetails(
            kind, _text(name), uprobe.offset, cookie=uprobe.cookie, ref_ctr_offset=uprobe.ref_ctr_offset
        )
    if kind in (PerfEventKind.KPROBE, PerfEventKind.KRETPROBE):
        info.perf_event.kprobe.func_name = addressof(name)
        info.perf_event.kprobe.name_len = sizeof(name)
        _fill(fd, info)
        kprobe = info.perf_event.kprobe
        return PerfEventDetails(
            kind, _text(name), kprobe.offset, kprobe.addr, missed=kprobe.missed, cookie=kprobe.cookie
        )
    if kind is PerfEventKind.TRACEPOINT:
        info.perf_event.tracepoint.tp_name = addressof(name)
        info.perf_event.tracepoint.name_len = sizeof(name)
        _fill(fd, info)
        return PerfEventDetails(kind, _text(name), cookie=info.perf_event.tracepoint.cookie)
    event = info.perf_event.event
    if kind is PerfEventKind.EVENT:
        return PerfEventDetails(kind, cookie=event.cookie, type=event.type, config=event.config)
    return PerfEventDetails(kind)


def _kprobe_multi(fd: int | HasFileno, info: layout.LinkInfo) -> LinkDetails:
    count = min(info.kprobe_multi.count, _MOST)
    addresses, cookies = (c_uint64 * count)(), (c_uint64 * count)()
    if count:
        info.kprobe_multi.count = count  # what there is room for
        info.kprobe_multi.addrs = addressof(addresses)
        info.kprobe_multi.cookies = addressof(cookies)
        _fill(fd, info)
    part = info.kprobe_multi
    return KprobeMultiDetails(tuple(addresses), part.flags, part.missed, tuple(cookies))


def _uprobe_multi(fd: int | HasFileno, info: layout.LinkInfo) -> LinkDetails:
    count = min(info.uprobe_multi.count, _MOST)
    path = (c_char * _PATH)()
    offsets, counters, cookies = ((c_uint64 * count)() for _ in range(3))
    if count:
        part = info.uprobe_multi
        part.count = count
        part.path, part.path_size = addressof(path), sizeof(path)
        part.offsets, part.ref_ctr_offsets, part.cookies = map(addressof, (offsets, counters, cookies))
        _fill(fd, info)
    part = info.uprobe_multi
    return UprobeMultiDetails(_text(path), tuple(offsets), tuple(counters), tuple(cookies), part.flags, part.pid)


_DECODERS: Final[dict[int, Callable[[int | HasFileno, layout.LinkInfo], LinkDetails]]] = {
    1: _raw_tracepoint,
    4: _iter,
    7: _perf_event,
    8: _kprobe_multi,
    12: _uprobe_multi,
}
_PLAIN: Final[dict[int, tuple[str, type[LinkDetails]]]] = {
    2: ("tracing", TracingDetails),
    3: ("cgroup", CgroupDetails),
    5: ("netns", NetnsDetails),
    6: ("xdp", XdpDetails),
    9: ("struct_ops", StructOpsDetails),
    10: ("netfilter", NetfilterDetails),
    11: ("tcx", TcxDetails),
    13: ("netkit", TcxDetails),
    14: ("sockmap", SockmapDetails),
}
"""Kinds that are copied member by member."""
