"""Broken object files: a value or an `EbpfError`, soon, whatever the bytes."""

from __future__ import annotations

import struct
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ebpfpy.elf import CollectionSpec, load_collection_spec
from ebpfpy.elf.objectfile import open_object
from ebpfpy.errors import EbpfError, ElfError

TESTDATA = Path(__file__).parents[2] / "testdata"
OBJECTS = {
    name: (TESTDATA / name).read_bytes()
    for name in (
        "demo-clang19-el.o",
        "subprogs-clang14-eb.o",
        "subprogs-clang19-el.o",
        "globals-clang19-eb.o",
        "maps-clang14-el.o",
        "map_values-clang19-eb.o",
        "struct_ops-clang14-el.o",
        "arena.bpf.o",
        "exceptions.bpf.o",
        "externs.bpf.o",
        "core_kinds-clang19-el.o",
    )
}
SECONDS = 1.0
ABSURD = [0, 1, 7, 0x7FFF, 0xFFFF, 0xFF00, 1 << 31, (1 << 32) - 1, 1 << 62, (1 << 64) - 1]
FEW = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def outcome(data: bytes) -> CollectionSpec | None:
    """The value or None for an `EbpfError`; anything else fails, and so does taking long."""
    start = time.perf_counter()
    try:
        return load_collection_spec(data)
    except EbpfError as error:
        assert str(error)  # noqa: PT017
        return None
    finally:
        assert time.perf_counter() - start < SECONDS


def boundaries(data: bytes) -> list[int]:
    """The file's offsets where something starts or ends."""
    file = open_object(data)
    places = {0, 4, 16, 63, 64, len(data) - 1}
    for section in file.sections:
        places |= {section.offset, section.offset + section.size, section.offset + section.size // 2}
    return sorted(place for place in places if place < len(data))


@pytest.mark.parametrize("name", OBJECTS)
def test_a_file_cut_off_at_any_boundary_is_an_error(name):
    data = OBJECTS[name]
    for place in boundaries(data):
        with pytest.raises(ElfError):
            load_collection_spec(data[:place])


@pytest.mark.parametrize("name", OBJECTS)
def test_header_fields_with_absurd_values_are_harmless(name):
    data = OBJECTS[name]
    order = "little" if data[5] == 1 else "big"
    # e_shoff, e_ehsize, e_shentsize, e_shnum, e_shstrndx
    for at, size in ((40, 8), (52, 2), (58, 2), (60, 2), (62, 2)):
        for value in ABSURD:
            changed = bytearray(data)
            changed[at : at + size] = (value & ((1 << size * 8) - 1)).to_bytes(size, order)
            outcome(bytes(changed))


@pytest.mark.parametrize("name", OBJECTS)
def test_section_headers_with_absurd_values_are_harmless(name):
    data = OBJECTS[name]
    mark, order = ("<", "little") if data[5] == 1 else (">", "big")
    (table,) = struct.unpack_from(mark + "Q", data, 40)
    # name, type, flags, address, offset, size, link, info, alignment, entry size
    fields = ((0, 4), (4, 4), (8, 8), (16, 8), (24, 8), (32, 8), (40, 4), (44, 4), (48, 8), (56, 8))
    for section in open_object(data).sections:
        for at, size in fields:
            for value in ABSURD:
                changed = bytearray(data)
                place = table + section.index * 64 + at
                changed[place : place + size] = (value & ((1 << size * 8) - 1)).to_bytes(size, order)
                outcome(bytes(changed))


@pytest.mark.parametrize("table", [".symtab", ".rel"])
@pytest.mark.parametrize("name", OBJECTS)
def test_symbols_and_relocations_with_absurd_values_are_harmless(name, table):
    data = OBJECTS[name]
    order = "little" if data[5] == 1 else "big"
    for section in open_object(data).sections:
        if not section.name.startswith(table) or section.name.startswith(".rel.BTF"):
            continue
        for place in range(section.offset, section.offset + section.size, 8):
            for value in ABSURD:
                changed = bytearray(data)
                changed[place : place + 8] = value.to_bytes(8, order)
                outcome(bytes(changed))


@FEW
@given(
    name=st.sampled_from(sorted(OBJECTS)),
    flips=st.lists(st.tuples(st.integers(0), st.integers(0, 255)), max_size=8),
)
def test_flipped_bytes_are_harmless(name, flips):
    data = bytearray(OBJECTS[name])
    for place, value in flips:
        data[place % len(data)] ^= value
    spec = outcome(bytes(data))
    if spec is not None:
        for program in spec.programs.values():
            assert program.functions[-1].end * 8 == len(program.code)
        spec.copy()


@FEW
@given(
    name=st.sampled_from(sorted(OBJECTS)),
    section=st.integers(0),
    place=st.integers(0),
    noise=st.binary(min_size=1, max_size=64),
)
def test_noise_inside_a_section_is_harmless(name, section, place, noise):
    data = bytearray(OBJECTS[name])
    sections = [one for one in open_object(OBJECTS[name]).sections if one.size and one.kind not in {0, 8}]
    chosen = sections[section % len(sections)]
    at = chosen.offset + place % chosen.size
    noise = noise[: chosen.offset + chosen.size - at]
    data[at : at + len(noise)] = noise
    outcome(bytes(data))


@FEW
@given(st.binary(max_size=256))
def test_any_bytes_behind_a_valid_identification_are_harmless(data):
    outcome(OBJECTS["demo-clang19-el.o"][:20] + data)


def many_sections(count: int) -> bytes:
    """An object with `count` empty sections and nothing else."""
    rows = [bytes(64)] + [struct.pack("<IIQQQQIIQQ", 0, 1, 6, 0, 64, 0, 0, 0, 8, 0)] * (count - 1)
    names = struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, 64, 1, 0, 0, 1, 0)
    head = OBJECTS["demo-clang19-el.o"][:20] + struct.pack("<IQQQIHHHHHH", 1, 0, 0, 72, 0, 64, 0, 0, 64, 0, 1)
    rows[1] = names
    rows[0] = struct.pack("<IIQQQQIIQQ", 0, 0, 0, 0, 0, count, 0, 0, 0, 0)
    return head + bytes(8) + b"".join(rows)


def test_fifty_thousand_sections_are_read_within_a_second():
    spec = outcome(many_sections(50_000))
    assert spec is not None
    assert spec.programs == {}
