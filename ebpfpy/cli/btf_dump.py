"""Show the types in a file: raw BTF, or an ELF file that has some, also compressed.

As raw, the text is that of `bpftool btf dump file FILE format raw`, and --json has bpftool's keys. As C, it is a header
that compiles, with every member where BTF has it; the header of a module includes that of its kernel.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ebpfpy import btf
from ebpfpy.btf.kinds import VLEN_MASK, kind_name
from ebpfpy.btf.rawdump import dump_raw
from ebpfpy.cli.kerneltypes import types_of_file
from ebpfpy.cli.output import printable
from ebpfpy.cli.status import OK, UsageError
from ebpfpy.errors import TypeNotFoundError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

_FUNC_LINKAGE = ("static", "global", "extern")
_KERNEL_HEADER = "vmlinux.h"
_BATCH = 4096
"""Lines written at once."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("file", metavar="FILE", help="raw BTF or an ELF file, also compressed")
    parser.add_argument("--base", metavar="FILE", help="the types that FILE continues, if it is a module's")
    parser.add_argument(
        "--format",
        choices=("raw", "c"),
        default="raw",
        help="raw: a line for each type, one for each of its parts; c: a header (default: raw)",
    )
    parser.add_argument(
        "--include",
        metavar="NAME",
        help=f"what the C header of a module includes (default: {_KERNEL_HEADER})",
    )
    parser.add_argument(
        "--id", action="append", type=int, default=[], metavar="N", help="only this type (repeatable; default: all)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Print the types."""
    if options.include is not None and (options.format != "c" or options.id):
        raise UsageError("--include is for a whole header: --format c without --id")
    spec = types_of_file(options.file, options.base)
    if options.include is not None and not spec.split:
        raise UsageError(f"--include is for the header of a module, and {options.file} stands alone")
    for type_id in options.id:
        try:
            spec.type_by_id(type_id)
        except TypeNotFoundError as error:
            raise UsageError(f"--id {type_id}: {error}") from None
    if options.format == "c":
        return _c(spec, options)
    lines = _json(spec, options.id) if options.json else map(_line, dump_raw(spec, ids=options.id or None))
    batch: list[str] = []
    for line in lines:
        batch.append(line)
        if len(batch) == _BATCH:
            sys.stdout.write("\n".join(batch) + "\n")
            batch.clear()
    if batch:
        sys.stdout.write("\n".join(batch) + "\n")
    return OK


def _c(spec: btf.Spec, options: argparse.Namespace) -> int:
    """Print a header, or the declarations of single types."""
    from ebpfpy.btf.cformat import format_c
    from ebpfpy.btf.cheader import format_header

    if options.json:
        raise UsageError("--json is for --format raw")
    if options.id:
        for type_id in options.id:
            print(format_c(spec.type_by_id(type_id)))
    else:
        # all of it before any of it: half a header would be taken for a whole one
        include = _KERNEL_HEADER if options.include is None else options.include
        sys.stdout.write("".join(format_header(spec, include=include)))
    return OK


def _line(line: str) -> str:
    return line if line.isprintable() else "\t" * line.startswith("\t") + printable(line.removeprefix("\t"))


def _json(spec: btf.Spec, ids: list[int]) -> Iterator[str]:
    """One JSON object, a line for each type: a kernel's would not fit into memory twice."""
    import json

    base = spec.base.name if spec.base is not None else None
    head = json.dumps({"name": spec.name, "base": base, "byte_order": spec.byte_order})
    yield f'{head[:-1]}, "types": ['
    record = ""
    for type_id in ids or range(spec.first_id, spec.first_id + len(spec)):
        if record:
            yield f"{record},"
        record = json.dumps(_record(spec, type_id, spec.type_by_id(type_id)))
    yield f"{record}]}}"


def _record(spec: btf.Spec, type_id: int, kind: btf.Type) -> dict[str, Any]:
    """A type with bpftool's keys."""
    record: dict[str, Any] = {
        "id": type_id,
        "kind": kind_name(kind.kind),
        "name": getattr(kind, "name", "") or "(anon)",
    }
    number = spec.type_id
    match kind:
        case btf.Int():
            flags = {0: "(none)", 1: "SIGNED", 2: "CHAR", 4: "BOOL"}
            record |= {"size": kind.size, "bits_offset": kind.bit_offset, "nr_bits": kind.bits}
            record["encoding"] = flags.get(kind.encoding, "UNKN")
        case btf.Array():
            record |= {"type_id": number(kind.element), "index_type_id": number(kind.index), "nr_elems": kind.count}
        case btf.Struct() | btf.Union():
            record |= {"size": kind.size, "vlen": len(kind.members)}
            record["members"] = [_member(spec, member) for member in kind.members]
        case btf.Enum():
            record |= {"encoding": "SIGNED" if kind.signed else "UNSIGNED", "size": kind.size}
            record |= {"vlen": len(kind.enumerators)}
            record["values"] = [{"name": e.name, "val": e.value} for e in kind.enumerators]
        case btf.Fwd():
            record["fwd_kind"] = "union" if kind.union else "struct"
        case btf.Func():
            record |= {"type_id": number(kind.proto), "linkage": _linkage(kind.linkage)}
        case btf.FuncProto():
            record |= {"ret_type_id": number(kind.result), "vlen": len(kind.params)}
            record["params"] = [{"name": p.name or "(anon)", "type_id": number(p.type)} for p in kind.params]
        case btf.Var():
            record |= {"type_id": number(kind.type), "linkage": _linkage(kind.linkage)}
        case btf.Datasec():
            record |= {"size": kind.size, "vlen": len(kind.variables)}
            record["vars"] = [{"type_id": number(v.var), "offset": v.offset, "size": v.size} for v in kind.variables]
        case btf.Float():
            record["size"] = kind.size
        case btf.DeclTag():
            record |= {"type_id": number(kind.target), "component_idx": kind.component}
        case btf.Pointer() | btf.Typedef() | btf.Volatile() | btf.Const() | btf.Restrict() | btf.TypeTag():
            record["type_id"] = number(kind.target)
        case btf.Unknown(words=(_, info, third, *_)):
            record |= {"vlen": info & VLEN_MASK, "size_or_type": third}
    return record


def _member(spec: btf.Spec, member: btf.Member) -> dict[str, Any]:
    record = {
        "name": member.name or "(anon)",
        "type_id": spec.type_id(member.type),
        "bits_offset": member.offset_bits,
    }
    return record | {"bitfield_size": member.bitfield_size} if member.bitfield_size else record


def _linkage(linkage: int) -> str:
    return _FUNC_LINKAGE[linkage] if linkage < len(_FUNC_LINKAGE) else "(unknown)"
