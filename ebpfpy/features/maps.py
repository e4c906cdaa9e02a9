"""Types of maps, and the flags that they can be created with."""

from __future__ import annotations

import errno
import mmap
from functools import cache
from typing import Final

from ebpfpy import sys
from ebpfpy.errors import InputError, KernelError
from ebpfpy.sys import MapFlags, MapType, since
from ebpfpy.sys.refusals import ENOTSUPP

from .asking import about, member_of, name_of, takes_map
from .support import Support

_PAIR: Final = {"key_size": 4, "value_size": 4, "max_entries": 1}
_NO_KEY: Final = {"key_size": 0, "value_size": 4, "max_entries": 1}
_RING: Final = {"key_size": 0, "value_size": 0, "max_entries": mmap.PAGESIZE}
_ARENA: Final = {"key_size": 0, "value_size": 0, "max_entries": 1, "flags": MapFlags.MMAPABLE}
_CGROUP: Final = {"key_size": 16, "value_size": 4, "max_entries": 0}
_SHAPES: Final[dict[int, dict[str, int]]] = {
    MapType.LPM_TRIE: {"key_size": 8, "value_size": 4, "max_entries": 1, "flags": MapFlags.NO_PREALLOC},
    MapType.STACK_TRACE: {"key_size": 4, "value_size": 8, "max_entries": 1},
    MapType.CGROUP_STORAGE: _CGROUP,
    MapType.PERCPU_CGROUP_STORAGE: _CGROUP,
    MapType.QUEUE: _NO_KEY,
    MapType.STACK: _NO_KEY,
    MapType.BLOOM_FILTER: _NO_KEY,
    MapType.RINGBUF: _RING,
    MapType.USER_RINGBUF: _RING,
    MapType.ARENA: _ARENA,
    MapType.INSN_ARRAY: {"key_size": 4, "value_size": 16, "max_entries": 1},
    MapType.RHASH: {**_PAIR, "flags": MapFlags.NO_PREALLOC},
}
_LOCAL_STORAGE: Final = frozenset(
    {MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE, MapType.CGRP_STORAGE}
)


def shape_of(type_: int) -> dict[str, int] | None:
    """What the kernel takes for a map of a type: sizes and flags; None for types that need types of BTF besides."""
    if type_ in _LOCAL_STORAGE or type_ == MapType.STRUCT_OPS:
        return None
    return _SHAPES.get(type_, _PAIR)


@cache
def have_map_type(type: MapType | int) -> Support:  # noqa: A002
    """Whether maps of a type can be created (CAP_BPF; CAP_NET_ADMIN for some types on older kernels).

    Raises:
        KernelError: no answer, for one because the process may not create maps (PermissionError).
    """
    type = member_of(MapType, type)  # noqa: A001
    feature = name_of("map type", type)
    with about(feature):
        return Support(feature, _has_map_type(type), since.MAP_TYPES.get(type))


def _has_map_type(type_: int) -> bool:
    if type_ in _LOCAL_STORAGE:
        return _takes_local_storage(type_, 0)
    if type_ in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS):
        with sys.map_create(type=MapType.ARRAY, name="probe", **_PAIR) as inner:
            return takes_map(type=type_, inner_map_fd=inner.fileno(), **_PAIR)
    if type_ == MapType.STRUCT_OPS:
        try:
            return takes_map(type=type_, btf_vmlinux_value_type_id=1, key_size=4, value_size=0, max_entries=1)
        except KernelError as error:
            if error.errno == ENOTSUPP:  # type 1 is no structure of operations
                return True
            raise
    return takes_map(type=type_, **_SHAPES.get(type_, _PAIR))


def _takes_local_storage(type_: int, flags: int) -> bool:
    """Such maps must say what they hold, in BTF."""
    from ebpfpy import btf

    builder = btf.Builder()
    number = builder.add(btf.Int("int", 4, 1))
    try:
        handle = btf.Handle.load(builder.marshal(), name="probe")
    except KernelError as error:
        if error.errno == errno.EINVAL:  # no BTF, so no such map either
            return False
        raise
    with handle:
        return takes_map(
            type=type_,
            key_size=4,
            value_size=4,
            max_entries=0,
            flags=MapFlags.NO_PREALLOC | flags,
            btf_fd=handle.fileno(),
            btf_key_type_id=number,
            btf_value_type_id=number,
        )


_FLAGGED: Final[dict[int, dict[str, int]]] = {
    MapFlags.NO_PREALLOC: {"type": MapType.HASH, **_PAIR},
    MapFlags.NO_COMMON_LRU: {"type": MapType.LRU_HASH, **_PAIR},
    MapFlags.NUMA_NODE: {"type": MapType.HASH, **_PAIR},
    MapFlags.RDONLY: {"type": MapType.HASH, **_PAIR},
    MapFlags.WRONLY: {"type": MapType.HASH, **_PAIR},
    MapFlags.STACK_BUILD_ID: {"type": MapType.STACK_TRACE, "key_size": 4, "value_size": 32, "max_entries": 1},
    MapFlags.ZERO_SEED: {"type": MapType.HASH, **_PAIR},
    MapFlags.RDONLY_PROG: {"type": MapType.ARRAY, **_PAIR},
    MapFlags.WRONLY_PROG: {"type": MapType.ARRAY, **_PAIR},
    MapFlags.MMAPABLE: {"type": MapType.ARRAY, **_PAIR},
    MapFlags.PRESERVE_ELEMS: {"type": MapType.PERF_EVENT_ARRAY, **_PAIR},
    MapFlags.INNER_MAP: {"type": MapType.ARRAY, **_PAIR},
    MapFlags.SEGV_ON_FAULT: {"type": MapType.ARENA, **_ARENA},
    MapFlags.NO_USER_CONV: {"type": MapType.ARENA, **_ARENA},
}


@cache
def have_map_flag(flag: MapFlags | int) -> Support:
    """Whether maps can be created with a flag, on the type of map that had it first (CAP_BPF).

    Raises:
        InputError: not one flag, or one that means nothing without the descriptor that it announces.
        KernelError: no answer.
    """
    flag = MapFlags(flag)
    feature = f"map flag {flag.name or hex(flag)}"
    if flag == MapFlags.CLONE:
        with about(feature):
            return Support(feature, _takes_local_storage(MapType.SK_STORAGE, flag), since.MAP_FLAGS[flag])
    shape = _FLAGGED.get(flag)
    if shape is None:
        raise InputError(f"{feature} cannot be asked for by itself")
    wanted = {**shape, "flags": shape.get("flags", 0) | flag}
    with about(feature):
        return Support(feature, takes_map(**wanted), since.MAP_FLAGS[flag])
