"""Blueprints and options that somebody has edited: wrong types are said here, with the field's name.

Type checkers find these mistakes before; who does without gets an `InputError` instead of whatever the first function
that meets the value makes of it.
"""

from __future__ import annotations

import os
from itertools import repeat
from typing import TYPE_CHECKING, Any, Final

from ebpfpy import asm, btf, core
from ebpfpy.elf.spec import (
    CollectionSpec,
    ExternSpec,
    MapSpec,
    ProgramSpec,
    Reference,
    ReferenceKind,
    VariableSpec,
    place_of,
)
from ebpfpy.errors import InputError
from ebpfpy.sys import MapType, ProgramType
from ebpfpy.sys.paths import path_text

from .options import CollectionOptions, MapOptions, ProgramOptions

if TYPE_CHECKING:
    from collections.abc import Mapping

OF_MAPS: Final = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_WITH_SLOTS: Final = OF_MAPS | {MapType.PROG_ARRAY, MapType.STRUCT_OPS}

_NUMBER: Final = (int,)
_BYTES: Final = (bytes, bytearray, memoryview)
_NOTHING: Final = type(None)

_MAP: Final[dict[str, tuple[type, ...]]] = {
    "name": (str,),
    "type": (MapType,),
    "key_size": _NUMBER,
    "value_size": _NUMBER,
    "max_entries": _NUMBER,
    "flags": _NUMBER,
    "map_extra": _NUMBER,
    "numa_node": (int, _NOTHING),
    "key": (btf.Type, _NOTHING),
    "value": (btf.Type, _NOTHING),
    "contents": (*_BYTES, _NOTHING),
    "inner": (MapSpec, _NOTHING),
    "slots": (dict,),
    "own_slots": (dict,),
    "pinning": _NUMBER,
}
_PROGRAM: Final[dict[str, tuple[type, ...]]] = {
    "name": (str,),
    "section": (str,),
    "type": (ProgramType,),
    "attach_type": (int, _NOTHING),
    "attach_to": (str,),
    "attach_module": (str, _NOTHING),
    "flags": _NUMBER,
    "license": (str,),
    "code": _BYTES,
}
_OPTIONS: Final[dict[str, tuple[type, ...]]] = {
    "programs": (ProgramOptions,),
    "maps": (MapOptions,),
    "cache": (btf.Cache, _NOTHING),
}
_COLLECTION: Final[dict[str, tuple[type, ...]]] = {
    "source": (str,),
    "maps": (dict,),
    "programs": (dict,),
    "variables": (dict,),
    "externs": (dict,),
    "types": (btf.Spec, _NOTHING),
    "notes": (list, tuple),
}
_PROGRAM_OPTIONS: Final[dict[str, tuple[type, ...]]] = {"log_level": _NUMBER, "log_size": _NUMBER}
_MAP_OPTIONS: Final[dict[str, tuple[type, ...]]] = {"pin_path": (str, os.PathLike, _NOTHING)}
MAX_LOG: Final = (1 << 30) - 1  # UINT_MAX >> 2, since Linux 5.2; before that UINT_MAX >> 8
_IN_ONE: Final = (ReferenceKind.FUNCTION, ReferenceKind.UNRESOLVED)  # may be calls, of one instruction
_LOAD: Final = 0x18  # ld_imm64, of two
_LOG_LEVELS: Final = 0b111  # 1 errors, 2 everything, 4 statistics


def check_options(options: CollectionOptions) -> None:
    """Refuse options of wrong types, and log levels that the kernel does not define.

    Raises:
        InputError: what is wrong, by name.
    """
    if not isinstance(options, CollectionOptions):
        raise InputError(
            f"options of a collection are CollectionOptions, not {type(options).__name__}:"
            " CollectionOptions(programs=ProgramOptions(...), maps=MapOptions(...))"
        )
    _check(options, _OPTIONS, "CollectionOptions")
    _check(options.programs, _PROGRAM_OPTIONS, "ProgramOptions")
    _check(options.maps, _MAP_OPTIONS, "MapOptions")
    token = options.token
    if isinstance(token, (str, bytes, os.PathLike)):
        path_text(token, "CollectionOptions: token")
    elif token is not None and not hasattr(token, "fileno"):
        raise InputError(f"CollectionOptions: token is {token!r:.60}, not a path, a token with a descriptor, or None")
    level = options.programs.log_level
    if level & ~_LOG_LEVELS:
        raise InputError(
            f"ProgramOptions: log_level {level} is no sum of 1 (errors), 2 (everything) and 4 (statistics)"
        )
    if not 0 <= options.programs.log_size <= MAX_LOG:
        raise InputError(
            f"ProgramOptions: log_size {options.programs.log_size} is too large: a kernel takes {MAX_LOG} bytes"
        )


def check_collection(spec: CollectionSpec) -> None:
    """Refuse an object's blueprint whose parts are of wrong types, before anything is made of them.

    Raises:
        InputError: which field, and what it is.
    """
    _check(spec, _COLLECTION, "CollectionSpec")
    tables = {"maps": MapSpec, "programs": ProgramSpec, "variables": VariableSpec, "externs": ExternSpec}
    for field, kind in tables.items():
        table = getattr(spec, field)
        if not all(map(isinstance, table.values(), repeat(kind))):
            wrong = next((name, each) for name, each in table.items() if not isinstance(each, kind))
            raise InputError(f"CollectionSpec: {field} has {wrong[0]!r:.60}: {wrong[1]!r:.60}, not {kind.__name__}")
    for each in spec.maps.values():
        if not isinstance(each.name, str):
            raise InputError(f"CollectionSpec: a map's name is {each.name!r:.60}, not str")
        if each.autocreate or each.type == MapType.STRUCT_OPS:  # whose slots say which programs are to be loaded
            check_map(each)
    for program in spec.programs.values():
        if program.type == ProgramType.STRUCT_OPS:  # whose fields say which programs and members go together
            _check(program, _PROGRAM, f"program {program.name}")
    for variable in spec.variables.values():
        place_of(variable)


def check_map(spec: MapSpec) -> None:
    """Refuse a map's blueprint with values of wrong types.

    Raises:
        InputError: which field, and what it is.
    """
    where = f"map {spec.name}"
    _check(spec, _MAP, where)
    if spec.data_section:  # the types of the object have it, too
        _check_word(where, "value_size", spec.value_size)
    for index, name in spec.slots.items():
        if not isinstance(index, int) or not isinstance(name, str) or not 0 <= index < 1 << 32:
            raise InputError(f"{where}: slots has {index!r:.30}: {name!r:.30}, not names by index")
    if spec.slots and spec.type not in _WITH_SLOTS:
        raise InputError(
            f"{where}: a map of type {spec.type.name} has no slots: maps of maps, program arrays and struct_ops have"
        )
    if spec.pinning not in (0, 1):
        raise InputError(f"{where}: pinning is {spec.pinning}, not 0 (none) or 1 (by name)")
    if spec.inner is not None:
        _check(spec.inner, _MAP, f"map {spec.inner.name}")
        if spec.inner.type in OF_MAPS:
            raise InputError(f"{where}: what is inside a map of maps is no map of maps")


def check_program(spec: ProgramSpec) -> None:
    """Refuse a program's blueprint with values of wrong types, or code that ends before its last reference.

    Raises:
        InputError: which field, and what it is.
    """
    where = f"program {spec.name}"
    _check(spec, _PROGRAM, where)
    if not spec.license.isascii():
        raise InputError(f"{where}: license {spec.license!r:.60} is not ASCII")
    _check_word(where, "flags", spec.flags)
    _check_word(where, "attach_type", spec.attach_type or 0)
    count, rest = divmod(len(spec.code), asm.INSN_SIZE)
    if rest or not count:
        raise InputError(f"{where}: code of {len(spec.code)} bytes is no whole number of instructions")
    target = spec.attach_target
    if target is not None and not (
        isinstance(target, tuple)
        and len(target) == 2
        and (isinstance(target[0], int) or hasattr(target[0], "fileno"))
        and isinstance(target[1], str)
    ):
        raise InputError(f"{where}: attach_target is {target!r:.60}, not (PROGRAM, FUNCTION)")
    _check_tables(spec, where)
    for each in spec.references:
        if not 0 <= each.insn < count:
            raise InputError(
                f"{where}: a reference of instruction {each.insn}, but code has {count}; change `references`, too"
            )
        called = each.kind in _IN_ONE and spec.code[each.insn * asm.INSN_SIZE] != _LOAD
        if not called and each.insn + 1 == count:
            raise InputError(f"{where}: a reference of instruction {each.insn}, which is half of one; code has {count}")


def _check_word(where: str, field: str, value: int) -> None:
    if not 0 <= value < 1 << 32:
        raise InputError(f"{where}: {field} {value} does not fit into 32 bits")


def _check_tables(spec: ProgramSpec, where: str) -> None:
    """What lies beside the code: of what each table consists. Rows of numbers are looked at when they are packed."""
    for field, kind in (("references", Reference), ("relocations", core.Relocation)):
        rows = getattr(spec, field)
        if not isinstance(rows, (tuple, list)) or not all(map(isinstance, rows, repeat(kind))):
            raise InputError(f"{where}: {field} is {rows!r:.60}, not a tuple of {kind.__name__}")
    for each in spec.references:
        if not (
            isinstance(each.insn, int)
            and isinstance(each.kind, ReferenceKind)
            and isinstance(each.name, str)
            and isinstance(each.offset, int)
            and 0 <= each.offset < 1 << 31
        ):
            raise InputError(
                f"{where}: references has {each!r:.160}: the index of an instruction, a kind, a name and an offset of"
                " 31 bits make one"
            )
    for relocation in spec.relocations:
        if not (
            isinstance(relocation.spec, btf.Spec)
            and isinstance(relocation.type_id, int)
            and isinstance(relocation.access, str)
            and isinstance(relocation.kind, int)
            and isinstance(relocation.insn, int)
        ):
            raise InputError(
                f"{where}: relocations has {tuple(relocation)!r:.100}: a Spec, a type id, an access string, a kind and"
                " the index of an instruction make one"
            )


def _check(spec: Any, fields: Mapping[str, tuple[type, ...]], where: str) -> None:
    if all(map(isinstance, map(getattr, repeat(spec), fields), fields.values())):
        return
    for field, types in fields.items():
        value = getattr(spec, field)
        if not isinstance(value, types):
            allowed = " or ".join("None" if each is _NOTHING else each.__name__ for each in types)
            raise InputError(f"{where}: {field} is {value!r:.60}, not {allowed}")
