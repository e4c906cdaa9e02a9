"""Types as text for comparisons: what has no name is spelled out, positions included.

A change of an unnamed struct behind a pointer can be told in the pointer's type only:
``struct {int a @ 0; int b @ 4; 8 bytes} *``. Equal texts are equal contents. A long one
ends early, with a digest of all of it.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError

from .cdecl import MARKED, Writer
from .cdeclarator import MARK, TAG_KEYWORDS, Declarator
from .cwords import ARRAY, COMPOSITES, DECORATIONS, TYPEDEF, enum_values
from .kinds import KIND_MASK, KIND_SHIFT, VLEN_MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from .cnames import Identifiers
    from .cwords import Words
    from .spec import Spec

_LONG = 600
"""Characters of an unnamed type from which on it is shortened."""
_SHOWN = 300
_NATURAL_ENUM = 4
"""Bytes of an enum whose size is not worth a word."""


class Spelling(Writer):
    """Spells the types of one spec; the names are those that BTF has."""

    def __init__(self, spec: Spec, names: Identifiers, locate: Callable[[int], tuple[Words, int]]) -> None:
        super().__init__(spec, names, locate)
        self._bodies: dict[int, str] = {}
        self._spelled: dict[int, str] = {}

    def spelled(self, type_id: int) -> str:
        """A type in C, with all that has no name spelled out.

        Raises:
            BtfError: the type cannot be written: a type without a name refers to itself.
        """
        found = self._spelled.get(type_id)
        if found is None:
            before, behind, *_ = self.declarator(type_id)
            text = f"{before}{behind}"
            if MARK in text:
                self._spell(text)
                text = self._filled(text)
            found = self._spelled[type_id] = text.rstrip()
        return found

    def function(
        self, words: Words, at: int, count: int, tags: Mapping[int, Sequence[tuple[str, bool]]] | None = None
    ) -> Declarator:
        """As everywhere; but what takes no parameters, and what says nothing of them, differ: ``(void)``, ``()``."""
        before, behind, level, mentioned, tag = super().function(words, at, count, tags)
        if count == 1 and not words[at + 4]:
            behind = behind.replace("(void)", "()", 1)
        return before, behind, level, mentioned, tag

    def values(self, words: Words, at: int, info: int, kind: int) -> Iterator[tuple[str, int]]:
        """Names and values of an enum's enumerators."""
        offsets, values = enum_values(words, at, info, kind, words[at + 2])
        return zip(map(self.names.__getitem__, offsets), values, strict=True)

    def _filled(self, text: str) -> str:
        return MARKED.sub(lambda match: self._bodies[int(match.group(1))], text)

    def _spell(self, text: str) -> None:
        """Make the bodies of all that is marked in a text; those inside of others first."""
        bodies = self._bodies
        stack = _marks(text)
        entered: set[int] = set()
        while stack:
            current = stack[-1]
            if current in bodies:
                stack.pop()
                continue
            body = self._body(current)
            missing = [each for each in _marks(body) if each not in bodies]
            if not missing:
                stack.pop()
                body = self._filled(body)
                if len(body) > _LONG:
                    digest = blake2b(body.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
                    body = f"{body[:_SHOWN]}... all of it: {digest}}}"
                self.spend(len(body))
                bodies[current] = body
            elif current in entered:
                raise self.error(current, "it refers to itself and has no name")
            else:
                entered.add(current)
                stack += missing

    def _body(self, type_id: int) -> str:
        words, at = self.locate(type_id)
        info, size = words[at + 1], words[at + 2]
        kind = info >> KIND_SHIFT & KIND_MASK
        if kind not in COMPOSITES:
            ending = "" if size == _NATURAL_ENUM else f"; {size} bytes"
            return f"enum {{{', '.join(f'{n} = {v}' for n, v in self.values(words, at, info, kind))}{ending}}}"
        self.weigh(type_id)  # so that bitfields of old compilers are seen
        parts = []
        for name_off, member, offset, width in self.members(words, at, info):
            before, behind, *_ = self.declarator(member)
            text = f"{before}{self.names[name_off]}{behind}".rstrip()
            place = f"{offset // 8}:{offset % 8}" if offset % 8 else f"{offset // 8}"
            parts.append(f"{text}:{width} @ {place}" if width else f"{text} @ {place}")
        return f"{TAG_KEYWORDS[kind]} {{{'; '.join([*parts, f'{size} bytes'])}}}"

    def weigh(self, type_id: int) -> None:
        """Find the sizes of all that is inside a type, without the texts of a header.

        Raises:
            BtfError: it contains itself.
        """
        sizes = self.sizes
        stack, entered = [type_id], set[int]()
        while stack:
            current = stack[-1]
            if current in sizes:
                stack.pop()
                continue
            words, at = self.locate(current)
            info = words[at + 1]
            kind = info >> KIND_SHIFT & KIND_MASK
            if kind in COMPOSITES:
                sizes[current] = words[at + 2]
                stack.pop()
                stack += [each for each in words[at + 4 : at + 3 + 3 * (info & VLEN_MASK) : 3] if each not in sizes]
                continue
            part = words[at + 2] if kind in DECORATIONS or kind == TYPEDEF else words[at + 3] if kind == ARRAY else 0
            if part in sizes:
                stack.pop()
                self.aligns.setdefault(part, 1)
                self.settle(current, words, at, info)
            elif current in entered:
                raise BtfError(f"type [{current}] contains itself", source=self.spec.name)
            else:
                entered.add(current)
                stack.append(part)


def _marks(text: str) -> list[int]:
    return [int(each) for each in MARKED.findall(text)] if MARK in text else []
