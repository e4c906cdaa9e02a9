"""For tests that talk to the kernel: each must leave the process's descriptors as it found them."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import ebpfpy
from ebpfpy import btf

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE = Path(__file__).parent
_NEEDED = {"CAP_SYS_ADMIN": 21, "CAP_PERFMON": 38, "CAP_BPF": 39}
"""By number, from include/uapi/linux/capability.h; CAP_SYS_ADMIN is for objects by id."""


def _missing() -> str | None:
    """What this process lacks for bpf(2), or None."""
    if sys.platform != "linux":
        return "this is no Linux: there is no bpf(2)"
    effective = int(
        next(
            line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("CapEff:")
        ),
        16,
    )
    lacking = [name for name, bit in _NEEDED.items() if not effective >> bit & 1]
    return f"not root: the process lacks {', '.join(lacking)}" if lacking else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test here; skip them all where the rights are missing, and name those.

    What cannot be undone comes last, and only where the machine is thrown away afterwards.
    """
    missing = _missing()
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.kernel)
            if missing is not None:
                item.add_marker(pytest.mark.skip(reason=missing))
            elif item.get_closest_marker("irreversible") and not os.environ.get("EBPFPY_VM"):
                item.add_marker(pytest.mark.skip(reason="would change this machine until it is started again"))
    items.sort(key=lambda item: item.get_closest_marker("irreversible") is not None)


def _descriptors() -> dict[int, str]:
    """Every open descriptor and what it leads to."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the one that the listing itself used
            continue
    return found


@pytest.fixture(scope="module")
def cache() -> btf.Cache:
    """The running kernel's types, read once for all tests of a file."""
    kept = btf.Cache()
    kept.kernel()  # now, not in a test: where the kernel allows it, its types are mapped, which holds a descriptor
    return kept


@pytest.fixture
def options(cache: btf.Cache) -> ebpfpy.CollectionOptions:
    """Options for a collection that finds the kernel's types in `cache`."""
    return ebpfpy.CollectionOptions(cache=cache)


@pytest.fixture(scope="module", autouse=True)
def everything_may_be_collected() -> None:
    """Collect what earlier files have left behind: see `no_descriptor_leaks`."""
    gc.unfreeze()


@pytest.fixture(autouse=True)
def no_descriptor_leaks() -> Iterator[None]:
    """The set of open descriptors is the same before and after a test.

    What a test drops may hang in cycles, so it is collected first. What was there before the test is set aside: to walk
    through all of pytest, twice for each test, takes most of the time in an emulated machine.
    """
    gc.collect()
    gc.freeze()
    before = _descriptors()
    yield
    gc.collect()
    after = _descriptors()
    leaked = {fd: target for fd, target in after.items() if fd not in before}
    lost = {fd: target for fd, target in before.items() if fd not in after}
    assert not leaked, f"left open: {leaked}"
    assert not lost, f"closed, though not its own: {lost}"
