"""`make test`: every check of the project, one after the other, and one summary.

    python tests/run.py                 everything
    python tests/run.py unit property   only these steps
    python tests/run.py --list          their names

A step's output is shown as it comes, but that of the guests, which run at the same time, when each is done; it is
kept in build/test-results. A step that fails does not stop the others. The last line is
``N passed, N failed, N skipped``. The exit status is 1 when anything failed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "test-results"
PYTHON = sys.executable
BIN = Path(sys.executable).parent
KERNELS = ("5.10", "6.1", "6.12", "7.2")
MODULES = ("sch_ingress", "cls_bpf")
"""Modules that classic traffic control needs; what tests are about, they load themselves."""
VM_SECONDS = 2000
"""What one guest may take, boot included; without KVM every instruction is emulated."""


@dataclass
class Step:
    """One command. With `tests`, pytest's, whose cases are counted one by one; otherwise it counts as one."""

    name: str
    command: list[str]
    tests: bool = False
    needs: str = ""
    """Another step: when that one failed, this one cannot run."""
    guest: bool = False
    """A virtual machine. All are started at the same time, and wait there until a processor is free for them."""


@dataclass
class Outcome:
    """What became of a step."""

    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)


def steps() -> list[Step]:
    """Every step, in order."""
    return [
        Step("lint", [f"{BIN}/ruff", "check", "."]),
        Step("format", [f"{BIN}/ruff", "format", "--check", "."]),
        Step("types", [f"{BIN}/mypy", "--strict", "ebpfpy"]),
        Step("floors", [f"{BIN}/lint-imports"]),
        *(pytest_step(name) for name in ("unit", "property", "differential", "kernel")),
        Step("vm-setup", [PYTHON, "-m", "tests.vm.setup", *(word for k in KERNELS for word in ("--kernel", k))]),
        pytest_step("vm_harness", needs="vm-setup"),
        *(vm_step(kernel) for kernel in KERNELS),
    ]


def pytest_step(directory: str, *, needs: str = "") -> Step:
    """The tests of one directory on this machine."""
    command = [PYTHON, "-m", "pytest", "-q", f"tests/{directory}", f"--junit-xml={report(directory)}"]
    return Step(directory, command, tests=True, needs=needs)


def vm_step(kernel: str) -> Step:
    """The kernel tests inside a guest that runs a kernel of a distribution."""
    name = f"kernel-{kernel}"
    guest = [PYTHON, "-m", "tests.vm", "--kernel", kernel, "--timeout", str(VM_SECONDS), "--share", str(RESULTS)]
    guest += ["--env", f"EBPFPY_VM={kernel}", *(word for module in MODULES for word in ("--module", module))]
    inside = [PYTHON, "-m", "pytest", "-v", "--durations=10", "-p", "no:cacheprovider", "-o", "timeout=300"]
    inside += ["tests/kernel", f"--junit-xml={report(name)}"]
    return Step(name, [*guest, "--", *inside], tests=True, needs="vm-setup", guest=True)


def report(name: str) -> Path:
    """Where pytest writes what became of each test of a step."""
    return RESULTS / f"{name}.xml"


def log(name: str) -> Path:
    """Where the output of a guest goes."""
    return RESULTS / f"{name}.log"


def run(step: Step) -> Outcome:
    """Run a step, show its output, count."""
    announce(step)
    start = time.monotonic()
    report(step.name).unlink(missing_ok=True)
    try:
        status = subprocess.run(step.command, cwd=ROOT, check=False).returncode
    except OSError as error:
        print(f"{error.filename}: {error.strerror}")
        status = 127
    return judge(step, status, start)


def run_guests(guests: list[Step]) -> dict[str, Outcome]:
    """Run virtual machines at the same time, show each one's output when it is done, count."""
    start = time.monotonic()
    running = []
    for step in guests:
        announce(step)
        report(step.name).unlink(missing_ok=True)
        with log(step.name).open("wb") as output:
            running.append(subprocess.Popen(step.command, cwd=ROOT, stdout=output, stderr=subprocess.STDOUT))
    outcomes = {}
    for step, process in zip(guests, running, strict=True):
        status = process.wait()
        print(f"\n=== {step.name}\n{log(step.name).read_text(errors='replace')}")
        outcomes[step.name] = judge(step, status, start)
    return outcomes


def announce(step: Step) -> None:
    """Say what begins."""
    print(f"\n=== {step.name}: {' '.join(step.command)}", flush=True)


def judge(step: Step, status: int, start: float) -> Outcome:
    """Say how a step ended, and count."""
    print(f"=== {step.name}: exit {status} after {time.monotonic() - start:.1f} s", flush=True)
    if not step.tests:
        return Outcome(failed=[f"{step.name} (exit {status})"]) if status else Outcome(passed=1)
    outcome = count(report(step.name))
    counted = outcome.passed or outcome.failed or outcome.skipped
    if status == 0 and not counted:
        outcome.failed.append(f"{step.name} left no report of its tests")
    elif status == NO_TESTS and not outcome.failed:
        outcome.skipped["there are no tests"] += 1
    elif status and not outcome.failed:
        outcome.failed.append(f"{step.name} ended with exit {status}")
    return outcome


NO_TESTS = 5
"""pytest's exit status when it found none."""


def count(path: Path) -> Outcome:
    """The cases in a JUnit report; nothing when there is none."""
    outcome = Outcome()
    try:
        cases = list(ET.parse(path).iter("testcase"))
    except (OSError, ET.ParseError):
        return outcome
    for case in cases:
        name = f"{case.get('classname')}::{case.get('name')}"
        skip = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            outcome.failed.append(name)
        elif skip is not None:
            outcome.skipped[skip.get("message") or "no reason given"] += 1
        else:
            outcome.passed += 1
    return outcome


def summarise(outcomes: dict[str, Outcome], seconds: float) -> int:
    """Print what became of all; the exit status."""
    print("\n=== summary")
    for name, outcome in outcomes.items():
        failed, skipped = len(outcome.failed), outcome.skipped.total()
        print(f"{name:<14} {outcome.passed:5} passed {failed:5} failed {skipped:5} skipped")
    for name, outcome in outcomes.items():
        for reason, times in outcome.skipped.items():
            print(f"skipped in {name}, {times} times: {reason}")
    for name, outcome in outcomes.items():
        for case in outcome.failed:
            print(f"FAILED in {name}: {case}")
    passed = sum(outcome.passed for outcome in outcomes.values())
    failed = sum(len(outcome.failed) for outcome in outcomes.values())
    skipped = sum(outcome.skipped.total() for outcome in outcomes.values())
    print(f"{seconds / 60:.1f} minutes in all")
    print(f"{passed} passed, {failed} failed, {skipped} skipped", flush=True)
    return int(failed > 0)


def main(words: list[str]) -> int:
    """Run the steps named, or all."""
    todo = steps()
    names = [step.name for step in todo]
    if words == ["--list"]:
        print("\n".join(names))
        return 0
    unknown = [word for word in words if word not in names]
    if unknown:
        print(f"no step {', '.join(unknown)}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    RESULTS.mkdir(parents=True, exist_ok=True)
    os.environ["PATH"] = f"{BIN}{os.pathsep}{os.environ.get('PATH', '')}"
    start = time.monotonic()
    outcomes: dict[str, Outcome] = {}
    guests = []
    for step in todo:
        if words and step.name not in words:
            continue
        if step.needs in outcomes and outcomes[step.needs].failed:
            outcomes[step.name] = not_run(step)
        elif step.guest:
            guests.append(step)
        else:
            outcomes[step.name] = run(step)
    outcomes |= run_guests(guests)
    return summarise(outcomes, time.monotonic() - start)


def not_run(step: Step) -> Outcome:
    """A step whose preparation failed: a failure in CI, otherwise something this machine lacks."""
    reason = f"{step.needs} failed, and says what is missing"
    if os.environ.get("CI") == "true":
        return Outcome(failed=[f"{step.name}: {reason}"])
    return Outcome(skipped=Counter([reason]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
