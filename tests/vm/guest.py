"""One command in one guest."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm import accelerator, cache, image, kernels, qemu

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.vm.kernels import Kernel
    from tests.vm.qemu import Guest

TIMED_OUT: Final = 124
DIED: Final = 125
SYSTEM_PATH: Final = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


@dataclass(frozen=True)
class Result:
    """What became of a command in a guest."""

    exit_status: int
    """The command's own, or 124 when the time was up, or 125 when the guest died or could not be prepared."""
    output: str
    """The command's output and errors, in the order it wrote them."""
    seconds: float
    """From the start of QEMU to its end."""
    release: str
    accelerator: str
    problem: str = ""
    """For 124 and 125: what happened, and the end of the console."""


def run(
    kernel: str,
    argv: Sequence[str],
    *,
    modules: Sequence[str | Path] = (),
    timeout: float = 120,
    memory: int = 1024,
    env: Mapping[str, str] | None = None,
    shares: Sequence[Path] = (),
    sink: Callable[[bytes], None] | None = None,
) -> Result:
    """Boot a kernel and run a command in it, in the current directory, as root.

    Args:
        kernel: a series, such as "6.12"; downloaded when the cache has none.
        argv: the command and its arguments; no shell is between.
        modules: loaded beforehand: names for modprobe, paths of .ko files, or "ebpfpy_demo", which is built.
        timeout: seconds that the guest may take, boot included.
        memory: MiB of the guest.
        env: environment variables besides PATH, HOME, TERM and LANG.
        shares: host directories that the guest may write to, at their own paths.
        sink: is handed the output as it comes.

    Raises:
        SetupError: a kernel or a program is missing; the message says how to get it.
    """
    chosen = kernels.get(kernel)
    accel = accelerator.choose(lambda accel, limit: _works(chosen, accel, limit))
    last = image.run_part(
        chosen,
        argv,
        modules=[_module(kernel, module) for module in modules],
        shares=[share.resolve() for share in shares],
        directory=Path.cwd(),
        env=_environment() | dict(env or {}),
    )
    places = [share.resolve() for share in shares]
    with cache.turn("guest", os.cpu_count() or 1):  # emulated machines that share a processor only wait for each other
        start = time.monotonic()
        guest = _boot(chosen, last, accel, timeout, memory=memory, shares=places, sink=sink)
        seconds = time.monotonic() - start
    status, problem = _verdict(guest, timeout)
    output = guest.output.decode(errors="replace")
    return Result(status, output, seconds, chosen.release, accel.partition(",")[0], problem)


def _boot(
    kernel: Kernel,
    last: bytes,
    accel: str,
    timeout: float,
    *,
    memory: int = 1024,
    shares: Sequence[Path] = (),
    sink: Callable[[bytes], None] | None = None,
) -> Guest:
    with cache.scratch() as scratch:
        initrd = scratch / "initrd"
        initrd.write_bytes(image.base(kernel).read_bytes() + last)
        return qemu.run(kernel, initrd, accelerator=accel, memory=memory, timeout=timeout, shares=shares, sink=sink)


def _works(kernel: Kernel, accel: str, limit: float) -> bool:
    last = image.run_part(kernel, ["true"], modules=(), shares=(), directory=Path("/"), env={})
    return _boot(kernel, last, accel, limit).report == "exit 0"


def _module(kernel: str, module: str | Path) -> str:
    from tests.vm import kmod  # here, since `python -m tests.vm.kmod` objects to an earlier import

    if module == kmod.NAME:
        return str(kmod.build(kernel))
    if isinstance(module, Path) or module.endswith(".ko"):
        return str(Path(module).resolve())
    return module


def _environment() -> dict[str, str]:
    """The host's PATH, with this interpreter's directory first and the system's directories last."""
    path = [str(Path(sys.executable).parent), *os.environ.get("PATH", "").split(":"), *SYSTEM_PATH]
    return {
        "PATH": ":".join(dict.fromkeys(path)),
        "HOME": str(Path.home()),
        "TERM": "dumb",
        "LANG": "C.UTF-8",
    }


def _verdict(guest: Guest, timeout: float) -> tuple[int, str]:
    """Return the exit status, and what to say when it is not the command's own."""
    kind, _, detail = guest.report.partition(" ")
    if kind == "exit" and detail.isdigit():
        return int(detail), ""
    evidence = "\n".join(part for part in (guest.complaints, guest.console_tail()) if part)
    if kind == "failed":
        return DIED, f"the guest could not be prepared: {detail}\n{evidence}"
    if guest.timed_out:
        return TIMED_OUT, f"no result after {timeout:g} s; the console's end:\n{evidence}"
    return DIED, f"the guest died before the command ended; the console's end:\n{evidence}"
