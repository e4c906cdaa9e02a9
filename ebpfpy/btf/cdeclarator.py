"""Declarators: the text of a type around a name.

C wraps a type around the name: ``int (*handlers[4])(void)``. So a type is two texts, one before the name and one
behind it, and each step of a chain of references adds to one of them: a pointer adds ``*`` in front, an array ``[4]``
right behind the name, a function its parameters right behind the name; a pointer to what starts with ``[`` or ``(``
needs parentheses. From the inside out, for an array of 4 pointers to functions without parameters: ``("int ", "")``,
``("int ", "(void)")``, ``("int (*", ")(void)")``, ``("int (*", "[4])(void)")``.

A type without a name must be spelled where it is used. Its place in the text is marked; `cdecl` puts the body there
when the depth of its indentation is known.

Everything is iterative: types may be nested to any depth. Text out of all proportion (a small BTF can describe a type
whose spelling is exponentially long) is refused.
"""

from __future__ import annotations

import re
from itertools import chain
from typing import TYPE_CHECKING, TypeAlias

from ebpfpy.errors import BtfError

from .cnames import identifier
from .ctags import ATTRIBUTES, TagWriter
from .cwords import (
    ARRAY,
    CONST,
    ENUM,
    ENUM64,
    FLOAT,
    FUNC_PROTO,
    FWD,
    INT,
    PASSED,
    PTR,
    RESTRICT,
    STRUCT,
    TYPE_TAG,
    TYPEDEF,
    UNION,
    VOID,
    VOLATILE,
)
from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, VLEN_MASK
from .text import describe_with_id

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .cnames import Identifiers
    from .cwords import Words
    from .spec import Spec

PLAIN, POINTER, FUNCTION = range(3)
"""What a qualifier would qualify: what stands in front, the pointer itself, nothing (functions have no qualifiers)."""

Declarator: TypeAlias = "tuple[str, str, int, tuple[str, ...], str]"
"""A type around a name.

* the texts before and behind the name;
* what a qualifier would apply to: `PLAIN`, `POINTER` or `FUNCTION`;
* the tags ("struct sock") that are mentioned inside parameter lists; C forgets them there unless they were declared
  before;
* the tag at the very front, or "".
"""

MARK, MARK_END = "\x01", "\x02"
TAG_KEYWORDS = {STRUCT: "struct", UNION: "union", ENUM: "enum", ENUM64: "enum"}
_QUALIFIERS = {CONST: "const ", VOLATILE: "volatile ", RESTRICT: "restrict "}
_STEPS = frozenset({PTR, ARRAY, CONST, VOLATILE, RESTRICT, TYPE_TAG})
_SCALAR = re.compile("[A-Za-z_][A-Za-z0-9_ ]*")
_EASY = frozenset({PTR, ARRAY, CONST})
_OPENING = frozenset("[(")
_BOTTOMS = frozenset({INT, FLOAT, STRUCT, UNION, ENUM, ENUM64, FWD, TYPEDEF})
_VA_LISTS = frozenset({"__builtin_va_list", "__gnuc_va_list"})
NO_ELEMENT: Declarator = ("char /* of nothing that has a size */ ", "", PLAIN, (), "")
"""What stands for the elements of arrays that C does not have."""
NO_RESULT: Declarator = ("void /* C returns no arrays and no functions */ ", "", PLAIN, (), "")
LONG = 256
"""Characters from which on every text is counted: what is long may grow without end."""
_FAR = 32
"""Steps of a chain of which one is kept: many types may share a long chain, and none should walk all of it again."""
FREE_TEXT = 1 << 24
"""Characters that may be written whatever the size of the BTF."""
_TEXT_PER_BYTE = 64


class Declarators:
    """The declarators of the types of one spec and its bases.

    Args:
        spec: whose types.
        names: string offset -> identifier.
        locate: type id -> the words of its record, and where it starts in them.
    """

    tag_styles = ATTRIBUTES
    """How tags are written."""

    def __init__(self, spec: Spec, names: Identifiers, locate: Callable[[int], tuple[Words, int]]) -> None:
        self.spec = spec
        self.names = names
        self.locate = locate
        self.count = spec.first_id + len(spec)
        self.renamed: dict[int, str] = {}
        self.declarators: dict[int, Declarator] = {0: ("void ", "", PLAIN, (), "")}
        self._under: dict[int, int] = {0: 0}
        self._void, self._hollow = _Answers(self, {VOID}), _Answers(self, {VOID, FUNC_PROTO, FWD})
        self._no_result = _Answers(self, {ARRAY, FUNC_PROTO})
        self.tags = TagWriter(self.tag_styles)
        self._alone = _Alone(self.declarators)
        self._said = _Said(self.declarators)
        self.budget = FREE_TEXT + _TEXT_PER_BYTE * len(spec.raw)  # of own types: the base's have names, or are few

    # --- what a header decides otherwise ----------------------------------------------------------

    def scalar(self, words: Words, at: int) -> str:
        """What an INT or FLOAT is called."""
        name = self.spec.string(words[at])
        return (name if _SCALAR.fullmatch(name) else identifier(name)) if name else "int"

    def parameters(self, names: list[str]) -> list[str]:
        """What the parameters of a function that want these names are called: each name once."""
        if len(set(names)) != len(names):
            first: dict[str, int] = {}
            names = [name if first.setdefault(name, at) == at else "" for at, name in enumerate(names)]
        return names

    def name_of(self, type_id: int, words: Words, at: int) -> str:
        """What a named type is called."""
        return self.renamed.get(type_id) or self.names[words[at]]

    # --- declarators ------------------------------------------------------------------------------

    def declarator(self, type_id: int) -> Declarator:
        """The texts around a name of this type.

        Raises:
            BtfError: the type cannot be written in C: it is no type, or contains itself.
        """
        known = self.declarators
        found = known.get(type_id)
        if found is not None:
            return found
        found = self._easily(type_id)
        if found is not None:
            return found
        stack, inside = [type_id], set[int]()
        while stack:
            current = stack[-1]
            if current in known:
                stack.pop()
                continue
            steps, bottom = self._chain(current)
            if len(steps) > _FAR:
                stack += [step[0] for step in steps[_FAR::_FAR]]
                continue
            if bottom not in known:
                words, at = self.locate(bottom)
                info = words[at + 1]
                kind = info >> KIND_SHIFT & KIND_MASK
                if kind == FUNC_PROTO:
                    count = info & VLEN_MASK
                    missing = [words[at + 2], *words[at + 4 : at + 3 + 2 * count : 2]]
                    missing = [each for each in missing if each not in known and self._easily(each) is None]
                    if missing:
                        if bottom in inside:
                            raise self.error(bottom, "its parameters contain itself")
                        inside.add(bottom)
                        stack += missing
                        continue
                    known[bottom] = self.function(words, at, count)
                else:
                    known[bottom] = self._bottom(bottom, kind, words, at, info)
            if steps:
                known[current] = self._wrap(known[bottom], steps)
        return known[type_id]

    def _easily(self, type_id: int) -> Declarator | None:
        """The declarator of a type that has a name, or is one step above one that is known or has: most are."""
        words, at = self.locate(type_id)
        info = words[at + 1]
        kind = info >> KIND_SHIFT & KIND_MASK
        known = self.declarators
        if kind in _BOTTOMS:
            found = known[type_id] = self._bottom(type_id, kind, words, at, info)
            return found
        if kind not in _EASY:
            return None
        target = words[at + 3] if kind == ARRAY else words[at + 2]
        count = words[at + 5] if kind == ARRAY else 0
        inner = known.get(target)
        if inner is None:
            words, at = self.locate(target)
            info = words[at + 1]
            below = info >> KIND_SHIFT & KIND_MASK
            if below not in _BOTTOMS:
                return None
            inner = known[target] = self._bottom(target, below, words, at, info)
        if kind == ARRAY and self.is_hollow(target):
            inner = NO_ELEMENT
        before, behind, level, mentioned, tag = inner
        if len(before) + len(behind) > LONG:
            return None
        if kind == PTR:
            if behind[:1] in _OPENING:
                before, behind = f"{before}(*", f"){behind}"
            else:
                before = f"{before}*"
            level = POINTER
        elif kind == ARRAY:
            behind = f"[{count}]{behind}"
        elif level == POINTER:
            if not before.endswith("const "):
                before = f"{before}const "
        elif level == PLAIN and not before.startswith("const "):
            before = f"const {before}"
        found = known[type_id] = (before, behind, level, mentioned, tag)
        return found

    def _chain(self, type_id: int) -> tuple[list[tuple[int, int, Words, int]], int]:
        """The references from a type downwards, and what they end at."""
        steps: list[tuple[int, int, Words, int]] = []
        current = type_id
        while current not in self.declarators:
            words, at = self.locate(current)
            kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
            if kind not in _STEPS:
                break
            steps.append((current, kind, words, at))
            if len(steps) > self.count:
                raise self.error(type_id, "it refers to itself")
            current = words[at + 3] if kind == ARRAY else words[at + 2]
        return steps, current

    def _wrap(self, inner: Declarator, steps: list[tuple[int, int, Words, int]]) -> Declarator:
        """The declarator of a chain's first type, from that of its bottom."""
        first_before, first_behind, level, mentioned, tag = inner
        front: list[str] = []  # to be reversed
        before, behind = [first_before], [first_behind]  # behind: to be reversed
        first = first_behind[:1]
        tagged: list[str] = []  # type tags that belong inside the parentheses of the next pointer
        for _, kind, words, at in reversed(steps):
            if kind == PTR:
                if first and first in "[(":
                    before += ["(", *tagged, "*"]
                    behind.append(")")
                    first = ")"
                else:
                    before.append("*")
                tagged.clear()
                level = POINTER
            elif kind == ARRAY:
                if self.is_hollow(words[at + 3]):
                    first_before, _, level, mentioned, tag = NO_ELEMENT
                    before, behind, front = [first_before], [], []
                    tagged.clear()
                behind.append(f"[{words[at + 5]}]")
                first = "["
            elif kind == TYPE_TAG:
                text = self.tags.on_type(self.spec.string(words[at]), attribute=bool(words[at + 1] & KIND_FLAG))
                if text:
                    (tagged if first and first in "[(" else before).append(f"{text} ")
            elif level == FUNCTION:
                continue
            elif level == POINTER:
                if not before[-1].endswith(_QUALIFIERS[kind]):
                    before.append(_QUALIFIERS[kind])
            elif kind != RESTRICT or self._points(words[at + 2]):
                word = _QUALIFIERS[kind]
                if word not in front and not first_before.startswith(word):
                    front.append(word)
        text = "".join([*reversed(front), *before])
        self.spend(len(text))
        return (text, "".join(reversed(behind)), level, mentioned, tag)

    def _points(self, type_id: int) -> bool:
        return self.kind_under(type_id) == PTR

    def is_hollow(self, type_id: int) -> bool:
        """Whether nothing is of that type: it is void, a function, or declared and not defined."""
        return self._hollow[type_id]

    def is_va_list(self, type_id: int) -> bool:
        """Whether it is the compiler's own type, which is void for some that make BTF."""
        current = type_id
        while current:
            words, at = self.locate(current)
            kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
            if kind not in PASSED:
                return False
            if kind == TYPEDEF and self.spec.string(words[at]) in _VA_LISTS:
                return True
            current = words[at + 2]
        return False

    def under(self, type_id: int) -> int:
        """The type under typedefs, qualifiers and type tags."""
        known = self._under
        path: list[int] = []
        current = type_id
        while current not in known:
            words, at = self.locate(current)
            if words[at + 1] >> KIND_SHIFT & KIND_MASK not in PASSED:
                known[current] = current
                break
            path.append(current)
            if len(path) > self.count:
                raise self.error(type_id, "it refers to itself")
            current = words[at + 2]
        found = known[current]
        for each in path:
            known[each] = found
        return found

    def kind_under(self, type_id: int) -> int:
        """The kind of what is `under` a type."""
        found = self.under(type_id)
        if not found:
            return VOID
        words, at = self.locate(found)
        return words[at + 1] >> KIND_SHIFT & KIND_MASK

    def _bottom(self, type_id: int, kind: int, words: Words, at: int, info: int) -> Declarator:
        if kind in (INT, FLOAT):
            return (f"{self.scalar(words, at)} ", "", PLAIN, (), "")
        if kind == TYPEDEF:
            return (f"{self.renamed.get(type_id) or self.names[words[at]]} ", "", PLAIN, (), "")
        keyword = TAG_KEYWORDS.get(kind)
        if kind == FWD:
            keyword = "union" if info & KIND_FLAG else "struct"
        if keyword is None:
            raise self.error(type_id, "it is no type of a variable")
        if not words[at] or not self.names[words[at]]:
            if kind == FWD:
                raise self.error(type_id, "a declaration without a name")
            return (f"{MARK}{type_id}{MARK_END} ", "", PLAIN, (), "")
        tag = f"{keyword} {self.name_of(type_id, words, at)}"
        return (f"{tag} ", "", PLAIN, (), "" if kind in (ENUM, ENUM64) else tag)

    def function(
        self, words: Words, at: int, count: int, tags: Mapping[int, Sequence[tuple[str, bool]]] | None = None
    ) -> Declarator:
        """``result name(parameters)``; the declarators of its parts are known.

        Args:
            words: the prototype's record,
            at: and where it starts.
            count: how many parameters it has.
            tags: declaration tags of parameters: their index -> texts, and whether they are attributes.
        """
        body = words[at + 3 : at + 3 + 2 * count]
        types = body[1::2]
        if any(body[0::2]):
            names = self.parameters(list(map(self.names.__getitem__, body[0::2])))
            around = map(self.declarators.__getitem__, types)
            texts = [
                f"{before}{name}{after}" if name else f"{before}{after}".rstrip()
                for (before, after, *_), name in zip(around, names, strict=True)
            ]
        else:  # those of pointers to functions have no names
            texts = list(map(self._alone.__getitem__, types))
        inner = [*chain.from_iterable(map(self._said.__getitem__, types))]
        voids = list(map(self._void.__getitem__, types))
        if any(voids):  # nothing, or anything
            for index, type_id in enumerate(types):
                if not type_id:
                    texts[index] = "void" if count == 1 else "..." if index == count - 1 else "int"
                elif voids[index]:
                    texts[index] = "int /* void */"
        if tags:
            for index, each in tags.items():
                if 0 <= index < count and types[index]:
                    texts[index] = " ".join([texts[index], *self.declared(each)])
        before, after, _, mentioned, tag = self.declarators[words[at + 2]]
        if self._no_result[words[at + 2]]:
            before, after, _, mentioned, tag = NO_RESULT
        behind = f"({', '.join(texts) or 'void'}){after}"
        self.spend(len(behind))
        if mentioned:
            inner[0:0] = mentioned
        return (before, behind, FUNCTION, tuple(dict.fromkeys(inner)) if inner else (), tag)

    def declared(self, tags: Sequence[tuple[str, bool]]) -> list[str]:
        """Declaration tags as C."""
        texts = (self.tags.on_declaration(text, attribute=attribute) for text, attribute in tags)
        return [text for text in texts if text]

    def spend(self, length: int, least: int = 0) -> None:
        """Count text that was made.

        Args:
            length: how much it is.
            least: what must be left then.

        Raises:
            BtfError: it is too much.
        """
        self.budget -= length
        if self.budget < max(least, 0):
            raise BtfError("as C, its types would be out of all proportion long", source=self.spec.name or "BTF")

    def error(self, type_id: int, why: str) -> BtfError:
        """An error about one type."""
        return BtfError(f"{describe_with_id(self.spec, type_id)}: {why}", source=self.spec.name or "BTF")


class _Answers(dict[int, bool]):
    """Type id -> whether the kind under it is one of some; found when asked for."""

    def __init__(self, declarators: Declarators, kinds: set[int]) -> None:
        self.declarators, self.kinds = declarators, kinds

    def __missing__(self, type_id: int) -> bool:
        declarators = self.declarators
        found = self[type_id] = declarators.kind_under(type_id) in self.kinds and not declarators.is_va_list(type_id)
        return found


class _Alone(dict[int, str]):
    """Type id -> the text of a parameter without a name; its declarator is known."""

    def __init__(self, declarators: dict[int, Declarator]) -> None:
        self.declarators = declarators

    def __missing__(self, type_id: int) -> str:
        before, behind, *_ = self.declarators[type_id]
        self[type_id] = text = f"{before}{behind}".rstrip()
        return text


class _Said(dict[int, tuple[str, ...]]):
    """Type id -> the tags that a parameter of that type mentions; its declarator is known."""

    def __init__(self, declarators: dict[int, Declarator]) -> None:
        self.declarators = declarators

    def __missing__(self, type_id: int) -> tuple[str, ...]:
        *_, mentioned, tag = self.declarators[type_id]
        self[type_id] = said = (*mentioned, tag) if tag else mentioned
        return said
