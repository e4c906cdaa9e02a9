"""Compressed files: which format the first bytes tell, and what is inside, up to a limit.

A file may come from anywhere, and a kilobyte of it may unpack to a gigabyte. So only the beginning is unpacked first,
and the rest if the caller likes what it sees; and never more than `MAX_SIZE`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ebpfpy.errors import BtfError, UnsupportedError

from .lz4 import FRAME_MAGIC as LZ4_FRAME_MAGIC
from .lz4 import LEGACY_MAGIC as LZ4_MAGIC
from .lz4 import Decompressor as Lz4Decompressor
from .zstd import MAGIC as ZSTD_MAGIC
from .zstd import decompressor as zstd_decompressor
from .zstd import errors as zstd_errors

if TYPE_CHECKING:
    from collections.abc import Buffer, Callable  # type: ignore[attr-defined]

MAX_SIZE = 1 << 30
"""Bytes that a file, or what is in a compressed one, may have."""

_BEGINNING = 1 << 16
_ENOUGH = 1024
"""Bytes by which everything is recognised."""
_MOST_STREAMS = 1024
"""In one file; each is found behind the one before it, in a copy of all that is left."""


def _xz() -> Any:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_XZ)


def _lzma() -> Any:
    import lzma

    return lzma.LZMADecompressor(lzma.FORMAT_ALONE)


def _bz2() -> Any:
    import bz2

    return bz2.BZ2Decompressor()


class _Gzip:
    """zlib's decompressor with the manners of the others: what it has not looked at yet, it keeps."""

    def __init__(self) -> None:
        import zlib

        self._object = zlib.decompressobj(31)
        self._left: Buffer = b""

    def decompress(self, data: Buffer, max_length: int) -> bytes:
        """Up to `max_length` bytes more."""
        found = self._object.decompress(data if len(data) else self._left, max_length)
        self._left = self._object.unconsumed_tail
        return found

    @property
    def eof(self) -> bool:
        """Whether the stream has ended."""
        return self._object.eof

    @property
    def unused_data(self) -> bytes:
        """What lies behind its end."""
        return self._object.unused_data


def _no_lzo() -> Any:
    raise UnsupportedError("packed with lzop, which is not read here; `lzop -d FILE` unpacks it", feature="lzo")


def _no_lz4_frame() -> Any:
    raise UnsupportedError(
        "packed with lz4, in the frame that is not read here (`lz4 -l` writes the one that is);"
        " `lz4 -d FILE` unpacks it",
        feature="lz4",
    )


class Format(NamedTuple):
    """A way to compress.

    Attributes:
        name: as people call it.
        magic: the first bytes.
        open: makes an object with ``decompress(data, max_length)``, ``eof`` and ``unused_data``.
    """

    name: str
    magic: bytes
    open: Callable[[], Any]


FORMATS = (
    Format("xz", b"\xfd7zXZ\0", _xz),
    Format("gzip", b"\x1f\x8b", _Gzip),
    Format("bzip2", b"BZh", _bz2),
    Format("zstd", ZSTD_MAGIC, zstd_decompressor),
    Format("lz4", LZ4_MAGIC, Lz4Decompressor),
    Format("lz4", LZ4_FRAME_MAGIC, _no_lz4_frame),
    Format("lzma", b"\x5d\0\0", _lzma),
    Format("lzo", b"\x89LZO\0", _no_lzo),
)


def format_of(data: memoryview) -> Format | None:
    """How these bytes are compressed; None where they are not, or in a way that is not known."""
    head = bytes(data[:8])
    return next((each for each in FORMATS if head.startswith(each.magic)), None)


def unpack(
    data: memoryview, form: Format, *, source: str | None, wanted: Callable[[memoryview], object] | None = None
) -> bytes:
    """What is in compressed bytes.

    Args:
        data: all of them: one stream or several, as ``cat a.xz b.xz`` and tools that pack in parallel make them. Behind
            each may be zeros, and nothing else.
        form: their format.
        source: what they are called in errors.
        wanted: is shown the first bytes, 64 KiB at most, before the others are unpacked; what it raises goes through.

    Raises:
        BtfError: they are damaged or cut short, there is something behind their end, or more than `MAX_SIZE` in them.
        UnsupportedError: nobody here knows the format.
    """
    found = bytearray()
    behind: Any = data
    try:
        for _ in range(_MOST_STREAMS):
            decompressor = form.open()
            found += decompressor.decompress(behind, min(_BEGINNING, MAX_SIZE + 1 - len(found)))
            more = decompressor.eof and _next_stream(decompressor.unused_data, form)
            if wanted is not None and (len(found) >= _ENOUGH or (decompressor.eof and not more)):
                wanted(memoryview(bytes(found[:_BEGINNING])))
                wanted = None
            if not decompressor.eof and len(found) <= MAX_SIZE:
                found += decompressor.decompress(b"", MAX_SIZE + 1 - len(found))
            if len(found) > MAX_SIZE:
                raise BtfError(f"{form.name}: unpacks to more than {MAX_SIZE} bytes", source=source)
            if not decompressor.eof:
                raise BtfError(f"{form.name}: the compressed data is cut short", source=source, offset=len(data))
            behind = more or _next_stream(decompressor.unused_data, form)
            if not behind:
                break
        else:
            raise BtfError(f"{form.name}: more than {_MOST_STREAMS} compressed streams in one file", source=source)
        behind = decompressor.unused_data
    except BtfError as error:
        if error.source is not None or source is None:
            raise
        raise BtfError(error.message, source=source, offset=error.offset) from None
    except _errors() as error:
        raise BtfError(f"{form.name}: the compressed data is damaged: {error}", source=source) from None
    except MemoryError:
        raise BtfError(f"{form.name}: unpacks to more than there is memory for", source=source) from None
    if behind.strip(b"\0"):
        raise BtfError(
            f"{form.name}: {len(behind)} bytes lie behind the end of the compressed data",
            source=source,
            offset=len(data) - len(behind),
        )
    return bytes(found)


def _next_stream(behind: bytes, form: Format) -> bytes:
    """What lies behind the end of a stream, if it is another one; zeros may lie between."""
    if behind.startswith(b"\0"):
        behind = behind.lstrip(b"\0")
    return behind if behind.startswith(form.magic) else b""


def _errors() -> tuple[type[Exception], ...]:
    import lzma
    import zlib

    return OSError, EOFError, ValueError, lzma.LZMAError, zlib.error, *zstd_errors()
