"""The walk through a ring, over memory that the test writes byte by byte, as the kernel would."""

import mmap
import struct
from contextlib import contextmanager

import pytest

from ebpfpy.errors import InputError
from ebpfpy.ringbuf import BUSY, DISCARD, Ring

PAGE = mmap.PAGESIZE


class Memory:
    """A ring in anonymous memory; each byte of data is written to both copies."""

    def __init__(self, size, start=0):
        self.size = size
        self.consumer = mmap.mmap(-1, PAGE)
        self.producer = mmap.mmap(-1, PAGE + 2 * size)
        self.consumer[:8] = struct.pack("=Q", start)
        self.head = start
        self.publish()

    def publish(self):
        self.producer[:8] = struct.pack("=Q", self.head)

    def poke(self, position, data):
        for index, byte in enumerate(data):
            at = (position + index) % self.size
            self.producer[PAGE + at] = byte
            self.producer[PAGE + self.size + at] = byte

    def add(self, payload, flags=0):
        position = self.head
        self.poke(position, struct.pack("=II", len(payload) | flags, 0) + payload)
        self.head += 8 + (len(payload) + 7) // 8 * 8
        self.publish()
        return position

    def commit(self, position, length, flags=0):
        self.poke(position, struct.pack("=I", length | flags))


@contextmanager
def ring_of(size=4096, start=0):
    memory = Memory(size, start)
    ring = Ring(memory.consumer, memory.producer)
    try:
        yield memory, ring
    finally:
        ring.close()
        memory.consumer.close()
        memory.producer.close()


def test_an_empty_ring_has_no_records():
    with ring_of() as (_, ring):
        assert ring.walk(10) == ([], [], 0)
        assert ring.available == 0


def test_records_come_in_order_with_their_positions():
    with ring_of() as (memory, ring):
        places = [memory.add(payload) for payload in (b"a", b"", b"12345678", b"123456789")]
        starts, records, end = ring.walk(10)
        assert records == [b"a", b"", b"12345678", b"123456789"]
        assert starts == places == [0, 16, 24, 40]
        assert end == memory.head == 64


def test_the_walk_moves_no_position_and_release_does():
    with ring_of() as (memory, ring):
        memory.add(b"abc")
        _, records, end = ring.walk(10)
        assert ring.walk(10)[1] == records == [b"abc"]
        assert ring.available == 16
        ring.release(end)
        assert struct.unpack_from("=Q", memory.consumer) == (16,)
        assert ring.walk(10) == ([], [], 16)


def test_the_example_of_the_modules_text():
    with ring_of(start=8160) as (memory, ring):
        payload = bytes(range(20))
        assert memory.add(payload) == 8160
        memory.add(bytes(16), BUSY)
        assert memory.head == 8216
        assert ring.walk(10) == ([8160], [payload], 8192)


def test_a_record_across_the_end_of_the_ring_is_whole():
    with ring_of(start=4096 * 1000 - 16) as (memory, ring):
        memory.add(bytes(range(200)))
        assert ring.walk(10)[1] == [bytes(range(200))]


def test_a_header_that_is_the_last_of_the_ring_has_its_payload_at_the_start():
    with ring_of(start=4096 - 8) as (memory, ring):
        memory.add(b"payload")
        assert ring.walk(10)[1] == [b"payload"]


def test_a_busy_record_ends_the_walk_until_it_is_committed():
    with ring_of() as (memory, ring):
        memory.add(b"first")
        second = memory.add(b"second", BUSY)
        memory.add(b"third")
        _, records, end = ring.walk(10)
        assert (records, end) == ([b"first"], second)
        ring.release(end)
        memory.commit(second, 6)
        assert ring.walk(10)[1] == [b"second", b"third"]


def test_discarded_records_are_skipped_and_released():
    with ring_of() as (memory, ring):
        memory.add(b"gone", DISCARD)
        memory.add(b"kept")
        memory.add(b"gone too", DISCARD)
        _, records, end = ring.walk(10)
        assert (records, end) == ([b"kept"], memory.head)


def test_the_limit_bounds_the_walk_discarded_records_included():
    with ring_of() as (memory, ring):
        for number in range(10):
            memory.add(bytes([number]), DISCARD if number % 2 else 0)
        _, records, end = ring.walk(4)
        assert (records, end) == ([b"\0", b"\2"], 64)


def test_a_full_ring_is_read_whole():
    with ring_of(start=24) as (memory, ring):
        for number in range(4096 // 16):
            memory.add(struct.pack("=Q", number))
        assert ring.available == 4096
        assert ring.walk(1000)[1] == [struct.pack("=Q", number) for number in range(256)]


def test_a_record_that_runs_past_the_producer_is_an_error_that_says_where():
    with ring_of(start=32) as (memory, ring):
        memory.add(b"abc")
        memory.commit(32, 4000)
        with pytest.raises(InputError, match="4000 bytes at position 32 runs past the producer's position 48"):
            ring.walk(10)


def test_positions_beyond_32_bits():
    with ring_of(start=(1 << 40) - 16) as (memory, ring):
        for number in range(5):
            memory.add(bytes([number]) * 8)
        assert len(ring.walk(10)[1]) == 5


@pytest.mark.parametrize("size", [0, 4, 2048 + 8, 4096 * 3])
def test_data_of_another_shape_is_an_error(size):
    with (
        mmap.mmap(-1, PAGE) as consumer,
        mmap.mmap(-1, PAGE + 2 * size) as producer,
        pytest.raises(InputError, match="not twice a power of two"),
    ):
        Ring(consumer, producer)
