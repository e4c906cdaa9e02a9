"""What follows a record of the type section -> members, parameters, enumerators and places of variables.

All words of the entries become one list, names are looked up together, and objects are made as drafts (see
`ebpfpy.btf.typebase`): a kernel's structs have 67,000 members. The parts of a type go into a dictionary of its spec,
where of two threads that read them one is first, so that both see the same ones.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError

from .kinds import KIND_FLAG, VLEN_MASK, Kind
from .parts import Enumerator, Member, Param, VarSecinfo
from .typebase import draft_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .spec import Spec
    from .typebase import Reference, Type
    from .types import Datasec, Enum, Func, FuncProto

_USUAL_NAME = 48  # bytes, with the NUL: longer ones are cut out one by one
_MemberDraft = draft_of(Member)
_ParamDraft = draft_of(Param)
_VarSecinfoDraft = draft_of(VarSecinfo)
_EnumeratorDraft = draft_of(Enumerator)


class Texts(dict[int, str]):
    """Names of parts by their offsets, decoded when they are first asked for; one that many types use is kept once."""

    __slots__ = ("_of",)

    def __init__(self, spec: Spec) -> None:
        self._of = spec, spec._data, spec._strings_at, spec._first_string, spec._strings_length

    def __missing__(self, offset: int) -> str:
        spec, data, start, first, length = self._of
        own = offset - first
        if 0 < own < length:
            at = start + own
            piece: bytes = data[at - 1 : at + _USUAL_NAME]  # from the end of the string before it
            end = piece.find(b"\0", 1)
            if end > 0 and not piece[0] and piece.isascii():
                text = self[offset] = piece[1:end].decode()
                return text
        text = self[offset] = spec.string(offset)
        return text


def _entries(of: Type, length: int) -> tuple[Spec, list[int], int]:
    """The words behind a record, `length` to an entry; and the info word."""
    spec = of._spec
    assert spec is not None
    words, start = spec._words, of._position + 3
    info = words[start - 2]
    return spec, words[start : start + length * (info & VLEN_MASK)].tolist(), info


def read_members(of: Type) -> tuple[Member, ...]:
    """The members of a type that came from a spec."""
    spec, body, info = _entries(of, 3)
    found: list[Member] = []
    texts, mask, shift = spec._texts, 0xFFFF_FFFF, 32
    if info & KIND_FLAG:  # bitfield size << 24 | bit offset
        mask, shift = 0xFF_FFFF, 24
    index, entry = 0, iter(body)
    for name, type_id, word in zip(entry, entry, entry):  # noqa: B905  (costs time)
        made = _MemberDraft()
        made.name = texts[name]
        made._type = type_id
        made.offset_bits = word & mask
        made.bitfield_size = word >> shift
        made._owner = of
        made._index = index
        made.__class__ = Member
        index += 1  # noqa: SIM113
        found.append(made)
    members: tuple[Member, ...] = spec._entries.setdefault(of._position, tuple(found))
    return members


def read_params(of: FuncProto) -> tuple[Param, ...]:
    """The parameters of a prototype that came from a spec."""
    spec, body, _ = _entries(of, 2)
    found = _params(of, map(spec._texts.__getitem__, body[::2]), body[1::2])
    params: tuple[Param, ...] = spec._entries.setdefault(of._position, found)
    return params


def own_params(of: Func) -> tuple[Param, ...]:
    """The parameters of a function's prototype, as the function's own.

    Raises:
        BtfError: it refers to something else.
    """
    proto = of.proto
    if proto.kind != Kind.FUNC_PROTO:
        raise BtfError(
            f"{of!r} refers to {proto!r}, which is no prototype",
            source=of.spec.name or "BTF" if of.spec is not None else None,
        )
    shared: tuple[Param, ...] = proto.params  # type: ignore[attr-defined]
    spec = of._spec
    if spec is None:
        return shared
    found = _params(of, [each.name for each in shared], [each._type for each in shared])
    params: tuple[Param, ...] = spec._entries.setdefault(of._position, found)
    return params


def _params(of: Type, names: Iterable[str], references: list[int] | list[Reference]) -> tuple[Param, ...]:
    found: list[Param] = []
    index = 0
    for name, reference in zip(names, references):  # noqa: B905
        made = _ParamDraft()
        made.name = name
        made._type = reference
        made._owner = of
        made._index = index
        made.__class__ = Param
        index += 1  # noqa: SIM113
        found.append(made)
    return tuple(found)


def read_variables(of: Datasec) -> tuple[VarSecinfo, ...]:
    """The places of the variables of a data section that came from a spec."""
    spec, body, _ = _entries(of, 3)
    found: list[VarSecinfo] = []
    for index, (var, offset, size) in enumerate(zip(body[::3], body[1::3], body[2::3], strict=True)):
        made = _VarSecinfoDraft()
        made._var = var
        made.offset = offset
        made.size = size
        made._owner = of
        made._index = index
        made.__class__ = VarSecinfo
        found.append(made)
    variables: tuple[VarSecinfo, ...] = spec._entries.setdefault(of._position, tuple(found))
    return variables


def read_enumerators(of: Enum) -> tuple[Enumerator, ...]:
    """The enumerators of an enum that came from a spec."""
    step, bits = (3, 64) if of.is64 else (2, 32)
    spec, body, info = _entries(of, step)
    values = body[1::step]
    if of.is64:
        values = [low | high << 32 for low, high in zip(values, body[2::3], strict=True)]
    if info & KIND_FLAG:
        values = [value - (1 << bits) if value >> bits - 1 else value for value in values]
    found: list[Enumerator] = []
    for name, value in zip(map(spec._texts.__getitem__, body[::step]), values, strict=True):
        made = _EnumeratorDraft()
        made.name = name
        made.value = value
        made.__class__ = Enumerator
        found.append(made)
    enumerators: tuple[Enumerator, ...] = spec._entries.setdefault(of._position, tuple(found))
    return enumerators
