"""Which types have exactly the same structure: all of them at once, in n log n steps.

`ebpfpy.btf.equivalence` compares types two by two, which is fast as long as few look alike. Where thousands do (a list
of a thousand nodes, each a struct of its own, all of one name: they differ in their distance from the end), this
sorts them into classes instead, as automata are minimised (Hopcroft 1971):

    Start with classes of types that are equal by themselves: kind, name, sizes, offsets, number of members. Take a
    class, and see who refers to its types, say as third member. A class of which some do and some do not falls apart.
    Go on with the smaller part: whoever the larger one would tell apart, the smaller one does. When no class falls
    apart any more, types of one class are equal.

Each type is in the smaller part at most log n times, so each reference is looked at that often.

A declaration is a type of its own here, and equal only to others of its name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .kinds import VLEN_MASK, Kind

if TYPE_CHECKING:
    from .equivalence import Table

_ARRAY, _FUNC_PROTO, _FWD, _DECL_TAG = (int(k) for k in (Kind.ARRAY, Kind.FUNC_PROTO, Kind.FWD, Kind.DECL_TAG))
_COMPOSITES = frozenset((int(Kind.STRUCT), int(Kind.UNION)))
_ENUMS = frozenset((int(Kind.ENUM), int(Kind.ENUM64)))
_ONE_TARGET = frozenset(
    int(kind)
    for kind in (
        Kind.PTR,
        Kind.TYPEDEF,
        Kind.VOLATILE,
        Kind.CONST,
        Kind.RESTRICT,
        Kind.FUNC,
        Kind.TYPE_TAG,
        Kind.DECL_TAG,
    )
)


class Classes:
    """The classes of equal types of a table, whose primitive types are settled.

    Attributes:
        of: the number of the class of each type, by id.
        guessing: for each type whether it reaches a declaration, so that it could be equal to a type of another class.
    """

    def __init__(self, table: Table) -> None:
        self._table = table
        count = len(table.kinds)
        self.of = [0] * count
        self._members: list[set[int]] = []
        self._referrers: list[list[tuple[int, int]]] = [[] for _ in range(count)]  # who, as which of its references
        self._start()
        self._refine()
        self.guessing = self._reach_declarations()

    def _look(self, type_id: int) -> tuple[tuple[int, ...], list[int]]:
        """What a type is by itself, and the types that it refers to."""
        table = self._table
        words, start, end = table.words, table.starts[type_id], table.starts[type_id + 1]
        kind, name, info = table.kinds[type_id], words[start], words[start + 1]
        if kind in _COMPOSITES:
            return table.shell(type_id), words[start + 4 : end : 3]
        if kind in _ONE_TARGET:
            return (info, name, words[start + 3] if kind == _DECL_TAG else 0), [words[start + 2]]
        if kind == _ARRAY:
            return (info, words[start + 5]), words[start + 3 : start + 5]
        if kind == _FUNC_PROTO:
            return (info, *words[start + 3 : end : 2]), [words[start + 2], *words[start + 4 : end : 2]]
        return (-1, table.find(type_id)), []

    def _start(self) -> None:
        numbers: dict[tuple[int, ...], int] = {}
        for type_id in range(len(self.of)):
            look, targets = self._look(type_id)
            number = self.of[type_id] = numbers.setdefault(look, len(numbers))
            if number == len(self._members):
                self._members.append(set())
            self._members[number].add(type_id)
            for place, target in enumerate(targets):
                self._referrers[target].append((type_id, place))

    def _refine(self) -> None:
        of, members, referrers = self.of, self._members, self._referrers
        todo = list(range(len(members)))
        waiting = set(todo)
        while todo:
            splitter = todo.pop()
            waiting.discard(splitter)
            by_place: dict[int, list[int]] = {}
            for target in members[splitter]:
                for referrer, place in referrers[target]:
                    by_place.setdefault(place, []).append(referrer)
            for those in by_place.values():
                touched: dict[int, list[int]] = {}
                for referrer in those:
                    touched.setdefault(of[referrer], []).append(referrer)
                for old, part in touched.items():
                    if len(part) == len(members[old]):
                        continue
                    new = len(members)
                    members.append(set(part))
                    members[old].difference_update(part)
                    for each in part:
                        of[each] = new
                    smaller = new if old in waiting or len(part) <= len(members[old]) else old
                    todo.append(smaller)
                    waiting.add(smaller)

    def _reach_declarations(self) -> bytearray:
        table = self._table
        words, starts = table.words, table.starts
        found = bytearray(len(self.of))
        todo = [
            type_id
            for type_id, kind in enumerate(table.kinds)
            if kind == _FWD or (kind in _ENUMS and not words[starts[type_id] + 1] & VLEN_MASK)
        ]
        while todo:
            type_id = todo.pop()
            if not found[type_id]:
                found[type_id] = 1
                todo += [referrer for referrer, _ in self._referrers[type_id]]
        return found
