"""Kinds that came after this library: stepped over by the layout section, never lost, never guessed at."""

from __future__ import annotations

import pickle
from typing import Literal

import pytest

from ebpfpy import btf
from ebpfpy.btf.kinds import make_info
from ebpfpy.btf.search import NameSearch
from ebpfpy.errors import BtfError, InputError
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
    odd = spec.type_by_id(2)
    assert isinstance(odd, btf.Unknown)
    assert (odd.kind, odd.name, list(odd.words), repr(odd)) == (25, "odd", ODD, "<Unknown kind=25 'odd'>")
    assert list(spec) == [spec.type_by_id(1), odd, spec.type_by_id(3)]
    assert spec.any_types_by_name("odd") == [odd]
    assert spec.type_by_name("odd", btf.Unknown) is odd
    assert pickle.loads(pickle.dumps(odd)).words == odd.words


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


@orders
def test_a_copy_of_all_types_has_every_byte_of_it_and_the_layout(order: Literal["little", "big"]) -> None:
    kernel = btf.Spec(WITH_LAYOUT[order], name="vmlinux")
    builder = btf.Builder()
    builder.add_all(kernel)
    assert builder.marshal() == WITH_LAYOUT[order]
    assert bytes(builder.spec().raw) == WITH_LAYOUT[order]
    builder.add(btf.Const(kernel.type_by_id(3)))
    more = builder.spec()
    assert list(btf.dump_raw(more))[:-1] == list(btf.dump_raw(kernel))
    for own in ("", "layout of its own"):
        base = kernel if not own else btf.Spec(raw_btf(INT, b"\0int\0", order=order))
        record = [0, *ODD[1:]]
        raw = raw_btf(record, b"", layout=LAYOUT if own else b"", header=32, order=order)
        split = btf.load_split_spec(raw, base)
        copy = btf.Builder(base)
        copy.add_all(split)
        assert copy.marshal(header_size=32) == raw


def test_words_of_it_that_may_be_string_offsets_mean_the_same_strings_in_a_copy() -> None:
    raw = raw_btf([*INT, 5, make_info(25, 1), 9, 9, 14, 5], STRINGS, layout=LAYOUT, header=32)
    builder = btf.Builder()
    builder.add_all(btf.Spec(raw))
    builder.add(btf.Fwd("later"))
    copy = builder.spec()
    assert [copy.string(word) for word in copy.type_by_id(2).words[3:]] == ["long", "s", "odd"]  # type: ignore[attr-defined]
    assert copy.type_by_name("later", btf.Fwd).kind is btf.Kind.FWD


def test_a_name_that_is_no_string_is_no_name_of_it() -> None:
    spec = btf.Spec(raw_btf([999, *ODD[1:]], b"\0", layout=LAYOUT, header=32))
    assert [(each.name, each.kind) for each in spec] == [("", 25)]  # type: ignore[attr-defined]


def test_a_copy_that_would_renumber_what_is_in_it_is_refused() -> None:
    kernel = btf.Spec(WITH_LAYOUT["little"], name="vmlinux")
    odd = kernel.type_by_id(2)
    later = btf.Builder()
    later.add(btf.Fwd("first"))
    turned = btf.Builder()
    turned.add_all(kernel)
    for attempt in (
        lambda: btf.Builder().add(odd),
        lambda: btf.Builder().add_all(list(kernel)[:2]),
        lambda: later.add_all(kernel),
        lambda: btf.Builder().add(btf.Pointer(odd)),
    ):
        with pytest.raises(
            BtfError, match=r"vmlinux: type 2 has the unknown kind UNKNOWN\(25\).*cannot be renumb"
        ) as caught:
            attempt()
        assert caught.value.offset == 32 + 16
    assert len(later) == 1
    with pytest.raises(InputError, match="cannot be turned"):
        turned.marshal("big")
    with pytest.raises(InputError, match="need a layout section"):
        turned.marshal(header_size=24)
    with pytest.raises(InputError, match="not built by hand"):
        btf.Unknown()


def test_what_would_have_to_understand_it_refuses_and_names_it_and_its_place() -> None:
    kernel = btf.Spec(WITH_LAYOUT["little"], name="vmlinux")
    module = btf.Spec(raw_btf(ODD, b""), kernel, name="module")
    for attempt, who, offset in (
        (lambda: btf.deduplicate(kernel), "vmlinux: type 2", 48),
        (lambda: btf.distill_base(module), "module: type 4", 24),
        (lambda: btf.merge_splits([module]), "module: type 4", 24),
    ):
        with pytest.raises(BtfError, match=who + r" has the unknown kind UNKNOWN\(25\)") as caught:
            attempt()
        assert caught.value.offset == offset


def test_whether_two_of_them_are_the_same_is_said_only_where_it_is_known() -> None:
    one, other = (list(btf.Spec(WITH_LAYOUT["little"])) for _ in range(2))
    assert btf.same_type(one[1], one[1])
    assert not btf.same_type(one[1], one[0])
    with pytest.raises(BtfError, match="nobody knows"):
        btf.same_type(one[1], other[1])


def test_modules_are_merged_and_deduplicated_on_a_kernel_that_has_some() -> None:
    kernel = btf.Spec(WITH_LAYOUT["little"], name="vmlinux")
    modules = []
    for name in ("one", "two"):
        builder = btf.Builder(kernel)
        builder.add_all([btf.Pointer(kernel.type_by_id(3)), btf.Pointer(kernel.type_by_id(3))])
        modules.append(builder.spec(name))
    assert len(btf.deduplicate(modules[0])) == 1
    merged = btf.merge_splits(modules)
    assert list(btf.dump_raw(merged)) == [*btf.dump_raw(kernel), "[4] PTR '(anon)' type_id=3"]


def test_values_and_c_of_it_are_refused_by_name() -> None:
    odd = btf.Spec(WITH_LAYOUT["little"]).type_by_id(2)
    for refused in (
        btf.sizeof,
        btf.alignof,
        btf.format_c,
        lambda of: btf.decode(of, b""),
        lambda of: btf.dump_data(of, b""),
    ):
        with pytest.raises(InputError, match="odd"):
            refused(odd)


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
