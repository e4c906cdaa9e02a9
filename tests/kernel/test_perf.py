"""What is special about the perf buffer reader: CPUs, losses, padding, wake-ups; the rest is in test_readers.py."""

import ctypes
import errno
import os
import struct
import threading
import time

import pytest

from ebpfpy import btf, sys
from ebpfpy.errors import InputError, KernelError
from ebpfpy.perf import Reader, Record
from ebpfpy.sys import perfevent
from tests.kernel.producers import ORDER, PerfProducer, on_one_cpu, open_descriptors

pytestmark = pytest.mark.kernel

number = PerfProducer.number


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
    with PerfProducer() as producer, on_one_cpu() as cpu, Reader(producer.map) as reader:
        producer.run()
        assert reader.read(timeout=5) == Record(cpu, struct.pack("=QI", 0, 0x55), 0)
        assert cpu in reader.cpus


def test_every_online_cpu_is_read():
    with PerfProducer() as producer, Reader(producer.map) as reader:
        assert reader.cpus == online_cpus()
        for cpu in reader.cpus:
            producer.run(cpu=cpu)
        records = [reader.read(timeout=5) for _ in reader.cpus]
        assert sorted(record.cpu for record in records) == list(reader.cpus)


def test_padding_is_at_most_seven_bytes():
    with PerfProducer(size=16) as producer, Reader(producer.map) as reader:
        producer.run()
        data = reader.read(timeout=5).data
        assert data[:16] == struct.pack("=QQ", 0, 0x55)
        assert len(data) == 20


def test_what_found_no_room_is_counted_at_the_next_record_of_the_cpu():
    with PerfProducer(per_run=1000) as producer, on_one_cpu(), Reader(producer.map, pages_per_cpu=1) as reader:
        producer.run()
        kept = producer.written
        assert 100 < kept < 1000
        first = reader.poll(0)
        assert [number(record) for record in first] == list(range(kept))
        assert {record.lost for record in first} == {0}
        producer.run()
        second = reader.poll(0)
        assert [number(second[0]), second[0].lost] == [1000, 1000 - kept]
        assert {record.lost for record in second[1:]} == {0}


def test_few_wake_ups_still_wake_when_the_number_is_reached():
    with PerfProducer(per_run=7) as producer, on_one_cpu(), Reader(producer.map, wakeup_events=10) as reader:
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
    with PerfProducer(per_run=10) as producer, on_one_cpu(), Reader(producer.map, watermark=200) as reader:
        timer = threading.Timer(0.02, producer.run)
        timer.start()
        assert number(reader.read(timeout=5)) == 0
        timer.join()


def test_closing_takes_the_events_out_of_the_map():
    with PerfProducer() as producer:
        with Reader(producer.map) as reader:
            producer.run()
            assert producer.written == 1
            assert len(reader.poll(5)) == 1
        producer.run()
        assert (producer.sent, producer.written) == (2, 1)
        with Reader(producer.map) as reader:
            producer.run()
            assert number(reader.read(timeout=5)) == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"pages_per_cpu": 3}, "power of two, not 3"),
        ({"pages_per_cpu": 0}, "power of two, not 0"),
        ({"pages_per_cpu": 8.0}, "power of two, not 8.0"),
        ({"pages_per_cpu": "8"}, "power of two, not '8'"),
        ({"wakeup_events": 0}, "positive number"),
        ({"wakeup_events": None}, "positive number of 32 bits, not None"),
        ({"watermark": 0.5}, "watermark is less than"),
        ({"pages_per_cpu": 1, "watermark": 1 << 20}, "watermark is less than"),
    ],
)
def test_numbers_that_cannot_be_are_errors(arguments, words):
    with PerfProducer() as producer, pytest.raises(InputError, match=words):
        Reader(producer.map, **arguments)


def test_memory_that_the_kernel_does_not_have_is_an_error_that_leaves_no_descriptor_behind():
    with PerfProducer() as producer:
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
