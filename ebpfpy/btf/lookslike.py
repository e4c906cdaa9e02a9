"""What a file looks like that is neither BTF nor ELF: for the error that says so."""

from __future__ import annotations

from .tararchive import is_tar

_TAKE = "take its /sys/kernel/btf/vmlinux, or the ELF file vmlinux that it was made from"

# (offset, bytes there, what that is); the first that fits
_KNOWN = (
    (0, b"!<arch>\ndebian-binary", "an ar archive, a Debian package: `dpkg -x FILE DIR` unpacks it"),
    (0, b"!<arch>\n", "an ar archive (a .deb package?)"),
    (0, b"\xed\xab\xee\xdb", "an RPM package"),
    (0, b"PK\x03\x04", "a zip file"),
    (0, b"070701", "a cpio archive (an initramfs?)"),
    (0, b"070702", "a cpio archive (an initramfs?)"),
    (0, b"070707", "a cpio archive"),
    (0, b"\xc7\x71", "a cpio archive"),
    (0, b"\x27\x05\x19\x56", f"a U-Boot image of a kernel, which holds no ELF file: {_TAKE}"),
    (0, b"\xd0\x0d\xfe\xed", "a flattened device tree, or a FIT image of a kernel"),
    (4, b"zimg", f"a kernel image for EFI (zboot), which holds no ELF file: {_TAKE}"),
    (0x38, b"ARM\x64", f"an arm64 kernel Image, which is no ELF file: {_TAKE}"),
    (0x38, b"RSC\x05", f"a RISC-V kernel Image, which is no ELF file: {_TAKE}"),
    (0x24, b"\x18\x28\x6f\x01", f"an arm kernel zImage, which holds no ELF file: {_TAKE}"),
    (0, b"MZ", "a PE file (of Windows or EFI)"),
    (0, b"BC\xc0\xde", "LLVM bitcode: compile it to an object file first"),
)


def looks_like(data: memoryview) -> str:
    """A guess, as "it looks like ..." or "it starts with ..."; of the first bytes of a file."""
    head = bytes(data[:1024])
    if not head:
        return "the file is empty"
    for offset, magic, what in _KNOWN:
        if head.startswith(magic, offset):
            return f"it looks like {what}"
    if is_tar(data):
        return "it looks like a tar archive"
    if not head.strip(b"\0"):
        return "it starts with zeros only"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if start.startswith((b"<!doctype html", b"<html", b"<head")):
        return "it looks like an HTML page: was something else downloaded than the file?"
    if start.startswith(b"<?xml"):
        return "it looks like XML"
    if start.startswith(b"version https://git-lfs"):
        return "it looks like a pointer of Git LFS: `git lfs pull` fetches the file that it stands for"
    if all(byte in b"\t\n\r\f" or 32 <= byte < 127 for byte in head[:64]):
        return f"it looks like text: {head[:20].decode('ascii')!r}"
    return f"it starts with {head[:8].hex(' ')}"
