"""Commands on maps.

These are the bare commands: a key must have exactly the map's `key_size` bytes and a value `value_size`
bytes, because the kernel reads and writes that many, whatever Python thinks the length is. The caller
(`ebpfpy.loader`) knows the sizes and checks.

A map of a per-CPU type has one value for each possible CPU, each rounded up to 8 bytes, side by side:
its `value_size` here is ``(value_size + 7) // 8 * 8 * possible_cpus()``.
"""

from __future__ import annotations

import errno
from ctypes import addressof, c_char
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy.errors import InputError

from .call import bpf, refusal, try_bpf
from .enums import Command, MapFlags
from .fd import Fd, HasFileno, number_of
from .layout import NAME_SIZE, MapBatch, MapCreate, MapElem
from .memlock import without_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

_CURSOR_SIZE = 8
_INTERRUPTIONS = 16


def object_name(name: str) -> bytes:
    """A name as the kernel accepts it: 15 bytes of letters, digits, "_" and ".", others replaced by "_"."""
    plain = name.replace("_", "0").replace(".", "0")
    if plain.isascii() and plain.isalnum():
        return name.encode()[: NAME_SIZE - 1]
    allowed = (char if (char.isascii() and char.isalnum()) or char in "_." else "_" for char in name)
    return "".join(allowed).encode()[: NAME_SIZE - 1]


def map_create(
    *,
    type: int,  # noqa: A002
    key_size: int,
    value_size: int,
    max_entries: int,
    name: str = "",
    flags: int = 0,
    inner_map_fd: int = 0,
    numa_node: int = 0,
    ifindex: int = 0,
    btf_fd: int = 0,
    btf_key_type_id: int = 0,
    btf_value_type_id: int = 0,
    btf_vmlinux_value_type_id: int = 0,
    map_extra: int = 0,
    value_type_btf_obj_fd: int = 0,
    token_fd: int = 0,
) -> Fd:
    """Create a map (BPF_MAP_CREATE; CAP_BPF for most types).

    Args:
        type: a `MapType`.
        key_size: bytes of a key.
        value_size: bytes of a value (of one CPU's, for per-CPU types).
        max_entries: elements; for ring buffers bytes.
        name: shortened to what the kernel keeps (15 bytes; 4.15).
        flags: `MapFlags`.
        inner_map_fd: a template, for maps of maps.
        numa_node: where to allocate; needs ``MapFlags.NUMA_NODE``.
        ifindex: interface to offload to, or 0.
        btf_fd: descriptor of the BTF that describes key and value, or 0.
        btf_key_type_id: type id in that BTF.
        btf_value_type_id: type id in that BTF.
        btf_vmlinux_value_type_id: type id in the kernel's BTF, for struct_ops.
        map_extra: word that the map's type explains (Bloom filter: number of hashes).
        value_type_btf_obj_fd: descriptor of the module's BTF, for struct_ops of modules (6.9).
        token_fd: descriptor of a BPF token that stands in for capabilities, or 0 (6.9).

    Raises:
        InputError: a number that does not fit into its field.
        KernelError: the kernel refused.
    """
    sizes = {"key_size": key_size, "value_size": value_size, "max_entries": max_entries, "map_flags": flags}
    for field, value in sizes.items():
        if not 0 <= value < 1 << 32:
            raise InputError(f"map {name}: {field} {value} does not fit into 32 bits")
    if not -1 <= numa_node < 1 << 32:  # -1: any
        raise InputError(f"map {name}: numa_node {numa_node} is no number of a node")
    if not 0 <= map_extra < 1 << 64:
        raise InputError(f"map {name}: map_extra {map_extra} does not fit into 64 bits")
    attr = MapCreate(
        map_type=type,
        key_size=key_size,
        value_size=value_size,
        max_entries=max_entries,
        map_flags=flags
        | (MapFlags.TOKEN_FD if token_fd else 0)
        | (MapFlags.VTYPE_BTF_OBJ_FD if value_type_btf_obj_fd else 0),
        inner_map_fd=inner_map_fd,
        numa_node=numa_node,
        map_name=object_name(name),
        map_ifindex=ifindex,
        btf_fd=btf_fd,
        btf_key_type_id=btf_key_type_id,
        btf_value_type_id=btf_value_type_id,
        btf_vmlinux_value_type_id=btf_vmlinux_value_type_id,
        map_extra=map_extra,
        value_type_btf_obj_fd=value_type_btf_obj_fd,
        map_token_fd=token_fd,
    )
    subject = f"map {name}"
    result = without_limit(lambda: try_bpf(Command.MAP_CREATE, attr))
    if result < 0:
        raise refusal(-result, Command.MAP_CREATE, subject)
    return Fd(result, subject)


def map_lookup(fd: int | HasFileno, key: bytes | None, value_size: int, *, flags: int = 0) -> bytes | None:
    """The value of a key (BPF_MAP_LOOKUP_ELEM), or None if the map has no such key.

    Args:
        fd: the map.
        key: exactly the map's key size in bytes; None for queues and stacks, whose next value is only looked at.
        value_size: bytes that the kernel will write; for per-CPU maps of all CPUs together.
        flags: BPF_F_LOCK (4) or 0.
    """
    value = (c_char * value_size)()
    attr = MapElem(number_of(fd), key, addressof(value), flags)
    result = try_bpf(Command.MAP_LOOKUP_ELEM, attr)
    if result < 0:
        if result == -errno.ENOENT:
            return None
        raise refusal(-result, Command.MAP_LOOKUP_ELEM)
    return value.raw


def map_may_have(fd: int | HasFileno, value: bytes) -> bool:
    """Whether a Bloom filter may have a value of exactly its value size (BPF_MAP_LOOKUP_ELEM, 5.16).

    Raises:
        KernelError: the kernel refused.
    """
    asked = (c_char * len(value)).from_buffer_copy(value)
    result = try_bpf(Command.MAP_LOOKUP_ELEM, MapElem(number_of(fd), None, addressof(asked)))
    if result < 0 and result != -errno.ENOENT:
        raise refusal(-result, Command.MAP_LOOKUP_ELEM)
    return result >= 0


def map_lookup_and_delete(fd: int | HasFileno, key: bytes | None, value_size: int, *, flags: int = 0) -> bytes | None:
    """Take a value out (BPF_MAP_LOOKUP_AND_DELETE_ELEM).

    Queues and stacks (4.20) have no key: None. Hashes since 5.14. None if there is nothing to take.
    """
    value = (c_char * value_size)()
    attr = MapElem(number_of(fd), key, addressof(value), flags)
    result = try_bpf(Command.MAP_LOOKUP_AND_DELETE_ELEM, attr)
    if result < 0:
        if result == -errno.ENOENT:
            return None
        raise refusal(-result, Command.MAP_LOOKUP_AND_DELETE_ELEM)
    return value.raw


def map_update(fd: int | HasFileno, key: bytes | None, value: bytes, *, flags: int = 0) -> None:
    """Set the value of a key (BPF_MAP_UPDATE_ELEM).

    Args:
        fd: the map.
        key: exactly the map's key size in bytes; None for queues, stacks and Bloom filters.
        value: exactly the map's value size in bytes; for per-CPU maps of all CPUs together.
        flags: 0 any, 1 BPF_NOEXIST, 2 BPF_EXIST, 4 BPF_F_LOCK.

    Raises:
        KernelError: FileExistsError and FileNotFoundError as the flags ask; E2BIG when the map is full.
    """
    bpf(Command.MAP_UPDATE_ELEM, MapElem(number_of(fd), key, value, flags))


def map_delete(fd: int | HasFileno, key: bytes) -> bool:
    """Remove a key (BPF_MAP_DELETE_ELEM); False if the map had no such key."""
    result = try_bpf(Command.MAP_DELETE_ELEM, MapElem(number_of(fd), key))
    if result < 0 and result != -errno.ENOENT:
        raise refusal(-result, Command.MAP_DELETE_ELEM)
    return result == 0


def map_next_key(fd: int | HasFileno, key: bytes | None, key_size: int) -> bytes | None:
    """The key after `key`, the first for None (BPF_MAP_GET_NEXT_KEY); None after the last.

    A hash starts again from its first key when `key` has been deleted meanwhile.
    """
    following = (c_char * key_size)()
    result = try_bpf(Command.MAP_GET_NEXT_KEY, MapElem(number_of(fd), key, addressof(following)))
    if result < 0:
        if result == -errno.ENOENT:
            return None
        raise refusal(-result, Command.MAP_GET_NEXT_KEY)
    return following.raw


def map_freeze(fd: int | HasFileno, *, subject: str | None = None) -> None:
    """Forbid changes from user space for good (BPF_MAP_FREEZE, 5.2); EBUSY while mapped writable."""
    bpf(Command.MAP_FREEZE, MapElem(number_of(fd)), subject=subject)


class Batch(NamedTuple):
    """One answer of a batch command.

    Attributes:
        elements: how many it holds.
        keys, values: their bytes, side by side, in the same order.
        cursor: to be handed to the next call; None when this was the last.
    """

    elements: int
    keys: bytes
    values: bytes
    cursor: bytes | None


def map_lookup_batch(
    fd: int | HasFileno,
    *,
    key_size: int,
    value_size: int,
    count: int,
    cursor: bytes | None = None,
    elem_flags: int = 0,
    delete: bool = False,
) -> Batch:
    """Up to `count` elements at once (BPF_MAP_LOOKUP_BATCH, 5.6).

    Args:
        fd: a hash, array or LPM trie, per-CPU ones too where the kernel has it (5.13).
        key_size: bytes of a key.
        value_size: bytes of a value; for per-CPU maps of all CPUs together.
        count: room, in elements. A hash answers whole buckets: ENOSPC if the next one does not fit.
        cursor: what the last answer said; None to start.
        elem_flags: BPF_F_LOCK (4) or 0.
        delete: also remove them (BPF_MAP_LOOKUP_AND_DELETE_BATCH; hashes only).

    Raises:
        KernelError: ENOSPC: ask again with a larger `count`. EINVAL or ENOTSUPP: not for this type.
    """
    command = Command.MAP_LOOKUP_AND_DELETE_BATCH if delete else Command.MAP_LOOKUP_BATCH
    keys = (c_char * (key_size * count))()
    values = (c_char * (value_size * count))()
    following = (c_char * max(key_size, _CURSOR_SIZE))()
    attr = MapBatch(
        in_batch=cursor,
        out_batch=addressof(following),
        keys=addressof(keys),
        values=addressof(values),
        count=count,
        map_fd=number_of(fd),
        elem_flags=elem_flags,
    )
    result = -errno.EINTR
    for _ in range(_INTERRUPTIONS):
        attr.count = count
        result = try_bpf(command, attr)
        if result != -errno.EINTR or attr.count:
            break
    if result < 0 and result != -errno.ENOENT and not (result == -errno.EINTR and attr.count):
        raise refusal(-result, command)
    found = min(attr.count, count)
    return Batch(
        found,
        memoryview(keys).cast("B")[: found * key_size].tobytes(),
        memoryview(values).cast("B")[: found * value_size].tobytes(),
        None if result == -errno.ENOENT else following.raw,
    )


def map_batches(
    fd: int | HasFileno,
    *,
    key_size: int,
    value_size: int,
    count: int = 4096,
    elem_flags: int = 0,
    delete: bool = False,
) -> Iterator[Batch]:
    """All elements of a map, batch by batch; a bucket that does not fit doubles the room.

    Args: as of `map_lookup_batch`.

    Raises:
        KernelError: the map's type or the kernel has no batch commands (EINVAL, ENOTSUPP), and others.
    """
    cursor = None
    while True:
        try:
            batch = map_lookup_batch(
                fd,
                key_size=key_size,
                value_size=value_size,
                count=count,
                cursor=cursor,
                elem_flags=elem_flags,
                delete=delete,
            )
        except OSError as error:
            if error.errno != errno.ENOSPC or count >= 1 << 30:
                raise
            count *= 2
            continue
        if batch.elements:
            yield batch
        if batch.cursor is None:
            return
        cursor = batch.cursor


def map_update_batch(fd: int | HasFileno, keys: bytes, values: bytes, *, count: int, elem_flags: int = 0) -> None:
    """Set `count` elements at once (BPF_MAP_UPDATE_BATCH, 5.6); keys and values side by side."""
    attr = MapBatch(keys=keys, values=values, count=count, map_fd=number_of(fd), elem_flags=elem_flags)
    bpf(Command.MAP_UPDATE_BATCH, attr)


def map_delete_batch(fd: int | HasFileno, keys: bytes, *, count: int) -> None:
    """Remove `count` keys at once (BPF_MAP_DELETE_BATCH, 5.6); keys side by side."""
    bpf(Command.MAP_DELETE_BATCH, MapBatch(keys=keys, count=count, map_fd=number_of(fd)))
