"""Kinds that came after this library: stepped over by the layout section, never lost, never guessed at."""

from __future__ import annotations

import pickle
from typing import Literal

import pytest

from ebpfpy import btf
from ebpfpy.btf.kinds import make_info
from ebpfpy.btf.search import NameSearch
from ebpfpy.errors import BtfError
from tests.strategies import raw_btf

STRINGS = b"\0int\0odd\0long\0s\0"
INT = [1, make_info(btf.Kind.INT), 4, 1 << 24 | 32]
ODD = [5, make_info(25, 2), 7, 0xAABBCCDD, 1, 2, 3, 4]
"""Of a kind with 4 bytes behind the header and 8 for each of its entries."""
STRUCT = [14, make_info(btf.Kind.STRUCT, 1), 4, 1, 1, 0]
LAYOUT = bytes(4 * 25) + bytes((4, 8, 0, 0))
WITH_LAYOUT = {
    order: raw_btf(INT + ODD + STRUCT, STRINGS, layout=LAYOUT, header=32, order=order) for order in ("little", "big")
}
orders = pytest.mark.parametrize("order", ["little", "big"])


@orders
def test_types_around_it_are_found_by_id_and_by_name(order: str) -> None:
    spec = btf.Spec(WITH_LAYOUT[order])
    assert len(spec) == 3
    assert spec.type_id(spec.type_by_name("s", btf.Struct)) == 3
    assert spec.type_by_name("s", btf.Struct).members[0].type is spec.type_by_id(1)
    assert spec.kind_of(2) == 25
    with pytest.raises(BtfError, match=r"kind UNKNOWN\(25\) is unknown"):
        spec.type_by_id(2)


@orders
def test_every_byte_of_it_survives_being_passed_on(order: Literal["little", "big"]) -> None:
    spec = btf.Spec(WITH_LAYOUT[order])
    assert len(spec) == 3
    for other in (spec, btf.load_spec(bytes(spec.raw)), pickle.loads(pickle.dumps(spec))):
        assert bytes(other.raw) == WITH_LAYOUT[order]
        words, at = other.locate(2)
        assert list(words[at : at + len(ODD)]) == ODD


def test_a_module_on_such_a_kernel_is_read_written_and_checked() -> None:
    kernel = btf.Spec(WITH_LAYOUT["little"], name="vmlinux")
    builder = btf.Builder(kernel)
    builder.add(btf.Struct("own", 4, (btf.Member("inner", kernel.type_by_id(3)),)))
    module = builder.spec("module")
    assert module.first_id == 4
    assert btf.check_split(module, kernel).fits
    assert list(btf.dump_raw(btf.load_split_spec(bytes(module.raw), kernel))) == list(btf.dump_raw(module))


def test_a_modules_own_unknown_kind_is_stepped_over_by_the_kernels_layout() -> None:
    kernel = btf.Spec(WITH_LAYOUT["little"], name="vmlinux")
    raw = raw_btf([*ODD, 14, *STRUCT[1:]], b"")
    module = btf.load_split_spec(raw, kernel)
    assert module.type_id(module.type_by_name("s")) == 5
    assert btf.check_split(raw, kernel).fits
    assert bytes(module.raw) == raw


def test_it_is_shown_with_its_number_and_name() -> None:
    spec = btf.Spec(WITH_LAYOUT["little"])
    assert list(btf.dump_raw(spec))[1] == "[2] UNKNOWN(25) 'odd' vlen=2 size_or_type=7"
    assert NameSearch("o*").ids(spec) == [2]


def test_what_would_have_to_understand_it_refuses_and_names_it() -> None:
    kernel = btf.Spec(WITH_LAYOUT["little"], name="vmlinux")
    module = btf.load_split_spec(raw_btf(ODD, b""), kernel)
    for attempt in (
        lambda: btf.Builder().add_all(kernel),
        lambda: list(kernel),
        lambda: btf.deduplicate(kernel),
        lambda: btf.distill_base(module),
        lambda: btf.merge_splits([module]),
    ):
        with pytest.raises(BtfError, match=r"UNKNOWN\(25\)"):
            attempt()


@pytest.mark.parametrize(
    "layout",
    [b"", bytes(4 * 25), bytes(4 * 25) + bytes((3, 8, 0, 0)), bytes(4 * 25) + bytes((4, 6, 0, 0))],
    ids=["none", "too short", "3 bytes", "entries of 6 bytes"],
)
def test_without_a_layout_that_tells_its_length_it_is_an_error_that_names_kind_id_and_place(layout: bytes) -> None:
    spec = btf.Spec(raw_btf(INT + ODD + STRUCT, STRINGS, layout=layout, header=32), name="vmlinux")
    assert spec.type_by_id(1).kind is btf.Kind.INT
    with pytest.raises(BtfError, match=r"vmlinux: type 2 has the unknown kind UNKNOWN\(25\)") as caught:
        spec.type_by_id(3)
    assert caught.value.offset == 32 + 16


def test_a_layout_that_leads_behind_the_end_is_an_error() -> None:
    layout = bytes(4 * 25) + bytes((252, 252, 0, 0))
    with pytest.raises(BtfError, match="truncated"):
        len(btf.Spec(raw_btf(INT + ODD + STRUCT, STRINGS, layout=layout, header=32)))


def test_known_kinds_are_not_measured_by_the_layout() -> None:
    layout = bytes((12, 12, 0, 0)) * 26
    spec = btf.Spec(raw_btf(INT + STRUCT, STRINGS, layout=layout, header=32))
    assert len(spec) == 2
    assert spec.type_by_name("s", btf.Struct).size == 4
