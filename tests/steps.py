"""Work in lines of Python: a measure of how it grows that no busy machine disturbs."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType


def lines_run(call: Callable[[], object], *files: str) -> int:
    """How many lines of these source files a call executes; what C functions do counts as one line.

    Args:
        call: what to run.
        files: ends of paths, such as "btf/dedup.py".
    """
    count = 0

    def line(frame: FrameType, event: str, arg: object) -> Callable[..., Any]:
        nonlocal count
        count += event == "line"
        return line

    def enter(frame: FrameType, event: str, arg: object) -> Callable[..., Any] | None:
        return line if frame.f_code.co_filename.endswith(files) else None

    before = sys.gettrace()
    sys.settrace(enter)
    try:
        call()
    finally:
        sys.settrace(before)
    return count
