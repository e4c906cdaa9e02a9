"""Why the kernel refused a map: looked for after the refusal, never before.

First whether the kernel has the map's type at all, what that type demands and the blueprint lacks, and whether the
kernel has the flags. Where that finds nothing, the kernel is asked again, each time for a map of that type that is
known to be in order but for one thing, which is as the blueprint says: what it does not take then is the reason, and
where it takes each by itself, it is their combination. That needs no knowledge of the type.
"""

from __future__ import annotations

import errno
import mmap
import os
from typing import TYPE_CHECKING, Any

from ebpfpy import btf, features, sys
from ebpfpy.errors import EbpfError, InputError, KernelError, UnsupportedError
from ebpfpy.features.maps import shape_of
from ebpfpy.sys import MapFlags, MapType
from ebpfpy.sys.refusals import UNKNOWN
from ebpfpy.sys.rights import lacking

from .creation import RINGS, real_max_entries
from .limits import over_the_limit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ebpfpy.elf.spec import MapSpec

_STACK = 512  # bytes: keys of hashes have to fit onto the stack of a program
_ARENA = 1 << 32  # bytes: SZ_4G in kernel/bpf/arena.c
_LARGE = 1 << 15  # bytes: from here on, it depends on type and kernel
_ASKED = 1 << 24  # bytes: no larger map is made only to find out
_LOCAL_STORAGE = frozenset({MapType.SK_STORAGE, MapType.INODE_STORAGE, MapType.TASK_STORAGE, MapType.CGRP_STORAGE})
_CGROUP_STORAGE = frozenset({MapType.CGROUP_STORAGE, MapType.PERCPU_CGROUP_STORAGE})
_OF_THE_NETWORK = frozenset(
    {MapType.DEVMAP, MapType.DEVMAP_HASH, MapType.SOCKMAP, MapType.SOCKHASH, MapType.XSKMAP}
)  # map_create() in kernel/bpf/syscall.c
_WITHOUT_ENTRIES = _LOCAL_STORAGE | _CGROUP_STORAGE
_WITHOUT_KEYS = frozenset({MapType.QUEUE, MapType.STACK, MapType.BLOOM_FILTER}) | RINGS
_INDEXED = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY, MapType.PROG_ARRAY, MapType.ARRAY_OF_MAPS})


def reason(spec: MapSpec, wanted: Mapping[str, Any], error: KernelError) -> str | None:
    """Why the kernel refused a map, None where that cannot be said.

    Args:
        spec: the blueprint.
        wanted: what `sys.map_create` was told.
        error: the refusal.
    """
    if isinstance(error, PermissionError):
        return _permission(spec)
    if error.errno == errno.ENOMEM:
        entry = spec.key_size + spec.value_size
        return f"there is no memory for {real_max_entries(spec)} entries of {entry} bytes"
    if error.errno == errno.E2BIG and (spec.key_size > _STACK or spec.value_size >= _LARGE):
        return f"key or value is too large: key_size is {spec.key_size}, value_size {spec.value_size}"
    if error.errno not in UNKNOWN:
        return None
    try:
        found = _missing_type(spec) or _demand(spec) or _missing_flag(spec) or _by_asking(wanted)
        if found is None and error.errno == errno.E2BIG:
            return (
                f"{real_max_entries(spec)} entries are too many, or this kernel does not know an attribute that was set"
            )
        return found
    except EbpfError:  # the kernel does not say: neither do we
        return None


def _permission(spec: MapSpec) -> str | None:
    needed = ["CAP_BPF", *(["CAP_NET_ADMIN"] if spec.type in _OF_THE_NETWORK else [])]
    missing = lacking(*needed)
    if missing and missing != ["CAP_BPF"]:
        return f"a {spec.type.name} needs {' and '.join(needed)}: this process lacks {' and '.join(missing)}"
    return None if missing else over_the_limit("the map")


def _demand(spec: MapSpec) -> str | None:
    """What the map's type demands and the blueprint lacks."""
    kind, name = spec.type, spec.type.name
    without_entries = kind in _WITHOUT_ENTRIES
    if without_entries != (real_max_entries(spec) == 0):
        return f"a {name} has no max_entries: it must be 0" if without_entries else "max_entries is 0"
    if kind in _WITHOUT_KEYS and spec.key_size:
        return f"a {name} has no keys, but key_size is {spec.key_size}"
    if kind not in _WITHOUT_KEYS and kind != MapType.ARENA and not spec.key_size:
        return "key_size is 0"
    if kind in _INDEXED and spec.key_size != 4:
        return f"the keys of a {name} are 4 bytes, not {spec.key_size}"
    if (kind in (MapType.LPM_TRIE, MapType.RHASH) or kind in _LOCAL_STORAGE) and not spec.flags & MapFlags.NO_PREALLOC:
        return f"a {name} needs the flag BPF_F_NO_PREALLOC"
    if kind in _LOCAL_STORAGE and spec.value is None:
        return f"a {name} needs BTF types of key and value"
    if kind == MapType.ARENA and (demand := _arena_demand(spec)):
        return demand
    if not spec.value_size and kind not in RINGS and kind != MapType.ARENA:
        return "value_size is 0"
    if spec.numa_node is not None and not os.path.isdir(f"/sys/devices/system/node/node{spec.numa_node}"):
        return f"this machine has no NUMA node {spec.numa_node}"
    if spec.map_extra and kind not in (MapType.BLOOM_FILTER, MapType.ARENA, MapType.RHASH):
        return f"map_extra of a {name} must be 0"
    if unknown := spec.flags & ~sum(MapFlags):
        return f"flags {unknown:#x} are not known"
    return None


def _arena_demand(spec: MapSpec) -> str | None:
    if not spec.flags & MapFlags.MMAPABLE:
        return "an ARENA needs the flag BPF_F_MMAPABLE"
    if spec.key_size or spec.value_size:
        return "an ARENA has neither keys nor values: key_size and value_size must be 0"
    if spec.map_extra % mmap.PAGESIZE:
        return f"map_extra, an ARENA's address, is no multiple of a page: {spec.map_extra:#x}"
    if spec.max_entries * mmap.PAGESIZE > _ARENA:
        return f"an ARENA has 4 GiB at most, not {spec.max_entries} pages"
    return None


def _missing_type(spec: MapSpec) -> str | None:
    try:
        features.have_map_type(spec.type).require()
    except UnsupportedError as error:
        return str(error)
    return None


def _missing_flag(spec: MapSpec) -> str | None:
    for flag in MapFlags:
        if flag & spec.flags:
            try:
                features.have_map_flag(flag).require()
            except UnsupportedError as error:
                return str(error)
            except InputError:  # one that cannot be asked for
                continue
    return None


def _by_asking(wanted: Mapping[str, Any]) -> str | None:
    """What of a map the kernel does not take, found by asking it; None if that cannot be asked."""
    kind = MapType(wanted["type"]).name
    good = shape_of(wanted["type"])
    if good is None or not _takes(wanted, good):
        return None
    refused: list[str] = []
    taken: list[str] = []
    for what, instead in _differences(wanted, good):
        if _size(good | instead) > _ASKED:
            return None
        (taken if _takes(wanted, good | instead) else refused).append(what)
    if refused:
        sizes = ", ".join(f"{name} {good[name]}" for name in _SIZES if any(what.startswith(name) for what in refused))
        return f"map type {kind} cannot have {' or '.join(refused)}" + (f", but {sizes}" if sizes else "")
    if len(taken) > 1:
        return f"map type {kind} can have {' and '.join(taken)} each by itself, but not together"
    return None


_SIZES = ("key_size", "value_size", "max_entries")


def _differences(wanted: Mapping[str, Any], good: Mapping[str, int]) -> Iterator[tuple[str, dict[str, int]]]:
    """What of a map is not as in one that is in order: in words, and as arguments."""
    for name in _SIZES:
        if wanted[name] != good[name]:
            yield f"{name} {wanted[name]}", {name: wanted[name]}
    before = good.get("flags", 0)
    for flag in MapFlags:
        if flag & wanted["flags"] & ~before:
            if flag == MapFlags.NUMA_NODE:
                yield f"numa_node {wanted['numa_node']}", {"flags": before | flag, "numa_node": wanted["numa_node"]}
            else:
                yield f"the flag {flag.name}", {"flags": before | flag}
    if wanted["map_extra"]:
        yield f"map_extra {wanted['map_extra']}", {"map_extra": wanted["map_extra"]}


def _size(arguments: Mapping[str, int]) -> int:
    entry = arguments["key_size"] + arguments["value_size"] or 1
    return entry * max(1, arguments["max_entries"]) * sys.possible_cpus()


def _takes(wanted: Mapping[str, Any], arguments: Mapping[str, int]) -> bool:
    kept = {name: wanted[name] for name in ("type", "token_fd", "inner_map_fd") if name in wanted}
    try:
        sys.map_create(**kept, **arguments, name="probe").close()
    except KernelError:
        return False
    return True


def knows_no_links() -> bool:
    """Whether the kernel's types lack the flag for links of struct_ops."""
    try:
        return not btf.load_kernel_spec().string_offsets(b"BPF_F_LINK")
    except EbpfError:
        return False
