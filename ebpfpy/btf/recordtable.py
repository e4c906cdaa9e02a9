"""Where the records of one BTF blob start: the way from a type's id to its record.

Type ids are implicit: the n-th record has id n. So finding a record by id needs the start of every record before
it, and records have no fixed length. Walking the 126,572 records of a vmlinux costs Python 10 ms; a type that a
program asks for usually lies in the first third. Therefore ``_starts`` holds the word index of each record seen so
far, and grows on demand, never further than an answer needs. Growing is done under a lock, reading needs none.

Malformed records are reported when they are reached, as `BtfError` with id and byte offset.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ebpfpy.errors import BtfError, TypeNotFoundError

from .blobstrings import BlobStrings
from .header import native_words, read_header
from .kinds import KIND_MASK, KIND_SHIFT, RECORD_WORDS, VLEN_MASK, Kind, kind_name
from .typebase import as_number

if TYPE_CHECKING:
    from .header import Sections

_PIECE = 1 << 17  # words: what is found at a time lies in a list before it is kept


class RecordTable(BlobStrings):
    """What a `Spec` knows of its blob's records."""

    first_id: int
    _lock: Any
    _sizes: dict[int, int]  # words of a record, by its info word
    _frontier = 0  # word index where the next unseen record starts
    _starts = array("I")  # replaced, not changed, when the first records are found

    def __len__(self) -> int:
        """The number of own types; void and the base's types do not count."""
        self._grow(len(self._words))
        return len(self._starts)

    @property
    def walked(self) -> float:
        """How much of the records has been found, from 0 to 1: for that part, ids cost no walk any more."""
        return self._frontier / (len(self._words) or 1)

    @cached_property
    def _next_id(self) -> int:
        """The id that the first type of a split spec has."""
        return self.first_id + len(self)

    def locate(self, type_id: int) -> tuple[memoryview, int]:
        """The record of a type: the words that it lies in, and the index of its first word.

        Raises:
            TypeNotFoundError: no type has that id.
        """
        if type_id.__class__ is not int:
            type_id = as_number(type_id)
        if type_id >= self.first_id:
            index = type_id - self.first_id
            if index >= len(self._starts):
                self._grow_to_index(index)
            return self._words, self._starts[index]
        if self.base is not None and type_id > 0:
            return self.base.locate(type_id)
        raise TypeNotFoundError(f"{self._label}: no type has id {type_id}", name=type_id)

    def kind_of(self, type_id: int) -> int:
        """The kind of a type by id, without making an object; 0 for void."""
        if type_id == 0:
            return Kind.VOID
        words, position = self.locate(type_id)
        return words[position + 1] >> KIND_SHIFT & KIND_MASK

    def ids_of(self, info: int) -> list[int]:
        """Own types whose info word (kind, flag, number of parts or linkage) is exactly this, by id."""
        self._grow(len(self._words))
        words = self._words
        return [type_id for type_id, at in enumerate(self._starts, self.first_id) if words[at + 1] == info]

    @cached_property
    def _words(self) -> memoryview:
        return native_words(self.raw, self._sections)

    @cached_property
    def _sections(self) -> Sections:
        return read_header(self._data, source=self.name or "BTF", split=self.base is not None)

    @property
    def _layout(self) -> tuple[tuple[int, int], ...]:
        if self._sections.layout or self.base is None:
            return self._sections.layout
        return self.base._layout

    def _is_start(self, position: int) -> bool:
        if position >= self._frontier:
            self._grow(position + 1)
        index = bisect_left(self._starts, position)
        return index < len(self._starts) and self._starts[index] == position

    def _id_at(self, position: int) -> int:
        return self.first_id + bisect_left(self._starts, position)

    def _grow_to_index(self, index: int) -> None:
        """Find at least `index` + 1 records, in steps, or fail."""
        total = len(self._words)
        while index >= len(self._starts) and self._frontier < total:
            missing = index + 1 - len(self._starts)
            try:
                self._grow(min(total, self._frontier + 3 * missing + 64))
            except BtfError:
                if index >= len(self._starts):  # else the fault lies behind what was asked for
                    raise
        if index >= len(self._starts):
            type_id = index + self.first_id
            raise TypeNotFoundError(
                f"{self._label}: no type has id {type_id}, the last one is {self.first_id + len(self._starts) - 1}",
                name=type_id,
            )

    def _grow(self, limit: int) -> None:
        """Find every record that starts before the word index `limit`; at a malformed one, keep what is before it."""
        while self._frontier < limit:
            with self._lock:
                if self._frontier < limit:
                    self._grow_piece(min(limit, self._frontier + _PIECE))

    def _grow_piece(self, limit: int) -> None:
        words, sizes, starts, position = self._words, self._sizes, list[int](), self._frontier
        # window[position] is the info word of the record at position; IndexError is the end
        window = words[1 : limit + 1]
        fault: BtfError | None = None
        while fault is None:
            try:
                while True:
                    starts.append(position)
                    position += sizes[window[position]]
            except KeyError:
                starts.pop()
                try:
                    index = len(self._starts) + len(starts)
                    sizes[window[position]] = self._record_words(window[position], position, index)
                except BtfError as error:
                    fault = error
            except IndexError:
                starts.pop()
                break
        if fault is None and (position > len(words) or (position < limit and position != len(words))):
            if position > len(words):
                position = starts.pop()
            fault = BtfError(
                f"truncated: the record of type {self.first_id + len(self._starts) + len(starts)} runs past the end"
                " of the types",
                source=self._label,
                offset=self._sections.types + 4 * position,
            )
        if self._starts:
            self._starts.extend(array("I", starts))
        else:
            self._starts = array("I", starts)
        self._frontier = position
        if fault is not None:
            raise fault

    def _record_words(self, info: int, position: int, index: int) -> int:
        """The length of a record with this info word, in words."""
        kind = info >> KIND_SHIFT & KIND_MASK
        vlen = info & VLEN_MASK
        known = RECORD_WORDS.get(kind)
        if known is not None:
            return 3 + known[0] + known[1] * vlen
        layout = self._layout
        if 0 < kind < len(layout):
            extra, entry = layout[kind]
            if extra % 4 == 0 and entry % 4 == 0:
                return 3 + extra // 4 + entry // 4 * vlen
        raise BtfError(
            f"type {self.first_id + index} has the unknown kind {kind_name(kind)},"
            " and no layout section tells its length",
            source=self._label,
            offset=self._sections.types + 4 * position,
        )
