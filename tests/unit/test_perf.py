"""The walk through one CPU's perf buffer, over memory that the test writes byte by byte, as the kernel would."""

import mmap
import struct
from contextlib import contextmanager

import pytest

from ebpfpy.errors import InputError
from ebpfpy.perf import HEAD, TAIL, Ring
from ebpfpy.sys import perfevent

PAGE = mmap.PAGESIZE
SAMPLE = 9
LOST = 2


class Memory:
    """A ring in anonymous memory."""

    def __init__(self, size, start=0):
        self.size = size
        self.memory = mmap.mmap(-1, PAGE + size)
        self.memory[TAIL : TAIL + 8] = struct.pack("=Q", start)
        self.head = start
        self.publish()

    def publish(self):
        self.memory[HEAD : HEAD + 8] = struct.pack("=Q", self.head)

    def add(self, record):
        position = self.head
        assert len(record) % 8 == 0
        for index, byte in enumerate(record):
            self.memory[PAGE + (position + index) % self.size] = byte
        self.head += len(record)
        self.publish()
        return position

    def sample(self, data):
        length = (4 + len(data) + 7) // 8 * 8 - 4
        padded = data.ljust(length, b"\xee")
        return self.add(struct.pack("=IHHI", SAMPLE, 0, 12 + length, length) + padded)

    def lost(self, number):
        return self.add(struct.pack("=IHHQQ", LOST, 0, 24, 77, number))

    @property
    def tail(self):
        return struct.unpack_from("=Q", self.memory, TAIL)[0]


@contextmanager
def ring_of(size=PAGE, start=0):
    memory = Memory(size, start)
    ring = Ring(memory.memory)
    try:
        yield memory, ring
    finally:
        ring.close()
        memory.memory.close()


def test_an_empty_ring_has_no_records():
    with ring_of() as (_, ring):
        assert ring.walk(10) == ([], 0)
        assert ring.available == 0
        assert ring.size == PAGE


def test_samples_come_in_order_without_their_headers():
    with ring_of() as (memory, ring):
        memory.sample(b"abcd")
        memory.sample(b"0123456789ab")
        assert ring.walk(10) == ([(b"abcd", 0), (b"0123456789ab", 0)], 16 + 24)
        assert ring.available == 40


def test_padding_is_part_of_the_data():
    with ring_of() as (memory, ring):
        memory.sample(b"abc")
        memory.sample(b"")
        assert ring.walk(10)[0] == [(b"abc\xee", 0), (b"\xee\xee\xee\xee", 0)]


def test_a_sample_without_data_is_a_record():
    with ring_of() as (memory, ring):
        memory.add(struct.pack("=IHHII", SAMPLE, 0, 16, 0, 0))
        assert ring.walk(10) == ([(b"", 0)], 16)


def test_the_example_of_the_modules_text():
    with ring_of(4096, 4080) as (memory, ring):
        data = bytes(range(20))
        memory.add(struct.pack("=IHHI", SAMPLE, 0, 32, 20) + data)
        memory.lost(7)
        assert memory.head == 4136
        assert ring.walk(10) == ([(data, 0)], 4136)
        ring.release(4136)
        assert memory.tail == 4136
        memory.sample(b"next")
        assert ring.walk(10) == ([(b"next", 7)], 4152)


def test_the_walk_moves_no_position_and_release_does():
    with ring_of() as (memory, ring):
        memory.sample(b"abcd")
        _, end = ring.walk(10)
        assert memory.tail == 0
        ring.release(end)
        assert memory.tail == ring.position == 16
        assert ring.walk(10) == ([], 16)


def test_lost_records_are_counted_at_the_next_sample_only():
    with ring_of() as (memory, ring):
        memory.sample(b"old.")
        memory.lost(3)
        memory.lost(1 << 40)
        memory.sample(b"new.")
        memory.sample(b"last")
        assert ring.walk(10)[0] == [(b"old.", 0), (b"new.", 3 + (1 << 40)), (b"last", 0)]


def test_a_loss_at_the_limit_is_kept_for_the_next_walk():
    with ring_of() as (memory, ring):
        memory.lost(5)
        memory.sample(b"data")
        records, end = ring.walk(1)
        assert records == []
        ring.release(end)
        assert ring.walk(1)[0] == [(b"data", 5)]


@pytest.mark.parametrize("shift", range(8, 64, 8))
def test_a_record_across_the_end_of_the_ring_is_whole(shift):
    with ring_of(PAGE, 5 * PAGE - shift) as (memory, ring):
        data = bytes(range(52))
        memory.sample(data)
        memory.lost(9)
        memory.sample(b"last")
        assert ring.walk(10)[0] == [(data, 0), (b"last", 9)]


def test_a_full_ring_is_read_whole():
    with ring_of(PAGE, 24) as (memory, ring):
        for number in range(PAGE // 16):
            memory.sample(struct.pack("=I", number))
        assert ring.available == PAGE
        records, _ = ring.walk(1000)
        assert [struct.unpack("=I", data)[0] for data, _ in records] == list(range(PAGE // 16))


def test_records_of_other_types_are_skipped_and_bounded_by_the_limit():
    with ring_of() as (memory, ring):
        for _ in range(3):
            memory.add(struct.pack("=IHHQ", 5, 0, 16, 0))
        memory.sample(b"data")
        assert ring.walk(2) == ([], 32)
        assert ring.walk(10)[0] == [(b"data", 0)]


def test_positions_beyond_32_bits():
    with ring_of(start=(1 << 40) - 16) as (memory, ring):
        for number in range(5):
            memory.sample(struct.pack("=I", number))
        assert len(ring.walk(10)[0]) == 5


@pytest.mark.parametrize("size", [0, 4, 12, 40, 65528])
def test_a_record_of_an_impossible_size_is_an_error_that_says_where(size):
    with ring_of(start=64) as (memory, ring):
        memory.add(struct.pack("=IHHQQ", SAMPLE, 0, size, 0, 0))
        with pytest.raises(InputError, match=rf"record of {size} bytes at position 64, where the head is 88"):
            ring.walk(10)


@pytest.mark.parametrize("length", [13, 1 << 31, 0xFFFFFFFF])
def test_data_that_runs_past_its_record_is_an_error(length):
    with ring_of() as (memory, ring):
        memory.add(struct.pack("=IHHIIQ", SAMPLE, 0, 24, length, 0, 0))
        with pytest.raises(InputError, match=f"24 bytes at position 0 with {length} bytes of data"):
            ring.walk(10)


def test_a_sample_too_short_for_its_length_is_an_error():
    with ring_of() as (memory, ring):
        memory.add(struct.pack("=IHH", SAMPLE, 0, 8))
        with pytest.raises(InputError, match="8 bytes at position 0"):
            ring.walk(10)


def test_a_head_that_overtook_the_tail_by_more_than_the_ring_is_an_error():
    with ring_of() as (memory, ring):
        memory.head = PAGE + 8
        memory.publish()
        with pytest.raises(InputError, match="the tail is 0 and the head 4104"):
            ring.walk(10)


def test_a_tail_that_is_no_multiple_of_8_is_an_error():
    with ring_of(start=4) as (memory, ring):
        memory.head = 20
        memory.publish()
        with pytest.raises(InputError, match="the tail is 4"):
            ring.walk(10)


@pytest.mark.parametrize("size", [0, 8, PAGE // 2, PAGE * 3])
def test_data_of_another_shape_is_an_error(size):
    with mmap.mmap(-1, PAGE + size) as memory, pytest.raises(InputError, match="no power of two of pages"):
        Ring(memory)


def test_ioctl_numbers_are_those_of_this_machines_kernel():
    import os

    expected = (0x20002400, 0x80042408) if os.uname().machine.startswith("ppc") else (0x00002400, 0x40042408)
    assert (perfevent.ioctl_number(0), perfevent.ioctl_number(8, 4)) == expected
