"""`ebpfpy run`, the demo and the README's example: real processes, a real kernel."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ebpfpy import sys as bpf
from tests.kernel import modules

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
TESTDATA = ROOT / "testdata"
RUN = [sys.executable, "-m", "ebpfpy", "run"]


@contextmanager
def running(*words: object, command: list[str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A command with its output in pipes; ended, if need be, at the end of the block."""
    with subprocess.Popen(
        [*(command or RUN), *map(str, words)],
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for(process: subprocess.Popen[str], text: str) -> str:
    """Read standard error up to the line that has the text."""
    seen = ""
    for line in process.stderr:
        seen += line
        if text in line:
            return seen
    pytest.fail(f"{text!r} was never said; the end: {seen}")


def programs_of(process: subprocess.Popen[str]) -> set[int]:
    """The ids of the programs that a process holds descriptors of."""
    ids = set()
    for path in Path(f"/proc/{process.pid}/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            ids |= {int(number) for number in re.findall(r"^prog_id:\s*(\d+)", path.read_text(), re.MULTILINE)}
    return ids


def exists(program: int) -> bool:
    """Whether the kernel has a program of that id."""
    try:
        bpf.fd_by_id("prog", program).close()
    except FileNotFoundError:
        return False
    return True


def gone(programs: set[int]) -> bool:
    """Whether the kernel has none of the programs any more; it may take it a moment to let go."""
    end = time.monotonic() + 10
    while any(map(exists, programs)):
        if time.monotonic() > end:
            return False
        time.sleep(0.01)
    return True


def execute(times: int) -> None:
    for _ in range(times):
        subprocess.run(["/bin/true"], check=True)


def test_events_are_printed_as_json_until_the_count_is_reached():
    with running(TESTDATA / "demo.bpf.o", "--json", "--count", 3) as process:
        said = wait_for(process, "struct event")
        assert "attached on_exec to vmlinux:sched_process_exec" in said
        execute(3)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    events = [json.loads(line) for line in out.splitlines()]
    assert len(events) == 3
    for event in events:
        assert (event["map"], event["type"]) == ("events", "struct event")
        assert event["event"]["pid"] > 0
        assert event["event"]["comm"]
    assert "/bin/true" in {event["event"]["filename"] for event in events}


def test_perf_buffers_are_printed_and_variables_are_set():
    tool = TESTDATA / "tools" / "opensnoop.bpf.o"
    with running(
        tool, "--json", "--count", 2, "--set", f"only_pid={os.getpid()}", "--set", "only_failed=true"
    ) as process:
        wait_for(process, "struct event")
        for name in ("/ebpfpy/one", "/ebpfpy/two"):
            os.close(os.open("/", os.O_RDONLY | os.O_CLOEXEC))
            assert not os.path.exists(name)
            with suppress(FileNotFoundError):
                os.open(name, os.O_RDONLY)
        out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    events = [json.loads(line)["event"] for line in out.splitlines()]
    assert [(event["path"], event["pid"], event["result"]) for event in events] == [
        ("/ebpfpy/one", os.getpid(), -2),
        ("/ebpfpy/two", os.getpid(), -2),
    ]


def test_structures_of_functions_are_attached():
    with running(TESTDATA / "struct_ops.bpf.o", "--duration", "0.2") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "attached map by_map to struct_ops" in err


def test_duration_ends_it_and_one_program_can_be_chosen():
    with running(TESTDATA / "rawtp.bpf.o", "--duration", "0.2", "--program", "count_calls") as process:
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out == ""
    assert "attached count_calls to raw tracepoint sys_enter" in err
    assert "count_switches" not in err
    assert "no ring buffer" in err


def test_a_program_whose_section_names_no_place_is_left_out_and_the_others_run():
    with running(TESTDATA / "partly.bpf.o", "--duration", "0.2") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "attached count_calls to raw tracepoint sys_enter" in err
    assert "not attached: program on_packet: section 'xdp' (XDP) cannot be attached by its name" in err
    assert "use link.attach_xdp(program, interface)" in err
    assert "not attached: program anywhere: section 'raw_tp' names no tracepoint" in err


@pytest.mark.parametrize("chosen", [["on_packet"], ["on_packet", "count_calls"], ["anywhere"]])
def test_a_program_that_is_asked_for_and_cannot_be_attached_is_an_error(chosen):
    words = [word for name in chosen for word in ("--program", name)]
    with running(TESTDATA / "partly.bpf.o", "--duration", "0.2", *words) as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 3
    assert f"program {chosen[0]}: section " in err
    assert err.count("\n") == 1


def test_a_program_that_is_asked_for_is_loaded_from_an_optional_section_too():
    with running(TESTDATA / "iters.bpf.o", "--duration", "0.2", "--program", "each_task") as process:
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "attached each_task to " in err


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_detaches_and_closes_everything(number, status):
    with running(TESTDATA / "demo.bpf.o") as process:
        wait_for(process, "struct event")
        programs = programs_of(process)
        assert len(programs) == 1
        process.send_signal(number)
        err = process.communicate(timeout=60)[1]
    assert process.returncode == status
    assert err == ""
    assert gone(programs)


def test_event_type_can_be_chosen():
    with running(TESTDATA / "demo.bpf.o", "--event-type", "__u64", "--json", "--count", 1) as process:
        wait_for(process, "__u64: asked for")
        execute(1)
        out = process.communicate(timeout=60)[0]
    assert isinstance(json.loads(out)["event"], int)


def test_module_that_is_not_loaded_is_status_4():
    if Path("/sys/kernel/btf/tun").exists():
        modules.unload("tun")
    done = subprocess.run([*RUN, TESTDATA / "tun.bpf.o"], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 4
    assert "tun_chr_open" in done.stderr
    assert "not loaded" in done.stderr


def test_demo_prints_ten_events_and_five_lines():
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"], capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == 1 + 10 + 1 + 5, done.stdout
    assert any("/bin/true" in line for line in lines[1:11])
    assert [line[:2] for line in lines[-5:]] == ["1.", "2.", "3.", "4.", "5."]


def test_demo_without_rights_says_why_and_relocates():
    drop = "import ctypes, os, sys; libc = ctypes.CDLL(None); [libc.prctl(24, bit) for bit in range(64)];"
    drop += "os.execv(sys.executable, [sys.executable, 'examples/demo.py'])"
    done = subprocess.run([sys.executable, "-c", drop], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")
    assert "CAP_BPF" in done.stdout
    assert done.stdout.splitlines()[-1] == "8 relocations, 0 poisoned"


def test_readme_example_runs_as_printed():
    [example, *_] = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(example.splitlines()) == 12
    with running(command=[sys.executable, "-c", example]) as process:
        while not select.select([process.stdout], [], [], 0.1)[0]:
            assert process.poll() is None, process.stderr.read()
            execute(1)
        pid, comm, filename = process.stdout.readline().split()
    assert pid.isdigit()
    assert comm
    assert filename
