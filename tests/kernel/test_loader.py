"""From blueprint to kernel object: every object of testdata, and what the public interface promises of loading."""

import asyncio
import gc
import io
import os
from contextlib import ExitStack

import pytest

import ebpfpy
from ebpfpy import asm, btf, core, link, ringbuf, sys
from ebpfpy.errors import (
    ClosedError,
    EbpfError,
    InputError,
    TargetNotFoundError,
)
from tests.kernel import expectations, features, modules, triggers
from tests.kernel.blueprints import TESTDATA, collection_of, path_of, program_of, read_events
from tests.kernel.needs import require_object, require_programs, without_missing_maps

WHOLE = [
    "core_kinds",
    "core_linked",
    "core_many",
    "core_verdict",
    "demo",
    "globals",
    "kmod_demo",
    "loop",
    "maps",
    "rawtp",
    "subprogs",
    "tun",
    "veth",
]
"""Objects that load whole and attach by their sections' names; what the others show has tests of its own."""
LITTLE = sorted(
    path.name
    for path in TESTDATA.glob("*.o")
    if not path.name.endswith("-eb.o") and path.name.partition(".")[0].partition("-")[0] in WHOLE
)


@pytest.fixture(scope="module", autouse=True)
def modules_are_unloaded_afterwards():
    with modules.unloaded_afterwards(*modules.USED):
        yield


# --- every object -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", LITTLE)
def test_an_object_of_testdata_loads_and_attaches(name, options, cache):
    for module in expectations.entry_of(name).get("modules", ()):
        features.require_module_tracing()
        modules.load(module)
    require_programs(name)
    spec = without_missing_maps(name)
    if name == "core_many.bpf.o":  # made for one kernel: elsewhere some of its fields have no answer
        lacking = {f.relocation.function for f in spec.relocate([cache.kernel()]).poisoned}
        for program in lacking:
            del spec.programs[program]
        assert spec.programs
    with ExitStack() as stack:
        collection = stack.enter_context(ebpfpy.Collection(spec, options))
        assert set(collection.maps) == set(spec.maps)
        assert set(collection.programs) == {each.name for each in spec.programs.values() if each.autoload}
        assert set(collection.variables) == set(spec.variables)
        assert collection.notes == spec.notes
        for program in collection.programs.values():
            lnk = stack.enter_context(link.attach(program))
            assert lnk.info.prog_id == program.info.id


@pytest.mark.parametrize("name", ["demo-clang14-el.o", "demo-clang19-el.o", "demo.bpf.o"])
def test_the_demo_prints_the_execution_of_a_program(name, options):
    spec = ebpfpy.load_collection_spec(path_of(name))
    spec.variables["only_ppid"].set(os.getpid())
    with ebpfpy.Collection(spec, options) as collection:
        with link.attach(collection.programs["on_exec"]):
            pids = [triggers.run_true() for _ in range(3)]
        events = [read_events(collection, pid, 1)[0] for pid in pids]
        assert collection.variables["seen"].get() >= 3
        assert collection.variables["dropped"].get() == 0
        assert collection.maps["by_parent"][os.getpid()] == 3
    for pid, event in zip(pids, events, strict=True):
        assert (event["pid"], event["ppid"], event["comm"]) == (pid, os.getpid(), "true")
        assert event["filename"].endswith("/true")
        assert 0 < event["start_time"] <= event["time"]
        assert event["total_vm"] > 0


@pytest.mark.parametrize("name", ["core_kinds-clang14-el.o", "core_kinds-clang19-el.o", "core_kinds.bpf.o"])
def test_the_kernel_runs_relocated_code_with_the_answers_of_its_own_types(name, options, cache):
    require_object(name)
    task = cache.kernel().type_by_name("task_struct", btf.Struct)
    offset = {member.name: member.offset_bits // 8 for member in task.members}
    spec = ebpfpy.load_collection_spec(path_of(name))
    with ebpfpy.Collection(spec, options) as collection:
        with ExitStack() as stack:
            for program in ("core_fields", "core_types", "core_enums", "core_bits"):
                stack.enter_context(link.attach(collection.programs[program]))
            os.getppid()
        fields, types, enums, bits = (collection.variables[each].get() for each in ("fields", "types", "enums", "bits"))
    assert (fields["pid_offset"], fields["comm_offset"]) == (offset["pid"], offset["comm"])
    assert (fields["comm_size"], fields["comm_third_offset"]) == (16, offset["comm"] + 3)
    assert (fields["qstr_len_offset"] > 0, fields["pid_signed"], fields["start_time_signed"]) == (True, 1, 0)
    assert fields["old_state_exists"] == int("state" in offset)
    assert fields["new_state_exists"] == int("__state" in offset)
    assert (fields["missing_exists"], fields["missing_array_exists"]) == (0, 0)
    assert (types["task_size"], types["task_exists"]) == (btf.sizeof(task), 1)
    assert types["task_target_id"] == task.spec.type_id(task)
    local = spec.types.type_id(spec.types.type_by_name("task_struct", btf.Struct))
    assert types["task_local_id"] == local
    assert (types["typedef_exists"], types["missing_exists"], types["missing_size"]) == (1, 0, 0)
    if "clang14" not in name:
        assert (types["node_matches"], types["head_matches"]) == (1, 0)
    assert (enums["tgid_exists"], enums["tgid_value"]) == (1, 1)
    assert (enums["no_such_exists"], enums["missing_exists"], enums["wide_exists"]) == (0, 0, 0)
    assert (bits["reset_on_fork"], bits["low_exists"]) == (0, 0)


@pytest.mark.parametrize("name", ["subprogs-clang14-el.o", "subprogs-clang19-el.o", "subprogs.bpf.o"])
def test_subprograms_and_callbacks_give_their_results(name, options):
    require_object(name)
    with ebpfpy.load_collection(path_of(name), options) as collection:
        with ExitStack() as stack:
            for program in collection.programs.values():
                stack.enter_context(link.attach(program))
            os.getppid()
            os.getppid()
        value = {name: variable.get() for name, variable in collection.variables.items()}
        assert collection.maps["table"][1] > 0
    assert value["first_result"] == 41
    assert value["second_result"] >= 61
    assert value["loop_result"] == 90
    assert value["total_result"] > 0


def test_a_program_in_a_section_with_a_question_mark_is_left_out_until_it_is_asked_for(options):
    require_object("subprogs.bpf.o")
    spec = ebpfpy.load_collection_spec(path_of("subprogs.bpf.o"))
    with ebpfpy.Collection(spec, options) as collection:
        assert "recursive" not in collection.programs
    spec.programs["recursive"].autoload = True
    with pytest.raises(EbpfError, match="program recursive"):  # the verifier refuses recursion
        ebpfpy.Collection(spec, options)


def test_function_and_line_information_reach_the_kernel(options):
    require_object("subprogs.bpf.o")
    spec = ebpfpy.load_collection_spec(path_of("subprogs.bpf.o"))
    with ebpfpy.Collection(spec, options) as collection:
        info = collection.programs["first"].info
        assert info.nr_func_info == len(spec.programs["first"].func_infos) == 5
        assert info.nr_line_info > 5
        assert info.btf_id
        with btf.Handle.from_id(info.btf_id) as handle:
            assert handle.spec().any_types_by_name("twice_and_one")


def test_a_program_keeps_the_constants_of_its_object_also_if_it_reads_none():
    spec = without_missing_maps("maps.bpf.o")
    with ebpfpy.Collection(spec) as collection:
        program = collection.programs["fill"]
        assert ".rodata" not in {each.name for each in program.spec.references}
        assert collection.maps[".rodata"].info.id in program.info.map_ids


def test_maps_of_data_sections_have_libbpfs_names():
    with ebpfpy.load_collection(path_of("globals-clang19-el.o")) as collection:
        names = {section: each.info.name for section, each in collection.maps.items()}
    assert names == {
        ".bss": "globals_.bss",
        ".data": "globals_.data",
        ".data.extra": ".data.extra",
        ".rodata": "globals_.rodata",
        ".rodata.limits": ".rodata.limits",
    }


def test_programs_without_types_load_too():
    spec = ebpfpy.load_collection_spec(path_of("rawtp.bpf.o"))
    spec.types = None
    for each in spec.maps.values():
        each.key = each.value = None
    with ebpfpy.Collection(spec) as collection:
        with link.attach(collection.programs["count_calls"]):
            os.getppid()
        assert collection.programs["count_calls"].info.btf_id == 0
        assert int.from_bytes(collection.maps["calls"][os.getpid()], "little") > 0


# --- blueprints are data ------------------------------------------------------------------------------


def test_loading_changes_no_blueprint_and_can_be_done_twice(options):
    spec = ebpfpy.load_collection_spec(path_of("demo.bpf.o"))
    code = {name: program.code for name, program in spec.programs.items()}
    contents = {name: bytes(each.contents or b"") for name, each in spec.maps.items()}
    with ebpfpy.Collection(spec, options) as one, ebpfpy.Collection(spec, options) as two:
        assert one.programs["on_exec"].info.id != two.programs["on_exec"].info.id
        assert one.maps["events"].info.id != two.maps["events"].info.id
    assert {name: program.code for name, program in spec.programs.items()} == code
    assert {name: bytes(each.contents or b"") for name, each in spec.maps.items()} == contents


def test_an_object_is_read_from_a_path_bytes_or_a_file():
    data = (TESTDATA / "rawtp.bpf.o").read_bytes()
    for source in (TESTDATA / "rawtp.bpf.o", path_of("rawtp.bpf.o"), data, io.BytesIO(data)):
        with ebpfpy.load_collection(source) as collection:
            assert set(collection.programs) == {"count_calls", "count_switches"}


def test_a_collection_closes_all_and_says_so_and_may_be_closed_again():
    collection = ebpfpy.load_collection(path_of("rawtp.bpf.o"))
    program, calls = collection.programs["count_calls"], collection.maps["calls"]
    assert f"fd {program.fileno()}" in repr(program)
    assert f"fd {calls.fileno()}" in repr(calls)
    assert repr(collection).endswith("2 programs, 2 maps>")
    collection.close()
    collection.close()
    assert program.closed
    assert calls.closed
    assert "closed" in repr(program)
    assert "closed" in repr(calls)
    with pytest.raises(ClosedError):
        program.fileno()
    with pytest.raises(ClosedError):
        calls[0]


def test_a_collection_that_is_dropped_open_warns(options):
    def drop():
        ebpfpy.load_collection(path_of("rawtp.bpf.o"), options)
        gc.collect()

    with pytest.warns(ResourceWarning):
        drop()


def test_a_program_built_by_hand_runs_and_gives_its_result():
    spec = collection_of(program_of([asm.mov_imm(0, 42), asm.exit_()]))
    with ebpfpy.Collection(spec) as collection:
        assert collection.programs["by_hand"].test_run(data=bytes(14)).retval == 42


# --- the printed interface ----------------------------------------------------------------------------


def test_the_lines_of_the_manual_about_loading_work_as_printed(tmp_path, cache):
    vmlinux = cache.kernel()
    cs = ebpfpy.load_collection_spec(path_of("demo.bpf.o"))
    assert set(cs.programs) == {"on_exec"}
    assert set(cs.maps) == {"events", "by_parent", ".rodata", ".bss"}
    assert {"only_pid", "seen"} <= set(cs.variables)
    assert cs.types.type_by_name("event", btf.Struct)
    coll = ebpfpy.Collection(
        cs,
        ebpfpy.CollectionOptions(
            programs=ebpfpy.ProgramOptions(kernel_types=[vmlinux], log_level=1),
            maps=ebpfpy.MapOptions(pin_path=tmp_path),
            cache=cache,
        ),
    )
    with coll:
        assert coll.programs["on_exec"].log
        assert coll.maps["events"].type is sys.MapType.RINGBUF
        coll.variables["dropped"].set(10)
        assert coll.variables["dropped"].get() == 10
    with ebpfpy.load_collection(path_of("demo.bpf.o")) as coll:
        assert coll.programs["on_exec"]


def test_the_lines_of_the_manual_about_reading_work_as_printed(options):
    spec = ebpfpy.load_collection_spec(path_of("demo.bpf.o"))
    spec.variables["only_ppid"].set(os.getpid())
    event = spec.types.type_by_name("event", btf.Struct)
    with ebpfpy.Collection(spec, options) as coll:
        lnk = link.attach(coll.programs["on_exec"])
        seen = []
        with ringbuf.Reader(coll.maps["events"], timeout=20) as reader:
            started = [triggers.run_true()]
            for record in reader:
                seen.append(btf.decode(event, record)["pid"])
                break

            async def read():
                async for record in reader:
                    seen.append(btf.decode(event, record)["pid"])
                    break

            started.append(triggers.run_true())
            asyncio.run(read())
        assert seen == started
        assert coll.maps["by_parent"][os.getpid()] == 2
        lnk.detach()
        triggers.run_true()
        assert coll.maps["by_parent"][os.getpid()] == 2


def test_fixups_of_a_loaded_program_say_how_they_were_found(options):
    with ebpfpy.load_collection(path_of("demo.bpf.o"), options) as collection:
        fixups = collection.programs["on_exec"].fixups
    assert {fixup.kind for fixup in fixups} == {core.RelocationKind.BYTE_OFF}
    assert all(fixup.spec.name == "vmlinux" for fixup in fixups)
    assert "struct task_struct.real_parent" in " ".join(fixup.local for fixup in fixups)
    assert "chosen from vmlinux" in fixups[0].explain()


@pytest.mark.parametrize("source", [bytearray(b"x"), memoryview(b"x")])
def test_what_is_no_source_is_an_input_error(source):
    with pytest.raises(InputError):
        ebpfpy.load_collection(source)


def test_a_target_is_found_without_loading_anything(cache):
    target = ebpfpy.loader.find_target(cache, sys.AttachType.TRACE_RAW_TP, "sched_switch")
    assert (target.name, target.module) == ("sched_switch", None)
    assert str(target) == f"vmlinux:sched_switch (type id {target.type_id})"
    with pytest.raises(TargetNotFoundError, match="no function 'no_such_function'"):
        ebpfpy.loader.find_target(cache, sys.AttachType.TRACE_FEXIT, "no_such_function")
