"""Laws of deduplication, on random graphs that are full of near misses."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from ebpfpy import btf
from ebpfpy.btf import Kind
from ebpfpy.errors import EbpfError
from tests.unit.core.records import SIGNED, Records

SIZE = 14
EXAMPLES = settings(max_examples=300, deadline=None)

names = st.sampled_from(["a", "b", "c"])


@st.composite
def records(draw: st.DrawFn, declarations: bool = False, least: int = 1) -> list[tuple]:
    """Types as calls of `Records`; ids count from 1 within the list, and refer anywhere, also forwards."""
    count = draw(st.integers(least, SIZE))
    ids = st.integers(0, count)
    kinds = [
        st.tuples(st.just("int"), names, st.sampled_from([4, 8])),
        st.tuples(st.just("pointer"), ids),
        st.tuples(st.just("const"), ids),
        st.tuples(st.just("array"), ids, st.sampled_from([2, 3])),
        st.tuples(st.just("typedef"), names, ids),
        st.tuples(st.just("prototype"), ids, st.lists(ids, max_size=2)),
        st.tuples(st.just("enum"), names, st.lists(st.sampled_from(["A", "B"]), min_size=1, max_size=1)),
        st.tuples(st.just("struct"), names | st.just(""), st.lists(ids, max_size=2)),
        st.tuples(st.just("struct"), names, st.lists(ids, min_size=1, max_size=2)),
    ]
    if declarations:
        kinds += [st.tuples(st.just("forward"), names, st.booleans()), st.tuples(st.just("enum"), names, st.just([]))]
    return [draw(st.one_of(kinds)) for _ in range(count)]


def write(lists: list[list[tuple]], base: Records | None = None) -> Records:
    """The lists one behind the other; below the first own id of `base`, ids of a list are the list's, above void."""
    r = Records(base=base)
    for calls in lists:
        shift = r.next_id - 1

        def moved(type_id: int, shift: int = shift) -> int:
            return type_id + shift if type_id else 0

        for call in calls:
            match call:
                case ("int", name, size):
                    r.int(name, size, SIGNED)
                case ("pointer" | "const" as kind, target):
                    getattr(r, kind)(moved(target))
                case ("array", target, count):
                    r.array(moved(target), count)
                case ("typedef", name, target):
                    r.typedef(name, moved(target))
                case ("prototype", result, params):
                    r.prototype(moved(result), [moved(each) for each in params])
                case ("enum", name, values):
                    r.enum(name, [(value, index) for index, value in enumerate(values)])
                case ("forward", name, union):
                    r.forward(name, union=union)
                case ("struct", name, members):
                    r.struct(name, 16, [(f"m{i}", moved(each), 64 * i) for i, each in enumerate(members)])
    return r


@EXAMPLES
@given(records())
def test_without_declarations_every_type_becomes_an_equal_one(calls: list[tuple]) -> None:
    spec = write([calls]).spec()
    done = btf.deduplicate_with_map(spec)
    assert len(done.ids) == len(spec) + 1
    assert set(done.ids) == set(range(len(done.spec) + 1))
    for type_id, new in enumerate(done.ids):
        assert btf.same_type(spec.type_by_id(type_id), done.spec.type_by_id(new))


@EXAMPLES
@given(records())
def test_structs_that_are_left_are_all_different(calls: list[tuple]) -> None:
    """Also those that are one in a circle only: rings of copies."""
    spec = btf.deduplicate(write([calls]).spec())
    structs = [each for each in spec if isinstance(each, btf.Struct)]
    for index, one in enumerate(structs):
        for other in structs[index + 1 :]:
            assert not btf.same_type(one, other)


@EXAMPLES
@given(records(declarations=True))
def test_a_second_time_changes_nothing_where_nothing_was_guessed(calls: list[tuple]) -> None:
    once = btf.deduplicate(write([calls]).spec())
    if not any(isinstance(each, btf.Fwd) for each in write([calls]).spec()):
        assert btf.deduplicate(once).raw == once.raw
    else:
        assert len(btf.deduplicate(once)) <= len(once)


@EXAMPLES
@given(records(), st.integers(2, 3))
def test_copies_add_nothing(calls: list[tuple], copies: int) -> None:
    one, many = btf.deduplicate(write([calls]).spec()), btf.deduplicate(write([calls] * copies).spec())
    assert many.raw == one.raw


@EXAMPLES
@given(records(declarations=True), records(declarations=True))
def test_a_split_keeps_its_base_and_every_kind_of_every_type(below: list[tuple], calls: list[tuple]) -> None:
    r = write([below])
    base = r.spec("base")
    before = bytes(base.raw)
    split = write([calls], base=r).spec("split", base)
    done = btf.deduplicate_with_map(split)
    assert bytes(base.raw) == before
    assert list(done.ids[: split.first_id]) == list(range(split.first_id))
    for type_id in range(split.first_id, split.first_id + len(split)):
        old, new = split.kind_of(type_id), done.spec.kind_of(done.ids[type_id])
        assert new == old or (old == Kind.FWD and new in (Kind.STRUCT, Kind.UNION))
    if not any(call[0] == "forward" or call[-1] == [] for call in below + calls):
        for type_id in range(split.first_id, split.first_id + len(split)):
            assert btf.same_type(split.type_by_id(type_id), done.spec.type_by_id(done.ids[type_id]))


@EXAMPLES
@given(records(declarations=True), st.data())
def test_damaged_words_are_a_result_or_an_error(calls: list[tuple], data: st.DataObject) -> None:
    r = write([calls])
    place = data.draw(st.integers(0, len(r._words) - 1))
    r._words[place] = data.draw(st.integers(0, 40) | st.integers(0, 0xFFFF_FFFF))
    for call in (btf.deduplicate, lambda spec: btf.sanitize(spec, btf.Feature.everything())):
        try:
            call(r.spec())
        except EbpfError:
            continue
