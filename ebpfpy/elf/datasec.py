"""Fill in what clang leaves open in an object's BTF: where variables are in their sections.

For ``__u64 runs, sum;`` in .bss clang writes (BTF of a little-endian object, simplified):

    [9] DATASEC '.bss' size=0 vlen=2
            type_id=7 offset=0 size=8     VAR 'runs'
            type_id=8 offset=0 size=8     VAR 'sum'

The section's size and the offsets of global variables are zero: an ELF linker is supposed to know better. The
kernel wants them filled in, ascending and without overlap:

    [9] DATASEC '.bss' size=16 vlen=2
            type_id=7 offset=0 size=8     VAR 'runs'
            type_id=8 offset=8 size=8     VAR 'sum'

Static variables have their offset already (clang has no symbol for them but the section's, and writes the
addend in place). Hidden global functions become static, so that the verifier looks at them in their callers'
context; and so do hidden variables.

All of this is patching of bytes at known places, in a copy. BTF that is malformed is left as it is: building
a `btf.Spec` from it says what is wrong with it.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy import btf
from ebpfpy.btf.kinds import KIND_MASK, KIND_SHIFT, RECORD_WORDS, VLEN_MASK, Kind

from .objectfile import (
    BIND_LOCAL,
    MAX_NAME,
    SYMBOL_FUNC,
    VISIBILITY_HIDDEN,
    VISIBILITY_INTERNAL,
)

if TYPE_CHECKING:
    from .objectfile import ObjectFile

_WORD = 4
_STATIC = 0
_VAR, _DATASEC, _FUNC = int(Kind.VAR), int(Kind.DATASEC), int(Kind.FUNC)


class _Kinds(dict[int, int]):
    """A record's kind by its info word."""

    def __missing__(self, info: int) -> int:
        kind = self[info] = info >> KIND_SHIFT & KIND_MASK
        return kind


class _Lengths(dict[int, int]):
    """A record's words by its info word; 0 for one of an unknown kind."""

    def __missing__(self, info: int) -> int:
        extra = RECORD_WORDS.get(info >> KIND_SHIFT & KIND_MASK)
        length = self[info] = 3 + extra[0] + extra[1] * (info & VLEN_MASK) if extra is not None else 0
        return length


class Filled(NamedTuple):
    """An object's BTF, filled in.

    Attributes:
        blob: the BTF.
        sections: type ids of its data sections by name; empty where nothing could be filled in.
    """

    blob: bytes
    sections: dict[str, list[int]]


def fill_in(blob: bytes, file: ObjectFile) -> Filled:
    """A copy of the object's BTF with the sizes of its sections and the offsets of its variables.

    Args:
        blob: contents of .BTF.
        file: the object, for its sections and symbols.
    """
    mark = file.mark
    if len(blob) < 24:
        return Filled(blob, {})
    # u16 magic, u8 version, u8 flags, u32 hdr_len, u32 type_off, u32 type_len, u32 str_off, u32 str_len
    magic, _, _, header, type_off, type_len, str_off, str_len = struct.unpack_from(mark + "HBBIIIII", blob)
    start, end = header + type_off, header + type_off + type_len
    strings, strings_end = header + str_off, header + str_off + str_len
    if magic != 0xEB9F or end > len(blob) or strings_end > len(blob):
        return Filled(blob, {})

    def name_at(offset: int) -> str:
        stop = blob.find(b"\0", strings + offset, min(strings_end, strings + offset + MAX_NAME))
        return blob[strings + offset : stop].decode("utf-8", "backslashreplace") if stop >= 0 else ""

    concealed = [
        symbol
        for symbol in file.symbols
        if symbol.visibility in {VISIBILITY_INTERNAL, VISIBILITY_HIDDEN} and symbol.bind != BIND_LOCAL
    ]
    hidden = {symbol.name for symbol in concealed if symbol.kind == SYMBOL_FUNC}
    hidden_variables = {(symbol.section, symbol.name) for symbol in concealed if symbol.kind != SYMBOL_FUNC}
    result = bytearray(blob)
    words = struct.unpack_from(f"{mark}{(end - start) // _WORD}I", blob, start)
    variables: dict[int, tuple[int, int]] = {}  # type id -> string offset of its name, where its linkage is
    sections: list[tuple[int, str, int, int]] = []  # where, name, vlen, size
    ids: dict[str, list[int]] = {}
    kind_of, length_of = _Kinds(), _Lengths()
    at, type_id, count = 0, 1, len(words)
    while at + 3 <= count:
        # u32 name_off, u32 info, u32 size_or_type
        info = words[at + 1]
        behind = at + length_of[info]
        if behind <= at or behind > count:
            return Filled(blob, {})
        kind = kind_of[info]
        if kind == _VAR:
            variables[type_id] = words[at], start + _WORD * (at + 3)
        elif kind == _DATASEC:
            name = name_at(words[at])
            sections.append((start + _WORD * at, name, info & VLEN_MASK, words[at + 2]))
            ids.setdefault(name, []).append(type_id)
        elif kind == _FUNC and hidden and info & VLEN_MASK == 1 and name_at(words[at]) in hidden:
            struct.pack_into(mark + "I", result, start + _WORD * (at + 1), info & ~VLEN_MASK)
        at = behind
        type_id += 1

    entry = struct.Struct(mark + "III")
    places: dict[int, dict[str, int]] = {}  # section index -> byte offsets of its symbols
    for where, name, vlen, size in sections:
        section = file.section(name)
        if section is None:  # .kconfig and .ksyms have no section: whoever resolves them lays them out
            continue
        if size == 0:
            struct.pack_into(mark + "I", result, where + 8, min(section.size, 0xFFFFFFFF))
        if section.index not in places:
            places[section.index] = {
                symbol.name: symbol.value
                for symbol in file.symbols_by_section.get(section.index, ())
                if symbol.bind != BIND_LOCAL
            }
        offsets = places[section.index]
        rows: list[tuple[int, int, int]] = []
        for index in range(vlen):
            # u32 type, u32 offset, u32 size
            var, offset, length = entry.unpack_from(blob, where + 12 + index * 12)
            described, linkage = variables.get(var, (0, 0))
            symbol_name = name_at(described) if described else ""
            if hidden_variables and (section.index, symbol_name) in hidden_variables:
                struct.pack_into(mark + "I", result, linkage, _STATIC)
            rows.append((offset or min(offsets.get(symbol_name, offset), 0xFFFFFFFF), var, length))
        rows.sort()
        for index, (offset, var, length) in enumerate(rows):
            entry.pack_into(result, where + 12 + index * 12, var, offset, length)
    return Filled(bytes(result), ids)


def remember_sections(types: btf.Spec, sections: dict[str, list[int]]) -> None:
    """Keep with the types which of them are data sections: several are asked for, and a search takes longer."""
    types.derived[Filled] = sections


def section_types(types: btf.Spec, name: str) -> list[btf.Datasec]:
    """The types of that name that describe a data section."""
    known: dict[str, list[int]] | None = types.derived.get(Filled)
    if known is None:
        return [each for each in types.any_types_by_name(name) if isinstance(each, btf.Datasec)]
    return [each for each in map(types.type_by_id, known.get(name, ())) if isinstance(each, btf.Datasec)]


def section_type(types: btf.Spec, name: str) -> btf.Datasec:
    """The one type that describes a data section.

    Raises:
        LookupError: there is none, or several.
    """
    found = section_types(types, name)
    return found[0] if len(found) == 1 else types.type_by_name(name, btf.Datasec)
