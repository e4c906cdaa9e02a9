"""Global variables: constants set before loading, live values while programs run."""

import os

import pytest

import ebpfpy
from ebpfpy import link
from ebpfpy.errors import InputError, UnsupportedError
from tests.kernel.blueprints import path_of

OBJECTS = ["globals-clang14-el.o", "globals-clang19-el.o", "globals.bpf.o"]


@pytest.fixture(params=OBJECTS)
def spec(request):
    """Blueprint of an object with variables of many types; only this process's system calls count."""
    spec = ebpfpy.load_collection_spec(path_of(request.param))
    spec.variables["only_pid"].set(os.getpid())
    return spec


def run(collection, calls=10):
    with link.attach(collection.programs["use_globals"]):
        for _ in range(calls):
            os.getppid()


def test_every_type_of_variable_is_read_as_its_python_value(spec):
    with ebpfpy.Collection(spec) as collection:
        value = {name: variable.get() for name, variable in collection.variables.items()}
    assert value["only_pid"] == os.getpid()
    assert value["enabled"] is True
    assert value["mode"] == "MODE_ON"
    assert value["greeting"] == "hello"
    assert value["limit"] == 0x1122334455667788
    assert (value["byte"], value["half"], value["word"], value["quad"]) == (
        0x12,
        0x1234,
        0x12345678,
        0x123456789ABCDEF0,
    )
    assert value["negative"] == -2
    assert value["pair"] == {"left": 1, "right": -1}
    assert value["numbers"] == [10, 20, 30, 40]
    assert value["extra"] == 77
    assert value["results"] == [0] * 8


def test_the_program_computes_with_the_values_of_every_section(spec):
    with ebpfpy.Collection(spec) as collection:
        assert collection.variables["runs"].get() == 0
        run(collection)
        value = {name: variable.get() for name, variable in collection.variables.items()}
    runs = value["runs"]
    assert runs >= 10
    assert value["numbers"] == [10, 20, 30, 40 + 7 * runs]
    assert value["extra"] == 77 + runs
    assert value["sum"] == 0x12 + 0x1234 + 0x12345678 - 2 + 1 + 30 + 100
    results = value["results"]
    assert results[:4] == [0x123456789ABCDEF0, 0x1122334455667788, (1 << 64) - 5, ord("e")]
    assert results[4:] == [200 + runs, 77 + runs, (1 << 64) - 1, 100 * runs]


def test_counters_in_bss_move_while_the_program_runs(spec):
    with ebpfpy.Collection(spec) as collection:
        runs = collection.variables["runs"]
        seen = []
        for _ in range(3):
            run(collection, 5)
            seen.append(runs.get())
        assert 5 <= seen[0] <= seen[1] - 5 <= seen[2] - 10
        before = runs.get()
        os.getppid()
        assert runs.get() == before, "detached"


def test_a_value_that_is_set_live_is_what_the_program_goes_on_with(spec):
    with ebpfpy.Collection(spec) as collection:
        collection.variables["extra"].set(1000)
        collection.variables["pair"].set({"left": 500, "right": -7})
        collection.variables["numbers"].set([1, 2, 3])
        collection.variables["runs"].set(0)
        run(collection)
        runs = collection.variables["runs"].get()
        assert collection.variables["extra"].get() == 1000 + runs
        assert collection.variables["results"].get()[6] == (1 << 64) - 7
        assert collection.variables["numbers"].get() == [1, 2, 3, 7 * runs]
        collection.variables["quad"].set(bytes(range(8)))
        assert collection.variables["quad"].get() == int.from_bytes(bytes(range(8)), "little")


def test_a_constant_set_on_the_blueprint_steers_the_program(spec):
    spec.variables["enabled"].set(0)
    spec.variables["greeting"].set(b"ab\0\0\0\0\0\0")
    with ebpfpy.Collection(spec) as collection:
        run(collection)
        assert collection.variables["runs"].get() == 0
        assert collection.variables["enabled"].get() is False
        assert collection.variables["greeting"].get() == "ab"


def test_a_constant_cannot_be_changed_after_loading(spec):
    with ebpfpy.Collection(spec) as collection:
        for name in ("only_pid", "limit"):
            assert collection.variables[name].read_only
            with pytest.raises(UnsupportedError, match=f"variable {name} is a constant since the object was loaded"):
                collection.variables[name].set(1)
        assert not collection.variables["word"].read_only


def test_the_blueprint_keeps_its_value_when_the_loaded_variable_changes(spec):
    with ebpfpy.Collection(spec) as collection:
        collection.variables["word"].set(1)
        assert spec.variables["word"].value == (0x12345678).to_bytes(4, "little")
    with ebpfpy.Collection(spec) as collection:
        assert collection.variables["word"].get() == 0x12345678


@pytest.mark.parametrize(
    ("name", "value"),
    [("byte", 256), ("byte", -1), ("word", "text"), ("word", b"123"), ("pair", {"middle": 1}), ("numbers", [0] * 5)],
)
def test_a_value_that_does_not_fit_is_an_input_error_and_changes_nothing(name, value):
    with ebpfpy.load_collection(path_of("globals.bpf.o")) as collection:
        variable = collection.variables[name]
        before = variable.get()
        with pytest.raises(InputError):
            variable.set(value)
        assert variable.get() == before


def test_variables_show_where_they_are():
    with ebpfpy.load_collection(path_of("globals.bpf.o")) as collection:
        assert repr(collection.variables["extra"]) == "<Variable extra in .data.extra>"


def test_a_section_can_be_enlarged_before_loading_and_the_rest_is_zero():
    spec = ebpfpy.load_collection_spec(path_of("globals.bpf.o"))
    section = spec.maps[".data.extra"]
    section.value_size = 4096
    section.value = None
    with ebpfpy.Collection(spec) as collection:
        memory = collection.maps[".data.extra"].memory()
        assert len(memory) == 4096
        assert int.from_bytes(memory[:4], "little") == 77
        assert not any(memory[4:])


def test_static_variables_are_variables_too():
    with ebpfpy.load_collection(path_of("globals.bpf.o")) as collection:
        collection.variables["static_second"].set(1000)
        assert collection.variables["static_second"].get() == 1000
        assert collection.variables["static_constant"].get() == -5
        assert collection.variables["static_constant"].read_only
