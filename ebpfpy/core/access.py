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
    """

    type_id: int
    number: int
    name: bytes | None


class Access(NamedTuple):
    """A path that has been walked.

    Attributes:
        root: the type it starts at.
        raw: every index on the way, anonymous members included.
        points: the root and every named member or array element.
        bits: where it ends, in bits from the root.
    """

    root: int
    raw: tuple[int, ...]
    points: tuple[Point, ...]
    bits: int


class AccessError(ValueError):
    """A path that is wrong in itself; carries the reason."""


def parse_indices(text: str) -> list[int]:
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
        return [int(part) for part in parts]
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
    record = types.under(root)
    points = [Point(record.type_id, indices[0], None)]
    bits = indices[0] * types.size(record.type_id) * 8
    for index in indices[1:]:
        if record.kind in _COMPOSITE:
            members = types.members(record)
            if index >= record.vlen:
                raise AccessError(f"access string {text!r}: member {index} of {record.vlen}")
            bits += members.bits[index]
            if members.names[index]:
                points.append(Point(record.type_id, index, members.names[index]))
            record = types.under(members.types[index])
        elif record.kind == Kind.ARRAY:
            element, count = types.array(record)
            if index >= count and not _flexible(types, points[-1], count):
                raise AccessError(f"access string {text!r}: element {index} of {count}")
            record = types.under(element)
            points.append(Point(record.type_id, index, None))
            bits += index * types.size(record.type_id) * 8
        else:
            raise AccessError(f"access string {text!r}: a step into something that is neither struct nor array")
    return Access(root, tuple(indices), tuple(points), bits)


def _flexible(types: RawTypes, point: Point, count: int) -> bool:
    """Whether an array of `count` elements reached through `point` is its struct's flexible last member."""
    return count == 0 and point.name is not None and point.number == types.record(point.type_id).vlen - 1


class Mismatch(NamedTuple):
    """Why a target has no such path, in words."""

    reason: str


def match_fields(local_types: RawTypes, local: Access, target_types: RawTypes, root: int) -> Access | Mismatch:
    """Walk a local path on a target type, by name."""
    record = target_types.under(root)
    first = local.points[0]
    points = [Point(record.type_id, first.number, None)]
    raw = [first.number]
    bits = first.number * target_types.size(record.type_id) * 8 if first.number else 0
    for step in local.points[1:]:
        if step.name is not None:
            if record.kind not in _COMPOSITE:
                return Mismatch(f"member {step.name.decode('utf-8', 'replace')!r} of something that is no struct")
            local_member = local_types.members(local_types.record(step.type_id)).types[step.number]
            found = _find_member(local_types, local_member, step.name, target_types, record)
            if isinstance(found, Mismatch):
                return found
            raw += found.path
            bits += found.bits
            points.append(Point(found.struct, found.path[-1], step.name))
            record = target_types.under(found.type_id)
        else:
            if record.kind != Kind.ARRAY:
                return Mismatch(f"element [{step.number}] of something that is no array")
            element, count = target_types.array(record)
            if step.number >= count and not _flexible(target_types, points[-1], count):
                return Mismatch(f"element [{step.number}] is out of bounds: the array has {count}")
            record = target_types.under(element)
            raw.append(step.number)
            points.append(Point(record.type_id, step.number, None))
            bits += step.number * target_types.size(record.type_id) * 8
    return Access(root, tuple(raw), tuple(points), bits)


def _find_member(
    local_types: RawTypes,
    local_member: int,
    name: bytes,
    target_types: RawTypes,
    record: Record,
) -> Reached | Mismatch:
    """The member of that name, direct or in anonymous members; the first namesake at a level decides for that level."""
    hits = target_types.reachable(record).get(name)
    if hits is None:
        return Mismatch(f"no member {name.decode('utf-8', 'replace')!r}")
    closed: list[tuple[int, ...]] = []  # structs in which an incompatible namesake has ended the search
    why: str | None = None
    for hit in hits:
        level = hit.path[:-1]
        if any(hit.path[: len(end)] == end for end in closed):
            continue
        reason = field_mismatch(local_types, local_member, target_types, hit.type_id)
        if reason is None:
            return hit
        closed.append(level)
        why = reason
    return Mismatch(f"member {name.decode('utf-8', 'replace')!r}: {why}")
