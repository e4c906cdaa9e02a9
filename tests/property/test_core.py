"""Laws of relocation: identity, permutation, and that nothing but a value or an `EbpfError` comes of garbage, soon."""

from __future__ import annotations

import contextlib
import random
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpfpy import btf, core
from ebpfpy.btf import Kind
from ebpfpy.core import RelocationKind as R
from ebpfpy.elf import CollectionSpec, load_collection_spec
from ebpfpy.errors import EbpfError, RelocationError
from tests.differential.random_types import random_case
from tests.unit.core.records import SIGNED, Records, relocation

if TYPE_CHECKING:
    from collections.abc import Iterator

TESTDATA = Path(__file__).parents[2] / "testdata"
OBJECTS = sorted(path.name for path in TESTDATA.glob("*.o") if "legacy" not in path.name)
MANY = settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def collection(name: str) -> CollectionSpec:
    return load_collection_spec(TESTDATA / name)


# --- identity ------------------------------------------------------------------------------------------


def unrivalled(types: btf.Spec, type_id: int) -> bool:
    """Whether no other type has that essential name: flavours of one type rival each other."""
    own = types.type_by_id(type_id)
    return len([t for t in types.types_by_essential_name(own.name) if type(t) is type(own)]) == 1


@pytest.mark.parametrize("name", OBJECTS)
def test_relocating_an_object_to_its_own_types_changes_nothing(name):
    types = collection(name).types
    for program in collection(name).programs.values():
        fixups = core.relocate([r for r in program.relocations if unrivalled(types, r.type_id)], [types])
        for fixup in fixups:
            assert not fixup.poisoned
            assert fixup.target_value == fixup.local_value
            if fixup.kind != R.LOCAL_TYPE_ID:
                assert fixup.target == fixup.local
        checked = [fixup for fixup in fixups if fixup.validate]
        assert core.patch(program.code, checked, program.byte_order) == program.code


@given(st.integers(0, 1 << 32))
@MANY
def test_relocating_random_types_to_themselves_changes_nothing(seed):
    case = random_case(random.Random(seed))
    spec = case.local.spec()
    try:
        (fixup,) = core.relocate([relocation(spec, case.root, case.access, case.kind)], [case.local.spec("target")])
    except RelocationError:
        return  # out of bounds, or a question that makes no sense
    if unrivalled(spec, case.root):
        assert fixup.target_value == fixup.local_value or _shadowed(fixup)


def _shadowed(fixup: core.Fixup) -> bool:
    """An access through an anonymous member, or to the second of two namesakes, finds the first by name."""
    return fixup.target_access is None or fixup.target_access.raw != fixup.local_access.raw


# --- permutation ---------------------------------------------------------------------------------------


@given(st.randoms(use_true_random=False), st.integers(1, 4))
@MANY
def test_the_order_of_relocations_does_not_matter(shuffler, flavours):
    local, target = Records(), Records()
    for side in (local, target):
        side.int("int", 4, SIGNED)
    names = ["a", "b", "c", "d"]
    roots = [local.struct(f"s{n}", 16, [(name, 1, 32 * at) for at, name in enumerate(names)]) for n in range(2)]
    for n in range(2):
        for flavour in range(flavours):
            chosen = shuffler.sample(names, shuffler.randint(1, 4))
            target.struct(f"s{n}___{flavour}x", 64, [(name, 1, 32 * shuffler.randrange(2)) for name in chosen])
    spec, there = local.spec(), target.spec("vmlinux")
    asked = [
        relocation(
            spec, shuffler.choice(roots), f"0:{shuffler.randrange(4)}", shuffler.choice([R.BYTE_OFF, R.FIELD_EXISTS]), n
        )
        for n in range(8)
    ]
    assert outcome(asked, there) == outcome(shuffler.sample(asked, len(asked)), there)


def outcome(asked: list[core.Relocation], target: btf.Spec) -> object:
    try:
        return {(f.relocation.insn, f.target_value, f.type_id) for f in core.relocate(asked, [target])}
    except core.AmbiguousRelocationError as error:
        return type(error)


@pytest.mark.parametrize("name", OBJECTS)
def test_the_order_of_an_objects_relocations_does_not_matter(name):
    target = collection(
        "core_kinds.bpf.o" if collection(name).byte_order == "little" else "core_kinds-clang19-eb.o"
    ).types
    types = collection(name).types
    for program in collection(name).programs.values():
        asked = [r for r in program.relocations if types.type_by_id(r.type_id).name.split("___")[0] != "task_struct"]
        backwards = core.relocate(asked[::-1], [target])[::-1]
        forwards = core.relocate(asked, [target])
        assert [(f.target_value, f.type_id) for f in forwards] == [(f.target_value, f.type_id) for f in backwards]


# --- garbage -------------------------------------------------------------------------------------------

WORDS = st.integers(0, 0xFFFF_FFFF) | st.integers(0, 40)
KINDS = st.sampled_from(list(Kind)) | st.integers(0, 127)
NAMES = st.sampled_from(["", "s", "s___x", "a", "b"])


@st.composite
def garbage_types(draw) -> Records:
    """Records whose references and counts are anything; small ids are frequent, so that they form cycles."""
    records = Records()
    for _ in range(draw(st.integers(1, 12))):
        kind = draw(KINDS)
        layout = {Kind.INT: (1, 0), Kind.ARRAY: (3, 0), Kind.STRUCT: (0, 3), Kind.UNION: (0, 3), Kind.ENUM: (0, 2),
                  Kind.FUNC_PROTO: (0, 2), Kind.VAR: (1, 0), Kind.DATASEC: (0, 3), Kind.DECL_TAG: (1, 0),
                  Kind.ENUM64: (0, 3)}.get(kind, (0, 0))  # fmt: skip
        vlen = draw(st.integers(0, 4))
        words = []
        for at in range(layout[0] + layout[1] * vlen):
            named = layout[1] and at % layout[1] == 0
            words.append(records.string(draw(NAMES)) if named and draw(st.integers(0, 9)) else draw(WORDS))
        lies = draw(st.integers(0, 30)) == 0
        records.add(kind, draw(NAMES), vlen=vlen + lies, flag=draw(st.booleans()), value=draw(WORDS), words=words)
    return records


ACCESS = st.lists(st.integers(0, 4), min_size=1, max_size=8).map(lambda steps: ":".join(map(str, steps))) | st.text(
    "0123456789:-x", max_size=8
)


@given(
    garbage_types(),
    garbage_types(),
    st.lists(st.tuples(st.integers(0, 13), ACCESS, st.integers(0, 14)), min_size=1, max_size=6),
)
@MANY
def test_garbage_ends_in_a_value_or_an_error_of_ours(local, target, asked):
    spec, there = local.spec("object"), target.spec("vmlinux")
    against = [[there], [spec]]
    with contextlib.suppress(EbpfError):
        against.append([there, Records(base=target).spec("module", there)])
    for type_id, access, kind in asked:
        for specs in against:
            with one_second():
                attempt([core.Relocation(spec, type_id, access, kind)], specs)


def attempt(asked: list[core.Relocation], specs: list[btf.Spec]) -> list[core.Fixup] | None:
    """Relocate and explain; only an EbpfError may come of it."""
    try:
        fixups = core.relocate(asked, specs)
        for fixup in fixups:
            assert fixup.poisoned or isinstance(fixup.target_value, int)
            fixup.explain()
            repr(fixup)
    except EbpfError:
        return None
    for fixup in fixups:
        with contextlib.suppress(EbpfError):
            core.patch(bytes([0xB7, *bytes(7)]), [fixup], "little")
    return fixups


def within_a_second(local: Records, target: Records, root: int, access: str, kind: R) -> core.Fixup | None:
    with one_second():
        fixups = attempt([relocation(local.spec("object"), root, access, kind)], [target.spec("vmlinux")])
    return fixups[0] if fixups else None


@contextlib.contextmanager
def one_second() -> Iterator[None]:
    start = time.process_time()
    yield
    assert time.process_time() - start < 1


EVERY_FIELD_KIND = [R.BYTE_OFF, R.FIELD_EXISTS, R.TYPE_MATCHES, R.TYPE_EXISTS, R.TYPE_SIZE]


def simple_local() -> tuple[Records, int]:
    local = Records()
    return local, local.struct("s", 8, [("a", local.int("int", 4, SIGNED), 0)])


@pytest.mark.parametrize("kind", EVERY_FIELD_KIND)
@pytest.mark.parametrize("size", [1, 2, 40])
def test_a_circle_of_anonymous_members_ends(kind, size):
    local, root = simple_local()
    target = Records()
    first = target.next_id
    for at in range(size):
        target.struct("s" if at == 0 else "", 8, [("", first + (at + 1) % size, 0)])
    found = within_a_second(local, target, root, "0:0" if kind in (R.BYTE_OFF, R.FIELD_EXISTS) else "0", kind)
    if kind == R.BYTE_OFF:
        assert found.poisoned


@pytest.mark.parametrize("kind", EVERY_FIELD_KIND)
def test_a_bomb_of_anonymous_members_does_not_go_off(kind):
    """Thirty structs, each with the next one twice: a billion paths."""
    local, target = Records(), Records()
    for side in (local, target):
        inner = side.struct("", 8, [("z", side.int("int", 4, SIGNED), 0)])
        for _ in range(30):
            inner = side.struct("", 8, [("", inner, 0), ("", inner, 0)])
        root = side.struct("s", 8, [("", inner, 0), ("a" if side is local else "b", 1, 0)])
    within_a_second(local, target, root, "0:1" if kind in (R.BYTE_OFF, R.FIELD_EXISTS) else "0", kind)


@pytest.mark.parametrize("kind", EVERY_FIELD_KIND)
@pytest.mark.parametrize("depth", [31, 33, 500, 20_000])
def test_depth_is_no_recursion_error(kind, depth):
    local, root = simple_local()
    target = Records()
    inner = target.struct("", 8, [("a", target.int("int", 4, SIGNED), 0)])
    for _ in range(depth):
        inner = target.struct("", 8, [("", inner, 0)])
    target.struct("s", 8, [("", inner, 0)])
    found = within_a_second(local, target, root, "0:0" if kind in (R.BYTE_OFF, R.FIELD_EXISTS) else "0", kind)
    if kind == R.FIELD_EXISTS and depth < 100:
        assert found.target_value == 1


@pytest.mark.parametrize("wrap", ["pointer", "typedef", "const", "array"])
@pytest.mark.parametrize("kind", [R.TYPE_EXISTS, R.TYPE_MATCHES, R.TYPE_SIZE])
@pytest.mark.parametrize("depth", [10, 31, 32, 33, 5000])
def test_deep_chains_of_references_end(wrap, kind, depth):
    sides = Records(), Records()
    for side in sides:
        inner = side.int("int", 4, SIGNED)
        for _ in range(depth):
            inner = (
                side.array(inner, 2)
                if wrap == "array"
                else side.typedef("t", inner)
                if wrap == "typedef"
                else getattr(side, wrap)(inner)
            )
        root = side.typedef("root", inner)
    found = within_a_second(*sides, root, "0", kind)
    if depth == 10:
        assert found.target_value == {R.TYPE_SIZE: {"pointer": 8, "array": 4096}.get(wrap, 4)}.get(kind, 1)


@pytest.mark.parametrize("kind", [R.TYPE_EXISTS, R.TYPE_MATCHES])
def test_a_bomb_of_prototypes_does_not_go_off(kind):
    """Each prototype takes the next one by pointer twenty times."""
    sides = Records(), Records()
    for side in sides:
        inner = side.int("int", 4, SIGNED)
        for _ in range(12):
            inner = side.pointer(side.prototype(inner, [inner] * 20))
        root = side.typedef("root", inner)
    within_a_second(*sides, root, "0", kind)


@pytest.mark.parametrize("kind", [R.TYPE_EXISTS, R.TYPE_MATCHES, R.TYPE_SIZE, R.BYTE_OFF])
def test_types_that_contain_themselves_end(kind):
    sides = Records(), Records()
    for side in sides:
        side.array(1, 2)  # an array of itself
        side.typedef("t", 3)
        side.typedef("t", 2)  # two typedefs of each other
        side.struct("s", 8, [("self", 4, 0), ("array", 1, 0), ("typedef", 2, 0)])
        side.typedef("p", 6)
        side.pointer(6)
    for root in range(1, 7):
        for access in ("0", "0:0", "0:1", "0:2", "0:0:0:0"):
            within_a_second(*sides, root, access, kind)


def test_a_struct_of_a_hundred_thousand_members_is_no_trouble():
    local, root = simple_local()
    target = Records()
    number = target.int("int", 4, SIGNED)
    target.struct("s", 4, [("x", number, 0)] * 100_000 + [("a", number, 64)])
    assert within_a_second(local, target, root, "0:0", R.BYTE_OFF).target_value == 8


def test_a_thousand_flavours_of_one_type_are_no_trouble():
    local, root = simple_local()
    target = Records()
    number = target.int("int", 4, SIGNED)
    for at in range(1000):
        target.struct(f"s___{at}", 4, [("a", number, 32)])
    assert within_a_second(local, target, root, "0:0", R.BYTE_OFF).target_value == 4


def many_members(count: int) -> tuple[Records, int]:
    local = Records()
    number = local.int("int", 4, SIGNED)
    return local, local.struct("s", 4 * count, [(f"m{at}", number, 32 * at) for at in range(count)])


@pytest.mark.parametrize("kind", [R.BYTE_OFF, R.FIELD_EXISTS, R.BYTE_SZ])
def test_two_thousand_flavours_times_a_hundred_relocations_are_no_trouble(kind):
    """Each candidate answers one of them, or two; the first one answers most."""
    local, root = many_members(100)
    target = Records()
    number = target.int("int", 4, SIGNED)
    target.struct("s", 12, [(f"m{at}", number, 32 * at) for at in range(3)])
    for flavour in range(2000):
        target.struct(f"s___{flavour}", 8, [(f"m{flavour % 100}", number, 0), ("x", number, 32)])
    spec, there = local.spec("object"), target.spec("vmlinux")
    with one_second():
        fixups = core.relocate([relocation(spec, root, f"0:{at}", kind, at) for at in range(100)], [there])
    assert {fixup.type_id for fixup in fixups if fixup.spec is there} == {2}


def test_two_thousand_flavours_that_agree_on_everything_are_no_trouble():
    local, root = many_members(25)
    target = Records()
    number = target.int("int", 4, SIGNED)
    members = [(f"m{at}", number, 32 * at + 32) for at in range(25)]
    for flavour in range(2000):
        target.struct(f"s___{flavour}", 104, members)
    spec, there = local.spec("object"), target.spec("vmlinux")
    asked = [relocation(spec, root, f"0:{at % 25}", R.BYTE_OFF, at) for at in range(25_000)]  # each question often
    with one_second():
        fixups = core.relocate(asked, [there])
    assert [fixup.target_value for fixup in fixups[:25]] == [4 * at + 4 for at in range(25)]


@pytest.mark.parametrize(("here", "there"), [(2000, 1), (2000, 32), (20, 2000), (2000, 2000)])
def test_flavours_on_both_sides_are_compared_or_refused_soon(here, there):
    local, target = Records(), Records()
    for side in (local, target):
        number = side.int("int", 4, SIGNED)
    roots = [local.struct(f"s___{at}", 8, [(f"m{at % 7}", number, 0), ("a", number, 32)]) for at in range(here)]
    for at in range(there):
        target.struct(f"s___{at}", 12, [("x", number, 0), ("y", number, 32), ("a", number, 64)])
    spec, kernel = local.spec("object"), target.spec("vmlinux")
    asked = [relocation(spec, root, "0:1", R.BYTE_OFF, at) for at, root in enumerate(roots)]
    refused = pytest.raises(RelocationError, match="more than 50000 pairs are not compared")
    with one_second(), refused if here * there > 1_000_000 else contextlib.nullcontext():
        assert {fixup.target_value for fixup in core.relocate(asked, [kernel])} == {8}


def test_what_a_hundred_missing_members_may_have_meant_is_found_soon_among_many_names():
    local, root = many_members(100)
    target = Records()
    number = target.int("int", 4, SIGNED)
    for flavour in range(500):
        names = [f"m{at}x{flavour}" for at in range(100)]
        target.struct(f"s___{flavour}", 400, [(name, number, 32 * at) for at, name in enumerate(names)])
    spec, there = local.spec("object"), target.spec("vmlinux")
    fixups = core.relocate([relocation(spec, root, f"0:{at}", R.BYTE_OFF, at) for at in range(100)], [there])
    with one_second():
        near = [fixup.near for fixup in fixups]
    assert {len(each) for each in near} == {3}
