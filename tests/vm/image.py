"""The initial RAM file system: a cpio archive with busybox, a few modules, and `init.sh`.

Two archives are laid end to end, which the kernel unpacks one after the other: a base for the kernel, kept
in the cache, and a small one for the run with the command. The format ("newc") is a header of 13 numbers in
eight hexadecimal digits each, the name, and the content, both padded to four bytes:

    070701 inode mode uid gid links mtime size devmajor devminor rdevmajor rdevminor namesize check
"""

from __future__ import annotations

import hashlib
import lzma
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm import cache, tools
from tests.vm.tools import SetupError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tests.vm.kernels import Kernel

INIT: Final = Path(__file__).with_name("init.sh")
BOOT_MODULES: Final = ("virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay")
DIRECTORIES: Final = ("bin", "proc", "sys", "dev", "modules", "lower", "upper", "new")

_DIRECTORY, _FILE = 0o040755, 0o100755


def cpio(files: Mapping[str, bytes], directories: Sequence[str] = ()) -> bytes:
    """Return a cpio archive of directories and executable files."""
    entries = [(name, _DIRECTORY, b"") for name in directories]
    entries += [(name, _FILE, content) for name, content in files.items()]
    parts = [_entry(inode, *entry) for inode, entry in enumerate(entries, 1)]
    return b"".join([*parts, _entry(0, "TRAILER!!!", 0, b"")])


def _entry(inode: int, name: str, mode: int, content: bytes) -> bytes:
    numbers = (inode, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name) + 1, 0)
    header = b"070701" + b"".join(b"%08x" % number for number in numbers) + name.encode() + b"\0"
    return _padded(header) + _padded(content)


def _padded(part: bytes) -> bytes:
    return part + bytes(-len(part) % 4)


def base(kernel: Kernel) -> Path:
    """Return the archive with all that does not change between the runs of a kernel."""
    busybox = Path(tools.BUSYBOX.require()).read_bytes()
    if b"/ld-linux" in busybox[:4096]:
        raise SetupError(f"busybox is not static. {tools.install_hint([tools.BUSYBOX])}")
    init = INIT.read_bytes()
    key = hashlib.sha256(repr(BOOT_MODULES).encode() + init + busybox).hexdigest()[:12]
    target = kernel.directory / f"base-{key}.cpio"
    if not target.exists():
        modules = _with_needs(kernel, BOOT_MODULES)
        files = {"init": init, "bin/busybox": busybox, "modules/order": "\n".join(modules).encode()}
        files |= {f"modules/{name}": _unpacked(path) for name, path in modules.items()}
        cache.write_atomically(target, cpio(files, DIRECTORIES))
    return target


def _with_needs(kernel: Kernel, names: Sequence[str]) -> dict[str, Path]:
    """Return modules and all that they need, in an order in which they can be loaded."""
    known = kernel.module_files()
    ordered: dict[str, Path] = {}
    for name in names:
        if name in known:  # else it is built into this kernel
            path, needs = known[name]
            for file in (*reversed(needs), path):
                ordered.setdefault(file.name.partition(".ko")[0] + ".ko", file)
    return ordered


def _unpacked(path: Path) -> bytes:
    content = path.read_bytes()
    return lzma.decompress(content) if path.suffix == ".xz" else content


def run_part(
    kernel: Kernel,
    argv: Sequence[str],
    *,
    modules: Sequence[str],
    shares: Sequence[Path],
    directory: Path,
    env: Mapping[str, str],
) -> bytes:
    """Return the archive for one run: what to load, what to share, and the command."""
    guest = [
        f"RELEASE={shlex.quote(kernel.release)}",
        f"KERNEL_DIRECTORY={shlex.quote(str(kernel.directory))}",
        f"MODULES={shlex.quote(' '.join(modules))}",
        "mount_shares() {",
        *(f"share share{number} {shlex.quote(str(share))}" for number, share in enumerate(shares)),
        ":",
        "}",
    ]
    command = [
        *(f"export {name}={shlex.quote(value)}" for name, value in env.items()),
        f"cd {shlex.quote(str(directory))} || exit 125",
        f"exec {shlex.join(argv)}",
    ]
    return cpio({"guest.sh": "\n".join(guest).encode(), "command": ("\n".join(command) + "\n").encode()})
