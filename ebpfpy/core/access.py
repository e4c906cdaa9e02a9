"""Access strings: the path from a root type to what a relocation is about.

The compiler writes ``&task->mm->pgd[3]`` of the local types as indices: "0:1:2:3" is "element 0 of the pointer to the
root, its member 1, of that the member 2, of that element 3". On the target the same path is walked by *name*: the
local walk turns the indices into points, each a member's name or an array index, and leaves out anonymous structs in
between; the target walk looks each name up, descending into the target's own anonymous members.

Example (little numbers, 64 bit): local ``struct s { int x; int y; }``, access "0:1"; target
``struct s { long pad; union { long z; int y; }; int x; }``. Local walk: root index 0, member "y", 4 bytes in. Target
walk: "y" is no direct member, so the anonymous union at byte 8 is searched: found, 8 + 0 bytes in, raw path 0:1:1.

A member found under the right name whose type is incompatible ends the search at that level, as in libbpf; where
the level was an anonymous member, the outer search goes on.

Source: libbpf, ``bpf_core_parse_spec``, ``bpf_core_match_member``, ``bpf_core_spec_match`` (behaviour).
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy.btf.kinds import Kind

from .compat import field_mismatch

if TYPE_CHECKING:
    from .rawtypes import RawTypes, Reached, Record

MAX_STEPS = 64
MAX_DIGITS = 10
_COMPOSITE = (Kind.STRUCT, Kind.UNION)


class Point(NamedTuple):
    """A step that the target has to repeat.

    Attributes:
        type_id: the struct that the member is in; for an array step, the element's type.
        number: index of the member or element.
        name: of the member or enumerator; None for an array step (and for the root).
        member: id of the member's type as it is declared; 0 where the step is no member.
    """

    type_id: int
    number: int
    name: bytes | None
    member: int = 0


class Access(NamedTuple):
    """A path that has been walked.

    Attributes:
        root: the type it starts at.
        raw: every index on the way, anonymous members included.
        points: the root and every named member or array element.
        bits: where it ends, in bits from the root.
        end: the type that the last point leads to, without typedefs and qualifiers; None for a path of no fields.
        width: bits of the bitfield that the last point leads to, 0 if it is none.
    """

    root: int
    raw: tuple[int, ...]
    points: tuple[Point, ...]
    bits: int
    end: Record | None = None
    width: int = 0


# NamedTuple's own constructor is a Python function; where thousands are made this one is worth having
_point = partial(tuple.__new__, Point)
_access = partial(tuple.__new__, Access)


class AccessError(ValueError):
    """A path that is wrong in itself; carries the reason."""


@lru_cache(4096)
def parse_indices(text: str) -> tuple[int, ...]:
    """The numbers of an access string.

    Raises:
        AccessError: it is not made of non-negative numbers and colons, or has more than 64 of them.
    """
    parts = text.split(":")
    if len(parts) > MAX_STEPS:
        raise AccessError(f"access string with {len(parts)} steps, at most {MAX_STEPS} are allowed")
    if max(map(len, parts)) > MAX_DIGITS or not (text.isascii() and text.replace(":", "").isdigit()):
        raise AccessError(f"malformed access string {text[:80]!r}")
    try:
        return tuple(map(int, parts))
    except ValueError:
        raise AccessError(f"malformed access string {text!r}") from None


def walk_type(text: str, root: int) -> Access:
    """The access of a type-based relocation: always "0"."""
    if text != "0":
        raise AccessError(f"malformed access string {text!r}: a relocation of a type has '0'")
    return Access(root, (0,), (), 0)


def walk_enumerator(types: RawTypes, root: int, text: str) -> Access:
    """The access of an enumerator-based relocation: its index."""
    indices = parse_indices(text)
    record = types.under(root)
    if record.kind not in (Kind.ENUM, Kind.ENUM64):
        raise AccessError("the local type is no enum")
    if len(indices) != 1 or indices[0] >= record.vlen:
        raise AccessError(f"access string {text!r} is no index of the enum's {record.vlen} values")
    index = indices[0]
    name, _ = types.enumerators(record)[index]
    return Access(root, (index,), (Point(record.type_id, index, name),), 0)


def walk_fields(types: RawTypes, root: int, text: str) -> Access:
    """Walk a field access on the local types.

    Raises:
        AccessError: an index is out of range, or a step needs a struct or an array and there is none.
    """
    indices = parse_indices(text)
    record = end = types.under(root)
    points = [_point((record.type_id, indices[0], None, 0))]
    bits = indices[0] * types.size(record.type_id) * 8
    width = 0
    for index in indices[1:]:
        if record.kind in _COMPOSITE:
            names, members, offsets, widths = types.members(record)
            if index >= record.vlen:
                raise AccessError(f"access string {text!r}: member {index} of {record.vlen}")
            bits += offsets[index]
            name, member, struct = names[index], members[index], record
            record = types.under(member)
            if name:
                points.append(_point((struct.type_id, index, name, member)))
                end, width = record, widths[index]
        elif record.kind == Kind.ARRAY:
            element, count = types.array(record)
            if index >= count and not _flexible(types, points[-1], count):
                raise AccessError(f"access string {text!r}: element {index} of {count}")
            record = end = types.under(element)
            points.append(_point((record.type_id, index, None, 0)))
            bits += index * types.size(record.type_id) * 8
            width = 0
        else:
            raise AccessError(f"access string {text!r}: a step into something that is neither struct nor array")
    return _access((root, indices, tuple(points), bits, end, width))


def _flexible(types: RawTypes, point: Point, count: int) -> bool:
    """Whether an array of `count` elements reached through `point` is its struct's flexible last member."""
    return count == 0 and point.name is not None and point.number == types.record(point.type_id).vlen - 1


class Mismatch(NamedTuple):
    """Why a target has no such path, in words."""

    reason: str


def missing_member(name: bytes) -> Mismatch:
    """What there is to say of a struct that has no member of that name."""
    return Mismatch(f"no member {name.decode('utf-8', 'replace')!r}")


def match_fields(local_types: RawTypes, local: Access, target_types: RawTypes, root: int) -> Access | Mismatch:
    """Walk a local path on a target type, by name."""
    record = target_types.under(root)
    steps = iter(local.points)
    number = next(steps).number
    points = [_point((record.type_id, number, None, 0))]
    raw: tuple[int, ...] = (number,)
    bits = number * target_types.size(record.type_id) * 8 if number else 0
    width = 0
    for _, number, name, member in steps:
        if name is not None:
            if record.kind not in _COMPOSITE:
                return Mismatch(f"member {name.decode('utf-8', 'replace')!r} of something that is no struct")
            found = _find_member(local_types, member, name, target_types, record)
            if isinstance(found, Mismatch):
                return found
            path, offset, struct, there, width = found
            raw += path
            bits += offset
            points.append(_point((struct, path[-1], name, there)))
            record = target_types.under(there)
        else:
            if record.kind != Kind.ARRAY:
                return Mismatch(f"element [{number}] of something that is no array")
            element, count = target_types.array(record)
            if number >= count and not _flexible(target_types, points[-1], count):
                return Mismatch(f"element [{number}] is out of bounds: the array has {count}")
            record = target_types.under(element)
            raw += (number,)
            points.append(_point((record.type_id, number, None, 0)))
            bits += number * target_types.size(record.type_id) * 8
            width = 0
    return _access((root, raw, tuple(points), bits, record, width))


def _find_member(
    local_types: RawTypes,
    local_member: int,
    name: bytes,
    target_types: RawTypes,
    record: Record,
) -> Reached | Mismatch:
    """The member of that name, direct or in anonymous members; the first namesake at a level decides for that level."""
    hits = target_types.reach(record, name)
    if not hits:
        return missing_member(name)
    known = local_types.mismatches(target_types)
    closed: list[tuple[int, ...]] = []  # structs in which an incompatible namesake has ended the search
    why: str | None = None
    for hit in hits:
        path = hit.path
        if closed and any(path[: len(end)] == end for end in closed):
            continue
        pair = local_member, hit.type_id
        if pair not in known:
            known[pair] = field_mismatch(local_types, local_member, target_types, hit.type_id)
        reason = known[pair]
        if reason is None:
            return hit
        closed.append(path[:-1])
        why = reason
    return Mismatch(f"member {name.decode('utf-8', 'replace')!r}: {why}")
