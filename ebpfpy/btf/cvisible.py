"""Which names the members of a struct share a scope with: those of unnamed structs in it, at any depth.

C finds ``s.a`` in ``struct s { union { int a; }; }`` as if it were the outer one's, so no other member of `s` may have
that name. BTF that no C compiler made can have two; then an unnamed member gets a name, and what is in it is out of the
way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .cnames import Scope
from .kinds import VLEN_MASK

if TYPE_CHECKING:
    from .clayout import Layout, Named

_LARGE = 64
"""Names from which on a set is not copied."""


class Visible:
    """The names that are visible in structs and unions.

    Args:
        layout: whose types.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._names: dict[int, set[str]] = {}  # a large set moves on to the first type that contains its own
        self._final: dict[int, set[str]] = {}  # of types that were taken apart
        self._known: set[int] = set()
        self._clashing: set[int] = set()

    def clashes(self, type_id: int) -> bool:
        """Whether two of the names that are visible in a struct or union are equal, or in an unnamed one in it."""
        if type_id not in self._known:
            self._collect(type_id)
        return type_id in self._clashing

    def apart(self, type_id: int, members: list[Named]) -> list[Named]:
        """The members, of which those that are unnamed and would bring a name twice have names.

        Args:
            type_id: whose members; what is in it was taken apart before.
            members: those with a name have different ones.
        """
        scope = Scope(dict.fromkeys((each[0] for each in members), 1))
        used = set(scope)
        made: list[Named] = []
        for name, member, offset, width, tags in members:
            called = name
            if not name and not width:
                inner = self._visible(member)
                if used.isdisjoint(inner):
                    used |= inner
                else:
                    while not called or called in used:
                        called = scope.claim("unnamed")
                    used.add(called)
            made.append((called, member, offset, width, tags))
        used.discard("")
        self._layout.spend(len(used))
        self._final[type_id] = used
        self._known.add(type_id)
        self._clashing.add(type_id)
        return made

    def _visible(self, type_id: int) -> set[str]:
        if type_id in self._final:
            return self._final[type_id]
        if type_id not in self._names:
            self._collect(type_id)
        return self._names[type_id]

    def _collect(self, type_id: int) -> None:
        """Find the names in a type, and in those in it."""
        found, final = self._names, self._final
        stack, inside = [type_id], set[int]()
        while stack:
            current = stack[-1]
            if current in found:
                stack.pop()
                continue
            own, inner = self._members(current)
            missing = [each for each in inner if each not in found and each not in final and each not in inside]
            if missing:
                inside.add(current)
                stack += missing
                continue
            stack.pop()
            inside.discard(current)
            # what contains itself is an error elsewhere
            parts = [final.get(each) or found.get(each) or set() for each in inner]
            count = len(own) + sum(map(len, parts))
            largest = max(inner, key=lambda each: len(found.get(each, ())), default=0)
            names = set[str]()
            if len(found.get(largest, ())) > _LARGE:
                names = found.pop(largest)
                self._layout.spend(-len(names))
            names.update(own, *parts)
            if count != len(names) or len(set(own)) != len(own) or not self._clashing.isdisjoint(inner):
                self._clashing.add(current)
            self._layout.spend(len(names))
            found[current] = names
            self._known.add(current)

    def _members(self, type_id: int) -> tuple[list[str], list[int]]:
        """The names that a type's own members have, and the structs and unions that members without one are."""
        layout = self._layout
        words, at = layout.locate(type_id)
        body = words[at + 3 : at + 3 + 3 * (words[at + 1] & VLEN_MASK)]
        names = list(map(layout.names.__getitem__, body[0::3]))
        if "" not in names:
            return names, []
        unnamed = [member for name, member in zip(names, body[1::3], strict=True) if not name]
        inner = [each for each in map(layout.composite_under, unnamed) if each is not None]
        return [name for name in names if name], inner
