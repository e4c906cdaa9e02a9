"""Global variables of a loaded object: live, through the memory of their data section's map.

A map that cannot be mapped (before Linux 5.5, or one whose blueprint lost the flag MMAPABLE) is read and written by
system calls, all of the section at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ebpfpy.errors import UnsupportedError
from ebpfpy.sys import MapFlags

from .codec import Codec

if TYPE_CHECKING:
    from ebpfpy.elf.spec import VariableSpec

    from .map import Map


class Variable:
    """A global variable. Valid as long as the collection's map is open.

    Reading and writing are plain memory accesses (Linux 5.5): no system call, and no protection against the program
    writing at the same time. Without mapped memory, what the program writes elsewhere in the section during `set` may
    be lost.

    Args:
        spec: the blueprint.
        owner: the map of its data section.
    """

    def __init__(self, spec: VariableSpec, owner: Map) -> None:
        self.spec = spec
        self.name = spec.name
        self._map = owner
        self._codec = Codec(f"variable {spec.name}", spec.size, spec.type)

    @property
    def read_only(self) -> bool:
        """Whether it is a constant for the program, fixed since loading."""
        return self._map.spec.frozen

    def get(self) -> Any:
        """The value now, decoded by its BTF type (bytes without one)."""
        start = self.spec.offset
        section = self._map.memory() if self._is_mapped else self._section()
        return self._codec.decode(bytes(section[start : start + self.spec.size]))

    @property
    def _is_mapped(self) -> bool:
        return bool(self._map.spec.flags & MapFlags.MMAPABLE)

    def _section(self) -> bytearray:
        return bytearray(self._map.lookup_bytes(bytes(self._map.spec.key_size)) or b"")

    def set(self, value: Any) -> None:
        """Change the value.

        Raises:
            UnsupportedError: it is a constant: set it on the blueprint, before loading.
            InputError: the value does not fit.
        """
        if self.read_only:
            raise UnsupportedError(
                f"variable {self.name} is a constant since the object was loaded;"
                " set it on the blueprint before loading"
            )
        place = slice(self.spec.offset, self.spec.offset + self.spec.size)
        encoded = self._codec.encode(value)
        if self._is_mapped:
            self._map.memory()[place] = encoded
        else:
            section = self._section()
            section[place] = encoded
            self._map.update_bytes(bytes(self._map.spec.key_size), bytes(section))

    def __repr__(self) -> str:
        return f"<Variable {self.name} in {self._map.name}>"
