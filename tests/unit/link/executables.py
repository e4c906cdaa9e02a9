"""Writes small executables."""

import struct

BASE = 0x400000


def elf(symbols, *, wide=True, mark="<", notes=b""):
    """An executable with one loaded segment and these symbols: (name, value, info, section)."""
    names, table = b"\0", bytes(24 if wide else 16)
    for name, value, info, section in symbols:
        if wide:
            table += struct.pack(mark + "IBBHQQ", len(names), info, 0, section, value, 8)
        else:
            table += struct.pack(mark + "IIIBBH", len(names), value, 8, info, 0, section)
        names += name.encode() + b"\0"
    parts = {".symtab": table, ".strtab": names, ".note.stapsdt": notes}
    section_names = b"\0" + b"".join(name.encode() + b"\0" for name in (*parts, ".shstrtab"))
    header, program = (64, 56) if wide else (52, 32)
    at = header + program
    body, rows = b"", [bytes(64 if wide else 40)]
    for name, data in [*parts.items(), (".shstrtab", section_names)]:
        where = section_names.find(b"\0" + name.encode() + b"\0") + 1
        fields = (where, 1, 0, 0, at + len(body), len(data), 0, 0)
        rows.append(struct.pack(mark + ("IIQQQQIIQQ" if wide else "10I"), *fields, 1, 0))
        body += data
    table_at = at + len(body)
    size = table_at + sum(map(len, rows))
    if wide:
        load = struct.pack(mark + "IIQQQQQQ", 1, 5, 0, BASE, BASE, size, size, 0x1000)
    else:
        load = struct.pack(mark + "8I", 1, 0, BASE, BASE, size, size, 5, 0x1000)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if mark == "<" else 2, 1]) + bytes(9)
    rest = struct.pack(
        mark + ("HHIQQQIHHHHHH" if wide else "HHIIIIIHHHHHH"),
        *(2, 62, 1, BASE, header, table_at, 0, header, program, 1, len(rows[0]), len(rows), len(rows) - 1),
    )
    return ident + rest + load + body + b"".join(rows)
