"""Maps that are shared by name: reuse what is pinned, if it is what the object asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import InputError

from .map import Map

if TYPE_CHECKING:
    from ebpfpy.elf.spec import MapSpec

_COMPARED = ("type", "key_size", "value_size", "max_entries")


def pinned_map(path: str, spec: MapSpec) -> Map | None:
    """The map pinned at `path`, None if nothing is.

    Raises:
        InputError: it differs from the blueprint; the message lists each difference.
    """
    try:
        fd = sys.obj_get(path)
    except FileNotFoundError:
        return None
    try:
        info = sys.map_info(fd)
        have = {
            "type": info.type,
            "key_size": info.key_size,
            "value_size": info.value_size,
            "max_entries": info.max_entries,
        }
        differences = [
            f"{field} is {have[field]} there, {int(getattr(spec, field))} here"
            for field in _COMPARED
            if have[field] != getattr(spec, field)
        ]
        if info.map_flags != spec.flags:
            differences.append(f"flags are {info.map_flags:#x} there, {spec.flags:#x} here")
        if differences:
            raise InputError(f"map {spec.name}: the one pinned at {path} differs: {'; '.join(differences)}")
    except BaseException:
        fd.close()
        raise
    return Map(fd, spec)
