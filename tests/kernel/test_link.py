"""Links: attached by section, described by the kernel, detached, pinned, counted."""

import errno
import os
import time
import uuid
from pathlib import Path

import pytest

import ebpfpy
from ebpfpy import link, sys
from ebpfpy.errors import ClosedError, InputError, KernelError
from tests.kernel import features, triggers
from tests.kernel.blueprints import EXIT, count, counting_collection, path_of


@pytest.fixture
def demo(cache):
    with ebpfpy.load_collection(path_of("demo.bpf.o"), ebpfpy.CollectionOptions(cache=cache)) as collection:
        yield collection


@pytest.fixture
def raw():
    with ebpfpy.load_collection(path_of("rawtp.bpf.o")) as collection:
        yield collection


def link_ids():
    found, number = set(), 0
    while (number := sys.next_id("link", number)) is not None:
        found.add(number)
    return found


def test_a_program_runs_while_its_link_lives_and_not_before_or_after(demo):
    seen = demo.variables["seen"]
    triggers.run_true()
    assert seen.get() == 0
    with link.attach(demo.programs["on_exec"]) as attached:
        triggers.run_true()
        during = seen.get()
        assert during >= 1
        assert not attached.closed
    assert attached.closed
    after = seen.get()
    triggers.run_true()
    assert seen.get() == after


def test_detaching_twice_is_harmless_and_a_closed_link_says_so(demo):
    attached = link.attach(demo.programs["on_exec"])
    assert f"fd {attached.fileno()}" in repr(attached)
    attached.detach()
    attached.detach()
    attached.close()
    assert repr(attached) == f"<Link {attached.text} detached>"
    with pytest.raises(ClosedError):
        attached.fileno()


def test_the_kernel_knows_the_link_and_what_it_is_on(demo, raw):
    program = demo.programs["on_exec"]
    with link.attach(program) as attached:
        info = attached.info
        assert (info.type, info.target) == (sys.LinkType.RAW_TRACEPOINT, "sched_process_exec")
        assert info.prog_id == program.info.id
        assert info.id in link_ids()
        assert attached.text == f"on_exec to vmlinux:sched_process_exec (type id {program.target.type_id})"
    with link.attach(raw.programs["count_calls"]) as attached:
        assert attached.info.target == "sys_enter"
        assert attached.text == "count_calls to raw tracepoint sys_enter"


def test_no_link_is_left_behind(demo, raw):
    for program in (*demo.programs.values(), *raw.programs.values()):
        with link.attach(program) as attached:
            number = attached.info.id
            assert number in link_ids()
        assert number not in link_ids()


def test_a_link_keeps_its_program_alive_after_the_collection_is_closed():
    with ebpfpy.load_collection(path_of("rawtp.bpf.o")) as collection:
        attached = link.attach(collection.programs["count_calls"])
        program = collection.programs["count_calls"].info.id
    with attached:
        assert attached.info.prog_id == program
        sys.fd_by_id("prog", program).close()


def test_a_raw_tracepoint_can_be_named_when_attaching(raw):
    program = raw.programs["count_switches"]
    with link.attach_raw_tracepoint(program, "sys_exit") as attached:
        assert attached.info.target == "sys_exit"
        os.getppid()
    assert sum(raw.maps["switches"][0]) > 0
    with pytest.raises(FileNotFoundError, match="no_such_event"):
        link.attach_raw_tracepoint(program, "no_such_event")


def test_two_programs_share_a_raw_tracepoint(raw):
    with (
        ebpfpy.load_collection(path_of("rawtp.bpf.o")) as other,
        link.attach(raw.programs["count_calls"]) as one,
        link.attach(other.programs["count_calls"]) as two,
    ):
        assert one.info.id != two.info.id
        os.getppid()
        assert raw.maps["calls"][os.getpid()] > 0
        assert other.maps["calls"][os.getpid()] > 0


def test_a_program_of_the_wrong_kind_is_refused_by_name(demo, raw):
    with pytest.raises(InputError, match=r"count_calls \(raw_tp/sys_enter\) is not for tracing"):
        link.attach_tracing(raw.programs["count_calls"])
    with pytest.raises(InputError, match=r"on_exec .* is not for raw tracepoints"):
        link.attach_raw_tracepoint(demo.programs["on_exec"])


def test_a_pinned_link_outlives_its_owner(demo):
    features.require(features.no_bpffs())
    path = Path(features.BPFFS) / f"ebpfpy-{uuid.uuid4().hex}"
    with link.attach(demo.programs["on_exec"]) as attached:
        attached.pin(path)
        number = attached.info.id
    try:
        before = demo.variables["seen"].get()
        triggers.run_true()
        assert demo.variables["seen"].get() > before
    finally:
        path.unlink()
    end = time.monotonic() + 20  # the kernel lets go of a pin's object a little later
    while number in link_ids() and time.monotonic() < end:
        time.sleep(0.01)
    before = demo.variables["seen"].get()
    triggers.run_true()
    assert demo.variables["seen"].get() == before


def test_a_kind_of_link_that_cannot_be_updated_says_so(demo):
    with link.attach(demo.programs["on_exec"]) as attached, pytest.raises(KernelError, match="BPF_LINK_UPDATE"):
        attached.update(demo.programs["on_exec"])


# --- fentry and fexit on the kernel's own functions ---------------------------------------------------


@pytest.mark.parametrize("attach_type", [sys.AttachType.TRACE_FENTRY, EXIT])
@pytest.mark.parametrize("module", [None, "vmlinux"])
def test_a_function_of_the_kernel_is_counted(attach_type, module):
    features.require(features.no_fentry())
    with ebpfpy.Collection(counting_collection("do_nanosleep", module, attach_type=attach_type)) as collection:
        program = collection.programs["counts"]
        assert program.target.module is None
        with link.attach(program) as attached:
            info = attached.info
            assert (info.type, info.attach_type) == (sys.LinkType.TRACING, attach_type)
            triggers.sleep_briefly(3)
        assert count(collection) >= 3


def test_a_tracing_program_is_attached_only_once_at_a_time():
    features.require(features.no_fentry())
    with ebpfpy.Collection(counting_collection("do_nanosleep")) as collection:
        program = collection.programs["counts"]
        with link.attach(program), pytest.raises(KernelError, match=r"EBUSY|attached only once") as caught:
            link.attach(program)
        if caught.value.errno == errno.EBUSY:
            with link.attach(program):
                pass
        else:
            with pytest.raises(KernelError, match=r"attached only once, before Linux 5\.13"):
                link.attach(program)


def test_a_cookie_is_taken_where_the_kernel_can():
    features.require(features.no_fentry())
    with ebpfpy.Collection(counting_collection("do_nanosleep")) as collection:
        try:
            attached = link.attach_tracing(collection.programs["counts"], cookie=4711)
        except KernelError as error:
            features.since("5.19", f"cookies of tracing programs: {error}")
        with attached:
            assert attached.info.cookie in (4711, 0)  # 0: kernels that do not say
