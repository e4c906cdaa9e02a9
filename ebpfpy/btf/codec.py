"""`Codec`: what is known about a type once it is compiled, and how values that do not fit are reported.

The functions of a codec are closures over what was worked out when it was made: formats, offsets, tables of names.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ebpfpy.errors import InputError

Read = Callable[[Any, int], Any]
Write = Callable[[Any, bytearray, int], None]


class Codec:
    """A compiled type.

    Attributes:
        size: bytes that it occupies; what follows a flexible array member does not count.
        values: the number of Python values that one reading makes, about.
        read: (bytes, offset) -> value. The bytes must be there.
        write: (value, buffer, offset): put the value into the buffer, which has room.
        code: the format of `struct` that fits it, or "" where none does.
        convert: what to do with the value that `code` gives; None: nothing.
    """

    __slots__ = ("code", "convert", "read", "size", "values", "write")

    def __init__(
        self,
        size: int,
        values: int,
        read: Read,
        write: Write,
        code: str = "",
        convert: Callable[[Any], Any] | None = None,
    ) -> None:
        self.size = size
        self.values = values
        self.read = read
        self.write = write
        self.code = code
        self.convert = convert


def write_inside(where: str, write: Write, value: Any, out: bytearray, at: int) -> None:
    """Write a part of a value; an error says where the part is."""
    try:
        write(value, out, at)
    except InputError as error:
        raise inside(where, error) from None


def inside(where: str, error: InputError) -> InputError:
    """The error with one more step in front of its path: ".a", "[3]" and "x: bad" make ".a[3]: x: bad"."""
    gap = "" if error.message.startswith((".", "[")) else ": "
    return InputError(f"{where}{gap}{error.message}", source=error.source, offset=error.offset)


def unfit(value: Any, what: str, why: object) -> InputError:
    """The error for a value that a type cannot hold."""
    shown = repr(value)
    return InputError(f"{shown if len(shown) < 60 else shown[:57] + '...'} does not fit {what}: {why}")
