"""The table of section names, asked of libbpf's own: type and attach type for every name that either side knows."""

from __future__ import annotations

from functools import cache

import pytest

from ebpfpy.elf.sections import TABLE, match
from tests.differential import newlibbpf
from tests.vm.tools import SetupError

ASK = """
import ctypes, json, sys
lib = ctypes.CDLL("libbpf.so.1")
lib.libbpf_set_print.argtypes = [ctypes.c_void_p]
lib.libbpf_set_print(None)
answers = {}
for name in json.load(sys.stdin):
    kind, attach = ctypes.c_uint32(), ctypes.c_uint32()
    code = lib.libbpf_prog_type_by_name(name.encode(), ctypes.byref(kind), ctypes.byref(attach))
    answers[name] = [kind.value, attach.value] if code == 0 else None
version = [lib.libbpf_major_version(), lib.libbpf_minor_version()]
json.dump({"version": version, "answers": answers}, sys.stdout)
"""

NEWER = {"uprobe.session", "uprobe.session.s", "fsession", "fsession.s"}
NEWER |= {"tp.s", "tracepoint.s", "raw_tp.s", "raw_tracepoint.s", "tp_btf.s"}
NEWER |= {f"{kind}.multi{sleepable}" for kind in ("fentry", "fexit", "fsession") for sleepable in ("", ".s")}
"""What libbpf 1.5 does not know yet."""


def names():
    """Every pattern, with and without an extra part, and names that are nearly one."""
    for kind in TABLE:
        yield from (kind.pattern, f"{kind.pattern}/extra", f"{kind.pattern}/a/b:c", f"{kind.pattern}x")
        yield f"{kind.pattern}/"
        yield kind.pattern[:-1]
    yield from ("/", "mystery", "mystery/section", "xdp/eth0", "tc/eth0", "cgroup", "cgroup/nothing")


@cache
def libbpfs_answers():
    try:
        found = newlibbpf.run(["-c", ASK], sorted(set(names())))
    except SetupError as error:
        pytest.skip(f"no newer libbpf: {error}")
    assert tuple(found["version"]) >= (1, 5)
    return found["answers"]


def ours(name):
    found = match(name)
    if found is None:
        return None
    return [int(found.kind.type), int(found.kind.attach_type or 0)]


def is_newer(name):
    return name.partition("/")[0] in NEWER


def test_every_name_means_what_libbpf_says():
    wrong = {
        name: (ours(name), theirs)
        for name, theirs in libbpfs_answers().items()
        if ours(name) != theirs and not is_newer(name)
    }
    assert wrong == {}


def test_both_sides_know_most_of_the_names():
    known = [name for name, theirs in libbpfs_answers().items() if theirs is not None]
    assert len(known) > 200
    assert len(libbpfs_answers()) - len(known) > 200
