"""Find types by name in the running kernel and all its modules, or in files.

PATTERN is a name, or a shell pattern in quotes: * is any text, ? any character, [a-f] and [!a-f] one of a set. Types
with a flavour count for a name: task_struct also finds task_struct___old.

--btf takes files, and directories: of those the kernel's vmlinux (or vmlinuz) and every module below, so
--btf /lib/modules/RELEASE searches whatever the package of a kernel brings.
"""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, Any

from ebpfpy.btf.check import HAVE_SIZE, looks_misplaced
from ebpfpy.btf.header import looks_like_btf
from ebpfpy.btf.kinds import KIND_MASK, KIND_SHIFT, Kind, kind_name
from ebpfpy.btf.names import encode_name
from ebpfpy.btf.search import NameSearch, check_pattern, is_pattern
from ebpfpy.btf.source import find_btf, stem
from ebpfpy.cli.kerneltypes import add_btf_option, types_of_found, types_of_next_file, types_of_running_kernel
from ebpfpy.cli.output import note, print_json, print_table
from ebpfpy.cli.status import DOES_NOT_HOLD, OK, UsageError
from ebpfpy.errors import EbpfError, InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ebpfpy import btf

_NEAR = 12
"""Similar names in one BTF; most are those of members."""
_NAMELESS = {Kind.VOID, Kind.PTR, Kind.ARRAY, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.FUNC_PROTO}
KINDS = tuple(kind.name.lower() for kind in Kind if kind not in _NAMELESS)
"""What can be found by a name."""


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("pattern", metavar="PATTERN", help="a name, or a shell pattern")
    add_btf_option(parser, "the running kernel and all its modules")
    parser.add_argument(
        "--kind",
        action="extend",
        type=_kinds,
        metavar="KIND[,KIND...]",
        help=f"only these kinds: {', '.join(KINDS)} (enum: also enum64)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Search, print."""
    try:
        check_pattern(options.pattern)
        search = NameSearch(options.pattern)
    except InputError as error:
        raise UsageError(str(error)) from None
    kinds = None if options.kind is None else frozenset(options.kind)
    searched: list[str] = []
    found: list[dict[str, Any]] = []
    near: list[str] = []
    for spec in _kernel_types(options.btf):
        try:
            found += _matches(spec, search, kinds)
        except EbpfError as error:
            if not spec.split:
                raise
            note(f"module {spec.name} is left out: {error}")
            continue
        if not found and not is_pattern(options.pattern):
            near += [
                each for each in spec.near_names(options.pattern, _NEAR) if spec.ids_by_name(encode_name(each), kinds)
            ]
        searched.append(spec.name)
    if options.json:
        print_json({"name": options.pattern, "searched": searched, "types": found})
        return OK if found else DOES_NOT_HOLD
    where = f"{len(searched)} BTF{'' if len(searched) == 1 else 's'}"
    if found:
        print_table(
            f"{options.pattern} in {where}",
            ("BTF", "ID", "KIND", "NAME", "SIZE"),
            [
                (row["btf"], row["id"], row["kind"], row["name"], "" if row["size"] is None else row["size"])
                for row in found
            ],
        )
    else:
        what = f"{' or '.join(sorted(Kind(kind).name.lower() for kind in kinds))} " if kinds else "type "
        from difflib import get_close_matches

        best = get_close_matches(options.pattern, dict.fromkeys(near), cutoff=0)
        hint = f"; near: {', '.join(best)}" if best else ""
        note(f"no {what}{options.pattern} in {where}{hint}")
    return OK if found else DOES_NOT_HOLD


def _kinds(text: str) -> list[Kind]:
    """The kinds in a list of names."""
    found = []
    for name in text.split(","):
        if name not in KINDS:
            nameless = any(name == kind.name.lower() for kind in _NAMELESS)
            why = "a kind without names" if nameless else "no kind"
            raise argparse.ArgumentTypeError(f"{name!r} is {why}; there are {', '.join(KINDS)}")
        found.append(Kind[name.upper()])
    return [*found, Kind.ENUM64] if Kind.ENUM in found else found


def _matches(spec: btf.Spec, search: NameSearch, kinds: frozenset[Kind] | None) -> Iterator[dict[str, Any]]:
    for type_id in search.ids(spec, kinds):
        words, at = spec.locate(type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        yield {
            "btf": spec.name,
            "split": spec.split,
            "id": type_id,
            "kind": kind_name(kind).lower(),
            "name": spec.string(words[at]),
            "size": words[at + 2] if kind in HAVE_SIZE else None,
        }


# --- where to search ----------------------------------------------------------------------------


def _kernel_types(paths: Sequence[str]) -> Iterator[btf.Spec]:
    """The types in files and directories, one after the other: of thousands of modules, one is in memory."""
    if not paths:
        yield from types_of_running_kernel()
        return
    kernel: btf.Spec | None = None
    for path in paths:
        if not os.path.isdir(path):
            spec = types_of_next_file(path, kernel)
            kernel = spec if kernel is None else kernel
            yield spec
            continue
        for file in _files(path):
            if kernel is None:
                kernel = types_of_next_file(file, None)
                yield kernel
            elif (module := _of_a_directory(file, kernel)) is not None:
                yield module


def _files(directory: str) -> list[str]:
    """The files below a directory that can have types: kernels first, then modules, each sorted by name."""
    kernels, modules = [], []
    for parent, _, names in os.walk(directory):
        for name in names:
            path = os.path.join(parent, name)
            if os.path.exists(path) and not os.path.isfile(path):
                continue  # a pipe would wait for a writer
            if re.fullmatch("vmlinu[xz](-.*)?", stem(name)):
                kernels.append(path)
            elif any(suffix in ("btf", "ko") for suffix in name.split(".")[1:]) or ("." not in name and _is_btf(path)):
                modules.append(path)
    if not kernels and not modules:
        raise UsageError(f"{directory} has neither vmlinux nor modules in it")
    return [*sorted(kernels), *sorted(modules)]


def _is_btf(path: str) -> bool:
    """Whether a file without a suffix is BTF, as those in /sys/kernel/btf are."""
    try:
        with open(path, "rb") as file:
            return looks_like_btf(memoryview(file.read(2)))
    except OSError:
        return False


def _of_a_directory(path: str, kernel: btf.Spec) -> btf.Spec | None:
    """The types in a file that nobody named; None, with a note, where they cannot be read or fit another kernel."""
    try:
        found = find_btf(path)
        spec = found.spec(kernel) if found.distilled is None else None
        # the whole question takes longer than all the rest, so it is only asked where there is reason to
        if spec is None or looks_misplaced(spec):
            spec = types_of_found(found, path, kernel)
    except (EbpfError, OSError) as error:
        note(f"{path} is left out: {getattr(error, 'message', error)}")
        return None
    return spec
