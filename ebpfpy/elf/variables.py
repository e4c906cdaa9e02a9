"""Global variables: each section of data is one array map with a single value, each symbol in it a variable.

    .rodata  constants        read-only for programs, frozen before the program is loaded
    .data    with a value     contents of the section
    .bss     zeros            no bytes in the file

Sections of the same families count too: ".rodata.str1.1" (strings), ".data.percpu_like" and ".bss.NAME".

Variables of address space 1 are in a section of their own, ".addr_space.1". They lie in the object's arena, a map that
programs and user space share as memory (Linux 6.9), at its start.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy import btf
from ebpfpy.sys.enums import MapFlags, MapType

from .datasec import section_type
from .objectfile import BIND_LOCAL, SECTION_NOBITS, SECTION_PROGBITS, SYMBOL_OBJECT
from .spec import MapSpec, VariableSpec

if TYPE_CHECKING:
    from .objectfile import ObjectFile, Section

_FAMILIES = (".bss", ".data", ".rodata")
_WITH_DATA = frozenset({SECTION_PROGBITS, SECTION_NOBITS})
_VARIABLE = int(MapFlags.MMAPABLE)
_CONSTANT = int(MapFlags.MMAPABLE | MapFlags.RDONLY_PROG)
ARENA_DATA = ".addr_space.1"


def is_data(section: Section) -> bool:
    """Does the section hold global variables?"""
    return (
        section.kind in _WITH_DATA
        and section.size > 0
        and section.name.startswith(_FAMILIES)
        and "." + section.name[1:].partition(".")[0] in _FAMILIES
    )


def is_arena_data(section: Section) -> bool:
    """Does the section hold variables that lie in the arena?"""
    return section.name == ARENA_DATA and section.kind in _WITH_DATA and section.size > 0


def data_map(file: ObjectFile, section: Section, types: btf.Spec | None) -> MapSpec:
    """The map that holds a section of data."""
    constant = section.name.startswith(".rodata")
    return MapSpec(
        name=section.name,
        type=MapType.ARRAY,
        key_size=4,
        value_size=section.size,
        max_entries=1,
        flags=_CONSTANT if constant else _VARIABLE,
        value=_datasec(types, section.name),
        contents=bytearray(file.contents(section)),
        frozen=constant,
        data_section=True,
    )


def _datasec(types: btf.Spec | None, name: str) -> btf.Datasec | None:
    if types is None:
        return None
    try:
        return section_type(types, name)
    except LookupError:  # strings have no description
        return None


def read_variables(
    file: ObjectFile,
    section: Section,
    data: MapSpec,
    types: btf.Spec | None,
    into: dict[str, VariableSpec],
    notes: list[str],
) -> None:
    """Add the variables of a section of data to `into`; of two static ones with one name the first is kept.

    Raises:
        ElfError: a variable outside its section.
    """
    described: dict[tuple[str, int], btf.Type] = {}
    datasec = data.value if data.name == section.name else _datasec(types, section.name)
    if isinstance(datasec, btf.Datasec):
        for info in datasec.variables:
            if isinstance(info.var, btf.Var):
                described[info.var.name, info.offset] = info.var.type
    symbols = [symbol for symbol in file.symbols_by_section.get(section.index, ()) if symbol.kind == SYMBOL_OBJECT]
    symbols.sort(key=lambda symbol: (symbol.bind == BIND_LOCAL, symbol.value))
    for symbol in symbols:
        if symbol.value + symbol.size > section.size:
            raise file.error(
                f"variable {symbol.name} of {symbol.size} bytes ends past the section's {section.size}",
                section=section,
                offset=symbol.value,
            )
        if not symbol.name or not symbol.size:
            continue
        other = into.get(symbol.name)
        if other is not None:
            notes.append(
                f"two variables are called {symbol.name}: the one in {section.name} at byte {symbol.value}"
                f" can only be reached through its map, the other is in {other.map.name}"
            )
            continue
        into[symbol.name] = VariableSpec(
            name=symbol.name,
            map=data,
            offset=symbol.value,
            size=symbol.size,
            type=described.get((symbol.name, symbol.value)),
            byte_order=file.byte_order,
        )
