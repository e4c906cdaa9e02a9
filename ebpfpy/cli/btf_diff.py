"""Show what changed between the types of two kernels (or modules, or objects): from the first file to the second.

Types are compared by name and content, so a change is shown once, where it was made. Offsets are bytes, with the bits
of a bitfield behind a colon. Names of parameters do not count.

As with diff(1), the exit status is 0 if there is no difference and 1 if there is one; more is trouble.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.cli.kerneltypes import types_of_file
from ebpfpy.cli.output import BOLD, GREEN, RED, YELLOW, paint, print_json, printable
from ebpfpy.cli.status import DOES_NOT_HOLD, OK, UsageError
from ebpfpy.errors import TypeNotFoundError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from ebpfpy.btf import Change, Diff

_KINDS = ("struct", "union", "enum", "typedef", "func", "int", "float")


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("old", metavar="A", help="the old types: raw BTF or an ELF file, also compressed")
    parser.add_argument("new", metavar="B", help="the new types")
    parser.add_argument("--base-a", metavar="FILE", help="the types that A continues, if it is a module's")
    parser.add_argument("--base-b", metavar="FILE", help="the types that B continues, if it is a module's")
    parser.add_argument("--type", metavar="NAME", help="only types of that name")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Compare, print."""
    from ebpfpy.btf.difference import diff

    old = types_of_file(options.old, options.base_a, "--base-a")
    new = types_of_file(options.new, options.base_b, "--base-b")
    try:
        found = diff(old, new, options.type)
    except TypeNotFoundError as error:  # status 1 would say that the two differ
        raise UsageError(str(error)) from None
    if options.json:
        print_json(_json(found, options))
    else:
        for line in _lines(found):
            print(line)
        print(_summary(found, old.name or options.old, new.name or options.new))
    return DOES_NOT_HOLD if found else OK


def _lines(found: Diff) -> Iterator[str]:
    for kind, name in found.removed:
        yield paint(f"- {kind} {printable(name)}", RED)
    for kind, name in found.added:
        yield paint(f"+ {kind} {printable(name)}", GREEN)
    for each in found.changed:
        yield paint(f"! {each.kind} {printable(each.name)}", BOLD)
        for change in each.changes:
            yield _line(change)


def _line(change: Change) -> str:
    old, new, member = printable(str(change.old)), printable(str(change.new)), printable(change.member)
    at = f" @ {_place(change.offset)}" if change.offset is not None else ""
    match change.what:
        case "removed":
            return paint(f"    - {member}: {old}{at}", RED)
        case "added":
            return paint(f"    + {member}: {new}{at}", GREEN)
        case "moved":
            return paint(f"    ~ {member}: offset {_place(int(old))} -> {_place(int(new))}", YELLOW)
        case "retyped":
            return paint(f"    ~ {member}: {old} -> {new}", YELLOW)
        case "resized":
            return paint(f"    ~ {member}: size {old} -> {new}", YELLOW)
        case "width":
            return paint(f"    ~ {member}: {old} -> {new} bits", YELLOW)
        case "size":
            return paint(f"    ~ size {old} -> {new}", YELLOW)
        case "value":
            return paint(f"    ~ {member} = {old} -> {new}", YELLOW)
        case "order":
            return paint("    ~ the order of what both have", YELLOW)
        case _:
            return f"{paint(f'    - {old}', RED)}\n{paint(f'    + {new}', GREEN)}"


def _place(bits: int) -> str:
    """An offset in bytes; where it is no whole number of them, with the bits behind a colon."""
    return f"{bits // 8}:{bits % 8}" if bits % 8 else str(bits // 8)


def _counts(found: Diff) -> dict[str, dict[str, int]]:
    counts = {kind: {"added": 0, "removed": 0, "changed": 0} for kind in _KINDS}
    for kind, _ in found.added:
        counts[kind]["added"] += 1
    for kind, _ in found.removed:
        counts[kind]["removed"] += 1
    for each in found.changed:
        counts[each.kind]["changed"] += 1
    return counts


def _summary(found: Diff, old: str, new: str) -> str:
    if not found:
        return f"{printable(old)} -> {printable(new)}: no difference in {found.unchanged} types"
    words = [
        f"{kind} +{count['added']} -{count['removed']} !{count['changed']}"
        for kind, count in _counts(found).items()
        if any(count.values())
    ]
    return f"{printable(old)} -> {printable(new)}: {', '.join(words)}; {found.unchanged} types are the same"


def _json(found: Diff, options: argparse.Namespace) -> dict[str, object]:
    """Offsets in bits."""
    return {
        "old": options.old,
        "new": options.new,
        "summary": _counts(found) | {"unchanged": found.unchanged},
        "removed": [{"kind": kind, "name": name} for kind, name in found.removed],
        "added": [{"kind": kind, "name": name} for kind, name in found.added],
        "changed": [
            {
                "kind": each.kind,
                "name": each.name,
                "changes": [
                    {
                        "what": change.what,
                        "member": change.member,
                        "old": change.old,
                        "new": change.new,
                        "offset_bits": change.offset,
                    }
                    for change in each.changes
                ],
            }
            for each in found.changed
        ],
    }
