"""Split BTF moved between bases and checked against them: whatever the bytes are, a right answer or an `EbpfError`."""

from __future__ import annotations

import contextlib
import lzma
from functools import cache
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ebpfpy import btf
from ebpfpy.errors import EbpfError
from tests.strategies import splits, type_graphs

DISTILLED = next((Path(__file__).parents[2] / "testdata" / "btf").glob("6.12*/distilled"))


@cache
def contents(name: str) -> bytes:
    return lzma.decompress((DISTILLED / name).read_bytes())


@cache
def small_kernel() -> btf.Spec:
    """The types of our module's distilled base, moved by some others."""
    builder = btf.Builder()
    builder.add_all((btf.Struct("filler", 3), *btf.Spec(contents("ebpfpy_demo.base.btf.xz"))))
    return builder.spec("vmlinux")


def damaged(data: bytes, spots: list[tuple[int, int]]) -> bytes:
    out = bytearray(data)
    for at, byte in spots:
        out[at % len(out)] = byte
    return bytes(out)


spots = st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6)


@given(spots, spots)
def test_damaged_splits_and_bases_end_well(in_base: list[tuple[int, int]], in_split: list[tuple[int, int]]) -> None:
    with contextlib.suppress(EbpfError):
        base = btf.Spec(damaged(contents("ebpfpy_demo.base.btf.xz"), in_base), name="base")
        split = btf.Spec(damaged(contents("ebpfpy_demo.btf.xz"), in_split), base, name="split")
        for step in (
            lambda: btf.relocate_base(split, small_kernel()),
            lambda: btf.relocate_base(split, small_kernel(), strict="kernel"),
            lambda: btf.distill_base(split),
            lambda: str(btf.check_split(split, small_kernel())),
            lambda: btf.check_split(bytes(split.raw), small_kernel()).as_dict(),
        ):
            with contextlib.suppress(EbpfError):
                step()


@given(splits(most=8))
def test_any_split_distilled_and_relocated_home_is_itself(split: btf.Spec) -> None:
    base = split.base
    assert base is not None
    try:
        small, distilled = btf.distill_base(split)
        home = btf.relocate_base(distilled, base)
    except EbpfError:
        return  # it refers to a function of its base, or to one of several types of a name
    assert len(small) <= len(base)
    assert home.first_id == split.first_id
    for ours, theirs in zip(home, split, strict=False):
        assert (ours.kind, getattr(ours, "name", "")) == (theirs.kind, getattr(theirs, "name", ""))
        assert getattr(ours, "size", None) == getattr(theirs, "size", None)
        if isinstance(ours, (btf.Struct, btf.Union)):
            assert [(m.name, m.offset_bits, m.bitfield_size) for m in ours.members] == [
                (m.name, m.offset_bits, m.bitfield_size) for m in theirs.members
            ]
            assert [m.type.kind for m in ours.members] == [m.type.kind for m in theirs.members]


@given(type_graphs(most=8))
def test_any_report_reads_and_counts(graph: list[btf.Type]) -> None:
    builder = btf.Builder(small_kernel())
    builder.add_all(graph)
    report = btf.check_split(builder.spec("module"), small_kernel())
    assert report.bad_strings == report.bad_ids == 0
    assert report.verdict == ("does not fit" if report.faults else "fits" if report.base_references else "cannot tell")
    assert str(report).startswith("module: ")
