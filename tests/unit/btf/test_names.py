"""Finding types by name: lazily, and proved rather than guessed."""

from __future__ import annotations

import pickle
import random
import struct

import pytest

from ebpfpy import btf
from ebpfpy.btf.kinds import make_info
from ebpfpy.errors import AmbiguousTypeError, InputError, TypeNotFoundError
from tests.strategies import raw_btf

INT = btf.Int("int", 4, 1)


def spec_of(*types: btf.Type) -> btf.Spec:
    builder = btf.Builder()
    builder.add_all(types)
    return builder.spec("test")


@pytest.mark.parametrize(
    ("name", "essential"),
    [
        ("foo", "foo"),
        ("foo___v1", "foo"),
        ("a___b___c", "a___b"),
        ("foo___bar___", "foo"),
        ("___foo", "___foo"),
        ("____foo", "____foo"),
        ("foo___", "foo___"),
        ("foo____", "foo____"),
        ("foo____bar", "foo____bar"),
        ("foo_____bar", "foo_____bar"),
        ("foo__bar", "foo__bar"),
        ("", ""),
        ("___", "___"),
        ("x___y", "x"),
    ],
)
def test_essential_names(name: str, essential: str) -> None:
    assert btf.essential_name(name) == essential


def test_exact_names_find_exactly_one_type() -> None:
    spec = spec_of(btf.Struct("foo", 4), btf.Struct("foo___v1", 8), btf.Typedef("bar", INT))
    assert spec.type_by_name("foo", btf.Struct).size == 4
    assert spec.type_by_name("foo___v1", btf.Struct).size == 8
    assert isinstance(spec.any_type_by_name("bar"), btf.Typedef)


def test_essential_names_find_every_flavour_in_order_of_ids() -> None:
    spec = spec_of(
        btf.Struct("foo___new", 1),
        btf.Struct("foo", 2),
        btf.Fwd("foo___old"),
        btf.Struct("foobar", 3),
        btf.Struct("___foo", 4),
        btf.Struct("foo___", 5),
        btf.Struct("foo____x", 6),
    )
    assert [spec.type_id(t) for t in spec.types_by_essential_name("foo")] == [1, 2, 3]
    assert [spec.type_id(t) for t in spec.types_by_essential_name("foo___mine")] == [1, 2, 3]
    assert [spec.type_id(t) for t in spec.types_by_essential_name("___foo")] == [5]
    assert [spec.type_id(t) for t in spec.types_by_essential_name("foo___")] == [6]
    assert [spec.type_id(t) for t in spec.types_by_essential_name("foo____x")] == [7]
    assert spec.types_by_essential_name("absent") == []


def test_the_class_tells_types_of_one_name_apart() -> None:
    spec = spec_of(btf.Struct("file", 4), btf.Typedef("file", INT), btf.Func("file", btf.FuncProto(INT)))
    assert isinstance(spec.type_by_name("file", btf.Struct), btf.Struct)
    assert isinstance(spec.type_by_name("file", btf.Func), btf.Func)
    assert [type(t) for t in spec.any_types_by_name("file")] == [btf.Struct, btf.Typedef, btf.Func]
    with pytest.raises(AmbiguousTypeError) as caught:
        spec.type_by_name("file")
    assert caught.value.ids == (1, 2, 3)
    assert caught.value.name == "file"
    with pytest.raises(AmbiguousTypeError):
        spec.any_type_by_name("file")
    with pytest.raises(TypeNotFoundError, match="union 'file'"):
        spec.type_by_name("file", btf.Union)


def test_duplicates_of_one_class_are_ambiguous() -> None:
    spec = spec_of(btf.Struct("dup", 4), btf.Struct("dup", 8))
    with pytest.raises(AmbiguousTypeError, match=r"ids 1, 2$"):
        spec.type_by_name("dup", btf.Struct)


def test_a_missing_name_names_what_is_near() -> None:
    spec = spec_of(btf.Struct("task_struct", 4), btf.Struct("tasklet_struct", 4))
    with pytest.raises(TypeNotFoundError, match="near: task_struct") as caught:
        spec.type_by_name("task_strukt")
    assert caught.value.near[0] == "task_struct"
    assert caught.value.name == "task_strukt"


@pytest.mark.parametrize("name", ["", "a\0b", "\udc80", "名", "x" * 100_000])
def test_names_that_nothing_can_have_are_not_found(name: str) -> None:
    spec = spec_of(btf.Struct("foo", 4))
    with pytest.raises(TypeNotFoundError):
        spec.type_by_name(name)
    assert spec.types_by_essential_name(name) == []


def test_anonymous_types_are_found_under_the_empty_name() -> None:
    spec = spec_of(btf.Struct("", 4), btf.Struct("named", 4), btf.Pointer(btf.Void()))
    assert [spec.type_id(t) for t in spec.any_types_by_name("")] == [1, 3]


def test_members_enumerators_and_parameters_are_no_types() -> None:
    spec = spec_of(
        btf.Struct("s", 4, (btf.Member("member", INT),)),
        btf.Enum("e", 4, (btf.Enumerator("ENUMERATOR", 1),)),
        btf.FuncProto(INT, (btf.Param("param", INT),)),
    )
    for name in ("member", "ENUMERATOR", "param"):
        with pytest.raises(TypeNotFoundError):
            spec.type_by_name(name)


STRINGS = b"\0victim\0e\0pad\0other\0"
VICTIM = 1


@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("asked_before", [False, True])
def test_words_that_only_look_like_a_record_are_no_types(order: str, asked_before: bool) -> None:
    """Enumerators named like the struct, whose values read like the info word of a struct, a func or a typedef."""
    traps = [make_info(kind, vlen) for kind in range(1, 20) for vlen in (0, 1)]
    words = [8, make_info(btf.Kind.ENUM, len(traps)), 4]
    for value in traps:
        words += (VICTIM, value)
    words += [VICTIM, make_info(btf.Kind.STRUCT), 64]
    words += [10, make_info(btf.Kind.ENUM, len(traps)), 4]
    for value in traps:
        words += (VICTIM, value)
    spec = btf.Spec(raw_btf(words, STRINGS, order=order))
    if asked_before:  # the second question is answered by another search than the first
        spec.any_types_by_name("pad")
        spec.any_types_by_name("other")
    assert spec.ids_by_name(b"victim") == [2]
    assert spec.type_by_name("victim", btf.Struct).size == 64
    assert [spec.type_id(t) for t in spec.types_by_essential_name("victim")] == [2]
    assert spec.any_types_by_name("other") == []


def test_sizes_offsets_and_ids_equal_to_a_name_offset_are_no_types() -> None:
    # int whose size and bits words are the victim's offset and an info word; then a struct with such a member
    info = make_info(btf.Kind.STRUCT)
    words = [8, make_info(btf.Kind.INT), VICTIM, info]
    words += [10, make_info(btf.Kind.STRUCT, 2), VICTIM, 10, VICTIM, info, VICTIM, VICTIM, info]
    spec = btf.Spec(raw_btf(words, STRINGS))
    assert spec.any_types_by_name("victim") == []
    assert len(spec) == 2


def test_lookups_in_random_order_agree_with_a_spec_that_was_walked(vmlinux_bytes: bytes) -> None:
    walked = btf.Spec(vmlinux_bytes)
    ids: dict[bytes, list[int]] = {}
    for type_id in range(1, len(walked) + 1):
        words, at = walked.locate(type_id)
        ids.setdefault(walked.string_bytes(words[at]), []).append(type_id)
    dice = random.Random(6)
    names = dice.sample(sorted(name for name in ids if name), 250)
    lazy = btf.Spec(vmlinux_bytes)
    for name in names:
        assert lazy.ids_by_name(name) == ids[name], name
    for type_id in dice.sample(range(1, len(walked) + 1), 250):
        fresh = lazy.type_by_id(type_id)
        assert repr(fresh) == repr(walked.type_by_id(type_id))
        assert lazy.type_id(fresh) == type_id


def test_one_lookup_in_a_kernel_does_not_walk_it(vmlinux_bytes: bytes) -> None:
    spec = btf.Spec(vmlinux_bytes)
    assert spec.type_by_name("list_head", btf.Struct).size == 16
    assert spec._frontier < len(spec._words) // 2


def test_essential_names_in_a_kernel_agree_with_a_walk(vmlinux: btf.Spec) -> None:
    for name in ("task_struct", "pt_regs", "list_head", "nothing_like_it"):
        expected = vmlinux.any_types_by_name(name)
        assert [t for t in vmlinux.types_by_essential_name(f"{name}___mine") if t in expected] == expected


class Counting(bytes):
    """Bytes that count how many of them are copied out."""

    copied = 0

    def __getitem__(self, which):
        found = super().__getitem__(which)
        self.copied += len(found) if isinstance(which, slice) else 1
        return found


def test_what_is_copied_to_find_flavours_grows_with_the_names_and_not_with_their_square():
    builder = btf.Builder()
    builder.add(INT)
    for number in range(3_000):
        builder.add(btf.Int(f"{'x' * 70}{number}___v2", 4, 1))
    data = Counting(builder.marshal())
    spec = btf.Spec(data)

    assert [t.name for t in spec.types_by_essential_name("x" * 70 + "7")] == ["x" * 70 + "7___v2"]
    assert data.copied < 12 * len(data)


def test_a_name_that_is_written_down_often_is_found_under_each_copy():
    copies = 40
    strings = b"\0" + b"twin\0" * copies
    records = b"".join(struct.pack("<4I", 1 + 5 * n, make_info(btf.Kind.INT, 0), 4, 32) for n in range(copies))
    head = struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(records), len(records), len(strings))
    spec = btf.Spec(head + records + strings)

    assert [spec.type_id(t) for t in spec.any_types_by_name("twin")] == list(range(1, copies + 1))
    assert spec.ids_by_name(b"twin", (btf.Kind.INT,)) == list(range(1, copies + 1))
    assert spec.ids_by_name(b"twin", (btf.Kind.STRUCT,)) == []


def test_an_error_about_thousands_of_types_of_one_name_names_the_first_few() -> None:
    spec = spec_of(*(btf.Struct("", 0) for _ in range(2_000)))
    with pytest.raises(AmbiguousTypeError, match=r"2000 types answer to '': ids 1, 2, .*, 10, \.\.\.$") as caught:
        spec.any_type_by_name("")
    assert len(str(caught.value)) < 200
    assert caught.value.ids == tuple(range(1, 2_001))


def test_a_name_that_only_the_base_has_is_an_error_that_says_so() -> None:
    base = spec_of(btf.Struct("shared", 4))
    builder = btf.Builder(base)
    builder.add(btf.Struct("shade", 4))
    split = builder.spec("module")
    with pytest.raises(TypeNotFoundError, match=r"no 'shared' of its own; .* has one: ask spec.base, or every_type"):
        split.type_by_name("shared")
    with pytest.raises(TypeNotFoundError, match=r"no union 'shared'; near: shade$"):
        split.type_by_name("shared", btf.Union)


def test_the_first_name_of_a_split_is_near_too() -> None:
    builder = btf.Builder(spec_of(btf.Struct("other", 4)))
    builder.add(btf.Struct("tun_file", 4))
    assert builder.spec().near_names("tun_fil") == ("tun_file",)


def _raw_and_lookalike() -> btf.Spec:
    strings = b"\0int\0\xff\0\\xff\0a___\xfe\0\xfd___v\0"
    int_ = [1, make_info(btf.Kind.INT), 4, 1 << 24 | 32]
    structs = [[at, make_info(btf.Kind.STRUCT, 1), 4, at, 1, 0] for at in (5, 7)]
    flavours = [[at, make_info(btf.Kind.FWD), 0] for at in (12, 18)]
    return btf.Spec(raw_btf([word for record in (int_, *structs, *flavours) for word in record], strings))


def test_a_name_that_is_no_utf_8_is_not_text_that_looks_like_it() -> None:
    spec = _raw_and_lookalike()
    raw, plain = (struct for struct in spec if isinstance(struct, btf.Struct))
    assert (str(raw.name), plain.name) == ("\\xff", "\\xff")
    assert raw.name != plain.name
    assert plain.name != raw.name
    assert len({raw.name, plain.name, "\\xff", btf.RawName(b"\xff")}) == 2
    for one in (raw, plain):
        assert spec.any_types_by_name(one.name) == [one]
        assert spec.type_by_name(one.name) is one
        assert spec.types_by_essential_name(one.name) == [one]
        assert isinstance(one.members[0].name, btf.RawName) == (one is raw)
    assert not btf.same_type(raw, plain)


def test_a_name_that_is_no_utf_8_keeps_its_bytes_in_copies() -> None:
    spec = _raw_and_lookalike()
    builder = btf.Builder()
    builder.add_all(spec)
    copies = [builder.spec(), btf.deduplicate(spec), pickle.loads(pickle.dumps(spec))]
    one = btf.Builder()
    one.add(btf.Struct(btf.RawName(b"\xff"), 4, (btf.Member("a", spec.type_by_id(1)),)))
    assert one.spec().ids_by_name(b"\xff") == [1]
    for copy in copies:
        assert [copy.ids_by_name(name) for name in (b"\xff", b"\\xff")] == [[2], [3]]
        assert all(map(btf.same_type, copy, spec))
    name = pickle.loads(pickle.dumps(spec.type_by_id(2).name))  # type: ignore[attr-defined]
    assert (name, name.raw, f"{name}") == (btf.RawName(b"\xff"), b"\xff", "\\xff")


def test_a_raw_name_is_made_of_bytes() -> None:
    for wrong in ("abc", None, 3):
        with pytest.raises(InputError, match="a name is bytes here"):
            btf.RawName(wrong)  # type: ignore[arg-type]


def test_flavours_of_names_that_are_no_utf_8() -> None:
    flavours = [each.name for each in _raw_and_lookalike() if isinstance(each, btf.Fwd)]
    assert [btf.essential_name(each) for each in flavours] == ["a", btf.RawName(b"\xfd")]
    with pytest.raises(InputError, match="a name is a string"):
        btf.essential_name(None)  # type: ignore[arg-type]
