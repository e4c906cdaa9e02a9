"""Which names a header uses: tags and typedefs get theirs by id, before anything is written."""

from __future__ import annotations

from itertools import compress
from operator import ne
from typing import TYPE_CHECKING

from .cnames import Scope
from .cwords import ENUM, ENUM64, FWD, STRUCT, TYPEDEF, UNION, pick
from .kinds import KIND_FLAG, VLEN_MASK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .cnames import Identifiers
    from .cwords import Records

_ENUMS_ALIKE = bytes(ENUM if kind == ENUM64 else kind for kind in range(256))
VA_LIST = "__builtin_va_list"
"""A typedef that compilers know; in BTF it looks like one of the kernel's. As it has another size for BPF, members are
written as what it stands for."""


class Taken:
    """The names that the header of a spec has used; in `Spec.derived`, for the headers of its splits."""

    def __init__(self) -> None:
        self.tags = Scope()
        self.kinds: dict[str, int] = {}
        self.ordinary = Scope({VA_LIST: 1})
        self.typedefs: set[str] = {VA_LIST}
        self.renamed: dict[int, str] = {}
        self.scalars: dict[tuple[str, int, int], str] = {}
        self.contained: dict[int, int] = {}

    def copy(self) -> Taken:
        """The same names, for a header that adds to them."""
        made = Taken()
        made.tags, made.kinds, made.ordinary = Scope(self.tags), dict(self.kinds), Scope(self.ordinary)
        made.typedefs, made.renamed, made.scalars = set(self.typedefs), dict(self.renamed), dict(self.scalars)
        made.contained = dict(self.contained)
        return made

    def name(self, records: Records, names: Identifiers) -> None:
        """Give names to all of a spec's own types that have a tag, and to typedefs."""
        typedefs = records.own(TYPEDEF)
        tagged = records.own(STRUCT, UNION, ENUM, ENUM64)
        declared = records.own(FWD)
        for type_id, name_off in zip(typedefs, records.column(typedefs, 0), strict=True):
            self._name_typedef(type_id, names[name_off], records.words[records.starts[type_id] + 2])
        enums = records.own(ENUM, ENUM64)
        undefined = {
            each
            for each, info in zip(enums, records.column(enums, 1), strict=True)
            if not info & VLEN_MASK and records.words[records.starts[each]]
        }
        offsets = records.column(tagged, 0)
        ids, offsets = list(compress(tagged, offsets)), list(filter(None, offsets))
        if undefined:
            defined = [each not in undefined for each in ids]
            ids, offsets = list(compress(ids, defined)), list(compress(offsets, defined))
        self._name_tags(ids, pick(names, offsets), pick(records.kinds.translate(_ENUMS_ALIKE), ids))
        for type_id in [*sorted(undefined), *declared]:
            start = records.starts[type_id]
            fwd = records.kinds[type_id] == FWD
            kind = ENUM if not fwd else UNION if records.words[start + 1] & KIND_FLAG else STRUCT
            self._name_declaration(type_id, names[records.words[start]], kind)

    def _name_tags(self, ids: list[int], names: list[str], kinds: list[int]) -> None:
        """Of two of one name, the first one has it."""
        tags, tag_kinds = self.tags, self.kinds
        late: Iterable[tuple[int, str, int]] = zip(ids, names, kinds, strict=True)
        if not tag_kinds:
            first = dict(zip(reversed(names), reversed(ids), strict=True))
            tags.update(dict.fromkeys(first, 1))
            tag_kinds.update(zip(reversed(names), reversed(kinds), strict=True))
            late = compress(late, map(ne, pick(first, names), ids))
        for type_id, name, kind in late:
            if name not in tags and tag_kinds.get(name, kind) != kind:
                tags[name] = 1  # taken by a declaration of another kind, in the base
            made = tags.claim(name)
            tag_kinds[made] = kind
            if made != name:
                self.renamed[type_id] = made

    def _name_typedef(self, type_id: int, name: str, target: int) -> None:
        if name == VA_LIST:
            if target:
                self.contained[type_id] = target
            return
        made = self.ordinary.claim(name or "unnamed")
        self.typedefs.add(made)
        if made != name:
            self.renamed[type_id] = made

    def _name_declaration(self, type_id: int, name: str, kind: int) -> None:
        """Of what is declared and not defined: it means the definition of that name, if that is of its kind."""
        made, number = name, 1
        while self.kinds.setdefault(made, kind) != kind:
            number += 1
            made = f"{name}___{number}"
        if made != name:
            self.tags.setdefault(made, 1)
            self.renamed[type_id] = made

    def enumerators(self, names: list[str]) -> list[str]:
        """What enumerators that want these names are called."""
        ordinary = self.ordinary
        if ordinary.keys().isdisjoint(names) and "" not in names and len(set(names)) == len(names):
            ordinary.update(dict.fromkeys(names, 1))
            return names
        made = []
        for name in names:
            if name and name not in ordinary:
                ordinary[name] = 1
                made.append(name)
            else:
                made.append(ordinary.claim(name or "unnamed"))
        return made
