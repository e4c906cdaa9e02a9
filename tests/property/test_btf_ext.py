"""Damaged .BTF.ext: records or `EbpfError`, in no time."""

from __future__ import annotations

import struct
import time
from functools import cache
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ebpfpy import btf
from ebpfpy.btf.elfsection import sections
from ebpfpy.errors import EbpfError

TESTDATA = Path(__file__).parents[2] / "testdata"
CASES = settings(max_examples=150, deadline=None, derandomize=True)


@cache
def object_parts() -> tuple[btf.Spec, bytes]:
    data = (TESTDATA / "core_kinds.bpf.o").read_bytes()
    found = sections(memoryview(data), (".BTF", ".BTF.ext"), source="object")
    return btf.Spec(bytes(found[".BTF"])), bytes(found[".BTF.ext"])


def parse(data: bytes) -> btf.ExtInfo | None:
    before = time.process_time()
    try:
        info = btf.parse_ext(data, object_parts()[0])
    except EbpfError:
        return None
    finally:
        assert time.process_time() - before < 1
    for records in (*info.functions.values(), *info.lines.values(), *info.relocations.values()):
        assert len(records) <= len(data)
    return info


def test_the_whole_section_is_read() -> None:
    spec, data = object_parts()
    info = parse(data)
    assert info is not None
    assert info.functions
    assert info.lines
    assert info.relocations
    for records in info.functions.values():
        assert all(isinstance(spec.type_by_id(record.type_id), btf.Func) for record in records)


def test_truncation_anywhere_is_an_error() -> None:
    _, data = object_parts()
    for size in range(len(data)):
        assert parse(data[:size]) is None


def test_every_word_may_be_absurd() -> None:
    _, data = object_parts()
    for at in range(0, len(data), 4):
        for word in (0, 1, 0x7FFF_FFFF, 0xFFFF_FFFC, 0xFFFF_FFFF):
            broken = bytearray(data)
            struct.pack_into("<I", broken, at, word)
            parse(bytes(broken))


@CASES
@given(st.lists(st.tuples(st.integers(0, 1 << 20), st.integers(0, 255)), min_size=1, max_size=12))
def test_flipped_bytes_do_no_harm(flips: list[tuple[int, int]]) -> None:
    broken = bytearray(object_parts()[1])
    for at, byte in flips:
        broken[at % len(broken)] = byte
    parse(bytes(broken))


@CASES
@given(st.binary(max_size=120))
def test_random_bytes_behind_a_header_do_no_harm(data: bytes) -> None:
    parse(struct.pack("<HBBIIIIIII", 0xEB9F, 1, 0, 32, 0, 40, 40, 40, 80, 40) + data)
