"""`ebpfpy run` and `ebpfpy relocate` on functions of kernel modules, as processes."""

import json
import os
import signal
import subprocess
import sys as python
from contextlib import contextmanager
from pathlib import Path

import pytest

from ebpfpy import sys
from tests.kernel import features, modules, triggers
from tests.kernel.blueprints import path_of

ROOT = Path(__file__).parents[2]
COMMAND = [python.executable, "-m", "ebpfpy"]


@pytest.fixture(autouse=True)
def module_tracing():
    features.require_module_tracing()
    with modules.unloaded_afterwards(*modules.USED):
        yield


@contextmanager
def running(*words, attached):
    """`ebpfpy run`, once it has attached so many programs; its output is read by the block."""
    process = subprocess.Popen(
        [*COMMAND, "run", *words], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        try:
            while attached:
                line = process.stderr.readline()
                assert line, f"it ended: {process.wait()}"
                attached -= line.startswith("ebpfpy: attached ")
            yield process
        finally:
            process.kill()


def link_ids():
    found, number = set(), 0
    while (number := sys.next_id("link", number)) is not None:
        found.add(number)
    return found


def test_run_prints_the_events_of_tun_as_json():
    modules.load("tun")
    with running(path_of("tun.bpf.o"), "--count", "2", "--json", attached=2) as process:
        triggers.open_tun()
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    entry, leave = (json.loads(line) for line in out.splitlines())
    assert (entry["map"], entry["type"]) == ("events", "struct event")
    assert (entry["event"]["pid"], entry["event"]["at_exit"], entry["event"]["exists"]) == (os.getpid(), 0, 1)
    assert (leave["event"]["at_exit"], leave["event"]["sk_sndbuf"], leave["event"]["ret"]) == (1, 0x7FFFFFFF, 0)


def test_run_prints_the_events_of_our_own_module_with_exact_values():
    modules.reload(modules.DEMO)
    with running(path_of("kmod_demo.bpf.o"), "--count", "3", "--json", attached=3) as process:
        triggers.poke(21)
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    entry, leave, clash = (json.loads(line)["event"] for line in out.splitlines())
    assert (entry["kind"], leave["kind"], clash["kind"]) == (0, 1, 2)
    assert (leave["value"], leave["ret"], leave["level"], leave["drift"], leave["bias"]) == (21, 43, 1027, -9, -2049)
    assert (leave["wide"], leave["deep"], leave["tag"], leave["history"]) == (
        0xABCDEF0123,
        -4194304,
        "hello-module",
        [21, -2, 3, -4],
    )
    assert (clash["own"], clash["ret"]) == (0xB1C, 26)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_link_behind_and_the_module_can_go(number):
    modules.load(modules.DEMO)
    before = link_ids()
    with running(path_of("kmod_demo.bpf.o"), "--json", attached=3) as process:
        assert len(link_ids() - before) == 3
        triggers.poke(3)
        assert json.loads(process.stdout.readline())["event"]["value"] == 3
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else 143)
    assert "Traceback" not in err
    assert link_ids() == before
    modules.unload(modules.DEMO)


def test_run_says_that_the_module_is_not_loaded():
    with modules.absent("tun"):
        done = subprocess.run(
            [*COMMAND, "run", path_of("tun.bpf.o")], cwd=ROOT, capture_output=True, text=True, check=False
        )
    assert done.returncode == 4
    assert done.stdout == ""
    assert "tun_chr_open" in done.stderr
    assert "not loaded" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_relocate_gives_offline_what_the_kernel_gets(tmp_path):
    modules.load("tun")
    files = []
    for name in ("vmlinux", "tun"):
        path = tmp_path / f"{name}.btf"
        path.write_bytes(Path(f"/sys/kernel/btf/{name}").read_bytes())
        files += ["--btf", str(path)]
    done = subprocess.run(
        [*COMMAND, "relocate", path_of("tun.bpf.o"), *files, "--json"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert [(each["name"], each["split"]) for each in report["kernel_types"]] == [("vmlinux", False), ("tun", True)]
    leave = next(each for each in report["programs"] if each["name"] == "tun_open_exit")
    assert {each["target"]["spec"] for each in leave["relocations"] if each["target"]} == {"vmlinux", "tun"}
    assert not any(each["poisoned"] for program in report["programs"] for each in program["relocations"])
