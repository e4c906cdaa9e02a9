"""Our own kernel module, built against a distribution kernel's headers packages.

The module in testdata/kmod has types that exist nowhere else and a result that is known, which makes it
the vehicle for exact assertions. It is built for the very kernel that the guest boots, from the headers
packages of the same version unpacked in the cache, with Debian's gcc-12, as the kernels up to 6.12 were.
Some repairs are needed to build in a directory that is not installed at /usr/src:

- the Makefile of the headers names the common part by its installed path;
- 6.1's headers have no `vmlinux`, from which pahole takes the base of the module's BTF;
- 6.1's kbuild package has no `resolve_btfids`, which fills in the ids of kfuncs; 6.12's serves as well;
- 7.2's kbuild package is linked with a newer C library (see `foreign`), and its compiler was newer too.

A module *distilled* carries the types of the kernel that it uses in a section .BTF.base, so its BTF can be
relocated to another kernel. Kernels from 6.12 on understand that; Debian 12's pahole is too old to write it.

The result is kept below the cache directory, by release and a hash of the sources.
"""

from __future__ import annotations

import argparse
import hashlib
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.vm import cache, foreign, kernels, packages, tools
from tests.vm.kernels import SERIES, Kernel
from tests.vm.packages import Archive
from tests.vm.tools import SetupError

NAME: Final = "ebpfpy_demo"
SOURCE: Final = Path(__file__).parents[2] / "testdata" / "kmod"
RESOLVE_BTFIDS: Final = Path("tools/bpf/resolve_btfids/resolve_btfids")


@dataclass(frozen=True)
class Recipe:
    """What is special about building modules for a series."""

    make: tuple[str, ...] = ()
    btf: bool = True
    can_distil: bool = True
    always_distilled: bool = False


RECIPES: Final = {
    "5.10": Recipe(btf=False, can_distil=False),
    "6.1": Recipe(can_distil=False),
    "7.2": Recipe(make=("CONFIG_CC_HAS_MIN_FUNCTION_ALIGNMENT=", "KCFLAGS=-Wno-attributes"), always_distilled=True),
}


def can_distil(series: str) -> bool:
    """Say whether kernels of a series understand .BTF.base sections."""
    return RECIPES.get(series, Recipe()).can_distil


def build(series: str, *, distilled: bool = False) -> Path:
    """Return the module built for the kernel of a series, building it if need be.

    Raises:
        SetupError: a program or a package is missing, or the compiler objects.
    """
    kernel = kernels.get(series)
    recipe = RECIPES.get(series, Recipe())
    if distilled and not can_distil(series):
        raise SetupError(f"kernel {series} knows no .BTF.base sections; they came with 6.12")
    distilled = distilled or recipe.always_distilled
    sources = sorted(path for path in SOURCE.iterdir() if path.name == "Kbuild" or path.suffix in (".c", ".h"))
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:12]

    def fill(directory: Path) -> None:
        for path in sources:
            shutil.copy(path, directory)
        _make(kernel, headers(kernel), directory, recipe, distilled=distilled)

    name = f"{kernel.release}-{digest}" + ("-distilled" if distilled else "")
    return cache.once(cache.root() / "kmod" / name, fill) / f"{NAME}.ko"


def headers(kernel: Kernel) -> Path:
    """Return the directory to build modules of a kernel in, from its headers packages."""
    target = cache.root() / "headers" / kernel.release

    def fill(directory: Path) -> None:
        archive = Archive(SERIES[kernel.series].suites)
        archive.update()
        main = archive.get(f"linux-headers-{kernel.release}")
        names = [name for name in main.depends if re.match(r"linux-headers-.*-common|linux-kbuild-", name)]
        with cache.scratch() as scratch:
            packages.unpack(archive.download([main, *map(archive.get, names)], scratch), directory)
        build_directory = directory / "usr/src" / main.name
        makefile = build_directory / "Makefile"
        makefile.write_text(makefile.read_text().replace("/usr/src/", f"{target}/usr/src/"))
        if not (build_directory / "vmlinux").exists():
            (build_directory / "vmlinux").symlink_to(kernel.vmlinux)
        if RECIPES.get(kernel.series, Recipe()).btf and not (build_directory / RESOLVE_BTFIDS).exists():
            _borrow_resolve_btfids(archive, build_directory)
        foreign.wrap(directory / "usr/lib", target / "usr/lib")

    return cache.once(target, fill) / "usr/src" / f"linux-headers-{kernel.release}"


def _borrow_resolve_btfids(archive: Archive, build_directory: Path) -> None:
    lenders = archive.find(r"linux-kbuild-6\.12\.\d+\+deb12")
    if not lenders:
        raise SetupError("no linux-kbuild-6.12 package to take resolve_btfids from")
    with cache.scratch() as scratch:
        packages.unpack(archive.download(lenders[-1:], scratch), scratch)
        (build_directory / RESOLVE_BTFIDS).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(next(scratch.glob(f"usr/lib/*/{RESOLVE_BTFIDS}")), build_directory / RESOLVE_BTFIDS)


def _make(kernel: Kernel, build_directory: Path, directory: Path, recipe: Recipe, *, distilled: bool) -> None:
    absent = tools.missing(tools.FOR_MODULES)
    if absent:
        programs = ", ".join(f"{tool.program} ({tool.purpose})" for tool in absent)
        raise SetupError(f"{NAME} cannot be built without {programs}. {tools.install_hint(absent)}")
    settings = [f"M={directory}", f"CC={tools.GCC.require()}", *recipe.make]
    if recipe.btf:
        settings.append("CONFIG_DEBUG_INFO_BTF_MODULES=y")
    if distilled:
        settings += [f"PAHOLE={foreign.pahole()}", f"CONFIG_PAHOLE_VERSION={foreign.PAHOLE_VERSION}"]
    command = [tools.MAKE.require(), "-C", str(build_directory), *settings, "modules"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    (directory / "build.log").write_text(done.stdout + done.stderr)
    if done.returncode or not (directory / f"{NAME}.ko").exists():
        raise SetupError(f"building {NAME} for {kernel.release} failed:\n{done.stdout}{done.stderr}")


def main() -> int:
    """Print the path of the module built for a kernel."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm.kmod", description=f"Build {NAME}.ko.")
    parser.add_argument("--kernel", required=True, help="series, such as 6.12")
    parser.add_argument("--distilled", action="store_true", help="with a section .BTF.base (from 6.12 on)")
    options = parser.parse_args()
    try:
        print(build(options.kernel, distilled=options.distilled))
    except SetupError as error:
        print(f"vm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
