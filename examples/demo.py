# ruff: noqa: INP001  a script beside the package, not a module of it
"""The main job, told as it happens: `make demo`.

Reads testdata/demo.bpf.o, relocates it against the running kernel, loads it, attaches it, starts a few programs so that
there is something to see, prints ten decoded events, and detaches. Where the kernel or the rights forbid that, it says
why, and relocates the same object without loading it.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

import ebpfpy
from ebpfpy import btf, link, ringbuf
from ebpfpy.cli.relocate import print_report

TESTDATA = Path(__file__).resolve().parent.parent / "testdata"
EVENTS = 10
PATIENCE = 5.0
"""Seconds to wait for an event."""


def watch(spec: ebpfpy.CollectionSpec) -> None:
    """Load, attach, print ten events, and say what was done."""
    assert spec.types is not None
    event = spec.types.type_by_name("event", btf.Struct)
    start = time.monotonic()
    with ebpfpy.Collection(spec) as coll:
        loaded = time.monotonic()
        program = coll.programs["on_exec"]
        with ringbuf.Reader(coll.maps["events"], timeout=PATIENCE) as reader, link.attach(program) as attached:
            children = [subprocess.Popen(["/bin/true"]) for _ in range(EVENTS)]
            print(f"{'PID':>8} {'PARENT':>8} {'PAGES':>6}  {'COMMAND':<16} FILE")
            for _ in range(EVENTS):
                fields = btf.decode(event, reader.read())
                print(
                    f"{fields['pid']:>8} {fields['ppid']:>8} {fields['total_vm']:>6}"
                    f"  {fields['comm']:<16} {fields['filename']}"
                )
            for child in children:
                child.wait()
            where = attached.text
    fixups = program.fixups
    print()
    print(f"1. read       {spec.source}: {len(spec.programs)} program, {len(spec.maps)} maps")
    print(
        f"2. relocated  {len(fixups)} accesses to kernel {os.uname().release}:"
        f" {fixups[0].local} is at {fixups[0].target_value} here, ..."
    )
    print(f"3. loaded     maps and program, checked by the verifier, in {(loaded - start) * 1000:.0f} ms")
    print(f"4. attached   {where}, and decoded {EVENTS} events with the object's own types")
    print("5. detached   and closed everything: nothing of it is left in the kernel")


def explain(spec: ebpfpy.CollectionSpec) -> None:
    """Relocate without loading, against the best types at hand."""
    try:
        kernel = btf.load_kernel_spec()
    except (ebpfpy.EbpfError, OSError) as error:
        print(f"This kernel does not show its types either: {error}")
        path = min((TESTDATA / "btf").glob("*/vmlinux.btf.xz"))
        print(f"So this is the same object against those of another kernel, {path.parent.name}:\n")
        kernel = btf.load_spec(path)
    else:
        print("This is the same object relocated against the running kernel's types, without loading it:\n")
    print_report(spec.relocate([kernel]))


def main() -> int:
    """Show what can be shown here; the exit status."""
    spec = ebpfpy.load_collection_spec(os.path.relpath(TESTDATA / "demo.bpf.o"))
    try:
        watch(spec)
    except (ebpfpy.EbpfError, TimeoutError) as error:
        print(f"It cannot be loaded here: {error}")
        explain(spec)
    return 0


if __name__ == "__main__":
    sys.exit(main())
