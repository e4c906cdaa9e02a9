"""Kernel modules come and go: loading and unloading them for a test.

`ebpfpy_demo` is our own (testdata/kmod): its file is named by EBPFPY_DEMO_KO, else it is what `tests.vm.kmod` has built
for the running kernel.
"""

import ctypes
import errno
import os
import subprocess
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from tests.kernel import features

DEMO = "ebpfpy_demo"
USED = ("tun", "loop", "veth", DEMO)
"""What the tests load."""


def is_loaded(name):
    with open("/proc/modules") as table:
        return any(line.split()[0] == name for line in table)


def names():
    """All modules that are loaded and have types, sorted."""
    return tuple(sorted(name for name in os.listdir("/sys/kernel/btf") if name != "vmlinux"))


def load(name):
    """Load a module unless it is loaded."""
    if not is_loaded(name):
        _run(*(["insmod", demo_file()] if name == DEMO else ["modprobe", name]))


def unload(name):
    """Unload a module if it is loaded; it may take the kernel a moment to let go of it."""
    end = time.monotonic() + 20
    while is_loaded(name):
        try:
            _run("rmmod", name)
        except RuntimeError as error:
            if "in use" not in str(error) or time.monotonic() > end:
                raise
            time.sleep(0.1)


def demo_image():
    """The bytes of our own module, for `insert`."""
    return Path(demo_file()).read_bytes()


def insert(image):
    """Load a module by the bytes of its file, without a process in between: for tests that do it often."""
    if _library().init_module(image, ctypes.c_ulong(len(image)), b""):
        number = ctypes.get_errno()
        raise OSError(number, f"init_module: {os.strerror(number)}")


def remove(name):
    """Unload a module as `insert` loads it; waits until nothing uses it."""
    while _library().delete_module(name.encode(), os.O_NONBLOCK):
        number = ctypes.get_errno()
        if number not in (errno.EAGAIN, errno.EBUSY):
            raise OSError(number, f"delete_module: {os.strerror(number)}")
        time.sleep(0.001)


@cache
def _library():
    return ctypes.CDLL(None, use_errno=True)


def reload(name):
    """Unload and load: the module's own state begins anew, and so do its types' id and its file in sysfs."""
    unload(name)
    load(name)


@contextmanager
def unloaded_afterwards(*which):
    """What the block has loaded of these modules is unloaded again, for tests that want them absent."""
    try:
        yield
    finally:
        if features.no_modules() is None:
            for name in which:
                unload(name)


@contextmanager
def absent(name):
    """The module is not loaded inside the block, and loaded again behind it if it was before."""
    before = is_loaded(name)
    unload(name)
    try:
        yield
    finally:
        if before:
            load(name)


def demo_file():
    """The path of our own module, built for the running kernel."""
    given = os.environ.get("EBPFPY_DEMO_KO")
    if given:
        return given
    from tests.vm import kernels, kmod

    series = kernels.series_of(features.RELEASE)
    if series is not None:
        return str(kmod.build(series))
    raise RuntimeError(f"{DEMO} is not built for {features.RELEASE}: set EBPFPY_DEMO_KO to its path")


def _run(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip() or done.returncode}")
