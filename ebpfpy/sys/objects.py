"""Commands on kernel objects of every kind: BTF, ids, information, pins."""

from __future__ import annotations

import errno
import os
import struct
from ctypes import addressof, c_char, c_uint32, sizeof
from typing import Any, Literal, NamedTuple

from ebpfpy.errors import InputError, KernelError

from . import layout
from .bpffs import complaint
from .call import bpf, refusal, try_bpf
from .enums import Command, MapFlags
from .fd import Fd, HasFileno, number_of
from .paths import path_text
from .programs import log_text

Kind = Literal["prog", "map", "btf", "link"]

_NEXT_ID = {
    "prog": Command.PROG_GET_NEXT_ID,
    "map": Command.MAP_GET_NEXT_ID,
    "btf": Command.BTF_GET_NEXT_ID,
    "link": Command.LINK_GET_NEXT_ID,
}
_FD_BY_ID = {
    "prog": Command.PROG_GET_FD_BY_ID,
    "map": Command.MAP_GET_FD_BY_ID,
    "btf": Command.BTF_GET_FD_BY_ID,
    "link": Command.LINK_GET_FD_BY_ID,
}
_FUNC_INFO = struct.Struct("=2I")
_LINE_INFO = struct.Struct("=4I")
_MODULE_NAME_SIZE = 64
_BTF_SIZE_LIMIT = 1 << 30


# --- BTF --------------------------------------------------------------------------------------------


def btf_load(
    data: bytes, *, name: str = "", log_level: int = 0, log_size: int = 0, token_fd: int = 0
) -> tuple[Fd, str]:
    """Load BTF into the kernel (BPF_BTF_LOAD, 4.18; CAP_BPF).

    Args:
        data: the blob, in the machine's byte order.
        name: for messages.
        log_level: 0 none, 1 a log.
        log_size: bytes of log at most; 0 means no log.
        token_fd: descriptor of a BPF token that stands in for capabilities, or 0 (6.9).

    Returns:
        The BTF object and its log ("" without one).

    Raises:
        KernelError: the kernel refused; `log` and `log_true_size` are set. ENOSPC: the log did not fit.
    """
    log = (c_char * log_size)() if log_level and log_size else None
    attr = layout.BtfLoad(btf=data, btf_size=len(data))
    if token_fd:
        attr.btf_flags = MapFlags.TOKEN_FD
        attr.btf_token_fd = token_fd
    if log is not None:
        attr.btf_log_buf = addressof(log)
        attr.btf_log_size = log_size
        attr.btf_log_level = log_level
    subject = f"BTF {name}".rstrip()
    result = try_bpf(Command.BTF_LOAD, attr)
    text = log_text(log.raw) if log is not None else ""
    if result < 0:
        error = refusal(-result, Command.BTF_LOAD, subject)
        error.log = text
        error.log_true_size = attr.btf_log_true_size
        raise error
    return Fd(result, subject), text


# --- ids --------------------------------------------------------------------------------------------


def next_id(kind: Kind, start: int = 0) -> int | None:
    """The first id above `start` of a kind of object, or None after the last (CAP_SYS_ADMIN; 4.13)."""
    attr = layout.GetId(start_id=start)
    command = _NEXT_ID[kind]
    result = try_bpf(command, attr)
    if result == -errno.ENOENT:
        return None
    if result < 0:
        raise refusal(-result, command)
    return int(attr.next_id)


def fd_by_id(kind: Kind, number: int, *, open_flags: int = 0) -> Fd:
    """A descriptor of the object with an id (CAP_SYS_ADMIN; 4.13).

    Raises:
        KernelError: FileNotFoundError: there is none, or it has just gone.
    """
    subject = f"{kind} id {number}"
    attr = layout.GetId(start_id=number, open_flags=open_flags)
    return Fd(bpf(_FD_BY_ID[kind], attr, subject=subject), subject)


def token_create(bpffs: int | HasFileno) -> Fd:
    """A BPF token: rights that whoever mounted a bpf file system has delegated through it (BPF_TOKEN_CREATE, 6.9).

    Only for processes in the user namespace that the file system belongs to, which must not be the initial one.

    Args:
        bpffs: a descriptor of the root of the bpf file system, mounted with ``delegate_cmds`` and the like.

    Raises:
        KernelError: EOPNOTSUPP: in the initial user namespace. PermissionError: in another one than the file system.
            FileNotFoundError: nothing is delegated.
    """
    attr = layout.TokenCreate(bpffs_fd=number_of(bpffs))
    try:
        return Fd(bpf(Command.TOKEN_CREATE, attr, subject="BPF token"), "BPF token")
    except KernelError as error:
        if error.errno == errno.EOPNOTSUPP:
            error.hint = "tokens are for user namespaces other than the initial one"
        elif error.errno == errno.ENOENT:
            error.hint = "the BPF file system delegates nothing: mount it with delegate_cmds and the like"
        elif error.errno == errno.EINVAL:
            error.hint = _no_token(number_of(bpffs)) or error.hint
        raise


def _no_token(bpffs_fd: int) -> str | None:
    try:
        place = os.readlink(f"/proc/self/fd/{bpffs_fd}")
    except OSError:
        return None
    return complaint(place) or f"{place} is not the root of the BPF file system"


def enable_stats(type: int = 0) -> Fd:  # noqa: A002
    """Count run time and runs of programs while the descriptor is open (BPF_ENABLE_STATS, 5.8)."""
    return Fd(bpf(Command.ENABLE_STATS, layout.EnableStats(type=type)), "statistics")


# --- pins -------------------------------------------------------------------------------------------


def obj_pin(fd: int | HasFileno, path: str | os.PathLike[str]) -> None:
    """Give an object a name in a BPF file system (BPF_OBJ_PIN, 4.4); it lives as long as the name.

    Raises:
        KernelError: FileExistsError: the name is taken. EPERM: the directory is in no BPF file system.
    """
    subject = path_text(path, "a pin")
    attr = layout.Obj(pathname=os.fsencode(subject) + b"\0", bpf_fd=number_of(fd))
    try:
        bpf(Command.OBJ_PIN, attr, subject=subject)
    except KernelError as error:
        error.hint = complaint(os.path.dirname(subject)) or _dotted(subject) or error.hint
        raise


def _dotted(path: str) -> str | None:
    name = os.path.basename(path)
    if "." not in name:
        return None
    return f"a BPF file system takes no name with a dot in it: {name.replace('.', '_')!r} instead of {name!r} would do"


def obj_get(path: str | os.PathLike[str], *, flags: int = 0) -> Fd:
    """Open a pinned object (BPF_OBJ_GET, 4.4).

    Args:
        path: its name in a BPF file system.
        flags: ``MapFlags.RDONLY`` or ``MapFlags.WRONLY`` for maps, or 0.
    """
    subject = path_text(path, "a pin")
    attr = layout.Obj(pathname=os.fsencode(subject) + b"\0", file_flags=flags)
    return Fd(bpf(Command.OBJ_GET, attr, subject=subject), subject)


# --- information ------------------------------------------------------------------------------------


class MapInfo(NamedTuple):
    """What the kernel knows about a map; the fields are those of ``struct bpf_map_info``."""

    type: int
    id: int
    key_size: int
    value_size: int
    max_entries: int
    map_flags: int
    name: str
    ifindex: int
    btf_id: int
    btf_key_type_id: int
    btf_value_type_id: int
    btf_vmlinux_id: int
    btf_vmlinux_value_type_id: int
    map_extra: int


class ProgInfo(NamedTuple):
    """What the kernel knows about a program; the fields are those of ``struct bpf_prog_info``.

    Attributes:
        tag: 8 bytes, a hash of the instructions.
        load_time: nanoseconds since boot.
        run_time_ns, run_cnt: counted while statistics are enabled.
        map_ids: ids of the maps that it uses.
    """

    type: int
    id: int
    tag: bytes
    jited_prog_len: int
    xlated_prog_len: int
    load_time: int
    created_by_uid: int
    map_ids: tuple[int, ...]
    name: str
    ifindex: int
    gpl_compatible: bool
    btf_id: int
    nr_func_info: int
    nr_line_info: int
    run_time_ns: int
    run_cnt: int
    recursion_misses: int
    verified_insns: int
    attach_btf_obj_id: int
    attach_btf_id: int


class BtfInfo(NamedTuple):
    """What the kernel knows about a BTF object.

    Attributes:
        id: its id.
        name: "vmlinux", a module's name, or "" for BTF of programs and maps (5.11; "" before).
        kernel_btf: whether it is the kernel's or a module's (5.11; False before).
        size: bytes of the blob.
    """

    id: int
    name: str
    kernel_btf: bool
    size: int


def _fill(fd: int | HasFileno, info: layout.Info) -> None:
    attr = layout.InfoByFd(bpf_fd=number_of(fd), info_len=sizeof(info), info=addressof(info))
    bpf(Command.OBJ_GET_INFO_BY_FD, attr)


def map_info(fd: int | HasFileno) -> MapInfo:
    """What the kernel knows about a map (4.13)."""
    info = layout.MapInfo()
    _fill(fd, info)
    return MapInfo(
        type=info.type,
        id=info.id,
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        map_flags=info.map_flags,
        name=info.name.decode("utf-8", "replace"),
        ifindex=info.ifindex,
        btf_id=info.btf_id,
        btf_key_type_id=info.btf_key_type_id,
        btf_value_type_id=info.btf_value_type_id,
        btf_vmlinux_id=info.btf_vmlinux_id,
        btf_vmlinux_value_type_id=info.btf_vmlinux_value_type_id,
        map_extra=info.map_extra,
    )


def prog_info(fd: int | HasFileno) -> ProgInfo:
    """What the kernel knows about a program (4.13)."""
    info = layout.ProgInfo()
    _fill(fd, info)
    map_ids: tuple[int, ...] = ()
    if count := info.nr_map_ids:
        ids = (c_uint32 * count)()
        again = layout.ProgInfo(nr_map_ids=count, map_ids=addressof(ids))
        _fill(fd, again)
        map_ids = tuple(ids[: min(count, again.nr_map_ids)])
    return ProgInfo(
        type=info.type,
        id=info.id,
        tag=bytes(info.tag),
        jited_prog_len=info.jited_prog_len,
        xlated_prog_len=info.xlated_prog_len,
        load_time=info.load_time,
        created_by_uid=info.created_by_uid,
        map_ids=map_ids,
        name=info.name.decode("utf-8", "replace"),
        ifindex=info.ifindex,
        gpl_compatible=bool(info.gpl_compatible),
        btf_id=info.btf_id,
        nr_func_info=info.nr_func_info,
        nr_line_info=info.nr_line_info,
        run_time_ns=info.run_time_ns,
        run_cnt=info.run_cnt,
        recursion_misses=info.recursion_misses,
        verified_insns=info.verified_insns,
        attach_btf_obj_id=info.attach_btf_obj_id,
        attach_btf_id=info.attach_btf_id,
    )


def prog_instructions(fd: int | HasFileno) -> bytes:
    """A program's instructions as the verifier left them (CAP_BPF and CAP_PERFMON; b"" where hidden)."""
    info = layout.ProgInfo()
    _fill(fd, info)
    size = info.xlated_prog_len
    if not size:
        return b""
    code = (c_char * size)()
    again = layout.ProgInfo(xlated_prog_len=size, xlated_prog_insns=addressof(code))
    _fill(fd, again)
    return code.raw[: again.xlated_prog_len] if again.xlated_prog_insns else b""


def prog_func_infos(fd: int | HasFileno) -> tuple[tuple[int, int], ...]:
    """Where a program's functions start (5.0; CAP_BPF): (instruction, type id of the function in the program's BTF).

    Instructions count in what the verifier left, as `prog_instructions` gives it.
    """
    return _prog_records(fd, "func_info", _FUNC_INFO)


def prog_line_infos(fd: int | HasFileno) -> tuple[tuple[int, int, int, int], ...]:
    """What a program's instructions were compiled from (5.0; CAP_BPF).

    Returns:
        (instruction, file name, text of the line, line << 10 | column): offsets into the strings of the program's BTF.
    """
    return _prog_records(fd, "line_info", _LINE_INFO)


def _prog_records(fd: int | HasFileno, what: str, record: struct.Struct) -> tuple[Any, ...]:
    """Records that the kernel has of a program, "func_info" or "line_info"."""
    info = layout.ProgInfo()
    _fill(fd, info)
    count = getattr(info, f"nr_{what}")
    if not count:
        return ()
    records = (c_char * (record.size * count))()
    again = layout.ProgInfo(**{f"nr_{what}": count, what: addressof(records), f"{what}_rec_size": record.size})
    _fill(fd, again)
    return tuple(record.iter_unpack(records.raw[: record.size * min(count, getattr(again, f"nr_{what}"))]))


def btf_info(fd: int | HasFileno) -> BtfInfo:
    """What the kernel knows about a BTF object (4.18; its name, and whether it is the kernel's own, since 5.11)."""
    name = (c_char * _MODULE_NAME_SIZE)()
    info = layout.BtfInfo(name=addressof(name), name_len=_MODULE_NAME_SIZE)
    try:
        _fill(fd, info)
    except KernelError as error:
        if error.errno != errno.E2BIG:
            raise
        info = layout.BtfInfo()  # a kernel without names: what it does not know has to be zero
        _fill(fd, info)
    return BtfInfo(info.id, name.value.decode("utf-8", "replace"), bool(info.kernel_btf), info.btf_size)


def btf_data(fd: int | HasFileno) -> bytes:
    """The blob of a BTF object; a module's refers to vmlinux (4.18)."""
    size = btf_info(fd).size
    if size > _BTF_SIZE_LIMIT:
        raise InputError(f"the kernel claims {size} bytes of BTF")
    data = bytearray(size)
    if size:
        view = (c_char * size).from_buffer(data)
        _fill(fd, layout.BtfInfo(btf=addressof(view), btf_size=size))
        del view
    return bytes(data)
