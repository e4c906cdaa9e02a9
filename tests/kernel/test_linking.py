"""What is linked into a program: weak and extern functions, exception callbacks; and arenas with their variables."""

import struct

import pytest

import ebpfpy
from ebpfpy import btf, features
from ebpfpy.errors import ExternError
from ebpfpy.sys import MapType
from tests.kernel import features as machine
from tests.kernel.blueprints import path_of

PACKET = bytes(64)


def test_two_objects_that_bpftool_joined_run_as_one():
    with ebpfpy.load_collection(path_of("linked.bpf.o")) as collection:
        assert collection.programs["answer"].run(PACKET).retval == 100 + 1010 + 1
        assert collection.programs["other"].run(PACKET).retval == 1015
        assert collection.variables["calls"].get() == 6
        assert collection.maps["shared"][1] == 1


def test_line_and_function_information_follows_the_joined_code():
    spec = ebpfpy.load_collection_spec(path_of("linked.bpf.o"))
    with ebpfpy.Collection(spec) as collection:
        program = collection.programs["answer"]
        names = ["answer", "weak_number", "number_of_two", "same_name", "same_name"]
        assert [each.name for each in program.spec.functions] == names
        assert program.info.nr_func_info == 5
        assert program.info.nr_line_info == len(program.spec.line_infos)
        files = {spec.types.string(row[1]) for row in program.spec.line_infos}
        assert {name.rpartition("/")[2] for name in files} == {"linked_one.bpf.c", "linked_two.bpf.c"}


@pytest.mark.parametrize(("program", "result"), [("classify", 1), ("inspect", 1)])
def test_a_parameter_that_is_tagged_as_the_context_is_the_context_on_any_kernel(program, result):
    spec = ebpfpy.load_collection_spec(path_of("context_tags.bpf.o"))
    for name in set(spec.programs) - {program}:
        del spec.programs[name]
    with ebpfpy.Collection(spec) as collection:
        assert collection.programs[program].run(PACKET).retval == result


def no_exceptions():
    """Why programs cannot throw here, or None."""
    kernel = btf.load_kernel_spec()
    return None if kernel.ids_by_name(b"bpf_throw") else "this kernel has no exceptions (bpf_throw)"


def test_a_program_that_throws_ends_with_its_cookie_or_in_its_callback():
    machine.since("6.7", no_exceptions())
    with ebpfpy.load_collection(path_of("exceptions.bpf.o")) as collection:
        assert collection.programs["without_callback"].run(PACKET).retval == 7
        assert collection.programs["with_callback"].run(PACKET).retval == 107
        assert collection.programs["with_callback"].info.nr_func_info == 3


def test_a_kernel_without_exceptions_is_told_from_the_name():
    if no_exceptions() is None:
        with ebpfpy.load_collection(path_of("exceptions.bpf.o")):
            return
    with pytest.raises(ExternError, match="kernel function 'bpf_throw': not found"):
        ebpfpy.load_collection(path_of("exceptions.bpf.o"))


# --- arenas -------------------------------------------------------------------------------------------


@pytest.fixture
def arena():
    support = features.have_map_type(MapType.ARENA)
    machine.since("6.9", None if support else f"{support}")
    return ebpfpy.load_collection_spec(path_of("arena.bpf.o"))


def test_a_program_follows_pointers_that_user_space_put_into_an_arena(arena):
    arena.variables["total"].set(100)
    with ebpfpy.Collection(arena) as collection:
        nodes = collection.maps["arena"]
        base, memory = nodes.address, nodes.memory()
        struct.pack_into("=QQ", memory, 4096, base + 8192, 5)
        struct.pack_into("=QQ", memory, 8192, 0, 6)
        collection.variables["head"].set(base + 4096)
        assert collection.programs["walk"].run().retval == 0
        value = {name: variable.get() for name, variable in collection.variables.items()}
        assert (value["length"], value["sum"], value["total"]) == (2, 11, 102)


def test_an_arena_lies_at_the_address_that_its_definition_asks_for(arena):
    arena.maps["arena"].map_extra = 1 << 44
    with ebpfpy.Collection(arena) as collection:
        nodes = collection.maps["arena"]
        assert nodes.address == 1 << 44
        assert collection.variables["total"].get() == 40
        collection.programs["walk"].run()
        assert collection.variables["total"].get() == 42
        assert len(nodes.memory()) == 16 * 4096
        with pytest.raises(OSError, match="map arena: mmap"), ebpfpy.Collection(arena):
            pass  # that place is taken
