"""The answer to one relocation, and how it was found.

Answers are made by the thousand and read by the dozen, so a `Fixup` keeps numbers and works out words when asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .access import Mismatch
from .text import MEANING, access_text

if TYPE_CHECKING:
    from ebpfpy import btf

    from .access import Access
    from .query import Answer, Choice, Query
    from .relocation import Relocation, RelocationKind


class Candidate(NamedTuple):
    """A target type that was looked at.

    Attributes:
        spec: the BTF that it is in.
        type_id: its id there.
        text: the type, or where it matches, the path on it: "[718] struct file.f_pos (0:7 @ offset 104)".
        verdict: "chosen", "agrees with the chosen one", or why not.
    """

    spec: btf.Spec
    type_id: int
    text: str
    verdict: str

    def __str__(self) -> str:
        return f"{self.spec.name or 'BTF'}: {self.text}: {self.verdict}"


class Fixup:
    """One relocation, solved.

    Attributes:
        relocation: what was asked.
        local_value: the number by the local types, which the compiler put into the instruction (not always
        that one where
            `validate` is False).
        target_value: the number to put there; None when the instruction is poisoned.
        spec: the BTF that answered, None where none did.
        type_id: the chosen target type's id in `spec`; 0 where there is none. For a module's type it is an id of
            that module's BTF, meaningless without the module (see `module`).
        validate: the instruction must hold `local_value` before it is patched.
        local_size, target_size: bytes of the field here and there, which a load or store has to follow; else 0.
        memory_size_reason: why a load or store has to be poisoned although the offset is known; None if it need not.
    """

    __slots__ = (
        "_answer", "_choice", "_query", "local_size", "local_value", "memory_size_reason", "relocation", "spec",
        "target_size", "target_value", "type_id", "validate",
    )  # fmt: skip

    def __init__(self, relocation: Relocation, query: Query, choice: Choice | None, answer: Answer | Mismatch) -> None:
        self.relocation = relocation
        self._query = query
        self._choice = choice
        self._answer = answer
        self.local_value = query.value.number
        self.validate = query.value.validate
        self.memory_size_reason: str | None = None
        self.local_size = self.target_size = 0
        self.spec: btf.Spec | None = None
        self.type_id = 0
        self.target_value: int | None
        if isinstance(answer, Mismatch):
            self.target_value = None if query.poisons else 0
        else:
            self.target_value = answer.value.number
            if choice is not None and choice.chosen is not None:
                self.spec, self.type_id = choice.chosen.spec, choice.chosen.type_id
            self.local_size, self.target_size = query.value.size, answer.value.size
            self.memory_size_reason = answer.memory_size_reason

    @property
    def kind(self) -> RelocationKind:
        """What was asked."""
        return self._query.kind

    @property
    def poisoned(self) -> bool:
        """The target has no answer: the instruction must never be executed."""
        return self.target_value is None

    @property
    def local(self) -> str:
        """The local path in words: "[12] struct task_struct.mm (0:3 @ offset 24)"."""
        return access_text(self.relocation.spec, self._query.access, self.kind)

    @property
    def target(self) -> str | None:
        """The target path in words, None where there is none."""
        if self.spec is None or isinstance(self._answer, Mismatch):
            return None
        return access_text(self.spec, self._answer.access, self.kind)

    @property
    def local_access(self) -> Access:
        """The local path."""
        return self._query.access

    @property
    def target_access(self) -> Access | None:
        """The target path, None where there is none."""
        return None if isinstance(self._answer, Mismatch) else self._answer.access

    @property
    def target_type(self) -> btf.Type | None:
        """The chosen target type, None where there is none."""
        return self.spec.type_by_id(self.type_id) if self.spec is not None else None

    @property
    def module(self) -> str | None:
        """The name of the module whose BTF answered; None for the kernel itself, or without an answer."""
        return self.spec.name if self.spec is not None and self.spec.split else None

    @property
    def reason(self) -> str:
        """Why there is no answer; "" where there is one."""
        return self._answer.reason if isinstance(self._answer, Mismatch) else ""

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Every type of that name and kind in any of the specs, the chosen one first, each with its verdict.

        Specs behind the one that answered are searched only when this is read.
        """
        return self._choice.candidates(self._query) if self._choice is not None else ()

    @property
    def near(self) -> tuple[str, ...]:
        """Names that resemble the one that was not found, best first."""
        if not isinstance(self._answer, Mismatch) or self._choice is None:
            return ()
        return self._choice.near(self._query)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Specs that could not be searched, and why."""
        return tuple(self._choice.warnings) if self._choice is not None else ()

    def __repr__(self) -> str:
        value = "poisoned" if self.poisoned else f"{self.local_value} -> {self.target_value}"
        return f"<Fixup {self.kind.text} {self.local}: {value}>"

    def explain(self) -> str:
        """The whole story, several lines, for people."""
        where = f"{self.relocation.function}, " if self.relocation.function else ""
        lines = [f"{where}instruction {self.relocation.function_insn}: {self.kind.text} of {self.local}"]
        lines.append(f"  asked: {MEANING[self.kind]}; by the object's own types {self.local_value}")
        if self.poisoned:
            lines.append(f"  no answer: {self.reason}; poisoned: the kernel refuses a program that can reach it")
        else:
            lines.append(f"  answer: {self.target_value}" + (f", because: {self.reason}" if self.reason else ""))
        if self.spec is not None:
            lines.append(f"  chosen from {self.spec.name or 'BTF'}: {self.target}")
        if self.memory_size_reason:
            lines.append(f"  poisoned if it loads or stores: {self.memory_size_reason}")
        lines += [f"  candidate {candidate}" for candidate in self.candidates if candidate.verdict != "chosen"]
        if self.near:
            lines.append(f"  did you mean: {', '.join(self.near)}?")
        lines += [f"  warning: {warning}" for warning in self.warnings]
        return "\n".join(lines)
