"""BTF and bpftool: `dump_raw` prints what it prints, and what we write it reads as the original."""

from __future__ import annotations

import re
from functools import cache
from typing import TYPE_CHECKING, Literal

import pytest

from ebpfpy import btf
from tests.differential.bpftool import FILES, MISSING, RealFile, assert_same, dump, unpack
from tests.invariants import contents

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(MISSING is not None, reason=str(MISSING))

WAYS: tuple[tuple[Literal["little", "big"], int], ...] = (("little", 24), ("little", 32), ("big", 24))
"""How BTF can be written. libbpf 1.1 does not read the long header in the other machine's byte order."""


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("btf")


@cache
def vmlinux(path: Path) -> btf.Spec:
    return btf.load_spec(path)


class Opened:
    """A file with the types in it, and those of its base."""

    def __init__(self, file: RealFile, root: Path) -> None:
        self.path = unpack(file.name, root)
        self.base_path = unpack(file.base, root) if file.base else None
        base = vmlinux(self.base_path) if self.base_path else None
        self.spec = btf.load_spec(self.path, base=base)


@pytest.mark.parametrize("file", FILES, ids=str)
def test_every_file_is_printed_as_bpftool_prints_it(file: RealFile, root: Path) -> None:
    of = Opened(file, root)
    assert_same(list(btf.dump_raw(of.spec)), dump(of.path, of.base_path))


@pytest.mark.parametrize("file", FILES, ids=str)
def test_bpftool_reads_a_written_copy_of_every_file_as_the_original(file: RealFile, root: Path, tmp_path: Path) -> None:
    of = Opened(file, root)
    builder = btf.Builder(of.spec.base)
    builder.add_all(of.spec)
    assert contents(builder.spec()) == contents(of.spec)
    raw, c = (dump(of.path, of.base_path, c=c) for c in (False, True))
    for order, header in [(of.spec.byte_order, 24)] if of.spec.split else WAYS:
        path = tmp_path / f"{order}{header}.btf"
        path.write_bytes(builder.marshal(order, header_size=header))
        assert_same(dump(path, of.base_path), raw)
        assert_same(dump(path, of.base_path, c=True), c)


@pytest.mark.parametrize("file", [file for file in FILES if file.base], ids=str)
def test_a_written_split_repeats_no_string_of_its_base(file: RealFile, root: Path) -> None:
    of = Opened(file, root)
    base = of.spec.base
    assert base is not None
    builder = btf.Builder(base)
    builder.add_all(of.spec)
    written = builder.spec()
    lower = {text for text, _ in base.each_string()}
    own = [text for text, offset in written.each_string() if offset >= base.strings_end]
    assert len(own) == len(set(own))
    assert not lower.intersection(own)
    assert len(written.raw) <= len(of.spec.raw)


KERNEL = "btf/6.12.117+deb12-amd64"
REFERENCE = re.compile(r"(?<=type_id)=(\d+)")


def records(lines: list[str]) -> dict[int, str]:
    """bpftool's lines about each type, by id."""
    found: dict[int, str] = {}
    for line in lines:
        if line.startswith("["):
            number, _, rest = line.partition("] ")
            type_id = int(number[1:])
            found[type_id] = rest
        else:
            found[type_id] += f"\n{line}"
    return found


def test_bpftool_reads_in_a_merged_blob_what_it_reads_in_each_module(root: Path, tmp_path: Path) -> None:
    files = [file for file in FILES if file.base == f"{KERNEL}/vmlinux.btf.xz"]
    modules = [Opened(file, root) for file in files]
    merged = btf.merge_splits([module.spec for module in modules])
    path = tmp_path / "merged.btf"
    path.write_bytes(merged.raw)
    assert_same(list(btf.dump_raw(merged)), dump(path))
    assert any("struct tun_file {" in line for line in dump(path, c=True))
    there = records(dump(path))
    for index, module in enumerate(modules):
        for type_id, text in records(dump(module.path, module.base_path)).items():
            new = merged.merged_id(index, type_id)
            moved = REFERENCE.sub(lambda match, index=index: f"={merged.merged_id(index, int(match[1]))}", text)
            assert there[new] == moved or text.startswith("FWD"), (module.spec.name, type_id)
