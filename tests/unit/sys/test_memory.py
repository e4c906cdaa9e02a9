"""Searching memory: the C library and Python answer alike, and neither looks past the ends."""

from __future__ import annotations

import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpfpy.sys.memory import Memory


@pytest.mark.parametrize("native", [True, False])
def test_a_word_is_found_where_it_stands_and_not_across_two_words(native: bool) -> None:
    data = struct.pack("=6I", 7, 0x01020304, 7, 0, 0x03040000, 0x0102)
    memory = Memory(memoryview(data), native=native)

    assert memory.words_equal(7, 0, 6) == [0, 2]
    assert memory.words_equal(7, 1, 6) == [2]
    assert memory.words_equal(7, 0, 2) == [0]
    assert memory.words_equal(0x01020304, 0, 6) == [1]
    assert memory.words_equal(5, 0, 6) == []
    assert memory.words_equal(7, 6, 6) == []


@pytest.mark.parametrize("native", [True, False])
def test_a_pattern_is_found_between_the_ends_only(native: bool) -> None:
    memory = Memory(memoryview(b"\0one\0two\0one\0"), native=native)

    assert memory.find(b"one\0", 0, 13) == 1
    assert memory.find(b"one\0", 2, 13) == 9
    assert memory.find(b"one\0", 2, 12) == -1
    assert memory.find(b"two", 12, 13) == -1
    assert memory.find(b"three", 0, 13) == -1


@given(
    st.lists(st.integers(0, 3) | st.integers(0, 2**32 - 1), max_size=40).map(lambda w: struct.pack(f"={len(w)}I", *w)),
    st.integers(0, 3) | st.integers(0, 2**32 - 1),
    st.binary(min_size=1, max_size=5),
    st.data(),
)
def test_the_c_library_and_python_agree(data: bytes, value: int, pattern: bytes, draw: st.DataObject) -> None:
    start = draw.draw(st.integers(0, len(data)))
    end = draw.draw(st.integers(start, len(data)))
    view = memoryview(data)
    ours, theirs = Memory(view, native=True), Memory(view, native=False)

    assert ours.find(pattern, start, end) == theirs.find(pattern, start, end) == data.find(pattern, start, end)
    expected = [
        at for at in range(start // 4, end // 4) if data[4 * at : 4 * at + 4] == value.to_bytes(4, sys.byteorder)
    ]
    assert ours.words_equal(value, start // 4, end // 4) == theirs.words_equal(value, start // 4, end // 4) == expected


def test_words_at_an_odd_address_are_found() -> None:
    data = b"x" + struct.pack("=3I", 1, 2, 1)

    assert Memory(memoryview(data)[1:]).words_equal(1, 0, 3) == [0, 2]
