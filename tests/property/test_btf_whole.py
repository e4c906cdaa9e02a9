"""Everything that can be asked of BTF (`tests.invariants`), put to damaged pieces of real kernels and to random types.

The same questions as the fuzzer's, which finds its way by coverage and takes its time: ``make fuzz``.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpfpy import btf
from ebpfpy.errors import BtfError
from tests import invariants, strategies
from tests.fuzz.mutations import mutate_btf
from tests.fuzz.targets import TARGETS, divide, join, kernel_slices, splits
from tests.strategies import type_graphs

FEW = settings(max_examples=60, suppress_health_check=list(HealthCheck), deadline=None)
seeds = st.integers(0, 1 << 32)
flips = st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), max_size=4)


def changed(blob: bytes, seed: int, spots: list[tuple[int, int]]) -> bytes:
    """A blob with some records changed, then some bytes."""
    out = bytearray(mutate_btf(blob, Random(seed)) or blob)
    for at, byte in spots:
        out[at % len(out)] = byte
    return bytes(out)


@FEW
@given(st.integers(0), seeds, flips)
def test_pieces_of_kernels_with_damaged_records_have_answers_or_errors(
    which: int, seed: int, spots: list[tuple[int, int]]
) -> None:
    blobs = kernel_slices()
    invariants.ask_bytes(changed(blobs[which % len(blobs)], seed, spots))


@FEW
@given(st.integers(0), seeds, seeds, flips, flips)
def test_damaged_splits_on_damaged_bases_have_answers_or_errors(
    which: int, seed: int, other: int, in_base: list[tuple[int, int]], in_split: list[tuple[int, int]]
) -> None:
    pairs = list(splits())
    lower, upper = divide(pairs[which % len(pairs)], 2)
    TARGETS["split"].run(join(changed(lower, seed, in_base), changed(upper, other, in_split)))


@FEW
@given(st.integers(0), seeds)
def test_a_split_on_a_base_that_was_changed_alone_has_answers_or_errors(which: int, seed: int) -> None:
    pairs = list(splits())
    lower, upper = divide(pairs[which % len(pairs)], 2)
    TARGETS["split"].run(join(mutate_btf(lower, Random(seed)) or lower, upper))


@FEW
@given(type_graphs(most=12), st.sampled_from(["little", "big"]))
def test_any_types_have_answers_or_errors(graph: list[btf.Type], order: str) -> None:
    builder = btf.Builder()
    builder.add_all(graph)
    invariants.ask_spec(btf.Spec(builder.marshal(order), name="graph"))


@FEW
@given(strategies.splits())
def test_any_split_types_have_answers_or_errors(split: btf.Spec) -> None:
    invariants.ask_spec(split)


@pytest.mark.parametrize("name", TARGETS)
def test_nothing_that_the_fuzzer_starts_from_does_harm(name: str) -> None:
    asked = 0
    for seed in TARGETS[name].seeds():
        TARGETS[name].run(seed)
        asked += 1
    assert asked > 10


def unnamed_in_itself(*, behind_pointer: bool) -> btf.Spec:
    """``struct outer {struct {struct {...} x;} x;}``, or the same with a pointer in between."""
    inner = btf.Struct("", 8, (btf.Member("x", btf.Pointer(lambda: inner) if behind_pointer else lambda: inner),))
    builder = btf.Builder()
    builder.add(btf.Struct("outer", 8, (btf.Member("y", inner),)))
    return builder.spec()


def test_a_struct_without_name_in_itself_has_no_end_and_is_an_error() -> None:
    spec = unnamed_in_itself(behind_pointer=False)
    with pytest.raises(BtfError, match="contains itself"):
        btf.diff(spec, spec)
    spec = unnamed_in_itself(behind_pointer=True)
    with pytest.raises(BtfError, match="refers to itself and has no name"):
        btf.format_c(spec.type_by_name("outer"))
    for each in (unnamed_in_itself(behind_pointer=False), spec):
        invariants.ask_spec(each)


def test_structs_without_name_that_double_at_every_level_are_refused_soon() -> None:
    below: btf.Type = btf.Int("int", 4)
    for _ in range(40):
        below = btf.Struct("", 4, tuple(btf.Member(name, below) for name in "ab"))
    builder = btf.Builder()
    builder.add(btf.Struct("outer", 4, (btf.Member("x", below),)))
    spec = builder.spec()
    with pytest.raises(BtfError, match="too many members"):
        btf.diff(spec, spec)
    invariants.ask_spec(spec)
