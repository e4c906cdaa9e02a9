"""Lines of a file of the kernel's that has a million of them, found without a look at the others."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def line_starts(text: bytes, needle: bytes, ends: bytes) -> Iterator[int]:
    """Where the lines begin in which `needle` stands, each time that one of `ends`, or nothing, is behind it.

    Args:
        text: of the file.
        needle: what is searched; a newline in front of it says that the line begins so.
        ends: bytes, one of which is to follow.
    """
    at = text.find(needle)
    while at >= 0:
        if text[at + len(needle) : at + len(needle) + 1] in ends:
            yield text.rfind(b"\n", 0, at + 1) + 1
        at = text.find(needle, at + 1)


def line_at(text: bytes, start: int) -> bytes:
    """The line that begins there."""
    end = text.find(b"\n", start)
    return text[start : end if end >= 0 else len(text)]
