"""What maps hold when they are loaded: maps in maps, programs in arrays and in structures, variables in arenas."""

from __future__ import annotations

import pickle
import struct
import time
from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.btf import Kind
from ebpfpy.elf import load_collection_spec
from ebpfpy.elf.mapdefs import parse_maps
from ebpfpy.elf.objectfile import ObjectFile
from ebpfpy.errors import BtfError, ElfError
from ebpfpy.sys.enums import MapFlags, MapType, map_type
from tests.unit.btf.test_layout import chained
from tests.unit.core.records import SIGNED, Records

TESTDATA = Path(__file__).parents[3] / "testdata"
VARIANTS = ["clang14-el", "clang14-eb", "clang19-el", "clang19-eb"]


def changed(name: str, section: str, offset: int, data: bytes) -> bytes:
    """An object with other bytes at a place of a section."""
    whole = (TESTDATA / name).read_bytes()
    found = ObjectFile(whole, name).section(section)
    assert found is not None
    at = found.offset + offset
    return whole[:at] + data + whole[at + len(data) :]


def relocated(name: str, section: str, index: int, symbol: str) -> bytes:
    """An object one of whose relocations is of another symbol."""
    file = ObjectFile((TESTDATA / name).read_bytes(), name)
    number = next(number for number, each in enumerate(file.symbols) if each.name == symbol)
    return changed(name, f".rel{section}", 16 * index + 8, struct.pack("<Q", number << 32 | 2))


# --- maps of maps and program arrays -------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_values_name_what_is_at_each_index_whatever_compiler_and_byte_order(variant: str) -> None:
    maps = load_collection_spec(TESTDATA / f"map_values-{variant}.o").maps
    assert maps["of_maps"].slots == {0: "first", 2: "second"}
    assert maps["steps_in_order"].slots == {0: "step_one", 2: "step_two"}
    assert maps["by_template"].slots == {}
    inner = maps["of_maps"].inner
    assert inner is not None
    assert (inner.name, inner.type, inner.key_size, inner.value_size) == ("of_maps.inner", MapType.ARRAY, 4, 8)
    inner = maps["by_template"].inner
    assert inner is not None
    assert (inner.type, inner.max_entries) == (MapType.HASH, 16)
    assert maps["steps_in_order"].inner is None
    assert {maps[name].value_size for name in ("of_maps", "by_template", "steps_in_order")} == {4}
    assert (maps["placed"].max_entries, maps["placed"].numa_node) == (32, 0)


def test_a_copy_has_contents_and_template_of_its_own() -> None:
    spec = load_collection_spec(TESTDATA / "map_values.bpf.o")
    copy = spec.copy()
    copy.maps["of_maps"].slots[1] = "first"
    inner = copy.maps["of_maps"].inner
    assert inner is not None
    inner.max_entries = 9
    assert spec.maps["of_maps"].slots == {0: "first", 2: "second"}
    assert spec.maps["of_maps"].inner != inner


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed("map_values.bpf.o", ".rel.maps", 0, struct.pack("<Q", 0x50)), r"is in no values \(at byte 80\)"),
        (changed("map_values.bpf.o", ".rel.maps", 0, struct.pack("<Q", 0x5C)), r"is in no values \(at byte 92\)"),
        (changed("map_values.bpf.o", ".maps", 0x58, struct.pack("<Q", 4)), "map of_maps: element 0 .* is no map"),
        (changed("map_values.bpf.o", ".maps", 0x88, struct.pack("<Q", 8)), "element 0 .* is no program"),
        (relocated("map_values.bpf.o", ".maps", 0, "step_one"), "map of_maps: element 0 .*'step_one', is no map"),
        (relocated("map_values.bpf.o", ".maps", 3, "steps"), "map steps_in_order: element 2 .*'steps', is no program"),
        (relocated("map_values.bpf.o", ".maps", 1, "sums"), "map of_maps: element 2 .*'sums', is no map"),
    ],
    ids=str,
)
def test_a_relocation_that_leads_to_nothing_useful_is_an_error_that_says_where(data: bytes, message: str) -> None:
    with pytest.raises(ElfError, match=message):
        load_collection_spec(data)


# --- struct_ops ----------------------------------------------------------------------------------


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_structure_of_programs_is_a_map_whatever_compiler_and_byte_order(variant: str) -> None:
    spec = load_collection_spec(TESTDATA / f"struct_ops-{variant}.o")
    ours, linked = spec.maps["by_map"], spec.maps["by_link"]
    assert (ours.type, ours.flags, ours.autocreate) == (MapType.STRUCT_OPS, 0, True)
    assert (linked.type, linked.flags, linked.autocreate) == (MapType.STRUCT_OPS, MapFlags.LINK, False)
    assert isinstance(ours.value, btf.Struct)
    assert ours.value.name == "tcp_congestion_ops"
    assert ours.contents is not None
    assert bytes(ours.contents).startswith(b"ebpfpy_cc\0")
    assert len(ours.contents) == ours.value.size
    members = {member.offset: member.name for member in ours.value.members}
    assert {members[offset]: name for offset, name in ours.slots.items()} == {
        "init": "cc_init",
        "release": "cc_release",
        "ssthresh": "cc_ssthresh",
        "cong_avoid": "cc_avoid",
        "undo_cwnd": "cc_undo",
    }
    assert {program.attach_to for program in spec.programs.values()} == {
        f"tcp_congestion_ops:{members[offset]}" for offset in ours.slots
    }
    assert not any("understood" in note for note in spec.notes)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (relocated("struct_ops.bpf.o", ".struct_ops", 0, "inits"), "by_map refers to 'inits', which is no program"),
        (relocated("struct_ops.bpf.o", ".struct_ops", 0, "cc_init"), "implements both tcp_congestion_ops:ssthresh and"),
        (
            changed("struct_ops.bpf.o", ".rel.struct_ops", 0, struct.pack("<Q", 0)),
            "by_map: cc_ssthresh in member name is no struct_ops program|implements both",
        ),
        (changed("struct_ops.bpf.o", ".rel.struct_ops", 0, struct.pack("<Q", 71)), "is no struct_ops program|both"),
    ],
    ids=str,
)
def test_a_structure_that_refers_to_nothing_useful_is_an_error(data: bytes, message: str) -> None:
    with pytest.raises(ElfError, match=message):
        load_collection_spec(data)


# --- arenas, exceptions --------------------------------------------------------------------------


def test_variables_of_an_arena_lie_in_its_map() -> None:
    spec = load_collection_spec(TESTDATA / "arena.bpf.o")
    arena = spec.maps["arena"]
    assert arena.type == MapType.ARENA
    assert {name for name, variable in spec.variables.items() if variable.map is arena} == {"total", "head"}
    spec.variables["total"].set(7)
    assert arena.contents is not None
    assert bytes(arena.contents[:8]) == struct.pack("<Q", 7)
    program = spec.programs["walk"]
    assert {one.offset for one in program.references if one.name == "arena"} == {0, 8}


def test_variables_of_an_arena_without_an_arena_are_an_error() -> None:
    whole = (TESTDATA / "arena.bpf.o").read_bytes()
    types = ObjectFile(whole, "arena").section(".BTF")
    assert types is not None
    spec = btf.Spec(whole[types.offset : types.offset + types.size])
    kind = next(each for each in spec if isinstance(each, btf.Array) and each.count == 33)
    where = spec.locate(spec.type_id(kind))[1] * 4 + 20 + 24  # the array's count of elements: the map's type
    with pytest.raises(ElfError, match="variables lie in an arena, of which there are 0"):
        load_collection_spec(changed("arena.bpf.o", ".BTF", where, struct.pack("<I", 1)))


def test_a_function_that_only_a_tag_names_is_linked_in_behind_the_others() -> None:
    programs = load_collection_spec(TESTDATA / "exceptions.bpf.o").programs
    assert [each.name for each in programs["with_callback"].functions] == ["with_callback", "thrower", "caught"]
    assert [each.name for each in programs["without_callback"].functions] == ["without_callback", "thrower"]
    assert [insn for insn, _ in programs["with_callback"].func_infos] == [
        each.start for each in programs["with_callback"].functions
    ]


def test_a_tag_that_names_no_function_is_an_error() -> None:
    data = (TESTDATA / "exceptions.bpf.o").read_bytes()
    assert data.count(b"exception_callback:caught") == 1
    with pytest.raises(ElfError, match="with_callback has the exception callback 'cough_', of which there are 0"):
        load_collection_spec(data.replace(b"exception_callback:caught", b"exception_callback:cough_"))


# --- objects that bpftool joined -----------------------------------------------------------------


def test_of_a_weak_and_a_strong_function_the_strong_one_is_called() -> None:
    spec = load_collection_spec(TESTDATA / "linked.bpf.o")
    answer = spec.programs["answer"]
    assert [each.name for each in answer.functions] == [
        "answer", "weak_number", "number_of_two", "same_name", "same_name",
    ]  # fmt: skip
    weak = answer.functions[1]
    code = answer.code[weak.start * 8 : weak.end * 8]
    assert 100 in struct.unpack("<" + "4xi" * (len(code) // 8), code)
    assert [each.name for each in spec.programs["other"].functions] == ["other", "number_of_two", "same_name"]


def test_half_of_such_an_object_says_what_it_lacks() -> None:
    spec = load_collection_spec(TESTDATA / "linked_one.o")
    assert any("refers to calls, number_of_two, shared" in note for note in spec.notes)


# --- what is hidden -------------------------------------------------------------------------------


def test_what_is_hidden_is_static_for_the_kernel() -> None:
    types = load_collection_spec(TESTDATA / "hidden.bpf.o").types
    assert types is not None
    variables = {each.name: each.linkage for each in types if isinstance(each, btf.Var)}
    functions = {each.name: each.linkage for each in types if isinstance(each, btf.Func)}
    hidden = {"hidden_data", "hidden_alone", "hidden_constant", "hidden_zero"}
    statics = {"static_data", "static_alone"}
    assert {name for name, linkage in variables.items() if linkage == 0} == hidden | statics
    assert {name for name, linkage in functions.items() if linkage == 0} == {"hidden_function"}


def test_a_type_of_maps_that_is_newer_than_the_library_is_kept_as_its_number() -> None:
    assert map_type(1) is MapType.HASH
    newer = map_type(200)
    assert (newer, newer.name, isinstance(newer, MapType)) == (200, "200", True)
    assert newer not in {MapType.HASH, MapType.ARRAY}
    again = pickle.loads(pickle.dumps(newer))
    assert (again, again.name, isinstance(again, MapType)) == (200, "200", True)
    assert pickle.loads(pickle.dumps(MapType.HASH)) is MapType.HASH


def defined(records: Records, structure: int) -> int:
    """How many maps an object whose BTF says this of the first variable of ".maps" has."""
    variable = records.add(Kind.VAR, "map", value=structure, words=[1])
    records.add(Kind.DATASEC, ".maps", vlen=1, value=8, words=[variable, 0, 8])
    file = ObjectFile((TESTDATA / "demo.bpf.o").read_bytes(), "demo")
    section = file.section(".maps")
    assert section is not None
    return len(parse_maps(file, section, records.spec()))


def test_members_of_a_definition_at_the_end_of_one_long_chain_do_not_walk_it_each() -> None:
    records = Records()
    number = records.int("int", 4, SIGNED)
    array = records.array(number, MapType.HASH, number)
    last = chained(records, records.pointer(array), 50_000)
    structure = records.struct("definition", 8, [("type", last, 0)] * 5000)
    start = time.process_time()
    assert defined(records, structure) == 1
    assert time.process_time() - start < 5


@pytest.mark.parametrize("links", [2, 100])
def test_a_definition_that_is_a_circle_of_typedefs_is_an_error(links: int) -> None:
    records = Records()
    last = chained(records, links, links)
    with pytest.raises(BtfError, match="form a cycle"):
        defined(records, last)
