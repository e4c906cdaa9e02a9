"""What is special about the ring buffer reader: one ring, records in the making; the rest is in test_readers.py."""

import asyncio
import os
import struct
import threading
import time

import pytest

from ebpfpy import sys
from ebpfpy.errors import KernelError
from ebpfpy.ringbuf import Reader
from tests.kernel.producers import RingProducer, descriptors_above, open_descriptors

pytestmark = pytest.mark.kernel

number = RingProducer.number


def test_a_record_is_read_as_bytes():
    with RingProducer(size=24) as producer, Reader(producer.map) as reader:
        producer.run()
        assert reader.available == 32
        assert reader.read(timeout=5) == struct.pack("=QQQ", 0, 0x55, 0x55)
        assert reader.size == 1 << 16


def test_a_full_ring_loses_new_records_and_keeps_the_old_ones():
    with RingProducer(ring_size=4096, per_run=1000) as producer, Reader(producer.map) as reader:
        producer.run()
        kept = producer.written
        assert 200 < kept < 1000
        assert [number(record) for record in reader.poll(0)] == list(range(kept))


def test_discarded_records_are_not_seen_and_give_their_room_back():
    with (
        RingProducer(ring_size=4096, per_run=100, helper="ringbuf_discard") as producer,
        Reader(producer.map) as reader,
    ):
        for _ in range(20):
            producer.run()
            assert reader.poll(0) == []
        assert reader.available == 0


def test_a_producer_that_never_notifies_is_still_seen_by_the_next_look():
    with RingProducer(notify=1) as producer, Reader(producer.map) as reader:
        producer.run(3)
        assert len(reader.poll(0)) == 3


def test_the_next_reader_starts_at_the_first_record_that_nobody_got():
    with RingProducer(per_run=100) as producer:
        producer.run()
        with Reader(producer.map) as reader:
            records = iter(reader)
            assert [number(next(records)) for _ in range(10)] == list(range(10))
        with Reader(producer.map) as reader:
            assert [number(record) for record in reader.poll(0)] == list(range(10, 100))
        with Reader(producer.map) as reader:
            assert reader.poll(0) == []


def test_a_read_only_descriptor_is_an_error_that_says_what_was_refused():
    with RingProducer() as producer:
        number_ = sys.map_info(producer.map).id
        with sys.fd_by_id("map", number_, open_flags=sys.MapFlags.RDONLY) as fd:
            before = open_descriptors()
            with pytest.raises(KernelError, match="ring buffer ring: mmap"):
                Reader(fd)
            assert open_descriptors() == before


def test_records_that_other_threads_take_while_it_closes_come_neither_twice_nor_never():
    with RingProducer(ring_size=1 << 16, per_run=250) as producer:
        for _ in range(60):
            producer.run()
            taken = []
            reader = Reader(producer.map)
            first = number(reader.read(0))

            def take(reader=reader, taken=taken):
                taken.extend(map(number, reader))

            threads = [threading.Thread(target=take) for _ in range(2)]
            for thread in threads:
                thread.start()
            reader.close()
            for thread in threads:
                thread.join(5)
            with Reader(producer.map) as following:
                rest = [number(record) for record in following.poll(0)]
            assert sorted([first, *taken, *rest]) == list(range(first, producer.written))


# --- a record that is reserved and not yet committed --------------------------------------------------


class Looks(Reader):
    """Counts the looks that found a busy record at the head."""

    busy = 0

    def _fetch(self, limit):
        found = super()._fetch(limit)
        self.busy += not found and self._ring.available > 0
        return found


def meet_a_busy_record(take):
    """Have a program reserve and commit five records, slowly, on another CPU, while `take` reads five.

    The wake-up for one record meets the next one reserved, unless the machine gave this thread no time: so once more.
    """
    before = os.sched_getaffinity(0)
    if len(before) < 2:
        pytest.skip("one CPU only: nobody looks while a program runs")
    here, there, *_ = before

    def run():
        os.sched_setaffinity(0, {there})
        producer.run()

    os.sched_setaffinity(0, {here})
    try:
        with (
            RingProducer(helper="ringbuf_submit", per_run=5, dwell=10_000) as producer,
            Looks(producer.map, timeout=30) as reader,
        ):
            for _ in range(200):
                thread = threading.Thread(target=run)
                thread.start()
                assert [len(record) for record in take(reader)] == [8] * 5
                thread.join()
                assert reader.available == 0
                if reader.busy:
                    return
            pytest.fail("the reader never met a busy record")
    finally:
        os.sched_setaffinity(0, before)


def read_five(reader):
    before, busy = time.monotonic(), reader.busy
    records = [reader.read() for _ in range(5)]
    milliseconds = 1000 * (time.monotonic() - before)
    assert reader.busy - busy <= 2 * (milliseconds + 5)  # two looks, then a pause of a millisecond or more
    return records


def test_a_busy_record_is_waited_for_without_spinning():
    meet_a_busy_record(read_five)


def test_a_busy_record_is_waited_for_with_descriptors_above_1023():
    with descriptors_above(1023):
        meet_a_busy_record(read_five)


def test_a_busy_record_is_waited_for_in_asyncio():
    async def collect(reader):
        records = []
        async for record in reader:
            records.append(record)
            if len(records) == 5:
                break
        return records

    meet_a_busy_record(lambda reader: asyncio.run(collect(reader)))
