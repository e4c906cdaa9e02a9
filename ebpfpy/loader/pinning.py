"""Maps that are shared by name: reuse what is pinned, if it is what the object asks for.

What is compared is what the kernel made of the blueprint: a ring buffer's size is whole pages, a perf buffer has an
entry for each CPU, and the maps of devices are read-only for programs although nobody asked for that.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import InputError
from ebpfpy.sys import MapFlags, MapType

from .creation import create_map, real_flags, real_max_entries
from .map import Map

if TYPE_CHECKING:
    from ebpfpy.elf.spec import MapSpec

    from .objectbtf import ObjectTypes

_READ_ONLY_FOR_PROGRAMS = frozenset({MapType.DEVMAP, MapType.DEVMAP_HASH})
_ATTEMPTS = 8


def shared_map(path: str, spec: MapSpec, types: ObjectTypes | None, *, token_fd: int = 0) -> tuple[Map, bool]:
    """The map pinned at `path`; where nothing is, a new one that is then pinned there.

    Loaders that do this at the same time get one map: who comes second takes the first one's.

    Returns:
        The map, and whether it was made and pinned here.

    Raises:
        InputError: what is pinned there differs from the blueprint, or is no map.
        KernelError: the kernel refused.
    """
    for attempt in range(_ATTEMPTS):
        found = pinned_map(path, spec)
        if found is not None:
            return found, False
        created = create_map(spec, types, token_fd=token_fd)
        try:
            created.pin(path)
        except FileExistsError:
            created.close()
            if attempt == _ATTEMPTS - 1:
                raise
        except BaseException:
            created.close()
            raise
        else:
            return created, True
    raise AssertionError("unreachable")


def pinned_map(path: str, spec: MapSpec) -> Map | None:
    """The map pinned at `path`, None if nothing is.

    Raises:
        InputError: it differs from the blueprint, and the message lists each difference; or it is no map.
    """
    try:
        fd = sys.obj_get(path)
    except FileNotFoundError:
        return None
    try:
        _check(fd, path, spec)
    except BaseException:
        fd.close()
        raise
    return Map(fd, spec)


def _check(fd: sys.Fd, path: str, spec: MapSpec) -> None:
    kind = _kind(fd)
    if kind not in ("bpf-map", ""):
        raise InputError(f"map {spec.name}: what is pinned at {path} is no map but a {kind}")
    info = sys.map_info(fd)
    flags = real_flags(spec)
    if spec.type in _READ_ONLY_FOR_PROGRAMS:
        flags |= info.map_flags & MapFlags.RDONLY_PROG
    pairs = {
        "type": (info.type, int(spec.type)),
        "key_size": (info.key_size, spec.key_size),
        "value_size": (info.value_size, spec.value_size),
        "max_entries": (info.max_entries, real_max_entries(spec)),
    }
    if info.map_extra:  # 0 also where the kernel does not say
        pairs["map_extra"] = (info.map_extra, spec.map_extra)
    differences = [f"{field} is {there} there, {here} here" for field, (there, here) in pairs.items() if there != here]
    if info.map_flags != flags:
        differences.append(f"flags are {info.map_flags:#x} there, {flags:#x} here")
    if differences:
        raise InputError(f"map {spec.name}: the one pinned at {path} differs: {'; '.join(differences)}")


def _kind(fd: sys.Fd) -> str:
    """What a descriptor is of: "bpf-map", "bpf-prog", "bpf_link"; "" where /proc does not say."""
    try:
        return os.readlink(f"/proc/self/fd/{fd.fileno()}").removeprefix("anon_inode:").strip("[]")
    except OSError:
        return ""
