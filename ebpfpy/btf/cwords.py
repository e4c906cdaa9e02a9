"""Raw records, as C output and comparisons of whole specs read them: words and plain numbers, no type objects."""

from __future__ import annotations

import re
import sys
from array import array
from collections.abc import Callable, Collection, Sequence
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TypeAlias

from ebpfpy.errors import BtfError

from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, VLEN_MASK, Kind

if TYPE_CHECKING:
    from .spec import Spec

Words: TypeAlias = Sequence[int]

# plain numbers: an enum's member costs a look-up each time, which is felt in loops over a whole kernel
(VOID, INT, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, VOLATILE, CONST, RESTRICT, FUNC, FUNC_PROTO,
 VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG, ENUM64) = (int(kind) for kind in Kind)  # fmt: skip
COMPOSITES = frozenset({STRUCT, UNION})
DECORATIONS = frozenset({CONST, VOLATILE, RESTRICT, TYPE_TAG})
"""What says something about a type and is none itself."""
PASSED = DECORATIONS | {TYPEDEF}
"""What has the size of the type that it refers to."""
_FEW = 2
_CLEAR_TOP_BIT = bytes(byte & 0x7F for byte in range(256))


class Records:
    """The records of a spec and of all its bases, in one array.

    Attributes:
        spec: whose.
        words: theirs, the base's first.
        starts: type id -> index of the record's first word; id 0 is a record of void.
        kinds: type id -> kind.
    """

    def __init__(self, spec: Spec) -> None:
        self.spec = spec
        specs = [spec]
        while specs[-1].base is not None:
            specs.append(specs[-1].base)
        words, starts = array("I"), array("I", (0,))
        for each in reversed(specs):
            len(each)  # finds all records, or the fault among them
            before = len(words)
            words.frombytes(each._words.cast("B"))
            starts.extend([before + start for start in each._starts] if before else each._starts)
        starts[0] = len(words)  # void
        words.extend((0, 0, 0))
        self.words, self.starts = words, starts
        self._views = [memoryview(words)[index:] for index in range(3)]
        top = words.tobytes()[7 if sys.byteorder == "little" else 4 :: 4]  # of each record's second word
        self._own: dict[tuple[int, ...], list[int]] = {}
        self.kinds = bytes(itemgetter(*starts, 0)(top)[:-1]).translate(_CLEAR_TOP_BIT)

    def locate(self, type_id: int) -> tuple[Words, int]:
        """The words that a record lies in, and the index of its first one.

        Raises:
            BtfError: no type has that id.
        """
        try:
            return self.words, self.starts[type_id]
        except IndexError:
            raise BtfError(
                f"a type refers to id {type_id}, which no type has", source=self.spec.name or "BTF"
            ) from None

    def own(self, *wanted: int) -> list[int]:
        """The spec's own types of some kinds, by id; not to be changed."""
        found = self._own.get(wanted)
        if found is None:
            if len(wanted) == 1:
                matches = re.finditer(re.escape(bytes(wanted)), self.kinds[self.spec.first_id :])
                first = self.spec.first_id
                found = [first + match.start() for match in matches]
            else:
                found = sorted(chain.from_iterable(map(self.own, wanted)))
            self._own[wanted] = found
        return found

    def column(self, ids: Sequence[int], index: int) -> list[int]:
        """One word of the record of each type: 0 is the name's offset, 1 the info word, 2 the size or a type."""
        return pick(self._views[index], pick(self.starts, ids))


def pick(values: Any, keys: Sequence[Any]) -> list[Any]:
    """``[values[key] for key in keys]``, a few times faster."""
    if len(keys) < _FEW:
        return [values[key] for key in keys]
    return list(itemgetter(*keys)(values))


def enum_values(words: Words, at: int, info: int, kind: int, size: int) -> tuple[list[int], list[int]]:
    """The name offsets of all enumerators, and their values as C writes them."""
    signed = bool(info & KIND_FLAG)
    if kind == ENUM64:
        body = list(words[at + 3 : at + 3 + 3 * (info & VLEN_MASK)])
        values = [low | high << 32 for low, high in zip(body[1::3], body[2::3], strict=True)]
        return body[0::3], [v - (1 << 64) if v >> 63 else v for v in values] if signed else values
    body = list(words[at + 3 : at + 3 + 2 * (info & VLEN_MASK)])
    values = body[1::2]
    if signed or size < 4:  # the flag is young: without it, a number too large for the size was negative
        values = [v - (1 << 32) if v >> 31 else v for v in values]
    return body[0::2], values


def parts_of(words: Words, at: int, info: int) -> Words:
    """The types whose size a type's own depends on."""
    kind = info >> KIND_SHIFT & KIND_MASK
    if kind in (STRUCT, UNION):
        return words[at + 4 : at + 3 + 3 * (info & VLEN_MASK) : 3]
    if kind in PASSED:
        return (words[at + 2],)
    return (words[at + 3],) if kind == ARRAY else ()


def end_of_elements(
    type_id: int, locate: Callable[[int], tuple[Words, int]], passed: Collection[int], known: dict[int, int]
) -> int | None:
    """What a value of a type is made of in the end, past arrays and the kinds that are passed; None: a circle has none.

    Args:
        type_id: of the type.
        locate: `Records.locate`.
        passed: kinds of types that refer to one other, such as `DECORATIONS`.
        known: the ends of types that were met, of earlier calls, too; of void, 0.
    """
    path: dict[int, None] = {}
    while (end := known.get(type_id)) is None:
        words, at = locate(type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        if kind not in passed and kind != ARRAY:
            end = known[type_id] = type_id
            break
        if type_id in path:
            return None
        path[type_id] = None
        type_id = words[at + 3] if kind == ARRAY else words[at + 2]
    known.update(dict.fromkeys(path, end))
    return end
