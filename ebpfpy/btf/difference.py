"""What changed between the types of two kernels.

Types are compared by what they are called and what they hold: a member has a name, an offset, and a type *by name*. So
a change of ``struct list_head`` is reported once, there, and not in the thousands of structs that contain one; cycles
cannot arise; ids play no role. What has no name of its own is part of what contains it: members of unnamed structs
count as the outer one's, ``slab.freelist`` where the member has a name, with offsets from the outer start. Behind a
pointer, or in the parameters of a function, they are spelled out in the type of the member (`difftext`).

A kernel has several types of one name. Those with equal content are paired first, what is left in order of ids.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from ebpfpy.errors import BtfError, TypeNotFoundError

from .cdecl import MARKED
from .cnames import Identifiers
from .cwords import (
    COMPOSITES,
    DECORATIONS,
    ENUM,
    ENUM64,
    FLOAT,
    FUNC,
    FUNC_PROTO,
    INT,
    STRUCT,
    TYPEDEF,
    UNION,
    Records,
    end_of_elements,
)
from .difftext import Spelling
from .kinds import INT_BOOL, INT_CHAR, INT_SIGNED, KIND_MASK, KIND_SHIFT, VLEN_MASK
from .spec import check_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from .spec import Spec

_KINDS = {
    STRUCT: "struct",
    UNION: "union",
    ENUM: "enum",
    ENUM64: "enum",
    TYPEDEF: "typedef",
    FUNC: "func",
    INT: "int",
    FLOAT: "float",
}
_ENCODINGS = {INT_SIGNED: "signed", INT_CHAR: "char", INT_BOOL: "bool"}
_MOST_MEMBERS = 1 << 12
_MOST_INSIDE = 1 << 16
"""Members of unnamed structs in one struct; those of a kernel have hundreds."""
_DEEPEST = 64
"""Levels of unnamed structs in one another; kernels have four."""


class Change(NamedTuple):
    """One difference within a type that both sides have.

    Attributes:
        what: "added", "removed", "moved" (old, new: offsets in bits), "resized" (bytes), "width" (bits of what is a
            bitfield on both sides), "retyped" (the types in C; a bitfield's with its width, ``int:3``), "value" (of
            an enumerator), "prototype" (of a function), "target" (of a typedef), "size" (bytes of the type itself),
            "encoding" (of an integer, as text: its sign, and its bits where it does not fill its bytes), "order" (of
            members or enumerators that are the same).
        member: the member or enumerator; "" for the type itself.
        old, new: what it was and what it is; None where it was, or is, not there. For an added or removed member its
            type, for an enumerator its value.
        offset: where a member is that was added or removed, in bits; else None.
    """

    what: str
    member: str
    old: int | str | None
    new: int | str | None
    offset: int | None = None


class TypeChange(NamedTuple):
    """A type that both sides have, and what differs in it.

    Attributes:
        kind: "struct", "union", "enum", "typedef", "func", "int" or "float".
        name: its name.
        changes: never empty.
    """

    kind: str
    name: str
    changes: tuple[Change, ...]


class Diff(NamedTuple):
    """What changed from one spec to another; false when nothing did.

    Attributes:
        added, removed: (kind, name) of types that only the second, or only the first, has; sorted.
        changed: types that both have, in the same order.
        unchanged: how many types are the same on both sides.
    """

    added: tuple[tuple[str, str], ...]
    removed: tuple[tuple[str, str], ...]
    changed: tuple[TypeChange, ...]
    unchanged: int

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def diff(a: Spec, b: Spec, name: str | None = None) -> Diff:
    """What changed from the own types of `a` to those of `b`.

    Structs, unions, enums, typedefs, functions, integers and floats that have a name. Names of parameters do not count.
    Two vmlinux of 120,000 types take a few seconds.

    Args:
        a: the old types.
        b: the new ones.
        name: only the types of that name.

    Raises:
        TypeNotFoundError: neither side has a type of that name.
        BtfError: a record is malformed; it says on which side.
    """
    check_spec(a)
    check_spec(b)
    old, new = _Side(a, name, "the old types"), _Side(b, name, "the new types")
    if name is not None and not old.groups and not new.groups:
        raise TypeNotFoundError(f"neither side has a type {name!r}", name=name)
    added: list[tuple[str, str]] = []
    removed: list[tuple[str, str]] = []
    changed: list[TypeChange] = []
    unchanged = 0
    for key in sorted(old.groups.keys() | new.groups.keys()):
        before, after, same = _unpaired(old.contents(key), new.contents(key))
        unchanged += same
        for first, second in zip(before, after, strict=False):
            changes = tuple(_changes(key[0], first, second)) or (Change("order", "", None, None),)
            changed.append(TypeChange(*key, changes))
        removed += [key] * (len(before) - len(after))
        added += [key] * (len(after) - len(before))
    return Diff(tuple(added), tuple(removed), tuple(changed), unchanged)


_Member = tuple[str, int, int, str, int]
"""Path, offset in bits, width in bits (0: no bitfield), type in C, size in bytes."""


class _Content:
    """What a type holds: its size or None, and, depending on the kind, members, enumerators or one text.

    How a function is shown does not count when two are compared: it has the names of parameters.
    """

    __slots__ = ("key", "parts", "shown", "size")

    def __init__(self, size: int | None, parts: tuple[Any, ...], shown: str = "") -> None:
        self.key = (size, parts, shown if size is not None else "")
        self.size, self.parts, self.shown = size, parts, shown


def _unpaired(before: Sequence[_Content], after: Sequence[_Content]) -> tuple[list[_Content], list[_Content], int]:
    """What is left on each side when equal contents are taken away, and how many pairs were equal."""
    left: dict[tuple[int | None, tuple[Any, ...], str], list[int]] = {}
    for index in range(len(after) - 1, -1, -1):
        left.setdefault(after[index].key, []).append(index)
    only: list[_Content] = []
    for content in before:
        if left.get(content.key):
            left[content.key].pop()
        else:
            only.append(content)
    rest = sorted(index for indices in left.values() for index in indices)
    return only, [after[index] for index in rest], len(before) - len(only)


class _Names(Identifiers):
    """String offset -> the string as it is."""

    def __missing__(self, offset: int) -> str:
        self[offset] = text = self.spec.string(offset)
        return text


class _Side:
    """The types of one spec."""

    def __init__(self, spec: Spec, only: str | None, called: str) -> None:
        self._called = called
        try:
            self._collect(spec, only)
        except BtfError as error:
            raise self._told(error) from None

    def _told(self, error: BtfError) -> BtfError:
        """The error with the side in front."""
        return BtfError(f"{self._called}: {error.message}", source=error.source, offset=error.offset)

    def _collect(self, spec: Spec, only: str | None) -> None:
        records = Records(spec)
        words, starts = records.words, records.starts
        self.words, self.starts, self._locate = words, starts, records.locate
        self.spec = spec
        self._texts: dict[int, str] = {}
        self._ends = {0: 0}
        self.writer = Spelling(spec, _Names(spec), records.locate)
        names = self.writer.names
        self._members_left = _MOST_MEMBERS + 16 * len(words)
        self.groups: dict[tuple[str, str], list[int]] = {}
        for type_id in range(spec.first_id, len(starts)):
            start = starts[type_id]
            kind = _KINDS.get(words[start + 1] >> KIND_SHIFT & KIND_MASK)
            if kind is None or not words[start]:
                continue
            name = names[words[start]]
            if name and (only is None or name == only):
                if kind == "enum" and not words[start + 1] & VLEN_MASK:
                    continue  # a declaration
                self.groups.setdefault((kind, name), []).append(type_id)

    def contents(self, key: tuple[str, str]) -> list[_Content]:
        """What the types of that kind and name hold, by id."""
        try:
            return [self._content(type_id) for type_id in self.groups.get(key, ())]
        except BtfError as error:
            raise self._told(error) from None

    def _content(self, type_id: int) -> _Content:
        words, at = self._locate(type_id)
        info = words[at + 1]
        kind = info >> KIND_SHIFT & KIND_MASK
        if kind in COMPOSITES:
            return _Content(words[at + 2], tuple(self._members(type_id)))
        if kind in (ENUM, ENUM64):
            return _Content(words[at + 2], tuple(self.writer.values(words, at, info, kind)))
        if kind == FUNC:
            return self._function(words[at + 2])
        if kind == FLOAT:
            return _Content(words[at + 2], ())
        if kind == INT:
            return _Content(words[at + 2], (_encoding(8 * words[at + 2], words[at + 3]),))
        target = words[at + 2]
        under = self._unnamed(target)
        if under is not None and not self.writer.declarator(target)[1]:
            words, at = self._locate(under)
            return _Content(words[at + 2], tuple(self._members(under)), self._text(target))
        return _Content(None, (self.writer.spelled(target),))

    def _function(self, proto: int) -> _Content:
        words, at = self._locate(proto)
        if words[at + 1] >> KIND_SHIFT & KIND_MASK != FUNC_PROTO:
            raise BtfError(f"a function refers to [{proto}], which is no prototype", source=self.spec.name)
        end = at + 3 + 2 * (words[at + 1] & VLEN_MASK)
        types = tuple(map(self.writer.spelled, (words[at + 2], *words[at + 4 : end : 2])))
        return _Content(None, types, self.writer.spelled(proto))

    def _text(self, type_id: int) -> str:
        """The type of a member in C; of a struct or union without a name, whose members follow, only what it is."""
        found = self._texts.get(type_id)
        if found is None:
            under = self._unnamed(type_id)
            if under is None:
                found = self.writer.spelled(type_id)
            else:
                before, behind, *_ = self.writer.declarator(type_id)
                words, at = self._locate(under)
                brief = f"{_KINDS[words[at + 1] >> KIND_SHIFT & KIND_MASK]} {{...}}"
                found = MARKED.sub(brief, f"{before}{behind}").rstrip()
            self._texts[type_id] = found
        return found

    def _unnamed(self, type_id: int) -> int | None:
        """The struct or union without a name that a value of this type is, or is an array of."""
        end = end_of_elements(type_id, self._locate, DECORATIONS, self._ends)
        if end is None:
            raise BtfError(f"type [{type_id}] refers to itself", source=self.spec.name)
        words, at = self._locate(end)
        return end if words[at + 1] >> KIND_SHIFT & KIND_MASK in COMPOSITES and not words[at] else None

    def _members(self, type_id: int) -> Iterator[_Member]:
        """The members of a struct or union and of all unnamed ones in it, in order."""
        writer, names = self.writer, self.writer.names
        self.writer.weigh(type_id)
        words, at = self._locate(type_id)
        count, most = 0, _MOST_INSIDE + (words[at + 1] & VLEN_MASK)
        stack: list[Iterator[tuple[str, int, tuple[int, int, int, int]]]] = [self._each(type_id, "", 0)]
        while stack:
            item = next(stack[-1], None)
            if item is None:
                stack.pop()
                continue
            path, base, (name_off, member, offset, width) = item
            count += 1
            self._members_left -= 1  # unnamed structs in one another can double at every level
            if self._members_left < 0 or count > most:
                raise BtfError(
                    f"type [{type_id}] has too many members, unnamed structs' included", source=self.spec.name
                )
            name = names[name_off]
            if name:
                yield f"{path}{name}", base + offset, width, self._text(member), writer.sizes[member]
            inner = self._unnamed(member)
            if inner is not None:
                if len(stack) == _DEEPEST:
                    raise BtfError(
                        f"type [{type_id}] contains itself, or unnamed structs {_DEEPEST} deep", source=self.spec.name
                    )
                stack.append(self._each(inner, f"{path}{name}." if name else path, base + offset))
            elif not name and (under := writer.composite_under(member)) is not None and not width:
                yield f"{path}({self._text(member)})", base + offset, width, self._text(member), writer.sizes[under]

    def _each(self, type_id: int, path: str, base: int) -> Iterator[tuple[str, int, tuple[int, int, int, int]]]:
        words, at = self._locate(type_id)
        for member in self.writer.members(words, at, words[at + 1]):
            yield path, base, member


def _changes(kind: str, old: _Content, new: _Content) -> Iterator[Change]:
    if kind == "func":
        yield Change("prototype", "", old.shown, new.shown)
        return
    if kind == "typedef" and (old.size is None or new.size is None):
        yield Change("target", "", old.shown or old.parts[0], new.shown or new.parts[0])
        return
    if old.size != new.size:
        yield Change("size", "", old.size, new.size)
    if kind == "int":
        if old.parts != new.parts:
            yield Change("encoding", "", *old.parts, *new.parts)
    elif kind == "enum":
        yield from _value_changes(dict(old.parts), dict(new.parts))
    else:
        yield from _member_changes(old.parts, new.parts)
    if kind == "typedef" and old.shown != new.shown:
        yield Change("target", "", old.shown, new.shown)


def _value_changes(old: dict[str, int], new: dict[str, int]) -> Iterator[Change]:
    for name, value in old.items():
        if name not in new:
            yield Change("removed", name, value, None)
        elif new[name] != value:
            yield Change("value", name, value, new[name])
    for name, value in new.items():
        if name not in old:
            yield Change("added", name, None, value)
    if list(old) != list(new) and old == new:
        yield Change("order", "", ", ".join(old), ", ".join(new))


def _member_changes(old: Iterable[_Member], new: Iterable[_Member]) -> Iterator[Change]:
    before = {member[0]: member for member in old}
    after = {member[0]: member for member in new}
    for path, offset, width, text, size in before.values():
        if path not in after:
            yield Change("removed", path, _with_width(text, width), None, offset)
            continue
        _, offset_now, width_now, text_now, size_now = after[path]
        if offset != offset_now:
            yield Change("moved", path, offset, offset_now)
        if bool(width) != bool(width_now):
            yield Change("retyped", path, _with_width(text, width), _with_width(text_now, width_now))
            continue
        if text != text_now:
            yield Change("retyped", path, text, text_now)
        if width != width_now:
            yield Change("width", path, width, width_now)
        elif size != size_now:
            yield Change("resized", path, size, size_now)
    for path, offset, width, text, _ in after.values():
        if path not in before:
            yield Change("added", path, None, _with_width(text, width), offset)
    common = [path for path in before if path in after]
    if common != [path for path in after if path in before]:
        yield Change("order", "", ", ".join(common), ", ".join(path for path in after if path in before))


def _encoding(filled: int, word: int) -> str:
    """What an integer is beside its size, from ``encoding << 24 | bit offset << 16 | bits``; `filled`: all its bits."""
    encoding, offset, bits = word >> 24, word >> 16 & 0xFF, word & 0xFF
    parts = [name for bit, name in _ENCODINGS.items() if encoding & bit]
    if others := encoding & ~sum(_ENCODINGS):
        parts.append(f"encoding {others:#x}")
    text = " ".join(parts) or "unsigned"
    return text if (bits, offset) == (filled, 0) else f"{text}, bits {offset} to {offset + bits}"


def _with_width(text: str, width: int) -> str:
    return f"{text}:{width}" if width else text
