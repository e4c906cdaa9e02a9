"""Show what an object file holds; nothing is loaded, and an object of any byte order can be shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ebpfpy.cli.output import note, print_json, print_table, printable
from ebpfpy.cli.status import OK
from ebpfpy.cli.typenames import type_name
from ebpfpy.elf import ReferenceKind, load_collection_spec
from ebpfpy.errors import BtfError

if TYPE_CHECKING:
    import argparse

    from ebpfpy.elf import CollectionSpec, MapSpec, ProgramSpec, VariableSpec


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("object", metavar="OBJECT", help="compiled BPF object file")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the facts."""
    spec = load_collection_spec(options.object)
    facts = describe(spec)
    if options.json:
        print_json(facts)
        return OK
    types = f"{facts['types']} types of its own" if facts["types"] is not None else "no BTF"
    print(printable(f"{spec.source}: {spec.byte_order}-endian, license {spec.license or 'missing'}, {types}"))
    print_table(
        "Programs",
        ("NAME", "SECTION", "TYPE", "INSTRUCTIONS", "RELOCATIONS", "USES"),
        [
            (
                p["name"],
                p["section"],
                " ".join(filter(None, (p["type"], p["attach_type"]))),
                p["instructions"],
                p["relocations"],
                ", ".join(dict.fromkeys(r["name"] for r in p["references"])),
            )
            for p in facts["programs"]
        ],
    )
    print_table(
        "Maps",
        ("NAME", "TYPE", "KEY", "VALUE", "ENTRIES", "FLAGS", "PINNED"),
        [
            (
                m["name"],
                m["type"],
                _sized(m["key_type"], m["key_size"]),
                _sized(m["value_type"], m["value_size"]),
                m["max_entries"],
                hex(m["flags"]) if m["flags"] else "",
                "by name" if m["pinning"] else "",
            )
            for m in facts["maps"]
        ],
    )
    print_table(
        "Variables",
        ("NAME", "TYPE", "MAP", "OFFSET", "SIZE", "BYTES"),
        [(v["name"], v["type"], v["map"], v["offset"], v["size"], _short(v["bytes"])) for v in facts["variables"]],
    )
    print_table("Needed from the kernel or the loader", ("NAME",), [(name,) for name in facts["externs"]])
    for text in spec.notes:
        note(f"note: {text}")
    return OK


def describe(spec: CollectionSpec) -> dict[str, Any]:
    """An object's contents as JSON-ready data."""
    return {
        "object": spec.source,
        "byte_order": spec.byte_order,
        "license": spec.license,
        "types": len(spec.types) if spec.types is not None else None,
        "programs": [_program(program) for program in spec.programs.values()],
        "maps": [_map(map_spec) for map_spec in spec.maps.values()],
        "variables": [_variable(variable) for variable in spec.variables.values()],
        "externs": sorted(
            {
                reference.name
                for program in spec.programs.values()
                for reference in program.references
                if reference.kind is ReferenceKind.UNRESOLVED
            }
        ),
        "notes": spec.notes,
    }


def _program(program: ProgramSpec) -> dict[str, Any]:
    return {
        "name": program.name,
        "section": program.section,
        "type": program.type.name.lower(),
        "attach_type": program.attach_type.name.lower() if program.attach_type is not None else None,
        "attach_to": program.attach_to,
        "attach_module": program.attach_module,
        "autoload": program.autoload,
        "instructions": len(program.code) // 8,
        "relocations": len(program.relocations),
        "functions": [function.name for function in program.functions],
        "references": [
            {"insn": r.insn, "kind": r.kind.value, "name": r.name, "offset": r.offset} for r in program.references
        ],
    }


def _map(map_spec: MapSpec) -> dict[str, Any]:
    return {
        "name": map_spec.name,
        "type": map_spec.type.name.lower(),
        "key_size": map_spec.key_size,
        "key_type": type_name(map_spec.key) or None,
        "value_size": map_spec.value_size,
        "value_type": _value_type(map_spec),
        "max_entries": map_spec.max_entries,
        "flags": int(map_spec.flags),
        "pinning": map_spec.pinning,
        "data_section": map_spec.data_section,
    }


def _value_type(map_spec: MapSpec) -> str | None:
    return "variables" if map_spec.data_section else type_name(map_spec.value) or None


def _variable(variable: VariableSpec) -> dict[str, Any]:
    try:
        text = type_name(variable.type) or None
    except BtfError:
        text = None
    return {
        "name": variable.name,
        "type": text,
        "map": variable.map.name,
        "offset": variable.offset,
        "size": variable.size,
        "bytes": variable.value.hex(),
    }


def _sized(name: str | None, size: int) -> str:
    return f"{name} ({size})" if name else str(size or "")


def _short(text: str) -> str:
    return text if len(text) <= 32 else f"{text[:32]}..."
