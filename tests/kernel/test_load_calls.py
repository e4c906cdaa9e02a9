"""What a load asks of the kernel, call by call: nothing beforehand, nothing twice."""

from collections import Counter

import pytest

import ebpfpy
from ebpfpy import btf
from ebpfpy.sys import Command, call, maps, objects, programs
from tests.kernel import features
from tests.kernel.blueprints import collection_of, counting_collection, counting_program, path_of

FUNCTIONS = ("do_nanosleep", "vfs_read", "vfs_write", "vfs_fsync", "do_exit", "vfs_open")


@pytest.fixture
def calls(monkeypatch):
    """The commands of bpf(2) that are given, counted; each is still carried out."""
    given = Counter()
    real = call.try_bpf

    def counted(command, attr):
        given[Command(command)] += 1
        return real(command, attr)

    for each in (call, maps, objects, programs):
        monkeypatch.setattr(each, "try_bpf", counted)
    return given


def only_objects(given):
    """The commands that make objects, and those that look for any."""
    return {
        command: number
        for command, number in given.items()
        if command.name.endswith(("_LOAD", "_CREATE", "_RUN", "_BY_ID", "_NEXT_ID", "_BY_FD"))
    }


@pytest.mark.parametrize("name", ["thirty.bpf.o", "thirty_plain.bpf.o"])
def test_thirty_programs_are_thirty_loads_and_the_next_time_the_same(calls, name):
    cache = btf.Cache()
    options = ebpfpy.CollectionOptions(cache=cache)
    for _ in range(2):
        calls.clear()
        with ebpfpy.load_collection(path_of(name), options) as collection:
            made = len(collection.maps)
        assert only_objects(calls) == {Command.PROG_LOAD: 30, Command.MAP_CREATE: made, Command.BTF_LOAD: 1}
    assert cache.walks == 0
    vars(cache).clear()  # types that are mapped hold a descriptor


def test_functions_of_the_kernel_are_asked_for_by_one_program_however_many_there_are(calls):
    features.require(features.no_fentry())
    has_search = features.no_search() is None
    calls.clear()
    traced = [counting_program(each, name=f"counts_{number}") for number, each in enumerate(FUNCTIONS)]
    spec = collection_of(*traced, maps=[counting_collection("x").maps["counter"]])
    cache = btf.Cache()
    with ebpfpy.Collection(spec, ebpfpy.CollectionOptions(cache=cache)) as collection:
        assert [each.target.name for each in collection.programs.values()] == list(FUNCTIONS)
    assert (calls[Command.BTF_GET_NEXT_ID], cache.walks) == (0, 0)
    if has_search:
        assert calls[Command.PROG_TEST_RUN] == len(FUNCTIONS)
        assert calls[Command.PROG_LOAD] == 1 + len(FUNCTIONS)
    vars(cache).clear()
