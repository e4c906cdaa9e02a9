"""The cache directory: where it lies, and how several processes share it.

Everything that the harness downloads or builds lies below one directory, `$EBPFPY_CACHE` or else
`~/.cache/ebpfpy/kernels`. A thing is made under a temporary name and renamed when it is complete, so a
directory that has its final name is whole. Who makes it holds a lock file; a second process waits for
the first, then finds the work done.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import TextIO


def root() -> Path:
    """Return the cache directory, created if need be."""
    chosen = os.environ.get("EBPFPY_CACHE")
    directory = Path(chosen) if chosen else Path.home() / ".cache" / "ebpfpy" / "kernels"
    directory.mkdir(parents=True, exist_ok=True)
    return directory.resolve()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold the lock called *name*; waits while another process or thread holds it."""
    locks = root() / "locks"
    locks.mkdir(exist_ok=True)
    with (locks / name).open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def turn(name: str, count: int) -> Iterator[None]:
    """Be one of at most *count* holders of the lock called *name*, whatever the process; first come, first served."""
    with ExitStack() as line:
        line.enter_context(_first_in_line(name))
        while (place := _free_place(name, count)) is None:
            time.sleep(0.2)
    with place:
        yield


def _free_place(name: str, count: int) -> TextIO | None:
    for number in range(count):
        place = (root() / "locks" / f"{name}-{number}").open("w")
        try:
            fcntl.flock(place, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            place.close()
        else:
            return place
    return None


@contextmanager
def _first_in_line(name: str) -> Iterator[None]:
    """Wait until everybody who came before has left the line, or has died.

    A ticket is a numbered file that its owner has locked: whoever comes later waits for that lock, which the kernel
    lets go of if the owner dies.
    """
    line = root() / "locks" / f"{name}-line"
    with locked(f"{name}-tickets"):
        line.mkdir(exist_ok=True)
        earlier = sorted((path for path in line.iterdir()), key=lambda path: int(path.name))
        mine = line / str(int(earlier[-1].name) + 1 if earlier else 1)
        ticket = mine.open("w")
        fcntl.flock(ticket, fcntl.LOCK_EX)
    try:
        for path in earlier:
            with suppress(FileNotFoundError), path.open() as another:  # gone: has left
                fcntl.flock(another, fcntl.LOCK_EX)
                path.unlink(missing_ok=True)  # left behind by one that died
        yield
    finally:
        mine.unlink(missing_ok=True)
        ticket.close()


@contextmanager
def scratch() -> Iterator[Path]:
    """A temporary directory on the cache's file system, so that a rename out of it is atomic."""
    parent = root() / "tmp"
    parent.mkdir(exist_ok=True)
    directory = Path(tempfile.mkdtemp(dir=parent))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def once(target: Path, make: Callable[[Path], None]) -> Path:
    """Return the directory *target*; when it is missing, let *make* fill a new one, then rename that."""
    if not target.exists():
        with locked(target.relative_to(root()).as_posix().replace("/", "%")):
            if not target.exists():
                with scratch() as directory:
                    filling = directory / "filling"
                    filling.mkdir()
                    make(filling)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    filling.rename(target)
    return target


def write_atomically(target: Path, content: bytes) -> None:
    """Write a file so that a reader sees either the old content or all of the new."""
    with scratch() as directory:
        new = directory / target.name
        new.write_bytes(content)
        new.rename(target)
