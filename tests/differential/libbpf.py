"""The distribution's libbpf, asked by ctypes in a process of its own what it makes of CO-RE relocations.

libbpf tells what it did in its debug log, relocation by relocation, and leaves the patched instructions in
the program. It
relocates inside bpf_object__load, so bpf(2) must be allowed (maps are created before); whether the kernel accepts
the programs afterwards does not matter. Every program loses its type first, so that loading ends there.

As a program: reads a JSON list of [object path, BTF path or null] from standard input, writes a JSON list of answers:

    {"relocations": [{"program", "insn", "kind", "local", "matching": [text...], "other": [text...],
                      "old": int, "new": int, "poisoned": bool, "size": [old, new] or null, "error": str}],
     "programs": {name: hex of its instructions}, "log": str}
"""

from __future__ import annotations

import ctypes
import json
import re
import subprocess
import sys
from functools import cache

_LINE = re.compile(r"prog '([^']*)': relo #(\d+): (.*)")
_LOCAL = re.compile(r"<(\w+)> (.*)")
_CANDIDATE = re.compile(r"(matching|non-matching) candidate #\d+ (?:<\w+> )?(.*)")
_PATCHED = re.compile(r"patched insn #(\d+) \(([\w/]+)\) (imm64|imm|off|mem_sz|off/imm) (-?\d+) -> (-?\d+)")
_POISON = re.compile(r"substituting insn #(\d+) w/ invalid insn")
_SIZE = re.compile(r"patched insn #\d+ \(LDX/ST/STX\) mem_sz (\d+) -> (\d+)")


class OpenOptions(ctypes.Structure):
    """struct bpf_object_open_opts of libbpf 1.1; sz says how much of it there is."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p),
        ("reserved", ctypes.c_uint32),
        ("kconfig", ctypes.c_char_p),
        ("btf_custom_path", ctypes.c_char_p),
        ("kernel_log_buf", ctypes.c_void_p),
        ("kernel_log_size", ctypes.c_size_t),
        ("kernel_log_level", ctypes.c_uint32),
    )


PRINT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
NO_PROGRAM_TYPE, STRUCT_OPS = 0, 27


@cache
def library() -> ctypes.CDLL:
    """libbpf with the prototypes that are used here, in other tests and in benchmarks.

    Raises:
        OSError: it is not installed.
    """
    lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    pointer = ctypes.c_void_p
    lib.bpf_object__open_file.restype = pointer
    lib.bpf_object__open_file.argtypes = [ctypes.c_char_p, pointer]
    lib.bpf_object__load.argtypes = [pointer]
    lib.bpf_object__close.argtypes = [pointer]
    lib.bpf_object__close.restype = None
    lib.bpf_object__next_program.restype = pointer
    lib.bpf_object__next_program.argtypes = [pointer, pointer]
    lib.bpf_program__set_autoload.argtypes = [pointer, ctypes.c_bool]
    lib.bpf_program__set_type.argtypes = [pointer, ctypes.c_int]
    lib.bpf_program__type.argtypes = [pointer]
    lib.bpf_program__set_expected_attach_type.argtypes = [pointer, ctypes.c_int]
    lib.bpf_program__name.restype = ctypes.c_char_p
    lib.bpf_program__name.argtypes = [pointer]
    lib.bpf_program__insns.restype = pointer
    lib.bpf_program__insns.argtypes = [pointer]
    lib.bpf_program__insn_cnt.restype = ctypes.c_size_t
    lib.bpf_program__insn_cnt.argtypes = [pointer]
    lib.libbpf_set_print.restype = pointer
    lib.libbpf_get_error.restype = ctypes.c_long
    lib.libbpf_get_error.argtypes = [pointer]
    lib.btf__new.restype = lib.btf__new_empty.restype = pointer
    lib.btf__new.argtypes = [ctypes.c_char_p, ctypes.c_uint32]
    lib.btf__parse_raw.restype = lib.btf__parse_raw_split.restype = pointer
    lib.btf__parse_raw.argtypes = [ctypes.c_char_p]
    lib.btf__parse_raw_split.argtypes = [ctypes.c_char_p, pointer]
    lib.btf__raw_data.restype = pointer
    lib.btf__raw_data.argtypes = [pointer, ctypes.POINTER(ctypes.c_uint32)]
    lib.btf__add_btf.argtypes = lib.btf__dedup.argtypes = [pointer, pointer]
    lib.btf__find_by_name_kind.argtypes = [pointer, ctypes.c_char_p, ctypes.c_uint32]
    lib.btf__free.argtypes = [pointer]
    lib.btf__free.restype = None
    lib.libbpf_version_string.restype = ctypes.c_char_p
    return lib


def open_object(path: str, custom_btf: str | None) -> int:
    """Open an object, with every program made to be loaded, and without a type, so that it ends there."""
    lib = library()
    options = OpenOptions(sz=ctypes.sizeof(OpenOptions))
    if custom_btf is not None:
        options.btf_custom_path = custom_btf.encode()
    handle = lib.bpf_object__open_file(path.encode(), ctypes.byref(options))
    if not handle or lib.libbpf_get_error(handle):
        raise OSError(f"libbpf cannot open {path}")
    for program in programs(handle):
        lib.bpf_program__set_autoload(program, True)
        if lib.bpf_program__type(program) != STRUCT_OPS:  # their maps rely on it, and crash without
            lib.bpf_program__set_type(program, NO_PROGRAM_TYPE)
    return handle


def programs(handle: int) -> list[int]:
    """The programs of an object."""
    found = []
    program = library().bpf_object__next_program(handle, None)
    while program:
        found.append(program)
        program = library().bpf_object__next_program(handle, program)
    return found


def load_logged(path: str, custom_btf: str | None) -> tuple[str, dict[str, str]]:
    """Load an object: libbpf's log, and the instructions of each program as hexadecimal text."""
    lib = library()
    libc = ctypes.CDLL(None)
    libc.vsnprintf.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_void_p]
    buffer = ctypes.create_string_buffer(1 << 14)
    lines: list[str] = []

    def log(level: int, text: bytes, arguments: int) -> int:
        libc.vsnprintf(buffer, len(buffer), text, arguments)
        lines.append(buffer.value.decode("utf-8", "replace"))
        return 0

    callback = PRINT(log)
    lib.libbpf_set_print(callback)
    code: dict[str, str] = {}
    try:
        handle = open_object(path, custom_btf)
        lib.bpf_object__load(handle)
        for program in programs(handle):
            count = lib.bpf_program__insn_cnt(program)
            code[lib.bpf_program__name(program).decode()] = ctypes.string_at(
                lib.bpf_program__insns(program), 8 * count
            ).hex()
        lib.bpf_object__close(handle)
    except OSError as error:
        lines.append(str(error))
    finally:
        lib.libbpf_set_print(None)
    return "".join(lines), code


def read_log(text: str) -> list[dict]:
    """The relocations that a log tells of, in libbpf's order."""
    found: dict[tuple[str, str], dict] = {}
    for match in _LINE.finditer(text):
        program, number, rest = match.groups()
        relocation = found.get((program, number))
        if relocation is None:
            local = _LOCAL.fullmatch(rest)
            relocation = found[program, number] = {
                "program": program,
                "kind": local.group(1) if local else None,
                "local": local.group(2) if local else None,
                "matching": [],
                "other": [],
                "insn": None,
                "old": None,
                "new": None,
                "size": None,
                "poisoned": False,
                "error": "" if local else rest,
            }
            continue
        if candidate := _CANDIDATE.fullmatch(rest):
            relocation["matching" if candidate.group(1) == "matching" else "other"].append(
                candidate.group(2).removeprefix(f"<{relocation['kind']}> ")
            )
        elif size := _SIZE.fullmatch(rest):
            relocation["size"] = [int(size.group(1)), int(size.group(2))]
        elif patched := _PATCHED.match(rest):
            relocation["insn"] = int(patched.group(1))
            relocation["old"], relocation["new"] = int(patched.group(4)), int(patched.group(5))
        elif poison := _POISON.fullmatch(rest):  # the second half is named first
            relocation["insn"], relocation["poisoned"] = int(poison.group(1)), True
        elif rest != "no matching targets found":
            relocation["error"] = rest
    return list(found.values())


def ask(questions: list[tuple[str, str | None]]) -> list[dict]:
    """Put questions to libbpf, in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__],
        input=json.dumps(questions),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the process that asks libbpf ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def why_not() -> str | None:
    """Why libbpf cannot be asked here; None if it can."""
    try:
        library()
    except OSError as error:
        return f"libbpf.so.1 cannot be loaded: {error}"
    if not _bpf_is_allowed():
        return "bpf(2) is not allowed here: libbpf creates maps before it relocates"
    return None


@cache
def _bpf_is_allowed() -> bool:
    """Whether the kernel lets this process load a program that does nothing."""
    done = subprocess.run([sys.executable, "-c", _LOAD_NOTHING], capture_output=True, timeout=60, check=False)
    return done.returncode == 0


_LOAD_NOTHING = """
import ctypes
lib = ctypes.CDLL("libbpf.so.1")
code = bytes([0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0])
raise SystemExit(lib.bpf_prog_load(1, b"nothing", b"GPL", code, ctypes.c_size_t(2), None) < 0)
"""


def main() -> None:
    answers = []
    for path, custom in json.load(sys.stdin):
        log, code = load_logged(path, custom)
        answers.append({"relocations": read_log(log), "programs": code, "log": log})
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
