"""The heads of records: what types of two bases are compared by, without making objects of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, Kind, kind_name
from .manynames import ids_by_names
from .records import record_end
from .text import KEYWORDS

if TYPE_CHECKING:
    from .spec import Spec

COMPOSITES = frozenset({Kind.STRUCT, Kind.UNION})
SIZED_BY_NAME = frozenset({Kind.INT, Kind.FLOAT, Kind.ENUM, Kind.ENUM64})
"""Kinds whose name and size together say which type is meant."""
_FINDABLE = SIZED_BY_NAME | COMPOSITES | {Kind.FWD}


class Candidate(NamedTuple):
    """A type of the new base that has the name of a type of the distilled one.

    Attributes:
        type_id: its id in the new base.
        kind: in words, such as "struct" or "fwd union".
        size: in bytes; None where that kind has none.
    """

    type_id: int
    kind: str
    size: int | None

    def __str__(self) -> str:
        size = f" of {self.size} bytes" if self.size is not None else ""
        return f"[{self.type_id}] {self.kind}{size}"


class Head(NamedTuple):
    """The head of a record that matching looks at."""

    type_id: int
    kind: int
    flag: bool
    size: int
    encoding: int  # of an int: its encoding, bit offset and bits as they stand

    @property
    def keyword(self) -> str:
        """The kind in words."""
        if self.kind == Kind.FWD:
            return "fwd union" if self.flag else "fwd struct"
        return KEYWORDS.get(Kind(self.kind), kind_name(self.kind)) if self.kind <= Kind.ENUM64 else kind_name(self.kind)

    @property
    def candidate(self) -> Candidate:
        """What messages say of it."""
        sized = self.kind in SIZED_BY_NAME or self.kind in COMPOSITES
        return Candidate(self.type_id, self.keyword, self.size if sized else None)


def head(spec: Spec, type_id: int) -> Head:
    """The head of a type's record.

    Raises:
        BtfError: the record is truncated.
    """
    words, at, _ = record_end(spec, type_id)
    info = words[at + 1]
    kind = info >> KIND_SHIFT & KIND_MASK
    return Head(type_id, kind, bool(info & KIND_FLAG), words[at + 2], words[at + 3] if kind == Kind.INT else 0)


def name_of(spec: Spec, type_id: int) -> bytes:
    """The name of a type, undecoded."""
    words, at = spec.locate(type_id)
    return spec.string_bytes(words[at])


def heads_by_name(spec: Spec, names: set[bytes]) -> dict[bytes, list[Head]]:
    """Every type of `spec` and its bases that has one of the names and can be found by name, by id."""
    found = heads_by_name(spec.base, names) if spec.base is not None else {}
    for name, ids in ids_by_names(spec, names, _FINDABLE).items():
        found.setdefault(name, []).extend(head(spec, type_id) for type_id in ids)
    return found
