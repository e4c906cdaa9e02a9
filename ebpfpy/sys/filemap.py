"""A file in memory without a descriptor.

`mmap.mmap` keeps a duplicate of the descriptor for as long as the mapping lives (before Python 3.13 always). A
program that holds the kernel's types for its whole life would hold a descriptor for nothing, and no test could tell
it from a leak. So this calls mmap(2) itself. The memory is unmapped when the last view of it is gone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import weakref
from functools import cache
from typing import Any

_FAILED = ctypes.c_void_p(-1).value
_PROT_READ, _MAP_PRIVATE = 1, 2  # on every Linux; importing mmap for them would cost memory
_PROT_WRITE, _MAP_SHARED, _MAP_FIXED_NOREPLACE = 2, 1, 0x100000


@cache
def _library() -> tuple[Any, Any]:
    """mmap(2) and munmap(2), typed."""
    library = ctypes.CDLL(None, use_errno=True)
    mapping, unmapping = library.mmap, library.munmap
    size, number, pointer = ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p
    mapping.restype, mapping.argtypes = pointer, (pointer, size, number, number, number, ctypes.c_long)
    unmapping.restype, unmapping.argtypes = number, (pointer, size)
    return mapping, unmapping


def map_read_only(descriptor: int, size: int) -> Any:
    """The first `size` bytes of a file, read-only and private.

    Args:
        descriptor: of the file; it may be closed afterwards.
        size: bytes, at least 1.

    Returns:
        A ctypes array of char: a buffer, whose slices (also with a step) are bytes.

    Raises:
        OSError: the file cannot be mapped.
    """
    mapping, unmapping = _library()
    address = mapping(None, size, _PROT_READ, _MAP_PRIVATE, descriptor, 0)
    if address is None or address == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    array = (ctypes.c_char * size).from_address(address)
    weakref.finalize(array, unmapping, address, size).atexit = False
    return array


def map_shared_at(descriptor: int, size: int, address: int) -> Any:
    """A file's memory, shared and writable, at a given address, which Python's own mmap cannot ask for.

    Args:
        descriptor: of the file; it may be closed afterwards.
        size: bytes, at least 1.
        address: where it has to be.

    Returns:
        A ctypes array of char.

    Raises:
        OSError: the file cannot be mapped there; EEXIST: something else is there (Linux 4.17).
    """
    mapping, unmapping = _library()
    flags = _MAP_SHARED | _MAP_FIXED_NOREPLACE
    found = mapping(address, size, _PROT_READ | _PROT_WRITE, flags, descriptor, 0)
    if found is None or found == _FAILED:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    if found != address:  # before Linux 4.17 the flag is a mere hint
        unmapping(found, size)
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    array = (ctypes.c_char * size).from_address(found)
    weakref.finalize(array, unmapping, found, size).atexit = False
    return array
