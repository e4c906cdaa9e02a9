"""Which types of a base are embedded in types of a split, so that their sizes matter: see `relocatebase`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError

from .kinds import KIND_MASK, KIND_SHIFT, MODIFIERS, Kind
from .records import id_words, record_end
from .text import KEYWORDS
from .typeheads import COMPOSITES

if TYPE_CHECKING:
    from .spec import Spec


def embedded_types(split: Spec, *, by_value: bool) -> dict[int, list[str]]:
    """Which types of the base are embedded in types of the split -> in what. `by_value`: not in members alone."""
    found: dict[int, list[str]] = {}
    known: dict[int, int] = {0: 0}
    for type_id in range(split.first_id, split.first_id + len(split)):
        words, at, _ = record_end(split, type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        if kind in COMPOSITES or (by_value and kind in (Kind.VAR, Kind.FUNC_PROTO)):
            for index in id_words(words, at):
                inner = _contained(split, words[index], known)
                if inner:
                    found.setdefault(inner, []).append(_place(split, words, at, type_id, index))
    return found


def _contained(split: Spec, type_id: int, known: dict[int, int]) -> int:
    """The struct or union of the base that a type contains, under arrays, typedefs and qualifiers; 0 if none.

    `known` holds the answers so far: many members have types at the end of one long chain.
    """
    passed: dict[int, None] = {}
    while type_id not in known:
        if type_id in passed:
            raise BtfError(f"type {type_id}: typedefs, qualifiers and arrays form a cycle", source=split.name or "BTF")
        passed[type_id] = None
        words, at, _ = record_end(split, type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        if kind in MODIFIERS:
            type_id = words[at + 2]
        elif kind == Kind.ARRAY:
            type_id = words[at + 3]
        else:
            known[type_id] = type_id if kind in COMPOSITES and type_id < split.first_id else 0
    known.update(dict.fromkeys(passed, known[type_id]))
    return known[type_id]


def _place(split: Spec, words: memoryview, at: int, type_id: int, index: int) -> str:
    """Where a contained type stands, for people: "struct mine.lock"."""
    kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
    name = split.string(words[at])
    if kind == Kind.VAR:
        return f"variable {name}"
    if kind == Kind.FUNC_PROTO:
        what = "the result" if index == at + 2 else f"parameter {split.string(words[index - 1]) or '(anon)'}"
        return f"{what} of [{type_id}] func_proto"
    return f"{KEYWORDS[Kind(kind)]} {name or f'(anon) [{type_id}]'}.{split.string(words[index - 1]) or '(anon)'}"
