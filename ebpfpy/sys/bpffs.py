"""BPF file systems: which directory is in one, and what to say of those that are not."""

from __future__ import annotations

import errno
import os

from ebpfpy.errors import KernelError, kernel_error


def is_bpf_file_system(path: str | os.PathLike[str]) -> bool:
    """Whether a path is in a BPF file system, as /proc/self/mountinfo says.

    Raises:
        KernelError: there is nothing at the path, or /proc is not there.
    """
    try:
        device = os.stat(path).st_dev
        with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as file:
            mounts = file.read()
    except OSError as error:
        raise kernel_error(error.errno or errno.EIO, "open", subject=str(error.filename)) from error
    wanted = f"{os.major(device)}:{os.minor(device)}"
    for line in mounts.splitlines():
        # id parent major:minor root place options ... - type source options
        before, _, after = line.partition(" - ")
        if before.split()[2:3] == [wanted] and after.split()[:1] == ["bpf"]:
            return True
    return False


def complaint(directory: str | os.PathLike[str]) -> str | None:
    """Why nothing can be pinned in a directory, or no token made of it; None where it is in a BPF file system."""
    directory = os.fspath(directory) or "."
    try:
        if is_bpf_file_system(directory):
            return None
    except KernelError as error:
        return f"there is no directory {directory}" if error.errno in (errno.ENOENT, errno.ENOTDIR) else None
    return f"{directory} is in no BPF file system: take one, as /sys/fs/bpf, or `mount -t bpf bpf DIRECTORY`"
