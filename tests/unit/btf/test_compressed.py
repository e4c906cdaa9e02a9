"""Compressed files: every format, damaged in every way."""

from __future__ import annotations

import bz2
import gzip
import lzma
import shutil
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from ebpfpy import btf
from ebpfpy.btf import compressed, lz4, zstd
from ebpfpy.btf.zstd import library as find_zstd
from ebpfpy.errors import BtfError, EbpfError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def run(*command: str) -> Callable[[bytes], bytes]:
    """A program as a function from what it reads to what it writes."""

    def pack(data: bytes) -> bytes:
        if shutil.which(command[0]) is None:
            pytest.skip(f"the program {command[0]} is missing")
        return subprocess.run(command, input=data, stdout=subprocess.PIPE, check=True).stdout

    return pack


PACK = {
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda data: lzma.compress(data, lzma.FORMAT_ALONE),
    "zstd": run("zstd", "-q", "-19", "-c"),
    "lz4": run("lz4", "-q", "-l", "-9", "-c"),
}
formats = pytest.mark.parametrize("name", PACK)


@pytest.fixture(scope="module")
def some(vmlinux: btf.Spec) -> bytes:
    """Some real types, which compress as such do: the first thousands of a kernel."""
    builder = btf.Builder()
    builder.add_all(vmlinux.type_by_id(type_id) for type_id in range(1, 2000))
    return builder.marshal()


@formats
def test_every_format_is_read(name: str, some: bytes) -> None:
    packed = PACK[name](some)
    form = compressed.format_of(memoryview(packed))
    assert form is not None
    assert form.name == name
    assert bytes(btf.load_spec(packed).raw) == some


@formats
def test_what_is_cut_short_is_an_error_that_says_so(name: str, some: bytes) -> None:
    packed = PACK[name](some)
    for size in (8, 20, len(packed) // 2, len(packed) - 9, len(packed) - 1):
        with pytest.raises(BtfError, match=r"cut short|damaged|does not fit|truncated"):
            btf.load_spec(packed[:size])


@formats
def test_bytes_behind_the_end_are_an_error_and_zeros_are_not(name: str, some: bytes) -> None:
    packed = PACK[name](some)
    with pytest.raises(BtfError, match=r"9 bytes lie behind the end|does not fit"):
        btf.load_spec(packed + b"and more.")
    for zeros in (1, 3, 4, 512):
        assert bytes(btf.load_spec(packed + bytes(zeros)).raw) == some
    with pytest.raises(BtfError, match="13 bytes lie behind the end"):
        btf.load_spec(packed + bytes(4) + b"and more.")


@formats
def test_several_streams_in_one_file_are_read_as_one(name: str, some: bytes) -> None:
    pack = PACK[name]
    pieces = [some[:100], some[100:3000], b"", some[3000:]]
    packed = b"".join(map(pack, pieces))
    assert bytes(btf.load_spec(packed).raw) == some
    for behind in (b"and more.", pack(b"more")[:-3]):
        with pytest.raises(BtfError, match=r"9 bytes lie behind the end|cut short|damaged|does not fit"):
            btf.load_spec(packed + behind)
    assert bytes(btf.load_spec(pack(some[:100]) + bytes(4) + pack(some[100:]) + bytes(8)).raw) == some


@formats
def test_the_limit_counts_all_streams(name: str, some: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = PACK[name](some[:5000]) + PACK[name](some[5000:])
    for limit in (len(some) - 1, 5000, 5001, 4999):
        monkeypatch.setattr(compressed, "MAX_SIZE", limit)
        with pytest.raises(BtfError, match=f"{name}: unpacks to more than {limit} bytes"):
            btf.load_spec(packed)
    monkeypatch.setattr(compressed, "MAX_SIZE", len(some))
    assert bytes(btf.load_spec(packed).raw) == some


def test_a_file_of_empty_streams_ends() -> None:
    with pytest.raises(BtfError, match="more than 1024 compressed streams"):
        btf.load_spec(gzip.compress(b"") * 20_000)


@formats
def test_damage_is_an_error_or_goes_unnoticed_where_no_checksum_is(name: str, some: bytes) -> None:
    packed = bytearray(PACK[name](some[:5000]))
    for at in range(6, len(packed), 13):
        packed[at] ^= 0x55
        with suppress(EbpfError):
            btf.load_spec(bytes(packed))
        packed[at] ^= 0x55


@formats
def test_more_than_the_limit_is_an_error(name: str, some: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    packed = PACK[name](some)
    monkeypatch.setattr(compressed, "MAX_SIZE", len(some))
    assert bytes(btf.load_spec(packed).raw) == some
    monkeypatch.setattr(compressed, "MAX_SIZE", len(some) - 1)
    with pytest.raises(BtfError, match=f"{name}: unpacks to more than {len(some) - 1} bytes"):
        btf.load_spec(packed)


@formats
def test_what_is_something_else_is_refused_by_its_beginning(name: str) -> None:
    pieces: list[int] = []

    class Counting:
        """The format's decompressor, which remembers how much it gave."""

        def __init__(self, real: object) -> None:
            self.real = real

        def decompress(self, data: bytes, max_length: int) -> bytes:
            found: bytes = self.real.decompress(data, max_length)  # type: ignore[attr-defined]
            pieces.append(len(found))
            return found

        def __getattr__(self, attribute: str) -> object:
            return getattr(self.real, attribute)

    packed = memoryview(PACK[name](bytes(9 << 20)))
    form = compressed.format_of(packed)
    assert form is not None
    with pytest.raises(BtfError, match=f"starts with zeros only, inside {name}"):
        btf.load_spec(packed)

    def refuse(head: memoryview) -> None:
        raise BtfError(f"{len(head)} bytes seen")

    with pytest.raises(BtfError, match="bytes seen"):
        compressed.unpack(packed, form._replace(open=lambda: Counting(form.open())), source=None, wanted=refuse)
    assert len(pieces) == 1
    assert pieces[0] <= 8 << 20


@pytest.mark.parametrize("times", [3, 4])
def test_layers_have_a_limit(times: int, some: bytes) -> None:
    for _ in range(times):
        some = gzip.compress(some)
    if times <= 3:
        assert len(btf.load_spec(some)) > 1000
    else:
        with pytest.raises(BtfError, match="packed more than 3 times: gzip in gzip in gzip in gzip"):
            btf.load_spec(some)


@pytest.mark.parametrize(
    ("data", "advice"),
    [
        (b"\x89LZO\0\r\n\x1a\n" + bytes(40), "`lzop -d FILE` unpacks it"),
        (b"\x04\x22\x4d\x18" + bytes(40), "`lz4 -d FILE` unpacks it"),
    ],
)
def test_formats_that_are_not_read_say_what_does(data: bytes, advice: str) -> None:
    with pytest.raises(UnsupportedError, match=advice):
        btf.load_spec(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x1f\x8b\x08garbage", "gzip: the compressed data is damaged"),
        (b"BZh9garbage", "bzip2: the compressed data is damaged"),
        (b"\xfd7zXZ\0garbagegarbage", "xz: the compressed data is damaged"),
        (b"\x28\xb5\x2f\xfdgarbagegarbage", "zstd: "),
    ],
)
def test_garbage_behind_a_magic_number_is_damage(data: bytes, message: str) -> None:
    with pytest.raises(BtfError, match=message):
        btf.load_spec(data)


def test_an_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "tun.ko.lz4"
    path.write_bytes(lz4.LEGACY_MAGIC + b"\x10\0\0\0abc")
    with pytest.raises(BtfError, match=r"^tun: lz4: a block of 16 bytes at 4 does not fit into 11 bytes \(at byte 4\)"):
        btf.load_spec(path)


# --- lz4, which is unpacked here --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"\0", b""),
        (b"\x30abc", b"abc"),
        (b"\x25ab\2\0\x10c", b"ab" + b"ababababa" + b"c"),
        (b"\x1fa\1\0\xff\x01\x10b", b"a" * (1 + 4 + 15 + 255 + 1) + b"b"),
        (b"\xf0\x00" + b"0123456789abcde", b"0123456789abcde"),
        (b"\x40abcd", b"abcd"),
        (b"\x40abcd\4\0\x00", b"abcdabcd"),
    ],
)
def test_sequences_of_lz4(data: bytes, content: bytes) -> None:
    assert lz4.unpack_block(data, 1000) == content
    assert lz4.unpack_block(data, len(content)) == content
    if content:
        with pytest.raises(BtfError, match="grows beyond"):
            lz4.unpack_block(data, len(content) - 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "cut short"),
        (b"\x30ab", "3 literals where 2 bytes are left"),
        (b"\xf0\xff\xff", "cut short"),
        (b"\x10a\1", "cut short"),
        (b"\x1fa\1\0\xff", "cut short"),
        (b"\x10a\0\0\0", "a match begins 0 bytes back in 1"),
        (b"\x10a\2\0\0", "a match begins 2 bytes back in 1"),
        (b"\x10a\1\0", "cut short"),
    ],
)
def test_damaged_sequences_of_lz4_are_errors(data: bytes, message: str) -> None:
    with pytest.raises(BtfError, match=message):
        lz4.unpack_block(data, 1000)


@pytest.mark.parametrize("seed", range(4))
def test_lz4_unpacks_what_the_program_packed(seed: int) -> None:
    from random import Random

    dice = Random(seed)
    words = [dice.randbytes(dice.randint(1, 40)) for _ in range(50)]
    data = b"\x9f\xeb" + b"".join(dice.choice(words) * dice.choice((1, 1, 1, 300)) for _ in range(5_000))
    packed = memoryview(PACK["lz4"](data))
    form = compressed.format_of(packed)
    assert form is not None
    assert compressed.unpack(packed, form, source=None) == data


# --- zstd, which others unpack ----------------------------------------------------------------------


def test_whoever_has_zstd_unpacks_the_same(some: bytes) -> None:
    packed = PACK["zstd"](some)
    makers = []
    if find_zstd() is not None:
        makers.append(zstd.SystemDecompressor)
    try:
        import zstandard  # noqa: F401
    except ImportError:
        pass
    else:
        makers.append(zstd.PackageDecompressor)  # type: ignore[arg-type]
    if not makers:
        pytest.skip("neither libzstd.so.1 nor the package zstandard is here")
    for maker in makers:
        form = compressed.Format("zstd", zstd.MAGIC, maker)
        assert compressed.unpack(memoryview(packed), form, source=None) == some
        for size in (5, 100, len(packed) - 1):
            with pytest.raises(BtfError, match="cut short"):
                compressed.unpack(memoryview(packed[:size]), form, source=None)
        with pytest.raises(BtfError, match="3 bytes lie behind"):
            compressed.unpack(memoryview(packed + b"end"), form, source=None)
        with pytest.raises(BtfError, match=r"^zstd: "):
            compressed.unpack(memoryview(packed[:9] + b"\xff" * 40 + packed[49:]), form, source=None)


def test_without_zstd_the_error_says_what_helps(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(zstd, "library", lambda: None)
    with pytest.raises(UnsupportedError, match=r"Python 3.14, the library libzstd.so.1 or the package zstandard"):
        btf.load_spec(zstd.MAGIC + bytes(20))
