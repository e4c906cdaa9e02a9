"""Maps declared in a section ".maps": a structure that nobody ever fills in, read through its BTF type.

    struct {
        __uint(type, BPF_MAP_TYPE_HASH);     int (*type)[1];           number = length of the array
        __uint(max_entries, 1024);           int (*max_entries)[1024];
        __type(key, __u32);                  __u32 *key;               type = what the pointer points to
        __ulong(map_extra, 3);               enum { v = 3 } map_extra; number = the only enumerator
    } by_parent SEC(".maps");

The variable's name is the map's name. Its bytes are zeros and mean nothing. A ring buffer has no keys and
values; a value type in its definition says what its records are, and is kept as `MapSpec.value` with
`value_size` 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy import btf
from ebpfpy.errors import UnsupportedError
from ebpfpy.sys.enums import MapType

from .spec import MapSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from ebpfpy.errors import ElfError

    from .objectfile import ObjectFile, Section

_NUMBERS = frozenset(
    {"type", "max_entries", "map_flags", "numa_node", "key_size", "value_size", "pinning", "map_extra"}
)
_RECORD_MAPS = frozenset({MapType.RINGBUF, MapType.USER_RINGBUF})
_LIMIT = 1 << 32


def parse_maps(file: ObjectFile, section: Section, types: btf.Spec | None) -> dict[int, MapSpec]:
    """The maps of ".maps", by the byte offset of their variable.

    Args:
        file: the object.
        section: its section ".maps".
        types: its BTF, offsets of variables filled in.

    Raises:
        ElfError: no BTF, or a definition that cannot be understood (the message names map and member).
        UnsupportedError: maps of maps declared with ``values``.
    """
    if types is None:
        raise file.error("maps are described by BTF, which this object does not have: compile with -g", section=section)
    try:
        datasec = types.type_by_name(".maps", btf.Datasec)
    except LookupError as error:
        raise file.error(f"BTF does not describe it: {error}", section=section) from None
    result: dict[int, MapSpec] = {}
    for info in datasec.variables:
        if not isinstance(info.var, btf.Var):
            raise file.error(f"BTF has a {type(info.var).__name__} where a variable belongs", section=section)
        if info.offset + info.size > section.size:
            raise file.error(
                f"map {info.var.name} ends past the section's {section.size} bytes",
                section=section,
                offset=info.offset,
            )
        if info.offset in result:
            raise file.error(
                f"maps {result[info.offset].name} and {info.var.name} are at one place"
                " (is a map static? maps have to be global)",
                section=section,
                offset=info.offset,
            )
        definition = btf.resolve(info.var.type)
        if not isinstance(definition, btf.Struct):
            raise file.error(f"map {info.var.name} is no structure", section=section, offset=info.offset)
        result[info.offset] = _parse_map(file, section, info.var.name, definition)
    return result


def _parse_map(file: ObjectFile, section: Section, name: str, definition: btf.Struct) -> MapSpec:
    def fault(message: str) -> ElfError:
        return file.error(f"map {name}: {message}", section=section)

    numbers: dict[str, int] = {}
    types: dict[str, btf.Type] = {}
    for member in definition.members:
        if member.name in _NUMBERS:
            value = _number(member)
            if value is None:
                raise fault(f"{member.name} is not written with __uint or __ulong")
            numbers[member.name] = value
        elif member.name in {"key", "value"}:
            pointer = btf.resolve(member.type)
            if not isinstance(pointer, btf.Pointer):
                raise fault(f"{member.name} is not written with __type")
            types[member.name] = pointer.target
        elif member.name == "values":
            raise UnsupportedError(
                f"{file.source}: map {name}: values declared inside a map (maps of maps, program arrays)"
                " are not supported",
                feature="inner maps",
            )
        else:
            raise fault(f"unknown member {member.name!r}")

    if "type" not in numbers:
        raise fault("no type")
    try:
        kind = MapType(numbers["type"])
    except ValueError:
        raise fault(f"type {numbers['type']} is unknown") from None
    sizes = {what: _size(fault, what, numbers, types.get(what), kind) for what in ("key", "value")}
    pinning = numbers.get("pinning", 0)
    if pinning not in {0, 1}:
        raise fault(f"pinning {pinning} is neither none (0) nor by name (1)")
    return MapSpec(
        name=name,
        type=kind,
        key_size=sizes["key"],
        value_size=sizes["value"],
        max_entries=numbers.get("max_entries", 0),
        flags=numbers.get("map_flags", 0),
        key=types.get("key"),
        value=types.get("value"),
        pinning=pinning,
        map_extra=numbers.get("map_extra", 0),
        numa_node=numbers.get("numa_node"),
    )


def _size(
    fault: Callable[[str], ElfError], what: str, numbers: dict[str, int], kind: btf.Type | None, of: MapType
) -> int:
    if of in _RECORD_MAPS:
        return 0
    stated = numbers.get(f"{what}_size")
    if kind is None:
        return stated or 0
    size = btf.sizeof(kind)
    if size >= _LIMIT:
        raise fault(f"a {what} of {size} bytes")
    if stated is not None and stated != size:
        raise fault(f"{what}_size is {stated}, but its type has {size} bytes")
    return size


def _number(member: btf.Member) -> int | None:
    kind = btf.resolve(member.type)
    if isinstance(kind, btf.Pointer):
        array = btf.resolve(kind.target)
        return array.count if isinstance(array, btf.Array) else None
    if isinstance(kind, btf.Enum) and len(kind.enumerators) == 1:
        return kind.enumerators[0].value
    return None
