"""A libbpf that is newer than the distribution's, asked by ctypes about split BTF.

btf__distill_base and btf__relocate came with libbpf 1.5; Debian 12 has 1.1. The VM harness unpacks Debian 13's libbpf
in its cache, for pahole; its C library is newer than ours too. An older Python runs on a newer C library, so this file
runs itself as a program, started by that release's own loader.

As a program: reads a JSON list of questions from standard input, writes a JSON list of answers. Blobs are base64.

    {"do": "distill", "base": blob, "split": blob}                  -> {"base": blob, "split": blob}
    {"do": "relocate", "base": blob, "split": blob, "onto": blob}   -> {"split": blob}
    {"do": "parse", "base": blob, "split": blob}                    -> {"split": blob}
    {"do": "parse all", "base": blob, "splits": [blob...]}          -> {"parsed": [whether it took each one...]}

or {"error": number} where libbpf refused.
"""

from __future__ import annotations

import base64
import ctypes
import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

CACHED = ("usr/lib64/ld-linux-x86-64.so.2", "usr/lib/x86_64-linux-gnu")


@cache
def root() -> Path:
    """Where the newer release is unpacked; downloads it if need be.

    Raises:
        SetupError: no mirror has it.
    """
    from tests.vm import foreign

    return foreign.pahole().parent


def run(program: list[str], question: object) -> Any:
    """Let a Python program ask libbpf, in a process of its own that has only the standard library.

    Args:
        program: a path, or "-c" and its text; it reads JSON from standard input and writes some.
        question: what it reads.

    Returns:
        What it wrote.
    """
    loader, libraries = (str(root() / part) for part in CACHED)
    python = str(Path(sys.executable).resolve())
    done = subprocess.run(
        [loader, "--library-path", libraries, python, "-I", "-S", *program],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"the process that asks libbpf ended with {done.returncode}: {done.stderr[-2000:]}")
    return json.loads(done.stdout)


def ask(questions: list[dict]) -> list[dict]:
    """Put questions to libbpf, in a process of its own. Blobs are bytes here."""
    packed = [{key: _pack(value) for key, value in question.items()} for question in questions]
    answers = run([__file__], packed)
    return [{k: base64.b64decode(v) if isinstance(v, str) else v for k, v in answer.items()} for answer in answers]


def parses(base: bytes, splits: list[bytes]) -> list[bool]:
    """Whether libbpf reads each split on a base without complaint."""
    [answer] = ask([{"do": "parse all", "base": base, "splits": splits}])
    return answer["parsed"]


def _pack(value: object) -> object:
    if isinstance(value, list):
        return [_pack(item) for item in value]
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


@cache
def library() -> ctypes.CDLL:
    """libbpf with the prototypes that are used here."""
    lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
    pointer = ctypes.c_void_p
    lib.btf__new.restype = lib.btf__new_split.restype = pointer
    lib.btf__new.argtypes = [ctypes.c_char_p, ctypes.c_uint32]
    lib.btf__new_split.argtypes = [ctypes.c_char_p, ctypes.c_uint32, pointer]
    lib.btf__distill_base.argtypes = [pointer, ctypes.POINTER(pointer), ctypes.POINTER(pointer)]
    lib.btf__relocate.argtypes = [pointer, pointer]
    lib.btf__raw_data.restype = pointer
    lib.btf__raw_data.argtypes = [pointer, ctypes.POINTER(ctypes.c_uint32)]
    lib.btf__free.argtypes = [pointer]
    lib.btf__free.restype = None
    lib.libbpf_set_print.restype = pointer
    lib.libbpf_set_print.argtypes = [pointer]
    lib.libbpf_set_print(None)
    return lib


def _new(blob: str, base: int | None = None) -> int:
    data = base64.b64decode(blob)
    lib = library()
    made = lib.btf__new(data, len(data)) if base is None else lib.btf__new_split(data, len(data), base)
    if not made:
        raise OSError(ctypes.get_errno(), "libbpf cannot parse the BTF of a question")
    return made


def _raw(handle: int | ctypes.c_void_p) -> str:
    size = ctypes.c_uint32()
    data = library().btf__raw_data(handle, ctypes.byref(size))
    return base64.b64encode(ctypes.string_at(data, size.value)).decode()


def _parsed(base: int, splits: list[str]) -> Iterator[bool]:
    for blob in splits:
        try:
            split = _new(blob, base)
        except OSError:
            yield False
        else:
            library().btf__free(split)
            yield True


def answer(question: dict) -> dict:
    """One answer; what libbpf allocates for it stays until the process ends."""
    lib = library()
    if question["do"] == "parse all":
        return {"parsed": list(_parsed(_new(question["base"]), question["splits"]))}
    try:
        split = _new(question["split"], _new(question["base"]))
    except OSError as refused:
        return {"error": -refused.errno}
    if question["do"] == "parse":
        return {"split": _raw(split)}
    if question["do"] == "relocate":
        error = lib.btf__relocate(split, _new(question["onto"]))
        return {"error": error} if error else {"split": _raw(split)}
    new_base, new_split = ctypes.c_void_p(), ctypes.c_void_p()
    error = lib.btf__distill_base(split, ctypes.byref(new_base), ctypes.byref(new_split))
    return {"error": error} if error else {"base": _raw(new_base), "split": _raw(new_split)}


if __name__ == "__main__":
    json.dump([answer(question) for question in json.load(sys.stdin)], sys.stdout)
