"""A whole kernel's types as a C header, beside ``bpftool btf dump file FILE format c``.

Both start from the file. Ours is a function called in this process, theirs a process of its own; its start takes a
hundredth of the time.
"""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

from bench.timing import Row, side_by_side

if TYPE_CHECKING:
    from pathlib import Path

    from bench.peer import Libbpf


def rows(kernel: Path, peer: Libbpf | None) -> list[Row]:  # noqa: ARG001
    """The line of the table; without bpftool, which is the peer here, only our own time."""
    from ebpfpy import btf

    def ours() -> object:
        return "".join(btf.format_header(btf.load_spec(kernel)))

    bpftool = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin:/sbin")

    def theirs() -> object:
        return subprocess.run(
            [str(bpftool), "btf", "dump", "file", str(kernel), "format", "c"], check=True, stdout=subprocess.DEVNULL
        )

    taken = side_by_side(ours, theirs) if bpftool else [*side_by_side(ours), None]
    return [Row("vmlinux.h, beside bpftool", taken[0], taken[1], "ms", 5, "ratio")]
