"""Which type of a new base is meant by one of a distilled base: is it right? See `relocatebase`."""

from __future__ import annotations

from .kinds import Kind
from .typeheads import SIZED_BY_NAME, Head


def choose(wanted: Head, candidates: list[Head], *, embedded: bool) -> tuple[Head | None, str]:
    """The one candidate that is meant; else None and the reason."""
    if not candidates:
        return None, "missing"
    if wanted.kind in SIZED_BY_NAME:
        return _choose_scalar(wanted, candidates)
    if wanted.kind == Kind.FWD:
        # the same declaration is right wherever it stands; without one, the definition must be the only one
        same = [each for each in candidates if each.kind == Kind.FWD and each.flag == wanted.flag]
        if same:
            return same[0], ""
        kind = Kind.UNION if wanted.flag else Kind.STRUCT
        return _only([each for each in candidates if each.kind == kind], "kind")
    definitions = [each for each in candidates if each.kind == wanted.kind]
    if definitions:
        exact = [each for each in definitions if each.size == wanted.size]
        if exact or embedded:
            return _only(exact, "size")
        return _only(definitions, "kind")
    declared = [each for each in candidates if each.kind == Kind.FWD and each.flag == (wanted.kind == Kind.UNION)]
    if declared and embedded:
        return None, "declared only"
    return (declared[0], "") if declared else (None, "kind")


def _choose_scalar(wanted: Head, candidates: list[Head]) -> tuple[Head | None, str]:
    kinds = {wanted.kind, Kind.ENUM64} if wanted.kind == Kind.ENUM else {wanted.kind}
    same = [each for each in candidates if each.kind in kinds]
    if not same:
        return None, "kind"
    sized = [each for each in same if each.size == wanted.size]
    if not sized:
        return None, "size"
    if wanted.kind == Kind.ENUM:
        return _only(sized, "kind")
    # ints and floats that agree are the same type, however often it is there
    equal = [each for each in sized if each.encoding == wanted.encoding]
    return (equal[0], "") if equal else (None, "encoding")


def _only(found: list[Head], otherwise: str) -> tuple[Head | None, str]:
    if len(found) == 1:
        return found[0], ""
    return None, "ambiguous" if found else otherwise
