"""Keys and values of maps: bytes in the kernel, Python values for people.

With BTF a key or value is what `btf.decode` makes of it: an int, a str, a dict for a struct. Without, it is bytes.
Going in, bytes of the exact size are always accepted; so are integers, which take the machine's byte order, and objects
with a descriptor, which count as its number.

Per-CPU values are lists, one element for each possible CPU; in memory each takes a multiple of 8 bytes.
"""

from __future__ import annotations

import sys as _sys
from typing import TYPE_CHECKING, Any

import attrs

from ebpfpy.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ebpfpy import btf


@attrs.frozen
class Codec:
    """How the bytes of a key or value are read and written.

    Attributes:
        what: for errors: "key of map events".
        size: bytes.
        type: BTF type, None for plain bytes.
        number: without a type, the bytes are an id of the kernel's.
        refuse: raises an `InputError` for an object whose descriptor does not belong there.
    """

    what: str
    size: int
    type: btf.Type | None = None
    number: bool = False
    refuse: Callable[[object], None] | None = None

    def decode(self, data: bytes) -> Any:
        """Bytes to a Python value."""
        if self.type is None:
            return int.from_bytes(data, _sys.byteorder) if self.number else data
        from ebpfpy import btf

        return btf.decode(self.type, data)

    def encode(self, value: Any) -> bytes:
        """A Python value to exactly `size` bytes.

        Raises:
            InputError: it has another size, or does not fit.
        """
        if hasattr(value, "fileno"):  # a map, a program, a socket: the kernel wants its descriptor
            if self.refuse is not None:
                self.refuse(value)
            value = value.fileno()
        if isinstance(value, (bytes, bytearray, memoryview)):
            data = bytes(value)
        elif self.type is not None:
            from ebpfpy import btf

            data = btf.encode(self.type, value)
        elif isinstance(value, int):
            try:
                data = value.to_bytes(self.size, _sys.byteorder, signed=value < 0)
            except OverflowError:
                raise InputError(f"{self.what}: {value} does not fit into {self.size} bytes") from None
        else:
            raise InputError(f"{self.what}: without BTF it takes bytes or an integer, not {type(value).__name__}")
        if len(data) != self.size:
            raise InputError(f"{self.what} has {self.size} bytes, not {len(data)}")
        return data


def split_per_cpu(data: bytes, size: int, cpus: int) -> list[bytes]:
    """The values of all CPUs, cut to their size."""
    step = (size + 7) & ~7
    return [data[cpu * step : cpu * step + size] for cpu in range(cpus)]


def join_per_cpu(values: list[bytes], size: int) -> bytes:
    """Values side by side, each padded to a multiple of 8 bytes."""
    step = (size + 7) & ~7
    return b"".join(value.ljust(step, b"\0") for value in values)
