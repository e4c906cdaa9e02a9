"""Deduplication side by side with the distribution's libbpf: as many types, and the same ones.

libbpf 1.1 does not have the bug about arrays that later versions have. Where a declaration has several definitions,
both are right, and may choose differently: with a kernel, we compare what types refer to by kind and name.
"""

from __future__ import annotations

import ctypes
import re
import tempfile
from collections import Counter
from pathlib import Path

import pytest

from ebpfpy import btf
from tests.differential.libbpf import library

TESTDATA = Path(__file__).parents[2] / "testdata"
KERNELS = [TESTDATA / "btf" / name for name in ("6.1.0-56-amd64", "6.12.117+deb12-amd64")]
MODULES = ("tun", "loop", "veth", "nf_conntrack", "e1000", "e1000e", "ebpfpy_demo")


@pytest.fixture(scope="module", autouse=True)
def libbpf() -> None:
    try:
        library()
    except OSError as error:
        pytest.skip(f"libbpf.so.1 cannot be loaded: {error}")


def raw(handle: int) -> bytes:
    size = ctypes.c_uint32()
    return ctypes.string_at(library().btf__raw_data(handle, ctypes.byref(size)), size.value)


def concatenated(specs: list[btf.Spec]) -> bytes:
    """All types one behind the other, as libbpf writes them."""
    lib = library()
    together = lib.btf__new_empty()
    try:
        for spec in specs:
            data = bytes(spec.raw)
            one = lib.btf__new(data, len(data))
            assert lib.btf__add_btf(together, one) > 0
            lib.btf__free(one)
        return raw(together)
    finally:
        lib.btf__free(together)


def deduplicated(data: bytes, base: bytes | None = None) -> bytes:
    """What libbpf makes of it."""
    lib = library()
    below = lib.btf__new(base, len(base)) if base is not None else None
    if below is None:
        handle = lib.btf__new(data, len(data))
    else:  # libbpf exports no btf__new_split
        with tempfile.NamedTemporaryFile() as file:
            file.write(data)
            file.flush()
            handle = lib.btf__parse_raw_split(file.name.encode(), below)
    try:
        assert lib.btf__dedup(handle, None) == 0
        return raw(handle)
    finally:
        lib.btf__free(handle)
        if below:
            lib.btf__free(below)


def lines(spec: btf.Spec) -> list[str]:
    return list(btf.dump_raw(spec))


def lines_with_names(spec: btf.Spec) -> list[str]:
    """`lines`, with what is referred to by kind and name instead of id."""
    return [REFERENCE.sub(lambda match: f"={btf.describe(spec, int(match[1]))}", line) for line in lines(spec)]


REFERENCE = re.compile(r"(?<=type_id)=(\d+)")
NUMBER = re.compile(r"^\[\d+\] ")


def objects(pattern: str) -> list[btf.Spec]:
    return [btf.load_spec(path) for path in sorted(TESTDATA.glob(pattern))]


@pytest.mark.parametrize("pattern", ["*.bpf.o", "*-el.o", "[dtv]*.bpf.o", "*clang14-el.o", "core_*.bpf.o"])
def test_objects_put_together_become_what_libbpf_makes_of_them(pattern: str) -> None:
    data = concatenated(objects(pattern))
    ours, theirs = btf.deduplicate(btf.Spec(data)), btf.Spec(deduplicated(data))
    assert len(ours) == len(theirs) < len(btf.Spec(data))
    assert lines(ours) == lines(theirs)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda path: path.name)
def test_a_kernel_and_objects_become_what_libbpf_makes_of_them(kernel: Path) -> None:
    data = concatenated([btf.load_spec(kernel / "vmlinux.btf.xz"), *objects("*.bpf.o")])
    ours, theirs = btf.deduplicate(btf.Spec(data)), btf.Spec(deduplicated(data))
    mine, libbpfs = (Counter(NUMBER.sub("", line) for line in lines_with_names(spec)) for spec in (ours, theirs))
    assert mine - libbpfs == Counter()
    # A struct of which a part is only declared may fit two different ones of other objects. Which of them it becomes
    # depends in libbpf on the order in a hash table; functions of one name that take it are then kept twice.
    twice = libbpfs - mine
    assert twice.total() <= 2
    assert all(line.startswith("FUNC ") and line in mine for line in twice)


def test_two_kernels_become_what_libbpf_makes_of_them() -> None:
    data = concatenated([btf.load_spec(kernel / "vmlinux.btf.xz") for kernel in KERNELS])
    ours, theirs = btf.deduplicate(btf.Spec(data)), btf.Spec(deduplicated(data))
    assert len(ours) == len(theirs)


@pytest.mark.parametrize("kernel", KERNELS, ids=lambda path: path.name)
def test_modules_are_deduplicated_against_their_kernel_as_libbpf_does(kernel: Path) -> None:
    vmlinux = btf.load_spec(kernel / "vmlinux.btf.xz")
    base = bytes(vmlinux.raw)
    for name in MODULES:
        split = btf.load_split_spec(kernel / f"{name}.btf.xz", vmlinux)
        theirs = btf.Spec(deduplicated(bytes(split.raw), base), vmlinux)
        ours = btf.deduplicate(split)
        assert len(ours) == len(theirs), name
        assert lines(ours) == lines(theirs), name
