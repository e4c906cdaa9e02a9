"""Where chains of typedefs and qualifiers lead, remembered: many members may lie at the end of one that is very long.

The first who asks walks the chain, over records and not over objects; every type on it then knows the end. What a
spec's chains lead to in its base, the base remembers for all its splits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ebpfpy.errors import BtfError

from .kinds import KIND_MASK, KIND_SHIFT, MODIFIERS, Kind

if TYPE_CHECKING:
    from collections.abc import Collection

    from .spec import Spec


class Ways:
    """Key of `Spec.derived`: where typedefs, qualifiers and type tags of one spec lead, by their ids."""

    PASSED: ClassVar[Collection[int]] = MODIFIERS

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._ends: dict[int, int] = {}

    @classmethod
    def end(cls, spec: Spec, type_id: int) -> int:
        """The id of the first type on the way that is not passed; the type's own if it is none of those.

        Raises:
            BtfError: there are only such types, in a circle; or a record is malformed.
            TypeNotFoundError: the way leads to a type that is not there.
        """
        found = spec.derived.get(cls)
        if found is None:
            found = spec.derived[cls] = cls(spec)
        assert isinstance(found, cls)
        return found._walk(type_id)

    def _walk(self, type_id: int) -> int:
        spec, ends, kinds = self._spec, self._ends, self.PASSED
        passed: dict[int, None] = {}
        while type_id >= spec.first_id:
            known = ends.get(type_id)
            if known is not None:
                type_id = known
                break
            words, at = spec.locate(type_id)
            if words[at + 1] >> KIND_SHIFT & KIND_MASK not in kinds:
                break
            if type_id in passed:
                raise BtfError(f"{spec.type_by_id(type_id)!r}: typedefs, qualifiers and tags form a cycle")
            passed[type_id] = None
            type_id = words[at + 2]
        else:
            if spec.base is not None:
                type_id = self.end(spec.base, type_id)
        ends.update(dict.fromkeys(passed, type_id))
        return type_id


class WaysToTags(Ways):
    """`Ways` that end at type tags, too."""

    PASSED = MODIFIERS - {Kind.TYPE_TAG}
