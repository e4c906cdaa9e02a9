"""Names that resemble one that is missing, out of very many: a question costs the same, however many there are."""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_LONGEST = 64  # of a longer name only the start is compared, and none is proposed
_LENGTHS = 6  # difference in length that is worth a comparison
_PREFIX = 3  # names that begin alike are compared first
_COMPARED = 1000


class NearNames:
    """Names to be proposed, by their lengths and beginnings."""

    __slots__ = ("_alike", "_every")

    def __init__(self, names: Iterable[str]) -> None:
        self._every: dict[int, list[str]] = {}
        self._alike: dict[tuple[int, str], list[str]] = {}
        for name in dict.fromkeys(names):
            if len(name) <= _LONGEST:
                self._every.setdefault(len(name), []).append(name)
                self._alike.setdefault((len(name), name[:_PREFIX]), []).append(name)

    def like(self, name: str) -> tuple[str, ...]:
        """Up to three that resemble a name, which is none of them; best first."""
        import difflib

        start = name[:_PREFIX]
        lengths = sorted(range(len(name) - _LENGTHS, len(name) + _LENGTHS + 1), key=lambda n: abs(n - len(name)))
        alike = chain.from_iterable(self._alike.get((length, start), ()) for length in lengths)
        others = chain.from_iterable(self._every.get(length, ()) for length in lengths)
        # those that begin alike come again among the others: twice as many are looked at, at most
        pool = dict.fromkeys(each for each in islice(chain(alike, others), 2 * _COMPARED) if each != name)
        return tuple(difflib.get_close_matches(name[:_LONGEST], list(islice(pool, _COMPARED)), n=3))
