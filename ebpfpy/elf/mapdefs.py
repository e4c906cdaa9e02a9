"""Maps declared in a section ".maps": a structure that nobody ever fills in, read through its BTF type.

    struct {
        __uint(type, BPF_MAP_TYPE_HASH);     int (*type)[1];           number = length of the array
        __uint(max_entries, 1024);           int (*max_entries)[1024];
        __type(key, __u32);                  __u32 *key;               type = what the pointer points to
        __ulong(map_extra, 3);               enum { v = 3 } map_extra; number = the only enumerator
        __array(values, struct inner);       struct inner *values[];   what is in a map of maps, or
        __array(values, int (void *));       int (*values[])(void *);  what is in a program array
    } by_parent SEC(".maps");

All but the types of keys and values is read from the records' words: the types that a definition is made of are of use
to nobody else.

The variable's name is the map's name. Its bytes are zeros and mean nothing. A ring buffer has no keys and
values; a value type in its definition says what its records are, and is kept as `MapSpec.value` with
`value_size` 0. A ``numa_node`` counts only with BPF_F_NUMA_NODE in ``map_flags``, as for the kernel.

The type of ``values`` is a template of the maps inside. An initialiser of it (``.values = { [2] = &other }``) leaves
a relocation for each element: at byte 16 of a map whose ``values`` starts at byte 0, of the symbol ``other``, which is
map or program number 2. `MapSpec.slots` has their names.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, TypeAlias

from ebpfpy import btf
from ebpfpy.btf.kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, MODIFIERS, VLEN_MASK, Kind
from ebpfpy.btf.ways import Ways
from ebpfpy.errors import BtfError
from ebpfpy.sys.enums import MapFlags, MapType, map_type

from .datasec import section_type
from .objectfile import BIND_LOCAL, SYMBOL_FUNC
from .spec import MapSpec

if TYPE_CHECKING:
    from collections.abc import Callable

    from ebpfpy.errors import ElfError

    from .objectfile import ObjectFile, Section, Symbol

# as numbers: to get at the member of an enum takes longer than what is done with it here
_PTR, _ARRAY, _STRUCT, _VAR, _FUNC_PROTO = map(int, (Kind.PTR, Kind.ARRAY, Kind.STRUCT, Kind.VAR, Kind.FUNC_PROTO))
_MODIFIERS = frozenset(int(kind) for kind in MODIFIERS)
_NUMBERS = frozenset(
    {b"type", b"max_entries", b"map_flags", b"numa_node", b"key_size", b"value_size", b"pinning", b"map_extra"}
)
_TYPES = frozenset({b"key", b"value"})
_ENUMS = frozenset({Kind.ENUM, Kind.ENUM64})
_RECORD_MAPS = frozenset({MapType.RINGBUF, MapType.USER_RINGBUF})
_MAPS_OF_MAPS = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_NUMA_NODE = int(MapFlags.NUMA_NODE)  # as a flag it takes microseconds
_SLOT = 8  # bytes of a pointer
_DESCRIPTOR = 4
_LIMIT = 1 << 32
_SHORT = 32
"""Typedefs and qualifiers in a row that are walked for each member; the ends of longer chains are remembered."""

Record: TypeAlias = tuple[int, memoryview, int]
"""A type's kind, the words that its record lies in, and the index of the first."""
_NOTHING: Record = (0, memoryview(b""), 0)


def parse_maps(file: ObjectFile, section: Section, types: btf.Spec | None) -> dict[int, MapSpec]:
    """The maps of ".maps", by the byte offset of their variable.

    Args:
        file: the object.
        section: its section ".maps".
        types: its BTF, offsets of variables filled in.

    Raises:
        ElfError: no BTF, or a definition that cannot be understood (the message names map and member).
    """
    if types is None:
        raise file.error("maps are described by BTF, which this object does not have: compile with -g", section=section)
    try:
        datasec = section_type(types, ".maps")
    except LookupError as error:
        raise file.error(f"BTF does not describe it: {error}", section=section) from None
    result: dict[int, MapSpec] = {}
    places: dict[int, int] = {}  # byte offset of a map -> of the first element of its values
    ends: dict[int, int] = {}
    words, at = types.locate(types.type_id(datasec))
    # u32 type, u32 offset, u32 size
    entry = iter(_entries(types, words, at))
    for variable, offset, size in zip(entry, entry, entry, strict=True):
        words, at = types.locate(variable)
        if words[at + 1] >> KIND_SHIFT & KIND_MASK != _VAR:
            what = type(types.type_by_id(variable)).__name__
            raise file.error(f"BTF has a {what} where a variable belongs", section=section)
        name = types.string(words[at])
        if offset + size > section.size:
            raise file.error(
                f"map {name} ends past the section's {section.size} bytes",
                section=section,
                offset=offset,
            )
        if offset in result:
            raise file.error(
                f"maps {result[offset].name} and {name} are at one place (is a map static? maps have to be global)",
                section=section,
                offset=offset,
            )
        definition = _under(types, words[at + 2])
        if definition[0] != _STRUCT:
            raise file.error(f"map {name} is no structure", section=section, offset=offset)
        result[offset] = _parse_map(file, section, types, name, definition)
        place = next((place for label, _, place in _members(types, definition) if label == b"values"), None)
        if place is not None:
            # with the flag, a bit-field's size is above the bits
            bits = place & 0xFF_FFFF if definition[1][definition[2] + 1] & KIND_FLAG else place
            places[offset] = offset + bits // 8
            ends[offset] = offset + size
    _fill_slots(file, section, result, places, ends)
    return result


def _fill_slots(
    file: ObjectFile, section: Section, maps: dict[int, MapSpec], places: dict[int, int], ends: dict[int, int]
) -> None:
    """Give each map the names of what its ``values`` point to: one relocation each."""
    relocations = file.relocations(section)
    if not relocations:
        return
    starts = sorted(maps)
    data = file.contents(section)
    for offset, symbol in relocations:
        index = bisect_right(starts, offset) - 1
        start = starts[index] if index >= 0 else -1
        place = places.get(start)
        if place is None or not place <= offset < ends[start] or (offset - place) % _SLOT:
            raise file.error(f"a relocation of {symbol.name!r} that is in no values", section=section, offset=offset)
        spec = maps[start]
        slot = (offset - place) // _SLOT
        if slot >= spec.max_entries:
            raise file.error(
                f"map {spec.name}: values has an element {slot}, but max_entries is {spec.max_entries}",
                section=section,
                offset=offset,
            )
        addend = int.from_bytes(data[offset : offset + _SLOT], file.byte_order)
        name = _slot_name(section, maps, symbol, addend, spec)
        if name is None:
            what = "map" if spec.type in _MAPS_OF_MAPS else "program"
            raise file.error(
                f"map {spec.name}: element {slot} of values, {symbol.name!r}, is no {what}",
                section=section,
                offset=offset,
            )
        spec.slots[slot] = name


def _slot_name(section: Section, maps: dict[int, MapSpec], symbol: Symbol, addend: int, holder: MapSpec) -> str | None:
    if holder.type in _MAPS_OF_MAPS:
        target = maps.get(symbol.value + addend) if symbol.section == section.index else None
        return target.name if target is not None else None
    return symbol.name if symbol.kind == SYMBOL_FUNC and symbol.bind != BIND_LOCAL and not addend else None


def _parse_map(
    file: ObjectFile, section: Section, spec: btf.Spec, name: str, definition: Record, *, is_inner: bool = False
) -> MapSpec:
    def fault(message: str) -> ElfError:
        return file.error(f"map {name}: {message}", section=section)

    numbers: dict[str, int] = {}
    types: dict[str, btf.Type] = {}
    element: Record | None = None
    for label, type_id, _ in _members(spec, definition):
        if label in _NUMBERS:
            value = _number(spec, type_id)
            if value is None:
                raise fault(f"{label.decode()} is not written with __uint or __ulong")
            numbers[label.decode()] = value
        elif label in _TYPES:
            kind, words, at = _under(spec, type_id)
            if kind != _PTR:
                raise fault(f"{label.decode()} is not written with __type")
            types[label.decode()] = spec.type_by_id(words[at + 2])
        elif label == b"values" and not is_inner:
            element = _element(spec, type_id)
            if element is None:
                raise fault("values is not written with __array")
        else:
            raise fault(f"unknown member {label.decode('utf-8', 'backslashreplace')!r}")

    if "type" not in numbers:
        raise fault("no type")
    kind = map_type(numbers["type"])
    inner = None
    if element is not None:
        expected = _STRUCT if kind in _MAPS_OF_MAPS else _FUNC_PROTO if kind == MapType.PROG_ARRAY else None
        if expected is None:
            raise fault("values are for maps of maps and program arrays")
        if element[0] != expected:
            raise fault(f"values of a {kind.name} are no {'maps' if expected == _STRUCT else 'functions'}")
        if expected == _STRUCT:
            inner = _parse_map(file, section, spec, f"{name}.inner", element, is_inner=True)
            if inner.pinning:
                raise fault("the maps in a map of maps cannot be pinned by name")
            if inner.type in _MAPS_OF_MAPS:
                raise fault("a map of maps of maps: the kernel takes one level")
    of_objects = kind in _MAPS_OF_MAPS or kind == MapType.PROG_ARRAY
    if of_objects and numbers.setdefault("value_size", _DESCRIPTOR) != _DESCRIPTOR:
        raise fault(f"value_size is {numbers['value_size']}, not that of a descriptor, 4")
    if kind in _MAPS_OF_MAPS:
        types.pop("value", None)
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
        numa_node=numbers.get("numa_node") if numbers.get("map_flags", 0) & _NUMA_NODE else None,
        inner=inner,
    )


def _under(types: btf.Spec, type_id: int) -> Record:
    """The record of what is under the typedefs and qualifiers of a type.

    Raises:
        BtfError: they form a cycle.
    """
    for step in range(_SHORT + 1):
        if step == _SHORT:  # many members may lie at the end of one such chain
            type_id = Ways.end(types, type_id)
        if not type_id:
            break
        words, at = types.locate(type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        if kind not in _MODIFIERS:
            return kind, words, at
        type_id = words[at + 2]
    return _NOTHING


def _entries(types: btf.Spec, words: memoryview, at: int) -> list[int]:
    """The words behind a record, three to each of its entries."""
    count = 3 * (words[at + 1] & VLEN_MASK)
    found = words[at + 3 : at + 3 + count].tolist()
    if len(found) < count:
        raise BtfError("truncated: a record runs past the end of the types", source=types.name or "BTF")
    return found


def _members(types: btf.Spec, structure: Record) -> list[tuple[bytes, int, int]]:
    """Name, type and offset word of each member of a structure."""
    _, words, at = structure
    body = _entries(types, words, at)
    return list(zip(types.strings_at(body[0::3]), body[1::3], body[2::3], strict=True))


def _element(types: btf.Spec, values: int) -> Record | None:
    """What the elements of ``values`` point to."""
    kind, words, at = _under(types, values)
    # an array's body: u32 element, u32 index, u32 count
    kind, words, at = _under(types, words[at + 3]) if kind == _ARRAY else _NOTHING
    return _under(types, words[at + 2]) if kind == _PTR else None


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


def _number(types: btf.Spec, type_id: int) -> int | None:
    kind, words, at = _under(types, type_id)
    if kind == _PTR:
        kind, words, at = _under(types, words[at + 2])
        number: int | None = words[at + 5] if kind == _ARRAY else None
        return number
    if kind in _ENUMS and words[at + 1] & VLEN_MASK == 1:
        enum = btf.resolve(types.type_by_id(type_id))
        assert isinstance(enum, btf.Enum)
        return enum.enumerators[0].value
    return None
