"""fsession, and fentry.multi and its kin: one link at many functions; kernels without them say so."""

import subprocess
from pathlib import Path

import pytest

import ebpfpy
from ebpfpy import features, link, sys
from ebpfpy.errors import EbpfError, InputError, TargetNotFoundError
from ebpfpy.sys import AttachType
from tests.kernel import features as machine
from tests.kernel import modules, triggers
from tests.kernel.blueprints import count, counting_collection

MULTI = {
    "fentry.multi": (AttachType.TRACE_FENTRY_MULTI, 1),
    "fexit.multi": (AttachType.TRACE_FEXIT_MULTI, 1),
    "fsession.multi": (AttachType.TRACE_FSESSION_MULTI, 2),  # at the entry and at the return
}


@pytest.fixture(autouse=True)
def demo():
    machine.require_module_tracing()
    if not Path("/sys/kernel/tracing/available_filter_functions").exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", "/sys/kernel/tracing"], check=True)
    with modules.unloaded_afterwards(modules.DEMO):
        modules.load(modules.DEMO)
        yield


def blueprint(attach_type, attach_to="", module=None):
    spec = counting_collection(attach_to, module, attach_type=attach_type)
    spec.programs["counts"].section = f"{attach_type.name.lower()}/{attach_to}"
    return spec


def require(attach_type):
    """Where the kernel does not have it, the error has to name it, and the rest is skipped."""
    support = features.have_attach_type(attach_type)
    if support:
        return
    with pytest.raises(EbpfError) as caught:
        ebpfpy.Collection(blueprint(attach_type, "do_nanosleep"))
    assert f"this kernel does not have attach type {attach_type.name}: Linux 7" in str(caught.value)
    machine.since(support.minimum, f"this kernel has no {support.feature}")


def test_a_session_runs_at_the_entry_and_at_the_return(options):
    require(AttachType.TRACE_FSESSION)
    spec = blueprint(AttachType.TRACE_FSESSION, "ebpfpy_demo_poke", modules.DEMO)
    with ebpfpy.Collection(spec, options) as collection, link.attach(collection.programs["counts"]):
        triggers.poke(1)
        assert count(collection) == 2


@pytest.mark.parametrize("kind", MULTI)
def test_many_functions_of_the_kernel_are_traced_by_one_link(kind, options):
    attach_type, times = MULTI[kind]
    require(attach_type)
    with ebpfpy.Collection(blueprint(attach_type), options) as collection:
        program = collection.programs["counts"]
        functions = ["version_proc_show", "uptime_proc_show"]
        with link.attach_tracing_multi(program, functions=functions, cookies=[5, 6]) as attached:
            triggers.read_file("/proc/version")
            triggers.read_file("/proc/uptime")
            assert count(collection) == 2 * times
            assert attached.info.type == sys.LinkType.TRACING_MULTI
        triggers.read_file("/proc/version")
        assert count(collection) == 2 * times


@pytest.mark.parametrize("kind", MULTI)
def test_a_pattern_means_all_functions_of_a_module_that_match(kind, options):
    attach_type, times = MULTI[kind]
    require(attach_type)
    with (
        ebpfpy.Collection(blueprint(attach_type, "ebpfpy_demo_[!x]*", modules.DEMO), options) as collection,
        pytest.raises(TargetNotFoundError, match="no function that can be traced matches"),
    ):
        link.attach(collection.programs["counts"])
    with (
        ebpfpy.Collection(blueprint(attach_type, "ebpfpy_demo_?????", modules.DEMO), options) as collection,
        link.attach(collection.programs["counts"]),
    ):
        triggers.poke(1)  # ebpfpy_demo_write calls ebpfpy_demo_clash, and ebpfpy_demo_poke, which does not match
        assert count(collection) == 2 * times


def test_what_cannot_be_meant_is_refused_before_the_kernel_is_asked(options):
    require(AttachType.TRACE_FENTRY_MULTI)
    with ebpfpy.Collection(blueprint(AttachType.TRACE_FENTRY_MULTI), options) as collection:
        program = collection.programs["counts"]
        with pytest.raises(InputError, match="names no function"):
            link.attach(program)
        with pytest.raises(InputError, match="1 cookies for 2 functions"):
            link.attach_tracing_multi(program, functions=["do_nanosleep", "vfs_read"], cookies=[1])
        with pytest.raises(InputError, match="give a pattern, or functions"):
            link.attach_tracing_multi(program, "vfs_*", functions=["vfs_read"])
        with pytest.raises(TargetNotFoundError, match="function 'do_nanoslep' is not there; near: do_nanosleep"):
            link.attach_tracing_multi(program, functions=["do_nanoslep"])
