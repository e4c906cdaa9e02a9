"""Structures of functions of the running kernel (struct_ops), and values of theirs made from an object's.

For ``struct tcp_congestion_ops`` the kernel has a second structure, whose layout says all that a map of it needs::

    struct bpf_struct_ops_tcp_congestion_ops {      the map's value: its id and its size go into BPF_MAP_CREATE
            struct bpf_struct_ops_common common;    kept by the kernel: zeros
            struct tcp_congestion_ops data;         the programs are loaded with the id of this structure,
    };                                              and with the number of the member that each implements

The object's structure may have fewer members in another order (that is what its own flavour ``tcp_congestion_ops___v2``
is for); each is found by name in the kernel's, its bytes copied, and where a program belongs its descriptor is written.
A member that this kernel does not have has to be zero in the object.

Searched are the kernel's types and then each module's own; structures of modules need Linux 6.9.
"""

from __future__ import annotations

import sys as _sys
from typing import TYPE_CHECKING

import attrs

from ebpfpy import btf
from ebpfpy.btf.kinds import Kind
from ebpfpy.btf.names import encode_name, essential_name
from ebpfpy.errors import BtfError, InputError, NotFoundError, TargetNotFoundError, UnsupportedError
from ebpfpy.sys.enums import MapType, ProgramType
from ebpfpy.sys.vmlinux import VMLINUX

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ebpfpy.btf.loadedmodules import Incarnation
    from ebpfpy.elf.spec import MapSpec, ProgramSpec

_PREFIX = "bpf_struct_ops_"
_POINTER = 8
_MAX_DEPTH = 16  # of structures in structures
_MAX_MEMBERS = 1 << 16  # of all of them together


@attrs.frozen
class Operations:
    """A structure of functions, as the running kernel has it.

    Attributes:
        name: without flavour.
        structure: its type.
        type_id: of `structure` in the BTF of `module`.
        value: the type of a map's value.
        value_id: of `value`.
        offset: bytes from the start of `value` to the structure.
        module: the module that has it; None for the kernel itself.
        incarnation: which loading of the module.
    """

    name: str
    structure: btf.Struct
    type_id: int
    value: btf.Struct
    value_id: int
    offset: int
    module: str | None
    incarnation: Incarnation | None = None

    def member_number(self, member: str) -> int:
        """Which member of the structure has this name.

        Raises:
            TargetNotFoundError: none.
        """
        for number, each in enumerate(self.structure.members):
            if each.name == member:
                return number
        raise TargetNotFoundError(
            f"struct {self.name} of {self.module or 'the running kernel'} has no member {member!r}: leave it empty,"
            f' with spec.maps[NAME].members["{member}"] = None',
            name=f"{self.name}:{member}",
            module=self.module,
        )


def find_operations(cache: btf.Cache, name: str) -> Operations:
    """A structure of functions by its name, with or without a flavour.

    Raises:
        TargetNotFoundError: the running kernel has none of that name whose functions programs can be.
    """
    name = essential_name(name)
    specs = [cache.kernel(), *cache.modules()]
    for spec in specs:
        try:
            found = _in_spec(spec, name)
        except (BtfError, NotFoundError):  # a malformed module has no answer
            continue
        if found is not None:
            return found
    raise TargetNotFoundError(
        f"struct {name}: the running kernel has no struct {_PREFIX}{name}, nor has any of the {len(specs) - 1} loaded"
        " modules: it cannot be implemented by programs here. If it is a module's (Linux 6.9), load that module",
        name=name,
        searched=(VMLINUX, *[spec.name for spec in specs[1:]]),
    )


def _in_spec(spec: btf.Spec, name: str) -> Operations | None:
    for value_id in spec.ids_by_name(encode_name(_PREFIX + name), (Kind.STRUCT,)):
        value = spec.type_by_id(value_id)
        if not isinstance(value, btf.Struct):
            continue
        for member in value.members:
            structure = btf.resolve(member.type)
            if isinstance(structure, btf.Struct) and structure.name == name:
                module = spec.name if spec.split else None
                type_id = spec.type_id(structure)
                return Operations(name, structure, type_id, value, value_id, member.offset, module, spec.incarnation)
    return None


def is_used(program: ProgramSpec, maps: Iterable[MapSpec]) -> bool:
    """Whether a struct_ops program is to be loaded: some structure that is made refers to it.

    One whose place in a structure was given to nobody or to another (``members["release"] = None``) is not. One that
    never was in any is, so that the refusal says so. As in libbpf 1.5, who is in a structure that is made is loaded
    even from a section with a leading "?"; not so a program of another section whose `autoload` was set to False.
    """
    optional = program.section.startswith("?")
    if not program.autoload and not optional:
        return False
    structure, _, member = program.attach_to.partition(":")
    replaced = False
    users = []
    for each in maps:
        if each.type != MapType.STRUCT_OPS or not isinstance(each.value, btf.Struct):
            continue
        if program.name in each.slots.values():
            users.append(each)
        elif essential_name(each.value.name) == structure:
            replaced |= any(own.offset in each.slots for own in each.value.members if own.name == member)
    if users:
        return any(each.autocreate for each in users)
    return program.autoload and not replaced


def implementing(program: ProgramSpec, maps: Iterable[MapSpec]) -> ProgramSpec:
    """The program, told which member it implements if the blueprint of a structure says so, or says another."""
    if program.type != ProgramType.STRUCT_OPS:
        return program
    structure, _, told = program.attach_to.partition(":")
    for each in maps:
        if each.type != MapType.STRUCT_OPS or not isinstance(each.value, btf.Struct) or not each.autocreate:
            continue
        for offset, name in each.slots.items():
            member = next((member.name for member in each.value.members if member.offset == offset), "")
            if name == program.name and member and (not told or _has(each.value, structure, told)):
                return attrs.evolve(program, attach_to=f"{essential_name(each.value.name)}:{member}")
    return program


def _has(value: btf.Struct, structure: str, member: str) -> bool:
    return essential_name(value.name) == structure and any(own.name == member for own in value.members)


def program_target(cache: btf.Cache, spec: ProgramSpec) -> tuple[Operations, int]:
    """What a struct_ops program is loaded for: the structure and the number of the member.

    Raises:
        TargetNotFoundError: the program is in no structure, or the kernel lacks structure or member.
    """
    structure, colon, member = spec.attach_to.partition(":")
    if not colon:
        raise TargetNotFoundError(
            f"program {spec.name}: no structure of the object refers to it, so it is not known which member of which"
            ' structure it implements; set attach_to to "STRUCTURE:MEMBER"',
            name=spec.name,
        )
    operations = find_operations(cache, structure)
    return operations, operations.member_number(member)


def kernel_value(spec: MapSpec, operations: Operations, programs: Mapping[str, int]) -> bytes:
    """A map's value for the kernel, from the object's structure.

    Args:
        spec: the map; its `contents` are in the layout of `spec.value`.
        operations: the kernel's structure.
        programs: descriptors of programs by name; a program that is not among them leaves its member empty.

    Raises:
        InputError: a member does not fit.
        UnsupportedError: a member that is not zero, and that the kernel does not have.
    """
    if not isinstance(spec.value, btf.Struct) or spec.contents is None or len(spec.contents) < spec.value.size:
        raise InputError(f"map {spec.name}: the blueprint has no structure, or fewer bytes than it")
    value = bytearray(operations.value.size)
    _copy(spec, bytes(spec.contents), spec.value, 0, value, operations.structure, operations.offset)
    members = {member.offset: member.name for member in spec.value.members}
    theirs = {member.name: member for member in operations.structure.members}
    for offset, program in spec.slots.items():
        if not program:
            continue
        name = members.get(offset, "")
        there = theirs.get(name)
        pointer = btf.resolve(there.type) if there is not None else None
        if there is None or not isinstance(pointer, btf.Pointer):
            raise UnsupportedError(
                f"map {spec.name}: program {program} implements {operations.name}.{name}, which is no function of the"
                " running kernel",
                feature=f"{operations.name}.{name}",
            )
        at = operations.offset + there.offset
        value[at : at + _POINTER] = programs.get(program, 0).to_bytes(_POINTER, _sys.byteorder)
    return bytes(value)


def _copy(
    spec: MapSpec, data: bytes, ours: btf.Struct, base: int, value: bytearray, theirs: btf.Struct, to: int
) -> None:
    """Copy the members of a structure by name; structures in it member by member."""
    work = [(ours, base, theirs, to, ours.name, 0)]
    count = 0
    while work:
        here, start, there, goal, path, depth = work.pop()
        count += len(here.members)
        if count > _MAX_MEMBERS:
            raise InputError(f"map {spec.name}: struct {ours.name} has more than {_MAX_MEMBERS} members")
        named = {member.name: member for member in there.members if member.name}
        for member in here.members:
            kind = btf.resolve(member.type)
            size = _POINTER if isinstance(kind, btf.Pointer) else btf.sizeof(kind)
            at = start + member.offset
            content = data[at : at + size]
            other = named.get(member.name)
            where = f"map {spec.name}: {path}.{member.name}"
            if other is None or member.bitfield_size or other.bitfield_size:
                if any(content):
                    lack = "a bit-field" if other is not None else "not a member of the running kernel's structure"
                    raise UnsupportedError(f"{where} is not zero, and {lack}", feature=f"{path}.{member.name}")
                continue
            target = btf.resolve(other.type)
            if isinstance(kind, btf.Struct) and isinstance(target, btf.Struct) and depth < _MAX_DEPTH:
                work.append((kind, at, target, goal + other.offset, f"{path}.{member.name}", depth + 1))
                continue
            if target.kind != kind.kind or (size != btf.sizeof(target) and not isinstance(kind, btf.Pointer)):
                raise InputError(
                    f"{where} is {kind.kind.name} of {size} bytes in the object, {target.kind.name} of"
                    f" {btf.sizeof(target)} in the kernel"
                )
            value[goal + other.offset : goal + other.offset + size] = content
