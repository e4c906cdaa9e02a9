"""Maps in the kernel."""

from __future__ import annotations

import errno
import mmap
import threading
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from ebpfpy import sys
from ebpfpy.errors import InputError, KernelError, UnsupportedError, kernel_error
from ebpfpy.sys import MapFlags, MapType

from .codec import Codec, join_per_cpu, split_per_cpu

if TYPE_CHECKING:
    import os

    from ebpfpy.elf.spec import MapSpec

    from .objectbtf import ObjectTypes

_PER_CPU = frozenset(
    {
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_PERCPU_HASH,
        MapType.PERCPU_CGROUP_STORAGE,
    }
)
_ARRAYS = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY})
_BATCHED = frozenset({MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH, MapType.ARRAY})
_BATCH_BYTES = 4 << 20
_ENOTSUPP = 524  # the kernel's own number, which no C library knows
_RINGS = frozenset({MapType.RINGBUF, MapType.USER_RINGBUF})
# types whose kernel code refuses key and value types
_WITHOUT_BTF = _RINGS | {
    MapType.PERF_EVENT_ARRAY,
    MapType.CGROUP_ARRAY,
    MapType.STACK_TRACE,
    MapType.ARRAY_OF_MAPS,
    MapType.HASH_OF_MAPS,
    MapType.DEVMAP,
    MapType.DEVMAP_HASH,
    MapType.CPUMAP,
    MapType.XSKMAP,
    MapType.SOCKMAP,
    MapType.SOCKHASH,
    MapType.PROG_ARRAY,
    MapType.QUEUE,
    MapType.STACK,
    MapType.BLOOM_FILTER,
    MapType.REUSEPORT_SOCKARRAY,
}


class Map(MutableMapping[Any, Any]):
    """A map in the kernel, as a mapping of decoded keys to decoded values.

    Keys and values are decoded by the BTF types of the object, bytes where it names none; see `ebpfpy.loader.codec`.
    Array maps have every index, and nothing can be deleted from them. Iterating goes on through concurrent changes,
    as the
    kernel does: a key that is deleted meanwhile may start the round again.

    Owns its descriptor: close it, or use it as a context manager. Safe to share between threads.

    Args:
        fd: the descriptor, which the map takes over.
        spec: the blueprint: type, sizes, BTF types.
    """

    def __init__(self, fd: sys.Fd, spec: MapSpec) -> None:
        self._fd = fd
        self.spec = spec
        self.name = spec.name
        self._key = Codec(f"key of map {spec.name}", spec.key_size, spec.key)
        self._value = Codec(f"value of map {spec.name}", spec.value_size, spec.value)
        self._per_cpu = spec.type in _PER_CPU
        self._memory: mmap.mmap | None = None
        self._lock = threading.Lock()

    # --- what it is ----------------------------------------------------------------------------

    @property
    def type(self) -> MapType:
        """The map type."""
        return self.spec.type

    @property
    def max_entries(self) -> int:
        """Elements at most; of a ring buffer: bytes."""
        return self.info.max_entries

    @property
    def info(self) -> sys.MapInfo:
        """What the kernel says of it."""
        return sys.map_info(self._fd)

    def fileno(self) -> int:
        """The descriptor; still owned by the map."""
        return self._fd.fileno()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd.closed

    def close(self) -> None:
        """Let go of the map and of its memory. The kernel keeps it while programs use it or a pin exists."""
        with self._lock:
            memory, self._memory = self._memory, None
        try:
            if memory is not None:
                memory.close()
        except BufferError:
            pass  # somebody still looks at it: it goes with the last view
        finally:
            self._fd.close()

    def __enter__(self) -> Map:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._fd.closed else f"fd {self._fd.fileno()}"
        return f"<Map {self.name} {self.type.name} {state}>"

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    # --- raw -----------------------------------------------------------------------------------

    @property
    def _value_bytes(self) -> int:
        """Bytes that the kernel reads or writes for one value."""
        size = self.spec.value_size
        return ((size + 7) & ~7) * sys.possible_cpus() if self._per_cpu else size

    def lookup_bytes(self, key: bytes) -> bytes | None:
        """The raw value of a raw key, None if there is none; per-CPU values side by side."""
        self._check(key, self.spec.key_size, "key")
        try:
            return sys.map_lookup(self._fd, key, self._value_bytes)
        except KernelError as error:
            raise self._named(error) from None

    def update_bytes(self, key: bytes, value: bytes, *, flags: int = 0) -> None:
        """Set a raw value. `flags`: 0 any, 1 only if absent, 2 only if present.

        Raises:
            KernelError: FileExistsError or FileNotFoundError as the flags ask; E2BIG: the map is full.
        """
        self._check(key, self.spec.key_size, "key")
        self._check(value, self._value_bytes, "value")
        try:
            sys.map_update(self._fd, key, value, flags=flags)
        except KernelError as error:
            raise self._named(error) from None

    def _named(self, error: KernelError) -> KernelError:
        """The error, saying which map it is about."""
        error.subject = error.subject or f"map {self.name}"
        if error.errno == errno.E2BIG:
            error.hint = error.hint or f"it is full, or has no such index; it was made for {self.max_entries} entries"
        return error

    def _check(self, data: bytes, size: int, what: str) -> None:
        if len(data) != size:
            raise InputError(f"{what} of map {self.name} has {size} bytes, not {len(data)}")
        if not size:
            raise UnsupportedError(f"map {self.name} of type {self.type.name} has no {what}s to look up")

    # --- as a mapping --------------------------------------------------------------------------

    def _decode(self, data: bytes) -> Any:
        if self._per_cpu:
            parts = split_per_cpu(data, self.spec.value_size, sys.possible_cpus())
            return [self._value.decode(part) for part in parts]
        return self._value.decode(data)

    def __getitem__(self, key: Any) -> Any:
        data = self.lookup_bytes(self._key.encode(key))
        if data is None:
            raise KeyError(key)
        return self._decode(data)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.update_bytes(self._key.encode(key), self._encode(value))

    def _encode(self, value: Any) -> bytes:
        if not self._per_cpu:
            return self._value.encode(value)
        values = list(value) if isinstance(value, (list, tuple)) else [value] * sys.possible_cpus()
        if len(values) != sys.possible_cpus():
            raise InputError(f"map {self.name}: {len(values)} values for {sys.possible_cpus()} CPUs")
        return join_per_cpu([self._value.encode(each) for each in values], self.spec.value_size)

    def __delitem__(self, key: Any) -> None:
        data = self._key.encode(key)
        self._check(data, self.spec.key_size, "key")
        try:
            found = sys.map_delete(self._fd, data)
        except KernelError as error:
            raise self._named(error) from None
        if not found:
            raise KeyError(key)

    def __iter__(self) -> Iterator[Any]:
        for key in self._raw_keys():
            yield self._key.decode(key)

    def _raw_keys(self) -> Iterator[bytes]:
        if not self.spec.key_size:
            raise UnsupportedError(f"map {self.name} of type {self.type.name} has no keys")
        key: bytes | None = None
        while (key := sys.map_next_key(self._fd, key, self.spec.key_size)) is not None:
            yield key

    def items(self) -> Any:
        """Decoded pairs as they are now, fetched in batches where the map's type has them (Linux 5.6).

        A list of pairs where keys are structs, which decode to dicts and cannot be keys of one.
        """
        pairs = list(self._pairs())
        return dict(pairs).items() if self._key_hashable else pairs

    @property
    def _key_hashable(self) -> bool:
        return self.spec.key is None or not isinstance(self._key.decode(bytes(self.spec.key_size)), (dict, list))

    def _pairs(self) -> Iterator[tuple[Any, Any]]:
        sizes = self.spec.key_size, self._value_bytes
        if self.type in _BATCHED:
            try:
                count = max(1, min(4096, self.max_entries, _BATCH_BYTES // max(1, sum(sizes))))
                batches = list(sys.map_batches(self._fd, key_size=sizes[0], value_size=sizes[1], count=count))
            except KernelError as error:
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, _ENOTSUPP):
                    raise
            else:
                for batch in batches:
                    for at in range(batch.elements):
                        key = batch.keys[at * sizes[0] : (at + 1) * sizes[0]]
                        yield self._key.decode(key), self._decode(batch.values[at * sizes[1] : (at + 1) * sizes[1]])
                return
        for key in self._raw_keys():
            data = sys.map_lookup(self._fd, key, sizes[1])
            if data is not None:
                yield self._key.decode(key), self._decode(data)

    def __len__(self) -> int:
        if self.type in _ARRAYS:
            return self.max_entries
        return sum(1 for _ in self._raw_keys())

    def __contains__(self, key: object) -> bool:
        return self.lookup_bytes(self._key.encode(key)) is not None

    # --- memory --------------------------------------------------------------------------------

    def memory(self) -> mmap.mmap:
        """The values of an array map as memory (Linux 5.5; `MapFlags.MMAPABLE`), closed with the map.

        Read-only once the map is frozen.

        Raises:
            UnsupportedError: the map was not made for it.
        """
        with self._lock:
            if self._memory is None:
                if not self.spec.flags & MapFlags.MMAPABLE:
                    raise UnsupportedError(f"map {self.name} cannot be mapped: it lacks the flag MMAPABLE")
                length = ((self.spec.value_size + 7) & ~7) * self.spec.max_entries
                protection = mmap.PROT_READ if self.spec.frozen else mmap.PROT_READ | mmap.PROT_WRITE
                try:
                    self._memory = mmap.mmap(self.fileno(), length, mmap.MAP_SHARED, protection)
                except OSError as error:
                    raise kernel_error(error.errno or 0, "mmap", subject=f"map {self.name}") from None
            return self._memory

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the map a name on a bpf file system, where it outlives the process."""
        sys.obj_pin(self._fd, path)


def create_map(spec: MapSpec, types: ObjectTypes | None) -> Map:
    """Make a map from its blueprint, fill it and freeze it as the blueprint says.

    Args:
        spec: the blueprint.
        types: the object's BTF in the kernel, for key and value types; None without.

    Raises:
        KernelError: the kernel refused.
    """
    wanted: dict[str, Any] = {
        "type": spec.type,
        "key_size": spec.key_size,
        "value_size": spec.value_size,
        "max_entries": real_max_entries(spec),
        "name": spec.name,
        "flags": real_flags(spec),
        "numa_node": spec.numa_node or 0,
        "map_extra": spec.map_extra,
    }
    with_types = _type_attributes(spec, types)
    try:
        fd = sys.map_create(**wanted, **with_types)
    except KernelError as error:
        if not with_types or isinstance(error, PermissionError):
            raise
        fd = sys.map_create(**wanted)  # this kernel's map type, or its BTF, does not go with these types
    created = Map(fd, spec)
    try:
        if spec.contents is not None:
            created.update_bytes(bytes(spec.key_size), bytes(spec.contents))
        if spec.frozen:
            sys.map_freeze(fd, subject=f"map {spec.name}")
    except BaseException:
        created.close()
        raise
    return created


def real_flags(spec: MapSpec) -> int:
    """The flags to create a map with."""
    return spec.flags | (MapFlags.NUMA_NODE if spec.numa_node is not None else 0)


def real_max_entries(spec: MapSpec) -> int:
    """The number of elements (ring buffers: of bytes) to create a map with."""
    if spec.type == MapType.PERF_EVENT_ARRAY and not spec.max_entries:
        return sys.possible_cpus()
    if spec.type in _RINGS:  # whole pages, a power of two: sizes are chosen on machines with other pages
        size = mmap.PAGESIZE
        while size < spec.max_entries:
            size *= 2
        return size
    return spec.max_entries


def _type_attributes(spec: MapSpec, types: ObjectTypes | None) -> dict[str, Any]:
    if types is None or spec.value is None or spec.type in _WITHOUT_BTF:
        return {}
    owner = types.spec
    if spec.value.spec is not owner or (spec.key is not None and spec.key.spec is not owner):
        return {}  # types from elsewhere, in a blueprint that was edited: their ids mean something else
    return {
        "btf_fd": types.handle.fileno(),
        "btf_key_type_id": owner.type_id(spec.key) if spec.key is not None else 0,
        "btf_value_type_id": owner.type_id(spec.value),
    }
