"""The ELF container of a BPF object: header, sections, symbols and relocations, checked against its size.

pyelftools reads the file header; the tables behind it (section headers, symbols, relocations) are arrays of
equal records and are read whole with `struct.iter_unpack`. Everything that the file claims (an offset, a
size, an index) is compared with what the file has before it is used, so that absurd claims cost no memory and
no time.
"""

from __future__ import annotations

import os
import struct
from functools import cache, cached_property, partial
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any, BinaryIO, NamedTuple, TypeAlias

import attrs

from ebpfpy.btf.names import decode_name
from ebpfpy.errors import ElfError, InputError, kernel_error

if TYPE_CHECKING:
    from .spec import ByteOrder

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO | IO[bytes]
"""What an object is read from."""

MACHINE_BPF = 247
FILE_TYPE_RELOCATABLE = 1

SECTION_PROGBITS = 1
SECTION_SYMTAB = 2
SECTION_STRTAB = 3
SECTION_RELA = 4
SECTION_NOBITS = 8
SECTION_REL = 9
SECTION_SYMTAB_SHNDX = 18

FLAG_ALLOC = 1 << 1
FLAG_EXECINSTR = 1 << 2
FLAG_COMPRESSED = 1 << 11

SYMBOL_NOTYPE, SYMBOL_OBJECT, SYMBOL_FUNC, SYMBOL_SECTION = 0, 1, 2, 3
BIND_LOCAL, BIND_GLOBAL, BIND_WEAK = 0, 1, 2
VISIBILITY_INTERNAL, VISIBILITY_HIDDEN = 1, 2

INDEX_UNDEFINED = 0
INDEX_RESERVED = 0xFF00

MAX_FILE = 256 << 20
"""Bytes of the largest object that is read."""
MAX_NAME = 4096
"""Bytes of the longest name."""
MAX_NOBITS = 256 << 20
"""Bytes of all zero-filled sections (.bss) together."""

_FILLED = frozenset({SECTION_PROGBITS, SECTION_NOBITS})
_SECTION_SIZE = 64
_SYMBOL_SIZE = 24
_REL_SIZE = 16

_MACHINES = {
    3: "x86",
    8: "MIPS",
    20: "PowerPC",
    21: "64-bit PowerPC",
    22: "s390",
    40: "ARM",
    62: "x86-64",
    183: "AArch64",
    243: "RISC-V",
    258: "LoongArch",
}
_FILE_TYPES = {2: "an executable", 3: "a shared library or executable", 4: "a core dump"}
_MAGICS = (
    (b"\x9f\xeb", "raw BTF (little endian), not an object file"),
    (b"\xeb\x9f", "raw BTF (big endian), not an object file"),
    (b"BC\xc0\xde", "LLVM bitcode: compile it on with `llc -march=bpf -filetype=obj`"),
    (b"\xfd7zXZ", "xz-compressed data: decompress it first"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data: decompress it first"),
    (b"\x1f\x8b", "gzip-compressed data: decompress it first"),
    (b"!<arch>", "an archive (.a) of object files: extract one"),
    (b"MZ", "a PE image"),
)


@attrs.define(eq=False)  # not frozen: an object may have hundreds, and that costs
class Section:
    """One section header.

    Attributes:
        index: its number.
        name: its name.
        kind: ``SHT_*``.
        flags: ``SHF_*``.
        offset, size: bytes in the file (a NOBITS section has no bytes there).
        link, info: as the kind defines them.
        entry_size: of a table's records.
    """

    index: int
    name: str
    kind: int
    flags: int
    offset: int
    size: int
    link: int
    info: int
    entry_size: int

    @property
    def is_code(self) -> bool:
        """Does it hold instructions?"""
        return self.kind == SECTION_PROGBITS and bool(self.flags & FLAG_EXECINSTR) and self.size > 0


class Symbol(NamedTuple):
    """One symbol.

    Attributes:
        name: its name (of a section symbol: the section's).
        kind: ``STT_*``.
        bind: ``STB_*``.
        visibility: ``STV_*``.
        section: index of the section that defines it; 0 for an undefined one.
        value: bytes from the start of that section.
        size: in bytes.
    """

    name: str
    kind: int
    bind: int
    visibility: int
    section: int
    value: int
    size: int


_symbol = partial(tuple.__new__, Symbol)  # without Python's own constructor


class ObjectFile:
    """A BPF object file, opened: sections by index and by name, symbols, relocations by target section.

    Args:
        data: the whole file.
        source: where it came from, for messages.

    Raises:
        ElfError: not a 64-bit relocatable ELF file for BPF, or one whose tables lie outside the file.
    """

    def __init__(self, data: bytes, source: str) -> None:
        self.data = data
        self.source = source
        header = _read_header(data, source)
        little = data[5] == 1
        self.byte_order: ByteOrder = "little" if little else "big"
        self.mark = "<" if little else ">"
        self._relocation = struct.Struct(self.mark + "QQ")
        self.sections: list[Section] = self._read_sections(header)

    def error(self, message: str, *, offset: int | None = None, section: Section | None = None) -> ElfError:
        """An `ElfError` about this file; with a section, `offset` counts from that section's start."""
        source = self.source if section is None else f"{self.source}: section {section.name or section.index}"
        return ElfError(message, source=source, offset=offset)

    def _read_sections(self, header: tuple[int, int, int]) -> list[Section]:
        table, count, names_index = header
        size = len(self.data)
        # u32 name, type, u64 flags, addr, offset, size, u32 link, info, u64 align, entry size
        layout = struct.Struct(self.mark + "IIQQQQIIQQ")
        if table < _SECTION_SIZE or table + _SECTION_SIZE > size:
            raise self.error("the section header table lies outside the file", offset=0x28)
        if count == 0 or names_index == 0xFFFF:  # the real numbers are in the first section header
            first = layout.unpack_from(self.data, table)
            count = count or first[5]
            names_index = first[6] if names_index == 0xFFFF else names_index
        if count == 0 or count > (size - table) // _SECTION_SIZE:
            raise self.error(f"{count} section headers do not fit into the file", offset=0x3C)
        rows = list(layout.iter_unpack(memoryview(self.data)[table : table + count * _SECTION_SIZE]))
        if names_index >= count:
            raise self.error(f"section {names_index} of the section names does not exist", offset=0x3E)
        nobits = filled = 0
        sections: list[Section] = []
        names = rows[names_index]
        if names[1] == SECTION_NOBITS or names[4] + names[5] > size:
            raise self.error("the section names lie outside the file", offset=table + names_index * _SECTION_SIZE)
        strings = self.data[names[4] : names[4] + names[5]]
        for index, row in enumerate(rows):
            name_off, kind, flags, _, offset, length, link, info, _, entry_size = row
            where = table + index * _SECTION_SIZE
            name = self._string(strings, name_off, where)
            if kind == SECTION_NOBITS:
                nobits += length
                if nobits > MAX_NOBITS:
                    raise self.error(f"zero-filled sections of {nobits} bytes are too large", offset=where)
            elif kind != 0 and offset + length > size:
                raise self.error(
                    f"section {name or index}: {length} bytes at byte {offset} end past the file's {size}",
                    offset=where,
                )
            elif kind != 0:
                filled += length
            if filled > size:
                raise self.error("sections overlap: together they are larger than the file", offset=where)
            if flags & FLAG_COMPRESSED:
                raise self.error(f"section {name} is compressed: decompress it first", offset=where)
            sections.append(Section(index, name, kind, flags, offset, length, link, info, entry_size))
        return sections

    def _string(self, table: bytes, offset: int, where: int) -> str:
        """The NUL-terminated string at an offset of a table of strings."""
        end = table.find(b"\0", offset)
        if 0 <= end - offset <= MAX_NAME:
            return decode_name(table[offset:end])
        if offset == len(table) == 0:
            return ""
        if offset >= len(table):
            raise self.error(f"name offset {offset} is past the string table's {len(table)} bytes", offset=where)
        raise self.error(f"the name at string offset {offset} has no end", offset=where)

    @cached_property
    def filled(self) -> list[Section]:
        """The sections that hold code or data, be it zeros: a third of all."""
        return [section for section in self.sections if section.kind in _FILLED]

    @cached_property
    def code(self) -> list[Section]:
        """The sections that hold instructions."""
        return [section for section in self.filled if section.is_code]

    def section(self, name: str) -> Section | None:
        """The first section of that name, or None."""
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, Section]:
        result: dict[str, Section] = {}
        for section in self.sections:
            result.setdefault(section.name, section)
        return result

    def contents(self, section: Section) -> bytes:
        """The section's bytes; zeros for a NOBITS section."""
        if section.kind == SECTION_NOBITS:
            return bytes(section.size)
        return self.data[section.offset : section.offset + section.size]

    @cached_property
    def symbols(self) -> list[Symbol]:
        """All symbols, by index."""
        tables = [section for section in self.sections if section.kind == SECTION_SYMTAB]
        if not tables:
            return []
        if len(tables) > 1:
            raise self.error("more than one symbol table")
        table = tables[0]
        if table.entry_size != _SYMBOL_SIZE or table.size % _SYMBOL_SIZE:
            raise self.error("a symbol table whose records are not 24 bytes", section=table)
        if table.link >= len(self.sections) or self.sections[table.link].kind != SECTION_STRTAB:
            raise self.error(f"its section {table.link} of names is no string table", section=table)
        names = self.contents(self.sections[table.link])
        count = len(self.sections)
        wide = self._wide_indexes(table)
        result: list[Symbol] = []
        # u32 name, u8 info, u8 other, u16 section, u64 value, u64 size
        rows = struct.iter_unpack(self.mark + "IBBHQQ", self.contents(table))
        for index, (name_off, info, other, section, value, size) in enumerate(rows):
            if section == 0xFFFF and index < len(wide):
                section = wide[index]  # noqa: PLW2901
            elif section >= INDEX_RESERVED:
                section = INDEX_UNDEFINED if info & 15 else section  # noqa: PLW2901
            if section >= count and section < INDEX_RESERVED:
                raise self.error(
                    f"symbol {index} is in section {section}, of {count}",
                    section=table,
                    offset=index * _SYMBOL_SIZE,
                )
            kind = info & 15
            if kind == SYMBOL_SECTION and 0 < section < count:
                name = self.sections[section].name
            else:
                name = self._string(names, name_off, table.offset + index * _SYMBOL_SIZE)
            result.append(_symbol((name, kind, info >> 4, other & 3, section, value, size)))
        return result

    def _wide_indexes(self, table: Section) -> tuple[int, ...]:
        for section in self.sections:
            if section.kind == SECTION_SYMTAB_SHNDX and section.link == table.index:
                data = self.contents(section)
                return struct.unpack(f"{self.mark}{len(data) // 4}I", data[: len(data) // 4 * 4])
        return ()

    @cached_property
    def symbols_by_section(self) -> dict[int, list[Symbol]]:
        """Defined symbols by the index of their section, section symbols left out."""
        result: dict[int, list[Symbol]] = {}
        for symbol in self.symbols:
            if symbol.section and symbol.kind != SYMBOL_SECTION:
                result.setdefault(symbol.section, []).append(symbol)
        return result

    def relocations(self, section: Section) -> list[tuple[int, Symbol]]:
        """The relocations of a section: (byte offset inside it, symbol), sorted by offset.

        Raises:
            ElfError: a relocation outside the section or of a symbol that does not exist, two at one place,
                or relocations with addends of their own (RELA), which BPF objects never have.
        """
        result: list[tuple[int, Symbol]] = []
        last, ascending = -1, True
        for table in self._relocation_tables.get(section.index, ()):
            if table.kind == SECTION_RELA:
                raise self.error("relocations of the RELA kind, which BPF objects do not have", section=table)
            if table.size % _REL_SIZE:
                raise self.error(f"{table.size} bytes are no whole number of relocations", section=table)
            symbols, size = self.symbols, section.size
            count, before = len(symbols), len(result)
            # u64 offset, u64 (symbol index << 32 | type)
            for offset, info in self._relocation.iter_unpack(self.contents(table)):
                number = info >> 32
                if number >= count or offset >= size:
                    what = (
                        f"relocation of symbol {number}, of {count}"
                        if number >= count
                        else f"relocation at byte {offset} of section {section.name}, which has {size}"
                    )
                    raise self.error(what, section=table, offset=(len(result) - before) * _REL_SIZE)
                result.append((offset, symbols[number]))
                ascending = ascending and offset > last
                last = offset
        if not ascending:
            result.sort(key=lambda entry: entry[0])
            for (one, _), (other, _) in pairwise(result):
                if one == other:
                    raise self.error("two relocations at one place", section=section, offset=one)
        return result

    @cached_property
    def _relocation_tables(self) -> dict[int, list[Section]]:
        result: dict[int, list[Section]] = {}
        for section in self.sections:
            if section.kind in {SECTION_REL, SECTION_RELA}:
                result.setdefault(section.info, []).append(section)
        return result


def open_object(source: Source) -> ObjectFile:
    """Read an object file whole.

    Args:
        source: a path, the file's contents, or a binary file object (read from where it stands, not closed).

    Raises:
        ElfError: it is no BPF object.
        KernelError: the file cannot be opened or read; also the matching OSError (FileNotFoundError, ...).
    """
    return ObjectFile(*read_object(source))


def read_object(source: Source) -> tuple[bytes, str]:
    """The whole content of an object file, and what it is called in messages.

    Args:
        source: a path, the file's contents, or a binary file object (read from where it stands, not closed).

    Raises:
        ElfError: that is no file, or one that gives text.
        InputError: it is none of the three, or a file that is closed.
        KernelError: the file cannot be opened or read; also the matching OSError (FileNotFoundError, ...).
    """
    if isinstance(source, bytes | bytearray | memoryview):
        return bytes(source), "<bytes>"
    if isinstance(source, str | os.PathLike):
        path = os.fspath(source)
        try:
            with open(path, "rb") as file:
                # room for the most that is read would be asked for and given back: that takes longer than reading
                size = os.fstat(file.fileno()).st_size
                data = file.read(size + 1) if 0 < size < MAX_FILE else b""
                if len(data) != size or not size:  # it has grown, or is no file that has a size
                    data += file.read(MAX_FILE + 1 - len(data))
        except OSError as error:
            raise kernel_error(error.errno or 0, "open", subject=str(path)) from error
        except ValueError as error:
            raise ElfError(f"not a path: {error}") from error
        return data, str(path)
    if not hasattr(source, "read"):
        raise InputError(f"an object is read from a path, bytes or a binary file, not from {type(source).__name__}")
    try:
        data = source.read(MAX_FILE + 1)
    except OSError as error:
        raise kernel_error(error.errno or 0, "read", subject=str(getattr(source, "name", "<reader>"))) from error
    except ValueError as error:  # it is closed
        raise InputError(f"the object cannot be read: {error}") from error
    if not isinstance(data, bytes):
        raise ElfError(f"the file object gave {type(data).__name__}, not bytes: open it in binary mode")
    name = getattr(source, "name", None)
    return data, name if isinstance(name, str) else "<reader>"


def _read_header(data: bytes, source: str) -> tuple[int, int, int]:
    """Check the file header: (offset of the section headers, their number, index of the section names)."""
    if not data:
        raise ElfError("empty: no object file", source=source)
    if len(data) > MAX_FILE:
        raise ElfError(f"larger than {MAX_FILE} bytes: no object file", source=source)
    if not data.startswith(b"\x7fELF"):
        raise ElfError(f"not an ELF file: {_describe(data)}", source=source, offset=0)
    if len(data) < 64:
        raise ElfError(f"an ELF header cut off after {len(data)} bytes", source=source, offset=len(data))
    if data[4] != 2:
        what = "a 32-bit ELF file" if data[4] == 1 else f"ELF class {data[4]}"
        raise ElfError(f"{what}: BPF objects are 64-bit", source=source, offset=4)
    if data[5] not in {1, 2}:
        raise ElfError(f"unknown byte order {data[5]}", source=source, offset=5)
    # u16 type, u16 machine: read before pyelftools, which follows the section headers at once
    kind, machine = struct.unpack_from("<HH" if data[5] == 1 else ">HH", data, 16)
    if machine != MACHINE_BPF:
        raise ElfError(_describe_machine(data, kind, machine), source=source, offset=18)
    if kind != FILE_TYPE_RELOCATABLE:
        what = _FILE_TYPES.get(kind, f"ELF type {kind}")
        raise ElfError(f"{what} for BPF: a relocatable object (.o) is needed", source=source, offset=16)
    fields = _elf_header(data, source)
    if fields["e_shentsize"] != _SECTION_SIZE:
        raise ElfError(f"section headers of {fields['e_shentsize']} bytes, not 64", source=source, offset=0x3A)
    return fields["e_shoff"], fields["e_shnum"], fields["e_shstrndx"]


def _elf_header(data: bytes, source: str) -> dict[str, int]:
    """The file header as pyelftools reads it."""
    import io

    try:
        header = _header_parser(data[5] == 1).parse_stream(io.BytesIO(data[:64]))
        return {name: int(header[name]) for name in ("e_shoff", "e_shnum", "e_shstrndx", "e_shentsize")}
    except Exception as error:  # whatever the dependency raises is one thing to our callers
        raise ElfError(f"malformed ELF header: {error}", source=source, offset=0) from error


@cache
def _header_parser(little_endian: bool) -> Any:
    """What pyelftools reads a file header with; to make it takes longer than to use it."""
    from elftools.elf.structs import ELFStructs

    structs = ELFStructs(little_endian=little_endian, elfclass=64)
    structs.create_basic_structs()
    return structs.Elf_Ehdr


def _describe(data: bytes) -> str:
    for magic, text in _MAGICS:
        if data.startswith(magic):
            return f"this looks like {text}"
    head = data[:512]
    if not head.strip(b"\0"):
        return "it starts with zeros"
    try:
        text = head.decode("utf-8", "strict" if len(data) <= 512 else "ignore")
    except UnicodeDecodeError:
        return f"it starts with the bytes {head[:4].hex(' ')}"
    if all(character.isprintable() or character.isspace() for character in text):
        return "this looks like text (C sources have to be compiled with `clang -target bpf -g -O2 -c`)"
    return f"it starts with the bytes {head[:4].hex(' ')}"


def _describe_machine(data: bytes, kind: int, machine: int) -> str:
    name = _MACHINES.get(machine, f"machine {machine}")
    if kind == FILE_TYPE_RELOCATABLE and b".modinfo\0" in data and b".gnu.linkonce.this_module\0" in data:
        return f"a kernel module for {name}, not a BPF object (its types: btf.load_spec)"
    if kind == FILE_TYPE_RELOCATABLE:
        return f"an object file for {name}, not for BPF: compile with `clang -target bpf`"
    if b"Linux version " in data:
        return f"a kernel image for {name}, not a BPF object (its types: btf.load_spec)"
    return f"{_FILE_TYPES.get(kind, f'ELF type {kind}')} for {name}, not a BPF object"
