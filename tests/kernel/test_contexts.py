"""Arguments by name, read by programs that were compiled from the generated structs."""

import contextlib
import os
import subprocess
import sys as python

import pytest

import ebpfpy
from ebpfpy import btf, link
from tests.kernel import features, modules, triggers
from tests.kernel.blueprints import TESTDATA, path_of

SECTIONS = {"poked": "fexit/ebpfpy_demo:ebpfpy_demo_poke", "mapped": "fexit/from_kuid_munged",
            "switched": "tp_btf/sched_switch"}  # fmt: skip


@contextlib.contextmanager
def attached(name, options):
    """One program of the object, loaded and attached."""
    features.require(features.no_fentry())
    spec = ebpfpy.load_collection_spec(path_of("contexts.bpf.o"))
    for each in spec.programs.values():
        each.autoload = each.name == name
    with ebpfpy.Collection(spec, options) as collection, link.attach(collection.programs[name]):
        yield collection


def numbers(collection, *names):
    return [collection.variables[name].get() for name in names]


def test_the_structs_of_the_source_are_those_of_the_running_kernel(cache):
    features.require_module_tracing()
    source = (TESTDATA / "contexts.bpf.c").read_text()
    texts = [each.split("/* begin */\n")[1] for each in source.split("/* end */\n")[:-1]]
    with modules.unloaded_afterwards(modules.DEMO):
        modules.load(modules.DEMO)
        types = [cache.kernel(), cache.module(modules.DEMO)]
        assert [btf.context_of(types, section).c() for section in SECTIONS.values()] == texts


def test_a_modules_function_shows_its_argument_and_its_result(options):
    features.require_module_tracing()
    with modules.unloaded_afterwards(modules.DEMO):
        modules.load(modules.DEMO)
        with attached("poked", options) as collection:
            triggers.poke(-21)
            assert numbers(collection, "poked_value", "poked_ret") == [-21, -41]


def test_a_struct_that_is_passed_by_value_is_read_by_its_accessor(options):
    features.since("6.1", features.no_structs_as_arguments())
    with attached("mapped", options) as collection:
        child = subprocess.Popen(
            [python.executable, "-c", "import os; input(); os.setuid(1234); os.getuid()"], stdin=subprocess.PIPE
        )
        with child:
            collection.variables["wanted_pid"].set(child.pid)
            child.communicate(b"\n", timeout=60)
        assert numbers(collection, "seen_kuid", "seen_uid") == [1234, 1234]


def test_a_tracepoints_arguments_lie_where_their_names_say(options):
    features.since("5.18", features.no_prev_state())
    with attached("switched", options) as collection:
        subprocess.run(["true"], check=True)
        os.sched_yield()
        switches, to_itself, states = numbers(collection, "switches", "switches_to_itself", "states")
    assert switches > 0
    assert to_itself == 0
    assert states & 1  # somebody went to sleep (TASK_INTERRUPTIBLE)


@pytest.mark.parametrize("section", ["fentry/no_such_function", "tp_btf/no_such_tracepoint", "lsm/no_such_hook"])
def test_what_the_kernel_does_not_have_is_an_error_that_names_the_section(cache, section):
    with pytest.raises(ebpfpy.errors.TypeNotFoundError, match=section):
        btf.context_of(cache.kernel(), section)
