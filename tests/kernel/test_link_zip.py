"""Uprobes on a library that is mapped from within a zip archive, as Android's loader does it."""

import ctypes
import mmap
import zipfile
from contextlib import contextmanager

import pytest

from ebpfpy import link
from ebpfpy.errors import InputError
from ebpfpy.link.executable import Executable, find_binary
from tests.kernel.conformance import only, runs, unless_missing

FUNCTION = "labs"  # a few instructions that refer to nothing else, so they run wherever they are mapped
MEMBER = "lib/libc.so"


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    path = tmp_path_factory.mktemp("zip") / "app.apk"
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("first", b"something before it")
        opened.write(find_binary("libc.so.6"), MEMBER)
    return path


@contextmanager
def mapped(archive):
    """The function, callable where it lies in the archive."""
    with Executable(f"{archive}!/{MEMBER}") as library:
        place = library.function(FUNCTION)
    start = place // mmap.PAGESIZE * mmap.PAGESIZE
    size = place - start + mmap.PAGESIZE
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype, libc.mmap.argtypes = ctypes.c_void_p, (ctypes.c_void_p, *[ctypes.c_size_t] * 5)
    libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
    with open(archive, "rb") as file:
        address = libc.mmap(None, size, mmap.PROT_READ | mmap.PROT_EXEC, mmap.MAP_PRIVATE, file.fileno(), start)
    assert address != ctypes.c_void_p(-1).value, ctypes.get_errno()
    try:
        yield ctypes.CFUNCTYPE(ctypes.c_long, ctypes.c_long)(address + place - start)
    finally:
        libc.munmap(address, size)


def test_a_uprobe_sees_a_function_that_lies_in_an_archive(archive):
    with mapped(archive) as function, only("probes.bpf.o", "uprobe_plain") as (program, collection):
        assert function(-7) == 7
        assert runs(collection) == 0
        with unless_missing(), link.attach_uprobe(program, f"{archive}!/{MEMBER}", FUNCTION):
            assert function(-7) == 7
            assert runs(collection) == 1
        function(1)
        assert runs(collection) == 1


def test_an_offset_is_counted_from_the_members_start(archive):
    with Executable(find_binary("libc.so.6")) as library:
        offset = library.function(FUNCTION)
    with mapped(archive) as function, only("probes.bpf.o", "uprobe_plain") as (program, collection):
        with unless_missing(), link.attach_uprobe(program, f"{archive}!/{MEMBER}", offset=offset):
            function(1)
        assert runs(collection) == 1


def test_many_functions_of_a_library_in_an_archive_are_probed_at_once(archive):
    with mapped(archive) as function, only("probes.bpf.o", "uprobe_multi") as (program, collection):
        with unless_missing(), link.attach_uprobe_multi(program, f"{archive}!/{MEMBER}", FUNCTION):
            function(1)
        assert sum(collection.maps["runs"].values()) == 1


def test_a_compressed_library_is_refused_before_the_kernel_is_asked(tmp_path):
    path = tmp_path / "app.apk"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        opened.writestr(MEMBER, bytes(4096))
    with only("probes.bpf.o", "uprobe_plain") as (program, _), pytest.raises(InputError, match="is compressed"):
        link.attach_uprobe(program, f"{path}!/{MEMBER}", FUNCTION)
