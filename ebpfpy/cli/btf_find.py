"""Find a type by its name in the running kernel and all its modules, or in files.

Types with a flavour count: ``task_struct`` also finds ``task_struct___old``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ebpfpy import btf
from ebpfpy.cli.kerneltypes import add_btf_option, kernel_types
from ebpfpy.cli.output import note, print_json, print_table
from ebpfpy.cli.status import DOES_NOT_HOLD, OK
from ebpfpy.errors import EbpfError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

KINDS = tuple(kind.name.lower() for kind in btf.Kind if kind is not btf.Kind.VOID)


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="name of the type")
    add_btf_option(parser, "the running kernel and all its modules")
    parser.add_argument("--kind", choices=KINDS, metavar="KIND", help=f"only this kind: {', '.join(KINDS)}")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Search, print."""
    specs = kernel_types(options.btf)
    found = [row for spec in specs for row in _matches(spec, options.name, options.kind)]
    if options.json:
        print_json({"name": options.name, "searched": [spec.name for spec in specs], "types": found})
    elif found:
        print_table(
            f"{options.name} in {len(specs)} BTF{'' if len(specs) == 1 else 's'}",
            ("BTF", "ID", "KIND", "NAME", "SIZE"),
            [
                (row["btf"], row["id"], row["kind"], row["name"], "" if row["size"] is None else row["size"])
                for row in found
            ],
        )
    else:
        kind = f"{options.kind} " if options.kind else "type "
        near = specs[0].near_names(options.name)
        hint = f"; near: {', '.join(near)}" if near else ""
        note(f"no {kind}{options.name} in {len(specs)} BTF{'' if len(specs) == 1 else 's'}{hint}")
    return OK if found else DOES_NOT_HOLD


def _matches(spec: btf.Spec, name: str, kind: str | None) -> Iterator[dict[str, Any]]:
    try:
        types = {id(t): t for t in [*spec.any_types_by_name(name), *spec.types_by_essential_name(name)]}
        for found in types.values():
            if kind is None or found.kind.name.lower() == kind:
                yield {
                    "btf": spec.name,
                    "split": spec.split,
                    "id": spec.type_id(found),
                    "kind": found.kind.name.lower(),
                    "name": getattr(found, "name", ""),
                    "size": getattr(found, "size", None),
                }
    except EbpfError as error:
        if not spec.split:
            raise
        note(f"module {spec.name} is left out: {error}")
