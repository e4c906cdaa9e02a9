"""The kernel inside a bzImage, which is what x86 boots: /boot/vmlinuz.

A bzImage is a boot sector, real-mode code, and a program that unpacks its payload: the compressed ELF file ``vmlinux``.
The boot sector says where the payload lies, from version 2.08 of the boot protocol on (Linux 2.6.26):

    0x1f1  u8   setup_sects      sectors of real-mode code behind the first; 0 means 4
    0x202  char "HdrS"
    0x206  u16  version          of the boot protocol: 0x020f is 2.15
    0x248  u32  payload_offset   from the first byte behind the real-mode code
    0x24c  u32  payload_length

Debian's vmlinuz of 7.2 has 39 sectors of real-mode code, so its 32-bit part starts at byte 20,480, and the payload
there at offset 716. The payload's own first bytes tell how it is compressed. Its last four are the size of what comes
out: the kernel's build appends them, except to gzip, which ends with that number by itself. Unpackers stumble over it.

Other architectures have other images: none of them starts like this.

Source: Documentation/arch/x86/boot.rst; scripts/Makefile.lib (``size_append``).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError

from .compressed import format_of, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

_SECTOR = 512
_HEADER = 0x250
_FIRST_VERSION = 0x208
_ELF = b"\x7fELF"


def is_bzimage(data: memoryview) -> bool:
    """Whether these bytes begin as a bzImage does."""
    return bytes(data[0x202:0x206]) == b"HdrS"


def vmlinux(
    image: memoryview, *, source: str | None = None, wanted: Callable[[memoryview], object] | None = None
) -> bytes:
    """The payload of a bzImage, unpacked: an ELF file.

    Args:
        image: the whole bzImage.
        source: what it is called in errors.
        wanted: as in `unpack`.

    Raises:
        BtfError: it is no bzImage, or is damaged or cut short; or nobody knows how it is compressed.
        UnsupportedError: it is compressed in a way that is not read here.
    """
    start, payload = _payload(image, source)
    if bytes(payload[:4]) == _ELF:
        return bytes(payload)
    form = format_of(payload)
    if form is None:
        raise BtfError(
            "a kernel image (bzImage) compressed in an unknown way: its payload starts with"
            f" {bytes(payload[:8]).hex(' ')}",
            source=source,
            offset=start,
        )
    (size,) = struct.unpack_from("<I", payload, len(payload) - 4)
    try:
        unpacked = unpack(payload if form.name == "gzip" else payload[:-4], form, source=source, wanted=wanted)
    except BtfError as error:
        at = start + error.offset if error.offset is not None else None
        raise BtfError(f"the payload of a kernel image (bzImage): {error.message}", source=source, offset=at) from None
    if len(unpacked) != size:
        raise BtfError(
            f"the payload of a kernel image (bzImage) unpacks to {len(unpacked)} bytes, and should to {size}",
            source=source,
            offset=start,
        )
    return unpacked


def _payload(image: memoryview, source: str | None) -> tuple[int, memoryview]:
    """Where the payload starts, and its bytes."""
    if not is_bzimage(image):
        raise BtfError("no kernel image (bzImage): its boot header is missing", source=source, offset=0x202)
    if len(image) < _HEADER:
        raise BtfError(
            f"a kernel image (bzImage) is cut short: {len(image)} bytes, its header has {_HEADER}",
            source=source,
            offset=len(image),
        )
    (version,) = struct.unpack_from("<H", image, 0x206)
    if version < _FIRST_VERSION:
        raise BtfError(
            f"a kernel image (bzImage) of boot protocol {version >> 8}.{version & 0xFF:02}, which does not say where"
            " its payload lies: that came with 2.08",
            source=source,
            offset=0x206,
        )
    offset, length = struct.unpack_from("<II", image, 0x248)
    start = ((image[0x1F1] or 4) + 1) * _SECTOR + offset
    if length < 16 or start + length > len(image):
        raise BtfError(
            f"a kernel image (bzImage) is cut short: its payload of {length} bytes starts at {start} of {len(image)}",
            source=source,
            offset=0x248,
        )
    return start, image[start : start + length]
