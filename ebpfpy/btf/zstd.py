"""Zstandard, from whoever has it: Python 3.14, the system's libzstd, or the package zstandard.

Modules and kernels of many distributions are packed with it. Nearly every Linux has ``libzstd.so.1`` installed, because
its package manager or its boot loader needs it, so that is called where Python has no module of its own. The functions
used are of its stable interface (zstd.h, since 1.0).
"""

from __future__ import annotations

import io
from functools import cache
from typing import TYPE_CHECKING, Any

from ebpfpy.errors import BtfError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]

MAGIC = b"\x28\xb5\x2f\xfd"
_LIBRARY = "libzstd.so.1"
_PIECE = 1 << 20


def decompressor() -> Any:
    """An object with ``decompress(data, max_length)``, ``eof`` and ``unused_data``, as in the standard library.

    Raises:
        UnsupportedError: nobody here has zstd.
    """
    try:
        from compression.zstd import ZstdDecompressor  # type: ignore[import-not-found]
    except ImportError:
        pass
    else:
        return ZstdDecompressor()
    if library() is not None:
        return SystemDecompressor()
    try:
        import zstandard  # type: ignore[import-not-found]  # noqa: F401
    except ImportError:
        raise UnsupportedError(
            f"packed with zstd: that needs Python 3.14, the library {_LIBRARY} or the package zstandard;"
            " `zstd -d FILE` unpacks it",
            feature="zstd",
        ) from None
    return PackageDecompressor()


def errors() -> tuple[type[Exception], ...]:
    """What the standard library's zstd raises, where there is one."""
    try:
        from compression.zstd import ZstdError
    except ImportError:
        return ()
    return (ZstdError,)


@cache
def library() -> Any:
    """The system's libzstd, typed; None where there is none."""
    import ctypes

    try:
        found = ctypes.CDLL(_LIBRARY)
    except OSError:
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    found.ZSTD_createDStream.restype, found.ZSTD_createDStream.argtypes = pointer, ()
    found.ZSTD_freeDStream.restype, found.ZSTD_freeDStream.argtypes = size, (pointer,)
    found.ZSTD_decompressStream.restype = size
    found.ZSTD_decompressStream.argtypes = (pointer, pointer, pointer)
    found.ZSTD_isError.restype, found.ZSTD_isError.argtypes = ctypes.c_uint, (size,)
    found.ZSTD_getErrorName.restype, found.ZSTD_getErrorName.argtypes = ctypes.c_char_p, (size,)
    return found


class SystemDecompressor:
    """One frame, unpacked by the system's library; all input comes at once."""

    def __init__(self) -> None:
        self.eof = False
        self.unused_data = b""
        self._data = b""
        self._at = 0
        self._stream: int | None = library().ZSTD_createDStream()
        if self._stream is None:
            raise MemoryError("ZSTD_createDStream")

    def __del__(self) -> None:
        if getattr(self, "_stream", None) is not None:
            library().ZSTD_freeDStream(self._stream)
            self._stream = None

    def decompress(self, data: Buffer, max_length: int) -> bytes:
        """Up to `max_length` bytes more.

        Raises:
            BtfError: the frame is damaged.
        """
        import ctypes

        class Place(ctypes.Structure):
            # void *src or *dst, size_t size, size_t pos
            _fields_ = (("start", ctypes.c_void_p), ("size", ctypes.c_size_t), ("at", ctypes.c_size_t))

        self._data += bytes(data)
        packed = Place(ctypes.cast(ctypes.c_char_p(self._data), ctypes.c_void_p), len(self._data), self._at)
        out = bytearray()
        room = ctypes.create_string_buffer(min(max_length, _PIECE))
        while not self.eof and len(out) < max_length:
            place = Place(ctypes.addressof(room), min(len(room), max_length - len(out)), 0)
            result = library().ZSTD_decompressStream(self._stream, ctypes.byref(place), ctypes.byref(packed))
            if library().ZSTD_isError(result):
                raise BtfError(f"zstd: {library().ZSTD_getErrorName(result).decode()}", offset=packed.at)
            out += memoryview(room)[: place.at]
            self.eof = result == 0
            if place.at < place.size and packed.at == packed.size:
                break  # it wants more input than there is
        self._at = packed.at
        if self.eof:
            self.unused_data = self._data[self._at :]
        return bytes(out)


class PackageDecompressor:
    """One frame, unpacked by the package zstandard; all input comes at once."""

    def __init__(self) -> None:
        import zstandard

        self._error = zstandard.ZstdError
        self._object = zstandard.ZstdDecompressor().decompressobj()
        self._input = io.BytesIO()
        self._left = bytearray()
        self.eof = False
        self.unused_data = b""

    def decompress(self, data: Buffer, max_length: int) -> bytes:
        """Up to `max_length` bytes more.

        Raises:
            BtfError: the frame is damaged.
        """
        if len(data):
            self._input = io.BytesIO(bytes(data))
        out = self._left
        # the package has no limit for what comes out, so little is put in: a kilobyte grows to 32 megabytes at most
        while len(out) < max_length and not self._object.eof:
            piece = self._input.read(1024)
            if not piece:
                break
            try:
                out += self._object.decompress(piece)
            except self._error as error:
                raise BtfError(f"zstd: {error}", offset=self._input.tell()) from None
        self._left = out[max_length:]
        self.eof = self._object.eof and not self._left
        if self.eof:
            self.unused_data = self._object.unused_data + self._input.read()
        return bytes(out[:max_length])
