"""Paths that callers give: text that the kernel can take, or an `InputError`."""

from __future__ import annotations

import os

from ebpfpy.errors import InputError


def path_text(path: object, what: str = "a path") -> str:
    """A path as text.

    Args:
        path: a str, bytes or anything with ``__fspath__``.
        what: what it is called in an error.

    Raises:
        InputError: it is no path, is empty, or has a NUL byte in it, or what is no text.
    """
    if not isinstance(path, (str, bytes, os.PathLike)):
        raise InputError(f"{what} is a path, not {path!r:.60}")
    text = os.fsdecode(path)
    if not text:
        raise InputError(f"{what} is an empty path")
    if "\0" in text:
        raise InputError(f"{what}: a path cannot hold a NUL byte: {text!r:.200}")
    try:
        os.fsencode(text)
    except UnicodeEncodeError:
        raise InputError(f"{what}: a path cannot hold half of a surrogate pair: {text!r:.200}") from None
    return text
