"""One record of the type section -> one type object."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError

from . import types as t
from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, VLEN_MASK, Kind, kind_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from .spec import Spec


def inflate(spec: Spec, words: memoryview, position: int) -> t.Type:
    """The type whose record starts at the word index `position`.

    Raises:
        BtfError: the record is cut short, has a bad name, or is of an unknown kind.
    """
    try:
        # u32 name_off, u32 info, u32 size_or_type
        name_off, info, size = words[position], words[position + 1], words[position + 2]
        make = _MAKERS.get(info >> KIND_SHIFT & KIND_MASK)
        if make is None:
            raise BtfError(f"kind {kind_name(info >> KIND_SHIFT & KIND_MASK)} is unknown", source=spec.name or "BTF")
        return make(spec, words, position, name_off, info, size)
    except IndexError:
        raise BtfError("truncated: a record runs past the end of the types", source=spec.name or "BTF") from None


def _int(spec: Spec, words: memoryview, at: int, name: int, info: int, size: int) -> t.Type:
    word = words[at + 3]  # u32 encoding << 24 | bit offset << 16 | bits
    return t.Int(spec.string(name), size, word >> 24 & 0xF, word & 0xFF, word >> 16 & 0xFF, spec=spec, position=at)


def _float(spec: Spec, words: memoryview, at: int, name: int, info: int, size: int) -> t.Type:
    return t.Float(spec.string(name), size, spec=spec, position=at)


def _target(cls: type[t.Pointer | t.Volatile | t.Const | t.Restrict]) -> Callable[..., t.Type]:
    def make(spec: Spec, words: memoryview, at: int, name: int, info: int, target: int) -> t.Type:
        return cls(target, spec=spec, position=at)

    return make


def _typedef(spec: Spec, words: memoryview, at: int, name: int, info: int, target: int) -> t.Type:
    return t.Typedef(spec.string(name), target, spec=spec, position=at)


def _type_tag(spec: Spec, words: memoryview, at: int, name: int, info: int, target: int) -> t.Type:
    return t.TypeTag(spec.string(name), target, bool(info & KIND_FLAG), spec=spec, position=at)


def _decl_tag(spec: Spec, words: memoryview, at: int, name: int, info: int, target: int) -> t.Type:
    component = words[at + 3]
    if component & 0x8000_0000:
        component -= 1 << 32
    return t.DeclTag(spec.string(name), target, component, bool(info & KIND_FLAG), spec=spec, position=at)


def _array(spec: Spec, words: memoryview, at: int, name: int, info: int, size: int) -> t.Type:
    return t.Array(words[at + 3], words[at + 4], words[at + 5], spec=spec, position=at)


def _composite(cls: type[t.Struct | t.Union]) -> Callable[..., t.Type]:
    def make(spec: Spec, words: memoryview, at: int, name: int, info: int, size: int) -> t.Type:
        body = words[at + 3 : at + 3 + 3 * (info & VLEN_MASK)].tolist()
        string, member = spec.string, t.Member
        if info & KIND_FLAG:  # offset word: bitfield size << 24 | bit offset
            members = tuple(
                member(string(body[i]), body[i + 1], body[i + 2] & 0xFF_FFFF, body[i + 2] >> 24, spec)
                for i in range(0, len(body), 3)
            )
        else:
            members = tuple(member(string(body[i]), body[i + 1], body[i + 2], 0, spec) for i in range(0, len(body), 3))
        return cls(string(name), size, members, spec=spec, position=at)

    return make


def _enum(spec: Spec, words: memoryview, at: int, name: int, info: int, size: int) -> t.Type:
    signed = bool(info & KIND_FLAG)
    body = words[at + 3 : at + 3 + 2 * (info & VLEN_MASK)].tolist()
    values = []
    for i in range(0, len(body), 2):
        value = body[i + 1]
        if signed and value & 0x8000_0000:
            value -= 1 << 32
        values.append(t.Enumerator(spec.string(body[i]), value))
    return t.Enum(spec.string(name), size, tuple(values), signed, False, spec=spec, position=at)


def _enum64(spec: Spec, words: memoryview, at: int, name: int, info: int, size: int) -> t.Type:
    signed = bool(info & KIND_FLAG)
    body = words[at + 3 : at + 3 + 3 * (info & VLEN_MASK)].tolist()
    values = []
    for i in range(0, len(body), 3):
        value = body[i + 1] | body[i + 2] << 32
        if signed and value >> 63:
            value -= 1 << 64
        values.append(t.Enumerator(spec.string(body[i]), value))
    return t.Enum(spec.string(name), size, tuple(values), signed, True, spec=spec, position=at)


def _fwd(spec: Spec, words: memoryview, at: int, name: int, info: int, size: int) -> t.Type:
    return t.Fwd(spec.string(name), bool(info & KIND_FLAG), spec=spec, position=at)


def _func_proto(spec: Spec, words: memoryview, at: int, name: int, info: int, result: int) -> t.Type:
    body = words[at + 3 : at + 3 + 2 * (info & VLEN_MASK)].tolist()
    params = tuple(t.Param(spec.string(body[i]), body[i + 1], spec) for i in range(0, len(body), 2))
    return t.FuncProto(result, params, spec=spec, position=at)


def _func(spec: Spec, words: memoryview, at: int, name: int, info: int, proto: int) -> t.Type:
    return t.Func(spec.string(name), proto, info & VLEN_MASK, spec=spec, position=at)


def _var(spec: Spec, words: memoryview, at: int, name: int, info: int, target: int) -> t.Type:
    return t.Var(spec.string(name), target, words[at + 3], spec=spec, position=at)


def _datasec(spec: Spec, words: memoryview, at: int, name: int, info: int, size: int) -> t.Type:
    body = words[at + 3 : at + 3 + 3 * (info & VLEN_MASK)].tolist()
    variables = tuple(t.VarSecinfo(body[i], body[i + 1], body[i + 2], spec) for i in range(0, len(body), 3))
    return t.Datasec(spec.string(name), size, variables, spec=spec, position=at)


_MAKERS: dict[int, Callable[..., t.Type]] = {
    Kind.INT: _int,
    Kind.PTR: _target(t.Pointer),
    Kind.ARRAY: _array,
    Kind.STRUCT: _composite(t.Struct),
    Kind.UNION: _composite(t.Union),
    Kind.ENUM: _enum,
    Kind.FWD: _fwd,
    Kind.TYPEDEF: _typedef,
    Kind.VOLATILE: _target(t.Volatile),
    Kind.CONST: _target(t.Const),
    Kind.RESTRICT: _target(t.Restrict),
    Kind.FUNC: _func,
    Kind.FUNC_PROTO: _func_proto,
    Kind.VAR: _var,
    Kind.DATASEC: _datasec,
    Kind.FLOAT: _float,
    Kind.DECL_TAG: _decl_tag,
    Kind.TYPE_TAG: _type_tag,
    Kind.ENUM64: _enum64,
}
