"""Writing a kernel's types: deduplicated as libbpf does it, copied, merged with modules.

Deduplication is measured without reading: both sides have the types in memory.
"""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.timing import Row, milliseconds

if TYPE_CHECKING:
    from pathlib import Path

    from bench.peer import Libbpf

COUNT = 5
SLOWER = 10
"""How many times libbpf's time deduplication may take."""


def rows(kernel: Path, peer: Libbpf | None) -> list[Row]:
    """The rows about writing.

    Args:
        kernel: raw BTF of a kernel.
        peer: libbpf, beside which deduplication is measured; None leaves that out.
    """
    return [*deduplicating(kernel, peer), copying(kernel)]


def deduplicating(kernel: Path, peer: Libbpf | None) -> list[Row]:
    """A kernel that has nothing to give up, and the same kernel twice."""
    from ebpfpy import btf

    once = btf.load_spec(kernel)
    found = []
    cases = (
        ("deduplicate vmlinux", bytes(once.raw), SLOWER),
        ("deduplicate vmlinux, twice in one BTF", twice(once), None),
    )
    for what, data, budget in cases:
        ours, theirs = [], []
        for _ in range(COUNT):
            spec = btf.Spec(data)
            len(spec)  # finds the records; libbpf did that when it read the blob
            ours.append(milliseconds(lambda spec=spec: btf.deduplicate(spec)))
            theirs.append(peer.deduplicate(data) if peer is not None else 0.0)
        mine, others = statistics.median(ours), statistics.median(theirs) if peer is not None else None
        found.append(Row(what, mine, others, "ms", budget, "ratio") if others else Row(what, mine, None, "ms", None))
    return found


def twice(spec: object) -> bytes:
    """All types of a spec, and all of them again behind."""
    from array import array

    from ebpfpy import btf
    from ebpfpy.btf.records import id_words, make_blob, own_strings

    assert isinstance(spec, btf.Spec)
    count, words = len(spec), array("I")
    for type_id in range(1, count + 1):
        where, at = spec.locate(type_id)
        if type_id == 1:
            words = array("I", where.tobytes())
            shifted = words[:]
        for index in id_words(shifted, at):
            if shifted[index]:
                shifted[index] += count
    return make_blob(words + shifted, own_strings(spec)[0], spec.byte_order)


def copying(kernel: Path) -> Row:
    """Every type as an object, and written again."""
    from ebpfpy import btf

    def copy() -> bytes:
        builder = btf.Builder()
        builder.add_all(btf.load_spec(kernel))
        return builder.marshal()

    return Row(
        "read vmlinux and write a copy", statistics.median(milliseconds(copy) for _ in range(3)), None, "ms", None
    )
