"""Tar archives of one file, as BTFhub publishes the BTF of kernels; and all others, which are refused."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from ebpfpy import btf
from ebpfpy.errors import BtfError, EbpfError

if TYPE_CHECKING:
    from pathlib import Path

KINDS = {
    "a link": tarfile.LNKTYPE,
    "a symbolic link": tarfile.SYMTYPE,
    "a device": tarfile.CHRTYPE,
    "a directory": tarfile.DIRTYPE,
    "a pipe": tarfile.FIFOTYPE,
}
LAYOUTS = {"pax": tarfile.PAX_FORMAT, "gnu": tarfile.GNU_FORMAT, "ustar": tarfile.USTAR_FORMAT}


@pytest.fixture(scope="module")
def blob() -> bytes:
    builder = btf.Builder()
    builder.add_all([btf.Struct("task_struct", 4096), btf.Int("long", 8, 1)])
    return builder.marshal()


def archive(*members: tuple[str, bytes, bytes], layout: int = tarfile.GNU_FORMAT) -> bytes:
    """An archive of these: name, content, type."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=layout) as tar:
        for name, content, kind in members:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "elsewhere"
            info.mtime = 1.5 if layout == tarfile.PAX_FORMAT else 1  # pax needs another member to say that
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def one(name: str, content: bytes, layout: int = tarfile.GNU_FORMAT) -> bytes:
    return archive((name, content, tarfile.REGTYPE), layout=layout)


@pytest.mark.parametrize("pack", [bytes, lzma.compress, gzip.compress, bz2.compress])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_one_file_of_an_archive_is_read(blob: bytes, pack: object, layout: str) -> None:
    assert callable(pack)
    spec = btf.load_spec(pack(one("5.4.0-42-generic.btf", blob, LAYOUTS[layout])))
    assert bytes(spec.raw) == blob
    assert spec.name == "5.4.0-42-generic"


def test_a_spec_is_named_after_the_archive(blob: bytes, tmp_path: Path) -> None:
    path = tmp_path / "4.18.0-80.el8.x86_64.btf.tar.xz"
    path.write_bytes(lzma.compress(one("./other.btf", blob)))
    assert btf.load_spec(path).name == "4.18.0-80.el8.x86_64"
    assert list(tmp_path.iterdir()) == [path]


def test_an_archive_may_hold_what_is_compressed_or_an_elf_file(blob: bytes, testdata: Path) -> None:
    assert bytes(btf.load_spec(one("vmlinux.btf.xz", lzma.compress(blob))).raw) == blob
    assert len(btf.load_spec(one("demo.o", (testdata / "demo.bpf.o").read_bytes()))) > 10


@pytest.mark.parametrize("layout", ["pax", "gnu"])
def test_names_longer_than_a_header_are_read(blob: bytes, layout: str) -> None:
    name = "x" * 240 + ".btf"
    assert btf.load_spec(one(name, blob, LAYOUTS[layout])).name == "x" * 240


def test_several_files_are_listed(blob: bytes) -> None:
    members = [(f"{number}.btf", blob, tarfile.REGTYPE) for number in range(2)]
    with pytest.raises(BtfError, match=r"a tar archive with 2 files: 0\.btf, 1\.btf; take the one that is meant"):
        btf.load_spec(lzma.compress(archive(*members)))
    with pytest.raises(BtfError, match=r"20 files: .*7, \.\.\.;"):
        btf.load_spec(archive(*((str(number), b"", tarfile.REGTYPE) for number in range(20))))


def test_an_archive_of_nothing_says_so() -> None:
    with pytest.raises(BtfError, match="zeros only, inside xz"):
        btf.load_spec(lzma.compress(archive()))


@pytest.mark.parametrize("what", KINDS)
def test_links_devices_and_directories_are_refused(blob: bytes, what: str) -> None:
    for members in (
        [("odd", b"", KINDS[what])],
        [("vmlinux.btf", blob, tarfile.REGTYPE), ("odd", b"", KINDS[what])],
    ):
        with pytest.raises(BtfError, match=f"a tar archive with {what} in it \\('odd"):
            btf.load_spec(archive(*members))


@pytest.mark.parametrize("name", ["/etc/passwd", "../vmlinux.btf", "a/vmlinux.btf", "..", "./../x"])
def test_a_file_elsewhere_is_refused(blob: bytes, name: str) -> None:
    with pytest.raises(BtfError, match="a tar archive whose file lies elsewhere"):
        btf.load_spec(one(name, blob))


def test_a_file_elsewhere_by_its_prefix_is_refused(blob: bytes) -> None:
    with pytest.raises(BtfError, match="lies elsewhere"):
        btf.load_spec(one("d" * 90 + "/" + "f" * 90, blob, tarfile.USTAR_FORMAT))


def test_what_is_cut_short_is_an_error_everywhere(blob: bytes) -> None:
    data = one("vmlinux.btf", blob)
    for size in range(300, 512 + len(blob), 37):
        with pytest.raises(BtfError, match=r"cut short"):
            btf.load_spec(data[:size])


def test_a_size_that_is_absurd_is_an_error(blob: bytes) -> None:
    data = bytearray(one("vmlinux.btf", blob))
    for size in (b"77777777777\0", b"\x80" + b"\xff" * 11, b"\xff" * 12, b"not a number", bytes(12)):
        data[124:136] = size
        data[148:156] = b" " * 8
        data[148:156] = b"%06o\0 " % sum(data[:512])
        with pytest.raises(EbpfError):
            btf.load_spec(bytes(data))


def test_a_damaged_header_is_an_error_that_says_where(blob: bytes) -> None:
    data = bytearray(one("vmlinux.btf", blob))
    data[0] ^= 1
    with pytest.raises(BtfError, match=r"a damaged header \(at byte 0\)"):
        btf.load_spec(bytes(data))


def test_thousands_of_long_names_in_a_row_are_no_trouble(blob: bytes) -> None:
    header = one("x" * 240, blob)[:1024]  # the member that holds the name
    assert header[156:157] == b"L"
    assert btf.load_spec(header * 5_000 + one("vmlinux.btf", blob)).type_by_name("task_struct")
    with pytest.raises(BtfError, match="more than 10000 members"):
        btf.load_spec(header * 10_001)


@pytest.mark.parametrize("seed", range(300))
def test_a_damaged_archive_is_an_error_or_does_no_harm(blob: bytes, seed: int) -> None:
    dice = random.Random(seed)
    data = bytearray(one("vmlinux.btf", blob, dice.choice(list(LAYOUTS.values()))))
    for _ in range(dice.randint(1, 5)):
        data[dice.randrange(1024)] = dice.randrange(256)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    with suppress(EbpfError):
        btf.load_spec(bytes(data))
