"""How often a module on the wrong kernel goes unnoticed: `python -m tests.vm.misfits` measures it on Debian's modules.

It makes the table of docs/module-btf-mismatch.md: for pairs of kernel packages, every module of one on the BTF of the
other, judged by `btf.check_split` and by libbpf 1.5 (Debian 13's, see `tests.vm.foreign`), which is silent where it
reads on. A row takes a minute or two; the packages, some 100 MB each, are downloaded and not kept.

    python -m tests.vm.misfits                                               every row
    python -m tests.vm.misfits 6.12.117+deb12-amd64 6.12.115+deb12-amd64     one: a base, and whose modules

A kernel is named as in linux-image-NAME. Exit status: 1 if a module was judged wrongly: a kernel's own modules fit, and
nobody else's do.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ebpfpy import btf
from ebpfpy.btf.source import find_btf
from tests.differential import newlibbpf
from tests.vm import cache, kernels, packages
from tests.vm.kernels import module_name
from tests.vm.packages import Archive
from tests.vm.tools import SetupError

if TYPE_CHECKING:
    from pathlib import Path

NEWER, OLDER = "6.12.117+deb12-amd64", "6.12.115+deb12-amd64"
NEWER_CLOUD, OLDER_CLOUD = "6.12.117+deb12-cloud-amd64", "6.12.115+deb12-cloud-amd64"
ROWS: Final = (
    *((NEWER, NEWER), (NEWER, OLDER), (OLDER, NEWER)),
    *((NEWER, NEWER_CLOUD), (NEWER_CLOUD, NEWER_CLOUD), (NEWER_CLOUD, OLDER_CLOUD)),
    *(("6.1.0-56-amd64", f"6.1.0-{number}-amd64") for number in (56, 55, 54)),
    ("7.2", "7.2"),
)
"""Pairs of a base and whose modules; a series stands for its kernel in the cache, whose modules are elsewhere."""
SUITES: Final = ("bookworm", "bookworm-security")


@dataclass(frozen=True)
class Types:
    """The BTF of a kernel and of its modules."""

    kernel: btf.Spec
    modules: dict[str, bytes]


@dataclass(frozen=True)
class Row:
    """What became of the modules of one kernel on the base of another."""

    base: str
    modules_of: str
    count: int
    silent: int
    verdicts: dict[str, int]

    @property
    def right(self) -> bool:
        """Whether every verdict is the truth."""
        expected = "fits" if self.base == self.modules_of else "does not fit"
        return self.verdicts.get(expected, 0) == self.count

    def __str__(self) -> str:
        misfits, fits = (self.verdicts.get(verdict, 0) for verdict in ("does not fit", "fits"))
        silent = "all" if self.silent == self.count else f"{self.silent:,}"
        return (
            f"| {self.base} | {self.modules_of} | {silent} | {_of(misfits, self.count)} | {_of(fits, self.count)} |"
            + (f" cannot tell: {self.verdicts['cannot tell']}" if "cannot tell" in self.verdicts else "")
        )


def _of(part: int, whole: int) -> str:
    return f"{part:,} of {whole:,}" if part else "0"


def collect(name: str) -> Types:
    """The BTF in the package of a kernel, or in the cache for a series."""
    if name in kernels.SERIES:
        kernel = kernels.get(name)
        return _types(kernels.image(name), kernel.modules)
    archive = Archive(SUITES)
    archive.update()
    with cache.scratch() as scratch:
        root = scratch / "root"
        packages.unpack(archive.download([archive.get(f"linux-image-{name}")], scratch), root)
        return _types(next(root.glob("boot/vmlinuz-*")), root / "lib" / "modules")


def _types(image: Path, modules: Path) -> Types:
    blobs = {module_name(path): find_btf(path).blob for path in modules.rglob("*.ko*")}
    return Types(btf.load_spec(image), blobs)


def measure(base: str, modules_of: str, kernel: btf.Spec, modules: dict[str, bytes]) -> Row:
    """Put every module on a base."""
    verdicts: dict[str, int] = {}
    for name, blob in modules.items():
        verdict = btf.check_split(btf.Spec(blob, kernel, name=name), kernel).verdict
        verdicts[verdict] = verdicts.get(verdict, 0) + 1
    silent = sum(newlibbpf.parses(bytes(kernel.raw), list(modules.values())))
    return Row(base, modules_of, len(modules), silent, verdicts)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.vm.misfits", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", nargs="?", help="whose types are the base")
    parser.add_argument("modules", nargs="?", help="whose modules are put on it")
    options = parser.parse_args()
    if (options.base is None) != (options.modules is None):
        parser.error("name both, or none")
    rows = [(options.base, options.modules)] if options.base else ROWS
    right = True
    known: dict[str, Types] = {}
    print('| base | modules of | libbpf 1.5 is silent about | judged "does not fit" | judged "fits" |')
    print("|---|---|---|---|---|", flush=True)
    try:
        for base, modules_of in rows:
            for name in (base, modules_of):
                if name not in known:
                    known[name] = collect(name)
            row = measure(base, modules_of, known[base].kernel, known[modules_of].modules)
            right &= row.right
            print(row, flush=True)
    except SetupError as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
