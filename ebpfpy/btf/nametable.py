"""From names to records, without a table.

A name is found backwards: its bytes in the string section give an offset, and that offset is looked for among *all*
words of the type section (`ebpfpy.sys.memory`). A hit counts if the next word is the ``info`` word of a record and, to
be sure, if the table of records (grown up to there) has it. A name that the base has is looked for in the base's
strings once, whatever the number of splits.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from ebpfpy.sys.memory import Memory

from .blobstrings import USUAL_NAME
from .kinds import KIND_MASK, KIND_SHIFT, RECORD_WORDS, Kind
from .names import check_bytes, essential_bytes
from .recordtable import RecordTable

if TYPE_CHECKING:
    from collections.abc import Collection

_SMALL_STRINGS = 1 << 18
_MANY_FLAVOURS = 16
_NAMELESS = frozenset({Kind.PTR, Kind.ARRAY, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.FUNC_PROTO})


class NameTable(RecordTable):
    """How a `Spec` finds its own types by name."""

    _word_memory: Memory | None = None
    _flavours: dict[bytes, list[int]] | None = None

    def ids_by_name(self, name: bytes, kinds: Collection[int] | None = None) -> list[int]:
        """The ids of all own types of that exact name, ascending; no type object is made.

        Args:
            name: the name, undecoded.
            kinds: only types of these kinds, which is faster; None for all.

        Raises:
            InputError: the name is not bytes.
        """
        if name.__class__ is not bytes:
            check_bytes(name)
        return [self._id_at(position) for position in self._positions_by_name(name, kinds)]

    def ids_by_essential_name(self, essential: bytes, kinds: Collection[int] | None = None) -> list[int]:
        """`ids_by_name` for all own types whose name without flavour is `essential`."""
        if essential.__class__ is not bytes:
            check_bytes(essential)
        flavours = self._flavour_offsets(essential)
        exact = bool(essential) and essential_bytes(essential) == essential
        if len(flavours) > _MANY_FLAVOURS:
            offsets = {*flavours, *(self.string_offsets(essential) if exact else ())}
            return [self._id_at(position) for position in self._positions_of_many(offsets, kinds)]
        found = set(self._positions_by_name(essential, kinds)) if exact else set()
        for offset in flavours:
            found.update(self._positions_of(offset, kinds))
        return [self._id_at(position) for position in sorted(found)]

    def _positions_by_name(self, name: bytes, kinds: Collection[int] | None = None) -> list[int]:
        if not name:
            return self._anonymous_positions(kinds)
        # Writers of BTF keep each string once. A table large enough for the difference to be felt is a kernel's: there
        # the search ends with the first copy that names a type; in smaller ones every copy counts.
        every = self._strings_length <= _SMALL_STRINGS
        base = self.base._offsets_of(name) if self.base is not None else ()
        if every and not base:  # most modules lack it
            start = self._strings_at
            if self._find(name, start, start + self._strings_length) < 0:
                return []
        own = self._each_own_offset(name)
        found: list[int] = []
        offsets = chain(base, own)
        for tried, offset in enumerate(offsets):
            if tried == _MANY_FLAVOURS:  # somebody wrote it down very often
                return sorted({*found, *self._positions_of_many({offset, *offsets}, kinds)})
            found += self._positions_of(offset, kinds)
            if found and not every and tried >= len(base):
                break
        return sorted(found)

    def _positions_of(self, offset: int, kinds: Collection[int] | None = None) -> list[int]:
        """The records whose name_off is `offset`: candidates by search, proved by `_starts`."""
        if self._word_memory is None:
            self._word_memory = Memory(self._words.cast("B"))
        words = self._words
        if kinds is None:
            kinds = self._kinds_with_names
        return [
            at
            for at in self._word_memory.words_equal(offset, 0, len(words) - 1)  # the info word follows
            if words[at + 1] >> KIND_SHIFT & KIND_MASK in kinds and self._is_start(at)
        ]

    def _positions_of_many(self, offsets: set[int], kinds: Collection[int] | None) -> list[int]:
        """The records whose name_off is one of `offsets`, in one pass over all records."""
        self._grow(len(self._words))
        words = self._words
        return [
            position
            for position in self._starts
            if words[position] in offsets and (kinds is None or words[position + 1] >> KIND_SHIFT & KIND_MASK in kinds)
        ]

    def _anonymous_positions(self, kinds: Collection[int] | None) -> list[int]:
        self._grow(len(self._words))
        words = self._words
        return [
            position
            for position in self._starts
            if not self.string_bytes(words[position])
            and (kinds is None or words[position + 1] >> KIND_SHIFT & KIND_MASK in kinds)
        ]

    @property
    def _kinds_with_names(self) -> Collection[int]:
        return [kind for kind in range(1, max(len(self._layout), len(RECORD_WORDS) + 1)) if kind not in _NAMELESS]

    def _flavour_offsets(self, essential: bytes) -> list[int]:
        """The offsets of all strings that are `essential` with a flavour."""
        if self._flavours is None:
            self._flavours = self._find_flavours()
        found = self._flavours.get(essential, [])
        return self.base._flavour_offsets(essential) + found if self.base is not None else found

    def _find_flavours(self) -> dict[bytes, list[int]]:
        start, end = self._strings_at, self._strings_at + self._strings_length
        flavours: dict[bytes, list[int]] = {}
        at = self._find(b"___", start, end)
        while at >= 0:
            before, back = b"", USUAL_NAME
            while (first := before.rfind(b"\0")) < 0 and len(before) < at - start:
                before, back = self._data[max(start, at - back) : at], 4 * back
            first = at - len(before) + first + 1
            name = self._long_string(first)
            essential = essential_bytes(name)
            if essential != name:
                flavours.setdefault(essential, []).append(self._first_string + first - start)
            at = self._find(b"___", first + len(name), end)
        return flavours
