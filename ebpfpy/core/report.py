"""What relocating a whole object came to: fixups by program, for people and for machines."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import attrs

from .relocator import Relocator

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ebpfpy.btf import Spec

    from .fixup import Fixup
    from .relocation import Relocation


class Relocatable(Protocol):
    """What is needed of a program's blueprint."""

    name: str
    section: str
    attach_to: str
    attach_module: str | None
    code: bytes
    relocations: tuple[Relocation, ...]


@attrs.frozen
class FunctionReport:
    """The relocations of one function of the object.

    Attributes:
        name: of the function: a program's own, or a subprogram's.
        section: that it lies in.
        fixups: one for each of its relocations, by instruction.
    """

    name: str
    section: str
    fixups: tuple[Fixup, ...]


@attrs.frozen
class Report:
    """The relocations of an object against a list of specs.

    Attributes:
        source: the object.
        kernel_types: the specs.
        functions: programs, in the object's order, then the subprograms that they use.
        conflicts: subprograms that several programs share and that need other numbers in one than in another.
    """

    source: str
    kernel_types: tuple[Spec, ...]
    functions: tuple[FunctionReport, ...]
    conflicts: tuple[str, ...] = ()

    @property
    def fixups(self) -> tuple[Fixup, ...]:
        """All fixups."""
        return tuple(fixup for function in self.functions for fixup in function.fixups)

    @property
    def poisoned(self) -> tuple[Fixup, ...]:
        """The fixups that poison their instruction, those for the size of a load included."""
        return tuple(f for f in self.fixups if f.poisoned or f.memory_size_reason is not None)

    def to_json(self) -> dict[str, Any]:
        """The report as JSON-ready data; the layout is fixed and documented in the manual."""
        return {
            "object": self.source,
            "kernel_types": [
                {"name": spec.name, "split": spec.split, "types": len(spec)} for spec in self.kernel_types
            ],
            "programs": [
                {
                    "name": function.name,
                    "section": function.section,
                    "relocations": [_fixup_json(fixup) for fixup in function.fixups],
                }
                for function in self.functions
            ],
        }


def _fixup_json(fixup: Fixup) -> dict[str, Any]:
    target = None
    poisoned = fixup.poisoned or fixup.memory_size_reason is not None
    if fixup.spec is not None:
        target = {"spec": fixup.spec.name, "type_id": fixup.type_id, "text": fixup.target}
    return {
        "insn": fixup.relocation.function_insn,
        "kind": fixup.kind.text,
        "local": fixup.local,
        "local_value": fixup.local_value,
        "target_value": None if poisoned else fixup.target_value,
        "poisoned": poisoned,
        "target": target,
        "candidates": [
            {"spec": c.spec.name, "type_id": c.type_id, "text": c.text, "verdict": c.verdict} for c in fixup.candidates
        ],
    }


def relocate_programs(
    source: str, programs: Iterable[Relocatable], kernel_types: Sequence[Spec], *, prefer_modules: bool = True
) -> Report:
    """Solve the relocations of many programs against the same specs.

    A subprogram that several programs use is reported once, as the first of them sees it.

    Args:
        source: what to call the object.
        programs: blueprints of programs.
        kernel_types: vmlinux first, then modules.
        prefer_modules: let the module that a program attaches to answer before other modules.
    """
    relocator = Relocator(kernel_types)
    own: dict[str, FunctionReport] = {}
    shared: dict[str, FunctionReport] = {}
    conflicts: dict[str, None] = {}
    for program in programs:
        prefer = program.attach_module if prefer_modules else None
        function = program.attach_to or None
        by_function: dict[str, list[Fixup]] = {program.name: []}
        for fixup in relocator.relocate(program.relocations, prefer_module=prefer, prefer_function=function):
            if fixup.memory_size_reason is not None and not _is_memory(program.code, fixup.relocation.insn):
                fixup.memory_size_reason = None  # the offset itself is known, and nothing is loaded from there
            by_function.setdefault(fixup.relocation.function, []).append(fixup)
        for name, fixups in by_function.items():
            section = fixups[0].relocation.section if fixups else program.section
            report = FunctionReport(name, section, tuple(fixups))
            if name == program.name:
                own[name] = report
            elif _numbers(shared.setdefault(name, report)) != _numbers(report):
                conflicts[name] = None
    functions = [*own.values(), *(report for name, report in shared.items() if name not in own)]
    return Report(source, tuple(kernel_types), tuple(functions), tuple(conflicts))


def _is_memory(code: bytes, insn: int) -> bool:
    """Whether the instruction is a load or a store: only those follow a field's size."""
    return code[8 * insn : 8 * insn + 1] != b"" and code[8 * insn] & 7 in (1, 2, 3)  # LDX, ST, STX


def _numbers(function: FunctionReport) -> list[tuple[int | None, int, bool]]:
    """What decides how a function's code is patched."""
    return [(f.target_value, f.target_size, f.memory_size_reason is None) for f in function.fixups]
