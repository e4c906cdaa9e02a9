"""LZ4 in its legacy frame, as ``lz4 -l`` writes it and the kernel's build uses it. Python has no module for it.

A frame is the magic number ``02 21 4c 18``, then blocks that were packed each for itself and unpack to 8 MiB at most:

    u32 size, then `size` bytes of sequences

A sequence is a token, literals, and a match:

    u8 token: number of literals << 4 | length of the match - 4
    more bytes of the number of literals, if it is 15: they are added up, and one that is not 255 is the last
    the literals
    u16 how far back the match begins, in what was unpacked of this block
    more bytes of the length, likewise

The last sequence of a block ends behind its literals. A match may reach into what it writes itself: the five bytes
``ab`` with a match of 3 that begins 2 back are ``ababa``.

Source: lz4_Block_format.md and lz4_Frame_format.md of the LZ4 project.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError

if TYPE_CHECKING:
    from collections.abc import Buffer  # type: ignore[attr-defined]

LEGACY_MAGIC = b"\x02\x21\x4c\x18"
FRAME_MAGIC = b"\x04\x22\x4d\x18"
"""Of the newer frame, which is not read here."""

_MAX_BLOCK = 8 << 20


class Decompressor:
    """Legacy frames, with the methods of the standard library's decompressors; all input comes at once."""

    def __init__(self) -> None:
        self.eof = False
        self.unused_data = b""
        self._data = b""
        self._at = len(LEGACY_MAGIC)

    def decompress(self, data: Buffer, max_length: int) -> bytes:
        """The next blocks, until at least `max_length` bytes are there (a block more at most) or the frame ends.

        Raises:
            BtfError: the frame is damaged.
        """
        self._data += bytes(data)
        out = bytearray()
        while len(out) < max_length and not self.eof:
            out += self._block()
        return bytes(out)

    def _block(self) -> bytes:
        data, at = self._data, self._at
        if at == len(data):
            self.eof = True
            return b""
        if data[at : at + 4] == LEGACY_MAGIC:  # the next frame; no block has that size
            self._at = at + len(LEGACY_MAGIC)
            return b""
        size = int.from_bytes(data[at : at + 4], "little")
        end = at + 4 + size
        if size == 0:  # no block: it is for others to say whether something may be here
            self.eof = True
            self.unused_data = data[at:]
            return b""
        if end > len(data):
            raise BtfError(f"lz4: a block of {size} bytes at {at} does not fit into {len(data)} bytes", offset=at)
        self._at = end
        try:
            return unpack_block(data[at + 4 : end], _MAX_BLOCK)
        except BtfError as error:
            raise BtfError(error.message, offset=at + 4 + (error.offset or 0)) from None


def unpack_block(data: bytes, limit: int) -> bytes:
    """The content of a block.

    Args:
        data: its sequences.
        limit: bytes that it may have.

    Raises:
        BtfError: it is damaged or longer than `limit`; `offset` is that of the sequence.
    """
    out = bytearray()
    at, end, token_at = 0, len(data), 0
    try:
        while True:
            token_at = at
            token = data[at]
            at += 1
            count = token >> 4
            if count == 15:
                more = 255
                while more == 255:
                    more = data[at]
                    at += 1
                    count += more
            if count:
                if count > end - at:
                    raise BtfError(f"lz4: {count} literals where {end - at} bytes are left", offset=token_at)
                out += data[at : at + count]
                at += count
            if at == end:
                break
            back = data[at] | data[at + 1] << 8
            at += 2
            count = token & 15
            if count == 15:
                more = 255
                while more == 255:
                    more = data[at]
                    at += 1
                    count += more
            count += 4
            start = len(out) - back
            if start < 0 or not back:
                raise BtfError(f"lz4: a match begins {back} bytes back in {len(out)}", offset=token_at)
            if count > limit - len(out):
                raise BtfError(f"lz4: a block grows beyond {limit} bytes", offset=token_at)
            if back >= count:
                out += out[start : start + count]
            else:
                out += (out[start:] * (count // back + 1))[:count]
    except IndexError:
        raise BtfError("lz4: the last sequence of a block is cut short", offset=token_at) from None
    if at < end or len(out) > limit:
        raise BtfError(f"lz4: a block grows beyond {limit} bytes", offset=token_at)
    return bytes(out)
