"""Committed objects: what a loader must find in them. Sources and expected behaviour: testdata/."""

from __future__ import annotations

import io
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.core.relocation import RelocationKind
from ebpfpy.elf import CollectionSpec, Reference, ReferenceKind, load_collection_spec
from ebpfpy.errors import BtfError, EbpfError, ElfError, InputError
from ebpfpy.sys.enums import AttachType, MapFlags, MapType, ProgramType

TESTDATA = Path(__file__).parents[3] / "testdata"
VARIANTS = ["clang14-el", "clang14-eb", "clang19-el", "clang19-eb"]
READABLE = sorted(path for path in TESTDATA.glob("*.o") if "legacy" not in path.name)


def load(name: str) -> CollectionSpec:
    return load_collection_spec(TESTDATA / name)


def insn(spec, index: int) -> tuple[int, int, int, int, int]:
    """(opcode, destination, source, offset, immediate) of one instruction."""
    mark = "<" if spec.byte_order == "little" else ">"
    opcode, registers, offset, imm = struct.unpack_from(mark + "BBhi", spec.code, index * 8)
    low, high = registers & 15, registers >> 4
    return (opcode, low, high, offset, imm) if mark == "<" else (opcode, high, low, offset, imm)


def call_goals(spec) -> dict[int, int]:
    """Where each call of a subprogram leads: index of the call to index of the goal."""
    result = {}
    for index in range(len(spec.code) // 8):
        opcode, _, source, _, imm = insn(spec, index)
        if opcode == 0x85 and source == 1:
            result[index] = index + 1 + imm
    return result


def function_at(spec, index: int) -> str:
    return next(one.name for one in spec.functions if one.start <= index < one.end)


# --- every object --------------------------------------------------------------------------------


@pytest.mark.parametrize("path", READABLE, ids=lambda path: path.name)
def test_every_object_is_read_whole_whatever_its_byte_order(path):
    spec = load_collection_spec(path)
    assert spec.byte_order == ("big" if path.name.endswith("-eb.o") else "little")
    assert spec.types is not None
    assert spec.programs
    assert "GPL" in spec.license
    for program in spec.programs.values():
        count = len(program.code) // 8
        assert program.functions[0].name == program.name
        assert program.functions[0].start == 0
        assert program.functions[-1].end == count
        assert len(program.func_infos) == len(program.functions)
        assert [one for one, _ in program.func_infos] == [one.start for one in program.functions]
        for _, type_id in program.func_infos:
            assert isinstance(spec.types.type_by_id(type_id), btf.Func)
        for table in (program.references, program.relocations):
            indexes = [one.insn for one in table]
            assert indexes == sorted(indexes)
            assert all(index < count for index in indexes)
        lines = [row[0] for row in program.line_infos]
        assert lines == sorted(lines)
        assert lines[0] == 0


@pytest.mark.parametrize("path", READABLE, ids=lambda path: path.name)
def test_variables_lie_where_btf_says(path):
    spec = load_collection_spec(path)
    for data in (one for one in spec.maps.values() if one.data_section and one.value is not None):
        assert isinstance(data.value, btf.Datasec)
        assert data.value.size == data.value_size == len(data.contents)
        offsets = [info.offset for info in data.value.variables]
        assert offsets == sorted(offsets)
        for info in data.value.variables:
            variable = spec.variables[info.var.name]
            assert (variable.offset, variable.size) == (info.offset, info.size)
            assert btf.sizeof(variable.type) == variable.size


def test_path_bytes_and_reader_give_the_same():
    path = TESTDATA / "rawtp.bpf.o"
    data = path.read_bytes()
    from_path = load_collection_spec(path)
    assert from_path.source == str(path)
    with path.open("rb") as file:
        specs = [load_collection_spec(one) for one in (str(path), data, memoryview(data), io.BytesIO(data), file)]
    for spec in specs:
        assert {name: one.code for name, one in spec.programs.items()} == {
            name: one.code for name, one in from_path.programs.items()
        }


# --- programs, maps, variables -------------------------------------------------------------------


def test_demo_has_its_program_maps_and_variables():
    spec = load("demo.bpf.o")
    program = spec.programs["on_exec"]
    assert list(spec.programs) == ["on_exec"]
    assert (program.type, program.attach_type) == (ProgramType.TRACING, AttachType.TRACE_RAW_TP)
    assert (program.attach_to, program.attach_module) == ("sched_process_exec", None)
    assert program.section == "tp_btf/sched_process_exec"
    assert set(spec.maps) == {"events", "by_parent", ".rodata", ".bss"}
    events = spec.maps["events"]
    assert (events.type, events.max_entries) == (MapType.RINGBUF, 256 * 1024)
    assert (events.key_size, events.value_size) == (0, 0)
    assert {"only_pid", "only_ppid", "seen", "dropped"} <= set(spec.variables)
    event = btf.resolve(spec.types.type_by_name("event", btf.Struct))
    assert [member.name for member in event.members] == [
        "time", "start_time", "total_vm", "pid", "ppid", "comm", "filename",
    ]  # fmt: skip
    assert btf.sizeof(event) == 112
    assert spec.license == "Dual MIT/GPL"
    assert spec.notes == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_core_relocations_carry_access_kind_and_place(variant):
    program = load(f"demo-{variant}.o").programs["on_exec"]
    found = {(one.spec.type_by_id(one.type_id).name, one.access, one.kind) for one in program.relocations}
    assert {
        ("task_struct", "0:2", RelocationKind.BYTE_OFF),  # task->real_parent
        ("task_struct", "0:3", RelocationKind.BYTE_OFF),  # task->mm
        ("mm_struct", "0:0", RelocationKind.BYTE_OFF),  # mm->total_vm
        ("linux_binprm", "0:0", RelocationKind.BYTE_OFF),
    } <= found
    assert all(one.function == "on_exec" and one.function_insn == one.insn for one in program.relocations)


def test_modules_in_section_names_are_split_off():
    programs = load("tun.bpf.o").programs
    entry, leave = programs["tun_open_entry"], programs["tun_open_exit"]
    assert (entry.attach_module, entry.attach_to) == ("tun", "tun_chr_open")
    assert entry.attach_type is AttachType.TRACE_FENTRY
    assert (leave.attach_module, leave.attach_to) == (None, "tun_chr_open")
    assert leave.attach_type is AttachType.TRACE_FEXIT


def test_unknown_sections_are_read_as_unspecified_with_a_note():
    spec = load("sections.bpf.o")
    assert len(spec.programs) == 20
    assert spec.programs["p_unknown"].type is ProgramType.UNSPEC
    assert [note for note in spec.notes if "mystery/section" in note]
    assert not spec.programs["p_optional"].autoload
    assert spec.programs["p_optional"].attach_to == "vfs_write"


def test_addresses_in_variables_are_not_filled_in_and_noted():
    spec = load("sections.bpf.o")
    assert [note for note in spec.notes if "mystery" not in note] == [
        "section .data: pointers are not filled in, and read as what the file has there: at byte 0, 8"
    ]
    assert len(spec.notes) == 2


@pytest.mark.parametrize("name", ["maps.bpf.o", *(f"maps-{variant}.o" for variant in VARIANTS)])
def test_map_definitions(name):
    maps = load(name).maps
    rows = {
        # name: type, key size, value size, entries, flags, pinning, extra
        "hash": (MapType.HASH, 8, 24, 128, 0, 0, 0),
        "sized": (MapType.HASH, 8, 12, 256, MapFlags.NO_PREALLOC, 0, 0),
        "array": (MapType.ARRAY, 4, 8, 8, MapFlags.MMAPABLE, 0, 0),
        "percpu_hash": (MapType.PERCPU_HASH, 4, 8, 64, 0, 0, 0),
        "percpu_array": (MapType.PERCPU_ARRAY, 4, 24, 2, 0, 0, 0),
        "lru": (MapType.LRU_HASH, 4, 8, 512, 0, 0, 0),
        "ring": (MapType.RINGBUF, 0, 0, 4096, 0, 0, 0),
        "pinned": (MapType.ARRAY, 4, 4, 1, 0, 1, 0),
        "stacks": (MapType.STACK_TRACE, 4, 256, 16, 0, 0, 0),
        "perf": (MapType.PERF_EVENT_ARRAY, 4, 4, 0, 0, 0, 0),
        "bloom": (MapType.BLOOM_FILTER, 0, 4, 100, 0, 0, 3),
    }
    assert {
        one.name: (
            one.type,
            one.key_size,
            one.value_size,
            one.max_entries,
            one.flags,
            one.pinning,
            one.map_extra,
        )
        for one in maps.values()
        if not one.data_section
    } == rows
    assert maps["hash"].key.name == "key"
    assert maps["hash"].value.name == "value"
    assert maps["sized"].key is None
    assert maps["hash"].contents is None


@pytest.mark.parametrize("name", ["globals.bpf.o", *(f"globals-{variant}.o" for variant in VARIANTS)])
def test_global_variables_have_place_type_and_initial_value(name):
    spec = load(name)

    def number(variable: str, signed: bool = False) -> int:
        return int.from_bytes(spec.variables[variable].value, spec.byte_order, signed=signed)

    assert number("byte") == 0x12
    assert number("half") == 0x1234
    assert number("word") == 0x12345678
    assert number("quad") == 0x123456789ABCDEF0
    assert number("negative", signed=True) == -2
    assert number("limit") == 0x1122334455667788
    assert number("mode") == 7
    assert number("enabled") == 1
    assert number("extra") == 77
    assert number("runs") == 0
    assert spec.variables["greeting"].value == b"hello\0\0\0"
    assert number("static_second") == 200
    assert number("static_constant", signed=True) == -5
    homes = {variable: one.map.name for variable, one in spec.variables.items()}
    assert homes["limit"] == ".rodata.limits"
    assert homes["extra"] == ".data.extra"
    assert homes["static_zero"] == homes["runs"] == ".bss"
    assert homes["pair"] == ".data"
    assert spec.variables["pair"].type.name == "pair"
    for name_, frozen in ((".rodata", True), (".rodata.limits", True), (".data", False), (".bss", False)):
        data = spec.maps[name_]
        assert (data.type, data.key_size, data.max_entries) == (MapType.ARRAY, 4, 1)
        assert data.frozen is frozen
        assert bool(data.flags & MapFlags.RDONLY_PROG) is frozen
        assert data.flags & MapFlags.MMAPABLE


def test_the_array_at_the_end_of_a_section_is_resized_and_no_other_variable():
    spec = load("globals.bpf.o")
    results, bss = spec.variables["results"], spec.maps[".bss"]
    results.set(list(range(8)))
    results.resize(10)
    assert (results.size, bss.value_size, len(bss.contents)) == (80, results.offset + 80, results.offset + 80)
    assert results.get() == [*range(8), 0, 0]
    results.resize(2)
    assert results.get() == [0, 1]
    assert len(bss.contents) == bss.value_size == results.offset + 16
    for name, why in {
        "sum": "is no array",
        "numbers": r"not the last one of \.data",
        "greeting": "not the last",
    }.items():
        with pytest.raises(InputError, match=f"variable {name} .*{why}"):
            spec.variables[name].resize(2)
    for count in (0, -1, 1 << 30):
        with pytest.raises(InputError, match=f"cannot have {count} elements"):
            results.resize(count)
    for what in ("3", 3.0, None):
        with pytest.raises(InputError, match=f"a number of elements is an int, not {type(what).__name__}"):
            results.resize(what)


def test_setting_a_variable_changes_its_map_and_not_a_copy():
    spec = load("demo.bpf.o")
    copy = spec.copy()
    spec.variables["only_pid"].set(4711)
    offset = spec.variables["only_pid"].offset
    assert spec.maps[".rodata"].contents[offset : offset + 4] == (4711).to_bytes(4, "little")
    assert copy.variables["only_pid"].value == bytes(4)
    with pytest.raises(InputError, match="does not fit"):
        spec.variables["only_pid"].set(1 << 32)


@pytest.mark.parametrize("name", ["globals-clang14-el.o", "globals-clang19-eb.o"])
def test_a_variable_of_any_type_is_set_as_a_python_value_in_the_objects_byte_order(name):
    variables = load(name).variables
    values = {
        "greeting": "bye",
        "numbers": [5, 6],
        "pair": {"left": 9, "right": -9},
        "mode": "MODE_OFF",
        "enabled": False,
        "negative": -7,
        "quad": 1 << 63,
    }
    for variable, value in values.items():
        variables[variable].set(value)
    read = {variable: variables[variable].get() for variable in values}
    assert read == {**values, "numbers": [5, 6, 0, 0]}
    order = variables["quad"].byte_order
    assert variables["quad"].value == (1 << 63).to_bytes(8, order)
    for variable, value in (("numbers", [0] * 5), ("pair", {"middle": 1}), ("mode", "MODE_NONE"), ("greeting", None)):
        with pytest.raises(InputError):
            variables[variable].set(value)
    assert {variable: variables[variable].get() for variable in values} == read
    variables["quad"].type = None
    assert variables["quad"].get() == (1 << 63).to_bytes(8, order)
    with pytest.raises(InputError, match="variable quad has no BTF type"):
        variables["quad"].set([1])


@pytest.mark.parametrize("variant", VARIANTS)
def test_static_variables_are_referenced_at_their_byte(variant):
    spec = load(f"globals-{variant}.o")
    program = spec.programs["use_globals"]
    referenced = {(one.name, one.offset) for one in program.references}
    assert all(one.kind is ReferenceKind.MAP_VALUE for one in program.references)
    for name in ("static_second", "static_zero", "extra", "limit", "quad", "results"):
        variable = spec.variables[name]
        places = {variable.offset + step for step in range(0, variable.size, 4)}
        assert any((variable.map.name, place) in referenced for place in places), name
    for one in program.references:
        assert insn(program, one.insn)[0] == 0x18


def test_undefined_symbols_are_read_by_program_and_name_and_declared_ones_are_no_reason_for_a_note():
    spec = load("externs.bpf.o")
    unresolved = {
        program.name: [(one.insn, one.name) for one in program.references if one.kind is ReferenceKind.UNRESOLVED]
        for program in spec.programs.values()
    }
    assert unresolved == {
        "uses_kconfig": [(0, "LINUX_KERNEL_VERSION")],
        "uses_ksym": [(2, "init_task")],
        "uses_kfunc": [(0, "bpf_rcu_read_lock")],
        "plain": [],
    }
    assert spec.externs.keys() == {"LINUX_KERNEL_VERSION", "init_task", "bpf_rcu_read_lock"}
    assert [name for name, extern in spec.externs.items() if extern.weak] == ["bpf_rcu_read_lock"]
    assert spec.notes == []


# --- linking -------------------------------------------------------------------------------------

CALLS = {
    # caller: callees in the order of the calls, as llvm-objdump shows them
    "first": ["twice_and_one", "nested"],
    "second": ["twice_and_one", "parent_of_current"],
    "twice_and_one": ["twice"],
    "nested": ["parent_of_current", "twice"],
    "add_index": ["twice"],
    "recursive": ["ping"],
    "ping": ["pong"],
    "pong": ["ping"],
}
LINKED = {
    "first": {"first", "twice_and_one", "nested", "twice", "parent_of_current"},
    "second": {"second", "twice_and_one", "parent_of_current", "twice"},
    "callbacks": {"callbacks", "add_index", "add_value", "twice"},
    "alone": {"alone"},
    "recursive": {"recursive", "ping", "pong"},
}
SUBPROGS = ["subprogs.bpf.o", *(f"subprogs-{variant}.o" for variant in VARIANTS)]


@pytest.mark.parametrize("name", SUBPROGS)
def test_only_reachable_subprograms_are_linked_each_once(name):
    spec = load(name)
    assert {one.name: {part.name for part in one.functions} for one in spec.programs.values()} == LINKED
    for program in spec.programs.values():
        assert len({part.name for part in program.functions}) == len(program.functions)
        for before, after in zip(program.functions, program.functions[1:], strict=False):
            assert before.end == after.start


@pytest.mark.parametrize("name", SUBPROGS)
def test_a_subprogram_lies_behind_its_first_caller_before_that_callers_other_callees(name):
    def depth_first(function, found):
        if function not in found:
            found.append(function)
            for callee in {**CALLS, "callbacks": ["add_index", "add_value"]}.get(function, ()):
                depth_first(callee, found)
        return found

    for program in load(name).programs.values():
        assert [part.name for part in program.functions] == depth_first(program.name, [])


@pytest.mark.parametrize("name", SUBPROGS)
def test_calls_lead_to_the_start_of_the_right_function(name):
    for program in load(name).programs.values():
        starts = {one.start: one.name for one in program.functions}
        called: dict[str, list[str]] = {}
        for index, goal in call_goals(program).items():
            called.setdefault(function_at(program, index), []).append(starts[goal])
        assert called == {caller: CALLS[caller] for caller in LINKED[program.name] if caller in CALLS}


@pytest.mark.parametrize("name", SUBPROGS)
def test_addresses_of_functions_are_references_and_already_in_the_code(name):
    program = load(name).programs["callbacks"]
    starts = {one.name: one.start for one in program.functions}
    taken = [one for one in program.references if one.kind is ReferenceKind.FUNCTION]
    assert [one.name for one in taken] == ["add_index", "add_value"]
    for one in taken:
        opcode, _, source, _, imm = insn(program, one.insn)
        assert (opcode, source) == (0x18, 4)
        assert one.insn + 1 + imm == one.offset == starts[one.name]
        assert program.code[one.insn * 8 + 8 : one.insn * 8 + 16] == bytes(8)


@pytest.mark.parametrize("name", SUBPROGS)
def test_relocations_and_references_move_with_their_subprogram(name):
    spec = load(name)
    for program_name in ("first", "second"):
        program = spec.programs[program_name]
        start = next(one.start for one in program.functions if one.name == "parent_of_current")
        assert [(one.function, one.function_insn, one.access) for one in program.relocations] == [
            ("parent_of_current", 2, "0:2"),
            ("parent_of_current", 9, "0:1"),
        ]
        assert [one.insn for one in program.relocations] == [start + 2, start + 9]
        assert {one.section for one in program.relocations} == {".text"}
    first = spec.programs["first"]
    nested = next(one.start for one in first.functions if one.name == "nested")
    assert Reference(nested + 5, ReferenceKind.MAP, "table") in first.references


def test_two_programs_of_one_section_do_not_share_tables():
    programs = load("subprogs.bpf.o").programs
    assert programs["first"].section == programs["second"].section == "raw_tp/sys_enter"
    assert programs["second"].references == (Reference(9, ReferenceKind.MAP_VALUE, ".bss", 8),)
    assert programs["alone"].code == bytes.fromhex("b400000000000000 9500000000000000")
    assert programs["alone"].references == ()
    assert not programs["recursive"].autoload


@pytest.mark.skipif(shutil.which("llvm-objdump-19") is None, reason="llvm-objdump-19 is not installed")
@pytest.mark.parametrize("name", SUBPROGS)
def test_functions_have_the_bytes_that_llvm_objdump_shows(name):
    text = subprocess.run(
        ["llvm-objdump-19", "-d", str(TESTDATA / name)], capture_output=True, text=True, check=True
    ).stdout
    shown: dict[str, bytes] = {}
    current = ""
    for line in text.splitlines():
        if label := re.match(r"[0-9a-f]{16} <((?!LBB)\w+)>:", line):
            current = label[1]
            shown[current] = b""
        elif row := re.match(r"\s+\d+:\t([0-9a-f]{2}(?: [0-9a-f]{2}){7,})\s", line):
            shown[current] += bytes.fromhex(row[1])
    for program in load(name).programs.values():
        for part in program.functions:
            code = bytearray(program.code[part.start * 8 : part.end * 8])
            expected = bytearray(shown[part.name])
            assert len(code) == len(expected)
            for at in range(0, len(code), 8):  # what linking writes: distances, and the mark of an address
                if code[at] == 0x85:
                    code[at + 4 : at + 8] = expected[at + 4 : at + 8]
                elif code[at] == 0x18:
                    code[at + 1 : at + 16] = expected[at + 1 : at + 16]
            assert code == expected, part.name


# --- refusals ------------------------------------------------------------------------------------


def test_maps_in_the_old_style_are_refused_with_the_remedy():
    with pytest.raises(ElfError, match=r"section maps: maps in the old style.*__uint.*-g"):
        load("legacy_maps.bpf.o")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"\x9f\xeb\x01\x00" + bytes(20), "raw BTF"),
        (b"\xeb\x9f\x01\x00" + bytes(20), "raw BTF"),
        (b"int main(void) { return 0; }\n", "text"),
        (bytes(100), "zeros"),
        (b"\x7fELF", "cut off after 4 bytes"),
        (b"\x1f\x8b\x08" + bytes(100), "gzip"),
        (b"\xde\xad\xbe\xef" * 30, "de ad be ef"),
    ],
)
def test_what_is_no_object_is_called_by_its_name(data, message):
    with pytest.raises(ElfError, match=message):
        load_collection_spec(data)


def header(**changes: int) -> bytes:
    """The demo object with fields of its header replaced."""
    places = {
        "class": (4, "B"),
        "order": (5, "B"),
        "type": (16, "H"),
        "machine": (18, "H"),
        "shentsize": (58, "H"),
    }
    data = bytearray((TESTDATA / "demo.bpf.o").read_bytes())
    for name, value in changes.items():
        at, code = places[name]
        struct.pack_into("<" + code, data, at, value)
    return bytes(data)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"class": 1}, "32-bit"),
        ({"order": 3}, "byte order 3"),
        ({"machine": 62}, "for x86-64, not for BPF"),
        ({"machine": 62, "type": 2}, "an executable for x86-64"),
        ({"type": 3}, "shared library"),
        ({"shentsize": 40}, "40 bytes, not 64"),
    ],
)
def test_elf_files_of_other_kinds_are_refused_by_name(changes, message):
    with pytest.raises(ElfError, match=message):
        load_collection_spec(header(**changes))


def test_an_object_for_this_machine_is_refused():
    with pytest.raises(ElfError, match="not a BPF object"):
        load_collection_spec("/proc/self/exe")


def test_a_missing_file_is_also_the_builtin_error(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_collection_spec(tmp_path / "nothing.o")
    assert isinstance(caught.value, EbpfError)
    with pytest.raises(EbpfError):
        load_collection_spec(tmp_path)


def test_reading_an_object_opens_nothing_else(tmp_path):
    path = tmp_path / "broken.o"
    path.write_bytes(header(machine=62))
    with pytest.raises(ElfError) as caught:
        load_collection_spec(path)
    assert caught.value.source == str(path)
    assert caught.value.offset == 18


def test_a_type_that_is_not_there_is_called_malformed_btf():
    data = bytearray((TESTDATA / "maps.bpf.o").read_bytes())
    spec = load_collection_spec(bytes(data))
    last = spec.types.type_id(spec.maps["hash"].value)
    pointer = struct.pack("=3I", 0, 2 << 24, last)  # PTR to the structure, as the definition of the map has it
    assert data.count(pointer) == 1
    at = data.index(pointer)
    data[at : at + 12] = struct.pack("=3I", 0, 2 << 24, 60_000)
    with pytest.raises(BtfError, match="malformed BTF: no type has id 60000"):
        load_collection_spec(bytes(data))


# --- blueprints that were edited ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("map", None, "map is None, not MapSpec"),
        ("offset", None, "offset is None, not int"),
        ("offset", -1, "offset -1 and size 4 lie outside of map .rodata, which has 8 bytes"),
        ("size", None, "size is None, not int"),
        ("size", 1 << 40, "lie outside of map .rodata"),
    ],
)
@pytest.mark.parametrize(
    "ask",
    [
        lambda variable: variable.get(),
        lambda variable: variable.set(1),
        lambda variable: variable.set(b"1234"),
        lambda variable: variable.resize(2),
    ],
    ids=["get", "set", "set bytes", "resize"],
)
def test_a_variable_that_lies_nowhere_is_neither_read_nor_set(field: str, value: object, why: str, ask) -> None:
    variable = load("demo.bpf.o").variables["only_pid"]
    contents = bytes(variable.map.contents or b"")
    holder = variable.map
    setattr(variable, field, value)
    with pytest.raises(InputError, match=f"variable only_pid: .*{why}"):
        ask(variable)
    assert holder.contents == contents


def test_a_variable_of_an_unknown_byte_order_is_not_set() -> None:
    variable = load("demo.bpf.o").variables["only_pid"]
    variable.byte_order = None  # type: ignore[assignment]
    with pytest.raises(InputError, match="variable only_pid: byte_order is None"):
        variable.set(1)


@pytest.mark.parametrize("contents", [None, b"", bytearray(), b"\0" * 8, memoryview(b"\0" * 8)])
def test_a_variable_is_set_in_its_place_whatever_its_map_had(contents) -> None:
    spec = load("demo.bpf.o")
    last = max((each for each in spec.variables.values() if each.map.name == ".rodata"), key=lambda each: each.offset)
    assert last.offset
    last.map.contents = contents
    assert last.get() == 0
    last.set(7)
    assert last.get() == 7
    assert bytes(last.map.contents) == bytes(last.offset) + (7).to_bytes(last.size, last.byte_order)


def test_a_weak_extern_of_any_name_is_weak(tmp_path: Path) -> None:
    data = (TESTDATA / "externs.bpf.o").read_bytes()
    renamed = data.replace(b"bpf_rcu_read_lock\0", b"bpf_rcu_read_\xff\xfe\xfd\xfc\0")
    (extern,) = (each for each in load_collection_spec(renamed).externs.values() if each.weak)
    assert extern.name == btf.RawName(b"bpf_rcu_read_\xff\xfe\xfd\xfc")
