"""The ring buffer reader against the kernel's own ring buffer; the producer is a program of ours."""

import asyncio
import os
import struct
import sys as python
import threading
import time

import pytest

from ebpfpy import asm, sys
from ebpfpy.asm import AluOp, JumpOp
from ebpfpy.errors import ClosedError, InputError, KernelError
from ebpfpy.ringbuf import Reader

pytestmark = pytest.mark.kernel

ORDER = python.byteorder


class Producer:
    """A socket filter that writes records into a ring buffer each time it runs.

    Each run writes `per_run` records of `size` bytes that begin with a u64, counted up over all runs; a
    record for which the ring has no room is not counted.
    """

    def __init__(self, *, ring_size=1 << 16, per_run=1, size=8, notify=0, helper="ringbuf_output"):
        self.map = sys.map_create(
            type=sys.MapType.RINGBUF, key_size=0, value_size=0, max_entries=ring_size, name="ring"
        )
        self.state = sys.map_create(type=sys.MapType.ARRAY, key_size=4, value_size=8, max_entries=1)
        assert size % 8 == 0
        fill = [asm.st(8, 10, -size + at, 0x55) for at in range(8, size, 8)]
        begin = [
            asm.ld_map_value(9, self.state.fileno()),
            asm.mov_imm(6, 0),
        ]
        if helper == "ringbuf_output":
            body = [
                asm.ldx(8, 7, 9),
                asm.stx(8, 10, -size, 7),
                *fill,
                asm.ld_map_fd(1, self.map.fileno()),
                asm.mov_reg(2, 10),
                asm.alu_imm(AluOp.ADD, 2, -size),
                asm.mov_imm(3, size),
                asm.mov_imm(4, notify),
                asm.call("ringbuf_output"),
                asm.jump_imm(JumpOp.JNE, 0, 0, 2),
                asm.alu_imm(AluOp.ADD, 7, 1),
                asm.stx(8, 9, 0, 7),
            ]
        else:
            body = [
                asm.ld_map_fd(1, self.map.fileno()),
                asm.mov_imm(2, size),
                asm.mov_imm(3, 0),
                asm.call("ringbuf_reserve"),
                asm.jump_imm(JumpOp.JEQ, 0, 0, 5),  # to the end: going on would double the verifier's paths each time
                asm.mov_reg(1, 0),
                asm.mov_imm(2, notify),
                asm.call(helper),
            ]
        step = [asm.alu_imm(AluOp.ADD, 6, 1)]
        back = -(sum(insn.slots for insn in body + step) + 1)
        code = [
            *begin,
            *body,
            *step,
            asm.jump_imm(JumpOp.JLT, 6, per_run, back),
            asm.mov_imm(0, 0),
            asm.exit_(),
        ]
        self.program, _ = sys.prog_load(
            type=sys.ProgramType.SOCKET_FILTER, insns=asm.encode(code, ORDER), license="GPL", name="producer"
        )

    def run(self, times=1):
        for _ in range(times):
            sys.prog_test_run(self.program, data=bytes(14))

    @property
    def written(self):
        return struct.unpack("=Q", sys.map_lookup(self.state, bytes(4), 8))[0]

    def close(self):
        self.program.close()
        self.state.close()
        self.map.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


def number(record):
    return struct.unpack_from("=Q", record)[0]


def open_descriptors():
    return sorted(os.listdir("/proc/self/fd"))


def test_a_record_is_read_as_bytes():
    with Producer(size=24) as producer, Reader(producer.map) as reader:
        producer.run()
        assert reader.available == 32
        assert reader.read(timeout=5) == struct.pack("=QQQ", 0, 0x55, 0x55)
        assert reader.size == 1 << 16


def test_reading_an_empty_ring_times_out():
    with Producer() as producer, Reader(producer.map) as reader:
        before = time.monotonic()
        with pytest.raises(TimeoutError, match="ring buffer 'ring'"):
            reader.read(timeout=0.05)
        assert time.monotonic() - before >= 0.049
        with pytest.raises(TimeoutError):
            reader.read(timeout=0)
        assert reader.poll(0) == []
        assert reader.poll(0.01) == []


def test_the_readers_own_timeout_ends_read_and_iteration():
    with Producer() as producer, Reader(producer.map, timeout=0.02) as reader:
        with pytest.raises(TimeoutError):
            reader.read()
        producer.run()
        found = []
        with pytest.raises(TimeoutError):
            found.extend(iter(reader))
        assert reader.poll() == []


def test_poll_gives_at_most_the_limit_and_loses_nothing():
    with Producer(per_run=100) as producer, Reader(producer.map) as reader:
        producer.run()
        parts = [reader.poll(1, limit=30) for _ in range(4)]
        assert [len(part) for part in parts] == [30, 30, 30, 10]
        assert [number(record) for part in parts for record in part] == list(range(100))
        assert reader.available == 0


def test_a_hundred_thousand_records_in_order_across_many_wraps():
    total = 100_000
    with Producer(ring_size=1 << 16, per_run=500, size=24) as producer, Reader(producer.map) as reader:
        expected = 0
        records = iter(reader)
        while expected < total:
            producer.run()
            for _ in range(producer.written - expected):
                record = next(records)
                assert number(record) == expected
                assert len(record) == 24
                expected += 1
        assert expected == total  # 32 bytes each: 48 times round the ring


def test_a_full_ring_loses_new_records_and_keeps_the_old_ones():
    with Producer(ring_size=4096, per_run=1000) as producer, Reader(producer.map) as reader:
        producer.run()
        kept = producer.written
        assert 200 < kept < 1000
        assert [number(record) for record in reader.poll(0)] == list(range(kept))


def test_discarded_records_are_not_seen_and_give_their_room_back():
    with (
        Producer(ring_size=4096, per_run=100, helper="ringbuf_discard") as producer,
        Reader(producer.map) as reader,
    ):
        for _ in range(20):
            producer.run()
            assert reader.poll(0) == []
        assert reader.available == 0


def test_a_reader_wakes_for_a_record_that_comes_later():
    with Producer() as producer, Reader(producer.map) as reader:
        timer = threading.Timer(0.05, producer.run)
        timer.start()
        assert number(reader.read(timeout=5)) == 0
        timer.join()


def test_a_producer_that_never_notifies_is_still_seen_by_the_next_look():
    with Producer(notify=1) as producer, Reader(producer.map) as reader:
        producer.run(3)
        assert len(reader.poll(0)) == 3


def test_close_from_another_thread_wakes_a_read():
    with Producer() as producer:
        reader = Reader(producer.map)
        timer = threading.Timer(0.05, reader.close)
        timer.start()
        with pytest.raises(ClosedError, match="is closed"):
            reader.read()
        timer.join()


def test_close_from_another_thread_ends_an_iteration():
    with Producer(per_run=10) as producer:
        producer.run()
        reader = Reader(producer.map)
        timer = threading.Timer(0.05, reader.close)
        timer.start()
        assert [number(record) for record in reader] == list(range(10))
        timer.join()


def test_close_wakes_every_thread_that_waits():
    with Producer() as producer:
        before = open_descriptors()
        reader = Reader(producer.map)
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


def test_threads_share_the_records():
    with Producer(ring_size=1 << 20, per_run=5000) as producer:
        producer.run()
        reader = Reader(producer.map)
        parts = [[] for _ in range(3)]
        done = threading.Event()

        def collect(part):
            for record in reader:
                part.append(number(record))
                if sum(map(len, parts)) >= 5000:
                    done.set()

        threads = [threading.Thread(target=collect, args=(part,)) for part in parts]
        for thread in threads:
            thread.start()
        assert done.wait(20)
        reader.close()
        for thread in threads:
            thread.join(5)
        assert sorted(record for part in parts for record in part) == list(range(5000))


def test_a_closed_reader_says_so_and_closes_again_in_silence():
    with Producer() as producer:
        reader = Reader(producer.map)
        reader.close()
        reader.close()
        for use in (reader.read, reader.poll, lambda: reader.available):
            with pytest.raises(ClosedError, match="ring buffer 'ring' is closed"):
                use()
        assert list(reader) == []
        assert "closed" in repr(reader)


def test_the_next_reader_starts_at_the_first_record_that_nobody_got():
    with Producer(per_run=100) as producer:
        producer.run()
        with Reader(producer.map) as reader:
            records = iter(reader)
            assert [number(next(records)) for _ in range(10)] == list(range(10))
        with Reader(producer.map) as reader:
            assert [number(record) for record in reader.poll(0)] == list(range(10, 100))
        with Reader(producer.map) as reader:
            assert reader.poll(0) == []


def test_closing_inside_the_loop_ends_the_loop():
    with Producer(per_run=100) as producer:
        producer.run()
        reader = Reader(producer.map)
        seen = 0
        for _ in reader:
            seen += 1
            if seen == 5:
                reader.close()
        assert seen == 5


def test_the_map_may_be_closed_before_the_reader_and_is_never_closed_by_it():
    with Producer() as producer:
        with Reader(producer.map):
            pass
        assert not producer.map.closed
        with Reader(producer.map) as reader:
            producer.run()
            producer.map.close()
            assert number(reader.read(timeout=5)) == 0
            with pytest.raises(TimeoutError):
                reader.read(timeout=0.01)


def test_a_reader_leaves_no_descriptor_behind():
    with Producer() as producer:
        before = open_descriptors()
        for _ in range(20):
            with Reader(producer.map) as reader:
                reader.poll(0)
        assert open_descriptors() == before


def test_a_dropped_reader_warns_and_leaves_no_descriptor_behind():
    with Producer() as producer:
        before = open_descriptors()
        reader = Reader(producer.map)
        with pytest.warns(ResourceWarning, match=r"unclosed <ringbuf\.Reader"):
            del reader
        assert open_descriptors() == before


def test_another_type_of_map_is_an_error_that_leaves_no_descriptor_behind():
    with sys.map_create(type=sys.MapType.ARRAY, key_size=4, value_size=4, max_entries=1, name="arr") as fd:
        before = open_descriptors()
        with pytest.raises(InputError, match="map 'arr' is no ring buffer"):
            Reader(fd)
        assert open_descriptors() == before


def test_a_read_only_descriptor_is_an_error_that_leaves_no_descriptor_behind():
    with Producer() as producer:
        number_ = sys.map_info(producer.map).id
        with sys.fd_by_id("map", number_, open_flags=sys.MapFlags.RDONLY) as fd:
            before = open_descriptors()
            with pytest.raises(KernelError, match="ring buffer ring: mmap"):
                Reader(fd)
            assert open_descriptors() == before


# --- asyncio ------------------------------------------------------------------------------------------


def test_async_iteration_gives_every_record_in_order():
    async def collect(producer, reader):
        loop = asyncio.get_running_loop()
        seen = []
        loop.call_later(0.02, producer.run)
        loop.call_later(0.04, producer.run)
        async for record in reader:
            seen.append(number(record))
            if len(seen) == 2000:
                return seen
        return seen

    with Producer(per_run=1000) as producer, Reader(producer.map) as reader:
        assert asyncio.run(collect(producer, reader)) == list(range(2000))


def test_async_iteration_lets_other_tasks_run_under_a_flood():
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

    with Producer(ring_size=1 << 20, per_run=1000) as producer, Reader(producer.map) as reader:
        assert asyncio.run(flood(producer, reader)) >= 20_000 // 256


def test_cancelling_loses_no_record_and_leaves_nothing_registered():
    async def scenario(producer, reader):
        async def consume():
            async for record in reader:
                return number(record)
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

    with Producer() as producer, Reader(producer.map) as reader:
        assert asyncio.run(scenario(producer, reader)) == 0


def test_closing_from_another_thread_ends_async_iteration():
    async def scenario(reader):
        return [record async for record in reader]

    with Producer() as producer:
        before = open_descriptors()
        reader = Reader(producer.map)
        timer = threading.Timer(0.05, reader.close)
        timer.start()
        assert asyncio.run(asyncio.wait_for(scenario(reader), 5)) == []
        timer.join()
        assert open_descriptors() == before


def test_async_iteration_respects_the_readers_timeout():
    async def scenario(reader):
        async for _ in reader:
            pytest.fail("there was no record")

    with Producer() as producer, Reader(producer.map, timeout=0.02) as reader, pytest.raises(TimeoutError):
        asyncio.run(scenario(reader))


def test_two_tasks_on_one_reader_are_an_error_not_a_hang():
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

    with Producer() as producer, Reader(producer.map) as reader:
        asyncio.run(scenario(reader))


def test_two_readers_of_two_maps_in_one_loop():
    async def collect(reader, count):
        seen = []
        async for record in reader:
            seen.append(number(record))
            if len(seen) == count:
                break
        return seen

    async def scenario(one, two, first, second):
        loop = asyncio.get_running_loop()
        loop.call_later(0.02, one.run, 3)
        loop.call_later(0.03, two.run, 2)
        return await asyncio.gather(collect(first, 3), collect(second, 2))

    with Producer() as one, Producer() as two, Reader(one.map) as first, Reader(two.map) as second:
        assert asyncio.run(scenario(one, two, first, second)) == [[0, 1, 2], [0, 1]]
