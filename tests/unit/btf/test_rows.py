"""Records as words: a sequence of tuples to whoever looks, and words to the kernel."""

from __future__ import annotations

import copy
import pickle
from array import array
from typing import NamedTuple

import pytest

from ebpfpy.btf.rows import Rows


class Pair(NamedTuple):
    place: int
    what: int


@pytest.fixture
def rows() -> Rows[Pair]:
    return Rows(array("I", [0, 7, 3, 8, 3, 9, 10, 11]), 2, Pair)


def test_they_are_a_sequence_of_tuples(rows: Rows[Pair]) -> None:
    tuples = ((0, 7), (3, 8), (3, 9), (10, 11))
    assert rows == tuples
    assert tuples == tuple(rows)
    assert (len(rows), rows[-1], rows[1:3], hash(rows)) == (4, (10, 11), ((3, 8), (3, 9)), hash(tuples))
    assert isinstance(rows[0], Pair)
    assert all(isinstance(each, Pair) for each in rows)
    assert (3, 9) in rows
    assert rows.index((3, 9)) == 2
    assert rows != tuples[:3]
    assert repr(rows).count("Pair(") == 4
    with pytest.raises(IndexError):
        rows[4]
    assert Rows(array("I"), 2) == ()


def test_those_within_bounds_are_cut_out(rows: Rows[Pair]) -> None:
    assert rows.within(0, 11) is rows
    assert rows.within(1, 10) == ((3, 8), (3, 9))
    assert rows.within(1, 10).firsts == [3, 3]
    assert rows.within(4, 10) == ()
    assert rows.within(10, 99) == ((10, 11),)


def test_they_can_be_moved_and_sorted_and_the_others_stay(rows: Rows[Pair]) -> None:
    moved = rows.moved([20, 5, 5, 1])
    assert moved == ((20, 7), (5, 8), (5, 9), (1, 11))
    assert moved.sorted() == ((1, 11), (5, 8), (5, 9), (20, 7))
    assert moved.sorted().firsts == [1, 5, 5, 20]
    assert rows.firsts == [0, 3, 3, 10]


def test_they_can_be_copied_and_pickled(rows: Rows[Pair]) -> None:
    plain = rows.moved(rows.firsts)
    assert copy.deepcopy(plain) == pickle.loads(pickle.dumps(plain)) == rows
