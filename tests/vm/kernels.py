"""Kernels: from the name of a series, such as "6.12", to an unpacked kernel in the cache.

The newest kernel of a series is looked up when the series is first asked for, downloaded, and unpacked to

    RELEASE/kernel.json            the packages it came from
    RELEASE/vmlinux                the kernel as an ELF file, ready for QEMU's PVH entry
    RELEASE/lib/modules/RELEASE    its modules, with the files that depmod makes
    RELEASE/boot                   the configuration it was built with, and the compressed kernel

and `SERIES` becomes a symbolic link to that directory. A kernel stays until `refresh` is asked for.
The full "amd64" flavour is taken, since Debian's smaller "cloud" flavour has no 9p file system.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ebpfpy.btf.vmlinuz import vmlinux
from ebpfpy.errors import EbpfError
from tests.vm import cache, packages, tools
from tests.vm.packages import Archive, Package
from tests.vm.tools import SetupError


@dataclass(frozen=True)
class Series:
    """Where the kernels of a series come from; `{}` in *more* stands for the release."""

    suites: tuple[str, ...]
    image: str
    release: str
    more: tuple[str, ...] = ()

    def newest(self, archive: Archive) -> tuple[str, list[Package]]:
        """Return the newest release and the packages that make it up."""
        found = archive.find(self.image + self.release)
        if not found:
            raise SetupError(
                f"no package {self.image}{self.release} in the suites {', '.join(self.suites)}; "
                "the series may have left them"
            )
        release = found[-1].name.removeprefix(self.image)
        return release, [found[-1], *(archive.get(name.format(release)) for name in self.more)]


SERIES: Final = {
    "5.10": Series(("bullseye", "bullseye-security"), "linux-image-", r"5\.10\.0-\d+-amd64"),
    "6.1": Series(("bookworm", "bookworm-security"), "linux-image-", r"6\.1\.0-\d+-amd64"),
    "6.12": Series(("bookworm", "bookworm-security"), "linux-image-", r"6\.12\.\d+\+deb12-amd64"),
    # The image package of 7.x is empty: kernel, modules and config have packages of their own. sid has one series at a
    # time: this one, or what has come after it.
    "7.2": Series(("sid",), "linux-binary-", r"7\.\d+\.\d+\+deb\d+-amd64", ("linux-modules-{}", "linux-base-{}")),
}


@dataclass(frozen=True)
class Kernel:
    """An unpacked kernel."""

    series: str
    release: str
    packages: tuple[Package, ...]
    directory: Path

    @property
    def vmlinux(self) -> Path:
        """The kernel as an ELF file."""
        return self.directory / "vmlinux"

    @property
    def modules(self) -> Path:
        """The directory that is /lib/modules/RELEASE in the guest."""
        return self.directory / "lib" / "modules" / self.release

    def module_files(self) -> dict[str, tuple[Path, tuple[Path, ...]]]:
        """Return, for each module by its kernel name, its file and the files it needs, deepest last."""
        files = {}
        for line in (self.modules / "modules.dep").read_text().splitlines():
            path, _, needs = line.partition(":")
            files[module_name(path)] = (
                self.modules / path,
                tuple(self.modules / need for need in needs.split()),
            )
        return files


def module_name(path: str | Path) -> str:
    """Return the name the kernel gives to a module file: `snd-hda.ko.xz` is snd_hda."""
    return Path(path).name.partition(".ko")[0].replace("-", "_")


def get(series: str, *, refresh: bool = False) -> Kernel:
    """Return the kernel of a series, downloading it when the cache has none (or always, to *refresh*).

    Raises:
        SetupError: there is no such series, no mirror has it, or a program is missing.
    """
    link = cache.root() / series
    if series not in SERIES and not (link / "kernel.json").exists():
        raise SetupError(f"unknown kernel {series!r}; known: {', '.join(SERIES)}")
    with cache.locked(series):
        if refresh or not (link / "kernel.json").exists():
            directory = _fetch(series)
            with cache.scratch() as scratch:
                (scratch / "link").symlink_to(directory.name)
                (scratch / "link").rename(link)
    return _read(series, link.resolve())


def series_of(release: str) -> str | None:
    """Return the series whose kernel in the cache has this release ("6.1.0-56-amd64"); None without one."""
    return next((series for series in SERIES if (cache.root() / series).resolve().name == release), None)


def image(series: str) -> Path:
    """Return the compressed kernel of a series, as its package has it.

    A cache that was filled before these were kept gets it from the packages again.
    """
    kernel = get(series)
    name = f"vmlinuz-{kernel.release}"
    kept = kernel.directory / "boot" / name
    if kept.exists():
        return kept

    def fill(directory: Path) -> None:
        archive = Archive(SERIES[series].suites)
        archive.update()
        with cache.scratch() as scratch:
            packages.unpack(archive.download(kernel.packages, scratch), scratch / "root")
            shutil.copy(_image(scratch / "root"), directory / name)

    return cache.once(cache.root() / "images" / kernel.release, fill) / name


def unpacked(image: Path) -> bytes:
    """Return the kernel in a vmlinuz, an ELF file.

    Raises:
        SetupError: it is damaged, or nothing on this machine unpacks it.
    """
    try:
        return vmlinux(memoryview(image.read_bytes()), source=str(image))
    except EbpfError as error:
        raise SetupError(str(error)) from error


def _image(root: Path) -> Path:
    """Return the compressed kernel in unpacked packages."""
    found = [*root.glob("boot/vmlinuz-*"), *root.glob("usr/lib/modules/*/vmlinuz")]
    if not found:
        raise SetupError("the packages hold no kernel image")
    return found[0]


def _read(series: str, directory: Path) -> Kernel:
    facts = json.loads((directory / "kernel.json").read_text())
    return Kernel(series, facts["release"], tuple(Package(*package) for package in facts["packages"]), directory)


def _fetch(series: str) -> Path:
    source = SERIES[series]
    archive = Archive(source.suites)
    archive.update()
    release, wanted = source.newest(archive)

    def fill(directory: Path) -> None:
        with cache.scratch() as scratch:
            root = scratch / "root"
            packages.unpack(archive.download(wanted, scratch), root)
            _arrange(root, release, directory)
        facts = {"release": release, "packages": [(package.name, package.version) for package in wanted]}
        (directory / "kernel.json").write_text(json.dumps(facts, indent=1))

    return cache.once(cache.root() / release, fill)


def _arrange(root: Path, release: str, directory: Path) -> None:
    """Move what a guest needs out of the unpacked packages."""
    compressed = _image(root)
    (directory / "vmlinux").write_bytes(unpacked(compressed))
    (directory / "boot").mkdir()
    shutil.copy(compressed, directory / "boot" / f"vmlinuz-{release}")
    for config in [*root.glob("boot/config-*"), *root.glob("usr/lib/modules/*/config")][:1]:
        config.rename(directory / "boot" / f"config-{release}")
    (directory / "lib").mkdir()
    modules = next(path for path in (root / "lib/modules", root / "usr/lib/modules") if path.exists())
    modules.rename(directory / "lib" / "modules")
    subprocess.run([tools.DEPMOD.require(), "-b", str(directory), release], check=True)
