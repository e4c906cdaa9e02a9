"""In which order the types of a header are written.

C wants a type declared before it is mentioned, and defined before it is contained. Two questions can be asked of a
type, and each is answered once, depth first, before the text that depends on it:

* *complete*: may a variable of it stand here? A struct is complete when its members are, and it was written.
* *mention*: may a pointer to it stand here? A struct, union or enum with a tag always may. A typedef must have been
  written. The elements of an array must be complete even behind a pointer, as the members of a struct without a tag.

What goes round in circles by value has no size: an error. Most types of a kernel are answered for in bulk, as pointers
to structs are, and never walked to.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from itertools import compress, repeat
from operator import mod
from typing import TYPE_CHECKING, Any

from ebpfpy.errors import BtfError

from .cdecl import Writer
from .cdeclarator import LONG, PLAIN, POINTER
from .cnames import Identifiers
from .cscalars import ENUM_MODES, alignments, is_c_integer
from .cwords import (
    ARRAY,
    COMPOSITES,
    CONST,
    DECORATIONS,
    ENUM,
    ENUM64,
    FLOAT,
    FUNC_PROTO,
    FWD,
    INT,
    PTR,
    STRUCT,
    TYPEDEF,
    UNION,
    Records,
    pick,
)
from .kinds import VLEN_MASK
from .text import describe_with_id

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .ccolumns import Columns
    from .spec import Spec


class Order(Writer, ABC):
    """Asks the two questions of types, and has those written that an answer depends on."""

    columns: Columns

    def __init__(self, spec: Spec) -> None:
        names = Identifiers(spec)
        names.fill()
        self.records = records = Records(spec)
        self.words, self.starts, self.kinds = records.words, records.starts, records.kinds
        super().__init__(spec, names, records.locate)
        self.first_id = spec.first_id
        # a byte for each type: 1 if the question was answered with yes; 1 if it is being looked into
        self.mentionable, self.complete = bytearray(len(self.starts)), bytearray(len(self.starts))
        self.mentioning, self.completing = bytearray(len(self.starts)), bytearray(len(self.starts))
        self.mentionable[0] = self.complete[0] = 1
        self.targets: list[int] = []  # what the own pointers point to
        self.functions: list[tuple[int, int]] = []  # pointers to functions, and the prototypes

    # --- what a header does -----------------------------------------------------------------------

    @abstractmethod
    def write_typedef(self, type_id: int, start: int) -> None:
        """Called when all that a typedef mentions was written."""

    @abstractmethod
    def write_composite(self, type_id: int, start: int, kind: int) -> None:
        """Called when all that a struct or union with a tag contains was written."""

    @abstractmethod
    def write_plain(self, type_id: int, rows: tuple[int, int]) -> None:
        """`write_composite` for one whose members are rows of `columns`."""

    # --- in bulk ----------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Declarators and answers for most types at once, which is a few times faster than one by one."""
        records, words, starts, names = self.records, self.words, self.starts, self.names
        renamed, known, kinds = self.renamed, self.declarators, self.kinds
        mentionable, complete = self.mentionable, self.complete
        enums = records.own(ENUM, ENUM64)
        for keyword, kinds_of in (
            ("", (TYPEDEF,)),
            ("struct ", (STRUCT,)),
            ("union ", (UNION,)),
            ("enum ", (ENUM, ENUM64)),
        ):
            ids = records.own(*kinds_of)
            offsets = records.column(ids, 0)
            if keyword:
                ids, offsets = list(compress(ids, offsets)), list(filter(None, offsets))
                for type_id in ids:
                    mentionable[type_id] = 1
            called = map(renamed.get, ids, map(names.__getitem__, offsets))
            tags = [f"{keyword}{name} " for name in called]
            ends = map(str.rstrip, tags) if keyword and keyword != "enum " else repeat("")
            known.update(zip(ids, zip(tags, repeat(""), repeat(PLAIN), repeat(()), ends), strict=False))
        for type_id, size in zip(enums, records.column(enums, 2), strict=True):
            self.sizes[type_id] = size
            if size not in ENUM_MODES:
                self.unlike.add(type_id)
            self.aligns[type_id], most = alignments(size, self.pointer_size)
            if most != self.aligns[type_id]:
                self.loose[type_id] = most
            mentionable[type_id] = complete[type_id] = 1
        for type_id in records.own(INT, FLOAT, FWD):
            start = starts[type_id]
            self.settle(type_id, words, start, words[start + 1])
            if kinds[type_id] == INT:  # what is no number of C becomes a typedef, but only if it is used
                name = self.spec.string(words[start])
                if is_c_integer(name, words[start + 2], self.pointer_size):
                    known[type_id] = (f"{name} ", "", PLAIN, (), "")
            elif words[start] and kinds[type_id] != FLOAT:
                self.declarator(type_id)
            mentionable[type_id] = complete[type_id] = 1
        for type_id in records.own(CONST):
            target = words[starts[type_id] + 2]
            inner = known.get(target)
            if inner is not None and not inner[2]:
                before, _, _, mentioned, tag = inner
                if not before.startswith("const "):
                    known[type_id] = (f"const {before}", "", PLAIN, mentioned, tag)
                    mentionable[type_id] = mentionable[target]
        self._prepare_references()

    def _prepare_references(self) -> None:
        records, words, starts = self.records, self.words, self.starts
        known, kinds, mentionable, complete = self.declarators, self.kinds, self.mentionable, self.complete
        pointers = records.own(PTR)
        targets = self.targets = records.column(pointers, 2)
        self.sizes.update(dict.fromkeys(pointers, self.pointer_size))
        ready: list[int] = []
        for type_id, target in zip(pointers, targets, strict=True):
            if target in known:
                before, behind, _, mentioned, tag = known[target]
                if not behind and len(before) < LONG:  # the text of a long chain is counted
                    known[type_id] = (f"{before}*", "", POINTER, mentioned, tag)
                    if mentionable[target]:
                        mentionable[type_id] = complete[type_id] = 1
                        ready.append(type_id)
            elif target < len(kinds) and kinds[target] == FUNC_PROTO:
                self.functions.append((type_id, target))
        self.aligns.update(dict.fromkeys(ready, 8 * self.pointer_size))  # a size it has before it may stand anywhere
        for type_id in records.own(ARRAY):
            start = starts[type_id]
            inner = known.get(words[start + 3])
            if inner is not None and not inner[1] and not self.is_hollow(words[start + 3]):
                before, _, level, mentioned, tag = inner
                known[type_id] = (before, f"[{words[start + 5]}]", level, mentioned, tag)
        for type_id, proto in self.functions:
            start = starts[proto]
            count = words[start + 1] & VLEN_MASK
            if words[start + 2] in known and all(map(known.__contains__, words[start + 4 : start + 3 + 2 * count : 2])):
                before, behind, _, mentioned, tag = self.function(words, start, count)
                known[type_id] = (f"{before}(*", f"){behind}", POINTER, mentioned, tag)

    def mark_pointers(self) -> None:
        """Answer for the pointers to all that may be mentioned once the typedefs are written."""
        words, starts = self.words, self.starts
        mentionable, complete = self.mentionable, self.complete
        ready: list[int] = []
        pointers = self.records.own(PTR)
        in_range = self.targets if max(self.targets, default=0) < len(mentionable) else []  # else the walk says which
        for type_id in compress(pointers, pick(mentionable, in_range)):
            if not complete[type_id]:
                mentionable[type_id] = complete[type_id] = 1
                ready.append(type_id)
        is_mentionable = mentionable.__getitem__
        for type_id, proto in self.functions:
            start = starts[proto]
            last = start + 3 + 2 * (words[start + 1] & VLEN_MASK)
            try:
                if mentionable[words[start + 2]] and all(map(is_mentionable, words[start + 4 : last : 2])):
                    mentionable[proto] = mentionable[type_id] = complete[type_id] = 1
                    ready.append(type_id)
            except IndexError:
                continue  # the walk says which
        self.aligns.update(dict.fromkeys(ready, 8 * self.pointer_size))

    # --- one by one -------------------------------------------------------------------------------

    def walk(self, roots: Iterable[int]) -> None:
        """Write all that is missing to mention, or to contain, types.

        A question is a number: type id << 1, + 1 for "complete" instead of "mention".
        """
        words, starts, kinds, first = self.words, self.starts, self.kinds, self.first_id
        mentionable, complete, completing = self.mentionable, self.complete, self.completing
        alignment, plain, all_types = self.aligns.get, self.columns.plain, self.columns.types
        stack: list[int] = []
        push, pop = stack.append, stack.pop
        try:
            for root in roots:
                push(root)
                while stack:
                    key = pop()
                    current = key >> 1
                    if (complete if key & 1 else mentionable)[current]:
                        continue
                    kind, start = kinds[current], starts[current]
                    if not key & 1 or kind not in COMPOSITES:
                        missing = self._missing_parts(kind, start, key)
                        if missing:
                            self._enter(current, completing if key & 1 else self.mentioning)
                            push(key)
                            stack += missing
                        elif key & 1:
                            complete[current] = 1
                            self.settle(current, words, start, words[start + 1])
                        else:
                            mentionable[current] = 1
                            if kind == TYPEDEF and current >= first:
                                self.write_typedef(current, start)
                        continue
                    rows = plain.get(current)
                    if rows is not None:
                        types = all_types[rows[0] : rows[1]]
                    else:
                        types = words[start + 4 : start + 3 + 3 * (words[start + 1] & VLEN_MASK) : 3].tolist()
                    aligned = list(map(alignment, types))
                    if None in aligned:
                        self._enter(current, completing)
                        push(key)
                        stack += [each << 1 | 1 for each in types[::-1] if not complete[each]]
                        continue
                    complete[current] = 1
                    if rows is not None and self._is_aligned(current, start, rows, types, aligned):
                        if words[start]:
                            self.write_plain(current, rows)
                        continue
                    self.settle(current, words, start, words[start + 1])
                    if current >= first and words[start]:
                        self.write_composite(current, start, kind)
        except IndexError:
            raise BtfError(
                f"{describe_with_id(self.spec, current)} refers to an id that no type has",
                source=self.spec.name or "BTF",
            ) from None

    def _enter(self, type_id: int, busy: bytearray) -> None:
        if busy[type_id]:
            raise self.error(type_id, "it contains itself, or is declared by itself")
        busy[type_id] = 1

    def _is_aligned(
        self, type_id: int, start: int, rows: tuple[int, int], types: list[int], aligned: list[Any]
    ) -> bool:
        """Settle a struct or union if its members are where they are by nature; else it is not plain."""
        columns, aligns, total = self.columns, self.aligns, self.words[start + 2]
        align = max(aligned)
        if (
            8 * total % align
            or any(map(mod, columns.offsets[rows[0] : rows[1]], aligned))
            or (self.loose and not self.loose.keys().isdisjoint(types))
        ):
            del columns.plain[type_id]
            return False
        self.sizes[type_id], aligns[type_id] = total, align
        return True

    def _missing_parts(self, kind: int, start: int, key: int) -> list[int]:
        """The questions that the answer to one depends on, the first one last; not for whether a struct is complete."""
        words, mentionable, complete = self.words, self.mentionable, self.complete
        if kind == PTR:
            target = words[start + 2]
            return [] if mentionable[target] else [target << 1]
        if kind == TYPEDEF:
            if not key & 1:
                target = words[start + 2]
                return [] if mentionable[target] else [target << 1]
            parts = [words[start + 2] << 1 | 1, key & ~1]
        elif kind == ARRAY:
            element = words[start + 3]
            return [] if complete[element] else [element << 1 | 1]
        elif kind in DECORATIONS:
            parts = [words[start + 2] << 1 | key & 1]
        elif kind == FUNC_PROTO:
            last = start + 2 + 2 * (words[start + 1] & VLEN_MASK)
            parts = [*(param << 1 for param in words[last : start + 3 : -2]), words[start + 2] << 1]
        elif kind in COMPOSITES and not words[start]:
            parts = [key | 1]
        else:
            return []
        return [part for part in parts if not (complete if part & 1 else mentionable)[part >> 1]]
