"""The harness that boots kernels: what it reports of a command, and of a guest that goes wrong."""

from __future__ import annotations

import hashlib
import os
import select
import shutil
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from ebpfpy import btf
from tests import vm
from tests.vm import cache, extract, image, kernels, kmod, packages, tools

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.vm

ROOT = Path(__file__).resolve().parents[2]

guests_need = pytest.mark.skipif(
    bool(tools.missing(tools.FOR_GUESTS)),
    reason=f"programs are missing. {tools.install_hint(tools.missing(tools.FOR_GUESTS))}",
)
both_kernels = pytest.mark.parametrize("kernel", ["6.1", "6.12"])

DEMO_IN_GUEST = """
test -e /sys/kernel/btf/ebpfpy_demo
echo 21 > /proc/ebpfpy_demo
cat /proc/ebpfpy_demo
"""


@guests_need
@both_kernels
def test_exit_status_and_output_are_the_commands(kernel: str) -> None:
    result = vm.run(kernel, ["sh", "-c", "echo out; echo err >&2; uname -r; exit 7"])
    assert result.exit_status == 7
    assert result.output.splitlines() == ["out", "err", result.release]


@guests_need
def test_arguments_reach_the_command_unchanged() -> None:
    awkward = ["a b", "it's", '"$HOME"', "*", ""]
    result = vm.run("6.12", [sys.executable, "-c", "import sys; print(sys.argv[1:])", *awkward])
    assert result.output.strip() == repr(awkward)


@guests_need
def test_guest_offers_what_bpf_programs_need() -> None:
    mounts = {"proc": "/proc", "sysfs": "/sys", "bpf": "/sys/fs/bpf", "debugfs": "/sys/kernel/debug",
              "tracefs": "/sys/kernel/tracing", "cgroup2": "/sys/fs/cgroup", "devtmpfs": "/dev"}  # fmt: skip
    script = "id -u; pwd; cat /sys/class/net/lo/flags; ls /boot/config-$(uname -r); cut -d' ' -f2,3 /proc/mounts"
    user, directory, flags, config, *mounted = vm.run("6.12", ["sh", "-c", script]).output.splitlines()
    assert (user, directory) == ("0", str(Path.cwd()))
    assert int(flags, 16) & 1, "lo is down"
    assert config.startswith("/boot/config-6.12")
    assert {f"{place} {kind}" for kind, place in mounts.items()} <= set(mounted)


@guests_need
def test_environment_and_writable_share(tmp_path: Path) -> None:
    script = 'echo "$GREETING" > result.txt; touch /elsewhere'
    result = vm.run("6.12", ["sh", "-c", f"cd {tmp_path}; {script}"], env={"GREETING": "it's here"}, shares=[tmp_path])
    assert result.exit_status == 0
    assert (tmp_path / "result.txt").read_text() == "it's here\n"
    assert not Path("/elsewhere").exists(), "the guest wrote to the host's root"


@guests_need
def test_timeout_gives_124() -> None:
    start = time.monotonic()
    result = vm.run("6.12", ["sleep", "1000"], timeout=9)
    assert result.exit_status == 124
    assert "no result after 9 s" in result.problem
    assert time.monotonic() - start < 20


@guests_need
@both_kernels
def test_panic_gives_125_with_the_consoles_end(kernel: str) -> None:
    result = vm.run(kernel, ["sh", "-c", "echo before; echo c > /proc/sysrq-trigger"])
    assert result.exit_status == 125
    assert result.output == "before\n"
    assert "sysrq triggered crash" in result.problem


@guests_need
def test_five_megabytes_of_output_arrive_whole() -> None:
    pieces: list[bytes] = []
    result = vm.run("6.12", ["seq", "1", "700000"], sink=pieces.append)
    expected = "".join(f"{number}\n" for number in range(1, 700001))
    assert len(expected) > 4_700_000
    assert result.output == expected
    assert b"".join(pieces).decode() == expected


@guests_need
def test_output_arrives_while_the_command_runs() -> None:
    arrivals: list[float] = []
    vm.run(
        "6.12",
        ["sh", "-c", "echo early; sleep 2; echo late"],
        sink=lambda _: arrivals.append(time.monotonic()),
    )
    assert arrivals[-1] - arrivals[0] > 1


@guests_need
@both_kernels
def test_distribution_module_is_loaded(kernel: str) -> None:
    result = vm.run(kernel, ["ls", "/sys/kernel/btf"], modules=["tun", "nf_conntrack"])
    assert {"tun", "nf_conntrack", "vmlinux"} <= set(result.output.split())


@guests_need
@both_kernels
def test_our_module_answers_and_has_btf(kernel: str) -> None:
    result = vm.run(kernel, ["sh", "-ec", DEMO_IN_GUEST], modules=["ebpfpy_demo"])
    assert (result.exit_status, result.output) == (0, "last 43 hits 1\n")


@guests_need
@pytest.mark.skipif(not shutil.which("bpftool"), reason="bpftool is missing. On Debian: apt-get install bpftool")
@both_kernels
def test_our_modules_btf_describes_its_types(kernel: str) -> None:
    dump = "bpftool btf dump file /sys/kernel/btf/ebpfpy_demo -B /sys/kernel/btf/vmlinux"
    output = vm.run(kernel, ["sh", "-c", dump], modules=["ebpfpy_demo"]).output
    for expected in ("STRUCT 'ebpfpy_demo_state' size=80", "'drift' type_id=", "bitfield_size=13",
                     "ENUM 'ebpfpy_demo_mode' encoding=SIGNED", "FUNC 'ebpfpy_demo_poke'"):  # fmt: skip
        assert expected in output


@guests_need
def test_distilled_module_carries_its_base_and_loads() -> None:
    module = kmod.build("6.12", distilled=True)
    assert set(extract.sections(module)) == {".BTF", ".BTF.base"}
    result = vm.run("6.12", ["sh", "-ec", DEMO_IN_GUEST], modules=[module])
    assert (result.exit_status, result.output) == (0, "last 43 hits 1\n")


@guests_need
@pytest.mark.parametrize("kernel", ["5.10", "7.2"])
def test_oldest_and_newest_kernel_boot(kernel: str) -> None:
    result = vm.run(kernel, ["sh", "-c", "echo 21 > /proc/ebpfpy_demo; uname -r"], modules=["ebpfpy_demo"])
    assert (result.exit_status, result.output.strip()) == (0, result.release)


@guests_need
def test_module_that_does_not_exist_is_named() -> None:
    result = vm.run("6.12", ["true"], modules=["no_such_module"])
    assert result.exit_status == 125
    assert "cannot load the module no_such_module" in result.problem


@guests_need
def test_guests_run_side_by_side() -> None:
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda text: vm.run("6.12", ["echo", text]), ["one", "two"]))
    assert [(result.exit_status, result.output) for result in results] == [(0, "one\n"), (0, "two\n")]


@guests_need
def test_command_passes_status_on_and_reports_the_time() -> None:
    command = [sys.executable, "-m", "tests.vm", "--kernel", "6.12", "--", "sh", "-c", "echo hi; exit 3"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "hi\n")
    assert done.stderr.startswith("vm: 6.12 (6.12.")
    assert done.stderr.endswith(" s, exit 3\n")


@guests_need
def test_terminated_harness_leaves_no_guest_behind() -> None:
    command = [sys.executable, "-m", "tests.vm", "--kernel", "6.12", "--", "sh", "-c", "echo up; sleep 1000"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as harness:
        assert harness.stdout is not None
        assert harness.stdout.readline() == b"up\n"
        guests = _children(harness.pid)
        assert len(guests) == 1
        harness.terminate()
        assert harness.wait(10) == 128 + 15
    assert not any(Path(f"/proc/{guest}").exists() for guest in guests)


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@contextmanager
def empty_cache(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patch:
        patch.setenv("EBPFPY_CACHE", str(directory))
        yield


@contextmanager
def in_line() -> Iterator[subprocess.Popen[str]]:
    """A process that waits for its turn among two, says when it has it, and keeps it; killed at the end."""
    code = "from tests.vm import cache; import time\nwith cache.turn('x', 2): print('in', flush=True); time.sleep(1000)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_tickets(directory: Path, numbers: list[int]) -> None:
    """Wait until these tickets are out."""
    line = directory / "locks" / "x-line"
    end = time.monotonic() + 20
    while (out := sorted(int(path.name) for path in line.glob("*"))) != numbers:
        assert time.monotonic() < end, out
        time.sleep(0.02)


def has_come(process: subprocess.Popen[str], seconds: float) -> bool:
    assert process.stdout is not None
    return bool(select.select([process.stdout], [], [], seconds)[0])


def test_guests_wait_in_the_order_in_which_they_came_and_the_dead_are_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with empty_cache(tmp_path, monkeypatch), ExitStack() as stack:
        holders = [stack.enter_context(in_line()) for _ in range(2)]
        waiting: list[subprocess.Popen[str]] = []
        assert all(has_come(holder, 20) for holder in holders)
        for number in range(1, 5):
            waiting.append(stack.enter_context(in_line()))
            wait_for_tickets(tmp_path, list(range(1, number + 1)))
        assert not any(has_come(process, 0.3) for process in waiting)
        waiting[0].kill()  # it is next
        waiting[2].kill()
        holders[0].kill()
        assert has_come(waiting[1], 20)
        assert not has_come(waiting[3], 0.5)
        holders[1].kill()
        assert has_come(waiting[3], 20)
        wait_for_tickets(tmp_path, [])


def test_unknown_kernel_is_explained() -> None:
    with pytest.raises(vm.SetupError, match=r"unknown kernel '2\.4'; known: 5\.10, 6\.1, 6\.12, 7\.2"):
        vm.run("2.4", ["true"])


def test_missing_program_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = tools.Tool("no-such-program", "some-package", "does something")
    with pytest.raises(vm.SetupError, match=r"no-such-program is missing; it does something.*install some-package"):
        tool.require()


def test_missing_mirror_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "SYSTEM_SOURCES", tmp_path)
    with empty_cache(tmp_path, monkeypatch), pytest.raises(vm.SetupError, match="Set EBPFPY_MIRROR"):
        kernels.get("6.12")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        (
            "sources.list",
            "# deb http://no.test/debian sid main\ndeb [arch=amd64] http://a.test/debian bookworm main\n",
        ),
        (
            "sources.list.d/a.sources",
            "Types: deb\n# a comment\nURIs: http://a.test/debian\nSuites: bookworm x\n",
        ),
    ],
)
def test_mirror_comes_from_either_format_of_sources(
    file: str, content: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(content)
    monkeypatch.setattr(packages, "SYSTEM_SOURCES", tmp_path)
    assert packages._mirror("sid") == "http://a.test/debian"


def test_releases_are_ordered_by_number() -> None:
    assert sorted(["6.12.10", "6.12.9", "6.12.100"], key=packages.natural) == [
        "6.12.9",
        "6.12.10",
        "6.12.100",
    ]


def test_thing_in_the_cache_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    def make(directory: Path) -> None:
        made.append(threading.get_ident())
        time.sleep(0.1)
        (directory / "file").write_text("whole")

    with empty_cache(tmp_path, monkeypatch):
        target = cache.root() / "thing"
        with ThreadPoolExecutor(4) as pool:
            results = list(pool.map(lambda _: (cache.once(target, make) / "file").read_text(), range(4)))
    assert results == ["whole"] * 4
    assert len(made) == 1


def test_failed_making_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make(directory: Path) -> None:
        (directory / "half").touch()
        raise OSError("disk full")

    with empty_cache(tmp_path, monkeypatch):
        target = cache.root() / "thing"
        with pytest.raises(OSError, match="disk full"):
            cache.once(target, make)
        assert not target.exists()
        assert list((cache.root() / "tmp").iterdir()) == []


@pytest.mark.skipif(not shutil.which("cpio"), reason="cpio is missing. On Debian: apt-get install cpio")
def test_cpio_archive_is_what_cpio_reads(tmp_path: Path) -> None:
    archive = image.cpio({"bin/a": b"1", "bin/bb": b"22222"}, ["bin", "empty"])
    subprocess.run(["cpio", "-id", "--quiet"], input=archive, cwd=tmp_path, check=True)
    assert (tmp_path / "bin/a").read_bytes() == b"1"
    assert (tmp_path / "bin/bb").read_bytes() == b"22222"
    assert os.access(tmp_path / "bin/a", os.X_OK)
    assert (tmp_path / "empty").is_dir()


@guests_need
@both_kernels
def test_the_types_in_a_vmlinuz_are_those_that_its_kernel_shows(kernel: str) -> None:
    in_guest = vm.run(kernel, ["sha256sum", "/sys/kernel/btf/vmlinux"]).output.split()[0]
    spec = btf.load_spec(kernels.image(kernel))
    assert hashlib.sha256(spec.raw).hexdigest() == in_guest
    assert spec.type_by_name("task_struct", btf.Struct).size > 1000
