"""Which type the records of a ring buffer have.

A ring buffer's records are bytes; nothing in an object file says for certain what they mean.
The rule, first answer wins:

1. the type that the user names (``--event-type``);
2. the value type of the map, where its definition has one;
3. a struct called like the map: for a map ``opens``, ``struct opens_event``, ``struct event_opens`` or ``struct open``;
4. ``struct event``;
5. the only struct whose name ends in ``event``.

So a map ``events`` and a ``struct event`` find each other by step 3. Two answers in one step are an error
that names both; no answer means that records are shown as bytes.

Only types that the object's BTF has can be found. Compilers leave out a struct that nothing refers to; this keeps it::

    struct event *unused_event __attribute__((unused));
"""

from __future__ import annotations

from typing import NamedTuple

from ebpfpy import btf
from ebpfpy.cli.status import UsageError

_SUFFIX = "event"
_ASKABLE = (btf.Struct, btf.Union, btf.Typedef, btf.Enum, btf.Int)


class EventType(NamedTuple):
    """The outcome of the rule.

    Attributes:
        type: of the records; None where no step has an answer.
        reason: which step answered, or why none did.
    """

    type: btf.Type | None
    reason: str


def event_type(
    map_name: str, types: btf.Spec | None, *, value: btf.Type | None = None, asked: str | None = None
) -> EventType:
    """Find the type of a ring buffer's records.

    Args:
        map_name: of the ring buffer.
        types: the object's own BTF.
        value: the value type of the map's definition.
        asked: the type's name as the user gives it, with or without "struct".

    Raises:
        UsageError: the name asked for does not exist, or one step has several answers; lists the candidates.
    """
    if asked is not None:
        return EventType(_by_request(types, asked), "asked for")
    if value is not None and not isinstance(btf.resolve(value), btf.Void):
        return EventType(value, "the map's value type")
    if types is None:
        return EventType(None, "the object has no BTF")
    structs = _structs(types)
    like_map = (f"{map_name}_{_SUFFIX}", f"{_SUFFIX}_{map_name}", singular(map_name))
    steps = (
        ("called like the map", [s for s in structs if s.name in like_map]),
        ("called event", [s for s in structs if s.name == _SUFFIX]),
        ("the only one ending in event", [s for s in structs if s.name.endswith(_SUFFIX)]),
    )
    for reason, found in steps:
        if len(found) == 1:
            return EventType(found[0], reason)
        if found:
            raise UsageError(
                f"map {map_name}: the type of its records may be {_list(found)}; choose one with --event-type"
            )
    return EventType(None, "the object's BTF has no struct called event, or like the map")


def singular(name: str) -> str:
    """The singular of a name: "open" of "opens", "entry" of "entries"; a name that is no plural stays."""
    if name.endswith("ies"):
        return name[:-3] + "y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def _by_request(types: btf.Spec | None, asked: str) -> btf.Type:
    if not asked.strip():
        raise UsageError('--event-type needs the name of a type, such as "struct event"')
    if types is None:
        raise UsageError(f"--event-type {asked}: the object has no BTF")
    keyword, _, rest = asked.partition(" ")
    keywords: dict[str, tuple[type[btf.Type], ...]] = {
        "struct": (btf.Struct,),
        "union": (btf.Union,),
        "enum": (btf.Enum,),
    }
    classes, name = (keywords[keyword], rest.strip()) if keyword in keywords and rest else (_ASKABLE, asked)
    for cls in classes:  # a struct before the typedef of the same name
        found = [t for t in types.any_types_by_name(name) if isinstance(t, cls)] if name else []
        if len(found) > 1:
            raise UsageError(f"--event-type {asked}: {len(found)} types are called so")
        if found:
            return found[0]
    candidates = [s for s in _structs(types) if s.name.endswith(_SUFFIX)]
    others = f"it has {_list(candidates)}" if candidates else "and none that ends in event either"
    raise UsageError(f"--event-type {asked}: the object's BTF has no such type; {others}")


def _structs(types: btf.Spec) -> list[btf.Struct]:
    """Every struct with a name and members, one of each name."""
    found: dict[str, btf.Struct] = {}
    for kind in types:
        if isinstance(kind, btf.Struct) and kind.name and kind.members:
            found.setdefault(kind.name, kind)
    return list(found.values())


def _list(structs: list[btf.Struct]) -> str:
    return ", ".join(f"struct {struct.name}" for struct in structs)
