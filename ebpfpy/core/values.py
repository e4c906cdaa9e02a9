"""What a relocation's number is, given where its path ends: offsets, sizes, signs, shifts, ids, enumerators.

The same function computes the number for the local types (what the compiler put into the instruction) and for the
target (what has to stand there).

Bitfields: the compiler reads a bitfield by loading an aligned unit and shifting. The unit starts with the size of the
member's type and is doubled, and realigned, until the field fits. Example: 3 bits at bit 94 of a struct, declared
``unsigned``: a 4-byte unit at byte 8 ends at bit 96, the field at bit 97, so the unit becomes 8 bytes at byte 8:
byte_off 8, byte_sz 8, lshift 64 - (94 + 3 - 64) = 31, rshift 64 - 3 = 61.

Source: libbpf, ``bpf_core_calc_field_relo``, ``bpf_core_calc_type_relo``, ``bpf_core_calc_enumval_relo`` (behaviour).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy.btf.kinds import INT_SIGNED, Kind

from .access import AccessError
from .relocation import RelocationKind as R

if TYPE_CHECKING:
    from .access import Access
    from .rawtypes import RawTypes, Record

_ENUMS = (Kind.ENUM, Kind.ENUM64)


class Value(NamedTuple):
    """The number, and what patching needs to know besides.

    Attributes:
        number: what belongs into the instruction.
        validate: the compiler's number can be recomputed exactly, so the instruction must hold it.
        size: bytes that a load at this offset has to read; 0 where that is no plain member.
        type_id: of what is loaded, typedefs and qualifiers stripped; 0 likewise.
    """

    number: int
    validate: bool = True
    size: int = 0
    type_id: int = 0


new_value = partial(tuple.__new__, Value)
"""`Value` from a tuple of all four, without NamedTuple's Python constructor."""


def field_value(types: RawTypes, access: Access, kind: R, *, big_endian: bool) -> Value:
    """The number for a field-based relocation.

    Raises:
        AccessError: the question makes no sense for that field.
        BtfError: a type has no size.
    """
    if kind == R.FIELD_EXISTS:
        return Value(1)
    end, width = access.end, access.width
    assert end is not None
    plain = not width
    if width:
        unit, byte_offset = _bitfield_unit(end, access.bits, width)
    else:
        unit, byte_offset = types.size(end.type_id), access.bits // 8
    if kind == R.BYTE_OFF:
        return new_value((byte_offset, True, unit, end.type_id)) if plain else Value(byte_offset, False)
    if kind == R.BYTE_SZ:
        return Value(unit, plain)
    if access.points[-1].name is None:
        raise AccessError(f"{kind.text} of an array element")
    if kind == R.SIGNED:
        return Value(int(_signed(types, end)))
    width = width or unit * 8
    if kind == R.LSHIFT_U64:
        if big_endian:
            return Value((8 - unit) * 8 + (access.bits - byte_offset * 8), plain)
        return Value(64 - (access.bits + width - byte_offset * 8), plain)
    return Value(64 - width)


def _bitfield_unit(record: Record, bits: int, width: int) -> tuple[int, int]:
    unit = record.value
    if unit not in (1, 2, 4, 8) or record.kind not in (Kind.INT, *_ENUMS):
        raise AccessError("a bitfield of a type that cannot be one")
    offset = bits // 8 // unit * unit
    while bits + width - offset * 8 > unit * 8:
        if unit >= 8:
            raise AccessError("a bitfield that no 8-byte load can read")
        unit *= 2
        offset = bits // 8 // unit * unit
    return unit, offset


def _signed(types: RawTypes, record: Record) -> bool:
    if record.kind in _ENUMS:
        return record.flag
    return record.kind == Kind.INT and bool(types.int_word(record) >> 24 & INT_SIGNED)


def type_value(types: RawTypes, root: int, kind: R) -> Value:
    """The number for a type-based relocation that found its type."""
    if kind in (R.LOCAL_TYPE_ID, R.TARGET_TYPE_ID):
        return Value(root, validate=False)
    if kind == R.TYPE_SIZE:
        return Value(types.size(root))
    return Value(1)


def enumerator_value(types: RawTypes, access: Access, kind: R) -> Value:
    """The number for an enumerator-based relocation that found its enumerator."""
    if kind == R.ENUMVAL_EXISTS:
        return Value(1)
    record = types.record(access.points[0].type_id)
    return Value(types.enumerators(record)[access.points[0].number][1])


def memory_size_reason(local: RawTypes, mine: Value, target: RawTypes, other: Value) -> str | None:
    """Why a load or store of the local field must not be given the target field's size; None if it may, or is equal.

    Only pointers, and integers that are not signed, may change their size: for anything else the upper bits would be
    wrong.
    """
    if mine.size == other.size:
        return None
    one, two = local.record(mine.type_id), target.record(other.type_id)
    if one.kind == Kind.PTR and two.kind == Kind.PTR:
        return None
    if one.kind == Kind.INT and two.kind == Kind.INT:
        encodings = local.int_word(one) >> 24 & 0xF, target.int_word(two) >> 24 & 0xF
        if INT_SIGNED not in encodings:
            return None
    here, there = (f"{v.size} bytes" if v.type_id else "a bitfield" for v in (mine, other))
    return (
        f"the field is {here} in the object, {there} in the kernel, and only pointers and unsigned integers can be"
        " loaded with another size"
    )
