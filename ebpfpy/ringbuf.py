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
import fcntl
import mmap
import os
import select
import threading
import time
import warnings
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Final

from . import sys
from .errors import ClosedError, InputError, UnsupportedError, kernel_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

HEADER_SIZE: Final = 8
BUSY: Final = 1 << 31
DISCARD: Final = 1 << 30
LENGTH_MASK: Final = DISCARD - 1
BATCH: Final = 256
"""Records that are read ahead at most, while others of the same batch are handed out."""

_OVERWRITE: Final = 1 << 19  # BPF_F_RB_OVERWRITE: old records may vanish under the reader
_BUSY_PAUSE: Final = 0.001


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


class Reader:
    """Reads the records of a ring buffer map, each as ``bytes``.

    A context manager. ``for record in reader`` waits for records and ends when the reader is closed;
    ``async for record in reader`` is the same in asyncio. Any thread may close it, which wakes whoever waits.
    Reading from several threads is safe; each record goes to one of them. One asyncio task at a time.

    The map stays the caller's: it is never closed here, and may be closed before the reader.

    Args:
        map: a map of type ``BPF_MAP_TYPE_RINGBUF`` (Linux 5.8); anything with ``fileno()``.
        timeout: seconds that a read waits where it is not told otherwise; None for ever.

    Raises:
        InputError: another type of map.
        KernelError: the map cannot be mapped, for one because it is read-only (EPERM).
        UnsupportedError: the map overwrites old records (``BPF_F_RB_OVERWRITE``).
    """

    def __init__(self, map: sys.HasFileno, *, timeout: float | None = None) -> None:  # noqa: A002
        self.timeout = timeout
        self._closed = True
        info = sys.map_info(map.fileno())
        if info.type != sys.MapType.RINGBUF:
            raise InputError(f"map {info.name!r} is no ring buffer (type {info.type})")
        if info.map_flags & _OVERWRITE:
            raise UnsupportedError(
                f"ring buffer {info.name!r} overwrites old records, which this reader cannot follow",
                feature="BPF_F_RB_OVERWRITE",
            )
        self.name = info.name
        self._lock = threading.Lock()
        self._users = 0
        self._awaited = False
        self._pending: deque[tuple[int, bytes]] = deque()
        self._walked = 0
        with ExitStack() as stack:
            try:
                self._open(stack, map.fileno(), info.max_entries)
            except OSError as error:
                raise kernel_error(error.errno or errno.EIO, "mmap", subject=f"ring buffer {info.name}") from error
            self._resources = stack.pop_all()
        self._walked = self._ring.position
        self._closed = False

    def _open(self, stack: ExitStack, map_fd: int, size: int) -> None:
        page = mmap.PAGESIZE
        descriptor = fcntl.fcntl(map_fd, fcntl.F_DUPFD_CLOEXEC, 3)
        stack.callback(os.close, descriptor)
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        stack.callback(os.close, self._wake)
        self._epoll = select.epoll()
        stack.callback(self._epoll.close)
        self._epoll.register(descriptor, select.EPOLLIN)
        self._epoll.register(self._wake, select.EPOLLIN)
        consumer = stack.enter_context(mmap.mmap(descriptor, page, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE))
        producer = stack.enter_context(
            mmap.mmap(descriptor, page + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=page)
        )
        self._ring = Ring(consumer, producer)
        stack.callback(self._ring.close)

    # --- being open and closed ---------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def close(self) -> None:
        """Stop reading, wake who waits, and let go of the memory; harmless when done before."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            try:
                first = self._pending.popleft()[0]
            except IndexError:
                first = self._walked
            self._pending.clear()
            self._ring.release(first)
            os.eventfd_write(self._wake, 1)  # stays readable: every waiter wakes
            if not self._users:
                self._resources.close()

    @contextmanager
    def _using(self) -> Iterator[None]:
        """Keep memory and descriptors alive; the last user of a closed reader lets them go."""
        with self._lock:
            if self._closed:
                raise self._closed_error()
            self._users += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._users -= 1
            if self._closed and not self._users:
                self._resources.close()

    def _closed_error(self) -> ClosedError:
        return ClosedError(f"reader of ring buffer {self.name!r} is closed")

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<ringbuf.Reader of {self.name!r}: {'closed' if self._closed else 'open'}>"

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()

    # --- reading -------------------------------------------------------------------------------------

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
        with self._lock:
            if self._closed:
                raise self._closed_error()
            ahead = self._pending[0][0] if self._pending else self._walked
            return self._ring.position + self._ring.available - ahead

    def _refill(self, limit: int = BATCH) -> bool:
        """Give the last batch back and copy the next one.

        Returns:
            False if there is nothing to read now. True promises no record: all may have been discarded.
        """
        with self._lock:
            if self._closed:
                raise self._closed_error()
            if self._pending:
                return True
            self._ring.release(self._walked)
            starts, records, self._walked = self._ring.walk(limit)
            self._pending.extend(zip(starts, records, strict=True))
            return self._walked != self._ring.position

    def _wait(self, deadline: float | None) -> None:
        """Wait for data, for the close, or for the deadline, whichever is first.

        Raises:
            ClosedError: the reader was closed.
            TimeoutError: the deadline passed.
        """
        with self._using():
            while not self._refill():
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"no record in ring buffer {self.name!r} in time")
                if self._epoll.poll(left) and not self._refill():
                    pause = _BUSY_PAUSE if left is None else min(left, _BUSY_PAUSE)
                    select.select([self._wake], [], [], pause)

    def _deadline(self, timeout: float | None) -> float | None:
        seconds = self.timeout if timeout is None else timeout
        return None if seconds is None else time.monotonic() + seconds

    def read(self, timeout: float | None = None) -> bytes:
        """The next record.

        Args:
            timeout: seconds to wait, 0 for not at all; None: the reader's own `timeout`.

        Raises:
            TimeoutError: there was none in time.
            ClosedError: the reader is closed, or was closed meanwhile.
        """
        deadline = None
        waited = False
        while True:
            try:
                return self._pending.popleft()[1]
            except IndexError:
                if not self._refill():
                    if not waited:
                        deadline, waited = self._deadline(timeout), True
                    self._wait(deadline)

    def poll(self, timeout: float | None = None, *, limit: int = 4096) -> list[bytes]:
        """The records that are there, waiting for the first if there is none.

        Args:
            timeout: seconds to wait, 0 for not at all; None: the reader's own `timeout`.
            limit: records at most.

        Returns:
            One record or more; none if the time is over.

        Raises:
            ClosedError: the reader is closed, or was closed meanwhile.
        """
        deadline = self._deadline(timeout)
        while True:
            if not self._refill(limit):
                try:
                    self._wait(deadline)
                except TimeoutError:
                    return []
            with self._lock:
                if self._closed:
                    raise self._closed_error()
                pending = self._pending
                records: list[bytes] = []
                with suppress(IndexError):  # other threads may take some at the same time
                    while len(records) < limit:
                        records.append(pending.popleft()[1])
                if not pending:
                    self._ring.release(self._walked)
            if records:
                return records

    def __iter__(self) -> Iterator[bytes]:
        """Every record as it comes, until the reader is closed.

        Raises:
            TimeoutError: the reader has a `timeout` and no record came in time.
        """
        pending = self._pending
        while True:
            try:
                record = pending.popleft()[1]
            except IndexError:
                try:
                    if not self._refill():
                        self._wait(self._deadline(None))
                except ClosedError:
                    return
            else:
                yield record

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Every record as it comes, until the reader is closed; returns to the event loop after each batch.

        Raises:
            TimeoutError: the reader has a `timeout` and no record came in time.
            InputError: another task waits on this reader.
        """
        import asyncio

        pending = self._pending
        while True:
            try:
                record = pending.popleft()[1]
            except IndexError:
                try:
                    if self._refill():
                        await asyncio.sleep(0)
                    else:
                        await self._wait_async()
                except ClosedError:
                    return
            else:
                yield record

    async def _wait_async(self) -> None:
        """Wait for data or the close; nothing stays registered with the event loop, whatever happens."""
        import asyncio

        if self._awaited:
            raise InputError(f"another task already waits on ring buffer {self.name!r}")
        loop = asyncio.get_running_loop()
        deadline = self._deadline(None)
        self._awaited = True
        try:
            with self._using():
                while not self._refill():
                    left = None if deadline is None else deadline - time.monotonic()
                    if left is not None and left <= 0:
                        raise TimeoutError(f"no record in ring buffer {self.name!r} in time")
                    ready = loop.create_future()
                    loop.add_reader(self._epoll.fileno(), _resolve, ready)
                    try:
                        await asyncio.wait((ready,), timeout=left)
                    finally:
                        loop.remove_reader(self._epoll.fileno())
                    if ready.done() and not self._refill():
                        await asyncio.sleep(_BUSY_PAUSE)
        finally:
            self._awaited = False


def _resolve(future: object) -> None:
    """Mark a future as done, once."""
    import asyncio

    assert isinstance(future, asyncio.Future)
    if not future.done():
        future.set_result(None)
