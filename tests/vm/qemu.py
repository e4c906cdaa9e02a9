"""QEMU: start a guest, follow its three channels, and end it.

The console and two virtio-serial ports (the command's output, its exit status) are sockets that QEMU
inherits, so output arrives as it is written and its end is seen when QEMU is gone. QEMU starts the
decompressed kernel through its PVH entry, which skips the kernel's own unpacking. Only the QEMU started
here is ever signalled, and it dies with the harness.
"""

from __future__ import annotations

import os
import re
import selectors
import signal
import socket
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm import tools

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tests.vm.kernels import Kernel

COMMAND_LINE: Final = (
    "console=ttyS0 loglevel=4 panic=-1 oops=panic reboot=t random.trust_cpu=on cryptomgr.notests net.ifnames=0"
)
CHANNELS: Final = ("console", "output", "status")
TERMINAL_CODES: Final = re.compile(r"\r|\x1b(?:c|\[[0-9;?=]*[A-Za-z])")
LINGER: Final = 5.0
"""Seconds that a guest has to end after it has reported."""


@dataclass
class Guest:
    """What came out of a guest."""

    console: bytearray = field(default_factory=bytearray)
    output: bytearray = field(default_factory=bytearray)
    status: bytearray = field(default_factory=bytearray)
    complaints: str = ""
    timed_out: bool = False

    @property
    def report(self) -> str:
        """The line that the guest's first process sent last, or an empty string."""
        return self.status.decode(errors="replace").strip()

    def console_tail(self, lines: int = 60) -> str:
        """Return the end of the console, for a message about a guest that died."""
        text = TERMINAL_CODES.sub("", self.console.decode(errors="replace"))
        return "\n".join(text.splitlines()[-lines:])


def run(
    kernel: Kernel,
    initrd: Path,
    *,
    accelerator: str,
    memory: int,
    timeout: float,
    shares: Sequence[Path] = (),
    sink: Callable[[bytes], None] | None = None,
) -> Guest:
    """Run a guest to its end; *memory* in MiB, *timeout* in seconds, *sink* is handed output as it comes."""
    guest = Guest()
    with ExitStack() as stack:
        pairs = {name: socket.socketpair() for name in CHANNELS}
        for ends in pairs.values():
            for end in ends:
                stack.callback(end.close)
        theirs = {name: ends[1].fileno() for name, ends in pairs.items()}
        process = subprocess.Popen(
            _command(
                kernel, initrd, accelerator=accelerator, memory=memory, shares=shares, sockets=theirs
            ),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            pass_fds=tuple(theirs.values()), start_new_session=True,
        )  # fmt: skip
        stack.callback(_end, process)
        for _, end in pairs.values():
            end.close()
        _follow(guest, {name: ends[0] for name, ends in pairs.items()}, time.monotonic() + timeout, sink)
        _end(process)
        assert process.stdout is not None
        guest.complaints = process.stdout.read().decode(errors="replace").strip()
        process.stdout.close()
    return guest


def _command(
    kernel: Kernel,
    initrd: Path,
    *,
    accelerator: str,
    memory: int,
    shares: Sequence[Path],
    sockets: dict[str, int],
) -> list[str]:
    command = [
        tools.SETPRIV.require(), "--pdeathsig", "KILL", "--", tools.QEMU.require(),
        "-machine", "q35", "-accel", accelerator, "-cpu", "max", "-m", f"{memory}M", "-smp", "1",
        "-kernel", str(kernel.vmlinux), "-initrd", str(initrd), "-append", COMMAND_LINE,
        "-nographic", "-nodefaults", "-no-reboot", "-serial", "chardev:console",
        "-device", "virtio-serial-pci",
        "-device", "virtserialport,chardev=output,nr=1", "-device", "virtserialport,chardev=status,nr=2",
    ]  # fmt: skip
    for name, descriptor in sockets.items():
        command += ["-chardev", f"socket,id={name},fd={descriptor}"]
    command += _directory("root", Path("/"), ",readonly=on")
    for number, share in enumerate(shares):
        command += _directory(f"share{number}", share)
    return command


def _directory(tag: str, path: Path, options: str = "") -> list[str]:
    escaped = str(path).replace(",", ",,")
    return [
        "-fsdev", f"local,id={tag},path={escaped},security_model=none,multidevs=remap{options}",
        "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}",
    ]  # fmt: skip


def _follow(
    guest: Guest, ends: dict[str, socket.socket], deadline: float, sink: Callable[[bytes], None] | None
) -> None:
    """Collect from all channels until each has ended, or the time is up."""
    with selectors.DefaultSelector() as selector:
        for name, end in ends.items():
            selector.register(end, selectors.EVENT_READ, name)
        while selector.get_map():
            left = deadline - time.monotonic()
            if left <= 0:
                guest.timed_out = not guest.status
                return
            for key, _ in selector.select(left):
                arrived = ends[key.data].recv(1 << 16)
                if not arrived:
                    selector.unregister(key.fileobj)
                    continue
                getattr(guest, key.data).extend(arrived)
                if key.data == "output" and sink:
                    sink(arrived)
                if key.data == "status":
                    deadline = min(deadline, time.monotonic() + LINGER)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End this QEMU; one that ends by itself is given a moment."""
    try:
        process.wait(0.5)
    except subprocess.TimeoutExpired:
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
