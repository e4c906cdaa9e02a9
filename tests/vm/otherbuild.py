"""BTF of another build than the newest: `python -m tests.vm.otherbuild RELEASE [MODULE...]`.

It makes the files in testdata/btf/foreign, which show what becomes of a module on the wrong base: the BTF of one kernel
package, named by its release ("6.12.115+deb12-amd64"), and of some of its modules. Nothing is kept in the cache.
"""

from __future__ import annotations

import argparse
import lzma
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm import cache, packages
from tests.vm.extract import TESTDATA, sections
from tests.vm.kernels import module_name, unpacked
from tests.vm.packages import Archive
from tests.vm.tools import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

SUITES: Final = ("bookworm", "bookworm-security")
TARGET: Final = TESTDATA / "foreign"


def write(release: str, modules: Sequence[str], target: Path) -> Path:
    """Write `RELEASE/vmlinux.btf.xz` and `RELEASE/MODULE.btf.xz` below *target*; returns the directory."""
    archive = Archive(SUITES)
    archive.update()
    directory = target / release
    directory.mkdir(parents=True, exist_ok=True)
    with cache.scratch() as scratch:
        root = scratch / "root"
        packages.unpack(archive.download([archive.get(f"linux-image-{release}")], scratch), root)
        vmlinux = scratch / "vmlinux"
        vmlinux.write_bytes(unpacked(next(root.glob("boot/vmlinuz-*"))))
        files = {module_name(path): path for path in root.rglob("*.ko*")}
        for name, path in {"vmlinux": vmlinux, **{name: files[name] for name in modules}}.items():
            packed = lzma.compress(sections(path)[".BTF"], preset=9 | lzma.PRESET_EXTREME)
            (directory / f"{name}.btf.xz").write_bytes(packed)
    return directory


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm.otherbuild", description=__doc__)
    parser.add_argument("release", help="such as 6.12.115+deb12-amd64")
    parser.add_argument("modules", nargs="*", help="by their kernel names")
    parser.add_argument("--target", type=Path, default=TARGET, help="directory to write to")
    options = parser.parse_args()
    try:
        print(write(options.release, options.modules, options.target))
    except SetupError as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
