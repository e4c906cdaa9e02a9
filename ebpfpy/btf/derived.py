"""What was worked out from the types of a spec, and must be again when the size of its pointers changes.

A split has that size from its base. So a base knows the splits that have something of this kind; thousands of others
were only opened, and cost nothing here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import WeakSet

from .kept import Kept

if TYPE_CHECKING:
    from .spec import Spec


class Derived(Kept[Any, Any]):
    """A dictionary of a spec that its base hears of."""

    def __get__(self, of: Spec, owner: type) -> dict[Any, Any]:
        if of.base is not None:
            splits: WeakSet[Spec] = of.base.__dict__.setdefault("_deriving", WeakSet())
            splits.add(of)
        return super().__get__(of, owner)


def forget_derived(spec: Spec) -> None:
    """Drop what depends on the size of a pointer; in splits, too, unless they have a size of their own."""
    spec.derived.clear()
    for split in list(spec.__dict__.get("_deriving", ())):
        if split._pointer_size is None:
            forget_derived(split)
