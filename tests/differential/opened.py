"""Objects as they are opened, before anything is loaded: the facts that libbpf tells, from libbpf and from ebpfpy."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from ebpfpy.elf import load_collection_spec
from ebpfpy.errors import EbpfError
from tests.differential import newlibbpf
from tests.vm.tools import SetupError

CLANG = "clang-19"
INCLUDE = Path("/usr/include")

ASK = """
import ctypes, json, sys
lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
pointer = ctypes.c_void_p
lib.libbpf_set_print.argtypes = [pointer]
lib.libbpf_set_print(None)
lib.bpf_object__open_file.restype = pointer
lib.bpf_object__open_file.argtypes = [ctypes.c_char_p, pointer]
lib.bpf_object__close.argtypes = [pointer]
lib.bpf_map__map_extra.restype = ctypes.c_uint64
lib.bpf_program__autoload.restype = ctypes.c_bool
lib.bpf_program__insn_cnt.restype = ctypes.c_size_t
FACTS = {
    "map": ("type", "key_size", "value_size", "max_entries", "map_flags", "map_extra"),
    "program": ("type", "expected_attach_type", "autoload", "insn_cnt"),
}

def facts(handle, kind):
    advance = getattr(lib, "bpf_object__next_" + kind)
    advance.restype, advance.argtypes = pointer, [pointer, pointer]
    name = getattr(lib, "bpf_%s__name" % kind)
    name.restype, name.argtypes = ctypes.c_char_p, [pointer]
    asked = [getattr(lib, "bpf_%s__%s" % (kind, fact)) for fact in FACTS[kind]]
    for each in asked:
        each.argtypes = [pointer]
    found, each = {}, advance(handle, None)
    while each:
        text = name(each).decode()
        found[text[text.index("."):] if "." in text else text] = [ask(each) for ask in asked]
        each = advance(handle, each)
    return found

def opened(path):
    handle = lib.bpf_object__open_file(path.encode(), None)
    if not handle:
        return None
    found = {kind: facts(handle, kind) for kind in FACTS}
    lib.bpf_object__close(handle)
    return found

json.dump([opened(path) for path in json.load(sys.stdin)], sys.stdout)
"""


def compiled(texts: dict[str, str], place: Path) -> dict[str, str]:
    """Compile C texts: the paths of the objects, by the texts' names. Without compiler or headers a test is skipped."""
    if shutil.which(CLANG) is None:
        pytest.skip(f"{CLANG} is not installed")
    if not (INCLUDE / "bpf" / "bpf_helpers.h").exists():
        pytest.skip("bpf/bpf_helpers.h is missing (package libbpf-dev)")
    multiarch = next(INCLUDE.glob("*-linux-gnu"), INCLUDE)
    paths = {}
    for number, (name, text) in enumerate(texts.items()):
        source, path = place / f"{number}.bpf.c", place / f"{number}.bpf.o"
        source.write_text(text)
        command = [CLANG, "-target", "bpfel", "-g", "-O2", f"-I{multiarch}", "-w", "-c", source, "-o", path]
        subprocess.run(command, check=True)
        paths[name] = str(path)
    return paths


def by_libbpf(paths: list[str]) -> list[dict | None]:
    """What libbpf makes of each object, None where it is refused; without a newer libbpf the test is skipped."""
    try:
        return newlibbpf.run(["-c", ASK], paths)
    except SetupError as error:
        pytest.skip(f"no newer libbpf: {error}")


def by_ebpfpy(path: str) -> dict | None:
    """The same facts from ebpfpy; data sections go by their section's name."""
    try:
        spec = load_collection_spec(path)
    except EbpfError:
        return None
    maps = {
        name: [each.type, each.key_size, each.value_size, each.max_entries, each.flags, each.map_extra]
        for name, each in spec.maps.items()
    }
    programs = {
        name: [each.type, each.attach_type or 0, each.autoload, each.functions[0].end]
        for name, each in spec.programs.items()
    }
    return {"map": maps, "program": programs}
