"""Maps in the kernel."""

from __future__ import annotations

import ctypes
import errno
import mmap
import threading
from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, Any

from ebpfpy import sys
from ebpfpy.errors import InputError, KernelError, UnsupportedError, kernel_error
from ebpfpy.sys import MapFlags, MapType
from ebpfpy.sys.refusals import ENOTSUPP

from .codec import Codec, join_per_cpu, split_per_cpu

if TYPE_CHECKING:
    import os

    from ebpfpy.elf.spec import MapSpec

_PER_CPU = frozenset(
    {
        MapType.PERCPU_HASH,
        MapType.PERCPU_ARRAY,
        MapType.LRU_PERCPU_HASH,
        MapType.PERCPU_CGROUP_STORAGE,
    }
)
_OF_OBJECTS = frozenset({MapType.PROG_ARRAY, MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_ARRAYS = frozenset({MapType.ARRAY, MapType.PERCPU_ARRAY})
_BATCHED = frozenset({MapType.HASH, MapType.LRU_HASH, MapType.PERCPU_HASH, MapType.LRU_PERCPU_HASH, MapType.ARRAY})
_BATCH_BYTES = 4 << 20


class Map(MutableMapping[Any, Any]):
    """A map in the kernel, as a mapping of decoded keys to decoded values.

    Keys and values are decoded by the BTF types of the object, bytes where it names none; see `ebpfpy.loader.codec`.
    Array maps have every index, and nothing can be deleted from them. Iterating goes on through concurrent changes,
    as the
    kernel does: a key that is deleted meanwhile may start the round again.

    What a map keeps as a descriptor (maps in maps, programs in program arrays, sockets, cgroups; keys that are
    processes or sockets) is given as the object itself, or anything with a ``fileno()``; read back it is the kernel's
    id.

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
        self._value = Codec(
            f"value of map {spec.name}",
            spec.value_size,
            spec.value,
            number=spec.type in _OF_OBJECTS,
            refuse=self._refuse_value,
        )
        self._per_cpu = spec.type in _PER_CPU
        self._memory: mmap.mmap | memoryview | None = None
        self._lock = threading.Lock()
        self._struct_ops_value: bytes | None = None

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
            if isinstance(memory, memoryview):
                memory.release()
            elif memory is not None:
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
        key = self._check(key, self.spec.key_size, "key")
        try:
            return sys.map_lookup(self._fd, key, self._value_bytes)
        except KernelError as error:
            raise self._named(error) from None

    def update_bytes(self, key: bytes, value: bytes, *, flags: int = 0) -> None:
        """Set a raw value. `flags`: 0 any, 1 only if absent, 2 only if present.

        Raises:
            KernelError: FileExistsError or FileNotFoundError as the flags ask; E2BIG: the map is full.
        """
        key = self._check(key, self.spec.key_size, "key")
        value = self._check(value, self._value_bytes, "value")
        self._check_flags(flags)
        try:
            sys.map_update(self._fd, key, value, flags=flags)
        except KernelError as error:
            raise self._named(error) from None

    def _named(self, error: KernelError) -> KernelError:
        """The error, saying which map it is about."""
        error.subject = error.subject or f"map {self.name}"
        if not isinstance(error, (FileExistsError, FileNotFoundError)):  # which callers ask for
            from . import maphints

            error.hint = maphints.hint(error, self) or error.hint
        return error

    def _check(self, data: object, size: int, what: str) -> bytes:
        """The bytes, if there are as many as the map's keys, or values, have."""
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise InputError(f"{what} of map {self.name} is bytes here, not {type(data).__name__}")
        data = bytes(data)  # the same object, mostly
        if len(data) != size:
            raise InputError(f"{what} of map {self.name} has {size} bytes, not {len(data)}")
        if not size:
            raise UnsupportedError(f"map {self.name} of type {self.type.name} has no {what}s to look up")
        return data

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

    def _refuse_value(self, value: object) -> None:
        """Refuse a map or program as a value of a map that holds none."""
        from .program import Program

        if isinstance(value, Map):
            takes, what = self.type in (MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS), f"map {value.name}"
        elif isinstance(value, Program):
            takes, what = self.type == MapType.PROG_ARRAY, f"program {value.name}"
        else:
            return
        if not takes:
            raise InputError(
                f"map {self.name} of type {self.type.name} holds no {what.partition(' ')[0]}s: {what} cannot be a value"
                " of it; its id, info.id, can be in any map"
            )

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
        if not self._delete(data):
            raise KeyError(key)

    def _delete(self, key: bytes) -> bool:
        try:
            return sys.map_delete(self._fd, key)
        except KernelError as error:
            raise self._named(error) from None

    def __iter__(self) -> Iterator[Any]:
        for key in self._raw_keys():
            yield self._key.decode(key)

    def _raw_keys(self) -> Iterator[bytes]:
        if not self.spec.key_size:
            raise UnsupportedError(f"map {self.name} of type {self.type.name} has no keys")
        key: bytes | None = None
        try:
            while (key := sys.map_next_key(self._fd, key, self.spec.key_size)) is not None:
                yield key
        except KernelError as error:
            raise self._named(error) from None

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
                if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP, ENOTSUPP):
                    raise self._named(error) from None
            else:
                for batch in batches:
                    for at in range(batch.elements):
                        key = batch.keys[at * sizes[0] : (at + 1) * sizes[0]]
                        yield self._key.decode(key), self._decode(batch.values[at * sizes[1] : (at + 1) * sizes[1]])
                return
        for key in self._raw_keys():
            data = self.lookup_bytes(key)
            if data is not None:
                yield self._key.decode(key), self._decode(data)

    def __len__(self) -> int:
        if self.type in _ARRAYS:
            return self.max_entries
        return sum(1 for _ in self._raw_keys())

    def __contains__(self, key: object) -> bool:
        if self.type == MapType.BLOOM_FILTER:  # of values: it has no keys
            value = self._value.encode(key)
            self._check(value, self.spec.value_size, "value")
            try:
                return sys.map_may_have(self._fd, value)
            except KernelError as error:
                raise self._named(error) from None
        return self.lookup_bytes(self._key.encode(key)) is not None

    # --- memory --------------------------------------------------------------------------------

    def memory(self) -> mmap.mmap | memoryview:
        """The values of an array map, or an arena, as memory (Linux 5.5; `MapFlags.MMAPABLE`), closed with the map.

        Read-only once the map is frozen.

        Raises:
            UnsupportedError: the map was not made for it.
        """
        with self._lock:
            if self._memory is None:
                if not self.spec.flags & MapFlags.MMAPABLE:
                    raise UnsupportedError(f"map {self.name} cannot be mapped: it lacks the flag MMAPABLE")
                try:
                    self._memory = self._map_arena() if self.type == MapType.ARENA else self._map_values()
                except OSError as error:
                    raise kernel_error(error.errno or 0, "mmap", subject=f"map {self.name}") from None
            return self._memory

    def _map_values(self) -> mmap.mmap:
        length = ((self.spec.value_size + 7) & ~7) * self.spec.max_entries
        protection = mmap.PROT_READ if self.spec.frozen else mmap.PROT_READ | mmap.PROT_WRITE
        return mmap.mmap(self.fileno(), length, mmap.MAP_SHARED, protection)

    def _map_arena(self) -> mmap.mmap | memoryview:
        length = self.spec.max_entries * mmap.PAGESIZE
        if self.spec.map_extra:  # the address that the arena has to be at
            from ebpfpy.sys.filemap import map_shared_at

            return memoryview(map_shared_at(self.fileno(), length, self.spec.map_extra)).cast("B")
        return mmap.mmap(self.fileno(), length, mmap.MAP_SHARED)

    @property
    def address(self) -> int:
        """Where `memory` starts in this process: what pointers into an arena count from.

        Raises:
            UnsupportedError: the map cannot be mapped.
        """
        return ctypes.addressof(ctypes.c_char.from_buffer(self.memory()))

    def freeze(self) -> None:
        """Forbid changes from user space for good (Linux 5.2); programs go on as the map's flags allow.

        Raises:
            KernelError: EBUSY: the map's memory is in use, and writable.
        """
        sys.map_freeze(self._fd, subject=f"map {self.name}")

    # --- queues, stacks, Bloom filters ---------------------------------------------------------

    def _check_flags(self, flags: int) -> None:
        if not isinstance(flags, int) or not 0 <= flags < 1 << 64:
            raise InputError(f"map {self.name}: flags are a number of 64 bits, not {flags!r:.60}")

    def push(self, value: Any, *, flags: int = 0) -> None:
        """Add a value to a queue, a stack or a Bloom filter (Linux 4.20; Bloom filters 5.16).

        Args:
            value: as everywhere.
            flags: 2 (BPF_EXIST): a full queue or stack drops its oldest value instead of refusing.

        Raises:
            KernelError: E2BIG: it is full.
        """
        self._check_keyless()
        self._check_flags(flags)
        try:
            sys.map_update(self._fd, None, self._value.encode(value), flags=flags)
        except KernelError as error:
            raise self._named(error) from None

    def take(self) -> Any:
        """Take the next value out of a queue or stack, None if it is empty (Linux 4.20)."""
        self._check_keyless(gives_back=True)
        try:
            data = sys.map_lookup_and_delete(self._fd, None, self.spec.value_size)
        except KernelError as error:
            raise self._named(error) from None
        return None if data is None else self._value.decode(data)

    def peek(self) -> Any:
        """The next value of a queue or stack, which stays there; None if it is empty (Linux 4.20)."""
        self._check_keyless(gives_back=True)
        try:
            data = sys.map_lookup(self._fd, None, self.spec.value_size)
        except KernelError as error:
            raise self._named(error) from None
        return None if data is None else self._value.decode(data)

    def _check_keyless(self, *, gives_back: bool = False) -> None:
        if gives_back and self.type == MapType.BLOOM_FILTER:
            raise UnsupportedError(f"map {self.name}: a Bloom filter gives no value back: ask it with `value in map`")
        if self.spec.key_size or not self.spec.value_size:
            raise UnsupportedError(f"map {self.name} of type {self.type.name} is no queue, stack or Bloom filter")

    # --- struct_ops ----------------------------------------------------------------------------

    @property
    def struct_ops_value(self) -> bytes:
        """The single value of a struct_ops map as the kernel wants it, with descriptors of its programs.

        Raises:
            UnsupportedError: the map is of another type, or was not made by a `Collection`.
        """
        if self._struct_ops_value is None:
            raise UnsupportedError(f"map {self.name} of type {self.type.name} holds no structure of programs")
        return self._struct_ops_value

    def set_struct_ops_value(self, value: bytes) -> None:
        """Set what `struct_ops_value` is; `register` gives it to the kernel."""
        self._struct_ops_value = value

    def register(self) -> None:
        """Give a struct_ops map its value (Linux 5.6).

        With the flag LINK (6.4) it can then be attached by a link; without, the kernel uses it from now on.

        Raises:
            KernelError: FileExistsError: the kernel knows something of that name already; EBUSY: registered before.
        """
        self.update_bytes(bytes(self.spec.key_size), self.struct_ops_value)

    def unregister(self) -> None:
        """Take back `register` of a map without the flag LINK; what uses it already goes on using it."""
        self._delete(bytes(self.spec.key_size))

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the map a name on a bpf file system, where it outlives the process."""
        sys.obj_pin(self._fd, path)
