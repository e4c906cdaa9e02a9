"""Members of all plain structs and unions at once, column by column.

A kernel has some 65,000 members in 11,000 structs and unions. One by one, even short Python for each of them is most of
the time of a header. But nearly all are plain: no bitfield, no tag, nothing that overlaps. Their columns (type, offset,
end, line of text) are made for the whole kernel by loops that run in C, and a struct is a range of rows.

What needs an order of the types, their alignments, is decided later, struct by struct (`cheader`).
"""

from __future__ import annotations

from array import array
from itertools import accumulate, chain, compress, pairwise, repeat
from operator import add, mul, ne, not_, sub
from typing import TYPE_CHECKING

from .cdeclarator import MARK, MARK_END
from .clayout import LARGEST
from .cpadding import indented, own_padding, padding, widening
from .cscalars import ENUM_MODES
from .cwords import ARRAY, ENUM, ENUM64, FLOAT, FWD, INT, PASSED, PTR, STRUCT, UNION, Records, pick
from .kinds import KIND_FLAG, VLEN_MASK

if TYPE_CHECKING:
    from collections.abc import Collection

    from .clayout import Layout

_ENUMS = frozenset({ENUM, ENUM64})
_SIZED = frozenset({FLOAT, ENUM, ENUM64, STRUCT, UNION})


class Columns:
    """The rows of all members of a spec's own plain structs and unions.

    Args:
        records: the types.
        layout: whose names and declarators are used.
        tagged: types with declaration tags, which are not plain.

    Attributes:
        plain: type id -> first row, row after the last. Whether members are aligned is not known yet.
        types, offsets: of each member: its type; bits.
    """

    def __init__(self, records: Records, layout: Layout, tagged: Collection[int]) -> None:
        self.records, self.layout = records, layout
        composites = records.own(STRUCT, UNION)
        infos = records.column(composites, 1)
        plain = [not info & KIND_FLAG and info & VLEN_MASK for info in infos]
        ids, counts = list(compress(composites, plain)), list(filter(None, plain))
        bodies = list(map(add, map(records.starts.__getitem__, ids), repeat(3)))
        beyond = map(add, bodies, map(mul, counts, repeat(3)))
        body = array("I", b"".join(map(memoryview(records.words).__getitem__, map(slice, bodies, beyond))))
        self.types, self.offsets = body[1::3].tolist(), body[2::3].tolist()
        firsts = list(accumulate(counts, initial=0))
        self.plain = dict(zip(ids, pairwise(firsts), strict=False))
        owners = list(chain.from_iterable(map(repeat, ids, counts)))
        odd = set(tagged)
        distinct = set(self.types)
        sizes = {**layout.sizes, **dict(zip(composites, records.column(composites, 2), strict=True))}
        measured = (distinct & sizes.keys()) - layout.legacy.keys() - layout.unlike - {0, *records.own(FWD)}
        bits = dict(zip(measured, map(mul, map(sizes.__getitem__, measured), repeat(8)), strict=True))
        for each in distinct - measured:
            self._bits(each, bits)
        unsized = {each for each in distinct if bits[each] < 0}
        if unsized:
            odd.update(compress(owners, map(unsized.__contains__, self.types)))
        self.ends = list(map(add, self.offsets, pick(bits, self.types)))
        self._write_lines(body[0::3].tolist(), owners, distinct - unsized, unsized)
        self.gaps: dict[int, list[int]] = {}
        self._compare(ids, firsts, owners, odd)
        for type_id in odd:
            self.plain.pop(type_id, None)

    def _bits(self, type_id: int, known: dict[int, int]) -> int:
        """The size of a type in bits; -1 if it has none, or is not that of a plain member.

        Args:
            type_id: the type.
            known: those of other types; those that this one refers to are added.
        """
        words, starts, kinds, layout = self.records.words, self.records.starts, self.records.kinds, self.layout
        path: list[tuple[int, int]] = []  # from the type downwards: ids, how many times the next one
        current = type_id
        while current not in known:
            kind = kinds[current] if current < len(kinds) and current not in layout.contained else -1
            start = starts[current] if kind >= 0 else 0
            if kind == ARRAY:
                path.append((current, words[start + 5]))
                current = words[start + 3]
            elif kind in PASSED:
                path.append((current, 1))
                current = words[start + 2]
            elif kind == PTR:
                known[current] = 8 * layout.pointer_size
            elif kind in _ENUMS and words[start + 2] not in ENUM_MODES:
                known[current] = -1
            elif kind in _SIZED or (kind == INT and words[start + 3] & 0xFFFFFF == 8 * words[start + 2]):
                known[current] = 8 * words[start + 2]
            else:
                known[current] = -1
            if len(path) > layout.count:  # it goes round in circles
                known[current] = -1
        size = known[current]
        for each, times in reversed(path):
            known[each] = size = size if size < 0 else min(size * times, LARGEST)
        return size

    def _write_lines(self, name_offs: list[int], owners: list[int], types: set[int], unsized: set[int]) -> None:
        """The lines of all members, and the tags that their parameter lists mention."""
        layout = self.layout
        known = layout.declarators
        front, back = dict.fromkeys(unsized, ""), dict.fromkeys(unsized, "")
        for type_id in types.difference(known):
            layout.declarator(type_id)
        found = list(map(known.__getitem__, types))
        front.update(zip(types, [f"\n\t{each[0]}" for each in found], strict=True))
        back.update(zip(types, [f"{each[1]};" for each in found], strict=True))
        mentioning = {type_id: each[3] for type_id, each in zip(types, found, strict=True) if each[3]}
        self.names = pick(layout.names, name_offs)
        self.parts = [""] * (3 * len(self.names))
        self.parts[0::3] = pick(front, self.types)
        self.parts[1::3] = self.names
        self.parts[2::3] = pick(back, self.types)
        self.mentions: dict[int, tuple[str, ...]] = {}
        for row in compress(range(len(owners)), map(mentioning.__contains__, self.types)):
            owner = owners[row]
            self.mentions[owner] = self.mentions.get(owner, ()) + mentioning[self.types[row]]

    def _compare(self, ids: list[int], firsts: list[int], owners: list[int], odd: set[int]) -> None:
        """Find the rows that do not follow closely on those before them, and what is odd."""
        kinds = self.records.kinds
        names, ends, offsets = self.names, self.ends, self.offsets
        before = [0, *ends]  # for each row, where the one before it ends
        lasts = list(map(ends.__getitem__, map(sub, firsts[1:], repeat(1))))
        for first in firsts:
            before[first] = 0
        for index in compress(range(len(ids)), map(UNION.__eq__, pick(kinds, ids))):
            first, end = firsts[index], firsts[index + 1]
            before[first:end] = repeat(0, end - first)
            lasts[index] = max(ends[first:end])
        ranges = map(slice, firsts, firsts[1:])
        distinct = map(len, map(set, map(names.__getitem__, ranges)))
        for index in compress(range(len(ids)), map(ne, distinct, map(sub, firsts[1:], firsts))):
            part = list(filter(None, names[firsts[index] : firsts[index + 1]]))
            if len(set(part)) != len(part):
                odd.add(ids[index])
        tails = list(map(sub, map(mul, self.records.column(ids, 2), repeat(8)), lasts))
        self.tails = dict(compress(zip(ids, tails, strict=True), tails))
        odd.update(type_id for type_id, tail in self.tails.items() if tail < 0)
        for row in compress(range(len(offsets)), map(ne, offsets, before)):
            owner = owners[row]
            if offsets[row] < before[row] or kinds[owner] == UNION:
                odd.add(owner)
            else:
                self.gaps.setdefault(owner, []).append(row)
        for row in compress(range(len(offsets)), map(not_, names)):
            under = self.layout.composite_under(self.types[row]) if owners[row] not in odd else None
            if under is None or self.layout.visible.clashes(owners[row]):
                odd.add(owners[row])
            else:
                self.parts[3 * row : 3 * row + 3] = f"\n\t{MARK}{under}{MARK_END}", "", ";"

    def text(self, type_id: int, rows: tuple[int, int]) -> str:
        """The members of a plain type, which were found to be aligned, and the padding that they need."""
        first, end = rows
        parts = self.parts[3 * first : 3 * end]
        if type_id in self.tails or type_id in self.gaps:
            self._pad(type_id, first, parts)
            if not self.records.words[self.records.starts[type_id]]:
                return own_padding("".join(parts), type_id)
        return "".join(parts)

    def _pad(self, type_id: int, first: int, parts: list[str]) -> None:
        layout, align = self.layout, self.layout.aligns[type_id]
        tail = self.tails.get(type_id, 0)
        if tail >= align:
            total = 8 * layout.sizes[type_id]
            union = self.records.kinds[type_id] == UNION
            more = widening if union else padding
            parts += indented(more(0 if union else total - tail, total, align, layout.pointer_size, packed=False))
        for row in reversed(self.gaps.get(type_id, ())):
            position = self.ends[row - 1] if row > first else 0
            if self.offsets[row] - position >= layout.aligns[self.types[row]]:
                at = 3 * (row - first)
                parts[at:at] = indented(padding(position, self.offsets[row], align, layout.pointer_size, packed=False))
