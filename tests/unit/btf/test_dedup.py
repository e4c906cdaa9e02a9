"""Deduplication, case by case; the worked examples of the documentation among them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ebpfpy import btf
from ebpfpy.errors import BtfError
from tests.steps import lines_run
from tests.unit.core.records import SIGNED, Records

if TYPE_CHECKING:
    from collections.abc import Callable

TESTDATA = Path(__file__).parents[3] / "testdata"


def lines(spec: btf.Spec) -> list[str]:
    return list(btf.dump_raw(spec))


def once(records: Records, base: btf.Spec | None = None) -> btf.Spec:
    """Deduplicated, and no more so by a second time."""
    first = btf.deduplicate(records.spec("x", base))
    assert btf.deduplicate(first).raw == first.raw
    return first


def count(spec: btf.Spec, cls: type[btf.Type], name: str | None = None) -> int:
    return sum(isinstance(each, cls) and name in (None, getattr(each, "name", "")) for each in spec)


def test_the_first_worked_example() -> None:
    r = Records()
    r.pointer(r.int("int", 4, SIGNED))
    r.pointer(r.int("int", 4, SIGNED))
    r.prototype(3, [4])
    done = btf.deduplicate_with_map(r.spec())
    assert list(done.ids) == [0, 1, 2, 1, 2, 3]
    assert [type(each).__name__ for each in done.spec] == ["Int", "Pointer", "FuncProto"]
    assert done.spec.type_by_id(3).params[0].type is done.spec.type_by_id(2)


def test_the_worked_example_of_structs() -> None:
    r = Records()
    r.struct("node", 16, [("next", 2, 0), ("item", 3, 64)])
    r.pointer(1)
    r.pointer(4)
    r.forward("item")
    r.struct("node", 16, [("next", 6, 0), ("item", 7, 64)])
    r.pointer(5)
    r.pointer(8)
    r.struct("item", 4, [("key", 9, 0)])
    r.int("int", 4, SIGNED)
    done = btf.deduplicate_with_map(r.spec())
    assert list(done.ids) == [0, 1, 2, 3, 4, 1, 2, 3, 4, 5]
    assert lines(done.spec) == [
        "[1] STRUCT 'node' size=16 vlen=2",
        "\t'next' type_id=2 bits_offset=0",
        "\t'item' type_id=3 bits_offset=64",
        "[2] PTR '(anon)' type_id=1",
        "[3] PTR '(anon)' type_id=4",
        "[4] STRUCT 'item' size=4 vlen=1",
        "\t'key' type_id=5 bits_offset=0",
        "[5] INT 'int' size=4 bits_offset=0 nr_bits=32 encoding=SIGNED",
    ]


def test_arrays_of_different_elements_keep_structs_apart() -> None:
    """libbpf 1.8-dev compares the first array with itself, and merges these."""
    r = Records()
    number, unsigned = r.int("int", 4, SIGNED), r.int("unsigned int", 4)
    one = r.array(number, 4, number)
    r.struct("S", 32, [("a", one, 0), ("b", one, 128)])
    two, three = r.array(number, 4, number), r.array(unsigned, 4, number)
    r.struct("S", 32, [("a", two, 0), ("b", three, 128)])
    spec = once(r)
    assert count(spec, btf.Struct, "S") == 2
    assert count(spec, btf.Array) == 2


def test_an_array_type_that_one_copy_has_twice_is_no_difference() -> None:
    r = Records()
    number = r.int("int", 4, SIGNED)
    one = r.array(number, 4, number)
    r.struct("S", 32, [("a", one, 0), ("b", one, 128)])
    r.struct("S", 32, [("a", r.array(number, 4, number), 0), ("b", r.array(number, 4, number), 128)])
    spec = once(r)
    assert len(spec) == 3


def test_a_struct_that_one_copy_has_twice_is_no_difference() -> None:
    r = Records()
    number = r.int("int", 4, SIGNED)
    inner = r.struct("", 4, [("x", number, 0)])
    r.struct("S", 8, [("a", inner, 0), ("b", inner, 32)])
    r.struct("S", 8, [("a", r.struct("", 4, [("x", number, 0)]), 0), ("b", r.struct("", 4, [("x", number, 0)]), 32)])
    assert len(once(r)) == 3


@pytest.mark.parametrize("reverse", [False, True])
def test_an_enum_that_is_only_declared_becomes_its_definition(reverse: bool) -> None:
    r = Records()
    values = [[("A", 0), ("B", 1)], []]
    for each in reversed(values) if reverse else values:
        r.pointer(r.enum("e", each))
    spec = once(r)
    assert len(spec) == 2
    assert count(spec, btf.Enum) == 1
    assert [len(each.enumerators) for each in spec if isinstance(each, btf.Enum)] == [2]


def test_a_declared_enum_becomes_an_enum64_but_never_one_of_several() -> None:
    r = Records()
    r.enum("e", [])
    r.enum64("e", [("A", 1 << 40)])
    assert len(once(r)) == 1
    r.enum("e", [("B", 1)])
    assert len(once(r)) == 3


def test_anonymous_enums_without_values_are_not_declarations() -> None:
    r = Records()
    r.enum("", [])
    r.enum("", [("A", 0)])
    assert len(once(r)) == 2


def test_a_declaration_with_one_definition_in_sight_becomes_it() -> None:
    r = Records()
    r.pointer(r.forward("foo"))
    r.pointer(r.struct("foo", 4))
    assert [type(each).__name__ for each in once(r)] == ["Pointer", "Struct"]


@pytest.mark.parametrize("union", [False, True])
def test_a_declaration_is_left_alone_if_its_meaning_is_not_clear(union: bool) -> None:
    r = Records()
    r.pointer(r.forward("foo", union=union))
    r.struct("foo", 4)
    r.union("foo", 4)
    assert len(once(r)) == 4
    one = Records()
    one.forward("foo", union=True)
    one.struct("foo", 4)
    assert len(once(one)) == 2


def test_the_context_tells_which_definition_is_meant() -> None:
    r = Records()
    first = r.struct("foo", 4, [("a", r.int("int", 4, SIGNED), 0)])
    r.struct("bar", 16, [("foo", r.pointer(first), 0), ("x", 1, 64)])
    r.struct("foo", 8)
    r.struct("bar", 16, [("foo", r.pointer(r.forward("foo")), 0), ("x", 1, 64)])
    spec = once(r)
    assert count(spec, btf.Struct, "bar") == 1
    assert count(spec, btf.Fwd) == 0


def test_one_declaration_cannot_stand_for_two_definitions_of_one_copy() -> None:
    r = Records()
    declared = r.pointer(r.forward("foo"))
    r.struct("S", 16, [("a", declared, 0), ("b", declared, 64)])
    r.struct("S", 16, [("a", r.pointer(r.struct("foo", 4)), 0), ("b", r.pointer(r.struct("foo", 8)), 64)])
    assert count(once(r), btf.Struct, "S") == 2


def test_an_exact_match_is_preferred_to_one_by_declaration() -> None:
    r = Records()
    for _ in range(2):
        r.struct("S", 8, [("a", r.pointer(r.forward("foo")), 0)])
        r.struct("S", 8, [("a", r.pointer(r.struct("foo", 4)), 0)])
        r.struct("S", 8, [("a", r.pointer(r.struct("foo", 8)), 0)])
    doubled = once(r)
    assert count(doubled, btf.Struct, "foo") == 2
    assert count(doubled, btf.Struct, "S") == 2


def test_variables_and_data_sections_are_never_merged() -> None:
    r = Records()
    number = r.int("int", 4, SIGNED)
    for _ in range(2):
        variable = r.add(btf.Kind.VAR, "v", value=number, words=[1])
        r.add(btf.Kind.DATASEC, ".bss", vlen=1, value=4, words=[variable, 0, 4])
    assert len(once(r)) == 5


def test_functions_are_equal_with_the_same_linkage_and_parameter_names() -> None:
    r = Records()
    number = r.int("int", 4, SIGNED)
    for name in ("a", "a", "b"):
        proto = r.add(btf.Kind.FUNC_PROTO, vlen=1, value=0, words=[r.string(name), number])
        r.add(btf.Kind.FUNC, "f", value=proto, vlen=1)
    r.add(btf.Kind.FUNC, "f", value=2, vlen=0)
    spec = once(r)
    assert count(spec, btf.FuncProto) == 2
    assert count(spec, btf.Func) == 3


def test_tags_are_equal_on_the_same_target_and_component() -> None:
    r = Records()
    for _ in range(2):
        struct = r.struct("S", 4, [("a", r.int("int", 4, SIGNED), 0)])
        for component in (0, 0xFFFF_FFFF):
            r.add(btf.Kind.DECL_TAG, "tag", value=struct, words=[component])
        r.pointer(r.add(btf.Kind.TYPE_TAG, "user", value=struct))
        r.pointer(r.add(btf.Kind.TYPE_TAG, "user", value=struct, flag=True))
    assert len(once(r)) == 8


def test_strings_are_there_once_and_only_those_in_use() -> None:
    r = Records()
    r.int("int", 4, SIGNED)
    r.string("unused")
    blob = bytearray(r.blob())
    blob += b"int\0again\0"  # a second copy of a string, and one that only .BTF.ext would refer to
    blob[20:24] = (int.from_bytes(blob[20:24], "little") + 10).to_bytes(4, "little")
    spec = btf.Spec(bytes(blob))
    again = spec.strings_end - 6
    done = btf.deduplicate_with_map(spec, keep_strings=[again, spec.strings_end - 10])
    assert done.spec.raw[-11:].tobytes() == b"\0int\0again\0"
    assert done.spec.string(done.strings[again]) == "again"
    assert done.spec.string(done.strings[spec.strings_end - 10]) == "int"
    assert btf.deduplicate(spec).raw[-5:].tobytes() == b"\0int\0"


def test_names_with_two_copies_in_the_strings_are_one_name() -> None:
    r = Records()
    one, two = r.string("foo"), len(r._strings)
    r._strings += b"foo\0"
    r._words += [one, 4 << 24, 4, two, 4 << 24, 4]
    r._count = 2
    assert len(once(r)) == 1


def test_foreign_byte_order_stays_foreign() -> None:
    r = Records("big")
    r.pointer(r.int("int", 4, SIGNED))
    r.pointer(r.int("int", 4, SIGNED))
    spec = once(r)
    assert spec.byte_order == "big"
    assert len(spec) == 2


def test_ids_beyond_the_end_and_bad_names_are_errors_that_name_the_type() -> None:
    r = Records()
    r.pointer(7)
    with pytest.raises(BtfError, match="type 1 refers to type 7, but the last one is 1"):
        btf.deduplicate(r.spec())
    r = Records()
    r.string("int")
    r._words += [2, 16 << 24, 4]
    r._count = 1
    with pytest.raises(BtfError, match="string offset 2 is not the start of a string"):
        btf.deduplicate(r.spec())
    with pytest.raises(BtfError, match="beyond the end"):
        btf.deduplicate_with_map(Records().spec(), keep_strings=[99])


def test_types_that_only_refer_to_themselves_are_no_endless_loop() -> None:
    r = Records()
    r.pointer(1)
    r.pointer(1)
    r.typedef("t", 4)
    r.const(3)
    r.struct("", 8, [("a", 6, 0)])
    r.pointer(5)
    r.struct("", 8, [("a", 8, 0)])
    r.pointer(7)
    r.array(9, 2, 9)
    spec = btf.deduplicate(r.spec())
    assert 0 < len(spec) <= 9


def test_an_empty_spec_stays_empty() -> None:
    assert len(btf.deduplicate(Records().spec())) == 0


# --- split BTF ------------------------------------------------------------------------------------


def test_a_split_gives_up_what_its_base_has() -> None:
    below = Records()
    number = below.int("int", 4, SIGNED)
    struct = below.struct("node", 16, [("next", below.next_id + 1, 0), ("value", number, 64)])
    below.pointer(struct)
    base = below.spec("vmlinux")
    r = Records(base=below)
    mine = r.struct("node", 16, [("next", r.next_id + 1, 0), ("value", r.next_id + 2, 64)])
    r.pointer(mine)
    r.int("int", 4, SIGNED)
    r.struct("mine", 16, [("node", mine, 0), ("next", mine + 1, 64)])
    done = btf.deduplicate_with_map(r.spec("module", base))
    assert done.spec.base is base
    assert list(done.ids[4:]) == [2, 3, 1, 4]
    assert lines(done.spec) == [
        "[4] STRUCT 'mine' size=16 vlen=2",
        "\t'node' type_id=2 bits_offset=0",
        "\t'next' type_id=3 bits_offset=64",
    ]
    assert b"node\0" not in done.spec.raw.tobytes()


def test_a_declaration_of_the_base_never_becomes_a_definition() -> None:
    below = Records()
    below.struct("bar", 8, [("foo", below.pointer(below.forward("foo")), 0)])
    base = below.spec("vmlinux")
    before = bytes(base.raw)
    r = Records(base=below)
    r.struct("bar", 8, [("foo", r.pointer(r.struct("foo", 4)), 0)])
    declared = r.pointer(r.forward("foo"))
    r.struct("user", 8, [("foo", declared, 0)])
    spec = once(r, base)
    assert bytes(base.raw) == before
    foo = spec.type_by_name("foo", btf.Struct)
    bar = spec.type_by_name("bar", btf.Struct)
    assert bar.members[0].type.target is foo
    assert spec.type_by_name("user", btf.Struct).members[0].type.target is foo
    assert len(spec) == 4


def test_a_split_that_only_declares_uses_the_declaration_of_the_base() -> None:
    below = Records()
    bar = below.struct("bar", 8, [("foo", below.pointer(below.forward("foo")), 0)])
    base = below.spec("vmlinux")
    r = Records(base=below)
    mine = r.struct("bar", 8, [("foo", r.pointer(r.forward("foo")), 0)])
    r.typedef("bar_t", mine)
    spec = once(r, base)
    assert len(spec) == 1
    assert base.type_id(spec.any_type_by_name("bar_t").target) == bar


# --- no quadratic corners --------------------------------------------------------------------------


def work(records: Records) -> tuple[int, int]:
    """How many lines of Python it takes to deduplicate, and how many types are left."""
    spec = records.spec()
    done: list[btf.Spec] = []
    count = lines_run(
        lambda: done.append(btf.deduplicate(spec)), "btf/dedup.py", "btf/equivalence.py", "btf/classes.py"
    )
    return count, len(done[0])


def anonymous_structs(number: int) -> Records:
    """All of one shell; each points at another named struct."""
    r = Records()
    for _ in range(2):
        for index in range(number):
            named = r.struct(f"n{index}", index)
            r.struct("", 8, [("p", r.pointer(named), 0)])
    return r


def anonymous_enums_and_arrays(number: int) -> Records:
    """All alike."""
    r = Records()
    for _ in range(number):
        r.array(r.enum("", [("A", 0)]), 4, 1)
    return r


def versions_of_an_enum(number: int) -> Records:
    """One name, other values each time; and as many declarations of it."""
    r = Records()
    for index in range(number):
        r.enum("e", [(f"A{index}", 0)])
        r.enum("e", [])
    return r


def structs_of_one_name(number: int) -> Records:
    """The members are called differently."""
    r = Records()
    number_type = r.int("int", 4, SIGNED)
    for index in range(number):
        r.struct("s", 4, [(f"m{index}", number_type, 0)])
    return r


def versions_of_a_name(number: int) -> Records:
    """``struct s {struct t *p;}`` many times, with as many versions of ``struct t``, all that have one name."""
    r = Records()
    for _ in range(2):
        for index in range(number):
            r.struct("s", 8, [("p", r.pointer(r.struct("t", index)), 0)])
    return r


def versions_of_a_declared_name(number: int) -> Records:
    """The same, and ``struct t`` is also declared, so that a colour may not look into it."""
    r = versions_of_a_name(number)
    r.struct("s", 8, [("p", r.pointer(r.forward("t")), 0)])
    return r


def half_declared(number: int) -> Records:
    """``struct s {struct t *p; struct u *q;}`` where every second ``t`` is declared only, and ``u`` has versions."""
    r = Records()
    for index in range(number):
        t = r.forward("t") if index & 1 else r.struct("t", 4)
        r.struct("s", 16, [("p", r.pointer(t), 0), ("q", r.pointer(r.struct("u", index // 2)), 64)])
    return r


def declarations(number: int) -> Records:
    """One name, declared and defined over and over."""
    r = Records()
    for index in range(number):
        r.pointer(r.forward("f"))
        r.struct("f", index)
    return r


def chains(number: int) -> Records:
    """Two long chains of named structs that differ in the last link."""
    r = Records()
    for size in (1, 2):
        below = r.struct("end", size)
        for index in range(number):
            below = r.struct(f"s{index}", 8, [("p", r.pointer(below), 0)])
    return r


def chains_of_one_name(number: int) -> Records:
    """The same, and every struct of a chain has the same name and members: they differ in how far the end is."""
    r = Records()
    for size in (1, 2):
        below = r.struct("s", size)
        for _ in range(number):
            below = r.struct("s", 8, [("p", r.pointer(below), 0)])
    return r


def declared_at_the_end(number: int) -> Records:
    """Two chains of one name; the end of the second is declared only."""
    r = Records()
    for declared in (False, True):
        below = r.forward("end") if declared else r.struct("end", 4)
        for _ in range(number):
            below = r.struct("s", 8, [("p", r.pointer(below), 0)])
    return r


def nested(number: int) -> Records:
    """Two deep nests of structs without a name that differ in the innermost one."""
    r = Records()
    for size in (1, 2):
        below = r.struct("", size)
        for _ in range(number):
            below = r.struct("", 8, [("x", below, 0)])
    return r


def rings(number: int) -> Records:
    """Two rings of copies of one struct; both are one struct that points at itself."""
    r = Records()
    for length in (number, number + 1):
        first = r.next_id
        for index in range(length):
            r.struct("s", 8, [("p", first + 2 * length - 1 if index == 0 else r.next_id - 1, 0)])
            r.pointer(r.next_id - 1)
    return r


def rings_with_one_odd_member(number: int) -> Records:
    """Two rings of structs of one name; in each one struct is different, from which the others are unequally far."""
    r = Records()
    for odd in ("x", "y"):
        first = r.next_id
        for index in range(number):
            r.struct("s", 8, [("p" if index else odd, r.next_id + 1, 0)])
            r.pointer(first if index == number - 1 else r.next_id + 1)
    return r


def pointers_to_pointers(number: int) -> Records:
    """Two chains, equal to the end."""
    r = Records()
    end = r.int("int", 4, SIGNED)
    for _ in range(2):
        below = end
        for _ in range(number):
            below = r.pointer(below)
    return r


def many_members(number: int) -> Records:
    """A large struct twice; every member has a pointer type of its own."""
    r = Records()
    end = r.int("int", 4, SIGNED)
    for _ in range(2):
        r.struct("s", 8 * number, [(f"m{index}", r.pointer(end), 64 * index) for index in range(number)])
    return r


@pytest.mark.parametrize(
    ("make", "left"),
    [
        (anonymous_structs, lambda n: 3 * n),
        (anonymous_enums_and_arrays, lambda _: 2),
        (versions_of_an_enum, lambda n: n + 1),
        (structs_of_one_name, lambda n: n + 1),
        (versions_of_a_name, lambda n: 3 * n),
        (versions_of_a_declared_name, lambda n: 3 * n),
        (half_declared, None),
        (declarations, lambda n: n + 2),
        (chains, lambda n: 2 * (2 * n + 1)),
        (chains_of_one_name, lambda n: 2 * (2 * n + 1)),
        (declared_at_the_end, None),
        (nested, lambda n: 2 * (n + 1)),
        (rings, lambda _: 2),
        (rings_with_one_odd_member, lambda n: 4 * n),
        (pointers_to_pointers, lambda n: n + 1),
        (many_members, lambda _: 3),
    ],
)
def test_work_grows_with_the_number_of_types_and_not_with_its_square(
    make: Callable[[int], Records], left: Callable[[int], int] | None
) -> None:
    small, large = 150, 450
    less, count_small = work(make(small))
    more, count_large = work(make(large))
    if left is not None:
        assert (count_small, count_large) == (left(small), left(large))
    assert more < 1.6 * large // small * less  # n log n allowed


def test_copies_that_only_their_classes_tell_apart_become_one() -> None:
    """A list of five hundred structs of one name, twice: more of one colour than are compared two by two."""
    one, two = Records(), Records()
    for r, copies in ((one, 1), (two, 2)):
        for _ in range(copies):
            below = r.struct("s", 1)
            for _ in range(500):
                below = r.struct("s", 8, [("p", r.pointer(below), 0)])
    assert lines(btf.deduplicate(two.spec())) == lines(btf.deduplicate(one.spec())) == lines(one.spec())


# --- real types ------------------------------------------------------------------------------------


def test_a_real_vmlinux_has_nothing_to_give_up(vmlinux: btf.Spec) -> None:
    done = btf.deduplicate_with_map(vmlinux)
    assert done.ids.tolist() == list(range(len(vmlinux) + 1))
    assert done.spec._words == vmlinux._words
    assert len(done.spec.raw) <= len(vmlinux.raw)


def test_a_vmlinux_twice_is_a_vmlinux_once(vmlinux: btf.Spec) -> None:
    """But for variables, which are never merged."""
    from array import array

    from ebpfpy.btf.records import id_words, make_blob

    count, words = len(vmlinux), array("I", vmlinux._words.tobytes())
    shifted = array("I", words)
    for type_id in range(1, count + 1):
        _, at = vmlinux.locate(type_id)
        for index in id_words(shifted, at):
            if shifted[index]:
                shifted[index] += count
    twice = btf.Spec(make_blob(words + shifted, vmlinux.own_strings(), vmlinux.byte_order))
    done = btf.deduplicate_with_map(twice)
    never = (btf.Kind.VAR, btf.Kind.DATASEC)
    kept = [type_id for type_id in range(count + 1, 2 * count + 1) if twice.kind_of(type_id) in never]
    assert len(done.spec) == count + len(kept)
    for type_id in range(1, count + 1):
        assert done.ids[type_id] == type_id
        assert twice.kind_of(type_id) in never or done.ids[count + type_id] == type_id


@pytest.mark.parametrize("names", [("demo", "tun"), ("tun", "veth", "loop"), ("core_kinds", "core_many", "subprogs")])
def test_objects_that_share_headers_share_their_types(names: tuple[str, ...]) -> None:
    objects = [btf.load_spec(TESTDATA / f"{name}.bpf.o") for name in names]
    builder = btf.Builder()
    for each in objects:
        builder.add_all(each)
    together = builder.spec("together")
    done = btf.deduplicate_with_map(together)
    assert len(done.spec) < len(together) == sum(map(len, objects))
    declared = {each.name for each in together if isinstance(each, btf.Fwd)}
    if not declared:
        for type_id, new in enumerate(done.ids):
            assert btf.same_type(together.type_by_id(type_id), done.spec.type_by_id(new))
    for name in ("__u32", "__u64", "pid_t"):
        assert len(done.spec.any_types_by_name(name)) <= 1
