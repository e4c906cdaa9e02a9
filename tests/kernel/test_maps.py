"""Maps as mappings: keys and values of every kind, data sections, pinning."""

import errno
import os
import threading
import uuid
from contextlib import contextmanager
from pathlib import Path

import attrs
import pytest

import ebpfpy
from ebpfpy import asm, link, sys
from ebpfpy.errors import InputError, KernelError, UnsupportedError
from ebpfpy.loader import create_map
from tests.kernel import features
from tests.kernel.blueprints import ORDER, collection_of, path_of, program_of
from tests.kernel.needs import without_missing_maps

CPUS = sys.possible_cpus()


@pytest.fixture(params=["maps-clang14-el.o", "maps-clang19-el.o", "maps.bpf.o"])
def maps(request):
    """The maps of an object, loaded and not filled by anybody."""
    with load_maps(name=request.param) as collection:
        yield collection.maps


def load_maps(options=None, *, name="maps.bpf.o"):
    """The object's maps, less those of a type that this kernel does not have."""
    return ebpfpy.Collection(without_missing_maps(name), options)


@contextmanager
def map_of(kind, key_size=4, value_size=4, max_entries=4, **fields):
    spec = ebpfpy.MapSpec("by_hand", kind, key_size, value_size, max_entries, **fields)
    with ebpfpy.Collection(collection_of(maps=[spec])) as collection:
        yield collection.maps["by_hand"]


# --- the maps of an object ----------------------------------------------------------------------------


def test_the_kernel_has_what_the_object_asks_for(maps):
    for name, each in maps.items():
        info, spec = each.info, each.spec
        assert (info.type, info.key_size, info.value_size) == (spec.type, spec.key_size, spec.value_size), name
        if spec.max_entries:
            assert info.max_entries == each.max_entries == spec.max_entries
    if "bloom" in maps:
        assert maps["bloom"].info.map_extra == 3
    assert maps["sized"].info.map_flags == sys.MapFlags.NO_PREALLOC
    assert maps["perf"].max_entries == CPUS
    assert maps["hash"].info.btf_value_type_id
    assert not maps["sized"].info.btf_value_type_id


def test_keys_and_values_that_are_structs_are_dicts(maps):
    hash_ = maps["hash"]
    key, value = {"pid": 1, "cpu": 2}, {"count": 1 << 40, "comm": "python"}
    assert key not in hash_
    hash_[key] = value
    assert hash_[key] == value
    assert key in hash_
    assert list(hash_) == [key]
    assert list(hash_.items()) == [(key, value)]
    assert list(hash_.values()) == [value]
    assert len(hash_) == 1
    del hash_[key]
    with pytest.raises(KeyError):
        hash_[key]
    with pytest.raises(KeyError):
        del hash_[key]
    assert hash_.get(key, 7) == 7


def test_a_map_without_types_takes_bytes_and_integers_and_gives_bytes(maps):
    sized = maps["sized"]
    sized[0x0102] = b"twelve bytes"
    assert list(sized) == [(0x0102).to_bytes(8, ORDER)]
    assert sized[0x0102] == b"twelve bytes"
    assert sized.pop(0x0102) == b"twelve bytes"
    assert len(sized) == 0


def test_an_array_has_every_index_and_nothing_can_be_deleted(maps):
    array = maps["array"]
    assert len(array) == 8
    assert dict(array) == dict.fromkeys(range(8), 0)
    array[3] = 5
    assert array[3] == 5
    assert dict(array.items())[3] == 5
    with pytest.raises(KeyError):
        array[8]
    with pytest.raises(KernelError, match="map array"):
        array[8] = 1
    with pytest.raises(KernelError, match="map array"):
        del array[3]


def test_an_array_that_can_be_mapped_is_memory(maps):
    array = maps["array"]
    array[2] = 0x1122
    memory = array.memory()
    assert memory is array.memory()
    assert int.from_bytes(memory[16:24], ORDER) == 0x1122
    memory[16:24] = (77).to_bytes(8, ORDER)
    assert array[2] == 77
    with pytest.raises(UnsupportedError, match="MMAPABLE"):
        maps["hash"].memory()


def test_per_cpu_values_are_lists_with_an_element_for_each_cpu(maps):
    per_cpu = maps["percpu_hash"]
    per_cpu[7] = list(range(CPUS))
    assert per_cpu[7] == list(range(CPUS))
    per_cpu[8] = 9  # the same everywhere
    assert per_cpu[8] == [9] * CPUS
    assert sorted(per_cpu) == [7, 8]
    with pytest.raises(InputError, match=f"{CPUS + 1} values for {CPUS} CPUs"):
        per_cpu[7] = [0] * (CPUS + 1)
    structs = maps["percpu_array"]
    structs[1] = [{"count": cpu, "comm": f"cpu{cpu}"} for cpu in range(CPUS)]
    assert [value["comm"] for value in structs[1]] == [f"cpu{cpu}" for cpu in range(CPUS)]
    assert len(structs) == 2


def test_an_lru_map_drops_old_entries_instead_of_refusing_new_ones(maps):
    lru = maps["lru"]
    for number in range(2000):
        lru[number] = number
    assert 0 < len(lru) <= 512
    assert all(key == value for key, value in lru.items())


def test_a_map_without_keys_says_so(maps):
    for name in {"ring", "bloom"} & maps.keys():
        with pytest.raises(UnsupportedError, match=f"map {name} .*no keys"):
            list(maps[name])
    with pytest.raises(UnsupportedError, match="map ring of type RINGBUF"):
        maps["ring"][b""]


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (b"123", 0, "key of map array has 4 bytes, not 3"),
        (1 << 32, 0, "does not fit"),
        ("one", 0, "int"),
        (0, b"1234", "value of map array has 8 bytes, not 4"),
        (0, -1, "does not fit|out of range|unsigned"),
        (0, {"count": 1}, "int"),
    ],
)
def test_what_does_not_fit_is_an_input_error(key, value, message):
    with load_maps() as collection:
        with pytest.raises(InputError) as caught:
            collection.maps["array"][key] = value
        assert any(text in str(caught.value) for text in message.split("|")), caught.value


def test_a_map_is_a_mutable_mapping():
    with map_of(sys.MapType.HASH, max_entries=64) as numbers:
        numbers.update({number: number * number for number in range(10)})
        assert numbers.setdefault(3, 0) == (9).to_bytes(4, ORDER)
        assert len(numbers.keys()) == 10
        numbers.popitem()
        assert len(numbers) == 9
        numbers.clear()
        assert len(numbers) == 0
        assert numbers.pop(1, None) is None
        assert numbers == numbers  # noqa: PLR0124
        assert numbers != {}
        assert {numbers: 1}[numbers] == 1


def test_a_full_map_refuses_and_flags_say_what_may_be_overwritten():
    with map_of(sys.MapType.HASH, max_entries=2) as numbers:
        numbers[1] = numbers[2] = 0
        with pytest.raises(KernelError, match="E2BIG"):
            numbers[3] = 0
        key = (1).to_bytes(4, ORDER)
        with pytest.raises(FileExistsError):
            numbers.update_bytes(key, bytes(4), flags=1)
        with pytest.raises(FileNotFoundError):
            numbers.update_bytes((9).to_bytes(4, ORDER), bytes(4), flags=2)
        assert numbers.lookup_bytes(key) == bytes(4)


def test_a_ring_buffers_size_becomes_whole_pages_and_a_power_of_two():
    with map_of(sys.MapType.RINGBUF, 0, 0, 5000) as ring:
        assert ring.max_entries == 8192


@pytest.mark.parametrize("kind", [sys.MapType.QUEUE, sys.MapType.STACK])
def test_queues_are_made_and_have_no_keys(kind):
    with map_of(kind, 0, 4, 4) as queue, pytest.raises(UnsupportedError, match="has no keys"):
        list(queue)


def test_threads_share_a_map():
    with map_of(sys.MapType.HASH, max_entries=4096) as numbers:

        def fill(start):
            for number in range(start, start + 200):
                numbers[number] = number

        threads = [threading.Thread(target=fill, args=(start,)) for start in range(0, 1600, 200)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert {int.from_bytes(key, ORDER) for key in numbers} == set(range(1600))


def test_programs_fill_the_maps_and_mappings_show_it():
    with load_maps() as collection:
        maps = collection.maps
        with link.attach(collection.programs["fill"]):
            for _ in range(100):
                os.getppid()
        me = os.getpid()
        mine = [(key, value) for key, value in maps["hash"].items() if key["pid"] == me]
        comm = Path("/proc/self/comm").read_text().strip()
        assert mine
        assert {value["comm"] for _, value in mine} == {comm}
        assert sum(value["count"] for _, value in mine) >= 100
        assert maps["array"][0] >= 100
        assert sum(maps["percpu_hash"][me]) >= 100
        assert sum(value["count"] for value in maps["percpu_array"][0]) >= 100
        assert maps["lru"][me] == 1


def test_the_switches_of_every_cpu_are_counted():
    with ebpfpy.load_collection(path_of("rawtp.bpf.o")) as collection:
        with link.attach(collection.programs["count_switches"]):
            waiting = threading.Event()
            for _ in range(20):
                waiting.wait(0.001)
        counts = collection.maps["switches"][0]
        assert len(counts) == CPUS
        assert sum(counts) >= 20


# --- data sections ------------------------------------------------------------------------------------


def test_a_data_section_is_a_map_whose_value_is_a_dict_of_its_variables():
    with ebpfpy.load_collection(path_of("globals.bpf.o")) as collection:
        data = collection.maps[".data"][0]
        assert data["word"] == 0x12345678
        assert data["pair"] == {"left": 1, "right": -1}
        assert len(collection.maps[".data"]) == 1
        assert collection.maps[".bss"].info.name.endswith(".bss")


def test_constants_are_frozen_in_the_kernel():
    with ebpfpy.load_collection(path_of("globals.bpf.o")) as collection:
        constants = collection.maps[".rodata"]
        before = constants.lookup_bytes(bytes(4))
        with pytest.raises(PermissionError, match="frozen"):
            constants.update_bytes(bytes(4), bytes(len(before)))
        assert constants.lookup_bytes(bytes(4)) == before
        with pytest.raises(TypeError):
            constants.memory()[0:1] = b"x"


# --- pinning ------------------------------------------------------------------------------------------


@pytest.fixture
def directory():
    features.require(features.no_bpffs())
    path = Path(features.BPFFS) / f"ebpfpy-{uuid.uuid4().hex}"
    path.mkdir()
    yield path
    for pin in path.iterdir():
        pin.unlink()
    path.rmdir()


def pinned_at(directory):
    return ebpfpy.CollectionOptions(maps=ebpfpy.MapOptions(pin_path=directory))


def test_a_map_pinned_by_name_is_shared_by_all_who_load_the_object(directory):
    with load_maps(pinned_at(directory)) as first:
        assert [path.name for path in directory.iterdir()] == ["pinned"]
        first.maps["pinned"][0] = 4711
        number = first.maps["pinned"].info.id
        with load_maps(pinned_at(str(directory))) as second:
            assert second.maps["pinned"].info.id == number
            assert second.maps["hash"].info.id != first.maps["hash"].info.id
    with load_maps(pinned_at(directory)) as third:
        assert third.maps["pinned"][0] == 4711, "the pin keeps it alive"


def test_a_data_section_is_pinned_by_name_without_its_dots(directory):
    spec = without_missing_maps("maps.bpf.o")
    section = next(each for each in spec.maps.values() if each.data_section)
    section.pinning = 1
    with ebpfpy.Collection(spec, pinned_at(directory)) as collection:
        assert (directory / section.name.replace(".", "_")).exists()
        with ebpfpy.Collection(spec, pinned_at(directory)) as again:
            assert again.maps[section.name].info.id == collection.maps[section.name].info.id


def test_one_blueprint_under_two_keys_is_refused():
    spec = ebpfpy.load_collection_spec(path_of("maps.bpf.o"))
    name = next(iter(spec.maps))
    spec.maps["other"] = spec.maps[name]
    with pytest.raises(InputError, match=f"map {name}: two maps of the blueprint have this name: '{name}', 'other'"):
        ebpfpy.Collection(spec)


def test_without_a_pin_path_nothing_is_pinned():
    with load_maps() as one, load_maps() as two:
        assert one.maps["pinned"].info.id != two.maps["pinned"].info.id


def test_a_pinned_map_of_another_shape_is_refused_with_every_difference(directory):
    load_maps(pinned_at(directory)).close()
    spec = ebpfpy.load_collection_spec(path_of("maps.bpf.o"))
    pinned = spec.maps["pinned"]
    pinned.value = None
    pinned.value_size, pinned.max_entries, pinned.flags = 8, 3, int(sys.MapFlags.MMAPABLE)
    with pytest.raises(InputError) as caught:
        ebpfpy.Collection(spec, pinned_at(directory))
    text = str(caught.value)
    assert str(directory / "pinned") in text
    assert "value_size is 4 there, 8 here" in text
    assert "max_entries is 1 there, 3 here" in text
    assert "flags are 0x0 there, 0x400 here" in text


def test_what_is_pinned_there_and_no_map_is_refused(directory):
    with ebpfpy.load_collection(path_of("rawtp.bpf.o")) as other:
        other.programs["count_calls"].pin(directory / "pinned")
    with pytest.raises(InputError, match="no map"):
        load_maps(pinned_at(directory))


def test_a_directory_that_is_no_bpf_file_system_is_refused(tmp_path):
    with pytest.raises(KernelError, match="BPF_OBJ_PIN"):
        load_maps(pinned_at(tmp_path))
    with pytest.raises(FileNotFoundError):
        load_maps(pinned_at(tmp_path / "missing"))


@pytest.mark.parametrize(
    ("kind", "sizes"),
    [
        (sys.MapType.RINGBUF, (0, 0, 5000)),
        (sys.MapType.PERF_EVENT_ARRAY, (4, 4, 0)),
        (sys.MapType.HASH, (4, 8, 16)),
        (sys.MapType.PERCPU_ARRAY, (4, 8, 16)),
        (sys.MapType.DEVMAP, (4, 4, 16)),
    ],
)
def test_a_map_whose_size_or_flags_the_kernel_rounds_is_still_the_same_map(directory, kind, sizes):
    spec = collection_of(maps=[ebpfpy.MapSpec("rounded", kind, *sizes, pinning=1)])
    with (
        ebpfpy.Collection(spec, pinned_at(directory)) as one,
        ebpfpy.Collection(spec, pinned_at(directory)) as two,
    ):
        assert one.maps["rounded"].info.id == two.maps["rounded"].info.id


def test_loaders_that_race_for_a_pin_end_up_with_one_map(directory):
    spec = collection_of(maps=[ebpfpy.MapSpec("raced", sys.MapType.ARRAY, 4, 4, 1, pinning=1)])
    ids, errors = [], []
    barrier = threading.Barrier(8)

    def load():
        barrier.wait()
        try:
            with ebpfpy.Collection(spec, pinned_at(directory)) as collection:
                ids.append(collection.maps["raced"].info.id)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not errors
    assert len(set(ids)) == 1


def test_a_map_is_pinned_by_hand_and_outlives_its_collection(directory):
    with map_of(sys.MapType.ARRAY) as array:
        array[1] = 5
        array.pin(directory / "mine")
        spec = array.spec
    with ebpfpy.Map(sys.obj_get(directory / "mine"), spec) as again:
        assert again[1] == (5).to_bytes(4, ORDER)


def test_a_map_can_be_made_alone():
    with create_map(ebpfpy.MapSpec("alone", sys.MapType.HASH, 4, 4, 4), None) as alone:
        alone[1] = 2
        assert len(alone) == 1
    twin = attrs.evolve(alone.spec, name="x" * 40)
    with create_map(twin, None) as long:
        assert long.info.name == "x" * 15


def test_a_map_that_is_frozen_takes_no_changes_from_user_space():
    with map_of(sys.MapType.ARRAY) as array:
        array[1] = 5
        array.freeze()
        assert int.from_bytes(array[1], ORDER) == 5
        with pytest.raises(PermissionError, match="frozen or read-only"):
            array[1] = 6


# --- what is no key or value --------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["abcd", 5, None, 1.5, [1, 2, 3, 4]], ids=repr)
def test_raw_keys_and_values_are_bytes_and_nothing_else(wrong):
    with map_of(sys.MapType.HASH) as made:
        with pytest.raises(InputError, match=r"key of map by_hand is bytes here, not "):
            made.lookup_bytes(wrong)
        with pytest.raises(InputError, match=r"key of map by_hand is bytes here, not "):
            made.update_bytes(wrong, bytes(4))
        with pytest.raises(InputError, match=r"value of map by_hand is bytes here, not "):
            made.update_bytes(bytes(4), wrong)


def test_raw_keys_and_values_may_be_views_of_memory():
    with map_of(sys.MapType.HASH) as made:
        made.update_bytes(bytearray(b"key1"), memoryview(b"val1"))
        assert made.lookup_bytes(memoryview(b"key1")) == b"val1"


@pytest.mark.parametrize("flags", ["x", None, -1, 1 << 64])
def test_flags_of_an_update_are_a_number(flags):
    with map_of(sys.MapType.HASH) as made, pytest.raises(InputError, match="flags are a number of 64 bits, not "):
        made.update_bytes(bytes(4), bytes(4), flags=flags)


@pytest.mark.parametrize("kind", [sys.MapType.SOCKMAP, sys.MapType.SOCKHASH, sys.MapType.REUSEPORT_SOCKARRAY])
def test_looking_up_a_socket_needs_values_of_8_bytes_and_the_error_says_so(kind):
    with map_of(kind, value_size=8) as made:
        assert made.lookup_bytes(bytes(4)) is None
    with map_of(kind, value_size=4) as made, pytest.raises(KernelError, match="a socket's cookie of 8 bytes") as caught:
        made.lookup_bytes(bytes(4))
    assert caught.value.errno == errno.ENOSPC
    assert f"looked up in a {kind.name}" in str(caught.value)


# --- what a type of map does not do -------------------------------------------------------------------


OPERATIONS = {
    "lookup": lambda made: made.lookup_bytes(bytes(made.spec.key_size)),
    "update": lambda made: made.update_bytes(bytes(made.spec.key_size), bytes(made.spec.value_size)),
    "delete": lambda made: made.__delitem__(bytes(made.spec.key_size)),
}


@pytest.mark.parametrize(
    ("kind", "operation", "why"),
    [
        (sys.MapType.PERF_EVENT_ARRAY, "lookup", "the kernel looks up values of no map of type PERF_EVENT_ARRAY"),
        (sys.MapType.CGROUP_ARRAY, "lookup", "the kernel looks up values of no map of type CGROUP_ARRAY"),
        (sys.MapType.XSKMAP, "lookup", "the kernel looks up values of no map of type XSKMAP"),
        (sys.MapType.PERF_EVENT_ARRAY, "update", "a value of a PERF_EVENT_ARRAY is the descriptor of a perf event"),
        (sys.MapType.CGROUP_ARRAY, "update", "a value of a CGROUP_ARRAY is the descriptor of a cgroup"),
        (sys.MapType.PROG_ARRAY, "update", "a value of a PROG_ARRAY is the descriptor of a program"),
        (sys.MapType.SOCKMAP, "update", "what goes into a SOCKMAP is a socket"),
        (sys.MapType.ARRAY, "delete", "every key of a ARRAY is always there"),
    ],
)
def test_what_a_type_of_map_does_not_do_is_said(kind, operation, why):
    # descriptor 0 is no program, event, cgroup or socket
    with map_of(kind) as made, pytest.raises(KernelError, match=rf"map by_hand: BPF_MAP_\w+: .*\({why}"):
        OPERATIONS[operation](made)


def test_programs_of_two_types_in_one_array_are_refused_and_the_error_says_why():
    code = [asm.mov_imm(0, 0), asm.exit_()]
    kinds = (sys.ProgramType.XDP, sys.ProgramType.SOCKET_FILTER)
    array = ebpfpy.MapSpec("jumps", sys.MapType.PROG_ARRAY, key_size=4, value_size=4, max_entries=4)
    programs = [program_of(code, name=kind.name, kind=kind) for kind in kinds]
    with ebpfpy.Collection(collection_of(*programs, maps=[array])) as collection:
        first, second = (collection.programs[kind.name].fileno().to_bytes(4, ORDER) for kind in kinds)
        jumps = collection.maps["jumps"]
        jumps.update_bytes(bytes(4), first)
        with pytest.raises(KernelError, match="of the type of those that use the array or are in it") as caught:
            jumps.update_bytes(bytes(4), second)
        assert caught.value.errno == errno.EINVAL
