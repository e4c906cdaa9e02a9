"""Relocate every program of an object against kernel types, without loading anything.

Says what became of each relocation: its value here and there, the type that was chosen, and why others were not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.cli.kerneltypes import add_btf_option, kernel_types
from ebpfpy.cli.output import GREEN, RED, YELLOW, note, paint, print_json, printable
from ebpfpy.cli.status import DOES_NOT_HOLD, OK
from ebpfpy.elf import load_collection_spec, write_relocated

if TYPE_CHECKING:
    import argparse

    from ebpfpy.core import Fixup, FunctionReport, Report


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("object", metavar="OBJECT", help="compiled BPF object file")
    add_btf_option(parser, "the running kernel and all its modules")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--explain", action="store_true", help="tell each relocation's whole story")
    how.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--output", metavar="FILE", help="write the object with the target's numbers in it")
    parser.add_argument("--strict", action="store_true", help="exit with 1 when an instruction has to be poisoned")


def run(options: argparse.Namespace) -> int:
    """Relocate, report."""
    spec = load_collection_spec(options.object)
    report = spec.relocate(kernel_types(options.btf))
    if options.json:
        print_json(report.to_json())
    else:
        print_report(report, explain=options.explain)
    if options.output is not None:
        relocated = write_relocated(options.object, report)
        try:
            with open(options.output, "wb") as file:
                file.write(relocated)
        except OSError as error:  # of a write, it does not name the file
            raise OSError(error.errno, error.strerror, options.output) from None
        if report.poisoned:
            programs = ", ".join(dict.fromkeys(fixup.relocation.function for fixup in report.poisoned))
            note(
                f"{options.output} holds {_count(len(report.poisoned), 'poisoned instruction')} ({programs}): a kernel"
                " refuses a program that can reach one"
            )
    return DOES_NOT_HOLD if options.strict and report.poisoned else OK


def print_report(report: Report, *, explain: bool = False) -> None:
    """Print a report for people."""
    specs = [spec.name or "(unnamed)" for spec in report.kernel_types]
    shown = specs if len(specs) <= 6 else [*specs[:5], f"{len(specs) - 5} more"]
    print(printable(f"{report.source} against {', '.join(shown)}"))
    for function in report.functions:
        _print_function(function, explain=explain)
    count, poisoned = len(report.fixups), len(report.poisoned)
    summary = f"{_count(count, 'relocation')}, {poisoned} poisoned"
    print()
    print(paint(summary, RED if poisoned else GREEN))
    for warning in dict.fromkeys(warning for fixup in report.fixups for warning in fixup.warnings):
        print(paint(printable(f"warning: {warning}"), YELLOW))


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _print_function(function: FunctionReport, *, explain: bool) -> None:
    print()
    print(printable(f"{function.name} ({function.section})") + ("" if function.fixups else ": no relocations"))
    for fixup in function.fixups:
        if explain:
            for line in fixup.explain().splitlines():
                print(f"  {printable(line)}")
        else:
            print(_line(fixup))


def _line(fixup: Fixup) -> str:
    head = printable(f"  {fixup.relocation.function_insn:5}  {fixup.kind.text:<14}  {fixup.local}")
    if fixup.poisoned:
        return f"{head}: {paint(printable(f'poisoned: {fixup.reason}'), RED)}"
    change = f"{fixup.local_value} -> {fixup.target_value}"
    if fixup.memory_size_reason:
        return f"{head}: {change}, {paint(printable(f'poisoned: {fixup.memory_size_reason}'), RED)}"
    if fixup.spec is not None:
        return head + printable(f": {change}, {fixup.spec.name or 'BTF'} {fixup.target}")
    return head + printable(f": {change}" + (f", {fixup.reason}" if fixup.reason else ""))
