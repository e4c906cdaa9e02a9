"""Split BTF whose base is split BTF, too: what works on it, what is refused, and names looked up through all of it."""

from __future__ import annotations

import pickle

import pytest

from ebpfpy import btf
from ebpfpy.btf.search import NameSearch
from ebpfpy.errors import BtfError, InputError, TypeNotFoundError

INT = btf.Int("int", 4, 1)


def split_on(base: btf.Spec, *types: btf.Type, name: str) -> btf.Spec:
    builder = btf.Builder(base)
    builder.add_all(types)
    return builder.spec(name)


@pytest.fixture
def base() -> btf.Spec:
    builder = btf.Builder()
    builder.add_all([INT, btf.Struct("shared", 4, (btf.Member("a", INT),)), btf.Struct("foo___v1", 1)])
    return builder.spec("vmlinux")


@pytest.fixture
def middle(base: btf.Spec) -> btf.Spec:
    members = (btf.Member("number", base.type_by_id(1)),)
    return split_on(base, btf.Struct("middle", 4, members), btf.Struct("shared", 8), name="middle")


@pytest.fixture
def top(middle: btf.Spec) -> btf.Spec:
    number, inner = middle.type_by_id(1), middle.type_by_name("middle")
    return split_on(
        middle,
        btf.Struct("top", 8, (btf.Member("inner", inner), btf.Member("number", number, 32))),
        btf.Func("shared", btf.FuncProto(number)),
        name="top",
    )


LINES = [
    "[6] STRUCT 'top' size=8 vlen=2",
    "\t'inner' type_id=4 bits_offset=0",
    "\t'number' type_id=1 bits_offset=32",
    "[7] FUNC 'shared' type_id=8 linkage=static",
    "[8] FUNC_PROTO '(anon)' ret_type_id=1 vlen=0",
]


def test_it_reads_as_it_was_written(top: btf.Spec, middle: btf.Spec) -> None:
    assert list(btf.dump_raw(top)) == LINES
    again = btf.load_split_spec(bytes(top.raw), middle)
    assert list(btf.dump_raw(again)) == LINES
    assert list(btf.dump_raw(pickle.loads(pickle.dumps(top)))) == LINES
    assert again.type_by_id(4) is middle.type_by_name("middle")
    with pytest.raises(TypeNotFoundError, match="the last one is 8"):
        again.type_by_id(9)


def test_on_the_wrong_one_of_its_bases_the_check_says_so(top: btf.Spec, middle: btf.Spec, base: btf.Spec) -> None:
    assert btf.check_split(top, middle).fits
    report = btf.check_split(top, base)
    assert report.verdict == "does not fit"
    assert (report.base_strings, report.expected_strings) == (base.strings_end, middle.strings_end)
    assert [report.verdict for report in btf.rank_bases(top, [base, middle])] == ["fits", "does not fit"]


def test_a_distilled_base_holds_what_lies_below_and_is_found_again(top: btf.Spec, middle: btf.Spec) -> None:
    distilled, split = btf.distill_base(top)
    assert {t.name for t in distilled if isinstance(t, (btf.Int, btf.Struct))} == {"int", "middle"}
    assert list(btf.dump_raw(btf.relocate_base(split, middle))) == LINES


def test_duplicates_are_removed_without_touching_what_lies_below(top: btf.Spec, middle: btf.Spec) -> None:
    twice = split_on(middle, *[btf.Struct("again", 8), btf.Struct("again", 8)], name="twice")
    assert [t.name for t in btf.deduplicate(twice) if isinstance(t, btf.Struct)] == ["again"]
    assert list(btf.dump_raw(btf.deduplicate(top))) == LINES


def test_merging_is_refused(top: btf.Spec, middle: btf.Spec) -> None:
    with pytest.raises(InputError, match="its base is split BTF, too"):
        btf.merge_splits([middle, top])


def test_the_other_byte_order_is_refused_on_every_floor(middle: btf.Spec) -> None:
    builder = btf.Builder()
    builder.add(INT)
    other = btf.Spec(builder.marshal("big" if middle.byte_order == "little" else "little"))
    with pytest.raises(BtfError, match="endian"):
        btf.Spec(middle.raw, other)


def test_pointers_are_those_of_the_lowest_base(top: btf.Spec, base: btf.Spec) -> None:
    base.pointer_size = 4
    assert btf.Spec(top.raw, top.base).pointer_size == 4


def test_patterns_and_names_look_at_own_types_only(top: btf.Spec, middle: btf.Spec, base: btf.Spec) -> None:
    for search in (NameSearch("shared"), NameSearch("sha*")):
        assert [search.ids(spec) for spec in (top, middle, base)] == [[7], [5], [2]]
    assert [type(t) for t in top.any_types_by_name("shared")] == [btf.Func]
    assert top.any_types_by_name("middle") == []


def test_every_type_of_a_name_is_found_through_all_bases_own_ones_first(
    top: btf.Spec, middle: btf.Spec, base: btf.Spec
) -> None:
    assert [top.type_id(t) for t in top.every_type_by_name("shared")] == [7, 5, 2]
    assert [middle.type_id(t) for t in middle.every_type_by_name("shared")] == [5, 2]
    assert base.every_type_by_name("shared") == base.any_types_by_name("shared")
    assert top.every_type_by_name("int") == [base.type_by_id(1)]
    assert top.every_type_by_name("foo") == []  # the exact name: foo___v1 is another
    assert top.every_type_by_name("foo___v1") == [base.type_by_name("foo___v1")]
    assert top.every_type_by_name("absent") == []


@pytest.mark.parametrize("name", ["___x", "____x", "x___", "x____y", "x___y", "x___y___z", "_", "___", "a b", "名"])
def test_names_of_any_shape_are_found_by_name_class_and_essential_name_on_every_floor(
    base: btf.Spec, name: str
) -> None:
    # in the kernel a struct, twice; in the module, whose string is the kernel's, a typedef and a struct
    builder = btf.Builder()
    builder.add_all([INT, btf.Struct(name, 1), btf.Struct(name, 2), btf.Struct("unrelated" + name, 3)])
    kernel = builder.spec()
    module = split_on(kernel, btf.Typedef(name, kernel.type_by_id(1)), btf.Struct(name, 4), name="module")
    assert [t.kind.name for t in module.any_types_by_name(name)] == ["TYPEDEF", "STRUCT"]
    assert module.type_by_name(name, btf.Struct).size == 4
    assert isinstance(module.type_by_name(name, btf.Typedef), btf.Typedef)
    assert [module.type_id(t) for t in module.every_type_by_name(name)] == [5, 6, 2, 3]
    assert [module.type_id(t) for t in module.types_by_essential_name(name)] == [5, 6]
    assert [kernel.type_id(t) for t in kernel.types_by_essential_name(name)] == [2, 3]
    essential = btf.essential_name(name)
    if essential != name:
        assert kernel.any_types_by_name(essential) == []


def test_splits_one_on_the_other_are_as_many_as_can_be_asked_and_no_more(base: btf.Spec) -> None:
    top = base
    for floor in range(64):
        top = split_on(top, btf.Fwd("shared"), name=f"split {floor}")
    assert len(top.every_type_by_name("shared")) == 65
    assert len(pickle.loads(pickle.dumps(top)).every_type_by_name("shared")) == 65
    with pytest.raises(InputError, match="split BTF on more than 64 others"):
        split_on(top, btf.Fwd("shared"), name="one more")
