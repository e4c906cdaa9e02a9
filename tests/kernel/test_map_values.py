"""Maps of maps and program arrays: their contents in the object, and put in afterwards."""

import pytest

import ebpfpy
from ebpfpy import sys
from ebpfpy.errors import InputError, KernelError
from ebpfpy.loader import create_map
from tests.kernel.blueprints import ORDER, collection_of, path_of

PACKET = bytes(64)


@pytest.fixture
def spec():
    return ebpfpy.load_collection_spec(path_of("map_values.bpf.o"))


def test_a_chain_of_tail_calls_runs_as_the_object_declares_it(spec):
    with ebpfpy.Collection(spec) as collection:
        assert collection.programs["chain"].run(PACKET).retval == 2
        assert collection.variables["steps"].get() == 111
        array = collection.maps["steps_in_order"]
        ids = {name: program.info.id for name, program in collection.programs.items()}
        assert dict(array.items()) == {
            (0).to_bytes(4, ORDER): ids["step_one"],
            (2).to_bytes(4, ORDER): ids["step_two"],
        }


def test_inner_maps_lie_at_the_indexes_that_the_object_says_and_holes_stay_empty(spec):
    with ebpfpy.Collection(spec) as collection:
        collection.programs["chain"].run(PACKET)
        outer, first, second = (collection.maps[name] for name in ("of_maps", "first", "second"))
        assert dict(outer.items()) == {0: first.info.id, 2: second.info.id}
        assert collection.variables["sums"].get() == [5, 0, 7]
        assert (first[0], second[0]) == (5, 7)


def test_maps_and_programs_are_put_in_and_taken_out_as_objects(spec):
    with ebpfpy.Collection(spec) as collection:
        outer, array = collection.maps["of_maps"], collection.maps["steps_in_order"]
        outer[1] = collection.maps["second"]
        array[1] = collection.programs["step_two"]
        assert collection.programs["chain"].run(PACKET).retval == 2
        assert collection.variables["steps"].get() == 101
        del array[1]
        del array[0]
        assert collection.programs["chain"].run(PACKET).retval == 0xFFFFFFFF
        with create_map(spec.maps["by_template"].inner, None) as inner:
            by_template = collection.maps["by_template"]
            by_template[7] = inner
            assert by_template[7] == inner.info.id
            del by_template[7]
            assert 7 not in by_template


def test_an_inner_map_unlike_the_template_is_refused(spec):
    with ebpfpy.Collection(spec) as collection, pytest.raises(KernelError, match="map by_template"):
        collection.maps["by_template"][1] = collection.maps["first"]


def test_the_first_map_is_filled_whatever_the_order_of_the_maps(spec):
    spec.maps = dict(reversed(spec.maps.items()))
    with ebpfpy.Collection(spec) as collection:
        assert collection.programs["chain"].run(PACKET).retval == 2


def test_an_element_whose_program_is_left_out_stays_empty(spec):
    spec.programs["step_two"].autoload = False
    with ebpfpy.Collection(spec) as collection:
        assert collection.programs["chain"].run(PACKET).retval == 1
        assert len(collection.maps["steps_in_order"].items()) == 1
        assert collection.notes == ["map steps_in_order: element 2 stays empty: program step_two is not loaded"]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("nowhere", "which the object does not have; there are: step_"),
        ("first", "which is a map; there are: step_"),
        ("step_two", "which is not loaded: set spec.programs"),
    ],
)
def test_an_element_is_not_left_empty_where_somebody_wrote_a_program(spec, name, why):
    spec.programs["step_two"].autoload = False
    spec.maps["steps_in_order"].slots[1] = name
    with pytest.raises(InputError, match=f"map steps_in_order: element 1 is to be program '{name}', {why}"):
        ebpfpy.Collection(spec)


def test_slots_can_be_edited_before_loading(spec):
    spec.maps["steps_in_order"].slots = {1: "step_two"}
    spec.maps["of_maps"].slots[1] = "first"
    with ebpfpy.Collection(spec) as collection:
        assert collection.programs["chain"].run(PACKET).retval == 2
        assert collection.variables["steps"].get() == 101
        assert set(collection.maps["of_maps"]) == {0, 1, 2, 3}
        assert len(collection.maps["of_maps"].items()) == 3
    spec.maps["of_maps"].slots[3] = "nowhere"
    with pytest.raises(InputError, match="map of_maps: element 3 is to be map 'nowhere'"):
        ebpfpy.Collection(spec)


def test_maps_and_programs_are_values_only_of_maps_that_hold_them(spec):
    with ebpfpy.Collection(spec) as collection:
        maps, program = collection.maps, collection.programs["step_one"]
        with pytest.raises(InputError, match="map first of type ARRAY holds no programs: program step_one cannot be a"):
            maps["first"][0] = program
        with pytest.raises(
            InputError, match="map steps_in_order of type PROG_ARRAY holds no maps: map first cannot be"
        ):
            maps["steps_in_order"][1] = maps["first"]
        with pytest.raises(InputError, match="map of_maps of type ARRAY_OF_MAPS holds no programs"):
            maps["of_maps"][1] = program
        with pytest.raises(KernelError, match="a value of a ARRAY_OF_MAPS is a map like its template: "):
            maps["of_maps"][1] = maps["steps_in_order"]


def test_a_map_of_maps_without_a_template_says_what_is_missing():
    outer = ebpfpy.MapSpec("outer", sys.MapType.ARRAY_OF_MAPS, 4, 4, 1)
    with pytest.raises(InputError, match="map outer of maps does not say what is inside"):
        ebpfpy.Collection(collection_of(maps=[outer]))


def test_where_memory_comes_from_reaches_the_kernel(spec):
    assert spec.maps["placed"].numa_node == 0
    with ebpfpy.Collection(spec) as collection:
        assert collection.maps["placed"].info.map_flags & sys.MapFlags.NUMA_NODE


def test_every_number_of_a_map_can_be_written_with_ulong():
    with ebpfpy.load_collection(path_of("map_numbers.bpf.o")) as collection:
        info = collection.maps["numbered"].info
        assert (info.type, info.key_size, info.value_size, info.max_entries) == (sys.MapType.HASH, 4, 8, 32)
        assert info.map_flags == sys.MapFlags.NUMA_NODE | sys.MapFlags.NO_PREALLOC
