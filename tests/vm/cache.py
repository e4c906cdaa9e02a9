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
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
    """Be one of at most *count* holders of the lock called *name*, whatever the process; waits for a free place."""
    locks = root() / "locks"
    locks.mkdir(exist_ok=True)
    while True:
        for number in range(count):
            with (locks / f"{name}-{number}").open("w") as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    continue
                yield
                return
        time.sleep(1)


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
