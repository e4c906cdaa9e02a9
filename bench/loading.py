"""Loading an object of thirty programs into the kernel, all of it: reading the file, relocating, maps, the verifier.

The kernel's own work is in both columns and is most of both. libbpf reads the kernel's types for each load anew, and
only if the object has CO-RE relocations; a `Cache` keeps them. Without the right to load programs nothing is measured.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from bench.timing import Row, side_by_side

if TYPE_CHECKING:
    from bench.peer import Libbpf

FUNC = 12
FUNCTION, LATE_FUNCTION, TRACEPOINT = "do_nanosleep", "vfs_read", "sched_switch"
IN_A_ROW = 5
TESTDATA = Path(__file__).parents[1] / "testdata"
THIRTY = TESTDATA / "thirty.bpf.o"
PLAIN = TESTDATA / "thirty_plain.bpf.o"


def rows(kernel: Path, peer: Libbpf | None) -> list[Row]:
    """The rows about loading; none where the kernel refuses the objects.

    Args:
        kernel: raw BTF of the running kernel.
        peer: libbpf, beside which is measured; None leaves it out.
    """
    import ebpfpy
    from ebpfpy.errors import KernelError

    try:
        ebpfpy.load_collection(THIRTY).close()
    except KernelError as error:
        print(f"loading is not measured: {error}", file=sys.stderr)
        return []
    return [
        *_loads(peer, THIRTY, "30 programs, CO-RE", first=1.5, second=1.0),
        *_loads(peer, PLAIN, "30 programs, no CO-RE", first=1.5, second=1.5),
        *_targets(kernel, peer),
    ]


def _targets(kernel: Path, peer: Libbpf | None) -> list[Row]:
    """What a program without CO-RE relocations saves when the kernel is asked for its target.

    A question is too short to be measured alone: what ran before leaves the processor's caches full of other things. So
    it is asked several times in a row, each time as the first one of a load with a fresh `Cache`. The kernel looks from
    the first type to the one that is wanted: how long that takes depends on where the function is.
    """
    from ebpfpy import btf
    from ebpfpy.loader import find_target
    from ebpfpy.loader.quicktarget import QuickTargets
    from ebpfpy.sys import AttachType

    def asking(attach_type: AttachType, name: str) -> None:
        for _ in range(IN_A_ROW):
            cache = btf.Cache()
            with QuickTargets(cache) as quick:
                find_target(cache, attach_type, name, quick=quick)

    def walking() -> object:
        return find_target(btf.Cache(), AttachType.TRACE_FENTRY, FUNCTION)

    taken = side_by_side(
        lambda: asking(AttachType.TRACE_FENTRY, FUNCTION),
        lambda: asking(AttachType.TRACE_FENTRY, LATE_FUNCTION),
        lambda: asking(AttachType.TRACE_RAW_TP, TRACEPOINT),
    )
    function, late, tracepoint = (each / IN_A_ROW for each in taken)
    theirs = None
    if peer is not None:
        walked, theirs = side_by_side(walking, lambda: peer.open_and_find(str(kernel), FUNCTION, FUNC))
    else:
        (walked,) = side_by_side(walking)
    return [
        Row(f"attach target {FUNCTION}, kernel asked", function, theirs, "ms", 1),
        Row(f"  {LATE_FUNCTION} (late in its types), kernel asked", late, theirs, "ms", None),
        Row(f"  tracepoint {TRACEPOINT}, kernel asked", tracepoint, None, "ms", 0.5),
        Row(f"  {FUNCTION}, types walked over", walked, theirs, "ms", None),
    ]


def _loads(peer: Libbpf | None, path: Path, what: str, *, first: float | None, second: float | None) -> list[Row]:
    import ebpfpy
    from ebpfpy import btf

    kept = ebpfpy.CollectionOptions(cache=btf.Cache())
    spec = ebpfpy.load_collection_spec(path)

    def fresh() -> None:
        ebpfpy.load_collection(path).close()

    def warm() -> None:
        ebpfpy.load_collection(path, kept).close()

    def from_blueprint() -> None:
        ebpfpy.Collection(spec, kept).close()

    runs = [fresh, warm, from_blueprint]
    if peer is not None:
        runs.append(lambda: peer.load(str(path)))
    taken = side_by_side(*runs)
    theirs = taken[3] if peer is not None else None
    return [
        Row(f"load {what}", taken[0], theirs, "ms", first if theirs else None, "ratio"),
        Row("  again, with a warm Cache", taken[1], theirs, "ms", second if theirs else None, "ratio"),
        Row("  again, from the same CollectionSpec", taken[2], theirs, "ms", second if theirs else None, "ratio"),
    ]
