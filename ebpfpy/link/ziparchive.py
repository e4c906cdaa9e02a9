"""Libraries inside of zip archives: "app.apk!/lib/x86_64/libapp.so" is a file in a file.

Android's loader maps a library from the archive as it lies there, if it is stored without compression. A probe's place
is then counted from the archive's start: where the member's bytes begin, plus the place in the member. The archive's
directory tells where the member's own header is; behind it, and behind its name and padding, the bytes begin:

    u32 0x04034b50, ..., u16 length of the name (at 26), u16 length of what pads (at 28); 30 bytes, name, padding, data

Source: APPNOTE.TXT (PKWARE), libbpf's ``archive!/member`` (behaviour).
"""

from __future__ import annotations

import os
import struct
from typing import IO, Final

from ebpfpy.errors import ElfError, InputError, TargetNotFoundError

SEPARATOR: Final = "!/"
_HEADER: Final = struct.Struct("<4s22xHH")
_SHOWN: Final = 5


def split_member(path: str) -> tuple[str, str]:
    """A file, and the name of the member of it that is meant: "" for the file itself, which a path can be, too."""
    archive, separator, member = path.partition(SEPARATOR)
    return (path, "") if not separator or os.path.exists(path) else (archive, member)


def stored_member(file: IO[bytes], archive: str, member: str) -> tuple[int, int]:
    """Where in an archive a member's bytes begin, and how many there are.

    Raises:
        ElfError: the archive is none, or is damaged.
        TargetNotFoundError: it has no such member.
        InputError: the member is compressed or encrypted, so nobody maps it from there.
    """
    from zipfile import ZIP_STORED, BadZipFile, ZipFile

    try:
        with ZipFile(file) as opened:
            names = opened.namelist()
            if member not in names:
                raise _no_member(archive, member, names)
            entry = opened.getinfo(member)
        if entry.compress_type != ZIP_STORED or entry.flag_bits & 1:
            what = "encrypted" if entry.flag_bits & 1 else "compressed"
            raise InputError(
                f"{archive}: member {member!r} is {what}: programs can be probed only where they are stored"
            )
        if entry.header_offset < 0:
            raise _damaged(archive, member)
        file.seek(entry.header_offset)
        magic, name, padding = _HEADER.unpack(file.read(_HEADER.size))
        start = entry.header_offset + _HEADER.size + name + padding
        size = file.seek(0, os.SEEK_END)
    except (BadZipFile, struct.error, ValueError, NotImplementedError, EOFError) as error:
        if isinstance(error, (InputError, ElfError)):
            raise
        raise ElfError(f"no zip archive: {error}", source=archive) from None
    if magic != b"PK\3\4" or start + entry.file_size > size:
        raise _damaged(archive, member, entry.header_offset)
    return start, entry.file_size


def _damaged(archive: str, member: str, offset: int | None = None) -> ElfError:
    return ElfError(f"member {member!r} of the zip archive is damaged", source=archive, offset=offset)


def _no_member(archive: str, member: str, names: list[str]) -> TargetNotFoundError:
    import difflib

    near = difflib.get_close_matches(member, names, _SHOWN, 0.5) or names[:_SHOWN]
    what = f"; near: {', '.join(near)}" if near else ": it is empty"
    return TargetNotFoundError(f"{archive} has no member {member!r}{what}", name=member, searched=(archive,))
