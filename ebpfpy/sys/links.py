"""Commands that attach: links and raw tracepoints.

What BPF_LINK_CREATE wants besides program, target and attach type differs by the kind of link; there
is one small options class for each, which is handed to `link_create`.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy.errors import InputError

from .call import bpf
from .enums import Command
from .fd import Fd, HasFileno, number_of
from .layout import IterCreate, LinkCreate, LinkDetach, LinkUpdate, RawTracepoint

if TYPE_CHECKING:
    from collections.abc import Sequence


class TracingOptions(NamedTuple):
    """fentry, fexit, fmod_ret, tp_btf, lsm: `cookie` (5.19); freplace: `target_btf_id` in its target."""

    target_btf_id: int = 0
    cookie: int = 0


class PerfEventOptions(NamedTuple):
    """kprobe, uprobe and tracepoint events (5.15): `cookie`."""

    cookie: int = 0


class IterOptions(NamedTuple):
    """Iterators (5.8): `info` is the bytes of a ``union bpf_iter_link_info``."""

    info: bytes = b""


class KprobeMultiOptions(NamedTuple):
    """kprobe.multi (5.18): `symbols` or `addresses`, not both; flags 1: kretprobe."""

    symbols: Sequence[str] = ()
    addresses: Sequence[int] = ()
    cookies: Sequence[int] = ()
    flags: int = 0


class UprobeMultiOptions(NamedTuple):
    """uprobe.multi (6.6): file `offsets` in `path`; `pid` 0 for all processes; flags 1: uretprobe."""

    path: str
    offsets: Sequence[int]
    ref_ctr_offsets: Sequence[int] = ()
    cookies: Sequence[int] = ()
    pid: int = 0
    flags: int = 0


class TracingMultiOptions(NamedTuple):
    """fentry.multi and its kin (7.2): type `ids` of functions; `cookies` one for each, or none."""

    ids: Sequence[int]
    cookies: Sequence[int] = ()


class NetfilterOptions(NamedTuple):
    """netfilter (6.4): protocol family, hook and priority."""

    pf: int
    hooknum: int
    priority: int
    flags: int = 0


class RelativeOptions(NamedTuple):
    """tcx (6.6), netkit (6.7), cgroup (6.17): place in the list; the flags of the call say how to read it."""

    relative: int = 0
    expected_revision: int = 0


LinkOptions = (
    TracingOptions
    | PerfEventOptions
    | IterOptions
    | KprobeMultiOptions
    | UprobeMultiOptions
    | TracingMultiOptions
    | NetfilterOptions
    | RelativeOptions
)


def raw_tracepoint_open(
    prog_fd: int | HasFileno, name: str | None = None, *, cookie: int = 0, subject: str | None = None
) -> Fd:
    """Attach a raw tracepoint (4.17), or a tp_btf, fentry, fexit, fmod_ret or lsm program (5.5).

    Args:
        prog_fd: the program.
        name: the tracepoint; None for programs that were loaded with their target.
        cookie: what bpf_get_attach_cookie() returns (6.10).
        subject: for the error's message.

    Returns:
        The link.
    """
    what = f"raw tracepoint {name}" if name is not None else "tracing program"
    attr = RawTracepoint(
        name=None if name is None else name.encode() + b"\0", prog_fd=number_of(prog_fd), cookie=cookie
    )
    return Fd(bpf(Command.RAW_TRACEPOINT_OPEN, attr, subject=subject or what), f"link to {subject or what}")


def link_create(
    prog_fd: int | HasFileno,
    *,
    attach_type: int,
    target_fd: int | HasFileno = 0,
    flags: int = 0,
    options: LinkOptions | None = None,
    subject: str | None = None,
) -> Fd:
    """Attach a program (BPF_LINK_CREATE, 5.7; each kind of link has its own first kernel).

    Args:
        prog_fd: the program; for struct_ops the map.
        attach_type: an `AttachType`.
        target_fd: a cgroup, network namespace, perf event, program...; for XDP, tcx and netkit the
            number of the interface.
        flags: of the kind of link.
        options: of the kind of link.
        subject: for the error's message.

    Returns:
        The link.

    Raises:
        InputError: options that contradict each other.
        KernelError: the kernel refused.
    """
    attr = LinkCreate(prog_fd=number_of(prog_fd), target_fd=number_of(target_fd), attach_type=attach_type, flags=flags)
    keep = _fill(attr, options)
    number = bpf(Command.LINK_CREATE, attr, subject=subject)
    del keep
    return Fd(number, f"link to {subject}" if subject else "link")


def _fill(attr: LinkCreate, options: LinkOptions | None) -> list[object]:
    """Write `options` into `attr`; returns what must stay alive during the call."""
    keep: list[object] = []
    if isinstance(options, TracingOptions):
        attr.tracing.target_btf_id = options.target_btf_id
        attr.tracing.cookie = options.cookie
    elif isinstance(options, PerfEventOptions):
        attr.perf_event.bpf_cookie = options.cookie
    elif isinstance(options, IterOptions):
        if options.info:
            attr.iter_info = options.info
            attr.iter_info_len = len(options.info)
    elif isinstance(options, KprobeMultiOptions):
        _fill_kprobe_multi(attr.kprobe_multi, options, keep)
    elif isinstance(options, UprobeMultiOptions):
        _fill_uprobe_multi(attr.uprobe_multi, options, keep)
    elif isinstance(options, TracingMultiOptions):
        part = attr.tracing_multi
        part.cnt = len(options.ids)
        part.ids = _words(array("I", options.ids), keep)
        if options.cookies:
            _same_length("fentry.multi", part.cnt, options.cookies)
            part.cookies = _words(array("Q", options.cookies), keep)
    elif isinstance(options, NetfilterOptions):
        attr.netfilter.pf = options.pf
        attr.netfilter.hooknum = options.hooknum
        attr.netfilter.priority = options.priority
        attr.netfilter.flags = options.flags
    elif isinstance(options, RelativeOptions):
        attr.tcx.relative_fd = options.relative
        attr.tcx.expected_revision = options.expected_revision
    return keep


def _fill_kprobe_multi(part: LinkCreate, options: KprobeMultiOptions, keep: list[object]) -> None:
    if bool(options.symbols) == bool(options.addresses):
        raise InputError("kprobe.multi wants either symbols or addresses")
    part.flags = options.flags
    part.cnt = len(options.symbols or options.addresses)
    if options.symbols:
        names = [name.encode() + b"\0" for name in options.symbols]
        pointers = array("Q")
        keep.append(names)
        for name in names:
            pointers.append(_address(name, keep))
        part.syms = _words(pointers, keep)
    else:
        part.addrs = _words(array("Q", options.addresses), keep)
    if options.cookies:
        _same_length("kprobe.multi", part.cnt, options.cookies)
        part.cookies = _words(array("Q", options.cookies), keep)


def _fill_uprobe_multi(part: LinkCreate, options: UprobeMultiOptions, keep: list[object]) -> None:
    path = options.path.encode() + b"\0"
    keep.append(path)
    part.path = path
    part.cnt = len(options.offsets)
    part.offsets = _words(array("Q", options.offsets), keep)
    if options.ref_ctr_offsets:
        _same_length("uprobe.multi", part.cnt, options.ref_ctr_offsets)
        part.ref_ctr_offsets = _words(array("Q", options.ref_ctr_offsets), keep)
    if options.cookies:
        _same_length("uprobe.multi", part.cnt, options.cookies)
        part.cookies = _words(array("Q", options.cookies), keep)
    part.pid = options.pid
    part.flags = options.flags


def _same_length(what: str, count: int, values: Sequence[int]) -> None:
    if len(values) != count:
        raise InputError(f"{what}: {len(values)} values for {count} places")


def _words(values: array[int], keep: list[object]) -> int:
    keep.append(values)
    return values.buffer_info()[0]


def _address(data: bytes, keep: list[object]) -> int:
    copy = array("b", data)
    keep.append(copy)
    return copy.buffer_info()[0]


def link_update(
    link_fd: int | HasFileno,
    new_prog_fd: int | HasFileno,
    *,
    old_prog_fd: int | HasFileno | None = None,
    flags: int = 0,
    subject: str | None = None,
) -> None:
    """Replace the program of a link, or the map of a struct_ops link (BPF_LINK_UPDATE, 5.7).

    Args:
        link_fd: the link.
        new_prog_fd: what to put in.
        old_prog_fd: replace only this one; sets BPF_F_REPLACE (4).
        flags: BPF_F_REPLACE or 0.
        subject: for the error's message.
    """
    attr = LinkUpdate(link_fd=number_of(link_fd), new_prog_fd=number_of(new_prog_fd), flags=flags)
    if old_prog_fd is not None:
        attr.old_prog_fd = number_of(old_prog_fd)
        attr.flags |= 4
    bpf(Command.LINK_UPDATE, attr, subject=subject)


def link_detach(link_fd: int | HasFileno, *, subject: str | None = None) -> None:
    """Detach, keeping the link's descriptor (BPF_LINK_DETACH, 5.9; EOPNOTSUPP for tracing links)."""
    bpf(Command.LINK_DETACH, LinkDetach(link_fd=number_of(link_fd)), subject=subject)


def iter_create(link_fd: int | HasFileno, *, subject: str | None = None) -> Fd:
    """Open an iterator's link for reading (BPF_ITER_CREATE, 5.8); read(2) gives its text."""
    return Fd(bpf(Command.ITER_CREATE, IterCreate(link_fd=number_of(link_fd)), subject=subject), "iterator")
