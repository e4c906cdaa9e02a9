"""Static probes of user space (USDT): ``SEC("usdt/FILE:PROVIDER:NAME")``.

Every place of a probe gets a uprobe: by one link of the kind uprobe.multi where the kernel can limit it to a process
(Linux 6.10; the program was loaded for it), else by a perf event and a link each. Where the arguments are differs from
place to place, so the program looks it up: libbpf's usdt.bpf.h gives it a map ``__bpf_usdt_specs`` of descriptions, and
the uprobe's cookie is the index of the one that applies. Here the descriptions are written and the indices given out.
Places with equal arguments share one.

    struct __bpf_usdt_spec {
            struct { u64 value; u32 kind; s16 register; bool signed; u8 shift; } args[12];
            u64 cookie;
            s16 number of args;
    };

Needs cookies, of perf events at least (Linux 5.15).
"""

from __future__ import annotations

import os
import struct
import threading
from typing import TYPE_CHECKING, Final, NoReturn

from ebpfpy import features, sys
from ebpfpy.errors import InputError, KernelError, TargetNotFoundError, UnsupportedError
from ebpfpy.sys import AttachType, ProgramType
from ebpfpy.sys.refusals import UNKNOWN

from .events import link_event
from .executable import Executable, find_binary
from .link import Link
from .refusal import check_cookie, check_type, missing
from .uprobe import open_uprobe
from .usdtnotes import parse_arguments, probes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import ExitStack

    from ebpfpy.loader import Program

    from .usdtnotes import Argument, Probe

_MAP_NAME: Final = "__bpf_usdt_spec"  # of "__bpf_usdt_specs" the kernel keeps 15 bytes
_MOST_ARGUMENTS: Final = 12
_ARGUMENT = struct.Struct("=QIh?B")
_TAIL = struct.Struct("=Qh")

_used: dict[int, set[int]] = {}  # by map id: the indices that links of this process have
_lock = threading.Lock()


class UsdtLink(Link):
    """A static probe: a uprobe for each of its places, closed together.

    Attributes:
        links: one of the kind uprobe.multi, or one for each place; owned by this link.
    """

    def __init__(self, links: Sequence[Link], text: str, map_id: int, indices: Sequence[int]) -> None:
        self.links = tuple(links)
        self.text = text
        self._fd = self.links[0]._fd
        self._map_id = map_id
        self._indices = list(indices)

    def detach(self) -> None:
        """Take the program off all places. Does nothing if that has been done."""
        for each in self.links:
            each.detach()
        _free(self._map_id, self._indices)

    def sever(self) -> NoReturn:
        """Refuse: links of perf events cannot.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError(f"{self.text}: links of perf events cannot be severed", feature="severing")

    def pin(self, path: str | os.PathLike[str]) -> NoReturn:
        """Refuse: the descriptions of the arguments belong to this process.

        Raises:
            UnsupportedError: always.
        """
        raise UnsupportedError(f"{self.text}: cannot be pinned to {path}: it is several links", feature="pinning USDT")


def attach_usdt(
    program: Program,
    binary: str | os.PathLike[str] | None = None,
    provider: str | None = None,
    name: str | None = None,
    *,
    pid: int | None = None,
    cookie: int = 0,
) -> UsdtLink:
    """Attach a program to a static probe of an executable or library (Linux 5.15; CAP_SYS_ADMIN).

    Args:
        program: of type KPROBE, made with libbpf's usdt.bpf.h.
        binary: the file, or the name of a library or program in the usual directories; None: what the program's
            section says.
        provider: the probe's provider ("libc").
        name: the probe ("setjmp").
        pid: only in this process (0: in this one); None: in all.
        cookie: what bpf_usdt_cookie() returns in the program.

    Returns:
        The link; the caller closes it.

    Raises:
        TargetNotFoundError: the file has no such probe.
        UnsupportedError: arguments that ebpfpy cannot describe; or a kernel without cookies of uprobes.
        KernelError: the kernel refused.
    """
    check_type(program, "static probes", ProgramType.KPROBE)
    check_cookie(cookie)
    if binary is None:
        binary, provider, name = _section(program)
    if not provider or not name:
        raise InputError(f"program {program.name}: a static probe has a provider and a name")
    path = find_binary(os.fspath(binary))
    text = f"{program.name} to usdt {path}:{provider}:{name}"
    with Executable(path) as executable:
        file = executable.file
        found = [each for each in probes(executable) if (each.provider, each.name) == (provider, name)]
        if not found:
            raise _not_found(executable, text, f"{provider}:{name}")
    described = [(each, _description(each, cookie, text)) for each in found]
    from contextlib import ExitStack

    with _specs(program, text) as specs, ExitStack() as undo:
        link = _attach(program, specs, file, described, pid, text, undo)
        undo.pop_all()
        return link


def _attach(
    program: Program,
    specs: sys.Fd,
    file: str,
    described: list[tuple[Probe, bytes]],
    pid: int | None,
    text: str,
    undo: ExitStack,
) -> UsdtLink:
    info = sys.map_info(specs)
    different = dict.fromkeys(description for _, description in described)
    indices = _take(info.id, len(different), info.max_entries, text)
    undo.callback(_free, info.id, list(indices))
    by_description = dict(zip(different, indices, strict=True))
    for description, index in by_description.items():
        sys.map_update(specs, struct.pack("=I", index), description.ljust(info.value_size, b"\0"))
    cookies = [by_description[description] for _, description in described]
    links = _at_once(program, file, [probe for probe, _ in described], cookies, pid, text)
    if links:
        return UsdtLink(links, text, info.id, indices)
    if not features.have_perf_event_link():
        raise missing(text, "cookies of perf events", "5.15")
    for (probe, _), cookie in zip(described, cookies, strict=True):
        event = open_uprobe(file, probe.offset, text, pid=pid, ref_ctr_offset=probe.semaphore, returns=False)
        links.append(undo.enter_context(link_event(event, program, text, cookie=cookie)))
    return UsdtLink(links, text, info.id, indices)


def _at_once(
    program: Program, file: str, found: Sequence[Probe], cookies: Sequence[int], pid: int | None, text: str
) -> list[Link]:
    """One link at all places, or none: the program was not loaded for it, or one of the places cannot be."""
    if program.attach_type not in (None, AttachType.TRACE_UPROBE_MULTI):
        return []
    counters = [probe.semaphore for probe in found]
    number = os.getpid() if pid == 0 else pid or 0
    options = sys.UprobeMultiOptions(
        file, [probe.offset for probe in found], counters if any(counters) else (), cookies, number
    )
    try:
        fd = sys.link_create(program, attach_type=AttachType.TRACE_UPROBE_MULTI, options=options)
    except KernelError as error:
        if error.errno not in UNKNOWN:
            error.subject = text
            raise
        return []
    return [Link(fd, text)]


def _section(program: Program) -> tuple[str, str, str]:
    binary, _, rest = program.spec.attach_to.partition(":")
    provider, _, name = rest.partition(":")
    if not binary or not provider or not name:
        raise InputError(
            f"program {program.name}: section {program.spec.section!r} names no static probe:"
            " use link.attach_usdt(program, binary, provider, name)"
        )
    return binary, provider, name


def _not_found(executable: Executable, text: str, wanted: str) -> TargetNotFoundError:
    import difflib

    names = sorted({f"{each.provider}:{each.name}" for each in probes(executable)})
    near = difflib.get_close_matches(wanted, names, 5, 0.5) or names[:5]
    what = f"; it has {len(names)}, such as {', '.join(near)}" if names else ", nor any other"
    return TargetNotFoundError(
        f"{text}: {executable.path} has no such static probe{what}", name=wanted, searched=(executable.path,)
    )


def _description(probe: Probe, cookie: int, text: str) -> bytes:
    try:
        arguments = parse_arguments(probe.arguments, os.uname().machine)
    except UnsupportedError as error:
        raise UnsupportedError(f"{text}: {error}", feature=error.feature) from None
    if len(arguments) > _MOST_ARGUMENTS:
        raise UnsupportedError(
            f"{text}: {len(arguments)} arguments; usdt.bpf.h has room for {_MOST_ARGUMENTS}", feature="USDT arguments"
        )
    packed = b"".join(map(_packed, arguments)).ljust(_MOST_ARGUMENTS * _ARGUMENT.size, b"\0")
    return packed + _TAIL.pack(cookie, len(arguments))


def _packed(argument: Argument) -> bytes:
    size, kind, value, register = argument
    return _ARGUMENT.pack(value & (1 << 64) - 1, kind, register, size < 0, 64 - 8 * abs(size))


def _specs(program: Program, text: str) -> sys.Fd:
    """The program's map of descriptions, opened by its id."""
    for number in program.info.map_ids:
        fd = sys.fd_by_id("map", number)
        if sys.map_info(fd).name == _MAP_NAME:
            return fd
        fd.close()
    raise InputError(f"{text}: the program has no map __bpf_usdt_specs: it is made with libbpf's usdt.bpf.h")


def _take(map_id: int, count: int, room: int, text: str) -> list[int]:
    with _lock:
        used = _used.setdefault(map_id, set())
        free = [index for index in range(room) if index not in used][:count]
        if len(free) < count:
            raise InputError(f"{text}: map __bpf_usdt_specs has no room for {count} more; define BPF_USDT_MAX_SPEC_CNT")
        used.update(free)
        return free


def _free(map_id: int, indices: list[int]) -> None:
    with _lock:
        used = _used.get(map_id, set())
        used.difference_update(indices)
        indices.clear()
        if not used:
            _used.pop(map_id, None)
