"""What the readers of ring buffers and of perf buffers both promise, each against the kernel's own buffers."""

import asyncio
import io
import math
import os
import random
import signal
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from ebpfpy import sys
from ebpfpy.errors import ClosedError, InputError, KernelError
from tests.kernel.producers import PerfProducer, RingProducer, descriptors_above, open_descriptors

pytestmark = pytest.mark.kernel


def ring(**options):
    return RingProducer(**options)


def perf_of_one_cpu(**options):
    return PerfProducer(cpu=min(os.sched_getaffinity(0)), **options)


@pytest.fixture(params=[ring, perf_of_one_cpu], ids=["ringbuf", "perf"])
def make(request):
    """Makes a producer; its records come in order."""
    return request.param


@contextmanager
def on_signal(number, handler):
    before = signal.signal(number, lambda *_: handler())
    try:
        yield
    finally:
        signal.signal(number, before)


@contextmanager
def soon(action, seconds=0.05):
    timer = threading.Timer(seconds, action)
    timer.start()
    try:
        yield
    finally:
        timer.join()


# --- reading ------------------------------------------------------------------------------------------


def test_an_empty_buffer_times_out(make):
    with make() as producer, producer.reader() as reader:
        before = time.monotonic()
        with pytest.raises(TimeoutError, match=producer.text):
            reader.read(timeout=0.05)
        assert time.monotonic() - before >= 0.049
        with pytest.raises(TimeoutError):
            reader.read(timeout=0)
        assert reader.poll(0) == []
        assert reader.poll(0.01) == []


def test_the_readers_own_timeout_ends_read_and_poll_and_iteration(make):
    with make() as producer, producer.reader(timeout=0.02) as reader:
        with pytest.raises(TimeoutError):
            reader.read()
        producer.run()
        found = []
        with pytest.raises(TimeoutError):
            found.extend(reader)
        assert [producer.number(record) for record in found] == [0]
        assert reader.poll() == []


def test_poll_gives_at_most_the_limit_and_loses_nothing(make):
    with make(per_run=100) as producer, producer.reader() as reader:
        producer.run()
        parts = [reader.poll(1, limit=30) for _ in range(4)]
        assert [len(part) for part in parts] == [30, 30, 30, 10]
        assert [producer.number(record) for part in parts for record in part] == list(range(100))
        assert reader.available == 0


def test_read_poll_and_iteration_take_turns(make):
    with make(per_run=10) as producer, producer.reader() as reader:
        producer.run()
        records = [reader.read(), next(iter(reader)), *reader.poll(limit=3), reader.read(0), *reader.poll(0)]
        assert [producer.number(record) for record in records] == list(range(10))


def test_twenty_thousand_records_in_order_across_many_wraps(make):
    with make(per_run=200, size=24) as producer, producer.reader() as reader:
        records = iter(reader)
        expected = 0
        while expected < 20_000:
            producer.run()
            for _ in range(200):
                assert producer.number(next(records)) == expected
                expected += 1
        assert producer.written == expected


def test_a_reader_wakes_for_a_record_that_comes_later(make):
    with make() as producer, producer.reader() as reader:
        for expected in range(3):
            with soon(producer.run):
                assert producer.number(reader.read(timeout=5)) == expected


def test_a_timeout_that_cannot_be_is_an_error_wherever_it_is_given(make):
    with make(per_run=3) as producer, producer.reader() as reader:
        before = open_descriptors()
        for timeout in (-1, -1e-9, math.nan, math.inf, 1e10, 10**400, "5", b"5", [], 1j):
            reader.timeout = None
            with pytest.raises(InputError, match="a timeout is a number of seconds from 0 to 1000000000"):
                producer.reader(timeout=timeout)
            producer.run()
            for use in (reader.read, reader.poll):
                with pytest.raises(InputError, match="or None for no limit"):
                    use(timeout)
            assert len(reader.poll(0)) == 3
            reader.timeout = timeout
            for use in (reader.read, reader.poll, iter(reader).__next__):
                with pytest.raises(InputError, match="a timeout is"):
                    use()
        assert open_descriptors() == before


def test_the_longest_timeout_is_no_error(make):
    with make() as producer, producer.reader(timeout=1e9) as reader:
        for wait in (lambda: reader.read(timeout=1e9), reader.read, lambda: reader.poll(3_000_000)[0]):
            with soon(producer.run, 0.02):
                wait()

        async def first():
            async for record in reader:
                return producer.number(record)
            return None

        with soon(producer.run, 0.02):
            assert asyncio.run(asyncio.wait_for(first(), 5)) == 3


def test_a_limit_that_cannot_be_is_an_error(make):
    with make() as producer, producer.reader() as reader:
        producer.run()
        for limit in (0, -1, 1.5, None, "1"):
            with pytest.raises(InputError, match="limit is a positive number of records"):
                reader.poll(0, limit=limit)
        assert len(reader.poll(0, limit=1 << 80)) == 1


def test_descriptors_above_1023_are_as_good_as_others(make):
    with descriptors_above(1023), make() as producer, producer.reader() as reader:
        with soon(producer.run, 0.02):
            assert producer.number(reader.read(5)) == 0
        with soon(reader.close, 0.02):
            assert list(reader) == []


# --- several threads ----------------------------------------------------------------------------------


def test_threads_share_the_records_and_none_sleeps_beside_one(make):
    total = 2000
    with make(per_run=10) as producer:
        reader = producer.reader()
        parts = [[] for _ in range(3)]
        done = threading.Event()

        def collect(part):
            while True:
                try:
                    part.append(producer.number(reader.read(timeout=10)))
                except ClosedError:
                    return
                if sum(map(len, parts)) >= total:
                    done.set()

        threads = [threading.Thread(target=collect, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        for _ in range(total // 10):
            producer.run()
            time.sleep(0.0005)
        assert done.wait(20)
        reader.close()
        for thread in threads:
            thread.join(5)
        assert sorted(record for part in parts for record in part) == list(range(total))


def test_one_who_takes_one_record_leaves_the_rest_to_a_waiter(make):
    with make(per_run=2) as producer, producer.reader() as reader:
        for _ in range(50):
            got = []
            threads = [
                threading.Thread(target=lambda into=got: into.append(producer.number(reader.read(timeout=5))))
                for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            time.sleep(0.001)
            producer.run()
            for thread in threads:
                thread.join(6)
            assert len(got) == 2


# --- being closed -------------------------------------------------------------------------------------


def test_close_from_another_thread_wakes_a_read(make):
    with make() as producer:
        reader = producer.reader()
        with soon(reader.close), pytest.raises(ClosedError, match="is closed"):
            reader.read()


def test_close_from_another_thread_ends_an_iteration(make):
    with make(per_run=10) as producer:
        reader = producer.reader()
        producer.run()
        with soon(reader.close):
            assert [producer.number(record) for record in reader] == list(range(10))


def test_close_wakes_every_thread_that_waits(make):
    with make() as producer:
        before = open_descriptors()
        reader = producer.reader()
        ended = []
        threads = [threading.Thread(target=lambda: ended.append(list(reader))) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.05)
        reader.close()
        for thread in threads:
            thread.join(5)
        assert ended == [[]] * 4
        assert open_descriptors() == before


def test_a_closed_reader_says_so_and_closes_again_in_silence(make):
    with make(per_run=5) as producer:
        reader = producer.reader()
        assert "open" in repr(reader)
        producer.run()
        assert producer.number(reader.read()) == 0
        reader.close()
        reader.close()
        assert reader.closed
        for use in (reader.read, reader.poll, lambda: reader.available):
            with pytest.raises(ClosedError, match=f"{producer.text} is closed"):
                use()
        assert list(reader) == []
        assert "closed" in repr(reader)


def test_closing_inside_the_loop_ends_the_loop(make):
    with make(per_run=100) as producer:
        reader = producer.reader()
        producer.run()
        seen = 0
        for _ in reader:
            seen += 1
            if seen == 5:
                reader.close()
        assert seen == 5


@pytest.mark.timeout(60, method="thread")  # the other method has the timer that this test sets
def test_a_signal_handler_may_close_what_its_thread_is_reading(make):
    randomly = random.Random(5)
    now = SimpleNamespace()

    def close():
        now.reader.close()

    everything = []
    with make(per_run=3) as producer, on_signal(signal.SIGALRM, close):
        before = open_descriptors()
        for _ in range(200):
            now.reader = reader = producer.reader()
            numbers = []
            signal.setitimer(signal.ITIMER_REAL, randomly.uniform(1e-5, 1e-3))
            try:
                while True:
                    producer.run()
                    numbers.append(producer.number(reader.read(0)))
                    numbers += map(producer.number, reader.poll(0, limit=randomly.randrange(1, 9)))
                    assert reader.available >= 0
            except ClosedError:
                pass
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            assert reader.closed
            assert numbers == list(range(numbers[0], numbers[-1] + 1) if numbers else ())
            assert open_descriptors() == before
            everything += numbers
        assert everything == (list(range(len(everything))) if producer.keeps else sorted(set(everything)))


def test_a_signal_handler_may_close_what_its_thread_is_waiting_for(make):
    with make() as producer:
        before = open_descriptors()
        reader = producer.reader()
        me = threading.get_ident()
        with (
            on_signal(signal.SIGUSR1, reader.close),
            soon(lambda: signal.pthread_kill(me, signal.SIGUSR1)),
        ):
            assert list(reader) == []
        assert open_descriptors() == before


def interrupted(producer, *, before):
    """A reader that a signal interrupts whenever it looks: before it has copied the records, or when it has them."""

    class Interrupted(producer.module.Reader):
        def _fetch(self, limit):
            if before:
                signal.raise_signal(signal.SIGUSR1)
            found = super()._fetch(limit)
            if not before:
                signal.raise_signal(signal.SIGUSR1)
            return found

    return Interrupted(producer.map)


@pytest.mark.parametrize("before", [True, False], ids=["before it has records", "when it has records"])
def test_a_signal_handler_that_closes_in_the_middle_of_a_look_leaves_nothing_behind(make, before):
    with make(per_run=20) as producer:
        open_before = open_descriptors()
        for _ in range(2):
            reader = interrupted(producer, before=before)
            producer.run()
            with on_signal(signal.SIGUSR1, reader.close), pytest.raises(ClosedError):
                reader.read()
            assert open_descriptors() == open_before
        with producer.reader() as reader:
            assert [producer.number(record) for record in reader.poll(0)] == list(range(40) if producer.keeps else ())


def test_a_signal_handler_that_reads_in_the_middle_of_a_look_gets_a_record_or_an_error(make):
    with make(per_run=20) as producer, interrupted(producer, before=False) as reader:
        got, refused = [], []

        def read_all():
            try:
                while True:
                    got.append(producer.number(reader.read(0)))
            except InputError as error:
                refused.append(str(error))

        producer.run()
        with on_signal(signal.SIGUSR1, read_all), pytest.raises(TimeoutError):
            reader.read(0)
        assert got == list(range(20))
        assert refused[0] == f"{producer.text} is being read by what this signal handler interrupted"


def test_an_interrupt_leaves_a_reader_that_reads_on_and_closes(make):
    class Ctrl(Exception):  # noqa: N818 (no error of anything)
        pass

    def interrupt():
        raise Ctrl

    me = threading.get_ident()
    with make() as producer:
        before = open_descriptors()
        with producer.reader() as reader, on_signal(signal.SIGUSR1, interrupt):
            with soon(lambda: signal.pthread_kill(me, signal.SIGUSR1)), pytest.raises(Ctrl):
                reader.read()
            producer.run()
            assert producer.number(reader.read(0)) == 0
        assert open_descriptors() == before


def test_the_map_may_be_closed_before_the_reader_and_is_never_closed_by_it(make):
    with make() as producer:
        with producer.reader():
            pass
        assert not producer.map.closed
        with producer.reader() as reader:
            producer.map.close()
            producer.run()
            assert producer.number(reader.read(timeout=5)) == 0
            with pytest.raises(TimeoutError):
                reader.read(timeout=0.01)


def test_a_reader_leaves_no_descriptor_behind(make):
    with make() as producer:
        before = open_descriptors()
        for _ in range(20):
            with producer.reader() as reader:
                reader.poll(0)
        assert open_descriptors() == before


def test_a_dropped_reader_warns_and_leaves_no_descriptor_behind(make):
    with make() as producer:
        before = open_descriptors()
        reader = producer.reader()
        name = producer.module.__name__.rpartition(".")[2]
        with pytest.warns(ResourceWarning, match=rf"unclosed <{name}\.Reader of"):
            del reader
        assert open_descriptors() == before


# --- what is no such map ------------------------------------------------------------------------------


def test_another_type_of_map_is_an_error_that_leaves_no_descriptor_behind(make):
    with make() as producer:
        before = open_descriptors()
        with pytest.raises(InputError, match=f"map '[a-z]*' is {producer.no_map} "):
            producer.module.Reader(producer.state)
        assert open_descriptors() == before


class Odd:
    def __init__(self, answer):
        self.answer = answer

    def fileno(self):
        return self.answer


def test_what_is_no_map_is_an_error_that_says_what_is_expected(make):
    with make() as producer:
        for given in (None, 5.0, 5, "ring", Odd("5"), Odd(None), io.StringIO(), io.StringIO):
            with pytest.raises(InputError, match=f"is read from a map.*{type(given).__name__}"):
                producer.module.Reader(given)


def test_a_descriptor_of_something_else_is_an_error(make):
    with make() as producer, open("/dev/null") as file, pytest.raises(KernelError):
        producer.module.Reader(file)
    with make() as producer:
        producer.map.close()
        with pytest.raises(ClosedError):
            producer.reader()


def test_a_read_only_descriptor_is_an_error_that_leaves_no_descriptor_behind(make):
    with make() as producer:
        number = sys.map_info(producer.map).id
        with sys.fd_by_id("map", number, open_flags=sys.MapFlags.RDONLY) as fd:
            before = open_descriptors()
            with pytest.raises(PermissionError):
                producer.module.Reader(fd)
            assert open_descriptors() == before


# --- asyncio ------------------------------------------------------------------------------------------


def test_async_iteration_gives_every_record_in_order(make):
    async def collect(producer, reader):
        loop = asyncio.get_running_loop()
        seen = []
        loop.call_later(0.02, producer.run)
        loop.call_later(0.04, producer.run)
        async for record in reader:
            seen.append(producer.number(record))
            if len(seen) == 1000:
                break
        return seen

    with make(per_run=500) as producer, producer.reader() as reader:
        assert asyncio.run(collect(producer, reader)) == list(range(1000))


def test_a_record_that_comes_while_the_event_loop_is_told_to_watch_is_seen(make):
    async def first(producer, reader):
        loop = asyncio.get_running_loop()
        watch = loop.add_reader

        def late(*arguments):
            producer.run()
            watch(*arguments)

        loop.add_reader = late
        try:
            async for record in reader:
                return producer.number(record)
        finally:
            loop.add_reader = watch

    with make() as producer, producer.reader() as reader:
        for expected in range(3):
            assert asyncio.run(asyncio.wait_for(first(producer, reader), 5)) == expected


def test_async_iteration_lets_other_tasks_run_under_a_flood(make):
    async def flood(producer, reader):
        ticks = 0

        async def tick():
            nonlocal ticks
            while True:
                ticks += 1
                await asyncio.sleep(0)

        task = asyncio.create_task(tick())
        await asyncio.sleep(0)
        seen = 0
        producer.run()
        async for _ in reader:
            seen += 1
            if seen % 1000 == 0:
                producer.run()
            if seen == 20_000:
                break
        task.cancel()
        return ticks

    with make(per_run=1000) as producer, producer.reader() as reader:
        assert asyncio.run(flood(producer, reader)) >= 20_000 // 256


def test_cancelling_loses_no_record_and_leaves_nothing_registered(make):
    async def scenario(producer, reader):
        async def consume():
            async for record in reader:
                return producer.number(record)
            return None

        before = open_descriptors()
        task = asyncio.create_task(consume())
        await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert open_descriptors() == before
        producer.run()
        return await asyncio.wait_for(consume(), 5)

    with make() as producer, producer.reader() as reader:
        assert asyncio.run(scenario(producer, reader)) == 0


def test_closing_from_another_thread_ends_async_iteration(make):
    async def scenario(reader):
        return [record async for record in reader]

    with make() as producer:
        before = open_descriptors()
        reader = producer.reader()
        with soon(reader.close):
            assert asyncio.run(asyncio.wait_for(scenario(reader), 5)) == []
        assert asyncio.run(scenario(reader)) == []
        assert open_descriptors() == before


def test_closing_from_a_signal_handler_of_the_loop_ends_async_iteration(make):
    async def scenario(producer, reader):
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR1, reader.close)
        loop.call_later(0.02, producer.run)
        loop.call_later(0.05, os.kill, os.getpid(), signal.SIGUSR1)
        return [producer.number(record) async for record in reader]

    with make() as producer:
        before = open_descriptors()
        assert asyncio.run(asyncio.wait_for(scenario(producer, producer.reader()), 5)) == [0]
        assert open_descriptors() == before


def test_async_iteration_respects_the_readers_timeout(make):
    async def scenario(reader):
        async for _ in reader:
            pytest.fail("there was no record")

    with make() as producer, producer.reader(timeout=0.02) as reader, pytest.raises(TimeoutError):
        asyncio.run(scenario(reader))


def test_two_tasks_on_one_reader_are_an_error_not_a_hang(make):
    async def scenario(reader):
        async def consume():
            async for _ in reader:
                return

        first = asyncio.create_task(consume())
        await asyncio.sleep(0.01)
        with pytest.raises(InputError, match="another task"):
            await consume()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first

    with make() as producer, producer.reader() as reader:
        asyncio.run(scenario(reader))


def test_two_readers_of_two_maps_in_one_loop(make):
    async def collect(producer, reader, count):
        seen = []
        async for record in reader:
            seen.append(producer.number(record))
            if len(seen) == count:
                break
        return seen

    async def scenario(one, two, first, second):
        loop = asyncio.get_running_loop()
        loop.call_later(0.02, one.run, 3)
        loop.call_later(0.03, two.run, 2)
        return await asyncio.gather(collect(one, first, 3), collect(two, second, 2))

    with make() as one, make() as two, one.reader() as first, two.reader() as second:
        assert asyncio.run(scenario(one, two, first, second)) == [[0, 1, 2], [0, 1]]


def test_a_task_and_a_thread_on_one_reader_share_the_records(make):
    total = 400

    async def collect(producer, reader, seen):
        def other():
            while True:
                try:
                    seen.append(producer.number(reader.read(timeout=5)))
                except ClosedError:
                    return

        thread = threading.Thread(target=other)
        thread.start()
        loop = asyncio.get_running_loop()
        for index in range(total // 4):
            loop.call_later(0.001 * index, producer.run)

        def close_when_done():
            if len(seen) >= total:
                reader.close()
            else:
                loop.call_later(0.01, close_when_done)

        close_when_done()
        async for record in reader:
            seen.append(producer.number(record))
        thread.join(5)

    with make(per_run=4) as producer, producer.reader() as reader:
        seen = []
        asyncio.run(asyncio.wait_for(collect(producer, reader, seen), 20))
        assert sorted(seen) == list(range(total))
