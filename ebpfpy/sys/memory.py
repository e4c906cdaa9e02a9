"""Searching memory with the C library: a 32-bit word among words, a pattern among bytes.

A kernel's BTF is 3 MB of words and 2 MB of strings, and questions about it are "where is this word" and "where is this
name". Python's own ``find`` needs the words spread out in a helper table first and walks the strings at a byte a
nanosecond; wmemchr(3) and memmem(3) of the GNU C library need neither preparation nor memory and answer in a tenth of
a millisecond. Where the C library has no such function, or its wide characters have another size, Python's ``find``
answers; slower, and the same.

The memory that is searched is never read outside its ends.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

_PYBUF_SIMPLE = 0


class _Buffer(ctypes.Structure):
    """``Py_buffer``, the stable ABI's description of a buffer."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.py_object),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.c_void_p),
        ("strides", ctypes.c_void_p),
        ("suboffsets", ctypes.c_void_p),
        ("internal", ctypes.c_void_p),
    )


@cache
def _library() -> tuple[Any, Any]:
    """memmem(3) and wmemchr(3), typed; None for one that cannot be used here."""
    try:
        library = ctypes.PyDLL(None)  # a call takes microseconds, and giving the interpreter up for it twice as long
    except (OSError, TypeError):  # not every system has its C library under that name
        return None, None
    size, pointer = ctypes.c_size_t, ctypes.c_void_p
    pattern = getattr(library, "memmem", None)
    if pattern is not None:
        pattern.restype, pattern.argtypes = pointer, (pointer, size, ctypes.c_char_p, size)
    word = getattr(library, "wmemchr", None) if ctypes.sizeof(ctypes.c_wchar) == 4 else None
    if word is not None:
        word.restype, word.argtypes = pointer, (pointer, ctypes.c_uint32, size)
    return pattern, word


_CONTENT = bytes.__basicsize__ - 1
"""Where CPython's bytes objects have their bytes, counted from the object."""


@cache
def _search_in_bytes() -> Any:
    """memmem(3) for what is inside bytes objects; None where it cannot be used, or they are made differently."""
    sample = b"sample"
    address = ctypes.c_void_p.from_buffer(ctypes.c_char_p(sample)).value
    return _library()[0] if address == id(sample) + _CONTENT else None


def find(data: bytes, pattern: bytes, start: int, end: int) -> int:
    """``data.find(pattern, start, end)`` at the C library's speed; 0 <= start <= end <= len(data)."""
    search = _search_in_bytes()
    if search is None:
        return data.find(pattern, start, end)
    address = id(data) + _CONTENT
    found = search(address + start, end - start, pattern, len(pattern))
    return found - address if found is not None else -1


def address_of(view: memoryview) -> int:
    """The address of a contiguous buffer; it holds for as long as the view is kept."""
    buffer = _Buffer()
    api = ctypes.pythonapi
    if api.PyObject_GetBuffer(ctypes.py_object(view), ctypes.byref(buffer), _PYBUF_SIMPLE):
        raise BufferError("not a contiguous buffer")
    try:
        return int(buffer.buf or 0)
    finally:
        api.PyBuffer_Release(ctypes.byref(buffer))


class Memory:
    """A buffer that is searched.

    Args:
        view: a contiguous buffer of bytes; kept, and must not change.
        native: use the C library where it can be used; False asks Python's own functions.
    """

    __slots__ = ("_address", "_bytes", "_pattern", "_view", "_word")
    _pattern: Any
    _word: Any

    def __init__(self, view: memoryview, *, native: bool = True) -> None:
        self._view = view
        self._pattern, self._word = _library() if native else (None, None)
        self._address = address_of(view) if native else 0
        if self._address % 4:
            self._word = None
        self._bytes: bytes | None = None

    def find(self, pattern: bytes, start: int, end: int) -> int:
        """The first place of `pattern` in bytes `start` to `end`; -1 if it is not there."""
        end = min(end, len(self._view))
        if self._pattern is None:
            return self._copy().find(pattern, start, end)
        if end - start < len(pattern):
            return -1
        found = self._pattern(self._address + start, end - start, pattern, len(pattern))
        return found - self._address if found is not None else -1

    def words_equal(self, value: int, start: int, end: int) -> list[int]:
        """Every word of that value (this machine's byte order) among words `start` to `end`.

        Words are counted from the start of the buffer.
        """
        end = min(end, len(self._view) // 4)
        if self._word is None:
            return self._words_equal_in_bytes(value, start, end)
        hits: list[int] = []
        word, address, wanted = self._word, self._address, ctypes.c_uint32(value)  # converted once, not for each hit
        at, stop = address + 4 * start, address + 4 * max(start, end)
        while (hit := word(at, wanted, (stop - at) >> 2)) is not None:
            hits.append(hit)
            at = hit + 4
        return [(hit - address) >> 2 for hit in hits]

    def _words_equal_in_bytes(self, value: int, start: int, end: int) -> list[int]:
        import sys

        data, needle = self._copy(), value.to_bytes(4, sys.byteorder)
        found: list[int] = []
        at = data.find(needle, 4 * start, 4 * end)
        while at >= 0:
            if at % 4 == 0:
                found.append(at >> 2)
            at = data.find(needle, at + 1, 4 * end)
        return found

    def _copy(self) -> bytes:
        if self._bytes is None:
            self._bytes = bytes(self._view)
        return self._bytes
