"""The types of a distilled base as the kernel looks them up: would it take the module? See `relocatebase`."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING

from .basechoice import choose
from .baseproblem import BaseMatch, problem_of
from .kinds import Kind
from .typeheads import COMPOSITES, SIZED_BY_NAME, Head, head

if TYPE_CHECKING:
    from .spec import Spec


def match_as_kernel(
    distilled: Spec,
    new_base: Spec,
    names: dict[int, bytes],
    there: dict[bytes, list[Head]],
    embedded: dict[int, list[str]],
) -> BaseMatch:
    """As the kernel does it: through the new base by id, each of its types against those that have its name."""
    by_name: dict[bytes, list[Head]] = {}
    for type_id, name in names.items():
        by_name.setdefault(name, []).append(head(distilled, type_id))
    matches: dict[int, list[Head]] = {}
    for name, candidates in there.items():
        crowded = _crowded(new_base, candidates)
        for found in candidates:
            sized = found.kind in SIZED_BY_NAME or found.type_id in crowded
            for wanted in by_name[name]:
                # that a type is embedded is forgotten with the first match: the mark is kept where the match goes
                marked = wanted.type_id in embedded and wanted.type_id not in matches
                if (not sized or found.size == wanted.size) and _kernel_accepts(wanted, found, embedded=marked):
                    matches.setdefault(wanted.type_id, []).append(found)
    problems = []
    for type_id, name in names.items():
        wanted, found_ones = head(distilled, type_id), matches.get(type_id, [])
        if len(found_ones) == 1:
            continue
        candidates = found_ones or there.get(name, [])
        reason = "ambiguous" if found_ones else choose(wanted, candidates, embedded=type_id in embedded)[1]
        # right by our measure and still refused: the kernel's quirks about sizes and flags
        reason = reason or ("flag" if wanted.kind == Kind.FWD else "size")
        problems.append(problem_of(wanted, name, reason, candidates, embedded, exact=bool(found_ones)))
    ids = {type_id: found[-1].type_id for type_id, found in matches.items()}
    return BaseMatch(ids, tuple(problems), ())


def _crowded(new_base: Spec, candidates: list[Head]) -> set[int]:
    """The structs and unions whose name, counted by its offset, occurs more than once among structs and unions."""
    offsets: dict[int, list[int]] = {}
    for each in candidates:
        if each.kind in COMPOSITES:
            words, at = new_base.locate(each.type_id)
            offsets.setdefault(words[at], []).append(each.type_id)
    return set(chain.from_iterable(ids for ids in offsets.values() if len(ids) > 1))


def _kernel_accepts(wanted: Head, found: Head, *, embedded: bool) -> bool:
    """Whether the kernel takes `found` for `wanted`, once name (and size, where it asks) agree."""
    if wanted.kind == Kind.FWD:
        if found.kind == Kind.FWD:
            return found.flag == wanted.flag
        # the flag of a definition says that it has bitfields; the kernel reads it as "this is a union"
        return (found.kind == Kind.STRUCT and not found.flag) or (found.kind == Kind.UNION and found.flag)
    if wanted.kind == Kind.INT:
        return found.kind == Kind.INT and found.encoding >> 24 & 0xF == wanted.encoding >> 24 & 0xF
    if wanted.kind == Kind.FLOAT:
        return found.kind == Kind.FLOAT
    if wanted.kind == Kind.ENUM:
        return found.kind in (Kind.ENUM, Kind.ENUM64)
    return not embedded or found.size == wanted.size
