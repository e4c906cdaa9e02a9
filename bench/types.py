"""Rows about types as objects: making them all, making a few, what they weigh, and decoding by them."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import TYPE_CHECKING

from bench.timing import Row, side_by_side
from ebpfpy import btf

if TYPE_CHECKING:
    from pathlib import Path

    from bench.peer import Libbpf

SOME = [
    "task_struct", "file", "sock", "sk_buff", "inode", "dentry", "mm_struct", "vm_area_struct", "net_device", "cred",
    "page", "super_block", "pid", "cgroup", "bio", "request", "path", "nsproxy", "signal_struct", "perf_event",
    "tcp_sock", "ethhdr", "iphdr",
]  # fmt: skip
RECORDS = 10_000


def rows(kernel: Path, peer: Libbpf | None) -> list[Row]:
    """Measure.

    Args:
        kernel: raw BTF of a kernel.
        peer: libbpf, beside which opening is measured; None leaves that out.
    """
    return [*some_types(kernel, peer), all_types(kernel), decoding(), *memory(kernel)]


def touch(of: btf.Type) -> None:
    """Make the parts of a type, and look at each."""
    cls = type(of)
    if cls is btf.Struct or cls is btf.Union:
        for member in of.members:  # type: ignore[attr-defined]
            _ = member.name, member.offset_bits
    elif cls is btf.FuncProto:
        for param in of.params:  # type: ignore[attr-defined]
            _ = param.name
    elif cls is btf.Enum:
        for each in of.enumerators:  # type: ignore[attr-defined]
            _ = each.name, each.value
    elif cls is btf.Datasec:
        for place in of.variables:  # type: ignore[attr-defined]
            _ = place.offset


def some_types(kernel: Path, peer: Libbpf | None) -> list[Row]:
    """Opening the kernel's types and making 23 structs with their members."""

    def ours() -> object:
        spec = btf.load_spec(kernel)
        for name in SOME:
            touch(spec.type_by_name(name, btf.Struct))
        return spec

    if peer is None:
        taken = [*side_by_side(ours), None]
    else:
        taken = [*side_by_side(ours, lambda: peer.open_and_find(str(kernel), "tcp_sock"))]
    return [Row(f"open vmlinux, {len(SOME)} structs with members", taken[0], taken[1], "ms", 2.5, "ratio")]


def all_types(kernel: Path) -> Row:
    """Making every type of the kernel, with its parts."""

    def every() -> object:
        spec = btf.load_spec(kernel)
        for of in spec:
            touch(of)
        return spec

    return Row("open vmlinux, all types with their parts", side_by_side(every, count=5)[0], None, "ms", 600)


def decoding() -> Row:
    """Decoding a record of ten fields: numbers, a name, an enum, a bitfield, an array."""
    u32, u64, char = btf.Int("u32", 4), btf.Int("u64", 8), btf.Int("char", 1, 1)
    op = btf.Enum("op", 4, (btf.Enumerator("READ", 0), btf.Enumerator("WRITE", 1)))
    record = btf.Struct(
        "event",
        72,
        (
            btf.Member("pid", u32, 0),
            btf.Member("tgid", u32, 32),
            btf.Member("time", u64, 64),
            btf.Member("comm", btf.Array(char, u32, 16), 128),
            btf.Member("op", op, 256),
            btf.Member("error", btf.Int("int", 4, 1), 288),
            btf.Member("bytes", u64, 320),
            btf.Member("address", btf.Pointer(btf.Void()), 384),
            btf.Member("ports", btf.Array(btf.Int("u16", 2), u32, 2), 448),
            btf.Member("cpu", u64, 512),
        ),
    )
    builder = btf.Builder()
    builder.add(record)
    of = builder.spec().type_by_name("event", btf.Struct)
    data = bytes(range(72))

    def decode() -> None:
        for _ in range(RECORDS):
            btf.decode(of, data)

    return Row("decode a record of ten fields", side_by_side(decode)[0] * 1000 / RECORDS, None, "us", 5)


_RESIDENT = """
import re, sys
def private():
    text = open("/proc/self/smaps_rollup").read()
    return sum(int(kb) for kb in re.findall(r"^(?:Private_Dirty|Anonymous): *([0-9]+) kB", text, re.M)[:1])
sys.path.insert(0, sys.argv[2])
from ebpfpy import btf
from bench.types import SOME, touch
before = private()
spec = btf.load_spec(sys.argv[1])
for name in SOME[:10]:
    spec.type_by_name(name, btf.Struct)
opened = private()
for of in spec:
    touch(of)
print(before, opened, private())
"""


def memory(kernel: Path) -> list[Row]:
    """What this process has for itself, besides the mapped file, after opening and after making all types."""
    from pathlib import Path as AnyPath

    command = [sys.executable, "-c", _RESIDENT, str(kernel), str(AnyPath(__file__).parents[1])]
    with tempfile.TemporaryDirectory() as bytecode:
        environment = {**os.environ, "PYTHONPYCACHEPREFIX": bytecode, "PYTHONDONTWRITEBYTECODE": ""}
        for _ in range(2):  # the first run compiles the code, which is not what is measured
            done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    before, opened, inflated = map(int, done.stdout.split())
    return [
        Row("memory beside the file: open, find ten structs", (opened - before) / 1024, None, "MB", 3),
        Row("memory beside the file: all types made", (inflated - before) / 1024, None, "MB", 80),
    ]
