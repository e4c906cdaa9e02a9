"""BTF under hypothesis: what is written is read back, and nothing that is damaged does harm."""

from __future__ import annotations

import contextlib
import struct
import time
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpfpy import btf
from ebpfpy.btf.elfsection import sections
from ebpfpy.btf.kinds import make_info
from ebpfpy.btf.records import record_end
from ebpfpy.errors import EbpfError
from tests.strategies import raw_btf, structure, type_graphs

TESTDATA = Path(__file__).parents[2] / "testdata"
ORDERS = st.sampled_from(["little", "big"])
HEADERS = st.sampled_from([24, 32])
CASES = settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
SECONDS = 1.0


@cache
def object_btf() -> bytes:
    data = (TESTDATA / "core_kinds.bpf.o").read_bytes()
    return bytes(sections(memoryview(data), (".BTF",), source="object")[".BTF"])


@cache
def kernel() -> btf.Spec:
    return btf.load_spec(TESTDATA / "btf/6.1.0-56-amd64/vmlinux.btf.xz")


@cache
def module_btf() -> bytes:
    return bytes(btf.load_spec(TESTDATA / "btf/6.1.0-56-amd64/ebpfpy_demo.btf.xz", base=kernel()).raw)


def walk(data: bytes, base: btf.Spec | None = None) -> None:
    """Ask everything of every type that can be reached; only `EbpfError` may come out."""
    try:
        spec = btf.Spec(data, base, name="walked")
    except EbpfError:
        return
    for type_id in count(spec.first_id):
        try:
            of = spec.type_by_id(type_id)
        except EbpfError:
            if type_id > spec.first_id + 64:
                break
            try:
                spec.locate(type_id)
            except EbpfError:
                break
            continue
        repr(of)
        asked: list[Any] = [
            lambda of=of: btf.resolve(of),
            lambda of=of: btf.alignof(of),
            lambda of=of: btf.decode(of, b""),
            lambda of=of, type_id=type_id: spec.type_id(of) == type_id or pytest.fail("another id"),
            lambda of=of: spec.any_types_by_name(getattr(of, "name", "x")),
            lambda of=of: spec.types_by_essential_name(getattr(of, "name", "x")),
            lambda of=of: spec.type_by_name(getattr(of, "name", "x"), type(of)),
            lambda type_id=type_id: btf.describe(spec, type_id),
            lambda of=of: decode_zeros(of),
            lambda type_id=type_id: list(btf.dump_raw(spec, ids=[type_id])),
            lambda of=of: [getattr(of, name) for name in of.__match_args__],
            lambda of=of: look_at_tags(of),
            lambda type_id=type_id: (spec.tags_of(type_id), spec.decl_tags_of(type_id)),
        ]
        for ask in asked:
            with contextlib.suppress(EbpfError):
                ask()
    for whole in (lambda: list(spec), lambda: len(spec), lambda: list(btf.dump_raw(spec)), lambda: spec.pointer_size):
        with contextlib.suppress(EbpfError):
            whole()


def look_at_tags(of: btf.Type) -> None:
    for name in ("tags", "attributes", "type_tags", "type_attributes"):
        getattr(of, name, None)
        for part in (*getattr(of, "members", ()), *getattr(of, "params", ())):
            getattr(part, name, None)


def decode_zeros(of: btf.Type) -> None:
    size = btf.sizeof(of)
    if size <= 1 << 16:
        value = btf.decode(of, bytes(size))
        assert len(btf.encode(of, value)) == size


def walk_in_time(data: bytes, base: btf.Spec | None = None) -> None:
    before = time.process_time()
    walk(data, base)
    assert time.process_time() - before < SECONDS


@CASES
@given(type_graphs(), ORDERS, HEADERS)
def test_what_is_written_is_read_back_in_either_byte_order_with_either_header(
    graph: list[btf.Type], order: Any, header: int
) -> None:
    builder = btf.Builder()
    builder.add_all(graph)
    spec = btf.Spec(builder.marshal(order, header_size=header))
    assert spec.byte_order == order
    assert len(spec) == len(builder) == len(graph)
    assert structure(spec) == structure(graph)


@CASES
@given(type_graphs())
def test_adding_one_type_adds_what_it_refers_to_and_nothing_else(graph: list[btf.Type]) -> None:
    builder = btf.Builder()
    type_id = builder.add(graph[0])
    reachable = structure([graph[0]])
    assert len(builder) == len(reachable)
    assert structure([builder.spec().type_by_id(type_id)]) == reachable


@CASES
@given(st.data(), ORDERS, HEADERS)
def test_split_btf_continues_its_base(data: st.DataObject, order: Any, header: int) -> None:
    below = btf.Builder()
    below.add_all(data.draw(type_graphs(most=6)))
    base = btf.Spec(below.marshal(order, header_size=header))
    graph = data.draw(type_graphs(most=6, others=list(base)))
    builder = btf.Builder(base)
    builder.add_all(graph)
    split = btf.Spec(builder.marshal(header_size=header), base)
    assert [split.type_id(of) for of in split] == list(range(len(base) + 1, len(base) + 1 + len(graph)))
    assert structure(split) == structure(graph)
    flat = btf.Builder()  # a copy of everything into one blob has the structure, too
    flat.add_all(split)
    assert structure(list(flat.spec())[: len(graph)]) == structure(graph)


@CASES
@given(type_graphs(), ORDERS)
def test_every_lookup_by_name_agrees_with_a_walk(graph: list[btf.Type], order: Any) -> None:
    builder = btf.Builder()
    builder.add_all(graph)
    blob = builder.marshal(order)
    walked = list(btf.Spec(blob))
    lazy = btf.Spec(blob)
    for name in {getattr(of, "name", "") for of in graph}:
        expected = [i for i, of in enumerate(walked, 1) if getattr(of, "name", "") == name]
        assert [lazy.type_id(of) for of in lazy.any_types_by_name(name)] == expected
        essential = btf.essential_name(name)
        expected = [
            i
            for i, of in enumerate(walked, 1)
            if getattr(of, "name", "") and btf.essential_name(getattr(of, "name", "")) == essential
        ]
        assert [lazy.type_id(of) for of in lazy.types_by_essential_name(name)] == expected


@CASES
@given(type_graphs(sane=True, most=16), ORDERS, st.data())
def test_a_value_that_was_decoded_encodes_to_bytes_that_decode_alike(
    graph: list[btf.Type], order: Any, data: st.DataObject
) -> None:
    builder = btf.Builder()
    builder.add_all(graph)
    for of in btf.Spec(builder.marshal(order)):
        try:
            size = btf.sizeof(of)
            btf.decode(of, bytes(size))
        except EbpfError:
            continue
        if isinstance(btf.resolve(of), btf.Enum) or size > 512:
            continue
        raw = data.draw(st.binary(min_size=size, max_size=size))
        value = btf.decode(of, raw, text=False)
        with contextlib.suppress(EbpfError):  # an enum with two equal names loses its value, a text its bytes
            assert len(btf.encode(of, value)) == size


@CASES
@given(type_graphs(sane=True), HEADERS)
def test_types_of_any_shape_can_be_asked_everything(graph: list[btf.Type], header: int) -> None:
    builder = btf.Builder()
    builder.add_all(graph)
    walk_in_time(builder.marshal(header_size=header))


@settings(CASES, max_examples=15)
@given(type_graphs(most=5), ORDERS, HEADERS)
def test_truncation_anywhere_is_an_error_or_a_smaller_blob(graph: list[btf.Type], order: Any, header: int) -> None:
    builder = btf.Builder()
    builder.add_all(graph)
    blob = builder.marshal(order, header_size=header)
    for size in range(len(blob)):
        with pytest.raises(EbpfError):  # the strings come last, so every cut takes some away
            btf.Spec(blob[:size])


@settings(CASES, max_examples=15)
@given(type_graphs(most=6), st.data())
def test_type_sections_cut_at_any_word_are_walked_without_harm(graph: list[btf.Type], data: st.DataObject) -> None:
    builder = btf.Builder()
    builder.add_all(graph)
    blob = bytearray(builder.marshal())
    (size,) = struct.unpack_from("<I" if blob[0] == 0x9F else ">I", blob, 12)
    for cut in range(0, size, 4):
        struct.pack_into("=I", blob, 12, cut)
        walk_in_time(bytes(blob))


@CASES
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=12))
def test_flipped_bytes_in_an_objects_btf_do_no_harm(flips: list[tuple[int, int]]) -> None:
    blob = bytearray(object_btf())
    for at, byte in flips:
        blob[at % len(blob)] = byte
    walk_in_time(bytes(blob))


@settings(CASES, max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=12))
def test_flipped_bytes_in_a_modules_btf_do_no_harm(flips: list[tuple[int, int]]) -> None:
    blob = bytearray(module_btf())
    for at, byte in flips:
        blob[at % len(blob)] = byte
    walk_in_time(bytes(blob), kernel())


@CASES
@given(
    st.integers(0, 1 << 20),
    st.sampled_from([0, 1, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 0x04FF_FFFF, 0x84FF_FFFF, 0x0F00_FFFF, 0x7F00_0001]),
)
def test_absurd_words_in_an_objects_btf_do_no_harm(at: int, word: int) -> None:
    blob = bytearray(object_btf())
    struct.pack_into("<I", blob, at % (len(blob) // 4) * 4, word)
    walk_in_time(bytes(blob))


def test_every_word_of_an_objects_btf_may_be_absurd() -> None:
    blob = object_btf()
    for at in range(0, 400, 4):
        broken = bytearray(blob)
        struct.pack_into("<I", broken, at, 0xFFFF_FFFF)
        walk_in_time(bytes(broken))


@CASES
@given(st.lists(st.one_of(st.integers(0, 40), st.integers(0, 0xFFFF_FFFF)), max_size=60))
def test_random_words_are_walked_without_harm(words: list[int]) -> None:
    walk_in_time(raw_btf(words, b"\0int\0char\0x\0"))


@CASES
@given(st.binary(max_size=200))
def test_random_bytes_behind_the_magic_number_do_no_harm(data: bytes) -> None:
    walk_in_time(b"\x9f\xeb\x01\x00\x18\0\0\0" + data)


def test_structs_that_double_at_every_level_are_refused_in_time() -> None:
    leaf = btf.Int("int", 4, 1)
    for cls in (btf.Struct, btf.Union):
        for name in ("", "x"):
            inner: btf.Type = leaf
            for level in range(60):
                inner = cls(
                    f"s{level}",
                    4 if cls is btf.Union else 0xFFFF_FFFF,
                    tuple(btf.Member(name and f"{name}{i}", inner) for i in range(2)),
                )
            builder = btf.Builder()
            builder.add(inner)
            walk_in_time(builder.marshal())


def test_absurd_arrays_are_refused_in_time_and_without_memory() -> None:
    import tracemalloc

    empty = btf.Struct("empty", 0)
    many = btf.Array(btf.Array(empty, VOID_INDEX, 0xFFFF_FFFF), VOID_INDEX, 0xFFFF_FFFF)
    nested: btf.Type = btf.Int("char", 1)
    for _ in range(5000):
        nested = btf.Array(nested, VOID_INDEX, 3)
    builder = btf.Builder()
    builder.add_all([many, nested, btf.Array(empty, VOID_INDEX, 100_000)])
    blob = builder.marshal()
    tracemalloc.start()
    try:
        spec = btf.Spec(blob)
        for of in (spec.type_by_id(1), spec.type_by_id(2), spec.type_by_id(3)):
            with pytest.raises(EbpfError):
                btf.decode(of, bytes(64))
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


VOID_INDEX = btf.Int("u32", 4)


def test_a_huge_name_is_kept_once_however_many_types_have_it() -> None:
    name = "x" * 500_000
    spec = btf.Spec(raw_btf([1, 4 << 24, 4] * 2000, b"\0" + name.encode() + b"\0"))
    assert len(list(spec)) == 2000
    assert len({id(of.name) for of in spec}) == 1
    assert spec.type_by_id(7).name == name


@CASES
@given(type_graphs(most=8), st.data(), ORDERS)
def test_copies_of_types_among_which_are_unknown_kinds_are_those_bytes(
    graph: list[btf.Type], data: st.DataObject, order: Any
) -> None:
    builder = btf.Builder()
    builder.add_all(graph)
    known = btf.Spec(builder.marshal())
    cuts = data.draw(st.lists(st.integers(0, len(known)), min_size=1, max_size=3))
    words: list[int] = []
    for index in range(len(known) + 1):
        for _ in range(cuts.count(index)):  # 4 bytes behind the header, 8 for each of its entries
            vlen = data.draw(st.integers(0, 3))
            numbers = st.lists(st.integers(0, 2**32 - 1), min_size=2 + 2 * vlen, max_size=2 + 2 * vlen)
            words += [0, make_info(25, vlen), *data.draw(numbers)]
        if index < len(known):
            record, at, end = record_end(known, index + 1)
            words += record[at:end]
    layout = bytes(4 * 25) + bytes((4, 8, 0, 0))
    raw = raw_btf(words, known.own_strings(), layout=layout, header=32, order=order)
    spec = btf.Spec(raw)
    assert len(spec) == len(known) + len(cuts)
    assert sum(isinstance(each, btf.Unknown) for each in spec) == len(cuts)
    copy = btf.Builder()
    copy.add_all(spec)
    assert copy.marshal() == raw
