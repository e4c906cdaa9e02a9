"""Many names looked up at once: one pass over the strings and one over the records, whatever their number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .kinds import KIND_MASK, KIND_SHIFT

if TYPE_CHECKING:
    from collections.abc import Collection

    from .spec import Spec


def ids_by_names(spec: Spec, names: Collection[bytes], kinds: Collection[int]) -> dict[bytes, list[int]]:
    """The ids, ascending, of all own types of some kinds that have one of the names; no entry for what nothing has.

    `Spec.ids_by_name` is faster for a few.
    """
    wanted = {offset: text for text, offset in spec.each_string() if offset and text in names}
    found: dict[bytes, list[int]] = {}
    len(spec)  # every record is found
    words = spec._words
    for type_id, at in enumerate(spec._starts, spec.first_id):
        offset = words[at]
        if offset in wanted and words[at + 1] >> KIND_SHIFT & KIND_MASK in kinds:
            found.setdefault(wanted[offset], []).append(type_id)
    return found
