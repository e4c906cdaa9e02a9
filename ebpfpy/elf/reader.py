"""From an object file to a `CollectionSpec`: the order in which the parts of an object are understood.

    container -> BTF (patched) -> maps -> data sections, variables -> functions -> programs (linked)

No system call but reading the file, no privilege, and either byte order on any machine.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, BinaryIO

from ebpfpy import btf
from ebpfpy.errors import BtfError, EbpfError, ElfError, TypeNotFoundError
from ebpfpy.sys.enums import MapType, ProgramType

from .datasec import fill_in, remember_sections, section_types
from .externs import read_externs
from .functions import read_functions, read_tables
from .link import DataSymbols, Linker
from .mapdefs import parse_maps
from .objectfile import (
    FLAG_ALLOC,
    open_object,
)
from .sections import match
from .spec import CollectionSpec, ExternSpec, MapSpec, ProgramSpec, ReferenceKind, VariableSpec
from .structops import implement, is_struct_ops, struct_ops_maps
from .variables import ARENA_DATA, data_map, is_arena_data, is_data, read_variables

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ebpfpy.btf.ext import ExtInfo

    from .functions import ObjectFunction
    from .objectfile import ObjectFile, Section

_TEXT = ".text"
_POINTERS_SHOWN = 4
_UNRESOLVED = ReferenceKind.UNRESOLVED
_KNOWN = frozenset({"", ".maps", "license", "version", ".BTF", ".BTF.ext"})


def load_collection_spec(
    source: str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | IO[bytes],
) -> CollectionSpec:
    """Read a compiled BPF object file into blueprints; the kernel is not asked anything.

    Args:
        source: a path, the contents of the file as bytes, or a binary file object (read to its end, not
        closed).

    Returns:
        Maps, programs (linked with their subprograms), variables and types. Programs keep the object's byte
        order: an object for a machine of the other byte order can be inspected, but not loaded.

    Raises:
        ElfError: it is no BPF object, or malformed; says in which section, and at which byte of it.
        BtfError: the object's BTF is malformed.
        InputError: `source` is none of these, or a file that is closed.
        KernelError: the file cannot be read; also the matching OSError.
    """
    return read_blueprints(open_object(source))


def read_blueprints(file: ObjectFile) -> CollectionSpec:
    """`load_collection_spec` for a file that is open.

    Raises:
        ElfError, BtfError: it is malformed.
    """
    try:
        return _read(file)
    except TypeNotFoundError as error:  # one type refers to another that is not there
        raise BtfError(f"{file.source}: malformed BTF: {str(error).removeprefix(f'{file.source}: ')}") from error
    except EbpfError:
        raise
    except (MemoryError, RecursionError) as error:
        raise ElfError(f"malformed: {type(error).__name__} while reading it", source=file.source) from error


def _read(file: ObjectFile) -> CollectionSpec:
    notes: list[str] = []
    types, ext = _types(file)
    license_text = _license(file)
    maps, variables, data = _maps(file, types, notes)

    tables = read_tables(file, ext)
    functions: dict[tuple[int, int], ObjectFunction] = {}
    entries: list[ObjectFunction] = []
    for section in file.code:
        found = read_functions(file, section, tables)
        for function in found:
            functions[section.index, function.start] = function
        if section.name != _TEXT and not section.name.startswith(_TEXT + "."):
            entries += [function for function in found if not function.is_local]
            if not found:
                notes.append(f"section {section.name}: instructions without a function")

    externs = read_externs(file, types)
    linker = Linker(file, functions, data, types)
    programs: dict[str, ProgramSpec] = {}
    for function in entries:
        if function.name in programs:
            raise file.error(
                f"two programs are called {function.name}", section=function.section, offset=function.start
            )
        programs[function.name] = _program(function, linker, license_text, externs, notes)
    implement(file, maps, programs)
    for spec in maps.values():
        missing = set(spec.slots.values()) - programs.keys() if spec.type == MapType.PROG_ARRAY else set()
        if missing:
            raise file.error(f"map {spec.name}: its values {', '.join(sorted(missing))} are no programs")
        spec.own_slots = dict(spec.slots)
    _note_sections(file, notes)
    return CollectionSpec(
        source=file.source,
        maps=maps,
        programs=programs,
        variables=variables,
        types=types,
        byte_order=file.byte_order,
        license=license_text,
        externs=externs,
        notes=notes,
    )


def _types(file: ObjectFile) -> tuple[btf.Spec | None, ExtInfo | None]:
    section = file.section(".BTF")
    if section is None or not section.size:
        return None, None
    filled = fill_in(file.contents(section), file)
    types = btf.Spec(filled.blob, name=file.source)
    if filled.sections:
        remember_sections(types, filled.sections)
    if types.byte_order != file.byte_order:
        raise file.error(f"{types.byte_order}-endian BTF in a {file.byte_order}-endian object", section=section)
    section = file.section(".BTF.ext")
    if section is None or not section.size:
        return types, None
    from ebpfpy.btf.ext import parse_ext

    return types, parse_ext(file.contents(section), types, source=f"{file.source}: section .BTF.ext")


def _license(file: ObjectFile) -> str:
    section = file.section("license")
    if section is None:
        return ""
    return file.contents(section).partition(b"\0")[0].decode("utf-8", "backslashreplace")


def _maps(
    file: ObjectFile, types: btf.Spec | None, notes: list[str]
) -> tuple[dict[str, MapSpec], dict[str, VariableSpec], DataSymbols]:
    maps: dict[str, MapSpec] = {}
    variables: dict[str, VariableSpec] = {}
    by_offset: dict[int, str] = {}
    maps_section = 0
    sections: dict[int, tuple[str, int]] = {}
    for section in file.filled:
        if section.name == "maps" or section.name.startswith("maps/"):
            raise file.error(
                'maps in the old style (struct bpf_map_def in a section "maps"): declare them with __uint and'
                ' __type in a section ".maps", and compile with -g',
                section=section,
            )
        if section.name == ".maps" and (section.size or _describes(types, section)):
            if maps_section:
                raise file.error("two sections .maps", section=section)
            maps_section = section.index
            for offset, spec in parse_maps(file, section, types).items():
                _add_map(file, section, maps, spec)
                by_offset[offset] = spec.name
                if spec.type == MapType.UNSPEC:
                    notes.append(f"map {spec.name} has type 0 (unspecified)")
        elif is_struct_ops(section):
            for spec in struct_ops_maps(file, section, types).values():
                _add_map(file, section, maps, spec)
    for section in file.filled:
        if is_data(section):
            spec = data_map(file, section, types)
            _add_map(file, section, maps, spec)
        elif is_arena_data(section):
            spec = _arena(file, section, maps)
        else:
            continue
        sections[section.index] = (spec.name, section.size)
        read_variables(file, section, spec, types, variables, notes)
        _note_pointers(file, section, notes)
    return maps, variables, DataSymbols(by_offset, maps_section, sections)


def _describes(types: btf.Spec | None, section: Section) -> bool:
    """Whether BTF has variables in a section, which may be empty all the same."""
    return types is not None and any(each.variables for each in section_types(types, section.name))


def _arena(file: ObjectFile, section: Section, maps: dict[str, MapSpec]) -> MapSpec:
    """The arena that a section of variables lies in: at its start."""
    arenas = [spec for spec in maps.values() if spec.type == MapType.ARENA]
    if len(arenas) != 1:
        raise file.error(f"its variables lie in an arena, of which there are {len(arenas)}", section=section)
    arenas[0].contents = bytearray(file.contents(section))
    return arenas[0]


def _add_map(file: ObjectFile, section: Section, maps: dict[str, MapSpec], spec: MapSpec) -> None:
    if spec.name in maps:
        raise file.error(f"two maps are called {spec.name}", section=section)
    maps[spec.name] = spec


def _program(
    function: ObjectFunction,
    linker: Linker,
    license_text: str,
    externs: Mapping[str, ExternSpec],
    notes: list[str],
) -> ProgramSpec:
    linked = linker.link(function)
    section = function.section.name
    meaning = match(section)
    spec = ProgramSpec(
        name=function.name,
        section=section,
        type=ProgramType.UNSPEC,
        attach_type=None,
        autoload=not section.startswith("?"),
        license=license_text,
        byte_order=linker.byte_order,
        code=linked.code,
        functions=linked.functions,
        references=linked.references,
        relocations=linked.relocations,
        func_infos=linked.func_infos,
        line_infos=linked.line_infos,
    )
    if meaning is None:
        why = "is not a name that says what its programs are: its type is unspecified"
        notes.append(f"section {section} of program {function.name} {why}")
    else:
        spec.type = meaning.kind.type
        spec.attach_type = meaning.kind.attach_type
        spec.flags = meaning.kind.flags
        spec.attach_to = meaning.attach_to
        spec.attach_module = meaning.attach_module
    unresolved = {one.name for one in linked.references if one.kind is _UNRESOLVED}
    missing = sorted(unresolved - externs.keys()) if unresolved else ()
    if missing:
        notes.append(
            f"program {function.name} refers to {', '.join(missing)}, which the object does not define:"
            " it cannot be loaded"
        )
    return spec


def _note_pointers(file: ObjectFile, section: Section, notes: list[str]) -> None:
    """Say which initialisers of variables are addresses: nobody fills them in (libbpf skips their relocations, too)."""
    pointers = file.relocations(section)
    if pointers:
        places = ", ".join(str(offset) for offset, _ in pointers[:_POINTERS_SHOWN])
        more = ", ..." if len(pointers) > _POINTERS_SHOWN else ""
        notes.append(
            f"section {section.name}: pointers are not filled in, and read as what the file has there:"
            f" at byte {places}{more}"
        )


def _note_sections(file: ObjectFile, notes: list[str]) -> None:
    notes += [
        f"section {section.name} of {section.size} bytes was not understood"
        for section in file.filled
        if section.flags & FLAG_ALLOC
        and section.size
        and not section.is_code
        and section.name not in _KNOWN
        and not is_data(section)
        and not is_struct_ops(section)
        and section.name != ARENA_DATA
    ]
