"""What a refusal of the kernel to look up, set, list or delete an element of a map means: asked after it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ebpfpy.sys import MapType
from ebpfpy.sys.refusals import ENOTSUPP

if TYPE_CHECKING:
    from ebpfpy.errors import KernelError

    from .map import Map

_OF_SOCKETS: Final = frozenset({MapType.SOCKMAP, MapType.SOCKHASH, MapType.REUSEPORT_SOCKARRAY, MapType.XSKMAP})
_DESCRIPTORS: Final = {
    MapType.PROG_ARRAY: "a program, of the type of those that use the array or are in it",
    MapType.PERF_EVENT_ARRAY: "a perf event",
    MapType.CGROUP_ARRAY: "a cgroup",
}
"""Types whose values are descriptors: of what."""
_OF_MAPS: Final = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_FIXED: Final = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY})
_DOES: Final = {
    "BPF_MAP_LOOKUP_ELEM": "looks up values of",
    "BPF_MAP_UPDATE_ELEM": "sets values of",
    "BPF_MAP_DELETE_ELEM": "deletes keys of",
    "BPF_MAP_GET_NEXT_KEY": "lists keys of",
}


def hint(error: KernelError, of: Map) -> str | None:
    """What an error number means for a map of that type; None if nothing is known."""
    kind, name, size = of.type, of.type.name, of.spec.value_size
    if error.errno in (ENOTSUPP, errno.EOPNOTSUPP) and error.call in _DOES:
        return f"the kernel {_DOES[error.call]} no map of type {name} for user space"
    if error.errno == errno.E2BIG:
        return f"it is full, or has no such index; it was made for {of.max_entries} entries"
    if error.errno == errno.ENOSPC and kind in _OF_SOCKETS and size != 8:
        return (
            f"what is looked up in a {name} is a socket's cookie of 8 bytes, and value_size is {size}: make the map"
            " with 8"
        )
    if error.errno == errno.ENOTSOCK:
        return f"what goes into a {name} is a socket: give the socket itself, or its descriptor"
    if error.errno in (errno.EBADF, errno.EINVAL) and kind in _DESCRIPTORS and error.call == "BPF_MAP_UPDATE_ELEM":
        return f"a value of a {name} is the descriptor of {_DESCRIPTORS[kind]}"
    if error.errno in (errno.EBADF, errno.EINVAL) and kind in _OF_MAPS and error.call == "BPF_MAP_UPDATE_ELEM":
        inner = of.spec.inner
        like = f": {inner.type.name}, key_size {inner.key_size}, value_size {inner.value_size}" if inner else ""
        return f"a value of a {name} is a map like its template{like}"
    if error.errno == errno.EINVAL and kind in _FIXED and error.call == "BPF_MAP_DELETE_ELEM":
        return f"every key of a {name} is always there: set its value to zero"
    return None
