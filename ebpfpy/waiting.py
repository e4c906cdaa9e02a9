"""Waiting for records, handing them out, and being closed: what the readers of both kinds of buffer share.

`ebpfpy.ringbuf` and `ebpfpy.perf` know how records lie in memory. Here is who may look at that memory when.

Where a caller can be
---------------------
* *Taking.* Records are copied out of the shared memory a batch at a time, into `_pending`, and handed out from its
  front by ``deque.popleft``. That is atomic and needs nothing else, so most reads never come further than this.
* *Inside.* Whoever finds `_pending` empty looks at the memory: one thread at a time, in `_inside`, with the lock held.
* *Waiting.* In epoll, without the lock, for as long as it takes; known by a ticket in `_waiters`.

Being closed
------------
`close` says so and makes the wake-up descriptor readable, for good: every waiter comes back, looks, and finds the
reader closed. Then nobody may touch the memory any more, so descriptors and mappings go with the last one to leave:
with `close` itself, or with the last waiter. What nobody took is drained from the *back* of `_pending`. Others may
still be taking from its front; so what was handed out is a beginning of the batch, and what was drained the rest of it.

An example: a batch of 100 records, 60 of them taken. While `close` drains, another thread takes three more, and 37 were
drained: the next reader of that ring buffer starts at record 63 of the batch.

What can go wrong
-----------------
* *A signal handler closes the reader* in the middle of anything that its own thread does here. A simple lock would
  wait for itself. This one is re-entrant, and `_depth` counts the frames inside: the handler's `close` only says
  "closed", and the frame that it interrupted lets go on its way out. A handler may even interrupt the letting go
  (`_finishing`). Only it cannot read while the frame below it has a batch in its hands.
* *Python acts on a signal between any two steps*, and a handler may raise (KeyboardInterrupt). So what a ``finally``
  undoes must bear not having been done: a ticket is discarded, no number is counted down.
* *A wake-up is spent on one who leaves*, where the kernel wakes once for each arrival: `_pass_on` wakes the others.
* *A wake-up is spent on nobody.* An event loop has an epoll of its own, in which ours is one descriptor. Adding ours to
  it asks our memory whether it is ready; the loop's next wait asks again. Where the kernel answers "yes" once only, a
  record that came before the adding wakes nobody. So an asynchronous wait looks once more when it has been added.
* *Memory looks ready and is not.* Waiting again at once would spin: `_pause` says for how long to hold off.
* *Descriptors above 1023* are too high for select(2): here is only epoll(7) and poll(2).
* *Long timeouts* overflow the kernel's milliseconds after 24 days: a wait is made of waits of a day at most.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import threading
import time
import warnings
from abc import ABC, abstractmethod
from collections import deque
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from . import sys
from .errors import ClosedError, EbpfError, InputError, kernel_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Self

BATCH: Final = 256
"""Records that are read ahead at most from one ring, while others of the same batch are handed out."""
LONGEST: Final = 1e9
"""Seconds, some thirty years: a longer timeout is a mistake."""

_SLICE: Final = 86400.0
_FIRST_GOOD: Final = 3

R = TypeVar("R")
T = TypeVar("T")


class RecordReader(ABC, Generic[R]):
    """A reader of records of type `R`; see `ebpfpy.ringbuf.Reader` and `ebpfpy.perf.Reader`.

    A subclass sets the class variables, opens its memory in a block of `_opening`, and says in `_fetch` and the hooks
    behind it how records come out of that memory.

    Args:
        map: what to read; anything with ``fileno()``.
        timeout: seconds that a read waits where it is not told otherwise, 0 to `LONGEST`; None for ever.

    Attributes:
        name: of the map.
        timeout: as given; may be changed at any time.

    Raises:
        InputError: no map, a map of another type, or a timeout that cannot be.
        KernelError: the kernel does not say what the map is.
    """

    _map_type: ClassVar[sys.MapType]
    _kind: ClassVar[str]
    """The buffer in words: "ring buffer"."""
    _map_kind: ClassVar[str]
    """The type of map in words, where it is called otherwise: "perf event array"."""
    _pause: ClassVar[float] = 0.0
    """Seconds to hold off when the memory looked ready and was not; 0 where that cannot last."""

    def __init__(self, map: sys.HasFileno, timeout: float | None) -> None:  # noqa: A002
        self._closed = True
        self.timeout = timeout if timeout is None else in_seconds(timeout)
        self._map_fd = _descriptor(map, self._kind)
        self._info = sys.map_info(self._map_fd)
        self.name = self._info.name
        if self._info.type != self._map_type:
            raise InputError(f"map {self.name!r} is no {self._map_kind} (type {self._info.type})")
        self._lock = threading.RLock()
        self._depth = 0
        self._finishing = False
        self._settled = False
        self._waiters: set[object] = set()
        self._awaited = False
        self._pending: deque[R] = deque()

    @contextmanager
    def _opening(self) -> Iterator[ExitStack]:
        """Open what waiting needs, then, in the block, what the subclass needs; after it, the reader is open.

        The block gets a stack. What is in it lives until the reader is closed; an error in the block ends it at once.
        `_map_fd` is a descriptor of the reader's own in the block and afterwards.
        """
        with ExitStack() as stack:
            try:
                self._map_fd = fcntl.fcntl(self._map_fd, fcntl.F_DUPFD_CLOEXEC, _FIRST_GOOD)
                stack.callback(os.close, self._map_fd)
                self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
                stack.callback(os.close, self._wake)
                self._epoll = select.epoll()
                stack.callback(self._epoll.close)
                self._epoll.register(self._wake, select.EPOLLIN)
            except OSError as error:
                subject = f"{self._kind} {self.name}"
                raise kernel_error(error.errno or errno.EIO, "epoll", subject=subject) from error
            yield stack
            self._resources = stack.pop_all()
        self._closed = False

    # --- what a subclass says about its memory; each is called inside ------------------------------

    @abstractmethod
    def _fetch(self, limit: int) -> bool:
        """Copy up to `limit` records into `_pending`, which is empty.

        Returns:
            False if there was nothing to read. True promises no record: all may have been of no interest.
        """

    def _emptied(self) -> None:
        """The whole batch has been handed out by one who will not come back at once."""

    def _give_back(self, undelivered: int) -> None:
        """The reader is closed, and that many records at the end of the batch went to nobody."""

    def _pass_on(self) -> None:
        """Somebody found records, or stops waiting, and others may be waiting."""

    # --- being open and closed ---------------------------------------------------------------------

    @property
    def closed(self) -> bool:
        """Whether `close` has been called."""
        return self._closed

    def fileno(self) -> int:
        """A descriptor that select(2), epoll(7) and the like call readable when there may be something to read.

        For loops that wait for several things: once it is registered, and whenever it is readable, call `poll(0)` until
        it finds nothing. What came before it was registered may not be announced. Still owned by the reader.

        Raises:
            ClosedError: the reader is closed.
        """
        return self._inside(self._descriptor_to_wait_for)

    def _descriptor_to_wait_for(self) -> int:
        self._check_open()
        return self._epoll.fileno()

    def close(self) -> None:
        """Stop reading, wake who waits, and let go of the memory; harmless when done before.

        Any thread may call it, and a signal handler, whatever it interrupts. Where another thread is waiting, memory
        and descriptors go when that thread has woken.
        """
        self._inside(self._say_closed)

    def _say_closed(self) -> None:
        self._closed = True

    def _inside(self, act: Callable[..., T], *arguments: Any) -> T:
        """Do something with the memory: one thread at a time, and nothing is let go of meanwhile."""
        with self._lock:
            self._depth += 1
            try:
                return act(*arguments)
            finally:
                self._depth -= 1
                if self._closed and not self._depth:
                    self._finish()

    def _finish(self) -> None:
        """Wind up a closed reader as far as its waiters allow; often too much is harmless. The lock is held."""
        if self._finishing:  # a signal handler interrupted this very function
            return
        self._finishing = True
        try:
            if not self._settled:
                undelivered = 0
                with suppress(IndexError):
                    while True:
                        self._pending.pop()
                        undelivered += 1
                self._give_back(undelivered)
                os.eventfd_write(self._wake, 1)  # stays readable: every waiter wakes
                self._settled = True
            if not self._waiters:
                self._resources.close()
        finally:
            self._finishing = False

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"reader of {self._kind} {self.name!r} is closed")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        module = type(self).__module__.rpartition(".")[2]
        state = "closed" if self._closed else "open"
        return f"<{module}.{type(self).__qualname__} of {self.name!r}: {state}>"

    def __del__(self) -> None:
        if not getattr(self, "_closed", True):
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            self.close()

    # --- looking, and waiting for something to see -------------------------------------------------

    def _look(self, limit: int = BATCH) -> bool:
        """Copy what has arrived, unless something is still to be handed out; for one who is inside.

        Returns:
            False if there is nothing to hand out. True promises no record, see `_fetch`.
        """
        self._check_open()
        if self._pending:
            return True
        if self._depth > 1:
            raise InputError(f"{self._kind} {self.name!r} is being read by what this signal handler interrupted")
        return self._fetch(limit)

    def _refill(self, limit: int = BATCH) -> bool:
        """`_look`, for one who does not wait; what it copied is also for those who do."""
        return self._inside(self._look_for_all, limit)

    def _look_for_all(self, limit: int) -> bool:
        found = self._look(limit)
        if found:
            self._pass_on()
        return found

    def _arrive(self, ticket: object) -> None:
        self._check_open()
        self._waiters.add(ticket)

    def _depart(self, ticket: object) -> None:
        self._waiters.discard(ticket)
        if not self._closed:
            self._pass_on()

    def _deadline(self, timeout: float | None) -> float | None:
        chosen = self.timeout if timeout is None else timeout
        return None if chosen is None else time.monotonic() + in_seconds(chosen)

    def _time_left(self, deadline: float | None) -> float | None:
        """Seconds for the next wait."""
        if deadline is None:
            return None
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"no record in {self._kind} {self.name!r} in time")
        return min(left, _SLICE)

    def _wait(self, deadline: float | None) -> None:
        """Wait for data, for the close, or for the deadline, whichever is first.

        Raises:
            ClosedError: the reader was closed.
            TimeoutError: the deadline passed.
        """
        ticket = object()
        try:
            self._inside(self._arrive, ticket)
            while not self._inside(self._look):
                left = self._time_left(deadline)
                if self._epoll.poll(left) and self._pause and not self._inside(self._look):
                    until_closed = select.poll()
                    until_closed.register(self._wake, select.POLLIN)
                    until_closed.poll(1000 * (self._pause if left is None else min(left, self._pause)))
        finally:
            self._inside(self._depart, ticket)

    async def _wait_async(self) -> None:
        """Wait for data or the close; nothing stays registered with the event loop, whatever happens."""
        import asyncio

        if self._awaited:
            raise InputError(f"another task already waits on {self._kind} {self.name!r}")
        loop = asyncio.get_running_loop()
        deadline = self._deadline(None)
        ticket = object()
        self._awaited = True
        try:
            self._inside(self._arrive, ticket)
            while not self._inside(self._look):
                left = self._time_left(deadline)
                ready = loop.create_future()
                loop.add_reader(self._epoll.fileno(), _resolve, ready)
                try:
                    if self._inside(self._look):  # to be added polls the memory, which may spend a wake-up
                        break
                    await asyncio.wait((ready,), timeout=left)
                finally:
                    loop.remove_reader(self._epoll.fileno())
                if ready.done() and self._pause and not self._inside(self._look):
                    await asyncio.sleep(self._pause)
        finally:
            self._awaited = False
            self._inside(self._depart, ticket)

    # --- reading -----------------------------------------------------------------------------------

    def read(self, timeout: float | None = None) -> R:
        """The next record.

        Args:
            timeout: seconds to wait, 0 for not at all; None: the reader's own `timeout`.

        Raises:
            TimeoutError: there was none in time.
            ClosedError: the reader is closed, or was closed meanwhile.
            InputError: a timeout that cannot be (negative, not a number, beyond `LONGEST`); a record that cannot be;
                or a signal handler reads what it interrupted the reading of.
        """
        if timeout is not None:
            timeout = in_seconds(timeout)
        deadline = None
        waited = False
        while True:
            try:
                return self._pending.popleft()
            except IndexError:
                if not self._refill():
                    if not waited:
                        deadline, waited = self._deadline(timeout), True
                    self._wait(deadline)

    def poll(self, timeout: float | None = None, *, limit: int = 4096) -> list[R]:
        """The records that are there, waiting for the first if there is none.

        Args:
            timeout: seconds to wait, 0 for not at all; None: the reader's own `timeout`.
            limit: records at most, 1 or more.

        Returns:
            One record or more; none if the time is over.

        Raises:
            ClosedError: the reader is closed, or was closed meanwhile.
            InputError: as for `read`, or a limit that cannot be.
        """
        if not isinstance(limit, int) or limit < 1:
            raise InputError(f"limit is a positive number of records, not {limit!r}")
        deadline = self._deadline(timeout)
        while True:
            if not self._refill(limit):
                try:
                    self._wait(deadline)
                except TimeoutError:
                    return []
            records = self._inside(self._take, limit)
            if records:
                return records

    def _take(self, limit: int) -> list[R]:
        self._check_open()
        pending = self._pending
        records: list[R] = []
        with suppress(IndexError):  # other threads may take some at the same time
            while len(records) < limit:
                records.append(pending.popleft())
        if not pending:
            self._emptied()
        return records

    def __iter__(self) -> Iterator[R]:
        """Every record as it comes. The loop ends, without an error, when the reader is closed, or if it is already.

        Raises:
            TimeoutError: the reader has a `timeout` and no record came in time.
        """
        pending = self._pending
        while True:
            try:
                record = pending.popleft()
            except IndexError:
                try:
                    if not self._refill():
                        self._wait(self._deadline(None))
                except ClosedError:
                    return
            else:
                yield record

    async def __aiter__(self) -> AsyncIterator[R]:
        """Every record as it comes; returns to the event loop after each batch.

        The loop ends, without an error, when the reader is closed, or if it is already.

        Raises:
            TimeoutError: the reader has a `timeout` and no record came in time.
            InputError: another task waits on this reader.
        """
        import asyncio

        pending = self._pending
        while True:
            try:
                record = pending.popleft()
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


def in_seconds(timeout: float) -> float:
    """A timeout, checked.

    Raises:
        InputError: it is no number of seconds from 0 to `LONGEST`.
    """
    if hasattr(type(timeout), "__float__"):  # text has none
        with suppress(TypeError, ValueError, OverflowError):
            seconds = float(timeout)
            if 0 <= seconds <= LONGEST:
                return seconds
    raise InputError(f"a timeout is a number of seconds from 0 to {LONGEST:.0f}, or None for no limit, not {timeout!r}")


def _descriptor(map: object, kind: str) -> int:  # noqa: A002
    """The number of a map's descriptor."""
    fileno = getattr(map, "fileno", None)
    if callable(fileno):
        try:
            number = fileno()
        except EbpfError:
            raise
        except (OSError, ValueError, TypeError) as error:
            raise InputError(f"a {kind} is read from a map; {type(map).__name__} has no descriptor: {error}") from error
        if isinstance(number, int):
            return number
    raise InputError(f"a {kind} is read from a map, or anything with fileno(), not from {type(map).__name__}")


def _resolve(future: object) -> None:
    """Mark a future as done, once."""
    import asyncio

    assert isinstance(future, asyncio.Future)
    if not future.done():
        future.set_result(None)
