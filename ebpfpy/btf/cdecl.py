"""Types as C declarations: structs, unions and enums spelled out, given what others are called.

`cdeclarator` writes a type around a name, `clayout` works out what keeps members in their places, and here is the text
between braces. Types without a name are spelled in the places that declarators marked for them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .cdeclarator import FREE_TEXT, MARK, TAG_KEYWORDS
from .clayout import Layout
from .cnames import Scope
from .cscalars import ENUM_MODES
from .cwords import ENUM, ENUM64, enum_values
from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT

if TYPE_CHECKING:
    from .clayout import Shape
    from .cwords import Words

MARKED = re.compile("\x01([0-9]+)\x02")
MOST_TABS = 64
_BODY_COST = 256
"""Characters of text that take as long as one more body inside of another."""


class Writer(Layout):
    """Writes declarations of the types of one spec and its bases; arguments as for `Declarators`."""

    def enumerators(self, names: list[str]) -> list[str]:
        """What the enumerators of these names are called; a header decides otherwise."""
        if "" not in names and len(set(names)) == len(names):
            return names
        scope, used = Scope(dict.fromkeys(names, 1)), set[str]()
        made = []
        for name in names:
            made.append(scope.claim(name or "unnamed") if not name or name in used else name)
            used.add(name)
        return made

    def body(self, type_id: int, tabs: int, name: str) -> str:
        """A struct, union or enum spelled out; bodies inside of it are marked, see `expand`."""
        words, at = self.locate(type_id)
        info = words[at + 1]
        kind = info >> KIND_SHIFT & KIND_MASK
        if kind in (ENUM, ENUM64):
            return self._enum(words, at, info, kind, tabs, name)
        shape = self.shape(type_id)
        self.mentioned(shape.inner)
        head = f"{TAG_KEYWORDS[kind]} {name} {{" if name else f"{TAG_KEYWORDS[kind]} {{"
        end = f"}}{self.ending(type_id, shape.packed)}"
        if not shape.text:
            return head + end
        if not tabs:
            return f"{head}{shape.text}\n{end}"
        indent = "\n" + "\t" * min(tabs, MOST_TABS)
        return "".join((head, shape.text.replace("\n", indent), indent, end))

    def shape(self, type_id: int) -> Shape:
        """The shape of a struct or union."""
        if type_id not in self.shapes:
            self.measure(type_id)
        return self.shapes[type_id]

    def mentioned(self, inner: tuple[str, ...]) -> None:
        """Called for what is written: the tags that its parameter lists mention."""

    def ending(self, type_id: int, packed: bool) -> str:
        """What stands behind the brace: attributes and tags of a struct or union."""
        text = " __attribute__((packed))" if packed else ""
        own = self.tags_on(type_id).get(-1)
        return "".join([text, *(f" {each}" for each in self.declared(own))]) if own else text

    def _enum(self, words: Words, at: int, info: int, kind: int, tabs: int, name: str) -> str:
        size = words[at + 2]
        offsets, numbers = enum_values(words, at, info, kind, size)
        suffix = "," if kind != ENUM64 else "LL," if info & KIND_FLAG else "ULL,"
        names = self.enumerators(list(map(self.names.__getitem__, offsets)))
        lines = [f"{each} = {value}{suffix}" for each, value in zip(names, numbers, strict=True)]
        if kind == ENUM64:  # C has no literal for the lowest number
            lines = [line.replace("-9223372036854775808LL", "-9223372036854775807LL - 1") for line in lines]
        attribute = ""
        if size != 4 or kind == ENUM64:
            low, high = min(numbers, default=0), max(numbers, default=0)
            wide = low < -(1 << 31) or high >= 1 << 32 or (low < 0 and high >= 1 << 31)
            attribute = (
                ""
                if size == (8 if wide else 4)
                else ENUM_MODES.get(size, f" /* of {size} bytes, which C does not have */")
            )
        if not lines:
            lines = [f"{self.enumerators([f'{name}___empty'])[0]} = 0,"]
        indent = "\n" + "\t" * min(tabs, MOST_TABS)
        between = f"{indent}\t"
        return f"enum {name + ' ' if name else ''}{{{between}{between.join(lines)}{indent}}}{attribute}"

    def expand(self, text: str) -> str:
        """The text with every marked type spelled out in its place.

        Raises:
            BtfError: the text would be out of all proportion, or endless: a type without a name refers to itself.
        """
        if MARK not in text:
            return text
        texts = MARKED.split(text)  # text, id, text, id, ... text
        if all(before.endswith("\n\t") for before in texts[:-1:2]):  # nearly always: the members of one struct
            bodies = [self.body(int(type_id), 1, "") for type_id in texts[1::2]]
            texts[1::2] = bodies
            text = "".join(texts)
            self.spend(len(text))
            if MARK not in text:
                return text
        done: list[str] = []
        rest: list[str | int] = [text]
        inside: set[int] = set()
        tabs = 0  # of the line that is being written
        least = self.budget - FREE_TEXT  # one declaration is no longer, however large the spec is
        while rest:
            part = rest.pop()
            if isinstance(part, int):
                if part < 0:  # the end of what -part marked
                    inside.discard(-part)
                    continue
                if part in inside:
                    raise self.error(part, "it refers to itself and has no name, which C cannot say")
                inside.add(part)
                rest.append(-part)
                part = self.body(part, tabs, "")
                self.spend(len(part) + _BODY_COST, least)
            if MARK in part:
                texts = MARKED.split(part)  # text, id, text, id, ... text
                texts[1::2] = map(int, texts[1::2])
                rest += reversed(texts)
                continue
            done.append(part)
            line = part.rfind("\n") + 1
            if line:
                tabs = line
                while part[tabs : tabs + 1] == "\t":
                    tabs += 1
                tabs -= line
        return "".join(done)
