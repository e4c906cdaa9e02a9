"""struct_ops: structures of the kernel's functions, implemented by programs.

    SEC(".struct_ops.link")
    struct tcp_congestion_ops ours = {
            .ssthresh = (void *)ours_ssthresh,
            .name = "ours",
    };

A variable in a section ".struct_ops" or ".struct_ops.link" becomes a map of type STRUCT_OPS whose single value is that
structure. Its bytes are in the object, in the object's own layout of the structure; where a function belongs, a
relocation names the program. So the variable above gives a `MapSpec` with `contents` (the name, and zeros), `value`
(the object's struct tcp_congestion_ops) and `slots` {16: "ours_ssthresh"}; and the program learns what it implements:
`ProgramSpec.attach_to` is "tcp_congestion_ops:ssthresh".

What the kernel's structure looks like, and which number its member has, is found when the map is loaded
(`ebpfpy.loader.structops`). With ".link" the map is registered by a link (Linux 6.4), else by filling it (5.6). A "?"
before the section's name means that the map is made only when asked for, and its programs with it.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING

from ebpfpy import btf
from ebpfpy.btf.names import essential_name
from ebpfpy.sys.enums import MapFlags, MapType, ProgramType

from .datasec import section_type
from .objectfile import BIND_LOCAL, SECTION_PROGBITS, SYMBOL_FUNC
from .spec import MapSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .objectfile import ObjectFile, Section
    from .spec import ProgramSpec

_NAMES = {".struct_ops": MapFlags(0), ".struct_ops.link": MapFlags.LINK}
_KEY = 4


def is_struct_ops(section: Section) -> bool:
    """Does the section hold structures of functions?"""
    return section.kind == SECTION_PROGBITS and section.name.removeprefix("?") in _NAMES and section.size > 0


def struct_ops_maps(file: ObjectFile, section: Section, types: btf.Spec | None) -> dict[int, MapSpec]:
    """The maps of such a section, by the byte offset of their variable.

    Raises:
        ElfError: no BTF, a variable that is no structure, or a relocation that names no function.
    """
    if types is None:
        raise file.error("its structures are described by BTF, which this object does not have", section=section)
    try:
        datasec = section_type(types, section.name)
    except LookupError as error:
        raise file.error(f"BTF does not describe it: {error}", section=section) from None
    data = file.contents(section)
    maps: dict[int, MapSpec] = {}
    for info in datasec.variables:
        definition = btf.resolve(info.var.type) if isinstance(info.var, btf.Var) else None
        if not isinstance(info.var, btf.Var) or not isinstance(definition, btf.Struct) or not definition.name:
            raise file.error("what is here is no variable of a structure that has a name", section=section)
        end = info.offset + definition.size
        if end > section.size or info.offset in maps:
            raise file.error(
                f"{info.var.name} of {definition.size} bytes does not fit where BTF says",
                section=section,
                offset=info.offset,
            )
        maps[info.offset] = MapSpec(
            name=info.var.name,
            type=MapType.STRUCT_OPS,
            key_size=_KEY,
            value_size=definition.size,
            max_entries=1,
            flags=int(_NAMES[section.name.removeprefix("?")]),
            value=definition,
            contents=bytearray(data[info.offset : end]),
            autocreate=not section.name.startswith("?"),
        )
    starts = sorted(maps)
    for offset, symbol in file.relocations(section):
        index = bisect_right(starts, offset) - 1
        spec = maps[starts[index]] if index >= 0 else None
        if spec is None or offset >= starts[index] + spec.value_size:
            raise file.error(f"a relocation of {symbol.name!r} in no variable", section=section, offset=offset)
        if symbol.kind != SYMBOL_FUNC or symbol.bind == BIND_LOCAL:
            raise file.error(
                f"{spec.name} refers to {symbol.name!r}, which is no program", section=section, offset=offset
            )
        spec.slots[offset - starts[index]] = symbol.name
    return maps


def implement(file: ObjectFile, maps: Mapping[str, MapSpec], programs: Mapping[str, ProgramSpec]) -> None:
    """Tell programs which member of which structure they implement.

    Raises:
        ElfError: a function that is no struct_ops program, or belongs to two different members.
    """
    for spec in maps.values():
        if spec.type != MapType.STRUCT_OPS or not isinstance(spec.value, btf.Struct):
            continue
        members = {member.offset: member.name for member in spec.value.members}
        for offset, name in spec.slots.items():
            program = programs.get(name)
            member = members.get(offset)
            if program is None or program.type != ProgramType.STRUCT_OPS or not member:
                raise file.error(f"{spec.name}: {name} in member {member or offset} is no struct_ops program")
            meaning = f"{essential_name(spec.value.name)}:{member}"
            if ":" in program.attach_to and program.attach_to != meaning:
                raise file.error(f"program {name} implements both {program.attach_to} and {meaning}")
            program.attach_to = meaning
