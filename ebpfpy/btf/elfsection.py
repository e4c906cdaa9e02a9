"""Named sections of an ELF file: enough to take .BTF out of an object, a module or a vmlinux.

Reading BTF must not cost the import of an ELF library, and a module has tens of thousands of symbols that nobody asked
about; so only the section headers are looked at. Objects to be loaded are read by `ebpfpy.elf`.
"""

from __future__ import annotations

import struct

from ebpfpy.errors import ElfError

_NOBITS = 8
_COMPRESSED = 0x800
_MAX_SECTIONS = 1 << 20


def sections(data: memoryview, wanted: tuple[str, ...], *, source: str) -> dict[str, memoryview]:
    """The contents of the sections with the wanted names, as views of `data`; missing ones are left out.

    Raises:
        ElfError: the section headers are malformed, or a wanted section is compressed.
    """
    try:
        return _sections(data, wanted, source)
    except (struct.error, OverflowError):  # OverflowError: an offset of 2**63 or more
        raise ElfError("truncated ELF header", source=source) from None


def _sections(data: memoryview, wanted: tuple[str, ...], source: str) -> dict[str, memoryview]:
    if bytes(data[:4]) != b"\x7fELF":
        raise ElfError("not an ELF file", source=source, offset=0)
    if len(data) < 20:
        raise ElfError(f"truncated ELF header: {len(data)} bytes", source=source, offset=len(data))
    wide = data[4] == 2
    mark = ">" if data[5] == 2 else "<"
    if wide:
        (table,) = struct.unpack_from(mark + "Q", data, 0x28)
        entry, count, names_index = struct.unpack_from(mark + "HHH", data, 0x3A)
        # u32 name, u32 type, u64 flags, u64 addr, u64 offset, u64 size, u32 link, u32 info
        header = struct.Struct(mark + "IIQQQQII")
    else:
        (table,) = struct.unpack_from(mark + "I", data, 0x20)
        entry, count, names_index = struct.unpack_from(mark + "HHH", data, 0x2E)
        header = struct.Struct(mark + "IIIIIIII")
    if table and entry < header.size:
        raise ElfError(f"section headers of {entry} bytes", source=source, offset=0x3A)
    if table and (count == 0 or names_index == 0xFFFF):  # numbers that did not fit are in the first header
        first = header.unpack_from(data, table)
        count = count or first[5]
        names_index = first[6] if names_index == 0xFFFF else names_index
    if not table or count > _MAX_SECTIONS or table + count * entry > len(data) or names_index >= count:
        raise ElfError(f"section table of {count} entries at {table} is out of range", source=source, offset=table)
    _, _, _, _, names, names_size, _, _ = header.unpack_from(data, table + names_index * entry)
    strings = bytes(data[names : names + names_size])
    encoded = {name.encode(): name for name in wanted}
    found: dict[str, slice] = {}  # no views yet: those that an error's traceback keeps would keep the file mapped
    for index in range(count):
        name_off, kind, flags, _, offset, size, _, _ = header.unpack_from(data, table + index * entry)
        end = strings.find(b"\0", name_off)
        name = encoded.get(strings[name_off:end]) if end >= 0 else None
        if name is None or kind == _NOBITS:
            continue
        if offset + size > len(data):
            raise ElfError(f"section {name} of {size} bytes is out of range", source=source, offset=offset)
        if flags & _COMPRESSED:
            raise ElfError(f"section {name} is compressed", source=source, offset=offset)
        found[name] = slice(offset, offset + size)
    return {name: data[place] for name, place in found.items()}
