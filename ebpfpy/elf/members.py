"""The members of a struct_ops map's structure, by name, before it is loaded.

A blueprint keeps the structure as the object has it: bytes (`MapSpec.contents`), and the names of programs by the byte
offset of the member that they implement (`MapSpec.slots`). `Members` shows both as one mapping::

    ours = spec.maps["ours"].members
    ours["name"] = "ours_2"
    ours["tuning.factor"] = 3          # in the structure `tuning`
    ours["release"] = None             # no program: the kernel does without, or with its own
    ours["init"] = "other_init"        # another program of the object
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ebpfpy import btf
from ebpfpy.errors import InputError, NotFoundError

if TYPE_CHECKING:
    from .spec import MapSpec


class NoSuchMemberError(NotFoundError, KeyError):
    """A structure of functions has no member of that name."""

    __str__ = Exception.__str__  # a KeyError's is a repr


class Members(Mapping[str, Any]):
    """The members of a structure in a blueprint, by name; "outer.inner" for structures in it.

    A function's value is the name of the program that implements it, or None. Other values are as `ebpfpy.btf.decode`
    gives them. Changes go to the blueprint.

    Args:
        spec: the blueprint of a struct_ops map.

    Raises:
        InputError: it is the blueprint of another map.
    """

    def __init__(self, spec: MapSpec) -> None:
        if not isinstance(spec.value, btf.Struct) or spec.contents is None or len(spec.contents) < spec.value.size:
            raise InputError(f"map {spec.name} of type {spec.type.name} holds no structure whose members can be named")
        self._spec = spec
        self._structure = spec.value
        self._contents = spec.contents

    def __getitem__(self, name: str) -> Any:
        kind, offset = self._find(name)
        if _is_function(kind):
            return self._spec.slots.get(offset) or None
        return btf.decode(kind, bytes(self._contents[offset : offset + btf.sizeof(kind)]))

    def __setitem__(self, name: str, value: Any) -> None:
        """Replace a value.

        Raises:
            NoSuchMemberError: there is no such member; a NotFoundError and a KeyError.
            InputError: the value does not fit.
        """
        kind, offset = self._find(name)
        if _is_function(kind):
            if value is not None and not isinstance(value, str):
                raise InputError(
                    f"map {self._spec.name}: {name} is a function: it takes the name of a program or None,"
                    f" not {type(value).__name__}"
                )
            self._spec.slots[offset] = value or ""  # nothing, and that on purpose: see `loader.structops.is_used`
            return
        data = value if isinstance(value, (bytes, bytearray, memoryview)) else btf.encode(kind, value)
        size = btf.sizeof(kind)
        if len(data) != size:
            raise InputError(f"map {self._spec.name}: {name} has {size} bytes, not {len(data)}")
        self._contents[offset : offset + size] = data

    def __iter__(self) -> Iterator[str]:
        return (member.name for member in self._structure.members if member.name)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return f"<members of {self._structure.name} in map {self._spec.name}: {dict(self)}>"

    def _find(self, path: str) -> tuple[btf.Type, int]:
        """The type of a member and the byte that it starts at."""
        kind: btf.Type = self._structure
        offset = 0
        for name in path.split(".") if isinstance(path, str) else [""]:
            members = kind.members if isinstance(kind, (btf.Struct, btf.Union)) else ()
            found = next((member for member in members if member.name == name), None)
            if found is None or not name:
                has = ", ".join(member.name for member in members if member.name) or "none"
                raise NoSuchMemberError(
                    f"map {self._spec.name}: {self._structure.name} has no member {path!r}; there: {has}"
                )
            if found.bitfield_size:
                raise InputError(f"map {self._spec.name}: {path} is a bit-field, which struct_ops does not have")
            kind, offset = btf.resolve(found.type), offset + found.offset
        return kind, offset


def _is_function(kind: btf.Type) -> bool:
    return isinstance(kind, btf.Pointer) and isinstance(btf.resolve(kind.target), btf.FuncProto)
