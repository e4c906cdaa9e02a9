"""Declaration tags found from what they are on; type tags found from what they apply to."""

from __future__ import annotations

import pickle
import time
from typing import Any

import pytest

from ebpfpy import btf
from ebpfpy.errors import BtfError, EbpfError, NotFoundError
from tests.strategies import raw_btf
from tests.unit.core.records import SIGNED, Records

INT = btf.Int("int", 4, 1)
STRUCT = btf.Struct("task", 8, (btf.Member("pid", INT), btf.Member("flags", INT, 32)))
UNION = btf.Union("either", 4, (btf.Member("a", INT),))
TYPEDEF = btf.Typedef("pid_t", INT)
PROTO = btf.FuncProto(INT, (btf.Param("ctx", INT), btf.Param("size", INT)))
ONE, OTHER = btf.Func("one", PROTO, 1), btf.Func("other", PROTO, 1)
VAR = btf.Var("counter", INT, 1)
TAGS = [
    btf.DeclTag("on_struct", STRUCT),
    btf.DeclTag("second", STRUCT),
    btf.DeclTag("packed", STRUCT, -1, True),
    btf.DeclTag("on_flags", STRUCT, 1),
    btf.DeclTag("aligned(8)", STRUCT, 1, True),
    btf.DeclTag("on_union", UNION),
    btf.DeclTag("on_a", UNION, 0),
    btf.DeclTag("on_typedef", TYPEDEF),
    btf.DeclTag("bpf_kfunc", ONE),
    btf.DeclTag("arg:nonnull", ONE, 1),
    btf.DeclTag("unused", ONE, 1, True),
    btf.DeclTag("on_var", VAR),
]


def spec_of(order: Any = "little") -> btf.Spec:
    builder = btf.Builder()
    builder.add_all([STRUCT, UNION, TYPEDEF, ONE, OTHER, VAR, *TAGS])
    return btf.Spec(builder.marshal(order), name="tagged")


@pytest.mark.parametrize("order", ["little", "big"])
def test_tags_are_found_on_what_they_tag(order: Any) -> None:
    spec = spec_of(order)
    struct = spec.type_by_name("task", btf.Struct)
    assert struct.tags == ("on_struct", "second")
    assert struct.attributes == ("packed",)
    assert [m.tags for m in struct.members] == [(), ("on_flags",)]
    assert [m.attributes for m in struct.members] == [(), ("aligned(8)",)]
    union = spec.type_by_name("either", btf.Union)
    assert (union.tags, union.members[0].tags) == (("on_union",), ("on_a",))
    assert spec.type_by_name("pid_t", btf.Typedef).tags == ("on_typedef",)
    assert spec.type_by_name("counter", btf.Var).tags == ("on_var",)
    assert spec.type_by_name("one", btf.Func).tags == ("bpf_kfunc",)
    assert spec.type_by_name("other", btf.Func).tags == ()


def test_functions_that_share_a_prototype_have_their_own_tags_on_its_parameters() -> None:
    spec = spec_of()
    one, other = spec.type_by_name("one", btf.Func), spec.type_by_name("other", btf.Func)
    assert one.proto is other.proto
    assert [p.name for p in one.params] == ["ctx", "size"]
    assert [p.tags for p in one.params] == [(), ("arg:nonnull",)]
    assert one.params[1].attributes == ("unused",)
    assert [p.tags for p in other.params] == [(), ()]
    proto = one.proto
    assert isinstance(proto, btf.FuncProto)
    assert [p.tags for p in proto.params] == [(), ()]
    assert one.params[1].type is proto.params[1].type is spec.type_by_name("int")
    assert one.params[1] is one.params[1]


def test_tags_are_types_too() -> None:
    spec = spec_of()
    assert [(tag.name, tag.component) for tag in spec.decl_tags_of(spec.type_by_name("task"))] == [
        ("on_struct", -1), ("second", -1), ("packed", -1), ("on_flags", 1), ("aligned(8)", 1),
    ]  # fmt: skip
    assert spec.decl_tags_of(spec.type_by_name("task"))[0] is spec.type_by_name("on_struct")
    assert spec.decl_tags_of(0) == []


def test_a_split_tags_types_of_its_base() -> None:
    base = spec_of()
    builder = btf.Builder(base)
    struct, one = base.type_by_name("task", btf.Struct), base.type_by_name("one", btf.Func)
    own = btf.Struct("own", 4, (btf.Member("x", INT),))
    builder.add_all(
        [
            own,
            btf.DeclTag("mine", own),
            btf.DeclTag("late", struct),
            btf.DeclTag("late", one, 1),
            btf.DeclTag("m", own, 0),
        ]
    )
    split = builder.spec("module")
    assert struct.tags == ("on_struct", "second")
    assert split.tags_of(struct) == ("on_struct", "second", "late")
    assert split.tags_of(split.type_id(struct)) == split.tags_of(struct)
    assert split.tags_of(one, 1) == ("arg:nonnull", "late")
    assert split.attributes_of(struct) == ("packed",)
    assert base.tags_of(struct) == ("on_struct", "second")
    assert [tag.name for tag in split.decl_tags_of(struct)][-1] == "late"
    mine = split.type_by_name("own", btf.Struct)
    assert (mine.tags, mine.members[0].tags) == (("mine",), ("m",))
    with pytest.raises(NotFoundError):
        base.tags_of(mine)


def test_types_that_were_built_by_hand_know_no_tags() -> None:
    for of in (STRUCT, UNION, TYPEDEF, ONE, VAR, *STRUCT.members, *ONE.params):
        assert of.tags == of.attributes == ()


def test_tags_survive_a_pickle() -> None:
    struct = spec_of().type_by_name("task", btf.Struct)
    again, member = pickle.loads(pickle.dumps((struct, struct.members[1])))
    assert again.tags == ("on_struct", "second")
    assert member is again.members[1]
    assert member.tags == ("on_flags",)


def test_words_that_look_like_a_tag_are_none() -> None:
    # a struct whose members have the bytes of tags: name 1, info of a DECL_TAG, type 1, component -1
    words = [1, 4 << 24 | 2, 8, 1, 17 << 24, 1, 1, 17 << 24, 0xFFFF_FFFF]
    spec = btf.Spec(raw_btf(words, b"\0a\0"))
    struct = spec.type_by_id(1)
    assert isinstance(struct, btf.Struct)
    assert struct.tags == ()
    assert spec.decl_tags_of(1) == []


def test_a_tag_with_a_bad_name_harms_only_what_it_is_on() -> None:
    words = [1, 4 << 24, 8, 99, 17 << 24, 1, 0xFFFF_FFFF, 1, 4 << 24, 8, 1, 17 << 24, 3, 0xFFFF_FFFF]
    spec = btf.Spec(raw_btf(words, b"\0a\0"))
    with pytest.raises(BtfError, match="99"):
        spec.tags_of(1)
    assert spec.tags_of(3) == ("a",)


def test_each_of_many_members_finds_its_own_tags() -> None:
    count = 20_000
    members = tuple(btf.Member(f"m{i}", INT, 32 * i) for i in range(count))
    struct = btf.Struct("large", 4 * count, members)
    builder = btf.Builder()
    builder.add_all([struct, *(btf.DeclTag(f"t{i}", struct, i) for i in range(count))])
    large = builder.spec().type_by_name("large", btf.Struct)
    assert [m.tags for m in large.members] == [(f"t{i}",) for i in range(count)]


def test_kernels_tag_their_kfuncs() -> None:
    """In the kernels' BTF the functions that BPF may call carry a tag; ours of 6.1 has none, so build the like."""
    proto = btf.FuncProto(btf.Void(), (btf.Param("p", btf.Pointer(btf.Void())),))
    functions = [btf.Func(f"kfunc{i}", proto) for i in range(3)]
    builder = btf.Builder()
    builder.add_all([*functions, *(btf.DeclTag("bpf_kfunc", f) for f in functions[:2])])
    spec = builder.spec()
    assert [f.name for f in spec if isinstance(f, btf.Func) and "bpf_kfunc" in f.tags] == ["kfunc0", "kfunc1"]


# --- type tags --------------------------------------------------------------------------------------


def written(of: Any) -> Any:
    """A type that was built by hand, read back from a spec."""
    builder = btf.Builder()
    at = builder.add(of)
    return btf.Spec(builder.marshal()).type_by_id(at)


BY_HAND_AND_READ = pytest.mark.parametrize("made", [lambda of: of, written], ids=["by hand", "read"])


@BY_HAND_AND_READ
def test_type_tags_of_a_pointer_are_those_on_the_way_to_its_target(made: Any) -> None:
    user = btf.TypeTag("user", btf.Const(btf.TypeTag("rcu", INT)))
    pointer = made(btf.Pointer(user))
    assert pointer.type_tags == ("user", "rcu")
    assert pointer.type_attributes == ()
    assert made(btf.Pointer(btf.TypeTag("noderef", INT, True))).type_attributes == ("noderef",)
    assert made(btf.Pointer(INT)).type_tags == made(btf.Pointer(btf.Void())).type_tags == ()


@BY_HAND_AND_READ
def test_type_tags_are_seen_through_typedefs_and_one_pointer(made: Any) -> None:
    inner = btf.Pointer(btf.TypeTag("inner", INT))
    outer = btf.Pointer(btf.TypeTag("outer", inner))
    assert made(outer).type_tags == ("outer",)
    named = made(btf.Typedef("t", btf.Const(outer)))
    assert btf.Member("m", named).type_tags == ("outer",)
    assert btf.Param("p", named).type_tags == ("outer",)
    assert btf.Var("v", named).type_tags == ("outer",)
    # built by hand around types of a spec: the pointer that ends the search may be on either side
    assert btf.Pointer(btf.TypeTag("user", named)).type_tags == ("user",)
    assert btf.Member("m", made(btf.TypeTag("percpu", INT))).type_tags == ("percpu",)
    assert btf.Member("m", made(INT)).type_attributes == btf.Param("p", made(INT)).type_attributes == ()
    assert btf.Var("v", made(INT)).type_attributes == ()


@BY_HAND_AND_READ
def test_a_circle_of_typedefs_has_no_type_tags(made: Any) -> None:
    loop = btf.Typedef("loop", lambda: tag)
    tag = btf.TypeTag("x", loop)
    with pytest.raises(BtfError, match="cycle"):
        _ = made(btf.Pointer(loop)).type_tags


def test_a_circle_without_tags_has_none_either() -> None:
    first = btf.Typedef("one", lambda: second)
    second = btf.Typedef("two", first)
    with pytest.raises(BtfError, match="cycle"):
        _ = written(btf.Pointer(first)).type_tags


def test_type_tags_of_a_split_lie_in_its_base_too() -> None:
    lower = btf.Builder()
    base_id = lower.add(btf.Typedef("t", btf.Const(btf.TypeTag("rcu", btf.Typedef("u", INT)))))
    base = lower.spec("base")
    upper = btf.Builder(base)
    upper.add(btf.Typedef("mine", btf.Pointer(btf.TypeTag("user", base.type_by_id(base_id)))))
    split = upper.spec("split")
    assert btf.Member("m", split.any_type_by_name("mine")).type_tags == ("user", "rcu")


def test_as_many_type_tags_as_a_kernel_takes_are_told_and_no_more() -> None:
    tagged: btf.Type = INT
    for at in range(33):
        if at == 32:
            assert written(btf.Pointer(tagged)).type_tags == tuple(str(n) for n in reversed(range(32)))
        tagged = btf.TypeTag(str(at), tagged)
    with pytest.raises(BtfError, match="more than 32 type tags"):
        _ = written(btf.Pointer(tagged)).type_tags


@pytest.mark.parametrize("above", [True, False], ids=["ten tags and a chain", "a chain and ten tags"])
def test_members_at_the_end_of_one_long_chain_do_not_walk_it_each(above: bool) -> None:
    records = Records()
    end = records.int("int", 4, SIGNED)
    for part in ("tags", "chain") if not above else ("chain", "tags"):
        for _ in range(10 if part == "tags" else 100_000):
            end = records.add(btf.Kind.TYPE_TAG, "user", value=end) if part == "tags" else records.const(end)
    pointer = records.pointer(end)
    records.struct("many", 8, [("m", pointer if at % 2 else end, 0) for at in range(5_000)])
    many = records.spec().type_by_name("many", btf.Struct)
    start = time.process_time()
    assert {member.type_tags for member in many.members} == {("user",) * 10}
    assert time.process_time() - start < 1


def test_the_way_to_a_missing_type_is_an_error() -> None:
    spec = btf.Spec(raw_btf([0, 2 << 24, 9]))
    pointer = spec.type_by_id(1)
    assert isinstance(pointer, btf.Pointer)
    with pytest.raises(EbpfError, match="9"):
        _ = pointer.type_tags
