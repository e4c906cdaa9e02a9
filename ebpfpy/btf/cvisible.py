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


class Visible:
    """The names that are visible in structs and unions.

    Args:
        layout: whose types.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._names: dict[int, set[str]] = {}
        self._clashing: set[int] = set()

    def clashes(self, type_id: int) -> bool:
        """Whether two of the names that are visible in a struct or union are equal, or in an unnamed one in it."""
        if type_id not in self._names:
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
                self.clashes(member)
                inner = self._names[member]
                if used.isdisjoint(inner):
                    used |= inner
                else:
                    while not called or called in used:
                        called = scope.claim("unnamed")
                    used.add(called)
            made.append((called, member, offset, width, tags))
        used.discard("")
        self._names[type_id] = used
        self._clashing.add(type_id)
        return made

    def _collect(self, type_id: int) -> None:
        layout, known = self._layout, self._names
        stack, entered = [type_id], set[int]()
        while stack:
            current = stack[-1]
            if current in known:
                stack.pop()
                continue
            words, at = layout.locate(current)
            body = words[at + 3 : at + 3 + 3 * (words[at + 1] & VLEN_MASK)]
            names = list(map(layout.names.__getitem__, body[0::3]))
            inner = list[int]()
            if "" in names:
                under = (
                    layout.composite_under(member) for name, member in zip(names, body[1::3], strict=True) if not name
                )
                inner = [each for each in under if each is not None]
            missing = [each for each in inner if each not in known and each not in entered]
            if missing:
                entered.add(current)
                stack += missing
                continue
            stack.pop()
            found = set(names)
            found.discard("")
            count = len(names) - names.count("")
            for each in inner:
                more = known.get(each, ())  # it contains itself: an error elsewhere
                count += len(more)
                found.update(more)
            if count != len(found) or not self._clashing.isdisjoint(inner):
                self._clashing.add(current)
            layout.spend(len(found))
            known[current] = found
