"""The wire format of BTF: numbers, and how long a record of each kind is.

A record starts with three words ``u32 name_off, u32 info, u32 size_or_type``. ``info`` holds the number
of trailing entries (``vlen``, bits 0-23; bits 0-15 before 2026), the kind (bits 24-30; 24-28 before) and
a flag (bit 31). The new widths are a superset of the old ones: the bits between were always zero.

Source: include/uapi/linux/btf.h.
"""

from __future__ import annotations

from enum import IntEnum

MAGIC = 0xEB9F
HEADER_SIZE = 24
"""Bytes of a header without, and `HEADER_SIZE_LAYOUT` with, the location of a layout section."""
HEADER_SIZE_LAYOUT = 32

VLEN_MASK = 0x00FF_FFFF
KIND_SHIFT = 24
KIND_MASK = 0x7F
KIND_FLAG = 0x8000_0000
MAX_TYPE_ID = 0x7FFF_FFFF


class Kind(IntEnum):
    """``BTF_KIND_*``."""

    VOID = 0
    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


MODIFIERS = frozenset({Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG})
"""Kinds that only decorate the type they refer to (`Kind.TYPEDEF` included)."""

# kind -> (words after the header, words of each of the vlen entries)
RECORD_WORDS: dict[int, tuple[int, int]] = {
    Kind.INT: (1, 0),  # u32 encoding << 24 | bit offset << 16 | bits
    Kind.PTR: (0, 0),
    Kind.ARRAY: (3, 0),  # u32 element type, u32 index type, u32 number of elements
    Kind.STRUCT: (0, 3),  # u32 name_off, u32 type, u32 offset (kflag: bitfield size << 24 | bit offset)
    Kind.UNION: (0, 3),
    Kind.ENUM: (0, 2),  # u32 name_off, s32 value
    Kind.FWD: (0, 0),
    Kind.TYPEDEF: (0, 0),
    Kind.VOLATILE: (0, 0),
    Kind.CONST: (0, 0),
    Kind.RESTRICT: (0, 0),
    Kind.FUNC: (0, 0),  # vlen holds the linkage
    Kind.FUNC_PROTO: (0, 2),  # u32 name_off, u32 type
    Kind.VAR: (1, 0),  # u32 linkage
    Kind.DATASEC: (0, 3),  # u32 type, u32 offset, u32 size
    Kind.FLOAT: (0, 0),
    Kind.DECL_TAG: (1, 0),  # s32 component index
    Kind.TYPE_TAG: (0, 0),
    Kind.ENUM64: (0, 3),  # u32 name_off, u32 value low, u32 value high
}

_USUAL_ENTRIES = 64
USUAL_SIZES: dict[int, int] = {
    flag | int(kind) << KIND_SHIFT | vlen: 3 + fixed + each * vlen
    for kind, (fixed, each) in RECORD_WORDS.items()
    for flag in (0, KIND_FLAG)
    for vlen in range(_USUAL_ENTRIES if each else 3 if kind is Kind.FUNC else 1)
}
"""The words of a record by its info word, for those that are met every day."""

INT_SIGNED = 1
INT_CHAR = 2
INT_BOOL = 4


def make_info(kind: int, vlen: int = 0, flag: bool = False) -> int:
    """The info word for a record."""
    return (KIND_FLAG if flag else 0) | kind << KIND_SHIFT | vlen


def kind_name(kind: int) -> str:
    """The name of a kind as bpftool prints it: "STRUCT", or "UNKNOWN" with the number."""
    try:
        return Kind(kind).name
    except ValueError:
        return f"UNKNOWN({kind})"
