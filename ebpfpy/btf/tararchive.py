"""The one file in a tar archive: BTFhub publishes each kernel's BTF in one of its own, ``RELEASE.btf.tar.xz``.

A tar archive is a header of 512 bytes for each member, its content, and zeros up to the next multiple of 512; at the
end, two blocks of zeros. A header has

    0    char[100]  name
    124  char[12]   size: octal digits, or a binary number with the top bit set (GNU)
    148  char[8]    sum of the header's bytes, this field taken as spaces: octal digits
    156  char       type: "0" or NUL a file, "5" a directory, "1" and "2" links, "3" and "4" devices, "6" a pipe
    257  char[6]    "ustar"
    345  char[155]  what comes before the name, with a slash between (not in GNU's archives)

Members of type "x", "g", "L" and "K" hold what does not fit into the header of the next one (a long name, times in
nanoseconds); they are no files. Nothing is ever written to a disk, and links are not followed: an archive that holds
anything but one file is refused.

Source: tar(5); POSIX, pax interchange format.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy.errors import BtfError

if TYPE_CHECKING:
    from collections.abc import Iterator

_BLOCK = 512
_FILES = ("0", "\0", "7")  # the last: a file that lies in one piece, on some disks
_NAMES = {"1": "a link", "2": "a symbolic link", "3": "a device", "4": "a device", "5": "a directory", "6": "a pipe"}
_SHOWN = 8
_MOST = 10_000
"""Members that are counted before it is clear enough that there are too many."""


class Member(NamedTuple):
    """A member of an archive.

    Attributes:
        name: with directories.
        kind: its type, a character.
        start, end: where its content lies in the archive.
    """

    name: str
    kind: str
    start: int
    end: int


def is_tar(data: memoryview) -> bool:
    """Whether these bytes begin as a tar archive does."""
    return bytes(data[257:262]) == b"ustar"


def only_file(data: memoryview, *, source: str | None = None) -> tuple[str, memoryview]:
    """The name and the content of the one file in an archive.

    Raises:
        BtfError: it holds several files, none, or something that is no file in the current directory; or is damaged.
    """
    found = list(_members(data, source))
    for member in found:
        if member.kind not in _FILES:
            what = _NAMES.get(member.kind, f"a member of type {member.kind!r}")
            raise BtfError(
                f"a tar archive with {what} in it ({member.name!r}): it has to hold one file and nothing else",
                source=source,
                offset=member.start - _BLOCK,
            )
    if len(found) != 1:
        names = [member.name for member in found[:_SHOWN]] + ["..."] * (len(found) > _SHOWN)
        what = f"{len(found)} files: {', '.join(names)}; take the one that is meant" if found else "nothing"
        raise BtfError(f"a tar archive with {what}", source=source)
    [member] = found
    name = member.name.removeprefix("./")
    if "/" in name or name in ("", ".", ".."):
        raise BtfError(
            f"a tar archive whose file lies elsewhere: {member.name!r}", source=source, offset=member.start - _BLOCK
        )
    return name, data[member.start : member.end]


def _members(data: memoryview, source: str | None) -> Iterator[Member]:
    """Every member but those that tell about the next one."""
    at, long_name, count = 0, None, 0
    while at < len(data):
        header = bytes(data[at : at + _BLOCK])
        if not header.strip(b"\0"):
            return  # the end; what may lie behind it belongs to nobody
        if len(header) < _BLOCK:
            raise BtfError("a tar archive that is cut short", source=source, offset=at)
        count += 1
        if count > _MOST:
            raise BtfError(f"a tar archive with more than {_MOST} members", source=source, offset=at)
        if _number(header[148:156]) != sum(header) - sum(header[148:156]) + 8 * 32:
            raise BtfError("a tar archive with a damaged header", source=source, offset=at)
        size = _number(header[124:136])
        start = at + _BLOCK
        if size is None or start + size > len(data):
            raise BtfError(
                f"a tar archive that is cut short: a member of {size} bytes at {start} in {len(data)}",
                source=source,
                offset=at,
            )
        kind = header[156:157]
        if kind in (b"L", b"x"):
            long_name = _long_name(kind, bytes(data[start : start + min(size, 1 << 16)])) or long_name
        elif kind not in (b"g", b"K"):
            yield Member(long_name or _name(header), kind.decode("latin-1"), start, start + size)
            long_name = None
        at = start + (size + _BLOCK - 1) // _BLOCK * _BLOCK


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _long_name(kind: bytes, content: bytes) -> str | None:
    """The next member's name: in GNU's way, the content; in that of pax, a line ``LENGTH path=NAME``."""
    if kind == b"L":
        return _text(content)
    found = re.search(rb"(?:^|\n)\d+ path=([^\n]*)\n", content)
    return _text(found.group(1)) if found else None


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("utf-8", "backslashreplace")


def _number(field: bytes) -> int | None:
    if field[0] & 0x80:
        return int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
    digits = field.strip(b" \0")
    return int(digits, 8) if re.fullmatch(rb"[0-7]+", digits) else None
