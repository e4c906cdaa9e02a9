"""The perf buffer reader against the kernel's own perf events; the producer is a program of ours."""

import asyncio
import ctypes
import errno
import os
import struct
import sys as python
import threading
import time
from contextlib import contextmanager

import pytest

from ebpfpy import asm, btf, sys
from ebpfpy.asm import AluOp, JumpOp
from ebpfpy.errors import ClosedError, InputError, KernelError
from ebpfpy.perf import Reader, Record
from ebpfpy.sys import perfevent

pytestmark = pytest.mark.kernel

ORDER = python.byteorder
CURRENT_CPU = 0xFFFFFFFF


class Producer:
    """A raw tracepoint program, run by hand, that sends `per_run` records of `size` bytes through a perf event array.

    A record begins with a u64 that counts the records sent since the beginning, refused ones included; the program
    counts those that the kernel took.
    """

    def __init__(self, *, per_run=1, size=12):
        assert size % 4 == 0
        self.map = sys.map_create(
            type=sys.MapType.PERF_EVENT_ARRAY,
            key_size=4,
            value_size=4,
            max_entries=sys.possible_cpus(),
            name="perfbuf",
        )
        self.state = sys.map_create(type=sys.MapType.ARRAY, key_size=4, value_size=16, max_entries=1)
        room = (size + 7) // 8 * 8
        body = [
            asm.ldx(8, 7, 9),
            asm.stx(8, 10, -room, 7),
            asm.alu_imm(AluOp.ADD, 7, 1),
            asm.stx(8, 9, 0, 7),
            asm.mov_reg(1, 8),
            asm.ld_map_fd(2, self.map.fileno()),
            asm.ld_imm64(3, CURRENT_CPU),
            asm.mov_reg(4, 10),
            asm.alu_imm(AluOp.ADD, 4, -room),
            asm.mov_imm(5, size),
            asm.call("perf_event_output"),
            asm.jump_imm(JumpOp.JNE, 0, 0, 3),
            asm.ldx(8, 7, 9, 8),
            asm.alu_imm(AluOp.ADD, 7, 1),
            asm.stx(8, 9, 8, 7),
            asm.alu_imm(AluOp.ADD, 6, 1),
        ]
        back = -(sum(insn.slots for insn in body) + 1)
        code = [
            asm.mov_reg(8, 1),
            asm.ld_map_value(9, self.state.fileno()),
            asm.mov_imm(6, 0),
            *[asm.st(8, 10, -at, 0x55) for at in range(8, room + 1, 8)],
            *body,
            asm.jump_imm(JumpOp.JLT, 6, per_run, back),
            asm.mov_imm(0, 0),
            asm.exit_(),
        ]
        self.program, _ = sys.prog_load(
            type=sys.ProgramType.RAW_TRACEPOINT, insns=asm.encode(code, ORDER), license="GPL", name="producer"
        )

    def run(self, times=1, cpu=None):
        for _ in range(times):
            if cpu is None:
                sys.prog_test_run(self.program, repeat=0)
            else:
                sys.prog_test_run(self.program, repeat=0, flags=1, cpu=cpu)

    @property
    def sent(self):
        return struct.unpack("=QQ", sys.map_lookup(self.state, bytes(4), 16))[0]

    @property
    def taken(self):
        return struct.unpack("=QQ", sys.map_lookup(self.state, bytes(4), 16))[1]

    def close(self):
        self.program.close()
        self.state.close()
        self.map.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


@contextmanager
def on_one_cpu():
    """Keep this thread, and so the programs that it runs, on one CPU."""
    before = os.sched_getaffinity(0)
    cpu = min(before)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, before)


def number(record):
    return struct.unpack_from("=Q", record.data)[0]


def open_descriptors():
    return sorted(os.listdir("/proc/self/fd"))


def online_cpus():
    with open("/sys/devices/system/cpu/online") as file:
        text = file.read()
    found = []
    for part in text.strip().split(","):
        first, _, last = part.partition("-")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def test_the_layout_of_perf_event_attr_is_the_kernels():
    kernel = btf.load_kernel_spec()
    attr = kernel.type_by_name("perf_event_attr", btf.Struct)
    sizes = {}
    offsets = {}
    for member in attr.members:
        if member.name:
            offsets[member.name] = member.offset_bits // 8
            sizes[member.name] = btf.sizeof(member.type)
    ours = perfevent.PerfEventAttr
    for name in ("type", "size", "config", "sample_type", "read_format", "bp_type", "clockid", "sample_max_stack"):
        field = getattr(ours, name)
        assert (name, field.offset, field.size) == (name, offsets[name], sizes[name])
    assert ours.flags.offset == offsets["disabled"]
    assert btf.sizeof(attr) <= ctypes.sizeof(ours)
    flags = {member.name: member.offset_bits - 8 * offsets["disabled"] for member in attr.members if member.name}
    if ORDER == "little":
        for flag in perfevent.EventFlag:
            assert 1 << flags[flag.name.lower()] == flag


def test_a_record_is_read_with_its_cpu():
    with Producer() as producer, on_one_cpu() as cpu, Reader(producer.map) as reader:
        producer.run()
        assert reader.read(timeout=5) == Record(cpu, struct.pack("=QI", 0, 0x55), 0)
        assert cpu in reader.cpus


def test_every_online_cpu_is_read():
    with Producer() as producer, Reader(producer.map) as reader:
        assert reader.cpus == online_cpus()
        for cpu in reader.cpus:
            producer.run(cpu=cpu)
        records = [reader.read(timeout=5) for _ in reader.cpus]
        assert sorted(record.cpu for record in records) == list(reader.cpus)


def test_padding_is_at_most_seven_bytes():
    with Producer(size=16) as producer, Reader(producer.map) as reader:
        producer.run()
        data = reader.read(timeout=5).data
        assert data[:16] == struct.pack("=QQ", 0, 0x55)
        assert len(data) == 20


def test_reading_an_empty_buffer_times_out():
    with Producer() as producer, Reader(producer.map) as reader:
        before = time.monotonic()
        with pytest.raises(TimeoutError, match="perf buffer 'perfbuf'"):
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
        assert len(found) == 1


def test_poll_gives_at_most_the_limit_and_loses_nothing():
    with Producer(per_run=100) as producer, on_one_cpu(), Reader(producer.map) as reader:
        producer.run()
        parts = [reader.poll(1, limit=30) for _ in range(4)]
        assert [len(part) for part in parts] == [30, 30, 30, 10]
        assert [number(record) for part in parts for record in part] == list(range(100))
        assert reader.available == 0


def test_twenty_thousand_records_in_order_across_many_wraps():
    with Producer(per_run=500, size=28) as producer, on_one_cpu(), Reader(producer.map) as reader:
        records = iter(reader)
        expected = 0
        while expected < 20_000:
            producer.run()
            for _ in range(500):
                record = next(records)
                assert (number(record), len(record.data), record.lost) == (expected, 28, 0)
                expected += 1
        assert producer.taken == expected  # 40 bytes each: 24 times round the ring of 32 KiB


def test_what_found_no_room_is_counted_at_the_next_record_of_the_cpu():
    with Producer(per_run=1000) as producer, on_one_cpu(), Reader(producer.map, pages_per_cpu=1) as reader:
        producer.run()
        kept = producer.taken
        assert 100 < kept < 1000
        first = reader.poll(0)
        assert [number(record) for record in first] == list(range(kept))
        assert {record.lost for record in first} == {0}
        producer.run()
        second = reader.poll(0)
        assert [number(second[0]), second[0].lost] == [1000, 1000 - kept]
        assert {record.lost for record in second[1:]} == {0}


def test_a_reader_wakes_for_a_record_that_comes_later():
    with Producer() as producer, Reader(producer.map) as reader:
        for expected in range(3):
            timer = threading.Timer(0.05, producer.run)
            timer.start()
            assert number(reader.read(timeout=5)) == expected
            timer.join()


def test_few_wake_ups_still_wake_when_the_number_is_reached():
    with Producer(per_run=7) as producer, on_one_cpu(), Reader(producer.map, wakeup_events=10) as reader:
        timer = threading.Timer(0.02, producer.run)
        timer.start()
        before = time.monotonic()
        assert len(reader.poll(0.2)) == 7  # not before the time is over
        assert time.monotonic() - before >= 0.19
        timer.join()
        timer = threading.Timer(0.02, producer.run)
        timer.start()
        assert number(reader.read(timeout=5)) == 7
        timer.join()


def test_a_watermark_wakes_by_bytes():
    with Producer(per_run=10) as producer, on_one_cpu(), Reader(producer.map, watermark=200) as reader:
        timer = threading.Timer(0.02, producer.run)
        timer.start()
        assert number(reader.read(timeout=5)) == 0
        timer.join()


def test_close_from_another_thread_wakes_a_read():
    with Producer() as producer:
        reader = Reader(producer.map)
        timer = threading.Timer(0.05, reader.close)
        timer.start()
        with pytest.raises(ClosedError, match="is closed"):
            reader.read()
        timer.join()


def test_close_from_another_thread_ends_an_iteration():
    with Producer(per_run=10) as producer, on_one_cpu():
        reader = Reader(producer.map)
        producer.run()
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


def test_threads_share_the_records_and_none_sleeps_beside_one():
    total = 3000
    with Producer(per_run=10) as producer:
        reader = Reader(producer.map)
        parts = [[] for _ in range(3)]
        done = threading.Event()

        def collect(part):
            while True:
                try:
                    part.append(number(reader.read(timeout=10)))
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


def test_one_who_takes_one_record_leaves_the_rest_to_a_waiter():
    with Producer(per_run=2) as producer, on_one_cpu(), Reader(producer.map) as reader:
        for _ in range(50):
            got = []
            threads = [
                threading.Thread(target=lambda into=got: into.append(number(reader.read(timeout=5)))) for _ in range(2)
            ]
            for thread in threads:
                thread.start()
            time.sleep(0.001)
            producer.run()
            for thread in threads:
                thread.join(6)
            assert len(got) == 2


def test_a_closed_reader_says_so_and_closes_again_in_silence():
    with Producer() as producer:
        reader = Reader(producer.map)
        reader.close()
        reader.close()
        for use in (reader.read, reader.poll, lambda: reader.available):
            with pytest.raises(ClosedError, match="perf buffer 'perfbuf' is closed"):
                use()
        assert list(reader) == []
        assert "closed" in repr(reader)


def test_closing_takes_the_events_out_of_the_map():
    with Producer() as producer:
        with Reader(producer.map) as reader:
            producer.run()
            assert producer.taken == 1
            assert len(reader.poll(5)) == 1
        producer.run()
        assert (producer.sent, producer.taken) == (2, 1)
        with Reader(producer.map) as reader:
            producer.run()
            assert number(reader.read(timeout=5)) == 2


def test_closing_inside_the_loop_ends_the_loop():
    with Producer(per_run=100) as producer:
        reader = Reader(producer.map)
        producer.run()
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
            producer.map.close()
            producer.run()
            assert number(reader.read(timeout=5)) == 0


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
        with pytest.warns(ResourceWarning, match=r"unclosed <perf\.Reader"):
            del reader
        assert open_descriptors() == before


def test_another_type_of_map_is_an_error_that_leaves_no_descriptor_behind():
    with sys.map_create(type=sys.MapType.ARRAY, key_size=4, value_size=4, max_entries=1, name="arr") as fd:
        before = open_descriptors()
        with pytest.raises(InputError, match="map 'arr' is no perf event array"):
            Reader(fd)
        assert open_descriptors() == before


def test_a_read_only_descriptor_is_an_error_that_leaves_no_descriptor_behind():
    with Producer() as producer:
        number_ = sys.map_info(producer.map).id
        with sys.fd_by_id("map", number_, open_flags=sys.MapFlags.RDONLY) as fd:
            before = open_descriptors()
            with pytest.raises(PermissionError):
                Reader(fd)
            assert open_descriptors() == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pages_per_cpu": 3}, "power of two, not 3"),
        ({"pages_per_cpu": 0}, "power of two, not 0"),
        ({"wakeup_events": 0}, "positive number"),
        ({"pages_per_cpu": 1, "watermark": 1 << 20}, "watermark is less than"),
    ],
)
def test_numbers_that_cannot_be_are_errors(arguments, words):
    with Producer() as producer, pytest.raises(InputError, match=words):
        Reader(producer.map, **arguments)


def test_memory_that_the_kernel_does_not_have_is_an_error_that_leaves_no_descriptor_behind():
    with Producer() as producer:
        before = open_descriptors()
        with pytest.raises(KernelError, match="perf buffer perfbuf of CPU 0: mmap"):
            Reader(producer.map, pages_per_cpu=1 << 40)
        assert open_descriptors() == before


def test_a_map_with_fewer_entries_than_cpus_reads_those():
    with (
        sys.map_create(type=sys.MapType.PERF_EVENT_ARRAY, key_size=4, value_size=4, max_entries=1) as fd,
        Reader(fd) as reader,
    ):
        assert reader.cpus == (0,)


def test_an_impossible_event_is_an_error_that_names_the_call():
    attr = perfevent.PerfEventAttr(type=perfevent.EventType.SOFTWARE, config=perfevent.SoftwareEvent.BPF_OUTPUT)
    with pytest.raises(KernelError, match="nowhere: perf_event_open: Invalid argument") as caught:
        perfevent.perf_event_open(attr, cpu=1 << 20, subject="nowhere")
    assert caught.value.errno == errno.EINVAL


def test_an_event_can_be_switched_off_and_on():
    attr = perfevent.PerfEventAttr(type=perfevent.EventType.SOFTWARE, config=perfevent.SoftwareEvent.TASK_CLOCK)
    attr.set_flags(perfevent.EventFlag.DISABLED)

    def spin():
        until = time.process_time() + 0.002
        while time.process_time() < until:
            pass
        return int.from_bytes(os.read(event.fileno(), 8), ORDER)

    with perfevent.perf_event_open(attr, pid=0, cpu=-1) as event:
        assert spin() == 0
        perfevent.enable(event)
        on = spin()
        assert on > 0
        perfevent.disable(event)
        off = int.from_bytes(os.read(event.fileno(), 8), ORDER)
        assert spin() == off


# --- asyncio ------------------------------------------------------------------------------------------


def test_async_iteration_gives_every_record_in_order():
    async def collect(producer, reader):
        loop = asyncio.get_running_loop()
        seen = []
        loop.call_later(0.02, producer.run)
        loop.call_later(0.04, producer.run)
        async for record in reader:
            seen.append(number(record))
            if len(seen) == 1000:
                break
        return seen

    with Producer(per_run=500) as producer, on_one_cpu(), Reader(producer.map) as reader:
        assert asyncio.run(collect(producer, reader)) == list(range(1000))


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


def test_a_task_and_a_thread_on_one_reader_share_the_records():
    total = 400

    async def collect(producer, reader, seen):
        def other():
            while True:
                try:
                    seen.append(number(reader.read(timeout=5)))
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
            seen.append(number(record))
        thread.join(5)

    with Producer(per_run=4) as producer, Reader(producer.map) as reader:
        seen = []
        asyncio.run(asyncio.wait_for(collect(producer, reader, seen), 20))
        assert sorted(seen) == list(range(total))
