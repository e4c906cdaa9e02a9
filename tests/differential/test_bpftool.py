"""`dump_raw` against ``bpftool btf dump ... format raw``: the same text, line by line."""

from __future__ import annotations

import lzma
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from ebpfpy import btf

TESTDATA = Path(__file__).parents[2] / "testdata"
BPFTOOL = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin:/sbin")
KERNELS = ("6.1.0-56-amd64", "6.12.117+deb12-amd64")
OBJECTS = sorted(path.name for path in TESTDATA.glob("*.o"))
MODULES = [
    (kernel, path.name.removesuffix(".btf.xz"))
    for kernel in KERNELS
    for path in sorted((TESTDATA / "btf" / kernel).glob("*.btf.xz"))
    if path.name != "vmlinux.btf.xz"
]

pytestmark = pytest.mark.skipif(BPFTOOL is None, reason="bpftool is not installed")


def bpftool(path: Path, base: Path | None = None) -> list[str]:
    assert BPFTOOL is not None
    command = [BPFTOOL, *(["-B", str(base)] if base else []), "btf", "dump", "file", str(path), "format", "raw"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("btf")
    for kernel in KERNELS:
        (root / kernel).mkdir()
        for path in (TESTDATA / "btf" / kernel).glob("*.xz"):
            (root / kernel / path.stem).write_bytes(lzma.decompress(path.read_bytes()))
    return root


@cache
def vmlinux(path: Path) -> btf.Spec:
    return btf.load_spec(path)


def assert_same(mine: list[str], theirs: list[str]) -> None:
    different = [pair for pair in zip(mine, theirs, strict=False) if pair[0] != pair[1]]
    assert different[:3] == []
    assert len(mine) == len(theirs)


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_vmlinux_reads_as_bpftool_prints_it(kernel: str, unpacked: Path) -> None:
    path = unpacked / kernel / "vmlinux.btf"
    assert_same(list(btf.dump_raw(vmlinux(path))), bpftool(path))


@pytest.mark.parametrize(("kernel", "module"), MODULES)
def test_a_module_reads_as_bpftool_prints_it(kernel: str, module: str, unpacked: Path) -> None:
    path, base = unpacked / kernel / f"{module}.btf", unpacked / kernel / "vmlinux.btf"
    assert_same(list(btf.dump_raw(btf.load_split_spec(path, vmlinux(base)))), bpftool(path, base))


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_reads_as_bpftool_prints_it(name: str) -> None:
    assert_same(list(btf.dump_raw(btf.load_spec(TESTDATA / name))), bpftool(TESTDATA / name))


def test_bpftool_reads_a_copy_of_a_vmlinux_as_the_original(unpacked: Path, tmp_path: Path) -> None:
    original = unpacked / KERNELS[0] / "vmlinux.btf"
    builder = btf.Builder()
    builder.add_all(vmlinux(original))
    copy = tmp_path / "copy.btf"
    copy.write_bytes(builder.marshal())
    assert_same(bpftool(copy), bpftool(original))
