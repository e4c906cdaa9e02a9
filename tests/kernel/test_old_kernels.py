"""What 5.10 does otherwise than its successors: each test says what holds on either side, the kernel which it is."""

import os
import resource
import subprocess
import sys as python

import pytest

import ebpfpy
from ebpfpy import btf, link, sys
from ebpfpy.errors import ExternError, TargetNotFoundError, UnsupportedError
from ebpfpy.loader.olderhelpers import with_older
from tests.kernel import features, modules, triggers
from tests.kernel.blueprints import counting_collection, path_of
from tests.kernel.conformance import PID, only, runs

LARGE_MAP = """
import resource
from ebpfpy import sys
low = 65536
resource.setrlimit(resource.RLIMIT_MEMLOCK, (low, low))
sys.map_create(type=sys.MapType.ARRAY, key_size=4, value_size=4096, max_entries=1000).close()
print(resource.getrlimit(resource.RLIMIT_MEMLOCK)[0])
"""


def test_the_limit_of_locked_memory_is_lifted_exactly_where_the_kernel_counts_maps():
    done = subprocess.run([python.executable, "-c", LARGE_MAP], capture_output=True, text=True, check=True)
    counts = bool(btf.load_kernel_spec().ids_by_name(b"bpf_map_memory"))  # its account for that, gone since 5.11
    assert int(done.stdout) == (resource.RLIM_INFINITY if counts else 65536)


def test_the_older_helper_reads_what_the_newer_ones_read(options):
    spec = ebpfpy.load_collection_spec(path_of("core_verdict.bpf.o"))
    newer = spec.programs["load_probed"]
    older = newer.copy()
    older.name, older.code = "older", with_older(newer.code)
    assert older.code != newer.code
    spec.programs = {"load_probed": newer, "older": older}
    with ebpfpy.Collection(spec, options) as collection:
        assert [program.run().retval for program in collection.programs.values()] == [os.getppid()] * 2


def test_variables_whose_map_cannot_be_mapped_are_read_and_set_by_system_calls(options):
    spec = ebpfpy.load_collection_spec(path_of("globals.bpf.o"))
    for each in spec.maps.values():
        each.flags &= ~sys.MapFlags.MMAPABLE
    spec.variables["only_pid"].set(os.getpid())
    with ebpfpy.Collection(spec, options) as collection:
        extra, runs = collection.variables["extra"], collection.variables["runs"]
        with pytest.raises(UnsupportedError, match="it lacks the flag MMAPABLE"):
            collection.maps[".bss"].memory()
        extra.set(1000)
        with link.attach(collection.programs["use_globals"]):
            os.getppid()
        assert runs.get() >= 1
        assert extra.get() == 1000 + runs.get()
        assert collection.variables["greeting"].get() == "hello"
        with pytest.raises(UnsupportedError, match="is a constant"):
            collection.variables["only_pid"].set(1)


@pytest.mark.parametrize("module", ["tun", None])
def test_fentry_reaches_a_modules_function_where_its_types_are_kept_and_kprobes_reach_it_everywhere(module, options):
    features.require(features.no_modules())
    features.require(features.no_fentry())
    with modules.unloaded_afterwards("tun"):
        modules.load("tun")
        if features.no_module_types() is None:
            with ebpfpy.Collection(counting_collection("tun_chr_open", module), options) as collection:
                assert collection.programs["counts"].target.module == "tun"
        else:
            with pytest.raises(TargetNotFoundError, match=r"keeps no types of modules: Linux 5\.11 and newer do"):
                ebpfpy.Collection(counting_collection("tun_chr_open", module), options)
        with only("probes.bpf.o", "kprobe_plain", wanted=PID) as (program, collection):
            with link.attach_kprobe(program, "tun:tun_chr_open"):
                triggers.open_tun()
            assert runs(collection) == 1


def test_a_function_of_a_module_whose_types_are_not_kept_cannot_be_called_and_the_error_says_so(options):
    features.require(features.no_modules())
    with modules.unloaded_afterwards(modules.DEMO):
        modules.load(modules.DEMO)
        if features.no_module_types() is None:
            ebpfpy.load_collection(path_of("kfunc_demo.bpf.o"), options).close()
        else:
            with pytest.raises(ExternError, match=r"ebpfpy_demo_kfunc_add.* keeps no types of modules: Linux 5\.11"):
                ebpfpy.load_collection(path_of("kfunc_demo.bpf.o"), options)
