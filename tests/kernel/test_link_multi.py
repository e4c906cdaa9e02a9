"""kprobe.multi, uprobe.multi and sessions: one link at many places."""

import os
import time

import pytest

from ebpfpy import link, sys
from ebpfpy.errors import InputError, KernelError, TargetNotFoundError
from ebpfpy.link.executable import Executable, find_binary
from ebpfpy.sys import LinkType, linkinfo
from tests.kernel.conformance import PID, check_link, only, runs, unless_missing

LIBC = "libc.so.6"


def sleep():
    time.sleep(0.001)


def address_of(name):
    return sys.find_symbols([name])[name][0].address


def test_a_pattern_finds_all_functions_that_match():
    with only("probes.bpf.o", "kprobe_multi", wanted=PID) as (program, collection):
        with unless_missing():
            attached = link.attach(program)
        with attached:
            assert attached.text == "kprobe_multi to kprobe.multi do_nanosle*"
            sleep()
            assert runs(collection) == 1
            details = attached.info.details
            if details.addresses:  # Linux 6.6
                assert address_of("do_nanosleep") in details.addresses
        sleep()
        assert runs(collection) == 1
        check_link(lambda: link.attach(program), LinkType.KPROBE_MULTI, details=linkinfo.KprobeMultiDetails)
        with link.attach_kprobe_multi(program, "vmlinux:do_nanos?eep"):
            sleep()
        assert runs(collection) == 2


def test_each_function_has_its_cookie():
    with only("probes.bpf.o", "kretprobe_multi", wanted=PID) as (program, collection):
        names = ["hrtimer_nanosleep", "do_nanosleep"]
        with unless_missing():
            attached = link.attach_kretprobe_multi(program, symbols=names, cookies=[5, 6])
        with attached:
            sleep()
        assert (runs(collection, 5), runs(collection, 6)) == (1, 1)
        with link.attach_kretprobe_multi(program, addresses=[address_of(name) for name in names], cookies=[7, 8]):
            sleep()
        assert (runs(collection, 7), runs(collection, 8)) == (1, 1)
        with link.attach_kretprobe_multi(program, "do_nanosleep") as attached:
            assert attached.info.details.flags in (0, 1)  # 0: before Linux 6.6 the kernel does not say


def test_what_no_function_matches_is_named():
    with only("probes.bpf.o", "kprobe_multi") as (program, _):
        with unless_missing():
            link.attach(program).close()
        with pytest.raises(TargetNotFoundError, match=r"no function that can be traced matches 'no_such\*'"):
            link.attach_kprobe_multi(program, "no_such*")
        with pytest.raises(TargetNotFoundError, match="nowhere:"):
            link.attach_kprobe_multi(program, "nowhere:*")
        with pytest.raises(KernelError, match="one of the functions does not exist"):
            link.attach_kprobe_multi(program, symbols=["do_nanosleep", "no_such_function"])
        with pytest.raises(InputError, match="one of pattern, symbols and addresses"):
            link.attach_kprobe_multi(program, "a*", symbols=["b"])
        with pytest.raises(InputError, match="2 values for 1 places"):
            link.attach_kprobe_multi(program, symbols=["do_nanosleep"], cookies=[1, 2])
        with pytest.raises(InputError, match="whose order is known"):
            link.attach_kprobe_multi(program, "a*", cookies=[1])


def test_a_session_runs_at_entry_and_return():
    with only("probes.bpf.o", "kprobe_session", wanted=PID) as (program, collection):
        with unless_missing():
            attached = link.attach(program)
        with attached:
            assert attached.text == "kprobe_session to kprobe.session do_nanosleep"
            sleep()
        assert runs(collection) == 2
        check_link(lambda: link.attach(program), LinkType.KPROBE_MULTI)
        with pytest.raises(InputError, match="at entry and return anyway"):
            link.attach_kretprobe_multi(program, "do_nanosleep")


def test_functions_of_a_file_by_name_pattern_and_offset():
    path = find_binary(LIBC)
    with Executable(path) as libc:
        places = [libc.function("getppid"), libc.function("getpgid")]
    with only("probes.bpf.o", "uprobe_multi", wanted=PID) as (program, collection):
        with unless_missing():
            attached = link.attach_uprobe_multi(program, LIBC, "getppi?", pid=0)
        with attached:
            os.getppid()
            assert runs(collection) == 1
            details = attached.info.details
            if details.path:  # Linux 6.8
                assert os.path.samefile(details.path, path)
                assert details.offsets == (places[0],)
                assert details.pid == PID
        with link.attach_uprobe_multi(program, path, functions=["getppid", "getpgid"], cookies=[3, 4]):
            os.getppid()
            os.getpgid(0)
        with link.attach_uprobe_multi(program, path, offsets=places, cookies=[5, 6]):
            os.getpgid(0)
        assert [runs(collection, key) for key in (3, 4, 5, 6)] == [1, 1, 0, 1]
        check_link(
            lambda: link.attach_uprobe_multi(program, LIBC, "getppid"),
            LinkType.UPROBE_MULTI,
            details=linkinfo.UprobeMultiDetails,
        )
        with pytest.raises(TargetNotFoundError, match=r"no function that matches 'no_such\*'"):
            link.attach_uprobe_multi(program, LIBC, "no_such*")
        with pytest.raises(InputError, match="one of pattern, functions and offsets"):
            link.attach_uprobe_multi(program, LIBC, "a", offsets=[1])
        with pytest.raises(InputError, match=r"link\.attach_uprobe_multi\(program, binary, pattern\)"):
            link.attach(program)
        with pytest.raises(KernelError, match="BPF_LINK_CREATE"):
            link.attach_uprobe_multi(program, "/no/such/file", offsets=[1])


def test_returns_and_sessions_of_a_files_functions():
    with only("probes.bpf.o", "uretprobe_multi", wanted=PID) as (program, collection):
        with unless_missing():
            attached = link.attach_uretprobe_multi(program, LIBC, "getppid")
        with attached:
            os.getppid()
        assert runs(collection) == 1
    with only("probes.bpf.o", "uprobe_session", wanted=PID) as (program, collection):
        with unless_missing():
            attached = link.attach_uprobe_multi(program, LIBC, "getppid")
        with attached:
            os.getppid()
        assert runs(collection) == 2
