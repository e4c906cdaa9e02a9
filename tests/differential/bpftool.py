"""The distribution's bpftool, and the committed BTF as files that it can read."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

TESTDATA = Path(__file__).parents[2] / "testdata"
BPFTOOL = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin:/sbin")
MISSING = None if BPFTOOL else "bpftool is not installed"


class RealFile(NamedTuple):
    """One file of real BTF below testdata.

    Attributes:
        name: its path below ``testdata``, also once unpacked.
        base: the name of what it continues, or None.
    """

    name: str
    base: str | None = None

    def __str__(self) -> str:
        return self.name.removeprefix("btf/").removesuffix(".btf.xz")


def _real_files() -> tuple[RealFile, ...]:
    found = [RealFile(path.name) for path in sorted(TESTDATA.glob("*.o")) if b".BTF\0" in path.read_bytes()]
    for vmlinux in sorted(TESTDATA.rglob("vmlinux.btf.xz")):
        lower = str(vmlinux.relative_to(TESTDATA))
        found.append(RealFile(lower))
        modules = [path for path in sorted(vmlinux.parent.glob("*.btf.xz")) if path != vmlinux]
        found += [RealFile(str(path.relative_to(TESTDATA)), lower) for path in modules]
    for path in sorted(TESTDATA.rglob("*.base.btf.xz")):
        lower = str(path.relative_to(TESTDATA))
        found += [RealFile(lower), RealFile(lower.replace(".base.btf.xz", ".btf.xz"), lower)]
    return tuple(found)


FILES = _real_files()
"""Every BTF in testdata: of objects of both byte orders, kernels, their modules, a distilled pair, another build."""


def unpack(name: str, root: Path) -> Path:
    """The file of that name, unpacked below `root` if it is packed."""
    if not name.endswith(".xz"):
        return TESTDATA / name
    path = root / name.removesuffix(".xz")
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(lzma.decompress((TESTDATA / name).read_bytes()))
    return path


def dump(path: Path, base: Path | None = None, *, c: bool = False) -> list[str]:
    """What ``bpftool btf dump`` prints about a file, line by line."""
    assert BPFTOOL is not None
    command = [BPFTOOL, *(["-B", str(base)] if base else []), "btf", "dump", "file", str(path)]
    done = subprocess.run([*command, "format", "c" if c else "raw"], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def assert_same(mine: list[str], theirs: list[str]) -> None:
    """Fail with the first lines that differ."""
    different = [pair for pair in zip(mine, theirs, strict=False) if pair[0] != pair[1]]
    assert different[:3] == []
    assert len(mine) == len(theirs)
