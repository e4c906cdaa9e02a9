"""Programs of a newer Debian release, run by that release's own loader.

Two things that a module's build may need are not in Debian 12: a pahole that writes `.BTF.base` sections,
and the C library that the build programs of a much newer kernel are linked with. Neither gets installed:
the packages are unpacked in the cache, and a script in the program's place starts it as

    ld-linux-x86-64.so.2 --argv0 NAME --library-path UNPACKED/usr/lib/x86_64-linux-gnu PROGRAM ARGUMENTS

where argv0 is the script's own name: objtool finds its second half by it.
"""

from __future__ import annotations

import platform
import re
import shlex
from typing import TYPE_CHECKING, Final

from tests.vm import cache, packages
from tests.vm.packages import Archive

if TYPE_CHECKING:
    from pathlib import Path

SUITE: Final = "trixie"
PACKAGES: Final = (
    *("pahole", "libc6", "libdw1t64", "libelf1t64", "libbpf1"),
    *("zlib1g", "libzstd1", "liblzma5", "libbz2-1.0"),
)
PAHOLE_VERSION: Final = 130
"""What kbuild is told of this pahole; the flags for it are those of 1.26 and later."""


def pahole() -> Path:
    """Return a pahole that can write .BTF.base sections."""
    return _root() / "pahole"


def wrap(directory: Path, final: Path) -> None:
    """Put a script in place of each program below *directory* that the C library here is too old for.

    The directory will be renamed to *final* later.
    """
    ours = _version(platform.libc_ver()[1])
    for path in list(directory.rglob("*")):
        if path.is_symlink() or not path.is_file() or not path.stat().st_mode & 0o100:
            continue
        program = path.read_bytes()
        wanted = re.findall(rb"GLIBC_([0-9.]+)", program) if program.startswith(b"\x7fELF") else []
        if max((_version(version.decode()) for version in wanted), default=(0,)) > ours:
            native = path.rename(path.with_name(path.name + ".native"))
            _write_script(path, final / native.relative_to(directory), _root())


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".") if part)


def _root() -> Path:
    target = cache.root() / "foreign" / SUITE

    def fill(directory: Path) -> None:
        archive = Archive((SUITE,))
        archive.update()
        with cache.scratch() as scratch:
            packages.unpack(archive.download([archive.get(name) for name in PACKAGES], scratch), directory)
        _write_script(directory / "pahole", target / "usr/bin/pahole", target)

    return cache.once(target, fill)


def _write_script(path: Path, program: Path, root: Path) -> None:
    loader = shlex.quote(str(root / "usr/lib64/ld-linux-x86-64.so.2"))
    libraries = shlex.quote(str(root / "usr/lib/x86_64-linux-gnu"))
    command = f'exec {loader} --argv0 "$0" --library-path {libraries} {shlex.quote(str(program))} "$@"'
    path.write_text(f"#!/bin/sh\n{command}\n")
    path.chmod(0o755)
