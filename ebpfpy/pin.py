"""Pinned objects: maps, programs and links that have a name in a BPF file system and live as long as it.

What pins is the object itself (`Map.pin`, `Program.pin`, `Link.pin`; `MapOptions.pin_path` for all maps of a collection
that ask for it); ``os.unlink`` takes a pin away. Here they are found and opened again, by another process or later.

A pin says nothing of its kind before it is opened, and the descriptor that comes back answers only the questions for
its own kind. So the kernel is asked what it opened: the name that it gave the descriptor, in /proc/self/fd.

What the kernel no longer knows cannot be restored: names are cut to 15 bytes, and of a program neither the section nor
the attach type is kept.
"""

from __future__ import annotations

import errno
import os
import stat
import sys as _sys
from typing import TYPE_CHECKING, Literal, NamedTuple

from . import sys
from .elf.spec import MapSpec, ProgramSpec
from .errors import InputError, KernelError, UnsupportedError, kernel_error
from .link.opening import adopt
from .loader import Map, Program
from .sys import MapFlags
from .sys.bpffs import is_bpf_file_system
from .sys.enums import map_type, program_type
from .sys.paths import path_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from . import btf
    from .link import Link

Kind = Literal["map", "prog", "link"]

# what the kernel calls its descriptors; it spells "bpf-link" and "bpf_link"
_KINDS: dict[str, Kind] = {"bpf-map": "map", "bpf-prog": "prog", "bpf-link": "link"}


class Pin(NamedTuple):
    """A pinned object and where it was found.

    Attributes:
        path: the pin.
        object: what is pinned; the caller closes it.
    """

    path: str
    object: Map | Program | Link


def load(path: str | os.PathLike[str], *, read_only: bool = False) -> Map | Program | Link:
    """Open a pinned object (Linux 4.4; links 5.7).

    Needs the file's permissions, and CAP_BPF where unprivileged use of bpf(2) is switched off.

    Maps decode their keys and values as the program's own object did, if the process may read the map's BTF
    (CAP_SYS_ADMIN); otherwise keys and values are bytes.

    Args:
        path: the pin.
        read_only: for maps, get a descriptor that cannot write; the kernel does not map the memory of such a one.
            Programs are the same either way; links refuse it.

    Returns:
        A map, program or link: `isinstance` or ``match`` tells. The caller closes it.

    Raises:
        InputError: there is something at the path, but no pinned object.
        KernelError: FileNotFoundError: there is nothing. PermissionError: its permissions forbid it.
        UnsupportedError: an object of a kind that this library does not know; of maps and programs, any type is fine.
    """
    path = path_text(path, "a pin")
    try:
        fd = sys.obj_get(path, flags=MapFlags.RDONLY if read_only else 0)
    except KernelError as error:
        _explain(path, error, read_only=read_only)
        raise
    try:
        kind = kind_of(fd)
        if kind == "map":
            return Map(fd, _map_spec(fd, os.path.basename(path)))
        if kind == "prog":
            return Program(fd, _program_spec(fd, os.path.basename(path)), None, (), "")
        return adopt(fd, f"pinned at {path}")
    except BaseException:
        fd.close()
        raise


def walk(directory: str | os.PathLike[str]) -> Iterator[Pin]:
    """Every pinned object below a directory, opened one by one in the order of the paths.

    Directories are entered, symbolic links are not followed, and what goes away meanwhile is left out. A kernel may pin
    objects of its own (``maps.debug``, ``progs.debug``): they come as links.

    Raises:
        InputError: the directory is in no BPF file system.
        KernelError: a directory cannot be read, or as `load` raises it.
    """
    directory = path_text(directory, "a directory of pins")
    try:
        device = os.stat(directory).st_dev
        if not is_bpf_file_system(directory):
            raise InputError(f"{directory} is in no BPF file system")
        yield from _walk(directory, device)
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        raise kernel_error(error.errno or errno.EIO, "walk", subject=error.filename or directory) from error


def _walk(directory: str, device: int) -> Iterator[Pin]:
    with os.scandir(directory) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        try:
            if entry.is_dir(follow_symlinks=False):
                if entry.stat(follow_symlinks=False).st_dev == device:
                    yield from _walk(entry.path, device)
                continue
            if not entry.is_file(follow_symlinks=False):
                continue
            opened = load(entry.path)
        except FileNotFoundError:  # gone since the directory was read
            continue
        yield Pin(entry.path, opened)


def kind_of(fd: int | sys.HasFileno) -> Kind:
    """What a descriptor of bpf(2) stands for.

    Raises:
        UnsupportedError: it is no map, program or link.
        KernelError: /proc is not there.
    """
    place = f"/proc/self/fd/{sys.number_of(fd)}"
    try:
        name = os.readlink(place)
    except OSError as error:
        raise kernel_error(error.errno or errno.EIO, "readlink", subject=place) from error
    kind = _KINDS.get(name.removeprefix("anon_inode:").strip("[]").replace("_", "-"))
    if kind is None:
        raise UnsupportedError(f"{name} is no map, program or link", feature=name)
    return kind


def _explain(path: str, error: KernelError, *, read_only: bool) -> None:
    """Raise a better error than the kernel's EACCES or EINVAL, if there is one."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return
    if stat.S_ISDIR(mode):
        raise InputError(f"{path} is a directory: `walk` opens what is pinned in it") from error
    if error.errno in (errno.EACCES, errno.EINVAL, errno.EPERM) and not is_bpf_file_system(path):
        raise InputError(f"{path} is no pinned object: it is in no BPF file system") from error
    if error.errno == errno.EINVAL and read_only:
        error.hint = "links cannot be opened read-only"


# --- blueprints from what the kernel says ---------------------------------------------------------------


def _map_spec(fd: sys.Fd, file_name: str) -> MapSpec:
    info = sys.map_info(fd)
    name = info.name or file_name
    key, value = _map_types(info)
    return MapSpec(
        name=name,
        type=map_type(info.type),
        key_size=info.key_size,
        value_size=info.value_size,
        max_entries=info.max_entries,
        flags=info.map_flags,
        key=key,
        value=value,
        map_extra=info.map_extra,
        frozen=_is_frozen(fd),
    )


def _map_types(info: sys.MapInfo) -> tuple[btf.Type | None, btf.Type | None]:
    """The BTF types of key and value, None where there are none or may not be read."""
    if not info.btf_id or not (info.btf_key_type_id or info.btf_value_type_id):
        return None, None
    from . import btf

    try:
        with btf.Handle.from_id(info.btf_id) as handle:
            if handle.info.kernel:
                return None, None
            types = handle.spec()
    except PermissionError:
        return None, None
    ids = (info.btf_key_type_id, info.btf_value_type_id)
    key, value = (types.type_by_id(number) if number else None for number in ids)
    return key, value


def _is_frozen(fd: sys.Fd) -> bool:
    """Whether the map was frozen; only /proc says (5.2)."""
    try:
        with open(f"/proc/self/fdinfo/{fd.fileno()}", encoding="ascii", errors="replace") as file:
            return any(line.split() == ["frozen:", "1"] for line in file)
    except OSError:
        return False


def _program_spec(fd: sys.Fd, file_name: str) -> ProgramSpec:
    info = sys.prog_info(fd)
    name = info.name or file_name
    return ProgramSpec(
        name=name,
        section="",
        type=program_type(info.type),
        attach_type=None,
        license="GPL" if info.gpl_compatible else "",
        byte_order=_sys.byteorder,
    )
