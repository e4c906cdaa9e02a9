"""Show an object's instructions in the words of the verifier's log.

Source lines stand between them; maps and functions have their names, and CO-RE relocations are comments.

With --btf or --relocate the code is shown relocated: patched as it would be loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ebpfpy import asm, core
from ebpfpy.cli.kerneltypes import add_btf_option, kernel_types
from ebpfpy.cli.output import BOLD, DIM, paint, print_json, printable
from ebpfpy.cli.status import OK, UsageError
from ebpfpy.elf import ReferenceKind, load_collection_spec
from ebpfpy.errors import BtfError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from ebpfpy import btf
    from ebpfpy.elf import ProgramSpec

_COMMENT_COLUMN = 42


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("object", metavar="OBJECT", help="compiled BPF object file")
    parser.add_argument(
        "--program", action="append", default=[], metavar="NAME", help="only this program (repeatable; default: all)"
    )
    parser.add_argument("--relocate", action="store_true", help="relocate against the running kernel first")
    add_btf_option(parser, "the code is shown as the compiler wrote it; implies --relocate")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Disassemble, print."""
    spec = load_collection_spec(options.object)
    programs = select_programs(spec.programs, options.program)
    targets = kernel_types(options.btf) if options.btf or options.relocate else []
    relocator = core.Relocator(targets) if targets else None
    listings = [_listing(program, spec.types, relocator) for program in programs]
    if options.json:
        print_json({"object": spec.source, "programs": listings})
        return OK
    for listing in listings:
        _print(listing)
    return OK


def select_programs(programs: dict[str, ProgramSpec], names: Sequence[str]) -> list[ProgramSpec]:
    """The programs of those names, or all without names.

    Raises:
        UsageError: the object has no program of a name; says which it has.
    """
    for name in names:
        if name not in programs:
            has = ", ".join(programs) or "none"
            raise UsageError(f"--program {name}: the object has no such program; it has {has}")
    return [program for name, program in programs.items() if not names or name in names]


def _listing(program: ProgramSpec, types: btf.Spec | None, relocator: core.Relocator | None) -> dict[str, Any]:
    """A program's instructions as JSON-ready data."""
    code = program.code
    relocations: dict[int, list[dict[str, Any]]] = {}
    if relocator is not None:
        fixups = relocator.relocate(
            program.relocations, prefer_module=program.attach_module, prefer_function=program.attach_to or None
        )
        code = core.patch(code, fixups, program.byte_order)
        for fixup in fixups:
            relocations.setdefault(fixup.relocation.insn, []).append(_fixup(fixup))
    else:
        for fixup in core.relocate(program.relocations, []):  # against nothing: only to name the local side
            relocations.setdefault(fixup.relocation.insn, []).append({"kind": fixup.kind.text, "local": fixup.local})
    functions = {function.start: function.name for function in program.functions}
    symbols = _symbols(program, functions)
    sources = _sources(program, types)

    def symbol(slot: int, insn: asm.Instruction) -> str | None:
        if insn.opcode == asm.LD_IMM64 or insn.src != asm.PseudoCall.CALL:
            return symbols.get(slot)
        return symbols.get(slot) or functions.get(slot + 1 + insn.imm)

    instructions = [
        {
            "insn": line.slot,
            "opcode": line.instruction.opcode,
            "text": line.text,
            "function": functions.get(line.slot),
            "source": sources.get(line.slot),
            "relocations": relocations.get(line.slot, []),
        }
        for line in asm.disassemble(code, program.byte_order, symbol=symbol)
    ]
    return {"name": program.name, "section": program.section, "instructions": instructions}


def _fixup(fixup: core.Fixup) -> dict[str, Any]:
    return {
        "kind": fixup.kind.text,
        "local": fixup.local,
        "poisoned": fixup.poisoned or fixup.memory_size_reason is not None,
        "target": None if fixup.spec is None else {"spec": fixup.spec.name, "text": fixup.target},
    }


def _symbols(program: ProgramSpec, functions: dict[int, str]) -> dict[int, str]:
    """What the operand of an instruction refers to, in words, by instruction."""
    symbols = {}
    for reference in program.references:
        match reference.kind:
            case ReferenceKind.MAP:
                text = f"map[{reference.name}]"
            case ReferenceKind.MAP_VALUE:
                text = f"map[{reference.name}][0]+{reference.offset}"
            case ReferenceKind.FUNCTION:
                text = f"func[{functions.get(reference.offset, reference.name)}]"
            case _:
                text = f"extern[{reference.name}]"
        symbols[reference.insn] = printable(text)
    return symbols


def _sources(program: ProgramSpec, types: btf.Spec | None) -> dict[int, dict[str, Any]]:
    """The source line that begins at an instruction, by instruction."""
    sources: dict[int, dict[str, Any]] = {}
    if types is None:
        return sources
    for insn, file_off, line_off, line_col in program.line_infos:
        try:
            file, text = types.string(file_off), types.string(line_off)
        except BtfError:
            continue
        sources[insn] = {"file": file, "line": line_col >> 10, "column": line_col & 0x3FF, "text": text.strip()}
    return sources


def _print(listing: dict[str, Any]) -> None:
    print(paint(printable(f"{listing['name']} ({listing['section']}):"), BOLD))
    last = None
    for row in listing["instructions"]:
        if row["function"] is not None and row["insn"]:
            print(paint(printable(f"{row['function']}:"), BOLD))
        source = row["source"]
        if source is not None and (source["file"], source["line"]) != last:
            last = source["file"], source["line"]
            print(paint(printable(f"; {source['file']}:{source['line']}: {source['text']}"), DIM))
        text = f"{row['insn']:5}: {row['text']}"
        comment = "; ".join(_comment(relocation) for relocation in row["relocations"])
        print(f"{text:<{_COMMENT_COLUMN}} {paint(printable(f'; {comment}'), DIM)}" if comment else text)
    print()


def _comment(relocation: dict[str, Any]) -> str:
    text = f"CO-RE {relocation['kind']} {relocation['local']}"
    if relocation.get("poisoned"):
        return f"{text}: poisoned"
    target = relocation.get("target")
    return f"{text} -> {target['spec']} {target['text']}" if target else text
