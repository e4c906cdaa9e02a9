"""How facts are printed: tables and a little colour for people, JSON for programs.

Colour goes to terminals only, and not there either when the environment has NO_COLOR. Names come from files that anyone
may have written, so what people read is stripped of control characters first.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

BOLD, DIM, RED, GREEN, YELLOW = "1", "2", "31", "32", "33"


def has_colour(stream: TextIO) -> bool:
    """Whether to colour what goes to this stream."""
    # a program started with its output closed has None here
    return (
        stream is not None and stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    )


def paint(text: str, code: str, stream: TextIO | None = None) -> str:
    """The text in a colour, where the stream (standard output if None) takes colour."""
    return f"\x1b[{code}m{text}\x1b[0m" if has_colour(stream or sys.stdout) else text


def printable(text: str) -> str:
    """The text with control characters, tabs and line ends included, spelled out."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def print_json(data: Any) -> None:
    """Print one JSON object, indented."""
    import json

    print(json.dumps(data, indent=2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under a title and column names; nothing at all without rows."""
    cells = [[printable(str(cell)) for cell in row] for row in rows]
    if not cells:
        return
    widths = [max(len(row[i]) for row in [list(columns), *cells]) for i in range(len(columns))]
    print()
    print(paint(title, BOLD))
    for row in [list(columns), *cells]:
        line = "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        print(paint(line, DIM) if row == list(columns) else line)


def note(text: str) -> None:
    """Tell people something beside the facts, on standard error."""
    print(f"ebpfpy: {printable(text)}", file=sys.stderr, flush=True)
