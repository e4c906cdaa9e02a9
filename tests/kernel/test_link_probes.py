"""kprobes, system calls, tracepoints, uprobes and perf events: attached, run, and taken off."""

import os
import time
from contextlib import contextmanager

import pytest

from ebpfpy import features as kernel
from ebpfpy import link, sys
from ebpfpy.errors import (
    AmbiguousTargetError,
    ElfError,
    InputError,
    KernelError,
    TargetNotFoundError,
    UnsupportedError,
)
from ebpfpy.sys import LinkType, PerfEventKind, linkinfo, perfevent
from tests.kernel import features, modules, triggers
from tests.kernel.conformance import PID, check_attachment, check_link, only, runs, unless_missing

LIBC = "libc.so.6"


def sleep():
    time.sleep(0.001)


def have_links():
    return kernel.have_perf_event_link().supported


def conform(attach):
    """A probe is a link, or before Linux 5.15 an attachment."""
    if have_links():
        check_link(attach, LinkType.PERF_EVENT, details=linkinfo.PerfEventDetails)
    else:
        check_attachment(attach)


def event_details(attached):
    details = attached.info.details
    if details.kind is PerfEventKind.UNSPEC:
        features.since("6.6", "this kernel does not say what a perf event's link is on (Linux 6.6)")
    return details


def check_runs(collection, attach, trigger, key=0):
    """The program runs while it is attached, and neither before nor after."""
    trigger()
    assert runs(collection, key) == 0
    with attach():
        for _ in range(3):
            trigger()
        assert runs(collection, key) == 3
    trigger()
    assert runs(collection, key) == 3


@pytest.mark.parametrize(
    ("name", "trigger"),
    [
        ("kprobe_plain", sleep),
        ("kretprobe_plain", sleep),
        ("ksyscall_plain", os.getppid),
        ("kretsyscall_plain", os.getppid),
        ("tracepoint_plain", os.getppid),
        ("uprobe_section", os.getppid),
    ],
)
def test_a_section_says_where_and_the_program_runs_there(name, trigger):
    with only("probes.bpf.o", name, wanted=PID) as (program, collection):
        with unless_missing():
            link.attach(program).close()
        check_runs(collection, lambda: link.attach(program), trigger)
        conform(lambda: link.attach(program))


def test_a_kprobe_can_be_behind_a_functions_start():
    with only("probes.bpf.o", "kprobe_plain", wanted=PID) as (program, collection):
        with unless_missing():
            link.attach_kprobe(program, "do_nanosleep").close()
        offset = first_instruction_boundary("do_nanosleep")
        with link.attach_kprobe(program, f"do_nanosleep+{offset:#x}") as attached:
            assert attached.text.endswith(f"do_nanosleep+{offset:#x}")
            sleep()
        with link.attach_kprobe(program, "do_nanosleep", offset=offset):
            sleep()
        assert runs(collection) == 2


def first_instruction_boundary(function):
    """Some offset above zero where an instruction of the function starts."""
    with only("probes.bpf.o", "kprobe_plain") as (program, _):
        for offset in range(1, 16):
            try:
                link.attach_kprobe(program, function, offset=offset).close()
            except KernelError:
                continue
            return offset
    raise AssertionError(f"no probe anywhere in {function}")


def test_a_kprobe_can_be_at_an_address():
    with only("probes.bpf.o", "kprobe_plain", wanted=PID) as (program, collection):
        address = sys.find_symbols(["do_nanosleep"])["do_nanosleep"][0].address
        with unless_missing(), link.attach_kprobe(program, address=address):
            sleep()
        assert runs(collection) == 1


def test_a_function_of_a_module_is_probed_by_module_and_name_or_by_name_alone():
    features.require(features.no_modules())
    with modules.unloaded_afterwards("tun"):
        modules.load("tun")
        with only("probes.bpf.o", "kprobe_plain", wanted=PID) as (program, collection):
            for place in ("tun:tun_chr_open", "tun_chr_open"):
                before = runs(collection)
                with link.attach_kprobe(program, place) as attached:
                    assert attached.text == f"kprobe_plain to kprobe {place}"
                    triggers.open_tun()
                assert runs(collection) == before + 1
            with pytest.raises(TargetNotFoundError, match="module vmlinux has no function 'tun_chr_open'"):
                link.attach_kprobe(program, "vmlinux:tun_chr_open")


def test_the_kernel_says_what_a_probe_is_on():
    with only("probes.bpf.o", "kretprobe_plain") as (program, _), unless_missing(), link.attach(program) as attached:
        features.since("5.15", None if have_links() else "this kernel has no links of perf events")
        details = event_details(attached)
        assert (details.kind, details.name) == (PerfEventKind.KRETPROBE, "do_nanosleep")
        assert attached.info.target == "do_nanosleep"
        assert details.address == sys.find_symbols(["do_nanosleep"])["do_nanosleep"][0].address
    with only("probes.bpf.o", "tracepoint_plain") as (program, _), unless_missing(), link.attach(program) as attached:
        details = event_details(attached)
        assert (details.kind, details.name) == (PerfEventKind.TRACEPOINT, "sys_enter_getppid")


@pytest.mark.parametrize(
    ("name", "attach", "trigger"),
    [
        ("kprobe_cookie", lambda program, **more: link.attach_kprobe(program, "do_nanosleep", **more), sleep),
        ("kretprobe_cookie", lambda program, **more: link.attach_kretprobe(program, "do_nanosleep", **more), sleep),
        (
            "tracepoint_cookie",
            lambda program, **more: link.attach_tracepoint(program, "syscalls", "sys_enter_getppid", **more),
            os.getppid,
        ),
        ("uprobe_cookie", lambda program, **more: link.attach_uprobe(program, LIBC, "getppid", **more), os.getppid),
    ],
)
def test_a_cookie_reaches_the_program(name, attach, trigger):
    if not have_links():
        plain = name.replace("cookie", "plain")
        refused = pytest.raises(UnsupportedError, match=r"no cookies of perf events \(Linux 5.15")
        with only("probes.bpf.o", plain) as (program, _), refused:
            attach(program, cookie=1)
        return
    with only("probes.bpf.o", name, wanted=PID) as (program, collection):
        with unless_missing():
            attach(program).close()
        check_runs(collection, lambda: attach(program, cookie=2**63 + 5), trigger, key=2**63 + 5)
        for wrong in (-1, 2**64):
            with pytest.raises(InputError, match="64 bits"):
                attach(program, cookie=wrong)


def test_a_place_that_is_none_is_refused_by_name():
    with only("probes.bpf.o", "kprobe_plain") as (program, _):
        with unless_missing():
            link.attach(program).close()
        with pytest.raises(TargetNotFoundError, match="no function 'no_such_function'"):
            link.attach_kprobe(program, "no_such_function")
        with pytest.raises(TargetNotFoundError, match="module nowhere has no function 'do_nanosleep'"):
            link.attach_kprobe(program, "nowhere:do_nanosleep")
        with pytest.raises(InputError, match="'zz' is no number"):
            link.attach_kprobe(program, "do_nanosleep+zz")
        with pytest.raises(InputError, match="either a function or an address"):
            link.attach_kprobe(program, "do_nanosleep", address=1)
        with pytest.raises(InputError, match="has no offset"):
            link.attach_kretprobe(program, "do_nanosleep+4")
        with pytest.raises(TargetNotFoundError, match="no system call 'no_such_call'"):
            link.attach_ksyscall(program, "no_such_call")
        with pytest.raises(KernelError, match="do_nanosleep\\+0x100000"):
            link.attach_kprobe(program, "do_nanosleep", offset=0x100000)
        with pytest.raises(InputError, match="is not for tracepoints"):
            link.attach_tracepoint(program, "a", "b")


def test_a_name_of_several_functions_is_refused_with_all_of_them():
    names = {}
    with open("/proc/kallsyms") as file:
        for line in file:
            address, kind, name, *module = line.split()
            if kind in "tT" and not module and "." not in name and not name.startswith("__"):
                names.setdefault(name, set()).add(address)
    name = next(name for name, places in sorted(names.items()) if 2 <= len(places) <= 4)
    with only("probes.bpf.o", "kprobe_plain") as (program, _):
        with unless_missing():
            link.attach(program).close()
        with refused_or_first():
            link.attach_kprobe(program, name).close()


@contextmanager
def refused_or_first():
    """Kernels since 6.7 refuse a name that several functions have; older ones take the first."""
    try:
        yield
    except AmbiguousTargetError as error:
        assert_candidates(error)


def assert_candidates(error):
    assert len(error.candidates) >= 2
    assert error.name in str(error)


def test_tracepoints_that_are_not_there_are_named():
    with only("probes.bpf.o", "tracepoint_plain") as (program, _):
        with unless_missing():
            link.attach(program).close()
        with pytest.raises(TargetNotFoundError, match="tracepoint sched:no_such_event"):
            link.attach_tracepoint(program, "sched", "no_such_event")
        with pytest.raises(InputError, match="is no name"):
            link.attach_tracepoint(program, "..", "sched_switch")


def test_a_uprobe_finds_functions_at_their_return_and_in_one_process():
    with only("probes.bpf.o", "uretprobe_plain", wanted=PID) as (program, collection):
        with link.attach_uretprobe(program, LIBC, "getppid", pid=0):
            os.getppid()
        with link.attach_uretprobe(program, LIBC, "getppid", pid=1):
            os.getppid()
        assert runs(collection) == 1


def test_uprobes_that_cannot_be_are_named(tmp_path):
    empty = tmp_path / "empty"
    empty.write_bytes(b"")
    with only("probes.bpf.o", "uprobe_plain") as (program, _):
        with pytest.raises(InputError, match=r"link.attach_uprobe\(program, binary, function\)"):
            link.attach(program)
        with pytest.raises(TargetNotFoundError, match="defines no function 'no_such'"):
            link.attach_uprobe(program, LIBC, "no_such")
        with pytest.raises(TargetNotFoundError, match=r"no library 'libnothing\.so\.9'"):
            link.attach_uprobe(program, "libnothing.so.9", "f")
        with pytest.raises(KernelError, match="No such file") as refused:
            link.attach_uprobe(program, "/no/such/file", "f")
        assert isinstance(refused.value, FileNotFoundError)
        with pytest.raises(ElfError, match="empty"):
            link.attach_uprobe(program, empty, "f")
        with pytest.raises(ElfError, match="not an ELF file"):
            link.attach_uprobe(program, "/etc/passwd", "f")
        with pytest.raises(KernelError, match="uprobe"):
            link.attach_uprobe(program, LIBC, offset=1 << 40)


def test_a_perf_event_of_the_user_runs_a_program():
    name = "perf_event_cookie" if have_links() else "perf_event_plain"
    attr = perfevent.PerfEventAttr(
        type=perfevent.EventType.SOFTWARE, config=perfevent.SoftwareEvent.CPU_CLOCK, sample_period=100_000
    )
    attr.set_flags(perfevent.EventFlag.DISABLED)

    def spin(collection, key):
        end = time.monotonic() + 20
        while not runs(collection, key):
            assert time.monotonic() < end
        return True

    with only("probes.bpf.o", name, wanted=PID) as (program, collection):
        with perfevent.perf_event_open(attr, pid=0) as event:
            cookie = 77 if have_links() else 0
            with link.attach_perf_event(program, event, cookie=cookie):
                assert spin(collection, cookie)
        events = []

        def attach():  # before Linux 5.15 an event keeps its program
            events.append(perfevent.perf_event_open(attr, pid=0))
            return link.attach_perf_event(program, events[-1])

        conform(attach)
        for event in events:
            event.close()
        with pytest.raises(InputError, match="no such descriptor"):
            link.attach_perf_event(program, 1 << 20)
        with open("/dev/null") as file, pytest.raises(KernelError):
            link.attach_perf_event(program, file)
