"""Arguments of the wrong kind are an `InputError`, whatever they are; nothing of Python's own gets out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from ebpfpy import btf, core
from ebpfpy.elf import load_collection_spec
from ebpfpy.errors import EbpfError, InputError, NotFoundError, TypeNotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable

NONSENSE: list[Any] = [None, "x", 3.5, b"y", [], {}, object(), 10**30, -5]
INT = btf.Int("int", 4)
STRUCT = btf.Struct("s", 4, (btf.Member("a", INT),))


def spec() -> btf.Spec:
    builder = btf.Builder()
    builder.add(STRUCT)
    return builder.spec()


TYPE_IS_MEANT: dict[str, Callable[[Any], object]] = {
    "sizeof": btf.sizeof,
    "alignof": btf.alignof,
    "resolve": btf.resolve,
    "decode": lambda x: btf.decode(x, b""),
    "encode": lambda x: btf.encode(x, {}),
    "dump_data": lambda x: btf.dump_data(x, b""),
    "same_type, left": lambda x: btf.same_type(x, INT),
    "same_type, right": lambda x: btf.same_type(INT, x),
    "Builder.add": lambda x: btf.Builder().add(x),
    "Spec.type_id": lambda x: spec().type_id(x),
    "target": lambda x: btf.Pointer(x).target,
    "class": lambda x: spec().type_by_name("s", x),
    "type by name": lambda x: spec().type_by_name(x),
    "any type by name": lambda x: spec().any_type_by_name(x),
    "type by id": lambda x: spec().type_by_id(x),
    "locate": lambda x: spec().locate(x),
    "kind_of": lambda x: spec().kind_of(x),
    "string": lambda x: spec().string(x),
    "base of a builder": lambda x: btf.Builder(x if x is not None else 0),  # type: ignore[arg-type]
    "blob": btf.Spec,
    "prototype": lambda x: btf.Func("f", x).params,
    "member": lambda x: btf.Struct("s", 4, (x,)),
    "enumerator": lambda x: btf.Enum("e", 4, (x,)),
    "parameter": lambda x: btf.FuncProto(INT, (x,)),
    "variable": lambda x: btf.Datasec(".data", 4, (x,)),
}
NUMBER_IS_MEANT: dict[str, Callable[[Any], object]] = {
    "size": lambda x: btf.Int("i", x),
    "count": lambda x: btf.Array(INT, INT, x),
    "offset": lambda x: btf.Member("m", INT, x),
    "component": lambda x: btf.DeclTag("t", INT, x),
    "linkage": lambda x: btf.Var("v", INT, x),
    "place": lambda x: btf.VarSecinfo(INT, x, 4),
}


@pytest.mark.parametrize("what", TYPE_IS_MEANT)
def test_nonsense_is_refused(what: str) -> None:
    for nonsense in NONSENSE:
        with pytest.raises(EbpfError):
            TYPE_IS_MEANT[what](nonsense)


@pytest.mark.parametrize("what", NUMBER_IS_MEANT)
def test_what_is_no_integer_is_refused(what: str) -> None:
    for nonsense in (each for each in NONSENSE if not isinstance(each, int)):
        with pytest.raises(InputError, match="no integer"):
            NUMBER_IS_MEANT[what](nonsense)


@pytest.mark.parametrize("nonsense", [None, "x", 3.5, [], {}, 7])
def test_what_is_no_buffer_is_refused(nonsense: Any) -> None:
    for read in (btf.decode, btf.dump_data):
        with pytest.raises(InputError):
            read(STRUCT, nonsense)


@pytest.mark.parametrize("nonsense", [None, 3.5, 7, object()])
def test_what_is_no_sequence_is_refused(nonsense: Any) -> None:
    for make in (lambda x: btf.Struct("s", 4, x), lambda x: btf.Enum("e", 4, x), lambda x: btf.FuncProto(INT, x)):
        with pytest.raises(InputError, match="no sequence"):
            make(nonsense)
    with pytest.raises(InputError):
        btf.Builder().add_all(nonsense)


def test_arrays_of_fewer_than_no_elements_have_no_value() -> None:
    with pytest.raises(InputError, match="-5 elements"):
        btf.decode(btf.Array(INT, INT, -5), b"")


def test_any_iterable_of_parts_will_do_and_numbers_may_be_any_integers() -> None:
    struct = btf.Struct("s", btf.Kind.FLOAT, [btf.Member("a", INT, True)])
    assert (struct.size, struct.members[0].offset_bits) == (16, 1)
    assert isinstance(struct.members, tuple)
    assert type(struct.size) is int


@pytest.mark.parametrize("wrong", [None, 5, "vmlinux.btf"])
def test_a_path_or_number_in_place_of_a_spec_says_that_a_spec_is_needed(wrong):
    good = btf.Spec(btf.Builder().marshal())
    calls = (
        lambda: btf.deduplicate(wrong),
        lambda: btf.distill_base(wrong),
        lambda: list(btf.dump_raw(wrong)),
        lambda: list(btf.format_header(wrong)),
        lambda: btf.diff(wrong, good),
        lambda: btf.diff(good, wrong),
        lambda: btf.relocate_base(wrong, good),
        lambda: btf.match_base(good, wrong),
        lambda: btf.sanitize(wrong, btf.Feature(0)),
        lambda: btf.merge_splits([wrong]),
    )
    for call in calls:
        with pytest.raises(InputError, match="a Spec is needed"):
            call()


def test_an_unknown_mode_is_refused_whether_it_would_matter_or_not():
    base = spec()
    builder = btf.Builder(base)
    builder.add(btf.Pointer(base.type_by_name("s")))
    split = builder.spec("m")
    for call in (
        lambda: btf.check_split(split, base, strict="libbpf"),
        lambda: btf.rank_bases(split, [base], strict="libbpf"),
        lambda: btf.rank_bases(split, [], strict="libbpf"),
    ):
        with pytest.raises(InputError, match="strict is None or \"kernel\", not 'libbpf'"):
            call()


@pytest.mark.parametrize("wrong", [24.0, "24", 25])
def test_the_size_of_a_header_is_one_of_two_numbers(wrong):
    with pytest.raises(InputError, match=f"a header has 24 or 32 bytes, not {wrong!r}"):
        btf.Builder().marshal(header_size=wrong)


@pytest.mark.parametrize("wrong", [None, 5, b"vmlinux"])
def test_the_name_of_a_spec_is_text(wrong):
    builder = btf.Builder()
    for call in (lambda: btf.Spec(builder.marshal(), name=wrong), lambda: builder.spec(wrong)):
        with pytest.raises(InputError, match="the name of a Spec is a string, not"):
            call()


def test_where_several_specs_are_needed_one_of_them_is_no_list():
    good = btf.Spec(btf.Builder().marshal())
    for call in (
        btf.merge_splits,
        lambda wrong: btf.rank_bases(good, wrong),
        lambda wrong: core.relocate([], wrong),
    ):
        for wrong in (good, None, 5):
            with pytest.raises(InputError, match="a list of Specs is needed"):
                call(wrong)
        with pytest.raises(InputError, match="a Spec is needed, not str"):
            call(["vmlinux"])


def test_what_a_kernel_lacks_is_a_feature():
    with pytest.raises(InputError, match="is a Feature, not str"):
        btf.sanitize(btf.Spec(btf.Builder().marshal()), "enum64")


def test_an_object_is_read_from_a_path_bytes_or_a_file():
    for wrong in (None, 5):
        with pytest.raises(InputError, match="from a path, bytes or a binary file"):
            load_collection_spec(wrong)


def test_a_pointer_size_is_a_whole_number():
    spec = btf.Spec(btf.Builder().marshal())
    for wrong in (8.0, "8", None, 5):
        with pytest.raises(InputError, match="4 or 8 bytes"):
            spec.pointer_size = wrong


def test_tags_of_a_type_that_is_not_there_are_an_error():
    spec = btf.Spec(btf.Builder().marshal())
    for call in (spec.tags_of, spec.attributes_of, spec.decl_tags_of):
        with pytest.raises(TypeNotFoundError):
            call(10**9)


def test_a_type_too_large_to_write_is_refused_before_memory_is_taken():
    with pytest.raises(InputError, match="not written at once"):
        btf.encode(btf.Struct("s", 2**32 - 1, ()), {})


def merged() -> btf.MergedSpec:
    kernel = spec()
    builder = btf.Builder(kernel)
    builder.add(btf.Fwd("own"))
    return btf.merge_splits([builder.spec("module")])


ODD_ARGUMENTS: dict[str, Callable[[Any], object]] = {
    "text of decode: None": lambda _: btf.decode(INT, bytes(4), text=None),
    "text of decode: a list": lambda s: btf.decode(s.type_by_id(2), bytes(4), text=[]),
    "keep_strings: a number": lambda s: btf.deduplicate_with_map(s, keep_strings=5),
    "keep_strings: None in them": lambda s: btf.deduplicate_with_map(s, keep_strings=[None]),
    "describe": lambda _: btf.describe(None, 1),
    "describe_with_id": lambda _: btf.describe_with_id(None, 1),
    "describe, id": lambda s: btf.describe(s, "x"),
    "base of a module": lambda _: btf.load_kernel_module_spec("tun", 5),
    "directory of a module": lambda _: btf.load_kernel_module_spec("tun", directory="\0"),
    "ids of dump_raw": lambda s: list(btf.dump_raw(s, ids=5)),
    "essential_name": lambda _: btf.essential_name(None),
    "parse_ext": lambda s: btf.parse_ext(None, s),
    "Handle.load: None": lambda _: btf.Handle.load(None),
    "Handle.load: a number": lambda _: btf.Handle.load(5),
    "kernel_module_names: 1.5": lambda _: btf.kernel_module_names(1.5),
    "kernel_module_names: NUL": lambda _: btf.kernel_module_names("a\0b"),
    "kernel_module_names: a number": lambda _: btf.kernel_module_names(10**40),
    "near_names": lambda s: s.near_names("x", "x"),
    "near_names, fewer than none": lambda s: s.near_names("x", -1),
    "strings_at: a number": lambda s: s.strings_at(5),
    "strings_at: text in it": lambda s: s.strings_at(["x"]),
    "string_bytes": lambda s: s.string_bytes("x"),
    "string_offsets": lambda s: s.string_offsets("x"),
    "ids_by_essential_name": lambda s: s.ids_by_essential_name("x"),
    "ids_by_name": lambda s: s.ids_by_name("x"),
    "merged_id": lambda _: merged().merged_id(0, "x"),
    "merged_id, module": lambda _: merged().merged_id("x", 0),
    "a class for a type": lambda _: btf.Pointer(btf.Struct).target,
    "a class for a type, written": lambda _: btf.Builder().add(btf.Pointer(btf.Struct)),
}


@pytest.mark.parametrize("what", ODD_ARGUMENTS)
def test_odd_arguments_are_refused(what: str) -> None:
    with pytest.raises(InputError):
        ODD_ARGUMENTS[what](spec())


def test_modules_that_were_not_merged_have_no_ids() -> None:
    whole = merged()
    assert [whole.merged_id(0, type_id) for type_id in range(4)] == [0, 1, 2, 3]
    for module in (-1, 1, 99):
        with pytest.raises(NotFoundError, match=f"no module {module}"):
            whole.merged_id(module, 1)


def test_no_near_names_are_none() -> None:
    assert spec().near_names("t", 0) == ()
