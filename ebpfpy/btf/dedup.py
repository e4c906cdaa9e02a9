"""Deduplication: each type once, in as few records as possible.

Every source file of a kernel, or of a BPF object that was linked from several, brings its own copy of the types that it
includes. `deduplicate` leaves one of each::

    [1] INT int   [2] PTR -> 1   [3] INT int   [4] PTR -> 3   [5] FUNC_PROTO (4) -> 1
    [1] INT int   [2] PTR -> 1                                [3] FUNC_PROTO (2) -> 1       ids: 1 2 1 2 3

What happens, in this order, all on ids and words; no type object is made:

1. Strings: equal ones get equal offsets, so that from here on comparing names is comparing numbers.
2. Primitives (int, float, enum, declarations): equal if all words are. An enum without values is a declaration; it
   becomes the enum of its name if there is exactly one.
3. Structs and unions, which may refer to themselves: `ebpfpy.btf.equivalence` tells how.
4. Declarations that nothing has given a meaning so far become the struct or union of their name if there is
   exactly one (structs and unions counted together) and the keyword is right.
5. Types that only refer (pointers, arrays, typedefs, qualifiers, functions, prototypes, tags): equal if their words
   are, once the types they refer to are settled, which goes from the leaves up.
6. What is canonical is written down, in its old order, with new ids; of the strings, those that are in use.

The canonical type of several is the one with the lowest id. Variables and data sections are never merged: two of one
name are two things in memory. Parameter names are part of a prototype.

*Split* BTF is deduplicated against its base as well, and the base is never changed: types of the split that the base
has vanish in favour of the base's. A declaration in the base never becomes a definition, so ``struct bar {struct foo
*p;}`` of a split that defines ``struct foo`` is not the ``bar`` of a base that only declares it.

Merging several BTFs = putting them one behind the other and deduplicating: `Builder.add_all` for each, then this.

Source: libbpf, ``btf__dedup`` (behaviour). Results differ from libbpf's where it is wrong about arrays, and where it
takes an enum that is declared and has several definitions for the last one.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy.errors import BtfError

from .classes import Classes
from .equivalence import REFERS, UNKNOWN, Table, settle_composites
from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, RECORD_WORDS, VLEN_MASK, Kind
from .records import make_blob
from .spec import Spec, check_spec
from .typebase import as_number, iterable
from .unknown import unknown_kind

if TYPE_CHECKING:
    from collections.abc import Iterable

_COMPOSITES = frozenset({Kind.STRUCT, Kind.UNION})
_ENUMS = frozenset({Kind.ENUM, Kind.ENUM64})
_REFERS = frozenset(int(kind) for kind in REFERS)
_THIRD_IS_ID = _REFERS | {Kind.VAR, Kind.DECL_TAG, Kind.FUNC_PROTO}
# kinds with entries -> (words of an entry, which of them is a name, which a type id; -1 for none)
_ENTRIES = {
    Kind.STRUCT: (3, 0, 1),
    Kind.UNION: (3, 0, 1),
    Kind.ENUM: (2, 0, -1),
    Kind.ENUM64: (3, 0, -1),
    Kind.FUNC_PROTO: (2, 0, 1),
    Kind.DATASEC: (3, -1, 0),
}


class Deduplicated(NamedTuple):
    """The result of `deduplicate_with_map`.

    Attributes:
        spec: the types that are left.
        ids: new id by old id, the base's and 0 included: ``ids[0] == 0``.
        strings: new string offset by old one, of all strings that are in use; offsets in the base stay.
    """

    spec: Spec
    ids: array[int]
    strings: dict[int, int]


def deduplicate(spec: Spec) -> Spec:
    """The same types, each once, as a new spec on the same base; header and string section in their plain form.

    Raises:
        BtfError: the types are malformed, or of a kind that is unknown here.
    """
    return deduplicate_with_map(spec).spec


def deduplicate_with_map(spec: Spec, *, keep_strings: Iterable[int] = ()) -> Deduplicated:
    """`deduplicate`, and what became of ids and strings.

    Args:
        spec: base or split BTF.
        keep_strings: offsets of strings that something else uses, such as the records of .BTF.ext.

    Raises:
        BtfError: as `deduplicate`; or one of `keep_strings` is no string.
        InputError: `keep_strings` are no whole numbers.
    """
    check_spec(spec)
    strings = _Strings(spec)
    table = _read(spec)
    used = _check(spec, table, strings)
    kept = [as_number(each) for each in iterable(keep_strings, "offsets of strings")]
    strings.check(kept)
    if strings.twins:
        _rename(table, strings.twins)
    by_kind = _by_kind(table)
    _settle_primitives(table, by_kind)
    declared = {table.words[table.starts[type_id]] for type_id in by_kind.get(Kind.FWD, ())}
    composites = sorted(by_kind.get(Kind.STRUCT, []) + by_kind.get(Kind.UNION, []))
    settle_composites(table, composites, declared)
    _settle_declarations(table, by_kind.get(Kind.FWD, []), composites)
    _settle_references(table)
    return _write(spec, table, strings, used, kept)


class _Strings:
    """The strings of a spec and its bases, by offset.

    Attributes:
        twins: offset of a string that is there twice -> offset of the first one.
        own: offset -> length of each string of the spec itself.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        texts: dict[bytes, int] = {}
        self.twins: dict[int, int] = {}
        self.lengths: dict[int, int] = {}
        self.first = spec.base.strings_end if spec.base is not None else 0
        for text, offset in spec.each_string():
            self.lengths[offset] = len(text)
            if texts.setdefault(text, offset) != offset:
                self.twins[offset] = texts[text]
        if 0 not in self.lengths:
            self.lengths[0] = 0

    def check(self, offsets: Iterable[int]) -> None:
        """Raise BtfError for offsets where no string starts."""
        for offset in offsets:
            if offset not in self.lengths:
                self.spec.string_bytes(offset)  # says what is wrong with it
                raise BtfError(f"string offset {offset} is not the start of a string", source=_label(self.spec))

    def rebuild(self, used: set[int]) -> tuple[bytes, dict[int, int]]:
        """The string section with just the strings that are used, and new offset by old one."""
        spec, first = self.spec, self.first
        moved = {offset: offset for offset in used if offset < first}
        own = sorted(offset for offset in used if offset >= first)
        chunks: list[bytes] = []
        at = first
        if spec.base is None:
            moved[0] = 0
            chunks.append(b"\0")
            at, own = 1, [offset for offset in own if offset]
        for offset in own:
            text = spec.string_bytes(offset)
            moved[offset] = at
            chunks.append(text + b"\0")
            at += len(text) + 1
        return b"".join(chunks), moved


def _label(spec: Spec) -> str:
    return spec.name or "BTF"


def _read(spec: Spec) -> Table:
    """All records, the base's first. Id 0 is a record of zeros."""
    chain = [spec]
    while chain[-1].base is not None:
        chain.append(chain[-1].base)
    words, starts = [0, 0, 0], [0]
    for each in reversed(chain):
        len(each)  # finds all records, or raises
        shift = len(words)
        starts += [shift + start for start in each._starts]
        words += each._words.tolist()
    kinds = [words[start + 1] >> KIND_SHIFT & KIND_MASK for start in starts]
    starts.append(len(words))
    return Table(words, starts, kinds, spec.first_id)


def _check(spec: Spec, table: Table, strings: _Strings) -> set[int]:
    """Check all ids, and all names of the own records; return the offsets of the names that these use."""
    words, starts, kinds, count = table.words, table.starts, table.kinds, len(table.kinds)
    used: set[int] = set()
    for type_id in range(1, count):
        start, kind = starts[type_id], kinds[type_id]
        own = type_id >= table.first
        if own:
            used.add(words[start])
        highest = words[start + 2] if kind in _THIRD_IS_ID else 0
        if kind in _ENTRIES:
            step, name, target = _ENTRIES[Kind(kind)]
            end = starts[type_id + 1]
            if end > start + 3:
                if own and name >= 0:
                    used.update(words[start + 3 + name : end : step])
                if target >= 0:
                    highest = max(highest, *words[start + 3 + target : end : step])
        elif kind == Kind.ARRAY:
            highest = max(words[start + 3], words[start + 4])
        elif kind not in RECORD_WORDS:
            if own:
                raise unknown_kind(spec, type_id, "what it refers to is not known")
            continue  # the base stays as it is
        if highest >= count:
            raise BtfError(
                f"type {type_id} refers to type {highest}, but the last one is {count - 1}", source=_label(spec)
            )
    strings.check(used)
    return used


def _rename(table: Table, twins: dict[int, int]) -> None:
    """Give equal names equal offsets."""
    words, starts, kinds = table.words, table.starts, table.kinds
    for type_id in range(1, len(kinds)):
        start = starts[type_id]
        words[start] = twins.get(words[start], words[start])
        step, name, _ = _ENTRIES.get(kinds[type_id], (1, -1, -1))  # type: ignore[call-overload]
        end = starts[type_id + 1]
        if name >= 0 and end > start + 3:
            words[start + 3 + name : end : step] = [twins.get(x, x) for x in words[start + 3 + name : end : step]]


def _by_kind(table: Table) -> dict[int, list[int]]:
    """The ids of each kind, ascending."""
    found: dict[int, list[int]] = {}
    for type_id, kind in enumerate(table.kinds):
        found.setdefault(kind, []).append(type_id)
    return found


def _settle_primitives(table: Table, by_kind: dict[int, list[int]]) -> None:
    words, starts, same, first = table.words, table.starts, table.same, table.first
    same[:first] = range(first)
    for kind in (Kind.VAR, Kind.DATASEC):
        for type_id in by_kind.get(kind, ()):
            same[type_id] = type_id
    known: dict[tuple[int, ...], int] = {}
    for kind in (Kind.INT, Kind.FLOAT, Kind.FWD, Kind.ENUM, Kind.ENUM64):
        for type_id in by_kind.get(kind, ()):
            found = known.setdefault(tuple(words[starts[type_id] : starts[type_id + 1]]), type_id)
            if type_id >= first:
                same[type_id] = found
    enums = sorted(by_kind.get(Kind.ENUM, []) + by_kind.get(Kind.ENUM64, []))
    defined: dict[int, list[int]] = {}
    for type_id in enums:
        if words[starts[type_id] + 1] & VLEN_MASK and same[type_id] == type_id:
            defined.setdefault(words[starts[type_id]], []).append(type_id)
    for type_id in enums:
        start = starts[type_id]
        if type_id < first or words[start + 1] & VLEN_MASK or not words[start]:
            continue
        meanings = defined.get(words[start], ())
        if len(meanings) == 1:
            same[type_id] = meanings[0]


def _settle_declarations(table: Table, declarations: list[int], composites: list[int]) -> None:
    """Give those a meaning whose name only one struct or union has."""
    words, starts, same, kinds, first = table.words, table.starts, table.same, table.kinds, table.first
    unique: dict[int, int] = {}  # name -> its only struct or union, or 0
    for type_id in composites:
        if same[type_id] == type_id:
            name = words[starts[type_id]]
            unique[name] = 0 if name in unique else type_id
    for type_id in declarations:
        if type_id < first:
            continue
        found = table.find(type_id)
        if found in table.definitions:
            same[type_id] = table.find(table.definitions[found])
        elif found == type_id and words[starts[type_id]]:
            meaning = unique.get(words[starts[type_id]], 0)
            is_union = bool(words[starts[type_id] + 1] & KIND_FLAG)
            if meaning and (kinds[meaning] == Kind.UNION) == is_union:
                same[type_id] = meaning


def _settle_references(table: Table) -> None:
    """Settle what is left: types that refer to others, from the leaves up."""
    same, kinds, first, find = table.same, table.kinds, table.first, table.find
    for type_id in range(first, len(kinds)):
        if same[type_id] != UNKNOWN:
            same[type_id] = find(type_id)  # from here on, one step leads to the canonical type
    known: dict[tuple[int, ...], int] = {}
    skipped = {0, Kind.INT, Kind.FLOAT, Kind.FWD, Kind.VAR, Kind.DATASEC, *_COMPOSITES, *_ENUMS}
    words, starts = table.words, table.starts
    for type_id in range(1, first):
        kind, start = kinds[type_id], starts[type_id]
        if kind in _REFERS:
            known.setdefault((words[start + 1], words[start], words[start + 2]), type_id)
        elif kind in RECORD_WORDS and kind not in skipped:
            known.setdefault(_reference_key(table, type_id), type_id)
    opened: set[int] = set()
    for root in range(first, len(kinds)):
        if same[root] != UNKNOWN:
            continue
        stack = [root]
        while stack:
            type_id = stack[-1]
            if same[type_id] != UNKNOWN:
                stack.pop()
                continue
            if kinds[type_id] in _REFERS:  # by far the most frequent: no lists
                start = starts[type_id]
                target = words[start + 2]
                settled = same[target]
                if settled != UNKNOWN:
                    same[type_id] = known.setdefault((words[start + 1], words[start], settled), type_id)
                    stack.pop()
                    continue
                missing = [target]
            else:
                missing = [each for each in _referenced(table, type_id) if same[each] == UNKNOWN]
                if not missing:
                    same[type_id] = known.setdefault(_reference_key(table, type_id), type_id)
                    stack.pop()
                    continue
            if type_id in opened:  # it refers to itself, without any struct in between: nothing that C has
                _settle_circles(table)
                continue
            opened.add(type_id)
            stack += missing


def _settle_circles(table: Table) -> None:
    """Settle all types that reach a circle without any struct in it."""
    same = table.same
    waiting = {
        type_id: [each for each in _referenced(table, type_id) if same[each] == UNKNOWN]
        for type_id, known in enumerate(same)
        if known == UNKNOWN
    }
    referrers: dict[int, list[int]] = {}
    for type_id, targets in waiting.items():
        for target in targets:
            referrers.setdefault(target, []).append(type_id)
    missing = {type_id: len(targets) for type_id, targets in waiting.items()}
    free = [type_id for type_id, count in missing.items() if not count]
    while free:  # what is left when all that can be settled from the leaves up is taken away
        type_id = free.pop()
        del waiting[type_id]
        for referrer in referrers.get(type_id, ()):
            missing[referrer] -= 1
            if not missing[referrer]:
                free.append(referrer)
    first: dict[int, int] = {}
    for type_id, number in enumerate(Classes(table).of):
        lowest = first.setdefault(number, type_id)
        if type_id in waiting:
            same[type_id] = lowest if same[lowest] == UNKNOWN else same[lowest]


def _referenced(table: Table, type_id: int) -> list[int]:
    words, start, end = table.words, table.starts[type_id], table.starts[type_id + 1]
    kind = table.kinds[type_id]
    if kind == Kind.ARRAY:
        return words[start + 3 : start + 5]
    if kind == Kind.FUNC_PROTO:
        return [words[start + 2], *words[start + 4 : end : 2]]
    return [words[start + 2]]


def _reference_key(table: Table, type_id: int) -> tuple[int, ...]:
    """What makes two types that refer to settled types equal: info, name, the rest."""
    words, start, end, same = table.words, table.starts[type_id], table.starts[type_id + 1], table.same
    kind = table.kinds[type_id]
    if kind == Kind.FUNC_PROTO:
        targets = [same[each] for each in words[start + 4 : end : 2]]
        return (words[start + 1], words[start], same[words[start + 2]], *words[start + 3 : end : 2], *targets)
    if kind == Kind.ARRAY:
        element, index, count = words[start + 3 : start + 6]
        return words[start + 1], words[start], words[start + 2], same[element], same[index], count
    if kind == Kind.DECL_TAG:
        return words[start + 1], words[start], same[words[start + 2]], words[start + 3]
    return words[start + 1], words[start], same[words[start + 2]]


def _write(spec: Spec, table: Table, strings: _Strings, used: set[int], kept: list[int]) -> Deduplicated:
    words, starts, kinds, same, first = table.words, table.starts, table.kinds, table.same, table.first
    canonical = [type_id for type_id in range(first, len(kinds)) if same[type_id] == type_id]
    new = list(range(len(kinds)))
    for index, type_id in enumerate(canonical):
        new[type_id] = first + index
    ids = array("I", [new[type_id] for type_id in same])
    if len(canonical) != len(kinds) - first or strings.twins or spec.base is not None:
        used = _names(table, canonical)
    used.update(strings.twins.get(offset, offset) for offset in kept)
    text, moved = strings.rebuild(used)
    plain = len(canonical) == len(kinds) - first and all(old == new_ for old, new_ in moved.items())
    out = array("I")
    if plain and not any(same[type_id] != type_id for type_id in range(first, len(kinds))):
        out.extend(words[starts[first] :] if len(kinds) > first else ())
    else:
        for type_id in canonical:
            record = words[starts[type_id] : starts[type_id + 1]]
            kind = kinds[type_id]
            record[0] = moved[record[0]]
            if kind in _THIRD_IS_ID:
                record[2] = ids[record[2]]
            if kind in _ENTRIES:
                step, name, target = _ENTRIES[Kind(kind)]
                if len(record) > 3:
                    if name >= 0:
                        record[3 + name :: step] = [moved[each] for each in record[3 + name :: step]]
                    if target >= 0:
                        record[3 + target :: step] = [ids[each] for each in record[3 + target :: step]]
            elif kind == Kind.ARRAY:
                record[3], record[4] = ids[record[3]], ids[record[4]]
            out.extend(record)
    result = Spec(make_blob(out, text, spec.byte_order), spec.base, name=spec.name)
    result._pointer_size = spec._pointer_size
    for old, first_twin in strings.twins.items():
        if first_twin in moved:
            moved[old] = moved[first_twin]
    return Deduplicated(result, ids, moved)


def _names(table: Table, type_ids: list[int]) -> set[int]:
    """The offsets of all names that these types use."""
    words, starts, kinds = table.words, table.starts, table.kinds
    used: set[int] = set()
    for type_id in type_ids:
        start = starts[type_id]
        used.add(words[start])
        step, name, _ = _ENTRIES.get(kinds[type_id], (1, -1, -1))  # type: ignore[call-overload]
        if name >= 0:
            used.update(words[start + 3 + name : starts[type_id + 1] : step])
    return used
