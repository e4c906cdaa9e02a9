"""What `MapSpec.slots` of program arrays and of structures of functions name, looked at before anything is made.

What somebody has written into a blueprint has to be there: a name that no program has, or one that is not loaded, would
leave an element empty, or a structure without a function. What the object itself refers to (`MapSpec.own_slots`) may be
left out, with a note: that is how an object is loaded without a program that this kernel does not take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy import btf
from ebpfpy.errors import InputError
from ebpfpy.sys import MapType, ProgramType

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Set

    from ebpfpy.elf import CollectionSpec
    from ebpfpy.elf.spec import MapSpec, ProgramSpec

_NAMES_SHOWN = 12


def check_slots(spec: CollectionSpec, loaded: Set[str]) -> Iterator[str]:
    """Refuse names of nothing in program arrays and structures of functions that are to be made.

    Args:
        spec: the object's blueprint.
        loaded: names of the programs that will be loaded.

    Yields:
        Notes on what stays empty.

    Raises:
        InputError: the map, the element or member, and the name; and what the object has.
    """
    places: dict[str, str] = {}
    for each in spec.maps.values():
        if not each.autocreate or not isinstance(each.slots, dict):
            continue
        if each.type == MapType.PROG_ARRAY:
            candidates = [program for program in spec.programs.values() if program.type != ProgramType.STRUCT_OPS]
            for index, name in each.slots.items():
                yield from _check(each, index, f"element {index}", name, spec, candidates, loaded)
        elif each.type == MapType.STRUCT_OPS and isinstance(each.value, btf.Struct):
            candidates = [program for program in spec.programs.values() if program.type == ProgramType.STRUCT_OPS]
            members = {member.offset: member.name for member in each.value.members}
            for offset, name in each.slots.items():
                if not name:  # to stay empty, on purpose
                    continue
                member = members.get(offset) or f"at byte {offset}"
                yield from _check(each, offset, f"member {member}", name, spec, candidates, loaded)
                if places.setdefault(name, member) != member:
                    raise InputError(
                        f"map {each.name}: program {name} is to implement member {member}, but implements"
                        f" {places[name]} already: a program is loaded for one member; write another program for it"
                    )


def _check(
    holder: MapSpec,
    key: int,
    place: str,
    name: object,
    spec: CollectionSpec,
    candidates: Iterable[ProgramSpec],
    loaded: Set[str],
) -> Iterator[str]:
    where = f"map {holder.name}: {place}"
    if holder.own_slots.get(key) == name:
        if name not in loaded:
            yield f"{where} stays empty: program {name} is not loaded"
        return
    kind = "struct_ops program" if holder.type == MapType.STRUCT_OPS else "program"
    names = [program.name for program in candidates]
    if name not in names:
        if name in spec.maps:
            what = "which is a map"
        elif name in spec.programs:
            what = f"which is a {spec.programs[str(name)].type.name} program"
        else:
            what = "which the object does not have"
        shown = ", ".join(names[:_NAMES_SHOWN]) + (", ..." if len(names) > _NAMES_SHOWN else "")
        empty = (
            "None leaves it empty" if holder.type == MapType.STRUCT_OPS else "take it out of `slots` to leave it empty"
        )
        raise InputError(f"{where} is to be {kind} {name!r}, {what}; there are: {shown or 'none'}; {empty}")
    if name not in loaded:
        raise InputError(
            f"{where} is to be {kind} {name!r}, which is not loaded:"
            f' set spec.programs["{name}"].autoload = True, or leave the place empty'
        )
