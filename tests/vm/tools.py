"""Programs of the host that the harness calls, and what to say when one is missing."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable


class SetupError(Exception):
    """The machine lacks something; the message says what, what for, and how to get it."""


@dataclass(frozen=True)
class Tool:
    """A program, the Debian package that has it, and what the harness needs it for."""

    program: str
    package: str
    purpose: str

    def path(self) -> str | None:
        """Return where the program lies, also looking where only root's PATH looks."""
        return shutil.which(self.program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")

    def require(self) -> str:
        """Return where the program lies, or explain what is missing."""
        found = self.path()
        if found is None:
            raise SetupError(f"{self.program} is missing; it {self.purpose}. {install_hint([self])}")
        return found


APT_GET: Final = Tool("apt-get", "apt", "downloads the distribution's kernels")
APT_CACHE: Final = Tool("apt-cache", "apt", "finds the newest kernel of a series")
DPKG: Final = Tool("dpkg", "dpkg", "unpacks the kernel packages")
DEPMOD: Final = Tool("depmod", "kmod", "lists which module needs which")
BUSYBOX: Final = Tool("busybox", "busybox-static", "is the guest's first user program")
QEMU: Final = Tool("qemu-system-x86_64", "qemu-system-x86", "runs the guest")
SETPRIV: Final = Tool("setpriv", "util-linux", "ends the guest when the harness dies")
MAKE: Final = Tool("make", "make", "drives the kernel's module build")
GCC: Final = Tool("gcc-12", "gcc-12", "compiles the kernel module, as it compiled the kernel")
PAHOLE: Final = Tool("pahole", "dwarves", "writes the kernel module's BTF")
OBJCOPY: Final = Tool("objcopy", "binutils", "puts the BTF into the kernel module")

FOR_GUESTS: Final = (APT_GET, APT_CACHE, DPKG, DEPMOD, BUSYBOX, QEMU, SETPRIV)
FOR_MODULES: Final = (MAKE, GCC, PAHOLE, OBJCOPY)


def missing(tools: Iterable[Tool]) -> list[Tool]:
    """Return those of *tools* that this machine has not got."""
    return [tool for tool in tools if tool.path() is None]


def install_hint(tools: Iterable[Tool]) -> str:
    """Return the command that installs *tools* on Debian."""
    packages = sorted({tool.package for tool in tools})
    return f"On Debian: apt-get install {' '.join(packages)}"
