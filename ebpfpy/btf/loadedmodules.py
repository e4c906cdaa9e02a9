"""What the running kernel says of its modules: which have BTF, which loading of one it is, and why one has none.

A module comes and goes while others look at it. In the kernel (kernel/bpf/btf.c, ``btf_module_notify``) things happen
in this order:

* loading: /proc/modules says "Loading"; its BTF gets an id; /sys/kernel/btf/NAME appears; its init runs; it is "Live".
  Programs can attach to it from then on, not before.
* unloading: its exit runs; /proc/modules says "Unloading"; /sys/kernel/btf/NAME disappears, and the id with it. Whoever
  holds a descriptor of the BTF object can still read types, of code that is no more.

So a module's name does not say which loading of it is meant. The inode of its file in sysfs does: it is new each time,
and read with the types. It is called the module's *incarnation* here. What was found in one incarnation holds as long
as the file still has that inode. From Linux 6.4 on a loaded program keeps the module that it attaches to; before,
only a link does.
"""

from __future__ import annotations

import errno
import os
from typing import TypeAlias

from ebpfpy.errors import InputError, kernel_error
from ebpfpy.sys.paths import path_text
from ebpfpy.sys.vmlinux import VMLINUX

SYSFS = "/sys/kernel/btf"
MODULES = "/sys/module"
LIST = "/proc/modules"
GONE = frozenset({errno.ENOENT, errno.ENODEV})
"""Errors of opening and reading a file in sysfs whose module has just been unloaded."""

DIRECTORY = "the directory of the kernel's BTF"
NO_BTF = "it is loaded, but has no BTF"

_MAX_NAME = 255

Incarnation: TypeAlias = tuple[int, int]
"""Inode and bytes of a module's file in sysfs: one loading of the module, told from any other."""


def kernel_module_names(directory: str = SYSFS) -> tuple[str, ...]:
    """The names of all loaded modules that have BTF, sorted; empty where the kernel offers none.

    Args:
        directory: where the kernel shows its BTF, if sysfs is mounted elsewhere.

    Raises:
        InputError: that is no path.
        KernelError: the directory cannot be listed; also the matching OSError.
    """
    directory = path_text(directory, DIRECTORY)
    try:
        return tuple(sorted(name for name in os.listdir(directory) if name != VMLINUX))
    except OSError as error:
        if error.errno in GONE:
            return ()
        raise kernel_error(error.errno or errno.EIO, "open", subject=directory) from error


def incarnation(name: str, directory: str = SYSFS) -> Incarnation | None:
    """Which loading of a module the kernel has now; None if none that has BTF."""
    try:
        status = os.stat(f"{directory}/{name}")
    except (OSError, ValueError):  # a NUL in the name
        return None
    return status.st_ino, status.st_size


def is_still_loaded(name: str, before: Incarnation | None, directory: str = SYSFS) -> bool:
    """Whether a module is the one that it was; True where that cannot be told.

    Args:
        name: of the module.
        before: which loading of it was read, in that directory.
        directory: where the kernel shows its BTF.
    """
    if before is None or not os.path.isdir(directory):
        return True
    return incarnation(name, directory) == before


def module_name(name: str) -> str:
    """A module's name as the kernel writes it.

    Raises:
        InputError: it cannot be one.
    """
    if not isinstance(name, str):
        raise InputError(f"a module's name is text, not {type(name).__name__}")
    name = name.replace("-", "_")
    if not name or not name.isprintable() or "/" in name or name.startswith(".") or len(name) > _MAX_NAME:
        raise InputError(f"{name!r} is not the name of a module")
    if name == VMLINUX:
        raise InputError("vmlinux is the kernel itself: load_kernel_spec() reads its types")
    return name


def state(name: str) -> str | None:
    """What the kernel says of a module: "Loading", "Live", "Unloading", "built in", or None: it is not loaded."""
    # a module that comes between the two questions is found by the third, and is not taken for a part of the kernel
    return _listed(name) or (os.path.isdir(f"{MODULES}/{name}") and (_listed(name) or "built in")) or None


def _listed(name: str) -> str | None:
    wanted = name.encode("utf-8", "surrogateescape")
    try:
        with open(LIST, "rb") as file:
            for line in file:  # tun 69632 2 vhost_net, Live 0xffffffffc0a1b000
                parts = line.split()
                if len(parts) >= 5 and parts[0] == wanted:
                    return parts[4].decode("ascii", "replace")
    except OSError:  # a kernel without loadable modules
        pass
    return None


def loaded_names() -> frozenset[bytes]:
    """The names of all modules, those without BTF included."""
    try:
        with open(LIST, "rb") as file:
            return frozenset(line.partition(b" ")[0] for line in file)
    except OSError:
        return frozenset()


def why_no_types(name: str) -> str:
    """Why a module has no types now, in words."""
    return {
        "Live": NO_BTF,
        "Loading": "it is only just being loaded",
        "Unloading": "it is being unloaded",
        "built in": "it is built into the kernel, whose types are vmlinux's",
    }.get(state(name) or "", "it is not loaded")
