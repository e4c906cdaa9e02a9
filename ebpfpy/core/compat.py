"""When a target's type may stand for a local one: three relations, from lenient to strict.

* `field_mismatch`: for a member reached by name. Only the shape counts: any struct or union for any other, any
  pointer for any pointer, any integer for any integer; enums by essential name unless one is anonymous; arrays by
  element.
* `type_mismatch`: for type_exists, type_size and type_id. Kinds must be equal at the root and below pointers, arrays
  and function prototypes; names are ignored below the root (the candidate search compared the root's).
* `match_mismatch`: for type_matches. Names and contents, recursively; behind a pointer only names and kinds.

Each returns None for yes, else the reason in words. ENUM and ENUM64 count as one kind everywhere.

Source: libbpf, ``bpf_core_fields_are_compat``, ``bpf_core_types_are_compat``, ``__bpf_core_types_match`` (behaviour).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.btf.kinds import INT_SIGNED, Kind
from ebpfpy.btf.names import essential_bytes
from ebpfpy.btf.text import KEYWORDS

from .rawtypes import MAX_DEPTH, DepthError, RawTypes, Record, raw_types

_COMPOSITE = (Kind.STRUCT, Kind.UNION)
_ENUMS = (Kind.ENUM, Kind.ENUM64)
_ANONYMOUS = (*_COMPOSITE, *_ENUMS)
_ANY_BY_KIND = frozenset({Kind.VOID, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FWD})

if TYPE_CHECKING:
    from ebpfpy.btf import Spec

MAX_COMPARISONS = 100_000


class _Effort:
    """What one comparison has cost, and what it has found out: types that double at every level are looked at once.

    Attributes:
        known: what came of two types, by their ids and how much deeper they may be; for `match_mismatch` behind
            pointers under a key of its own.
    """

    __slots__ = ("known", "left")

    def __init__(self) -> None:
        self.left = MAX_COMPARISONS
        self.known: dict[tuple[int, int, int, bool], str | None] = {}

    def spend(self) -> None:
        """Count one comparison.

        Raises:
            DepthError: there were too many.
        """
        self.left -= 1
        if self.left < 0:
            raise DepthError(f"more than {MAX_COMPARISONS} types to compare")


_WORDS = KEYWORDS | {
    Kind.INT: "integer", Kind.PTR: "pointer", Kind.FUNC_PROTO: "function", Kind.FWD: "declaration",
}  # fmt: skip


def _word(kind: int) -> str:
    return _WORDS[Kind(kind)] if kind in _WORDS else f"kind {kind}"


def same_kind(a: int, b: int) -> bool:
    """Whether two kinds are equal, the two kinds of enum being one."""
    return a == b or (a in _ENUMS and b in _ENUMS)


def field_mismatch(local_types: RawTypes, local_id: int, target_types: RawTypes, target_id: int) -> str | None:
    """Why a member of type `target_id` cannot stand for one of type `local_id`; None if it can."""
    for _ in range(MAX_DEPTH):
        local, target = local_types.under(local_id), target_types.under(target_id)
        if local.kind in _COMPOSITE and target.kind in _COMPOSITE:
            return None
        if not same_kind(local.kind, target.kind):
            return _kinds(local, target)
        if local.kind in (Kind.PTR, Kind.FLOAT):
            return None
        if local.kind == Kind.FWD or local.kind in _ENUMS:
            mine = essential_bytes(local_types.name(local))
            other = essential_bytes(target_types.name(target))
            if not mine or not other or mine == other:
                return None
            return _differ(f"{_word(local.kind)} {mine.decode('utf-8', 'replace')}", other.decode("utf-8", "replace"))
        if local.kind == Kind.INT:
            return _legacy_bitfield(local_types, local, target_types, target)
        if local.kind != Kind.ARRAY:
            return f"{_word(local.kind)} cannot be a member"
        local_id, target_id = local_types.array(local)[0], target_types.array(target)[0]
    raise DepthError(f"types are nested deeper than {MAX_DEPTH}")


def _legacy_bitfield(local_types: RawTypes, local: Record, target_types: RawTypes, target: Record) -> str | None:
    if (local_types.int_word(local) >> 16 | target_types.int_word(target) >> 16) & 0xFF:
        return "integers with a bit offset cannot be compared"
    return None


def type_mismatch(
    local_types: RawTypes,
    local_id: int,
    target_types: RawTypes,
    target_id: int,
    depth: int = MAX_DEPTH,
    effort: _Effort | None = None,
) -> str | None:
    """Why the type `target_id` is not the kind of thing that `local_id` is; None if it is."""
    if depth == MAX_DEPTH and not same_kind(local_types.record(local_id).kind, target_types.record(target_id).kind):
        return _kinds(local_types.record(local_id), target_types.record(target_id))
    effort = effort or _Effort()
    while depth > 0:
        depth -= 1
        effort.spend()
        local, target = local_types.under(local_id), target_types.under(target_id)
        if not same_kind(local.kind, target.kind):
            return _kinds(local, target)
        if local.kind in _ANY_BY_KIND:
            return None
        if local.kind == Kind.INT:
            return _legacy_bitfield(local_types, local, target_types, target)
        if local.kind == Kind.PTR:
            local_id, target_id = local.value, target.value
        elif local.kind == Kind.ARRAY:
            local_id, target_id = local_types.array(local)[0], target_types.array(target)[0]
        elif local.kind == Kind.FUNC_PROTO:
            if local.vlen != target.vlen:
                return _differ(f"{local.vlen} parameters", target.vlen)
            for mine, other in zip(local_types.params(local), target_types.params(target), strict=True):
                key = (mine, other, depth, False)
                if key not in effort.known:
                    effort.known[key] = type_mismatch(local_types, mine, target_types, other, depth, effort)
                reason = effort.known[key]
                if reason is not None:
                    return f"a parameter: {reason}"
            local_id, target_id = local.value, target.value
        else:
            return f"{_word(local.kind)} types cannot be compared"
    raise DepthError(f"types are nested deeper than {MAX_DEPTH}")


def _kinds(local: Record, target: Record) -> str:
    return _differ(_word(local.kind), _word(target.kind))


def _differ(mine: object, other: object) -> str:
    """The form of every reason: what the object declares, and what the kernel (or its module) has instead."""
    return f"{mine} in the object, {other} in the kernel"


def match_mismatch(
    local_types: RawTypes,
    local_id: int,
    target_types: RawTypes,
    target_id: int,
    *,
    behind_pointer: bool = False,
    depth: int = MAX_DEPTH,
    effort: _Effort | None = None,
) -> str | None:
    """Why the type `target_id` does not match `local_id` in the sense of type_matches; None if it does.

    Raises:
        DepthError: they are nested too deeply, or so widely that comparing them would take forever.
    """
    effort = effort or _Effort()
    while depth > 0:
        depth -= 1
        effort.spend()
        local, target = local_types.under(local_id), target_types.under(target_id)
        mine, other = local_types.name(local), target_types.name(target)
        if essential_bytes(mine) != essential_bytes(other):
            return _differ(_named(local, mine), _named(target, other))
        if local.kind == Kind.FWD:
            return _match_fwd(local, target, behind_pointer)
        if local.kind in _ENUMS:
            return _match_enums(local_types, local, target_types, target)
        if local.kind in _COMPOSITE:
            if behind_pointer:
                return _match_composite_behind_pointer(local, target)
            if local.kind != target.kind:
                return _kinds(local, target)
            return _match_members(local_types, local, target_types, target, depth, effort)
        if local.kind != target.kind:
            return _kinds(local, target)
        if local.kind == Kind.VOID:
            return None
        if local.kind == Kind.INT:
            signed = (local_types.int_word(local) ^ target_types.int_word(target)) >> 24 & INT_SIGNED
            if local.value != target.value or signed:
                return _differ(_integer(local_types, local), _integer(target_types, target))
            return None
        if local.kind == Kind.PTR:
            behind_pointer = True
            local_id, target_id = local.value, target.value
        elif local.kind == Kind.ARRAY:
            (local_id, mine_count), (target_id, other_count) = (
                local_types.array(local),
                target_types.array(target),
            )
            if mine_count != other_count:
                return _differ(f"an array of {mine_count}", f"of {other_count}")
        elif local.kind == Kind.FUNC_PROTO:
            if local.vlen != target.vlen:
                return _differ(f"{local.vlen} parameters", target.vlen)
            for one, two in zip(local_types.params(local), target_types.params(target), strict=True):
                reason = _match_inner(local_types, one, target_types, two, behind_pointer, depth, effort)
                if reason is not None:
                    return f"a parameter: {reason}"
            local_id, target_id = local.value, target.value
        else:
            return f"{_word(local.kind)} types cannot be compared"
    raise DepthError(f"types are nested deeper than {MAX_DEPTH}")


def _match_inner(
    local_types: RawTypes,
    local_id: int,
    target_types: RawTypes,
    target_id: int,
    behind_pointer: bool,
    depth: int,
    effort: _Effort,
) -> str | None:
    """`match_mismatch` for what is inside, once for each two types."""
    key = (local_id, target_id, depth, behind_pointer)
    if key not in effort.known:
        effort.known[key] = match_mismatch(
            local_types, local_id, target_types, target_id, behind_pointer=behind_pointer, depth=depth, effort=effort
        )
    return effort.known[key]


def _named(record: Record, name: bytes) -> str:
    if name:
        return f"{_word(record.kind)} {name.decode('utf-8', 'replace')}"
    return f"anonymous {_word(record.kind)}" if record.kind in _ANONYMOUS else _word(record.kind)


def _integer(types: RawTypes, record: Record) -> str:
    sign = "signed" if types.int_word(record) >> 24 & INT_SIGNED else "unsigned"
    return f"{sign} integer of {record.value} bytes"


def _match_fwd(local: Record, target: Record, behind_pointer: bool) -> str | None:
    if local.kind == target.kind:
        return None if local.flag == target.flag else "one is a declared struct, the other a declared union"
    if behind_pointer and target.kind == (Kind.UNION if local.flag else Kind.STRUCT):
        return None
    return _kinds(local, target)


def _match_composite_behind_pointer(local: Record, target: Record) -> str | None:
    if local.kind == target.kind or (target.kind == Kind.FWD and (local.kind == Kind.UNION) == target.flag):
        return None
    return _kinds(local, target)


def _match_enums(local_types: RawTypes, local: Record, target_types: RawTypes, target: Record) -> str | None:
    if target.kind not in _ENUMS:
        return _kinds(local, target)
    if local.value != target.value:
        return _differ(f"an enum of {local.value} bytes", f"of {target.value}")
    have = {essential_bytes(name) for name, _ in target_types.enumerators(target)}
    for name, _ in local_types.enumerators(local):
        if essential_bytes(name) not in have:
            return f"no enumerator {name.decode('utf-8', 'replace')!r}"
    return _differ(f"{local.vlen} enumerators", target.vlen) if local.vlen > target.vlen else None


def _match_members(
    local_types: RawTypes,
    local: Record,
    target_types: RawTypes,
    target: Record,
    depth: int,
    effort: _Effort,
) -> str | None:
    mine, other = local_types.members(local), target_types.members(target)
    others: dict[bytes, list[int]] = {}
    for name, type_id in zip(other.names, other.types, strict=True):
        others.setdefault(essential_bytes(name), []).append(type_id)
    for name, type_id in zip(mine.names, mine.types, strict=True):
        text = name.decode("utf-8", "replace") or "<anon>"
        found = others.get(essential_bytes(name))
        if found is None:
            return f"no member {text!r}"
        reason: str | None = None
        for candidate in found:
            reason = _match_inner(local_types, type_id, target_types, candidate, False, depth, effort)
            if reason is None:
                break
        if reason is not None:
            return f"member {text!r}: {reason}"
    return _differ(f"{local.vlen} members", target.vlen) if local.vlen > target.vlen else None


def incompatible(local: Spec, local_id: int, target: Spec, target_id: int) -> str | None:
    """Why a target's type is not what `local_id` describes, as for type_exists; typedefs and qualifiers do not count.

    For kernel functions and variables that an object declares: None where the declaration fits.
    """
    mine, other = raw_types(local), raw_types(target)
    try:
        return type_mismatch(mine, mine.under(local_id).type_id, other, other.under(target_id).type_id)
    except DepthError as error:
        return str(error)
