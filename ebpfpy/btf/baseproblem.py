"""How the types of a distilled base are found in another base, and what is wrong with those that are not."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .typeheads import Candidate, Head


class BaseProblem(NamedTuple):
    """A type of a distilled base for which the new base has nothing that fits.

    Attributes:
        type_id: its id in the distilled base.
        kind: in words, such as "struct" or "fwd union".
        name: its name.
        size: its size in bytes where the split was built; None for a forward declaration.
        reason: "missing", "kind", "size", "encoding", "declared only" or "ambiguous"; in the kernel's mode also
            "flag", for a declaration whose definition the kernel takes for the other of struct and union, and "string",
            for a string (its text is `name`) that the kernel cannot move.
        candidates: what has that name in the new base.
        embedded_in: the members ("struct mine.lock"), variables and parameters that contain it, for which its size
            must agree.
    """

    type_id: int
    kind: str
    name: str
    size: int | None
    reason: str
    candidates: tuple[Candidate, ...] = ()
    embedded_in: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.reason == "string":
            return f"string {self.name!r} lies in the distilled base but is no type's name"
        size = f" ({self.size} bytes)" if self.size is not None else ""
        there = ", ".join(map(str, self.candidates[:3]))
        if len(self.candidates) > 3:
            there += f" and {len(self.candidates) - 3} more"
        what = {
            "missing": "there is no such type",
            "kind": f"it is another kind of type there: {there}",
            "flag": f"the kernel takes what has bitfields for a union, what has none for a struct: {there}",
            "size": f"its size differs there: {there}",
            "encoding": f"its sign or encoding differs there: {there}",
            "declared only": f"it is declared there, not defined: {there}",
            "ambiguous": f"several types answer to it: {there}",
        }[self.reason]
        text = f"{self.kind} {self.name}{size}: {what}"
        if self.embedded_in:
            more = f" and {len(self.embedded_in) - 1} more" if len(self.embedded_in) > 1 else ""
            text += f"; embedded in {self.embedded_in[0]}{more}"
        return text


class BaseMatch(NamedTuple):
    """How the types of a distilled base are found in another base.

    Attributes:
        ids: id in the distilled base -> id in the new base, for those that are found.
        problems: those that do not fit, by id.
        notes: what fits, yet is not the same: sizes that changed behind a pointer, types that are only declared.
    """

    ids: dict[int, int]
    problems: tuple[BaseProblem, ...]
    notes: tuple[str, ...]


def problem_of(
    wanted: Head,
    name: bytes,
    reason: str,
    candidates: list[Head],
    embedded: dict[int, list[str]],
    *,
    exact: bool = False,
) -> BaseProblem:
    """The problem with a type for which nothing fits, in what it is embedded included.

    Args:
        wanted: the type,
        name: and its name.
        reason: what is wrong, see `BaseProblem`.
        candidates: what has that name.
        embedded: what contains which type.
        exact: each of the candidates answers to it, in somebody's eyes; else those that are like it are named.
    """
    if reason == "ambiguous" and not exact:  # those that could be meant
        alike = [each for each in candidates if each.kind == wanted.kind] or candidates
        candidates = [each for each in alike if each.size == wanted.size] or alike
    return BaseProblem(
        wanted.type_id,
        wanted.keyword,
        text_of(name),
        wanted.candidate.size,
        reason,
        tuple(each.candidate for each in candidates),
        tuple(embedded.get(wanted.type_id, ())),
    )


def text_of(name: bytes) -> str:
    """A name for people."""
    return name.decode("utf-8", "backslashreplace")
