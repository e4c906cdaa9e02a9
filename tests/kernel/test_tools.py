"""Tools for files, processes and processors, as many people use them: each says what the test has just done."""

import errno
import os
import resource
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path

import pytest

from ebpfpy import btf, link, sys
from ebpfpy.sys import perfevent
from tests.kernel import features
from tests.kernel.blueprints import event_type
from tests.kernel.tools import listening, reporting, running

PID = os.getpid()
COMM = Path("/proc/self/comm").read_text().strip()
CALLS = {"x86_64": (110, 3), "aarch64": (173, 57), "riscv64": (173, 57)}
"""Numbers of getppid(2) and close(2) by machine."""
INTERRUPTIBLE = 1
"""TASK_INTERRUPTIBLE of include/linux/sched.h."""


def stack_of(tool, number):
    """The addresses of a stack, innermost first."""
    return [address for (address,) in struct.iter_unpack("=Q", tool.maps["stacks"][number]) if address]


def function_names(addresses):
    """The functions of the kernel that these addresses are in."""
    found = sys.symbols_at(addresses)
    return [found[address].name for address in addresses if address in found]


@pytest.fixture
def file_in_memory():
    """The path of a file that is in one file system only: overlays count twice, above and below."""
    path = Path("/dev/shm") / f"ebpfpy-{PID}"
    yield path
    path.unlink(missing_ok=True)


# --- files ------------------------------------------------------------------------------------------------


def test_opensnoop_says_who_opened_what_with_which_result(options, tmp_path):
    there, missing = tmp_path / "there", tmp_path / "missing"
    there.touch()
    with running("opensnoop", options=options, only_pid=PID) as tool, reporting(tool) as events:
        number = os.open(there, os.O_RDONLY | os.O_CLOEXEC)
        os.close(number)
        with pytest.raises(FileNotFoundError):
            os.open(missing, os.O_WRONLY)
        first, second = events(2)
    for event in (first, second):
        assert (event["pid"], event["tid"], event["uid"]) == (PID, threading.get_native_id(), os.getuid())
        assert event["comm"] == COMM
        assert event["nanoseconds"] > 0
    assert (first["path"], first["result"]) == (str(there), number)
    assert (second["path"], second["result"]) == (str(missing), -errno.ENOENT)
    assert first["flags"] & (os.O_CLOEXEC | os.O_ACCMODE) == os.O_CLOEXEC | os.O_RDONLY
    assert second["flags"] & os.O_ACCMODE == os.O_WRONLY


def test_opensnoop_can_be_told_to_report_failures_only(options, tmp_path):
    missing = tmp_path / "missing"
    with running("opensnoop", options=options, only_pid=PID, only_failed=True) as tool, reporting(tool) as events:
        os.close(os.open(tmp_path, os.O_RDONLY | os.O_CLOEXEC))
        with pytest.raises(FileNotFoundError):
            os.open(missing, os.O_RDONLY)
        (event,) = events(1)
    assert (event["path"], event["result"]) == (str(missing), -errno.ENOENT)


@pytest.mark.parametrize("kind", ["fentry", "kprobe"])
def test_vfsstat_counts_what_is_done_with_files_by_fentry_and_by_kprobes(options, file_in_memory, kind):
    functions = ("vfs_read", "vfs_write", "vfs_unlink", "vfs_open")
    chosen = [f"{kind}_{function}" for function in functions]
    with running("vfsstat", *chosen, options=options, only_pid=PID) as tool:
        counts = tool.variables["counts"]
        before = counts.get()
        for _ in range(3):
            number = os.open(file_in_memory, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
            for _ in range(2):
                os.write(number, b"x")
            os.lseek(number, 0, os.SEEK_SET)
            for _ in range(4):
                os.read(number, 1)
            os.close(number)
            os.unlink(file_in_memory)
        after = counts.get()
    names = [value.name for value in tool.collection.spec.types.type_by_name("operation", btf.Enum).enumerators]
    changes = dict(zip(names, (b - a for a, b in zip(before, after, strict=True)), strict=False))
    assert changes == {"READ": 12, "WRITE": 6, "UNLINK": 3, "OPEN": 3}


def test_filelife_says_how_old_a_file_was_and_who_made_it(options, file_in_memory):
    with running("filelife", options=options, only_pid=PID) as tool, reporting(tool) as events:
        file_in_memory.touch()
        time.sleep(0.05)
        subprocess.run(["rm", file_in_memory], check=True)
        (event,) = events(1)
    assert event["name"] == file_in_memory.name
    assert (event["creator"], event["creator_comm"]) == (PID, COMM)
    assert event["pid"] != PID
    assert event["comm"] == "rm"
    assert event["nanoseconds"] >= 50_000_000


# --- processes --------------------------------------------------------------------------------------------


def test_execsnoop_says_which_program_was_executed_with_which_arguments(options):
    arguments = [shutil.which("true"), "one", "zwei und drei", ""]
    with running("execsnoop", options=options, only_ppid=PID) as tool, listening(tool) as read:
        process = subprocess.Popen(arguments)
        assert process.wait(30) == 0
        (data,) = read(1)
    event, text = executed(tool, data)
    assert (event["pid"], event["ppid"], event["result"]) == (process.pid, PID, 0)
    assert (event["comm"], event["count"]) == ("true", len(arguments))
    assert text == b"".join(each.encode() + b"\0" for each in arguments)
    assert len(data) < 128, "only the bytes that are used are sent"


def executed(tool, data):
    """An event of execsnoop, which ends with its last argument, and the bytes of the arguments."""
    kind = event_type(tool.collection)
    start = next(member.offset for member in kind.members if member.name == "arguments")
    event = btf.decode(kind, data.ljust(kind.size, b"\0"))
    return event, data[start : start + event["size"]]


def test_execsnoop_reports_failures_when_asked_to(options, tmp_path):
    missing = str(tmp_path / "missing")
    with running("execsnoop", options=options, only_ppid=PID, with_failed=True) as tool, listening(tool) as read:
        with pytest.raises(FileNotFoundError):
            subprocess.Popen([missing])
        (data,) = read(1)
    event, text = executed(tool, data)
    assert event["result"] == -errno.ENOENT
    assert text == missing.encode() + b"\0"


def test_exitsnoop_says_how_processes_end(options):
    with running("exitsnoop", options=options, only_ppid=PID) as tool, reporting(tool) as events:
        first = subprocess.Popen(["sh", "-c", "exit 3"])
        assert first.wait(30) == 3
        second = subprocess.Popen(["sleep", "60"])
        second.send_signal(signal.SIGKILL)
        assert second.wait(30) == -signal.SIGKILL
        one, two = events(2)
    assert (one["pid"], one["ppid"], one["status"], one["signal"]) == (first.pid, PID, 3, 0)
    assert (two["pid"], two["ppid"], two["status"], two["signal"]) == (second.pid, PID, 0, signal.SIGKILL)
    assert one["comm"] == "sh"
    for event in (one, two):
        assert event["start_time"] < event["exit_time"]


def test_syscount_sums_calls_and_failures_over_all_processors(options):
    if os.uname().machine not in CALLS:
        features.require(f"numbers of system calls of {os.uname().machine}")
    parent, close = CALLS[os.uname().machine]
    with running("syscount", options=options, only_pid=PID) as tool:
        for _ in range(50):
            os.getppid()
        for _ in range(7):
            with pytest.raises(OSError, match="Bad file descriptor"):
                os.close(-1)
        tool.stop()
        totals = {
            number: {name: sum(each[name] for each in values) for name in ("count", "failed", "nanoseconds")}
            for number, values in tool.maps["totals"].items()
        }
    assert (totals[parent]["count"], totals[parent]["failed"]) == (50, 0)
    assert totals[parent]["nanoseconds"] > 0
    assert totals[close]["failed"] == 7


# --- processors -------------------------------------------------------------------------------------------


def test_runqlat_has_a_wait_for_every_time_that_a_process_was_woken(options):
    with running("runqlat", options=options, only_pid=PID) as tool:
        before = resource.getrusage(resource.RUSAGE_SELF)
        for _ in range(20):
            time.sleep(0.005)
        after = resource.getrusage(resource.RUSAGE_SELF)
        tool.stop()
        found = tool.maps["by_process"].items()
    slept = after.ru_nvcsw - before.ru_nvcsw
    assert slept >= 10
    assert set(dict(found)) == {PID}
    waits = dict(found)[PID]
    assert sum(waits["microseconds"]["slots"]) >= slept
    assert waits["comm"] == COMM


def test_offcputime_says_where_a_thread_slept_and_how_long(options):
    with running("offcputime", options=options, only_pid=PID, state_mask=INTERRUPTIBLE) as tool:
        me = threading.get_native_id()
        for _ in range(3):
            time.sleep(0.05)
        tool.stop()
        mine = [
            (key, value)
            for key, value in tool.maps["times"].items()
            if key["tid"] == me and "do_nanosleep" in function_names(stack_of(tool, key["kernel_stack"]))
        ]
        assert {key["pid"] for key, _ in mine} == {PID}
        assert sum(value["times"] for _, value in mine) == 3
        passed = sum(value["nanoseconds"] for _, value in mine)
        # of each sleep a little passes before the thread is off the CPU, and after it is woken
        assert 100_000_000 <= passed < 20_000_000_000
        tick = 1_000_000_000 // int(sys.read_config()["CONFIG_HZ"])
        assert all(value["ticks"] == value["nanoseconds"] // tick for _, value in mine)
        assert {value["comm"] for _, value in mine} == {COMM}
        inside = stack_of(tool, mine[0][0]["user_stack"])[0]
    assert "libc" in mapping_of(inside)


def mapping_of(address):
    """The file that is mapped at an address of this process."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        start, _, end = line.split()[0].partition("-")
        if int(start, 16) <= address < int(end, 16):
            return line.split()[-1]
    return ""


def test_profile_finds_the_process_that_computes(options):
    attr = perfevent.PerfEventAttr(
        type=perfevent.EventType.SOFTWARE, config=perfevent.SoftwareEvent.CPU_CLOCK, sample_period=500
    )
    attr.set_flags(perfevent.EventFlag.DISABLED | perfevent.EventFlag.FREQ)
    with running("profile", options=options, attach=False, only_pid=PID) as tool:
        samples = tool.maps["samples"]
        links = []
        try:
            for cpu in sorted(os.sched_getaffinity(0)):
                with perfevent.perf_event_open(attr, cpu=cpu) as event:
                    links.append(link.attach_perf_event(tool.programs["sample"], event))
            end = time.monotonic() + 20
            while sum(count for _, count in samples.items()) < 5:
                assert time.monotonic() < end
        finally:
            for each in links:
                each.close()
        found = samples.items()
        assert {(key["pid"], key["comm"]) for key, _ in found} == {(PID, COMM)}
        assert any(stack_of(tool, key["user_stack"]) for key, _ in found if key["user_stack"] >= 0)


def test_softirqs_counts_packets_received_and_times_them(options):
    with running("softirqs", options=options, with_histograms=True) as tool:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as both:
            both.bind(("127.0.0.1", 0))
            before = tool.variables["counts"].get()
            for _ in range(10):
                both.sendto(b"x", both.getsockname())
                assert both.recv(1) == b"x"
        tool.stop()
        counts = tool.variables["counts"].get()
        vector = {
            each.name: each.value for each in tool.collection.spec.types.type_by_name("vector", btf.Enum).enumerators
        }
        received = vector["NET_RX"]
        assert counts[received] - before[received] >= 10
        histograms = tool.variables["histograms"].get()
        assert [sum(each["slots"]) for each in histograms] == counts
        assert tool.variables["nanoseconds"].get()[received] > 0
