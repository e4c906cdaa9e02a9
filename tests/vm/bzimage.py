"""The ELF file inside a bzImage.

A bzImage is a boot sector, real-mode code, and a payload: the compressed `vmlinux`. The boot header says
where the payload lies (Documentation/arch/x86/boot.rst):

    0x1f1  u8   setup_sects      sectors of real-mode code after the first; 0 means 4
    0x202  char "HdrS"
    0x248  u32  payload_offset   from the first byte after the real-mode code
    0x24c  u32  payload_length

and the payload's own first bytes say how it is packed. The kernel's build appends the unpacked size in four
bytes, which xz and gzip ignore and the zstd and lz4 programs would stumble over.
"""

from __future__ import annotations

import lzma
import struct
import subprocess
import zlib

from tests.vm import tools

SECTOR = 512


def decompress(image: bytes) -> bytes:
    """Return the uncompressed kernel of a bzImage.

    Raises:
        ValueError: this is no bzImage, or its packing is unknown.
    """
    if image[0x202:0x206] != b"HdrS":
        raise ValueError("not a bzImage: no boot header")
    start = ((image[0x1F1] or 4) + 1) * SECTOR
    offset, length = struct.unpack_from("<II", image, 0x248)
    payload = image[start + offset : start + offset + length]
    if payload.startswith(b"\xfd7zXZ\0"):
        return lzma.LZMADecompressor().decompress(payload)
    if payload.startswith(b"\x1f\x8b"):
        return zlib.decompressobj(31).decompress(payload)
    if payload.startswith(b"\x28\xb5\x2f\xfd"):
        return _filter(tools.ZSTD, payload[:-4])
    if payload.startswith(b"\x02\x21\x4c\x18"):
        return _filter(tools.LZ4, payload[:-4])
    raise ValueError(f"unknown kernel compression, starts with {payload[:8].hex()}")


def _filter(tool: tools.Tool, packed: bytes) -> bytes:
    return subprocess.run([tool.require(), "-dc"], input=packed, stdout=subprocess.PIPE, check=True).stdout
