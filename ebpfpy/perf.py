"""Reading a perf buffer: what programs write with bpf_perf_event_output().

A map of type ``BPF_MAP_TYPE_PERF_EVENT_ARRAY`` holds one perf event for each CPU. The event is a descriptor of
perf_event_open(2); mapping it gives a ring that the kernel writes to when a program on that CPU sends a record. The
reader opens the events, maps them, and puts them into the map; until it does, programs write into nothing. On kernels
since 5.8 a ring buffer (`ebpfpy.ringbuf`) does the same with one ring, in order, in less memory.

The memory
----------
One page of ``struct perf_event_mmap_page``, then the data, a power of two of pages, **once** (a ring buffer map has it
twice). Two u64 in the first page count bytes since the event was opened and never wrap: ``data_head`` at 1024, which
only the kernel writes, and ``data_tail`` at 1032, which only we write. Position ``p`` is at offset ``p & (size - 1)``
of the data. A record begins at a multiple of 8 and may begin at the end of the data and go on at its start::

    u32 type, u16 misc, u16 size                     of the whole record, header included
    type 9 (SAMPLE):  u32 length, length bytes       what the program sent
    type 2 (LOST):    u64 id, u64 lost               records that found no room

An example: a ring of 4096 bytes, tail 4080, head 4136. At offset 4080 is the header (9, 0, 32): 32 bytes, a sample. Its
length is at 4088 and says 20, so that header, length and data fill 32 bytes. The data is bytes 4092 to 4095, then 0 to
15. The next header is at position 4112, offset 16: (2, 0, 24), and its second u64, at offset 32, says that 7 records
were lost. Position 4136 is the head: the walk ends, and the tail becomes 4136.

The rule
--------
`Ring.walk` goes from record to record up to the head or the limit and copies each payload once into ``bytes``;
`Ring.release` writes the tail, which gives the space back. Nothing outlives the reader here (the rings go away with
it), so the space is given back as soon as the records are copied. Each look visits every CPU's ring, for as many
records at most, so that a busy CPU does not keep the others waiting. Records of one CPU come in order. Between CPUs
there is no order: a program that needs one puts a time into the record.

What can go wrong
-----------------
* *Overrun.* A record for which there is no room is lost, and counted by the kernel. The count comes as a LOST record
  right before the next record that finds room on that CPU: here, in `Record.lost` of that record.
* *Padding.* The kernel rounds ``4 + length`` up to a multiple of 8 and counts the padding as data: a record has up to 7
  bytes more than the program sent, of any value. Whoever decodes a structure cuts at its size.
* *Wake-ups are spent.* The kernel's "something arrived" is a flag that the first poll(2) clears, whether or not its
  caller then reads. So every wait begins with a look at the rings, and whoever stops waiting wakes the other waiters of
  the same reader to look for themselves (an eventfd, drained by the next look that finds nothing handed out).
* *Few wake-ups.* With `wakeup_events` above 1 the kernel wakes only for every so many records of a CPU. A wait sees
  those before when its time is over; a read that begins later sees them at once.
* *CPUs.* An offline CPU has no event (ENODEV) and is skipped; one that comes online later is not read. A map with fewer
  entries than CPUs takes nothing from the CPUs beyond.
* *Two readers of one map* replace each other's events: the second gets everything from then on, and closing either
  empties the map. Use one reader.
* *Memory order.* As for ring buffers: see `ebpfpy.ringbuf`. The head is read before the records, the records before
  the tail is written, with a lock's release and acquire in between.

Source: include/uapi/linux/perf_event.h, kernel/events/ring_buffer.c, perf_event_open(2); Linux 4.4.
"""

from __future__ import annotations

import errno
import mmap
import os
import select
import struct
import sys as _sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Final, NamedTuple

from . import sys
from .errors import InputError, KernelError, UnsupportedError, kernel_error
from .sys import perfevent
from .waiting import RecordReader

if TYPE_CHECKING:
    from contextlib import ExitStack

HEAD: Final = 1024
"""Offset of ``data_head`` in the first page."""
TAIL: Final = 1032
"""Offset of ``data_tail`` in the first page."""

_HEADER = struct.Struct("=IHH")  # u32 type, u16 misc, u16 size
_SAMPLE_SIZE: Final = 12  # header and length
_LOST_SIZE: Final = 24


class Record(NamedTuple):
    """What a program sent.

    Attributes:
        cpu: the CPU that it ran on.
        data: what it sent, and up to 7 bytes of padding behind it, of any value.
        lost: records of this CPU that found no room between the record before and this one.
    """

    cpu: int
    data: bytes
    lost: int = 0


class Ring:
    """The records in one CPU's memory; knows nothing of the kernel. Not thread-safe.

    Args:
        memory: one page of positions, then the data; writable.
        page: bytes of a page.
        what: for errors.

    Raises:
        InputError: memory of another shape.
    """

    def __init__(self, memory: mmap.mmap, page: int = mmap.PAGESIZE, what: str = "perf buffer") -> None:
        self.size = len(memory) - page
        if self.size < page or self.size & (self.size - 1):
            raise InputError(f"{what}: {self.size} bytes of data are no power of two of pages")
        self.what = what
        self._page = page
        self._memory = memory
        self._head = memoryview(memory)[HEAD : HEAD + 8].cast("Q")
        self._tail = memoryview(memory)[TAIL : TAIL + 8].cast("Q")
        self._lost = 0
        self._fence = threading.Lock()
        self._fence.acquire()

    def close(self) -> None:
        """Let go of the memory."""
        self._head.release()
        self._tail.release()

    def _barrier(self) -> None:
        self._fence.release()
        self._fence.acquire()

    @property
    def position(self) -> int:
        """The tail: where the next record to read begins."""
        return self._tail[0]

    @property
    def available(self) -> int:
        """Bytes between tail and head, headers included."""
        return max(0, self._head[0] - self._tail[0])

    def _bytes(self, position: int, length: int) -> bytes:
        first = position & (self.size - 1)
        rest = first + length - self.size
        start = self._page + first
        if rest <= 0:
            return self._memory[start : start + length]
        return self._memory[start : self._page + self.size] + self._memory[self._page : self._page + rest]

    def walk(self, limit: int) -> tuple[list[tuple[bytes, int]], int]:
        """Copy the records from the tail on; moves no position.

        Args:
            limit: records to look at, at most; those of other types count, so that a walk is bounded.

        Returns:
            Each record as its data and the number of records lost before it, and the position behind the last one
            looked at. A count that no record has followed yet is kept for the next walk, which begins there.

        Raises:
            InputError: a record that cannot be: its size is none, or it runs past the head.
        """
        position = self._tail[0]
        end = self._head[0]
        records: list[tuple[bytes, int]] = []
        if position >= end:
            return records, position
        self._barrier()
        if end - position > self.size or position & 7:
            raise InputError(f"{self.what}: the tail is {position} and the head {end}, in a ring of {self.size} bytes")
        lost = self._lost
        mask = self.size - 1
        for _ in range(limit):
            if position >= end:
                break
            kind, _misc, size = _HEADER.unpack_from(self._memory, self._page + (position & mask))
            if size < _HEADER.size or size & 7 or position + size > end:
                raise InputError(f"{self.what}: record of {size} bytes at position {position}, where the head is {end}")
            if kind == perfevent.RecordType.SAMPLE:
                data = self._sample(position, size)
                records.append((data, lost))
                lost = 0
            elif kind == perfevent.RecordType.LOST and size >= _LOST_SIZE:
                lost += int.from_bytes(self._bytes(position + 16, 8), _sys.byteorder)
            position += size
        self._lost = lost
        return records, position

    def _sample(self, position: int, size: int) -> bytes:
        length = int.from_bytes(self._bytes(position + 8, 4), _sys.byteorder) if size >= _SAMPLE_SIZE else -1
        if not 0 <= length <= size - _SAMPLE_SIZE:
            raise InputError(f"{self.what}: record of {size} bytes at position {position} with {length} bytes of data")
        return self._bytes(position + _SAMPLE_SIZE, length)

    def release(self, position: int) -> None:
        """Give everything before `position` back to the kernel."""
        if position != self._tail[0]:
            self._barrier()
            self._tail[0] = position


class Reader(RecordReader[Record]):
    """Reads the records of a perf event array, each as a `Record`.

    A context manager. ``for record in reader`` waits for records and ends, without an error, when the reader is closed;
    ``async for record in reader`` is the same in asyncio. Any thread may close it, and any signal handler, which wakes
    whoever waits. Reading from several threads is safe; each record goes to one of them. One asyncio task at a time.

    The map stays the caller's: it is never closed here, and may be closed before the reader. Closing the reader takes
    its events out of the map, and what was not read yet is gone. Takes two descriptors for each CPU.

    Args:
        map: a map of type ``BPF_MAP_TYPE_PERF_EVENT_ARRAY`` (Linux 4.3); anything with ``fileno()``.
        pages_per_cpu: memory of each CPU's ring, in pages; a power of two.
        wakeup_events: wake a waiting reader when a CPU has written that many records since the last time.
        watermark: wake when a CPU has written that many bytes instead; 0: count records.
        timeout: seconds that a read waits where it is not told otherwise, up to a thousand million; None for ever.

    Attributes:
        cpus: the CPUs that are read, in ascending order.
        name: of the map.
        size: bytes of each CPU's ring.
        timeout: as given; may be changed at any time.

    Raises:
        InputError: no map, another type of map, numbers that cannot be, or a timeout that is negative, too long or
            not a number.
        KernelError: perf_event_open(2) or mmap(2) was refused (CAP_PERFMON), or the map is read-only (EPERM).
        UnsupportedError: no CPU could be opened, or this machine has no known perf_event_open(2).
    """

    _map_type = sys.MapType.PERF_EVENT_ARRAY
    _kind = "perf buffer"
    _map_kind = "perf event array"

    def __init__(
        self,
        map: sys.HasFileno,  # noqa: A002
        *,
        pages_per_cpu: int = 8,
        wakeup_events: int = 1,
        watermark: int = 0,
        timeout: float | None = None,
    ) -> None:
        if not isinstance(pages_per_cpu, int) or pages_per_cpu < 1 or pages_per_cpu & (pages_per_cpu - 1):
            raise InputError(f"pages_per_cpu is a power of two, not {pages_per_cpu!r}")
        self.size = pages_per_cpu * mmap.PAGESIZE
        if not isinstance(watermark, int) or not 0 <= watermark < self.size:
            raise InputError(f"watermark is less than the {self.size} bytes of a CPU's ring, not {watermark!r}")
        if not isinstance(wakeup_events, int) or not 1 <= wakeup_events < 1 << 32:
            raise InputError(f"wakeup_events is a positive number of 32 bits, not {wakeup_events!r}")
        super().__init__(map, timeout)
        self._signalled = False
        self._rings: list[tuple[int, Ring]] = []
        with self._opening() as stack:
            self._open(stack, min(self._info.max_entries, sys.possible_cpus()), wakeup_events, watermark)
        self.cpus = tuple(cpu for cpu, _ in self._rings)

    def _open(self, stack: ExitStack, cpus: int, wakeup_events: int, watermark: int) -> None:
        for cpu in range(cpus):
            attr = perfevent.PerfEventAttr(
                type=perfevent.EventType.SOFTWARE,
                config=perfevent.SoftwareEvent.BPF_OUTPUT,
                sample_type=perfevent.SampleType.RAW,
                sample_period=1,
                wakeup_events=watermark or wakeup_events,
            )
            attr.set_flags(perfevent.EventFlag.WATERMARK if watermark else perfevent.EventFlag(0))
            try:
                event = perfevent.perf_event_open(attr, cpu=cpu, subject=f"perf buffer {self.name} of CPU {cpu}")
            except KernelError as error:
                if error.errno == errno.ENODEV:  # offline
                    continue
                raise
            stack.enter_context(event)
            self._add(stack, cpu, event)
        if not self._rings:
            raise UnsupportedError(f"perf buffer {self.name}: none of {cpus} CPUs is online", feature="perf events")

    def _add(self, stack: ExitStack, cpu: int, event: sys.Fd) -> None:
        what = f"perf buffer {self.name} of CPU {cpu}"
        try:
            memory = mmap.mmap(
                event.fileno(), mmap.PAGESIZE + self.size, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE
            )
            stack.enter_context(memory)
            self._epoll.register(event.fileno(), select.EPOLLIN)
        except OSError as error:
            hint = None
            if error.errno == errno.EPERM:
                hint = "more than kernel.perf_event_mlock_kb and the limit of locked memory allow: fewer pages_per_cpu"
            raise kernel_error(error.errno or errno.EIO, "mmap", subject=what, hint=hint) from error
        ring = Ring(memory, what=what)
        stack.callback(ring.close)
        key = cpu.to_bytes(4, _sys.byteorder)
        sys.map_update(self._map_fd, key, event.fileno().to_bytes(4, _sys.byteorder))
        stack.callback(_take_out, self._map_fd, key)
        self._rings.append((cpu, ring))

    @property
    def available(self) -> int:
        """Bytes that wait in the rings of all CPUs, headers included; records that were read ahead do not count.

        Raises:
            ClosedError: the reader is closed.
        """
        return self._inside(self._bytes_ahead)

    def _bytes_ahead(self) -> int:
        self._check_open()
        return sum(ring.available for _, ring in self._rings)

    def _pass_on(self) -> None:
        """Make every waiter look again, now or when it next waits."""
        if self._waiters and not self._signalled:
            self._signalled = True
            os.eventfd_write(self._wake, 1)

    def _fetch(self, limit: int) -> bool:
        if self._signalled:
            self._signalled = False
            os.eventfd_read(self._wake)
        more = True
        while more and not self._pending:  # a walk may have met nothing but records of other types
            more = False
            for cpu, ring in self._rings:
                records, position = ring.walk(limit)
                more = more or position != ring.position
                ring.release(position)
                self._pending.extend([Record(cpu, data, lost) for data, lost in records])
        return bool(self._pending)


def _take_out(map_fd: int, key: bytes) -> None:
    """Remove an event from the map; a map that is read-only by now, or was emptied, is left as it is."""
    with suppress(KernelError):
        sys.map_delete(map_fd, key)
