"""BTF out of a kernel's files: `python -m tests.vm.extract` makes the files in testdata/btf.

For each kernel it writes `RELEASE/vmlinux.btf.xz` and, for each module, `MODULE.btf.xz`. Our own module is
written a second time, to `RELEASE/distilled`, as `MODULE.btf.xz` and `MODULE.base.btf.xz`, where the kernel
is new enough to understand a section .BTF.base.
"""

from __future__ import annotations

import argparse
import io
import lzma
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from elftools.elf.elffile import ELFFile

from tests.vm import kernels, kmod
from tests.vm.tools import SetupError

if TYPE_CHECKING:
    from collections.abc import Sequence

TESTDATA: Final = Path(__file__).parents[2] / "testdata" / "btf"
MODULES: Final = ("tun", "loop", "veth", "nf_conntrack", "e1000", "e1000e", kmod.NAME)


def sections(path: Path) -> dict[str, bytes]:
    """Return the BTF sections of a kernel or module, by section name; modules may be packed with xz."""
    content = path.read_bytes()
    if path.suffix == ".xz":
        content = lzma.decompress(content)
    elf = ELFFile(io.BytesIO(content))
    found = {name: elf.get_section_by_name(name) for name in (".BTF", ".BTF.base")}
    return {name: section.data() for name, section in found.items() if section is not None}


def extract(series: str, modules: Sequence[str], target: Path) -> Path:
    """Write the BTF of a kernel and some of its modules below *target*; returns the directory."""
    kernel = kernels.get(series)
    files = {name: path for name, (path, _) in kernel.module_files().items()}
    directory = target / kernel.release
    directory.mkdir(parents=True, exist_ok=True)
    _write(directory, "vmlinux", kernel.vmlinux)
    for module in modules:
        _write(directory, module, kmod.build(series) if module == kmod.NAME else files[module])
    if kmod.NAME in modules and kmod.can_distil(series):
        _write(directory / "distilled", kmod.NAME, kmod.build(series, distilled=True))
    return directory


def _write(directory: Path, name: str, source: Path) -> None:
    directory.mkdir(exist_ok=True)
    for section, content in sections(source).items():
        suffix = section.removeprefix(".BTF")  # "" or ".base"
        packed = lzma.compress(content, preset=9 | lzma.PRESET_EXTREME)
        (directory / f"{name}{suffix}.btf.xz").write_bytes(packed)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm.extract", description=__doc__)
    parser.add_argument("--kernel", action="append", help="series, repeatable (default: 6.1 and 6.12)")
    parser.add_argument("--target", type=Path, default=TESTDATA, help="directory to write to")
    parser.add_argument("modules", nargs="*", default=MODULES, help="modules besides vmlinux")
    options = parser.parse_args()
    try:
        for series in options.kernel or ("6.1", "6.12"):
            print(extract(series, options.modules, options.target))
    except SetupError as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
