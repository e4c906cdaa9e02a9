"""Types of kinds that came after this library.

Where a blob's layout section tells how long the records of such a kind are, they are stepped over, and shown as
`Unknown`: a number, a name and words. Which of the words are ids of types, and which are offsets of strings, nobody
here knows. So such a record can be copied where all ids and all string offsets stay what they are, and nowhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError, InputError

from .kinds import KIND_MASK, KIND_SHIFT, kind_name
from .typebase import Named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .kinds import Kind
    from .spec import Spec
    from .typebase import Type


class Unknown(Named):
    """A type of a kind that this library does not know, as the `Spec` has it; never built by hand.

    It has no size, and refers to nothing as far as is known. A `Builder` writes it, byte for byte, as part of a copy of
    all types of its spec (``builder.add_all(spec)``).
    """

    __slots__ = ()

    def __init__(self) -> None:
        raise InputError("types of unknown kinds are read from a Spec, and not built by hand")

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """The number of its kind: an int that is no member of `Kind`."""
        return self._record[1] >> KIND_SHIFT & KIND_MASK  # type: ignore[return-value]

    @property
    def name(self) -> str:
        """Its name; "" if its record's first word is no offset of a string."""
        try:
            return super().name
        except BtfError:
            return ""

    @property
    def words(self) -> tuple[int, ...]:
        """The record: ``name_off, info, size_or_type``, then what its kind has behind them."""
        return tuple(self._record)

    @property
    def _record(self) -> memoryview:
        spec = self._spec
        assert spec is not None
        words, at = spec._words, self._position
        return words[at : at + spec._sizes[words[at + 1]]]

    def _parts(self) -> Iterator[str]:
        yield f"kind={int(self.kind)}"
        yield repr(self.name) if self.name else "(anon)"


def unknown_kind(spec: Spec, type_id: int, consequence: str) -> BtfError:
    """The error about a type of this spec or its base that is of an unknown kind.

    Args:
        spec: which is asked for the type.
        type_id: its id.
        consequence: what is not possible because of that.
    """
    while spec.base is not None and type_id < spec.first_id:
        spec = spec.base
    words, at = spec.locate(type_id)
    offset = spec._sections.types + 4 * at
    return BtfError(
        f"type {type_id} has the unknown kind {kind_name(words[at + 1] >> KIND_SHIFT & KIND_MASK)}: {consequence}",
        source=spec.name or "BTF",
        offset=offset,
    )


def check_place(of: Unknown, base: Spec | None, ids: dict[Type, int]) -> None:
    """Refuse to write a type of an unknown kind unless all ids of its spec stay what they are.

    Args:
        of: the type.
        base: of what is written.
        ids: the ids that types get there.

    Raises:
        BtfError: some would change.
    """
    spec = of._spec
    assert spec is not None
    if spec.base is not base or any(ids.get(each) != type_id for type_id, each in enumerate(spec, spec.first_id)):
        raise unknown_kind(
            spec,
            spec.type_id(of),
            f"{of!r} may hold ids, which cannot be renumbered; only a copy of all types of its spec in their places"
            " can have it: add_all(spec), before anything else, to a Builder on the same base",
        )
