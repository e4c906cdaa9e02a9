"""Tags, from what is tagged.

A declaration tag is a record of its own that names its target and the component (member or parameter) it is on::

    [7] STRUCT task {pid, parent}    [8] DECL_TAG "kptr" type_id=7 component_idx=1

Going from [7] to [8] needs an index. Tags are rare (a kernel has a few hundred, most objects none), so the records of
that kind are found without looking at the others: the kind is the top byte of a record's second word, and that byte of
*every* word is taken in one slice, in which ``bytes.find`` runs at memory speed. A hit is proved by the table of
records.

In split BTF a tag can be on a type of the base. Each spec indexes its own tags only, by the id of the target.

Type tags lie on the way from a pointer to its target, behind typedefs and qualifiers (`ways`). Of tags in a row only so
many are read as a kernel would take.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError

from . import types as t
from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, Kind
from .ways import WaysToTags

if TYPE_CHECKING:
    from .spec import Spec

_LONGEST_CHAIN = 10_000  # of types that were built by hand
MOST_TYPE_TAGS = 32
"""Type tags and attributes on one type: the depth to which the kernel resolves types (MAX_RESOLVE_DEPTH)."""
_CLEAR_FLAG = bytes(byte & 0x7F for byte in range(256))
_DECORATIONS = (t.Typedef, t.Volatile, t.Const, t.Restrict, t.TypeTag)


class TagIndex:
    """Key of `Spec.derived`: where the declaration tags of one spec are, by target and component."""

    def __init__(self, spec: Spec) -> None:
        self.positions: dict[tuple[int, int], list[int]] = {}
        self.of_target: dict[int, list[int]] = {}
        words = spec._words
        for position in _positions(spec):
            # u32 name_off, u32 info, u32 type, s32 component_idx
            target, component = words[position + 2], words[position + 3]
            self.positions.setdefault((target, component), []).append(position)
            self.of_target.setdefault(target, []).append(position)


def _positions(spec: Spec) -> list[int]:
    """The words at which the declaration tags of a spec start, in order."""
    start, end = spec._sections.types, spec._sections.types_end
    top = 3 if spec.byte_order == "little" else 0
    found = []
    kinds = bytes(spec._data[start + 4 + top : end : 4]).translate(_CLEAR_FLAG)  # of the word behind each word
    at = kinds.find(Kind.DECL_TAG)
    while at >= 0:
        if spec._is_start(at):
            found.append(at)
        at = kinds.find(Kind.DECL_TAG, at + 1)
    return found


def _index(spec: Spec) -> TagIndex:
    found: TagIndex | None = spec.derived.get(TagIndex)
    if found is None:
        found = spec.derived[TagIndex] = TagIndex(spec)
    return found


def decl_tags(spec: Spec, type_id: int) -> list[t.DeclTag]:
    """The own declaration tags of a spec on a type and on its components, by their ids."""
    return [spec._type_at(at) for at in _index(spec).of_target.get(type_id, ())]  # type: ignore[misc]


def tag_names(spec: Spec, type_id: int, component: int, attribute: bool) -> tuple[str, ...]:
    """The texts of the own tags of a spec on a component of a type (-1: on the type itself), by their ids."""
    positions = _index(spec).positions.get((type_id, component & 0xFFFF_FFFF), ())
    flag = KIND_FLAG if attribute else 0
    words = spec._words
    return tuple(spec.string(words[at]) for at in positions if words[at + 1] & KIND_FLAG == flag)


def tags_on(of: t.Type, component: int, attribute: bool) -> tuple[str, ...]:
    """`tag_names` in the spec that a type came from; () for a type built by hand."""
    spec = of._spec
    return () if spec is None else tag_names(spec, spec.type_id(of), component, attribute)


def type_tags(of: t.Type, attribute: bool) -> tuple[str, ...]:
    """The texts of the type tags on the way to what a type is, or, of a pointer, points at.

    Raises:
        BtfError: the way is a circle, or there are more than `MOST_TYPE_TAGS`.
    """
    found: list[str] = []
    current, pointers = of, 0
    for _ in range(_LONGEST_CHAIN):
        if current._spec is not None:
            return (*found, *_written_tags(current, pointers, attribute))
        if isinstance(current, t.Pointer):
            pointers += 1
            if pointers > 1:
                return tuple(found)
        elif not isinstance(current, _DECORATIONS):
            return tuple(found)
        elif isinstance(current, t.TypeTag) and current.attribute is attribute:
            found.append(current.name)
        current = current.target
    raise _circle(of)


def _written_tags(of: t.Type, pointers: int, attribute: bool) -> list[str]:
    """`type_tags` from a type of a spec on, behind so many pointers."""
    assert of._spec is not None
    spec, flag = of._spec, KIND_FLAG if attribute else 0
    type_id = spec.type_id(of)
    found: list[str] = []
    seen: set[int] = set()
    while type_id := WaysToTags.end(spec, type_id):
        words, at = spec.locate(type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        if kind == Kind.TYPE_TAG:
            if type_id in seen:
                raise _circle(of)
            if len(seen) == MOST_TYPE_TAGS:
                raise BtfError(f"{of!r}: more than {MOST_TYPE_TAGS} type tags on one type, which no kernel takes")
            seen.add(type_id)
            if words[at + 1] & KIND_FLAG == flag:
                found.append(spec.string(words[at]))
        elif kind == Kind.PTR and not pointers:
            pointers = 1
        else:
            break
        type_id = words[at + 2]
    return found


def _circle(of: t.Type) -> BtfError:
    return BtfError(f"{of!r}: typedefs, qualifiers and tags form a cycle")
