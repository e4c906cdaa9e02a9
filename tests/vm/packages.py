"""Debian packages from any suite, without touching the system's apt.

A test kernel comes from a suite that the machine itself may not use, and a suite added to the system's
sources would soon mix two releases. So apt is run with lists, sources and caches of the harness's own,
below the cache directory. Only the mirror is borrowed from the system: the address from which the machine
gets its own release serves the other suites too.

Set `EBPFPY_MIRROR` and `EBPFPY_SECURITY_MIRROR` on a machine whose sources name no Debian mirror.
"""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm import cache, tools
from tests.vm.tools import SetupError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

RELEASES: Final = (
    *("bullseye", "bookworm", "trixie", "forky", "sid"),
    *("oldoldstable", "oldstable", "stable", "testing", "unstable"),
)
SYSTEM_SOURCES: Final = Path("/etc/apt")


@dataclass(frozen=True)
class Package:
    """One version of a package that a suite offers."""

    name: str
    version: str
    depends: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.name} {self.version}"


@dataclass
class Archive:
    """Apt with the lists of *suites* and nothing else."""

    suites: tuple[str, ...]
    _options: list[str] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        home = cache.root() / "apt" / "+".join(self.suites)
        (home / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (home / "archives" / "partial").mkdir(parents=True, exist_ok=True)
        sources = home / "sources.list"
        settings = {
            "Dir::Etc::sourcelist": str(sources),
            "Dir::Etc::sourceparts": "/dev/null",
            "Dir::State::lists": str(home / "lists"),
            "Dir::Cache": str(home),
            "Acquire::Languages": "none",
            "APT::Architecture": "amd64",
            "APT::Sandbox::User": "root",
        }
        self._options = [part for name, value in settings.items() for part in ("-o", f"{name}={value}")]
        self._sources = sources

    def update(self) -> None:
        """Fetch the lists of the suites."""
        lines = [f"deb {_mirror(suite)} {suite} main\n" for suite in self.suites]
        cache.write_atomically(self._sources, "".join(lines).encode())
        self._run([tools.APT_GET.require(), "-q", "update"])

    def find(self, pattern: str) -> list[Package]:
        """Return the newest version of each package whose whole name matches, best name last."""
        literal = re.match(r"[a-z0-9-]*", pattern)
        prefix = literal.group() if literal else ""
        listed = self._run([tools.APT_CACHE.require(), "pkgnames", prefix]).split()
        names = [name for name in listed if re.fullmatch(pattern, name)]
        if not names:
            return []
        shown = self._run([tools.APT_CACHE.require(), "--no-all-versions", "show", *names])
        return sorted(map(_package, _stanzas(shown)), key=lambda package: natural(package.name))

    def get(self, name: str) -> Package:
        """Return the newest version of the package called *name*."""
        shown = self._run([tools.APT_CACHE.require(), "--no-all-versions", "show", name])
        return _package(next(_stanzas(shown)))

    def download(self, packages: Sequence[Package], directory: Path) -> list[Path]:
        """Download packages into a directory."""
        wanted = [f"{package.name}={package.version}" for package in packages]
        self._run([tools.APT_GET.require(), "-q", "download", *wanted], directory)
        return sorted(directory.glob("*.deb"))

    def _run(self, command: list[str], directory: Path | None = None) -> str:
        program, *arguments = command
        with cache.locked("apt-" + "+".join(self.suites)):
            done = subprocess.run(
                [program, *self._options, *arguments],
                cwd=directory,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode:
            problem = done.stderr.strip() or done.stdout.strip()
            suites = ", ".join(self.suites)
            raise SetupError(f"{Path(program).name} {arguments[-1]} failed for {suites}: {problem}")
        return done.stdout


def unpack(archives: Sequence[Path], directory: Path) -> None:
    """Unpack package files into a directory; nothing is installed."""
    for archive in archives:
        subprocess.run([tools.DPKG.require(), "-x", str(archive), str(directory)], check=True)


def natural(text: str) -> list[tuple[int, str]]:
    """Return a sort key by which 6.12.9 comes before 6.12.10."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", text)]


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    for stanza in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", stanza, re.MULTILINE))
        if fields:
            yield fields


def _package(fields: dict[str, str]) -> Package:
    depends = re.findall(r"(?:^|,)\s*([a-z0-9][a-z0-9+.-]*)", fields.get("Depends", ""))
    return Package(fields["Package"], fields["Version"], tuple(depends))


def _mirror(suite: str) -> str:
    """Return "[options] address" of the mirror that has *suite*, as the system's own sources name it."""
    security = suite.endswith("-security")
    variable = "EBPFPY_SECURITY_MIRROR" if security else "EBPFPY_MIRROR"
    if os.environ.get(variable):
        return os.environ[variable]
    for uri, known, keyring in _system_sources():
        release, _, branch = known.partition("-")
        if release in RELEASES and branch == ("security" if security else ""):
            return f"[signed-by={keyring}] {uri}" if keyring else uri
    raise SetupError(
        f"no mirror for the suite {suite}: the apt sources of this machine name no Debian "
        f"{'security ' if security else ''}mirror. Set {variable} to its address."
    )


def _system_sources() -> Iterator[tuple[str, str, str]]:
    """Yield (address, suite, keyring or "") from both formats of apt's source files."""
    parts = SYSTEM_SOURCES / "sources.list.d"
    for path in sorted(parts.glob("*.sources")):
        for fields in _stanzas(re.sub(r"^#.*\n", "", path.read_text(), flags=re.MULTILINE)):
            for uri in fields.get("URIs", "").split():
                for suite in fields.get("Suites", "").split():
                    yield uri, suite, fields.get("Signed-By", "")
    for path in [SYSTEM_SOURCES / "sources.list", *sorted(parts.glob("*.list"))]:
        text = path.read_text() if path.exists() else ""
        for options, uri, suite in re.findall(r"^deb\s+(?:\[(.*?)\]\s+)?(\S+)\s+(\S+)", text, re.MULTILINE):
            keyring = re.search(r"signed-by=(\S+)", options)
            yield uri, suite, keyring.group(1) if keyring else ""
