"""Records of equal length as words side by side: what .BTF.ext tells, as the kernel takes it.

An object of thirty programs has hundreds of line records, which somebody looks at only when the verifier refuses a
program. So they stay words, are cut and shifted as words, and are handed to the kernel as they are; a tuple is made of
the one that is asked for.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar, overload

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = TypeVar("Row", bound=tuple[int, ...])


class Rows(Sequence[Row]):
    """A sequence of tuples of `width` words each; immutable, and equal to a tuple of the same tuples.

    Args:
        words: all of them, in this machine's byte order. Kept: it must not change any more.
        width: words of one record.
        kind: the named tuple that the records are.
        firsts: the first word of each, where it is known.
    """

    __slots__ = ("_firsts", "_kind", "width", "words")

    def __init__(self, words: array[int], width: int, kind: type[Any] = tuple, firsts: list[int] | None = None) -> None:
        self.words = words
        self.width = width
        self._kind = kind
        self._firsts = firsts

    @property
    def firsts(self) -> list[int]:
        """The first word of each record: its place in the code."""
        if self._firsts is None:
            self._firsts = self.words[:: self.width].tolist()
        return self._firsts

    def within(self, start: int, end: int) -> Rows[Row]:
        """The records whose first word is at least `start` and below `end`, of records that are sorted by it."""
        firsts, width = self.firsts, self.width
        if not firsts or (start <= firsts[0] and firsts[-1] < end):
            return self
        first = bisect_left(firsts, start)
        last = bisect_left(firsts, end, first)
        return Rows(self.words[first * width : last * width], width, self._kind, firsts[first:last])

    def moved(self, firsts: list[int]) -> Rows[Any]:
        """The same records with other first words, as plain tuples."""
        words = self.words[:]
        words[:: self.width] = array("I", firsts)
        return Rows(words, self.width, firsts=firsts)

    def sorted(self) -> Rows[Row]:
        """The records by their first word; those with the same one as they are."""
        words = array("I")
        for row in sorted(self, key=lambda row: row[0]):
            words.extend(row)
        return Rows(words, self.width, self._kind)

    def __len__(self) -> int:
        return len(self.words) // self.width

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Row]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return tuple(self)[index]
        at = range(len(self))[index] * self.width
        return tuple.__new__(self._kind, self.words[at : at + self.width])

    def __iter__(self) -> Iterator[Row]:
        kind = self._kind
        for row in zip(*[iter(self.words)] * self.width, strict=True):
            yield tuple.__new__(kind, row)

    def __eq__(self, other: object) -> bool:
        return tuple(self) == (tuple(other) if isinstance(other, Rows) else other)

    def __hash__(self) -> int:
        return hash(tuple(self))

    def __repr__(self) -> str:
        return repr(tuple(self))
