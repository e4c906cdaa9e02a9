from __future__ import annotations

from pathlib import Path

import pytest

from ebpfpy import btf

TESTDATA = Path(__file__).parents[3] / "testdata"
KERNEL = TESTDATA / "btf/6.1.0-56-amd64"


@pytest.fixture(scope="session")
def vmlinux() -> btf.Spec:
    """The types of Debian's kernel 6.1; shared, so leave it as it is."""
    return btf.load_spec(KERNEL / "vmlinux.btf.xz")


@pytest.fixture(scope="session")
def vmlinux_bytes(vmlinux: btf.Spec) -> bytes:
    return bytes(vmlinux.raw)


@pytest.fixture
def testdata() -> Path:
    return TESTDATA


@pytest.fixture
def kernel_dir() -> Path:
    return KERNEL
