"""Reading a BPF ring buffer.

The memory
----------
A ring buffer map of ``max_entries`` bytes (a power of two, whole pages) is mapped in two parts:

* at offset 0 one page, readable and writable: the *consumer position*, a u64 that only we write;
* behind it, read-only, one page with the *producer position*, a u64 that only the kernel writes, and then
  the data **twice in a row**. The second copy is the same memory: a record that begins near the end of the
  ring goes on, for the reader, into the second copy, so no record is ever in two pieces.

Both positions count bytes since the map was made and never wrap; position ``p`` is at offset
``p & (size - 1)`` of the data. A record is a header of 8 bytes (``u32 length and flags, u32 page offset``),
the payload, and padding to a multiple of 8. Bit 31 of the length says *busy*: reserved, not yet committed.
Bit 30 says *discard*: to be skipped. The kernel moves the producer position when a record is reserved, so
the busy bit, not the position, says whether a record can be read.

An example: a ring of 4096 bytes, consumer position 8160, producer position 8216. The next header is at
offset ``8160 & 4095`` = 4064. It holds 0x00000014: 20 bytes, neither busy nor discarded. The payload is
bytes 4072 to 4091; the record takes ``8 + 24`` = 32 bytes, so the next header is at position 8192, offset 0.
It holds 0x80000010: reserved and busy, so the walk ends here and the consumer position becomes 8192.

The rule
--------
`Ring.walk` goes from header to header up to the producer position, a busy record or the limit, and copies
each payload once into ``bytes``. `Ring.release` writes the consumer position, which gives the space back
to the kernel: once a batch, when the batch's records have been handed out. A reader that is closed in the
middle of a batch writes the position of the first record that nobody got; the next reader starts there.

What can go wrong
-----------------
* *Overrun.* The kernel never overwrites what was not released: a program's reservation fails and the
  program must count that itself. A ring that is too small loses new records, not old ones.
* *Missed wake-ups.* The kernel wakes a waiting reader only when it commits the record at the consumer
  position, that is, when the reader had caught up. So the position is always written before waiting, and
  waiting (epoll, level-triggered) begins with the kernel's own comparison of the two positions.
* *A busy record at the head.* To epoll, the ring then has data; to the walk it has none. Waiting again at
  once would spin, so the reader pauses for a millisecond and looks again.
* *A fast producer.* It can keep a reader in its walk forever. A walk is bounded by the producer position
  read at its start and by a limit; an asynchronous reader returns to its event loop after each batch.
* *Memory order.* On arm64 and others, the load of a header can overtake the load of the producer position,
  and the load of a payload can overtake that of its header. Python has no memory barrier, but a lock has:
  releasing one orders all earlier accesses before it and acquiring it again orders all later ones behind.
  The walk does that between the position and the headers, between the headers and the payloads, and before
  the release: three times a batch, not three times a record. On x86, which keeps loads in order, it changes
  nothing. (By the rules of the architecture; not yet tried on an arm64 machine.)
* *Two readers of one map* both write the consumer position. Every record then goes to one of them, to both,
  or (while they race) to neither. Nothing prevents this: use one reader.

Source: kernel/bpf/ringbuf.c, Documentation/bpf/ringbuf.rst; Linux 5.8.
"""

from __future__ import annotations

import errno
import mmap
import select
import threading
from typing import TYPE_CHECKING, Final

from . import sys
from .errors import InputError, UnsupportedError, kernel_error
from .waiting import RecordReader

if TYPE_CHECKING:
    from contextlib import ExitStack

HEADER_SIZE: Final = 8
BUSY: Final = 1 << 31
DISCARD: Final = 1 << 30
LENGTH_MASK: Final = DISCARD - 1

_OVERWRITE: Final = 1 << 19  # BPF_F_RB_OVERWRITE: old records may vanish under the reader


class Ring:
    """The records in a ring's memory; knows nothing of the kernel.

    Not thread-safe.

    Args:
        consumer: at least 8 bytes, writable; the first 8 are the consumer position.
        producer: one page whose first 8 bytes are the producer position, then the data twice in a row.
        page: bytes of a page.

    Raises:
        InputError: memory of another shape.
    """

    def __init__(self, consumer: mmap.mmap, producer: mmap.mmap, page: int = mmap.PAGESIZE) -> None:
        length = len(producer) - page
        self.size = length // 2
        if self.size < HEADER_SIZE or self.size & (self.size - 1) or length != 2 * self.size:
            raise InputError(f"ring buffer data of {length} bytes is not twice a power of two")
        self._page = page
        self._memory = producer  # a slice of an mmap is bytes: one copy, no view in between
        self._consumer = memoryview(consumer)[:8].cast("Q")
        self._producer = memoryview(producer)[:8].cast("Q")
        self._words = memoryview(producer)[page:].cast("I")
        self._fence = threading.Lock()
        self._fence.acquire()

    def close(self) -> None:
        """Let go of the memory."""
        for view in (self._consumer, self._producer, self._words):
            view.release()

    def _barrier(self) -> None:
        self._fence.release()
        self._fence.acquire()

    @property
    def position(self) -> int:
        """The consumer position."""
        return self._consumer[0]

    @property
    def available(self) -> int:
        """Bytes between the two positions, headers and unfinished records included."""
        return max(0, self._producer[0] - self._consumer[0])

    def walk(self, limit: int) -> tuple[list[int], list[bytes], int]:
        """Copy the records from the consumer position on; moves no position.

        Args:
            limit: records to look at, at most; discarded ones count, so that a walk is bounded.

        Returns:
            The position of each record, each record, and the position behind the last one looked at.

        Raises:
            InputError: a header that cannot be: the record runs past the producer position.
        """
        position = self._consumer[0]
        end = self._producer[0]
        self._barrier()
        mask = self.size - 1
        words = self._words
        starts: list[int] = []
        lengths: list[int] = []
        for _ in range(limit):
            if position >= end:
                break
            header = words[(position & mask) >> 2]
            if header & BUSY:
                break
            length = header & LENGTH_MASK
            following = position + (length + 15 & -8)  # header, payload, padding
            if following > end:
                raise InputError(
                    f"ring buffer record of {length} bytes at position {position} "
                    f"runs past the producer's position {end}"
                )
            if not header & DISCARD:
                starts.append(position)
                lengths.append(length)
            position = following
        self._barrier()
        memory = self._memory
        payloads = self._page + HEADER_SIZE
        records = [
            memory[(first := (start & mask) + payloads) : first + length]
            for start, length in zip(starts, lengths, strict=True)
        ]
        return starts, records, position

    def release(self, position: int) -> None:
        """Give everything before `position` back to the producer."""
        if position != self._consumer[0]:
            self._barrier()
            self._consumer[0] = position


class Reader(RecordReader[bytes]):
    """Reads the records of a ring buffer map, each as ``bytes``.

    A context manager. ``for record in reader`` waits for records and ends, without an error, when the reader is closed;
    ``async for record in reader`` is the same in asyncio. Any thread may close it, and any signal handler, which wakes
    whoever waits. Reading from several threads is safe; each record goes to one of them. One asyncio task at a time.

    The map stays the caller's: it is never closed here, and may be closed before the reader.

    Args:
        map: a map of type ``BPF_MAP_TYPE_RINGBUF`` (Linux 5.8); anything with ``fileno()``.
        timeout: seconds that a read waits where it is not told otherwise, up to a thousand million; None for ever.

    Attributes:
        name: of the map.
        timeout: as given; may be changed at any time.

    Raises:
        InputError: no map, another type of map, or a timeout that is negative, too long or not a number.
        KernelError: the map cannot be mapped, for one because it is read-only (EPERM).
        UnsupportedError: the map overwrites old records (``BPF_F_RB_OVERWRITE``).
    """

    _map_type = sys.MapType.RINGBUF
    _kind = _map_kind = "ring buffer"
    _pause = 0.001  # a record that is reserved and not yet committed

    def __init__(self, map: sys.HasFileno, *, timeout: float | None = None) -> None:  # noqa: A002
        super().__init__(map, timeout)
        if self._info.map_flags & _OVERWRITE:
            raise UnsupportedError(
                f"ring buffer {self.name!r} overwrites old records, which this reader cannot follow",
                feature="BPF_F_RB_OVERWRITE",
            )
        self._starts: list[int] = []  # of the records of the batch; those still to be handed out are the last ones
        with self._opening() as stack:
            try:
                self._open(stack, self._info.max_entries)
            except OSError as error:
                raise kernel_error(error.errno or errno.EIO, "mmap", subject=f"ring buffer {self.name}") from error
            self._walked = self._ring.position

    def _open(self, stack: ExitStack, size: int) -> None:
        page = mmap.PAGESIZE
        writable = mmap.PROT_READ | mmap.PROT_WRITE
        self._epoll.register(self._map_fd, select.EPOLLIN)
        consumer = stack.enter_context(mmap.mmap(self._map_fd, page, mmap.MAP_SHARED, writable))
        producer = stack.enter_context(
            mmap.mmap(self._map_fd, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        )
        self._ring = Ring(consumer, producer)
        stack.callback(self._ring.close)

    @property
    def size(self) -> int:
        """Bytes of the ring."""
        return self._ring.size

    @property
    def available(self) -> int:
        """Bytes that wait in the ring or in the current batch, headers and unfinished records included.

        Raises:
            ClosedError: the reader is closed.
        """
        return self._inside(self._bytes_ahead)

    def _bytes_ahead(self) -> int:
        self._check_open()
        return self._ring.position + self._ring.available - self._first_of_last(len(self._pending))

    def _first_of_last(self, records: int) -> int:
        """The position of the first of that many records at the end of the batch."""
        return self._starts[-records] if records else self._walked

    def _fetch(self, limit: int) -> bool:
        self._ring.release(self._walked)
        starts, records, walked = self._ring.walk(limit)
        self._starts, self._walked = starts, walked
        self._pending.extend(records)
        return walked != self._ring.position

    def _emptied(self) -> None:
        self._ring.release(self._walked)

    def _give_back(self, undelivered: int) -> None:
        self._ring.release(self._first_of_last(undelivered))
