"""ELF files that hold sections and nothing else."""

from __future__ import annotations

import struct


def elf(*named: tuple[str, bytes, int], wide: bool = True, order: str = "<", machine: int = 62) -> bytes:
    """An ELF file with these sections: name, contents, flags; for x86-64 unless told otherwise."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name, _, _ in named) + b".shstrtab\0"
    contents = [(name, data, flags) for name, data, flags in named] + [(".shstrtab", names, 0)]
    at = 64
    headers, body = [bytes(64 if wide else 40)], b""
    for name, data, flags in contents:
        fields = (names.index(name.encode() + b"\0"), 1, flags, 0, at, len(data), 0, 0)
        headers.append(
            struct.pack(order + ("IIQQQQII" if wide else "IIIIIIII"), *fields).ljust(64 if wide else 40, b"\0")
        )
        body += data
        at += len(data)
    head = b"\x7fELF" + bytes((2 if wide else 1, 1 if order == "<" else 2, 1)) + bytes(9)
    count = len(headers)
    if wide:
        head += struct.pack(order + "HHIQQQIHHHHHH", 1, machine, 1, 0, 0, at, 0, 64, 0, 0, 64, count, count - 1)
    else:
        head += struct.pack(order + "HHIIIIIHHHHHH", 1, machine, 1, 0, 0, at, 0, 52, 0, 0, 40, count, count - 1)
    return head.ljust(64, b"\0") + body + b"".join(headers)
