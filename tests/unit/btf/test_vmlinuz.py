"""The types of a kernel in its bzImage. The images are made here; `tests/vm_harness` reads Debian's."""

from __future__ import annotations

import gzip
import lzma
import random
import struct
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from ebpfpy import btf
from ebpfpy.btf import compressed
from ebpfpy.errors import BtfError, EbpfError, NotFoundError, UnsupportedError
from tests.unit.btf.elf_files import elf
from tests.unit.btf.test_compressed import PACK

if TYPE_CHECKING:
    from pathlib import Path


def bzimage(payload: bytes, *, sectors: int = 39, version: int = 0x20F, offset: int = 715) -> bytes:
    """A bzImage with this payload, between code that is none."""
    setup = bytearray(((sectors or 4) + 1) * 512)
    setup[0:2] = b"MZ"
    setup[0x1F1] = sectors
    setup[0x202:0x206] = b"HdrS"
    struct.pack_into("<H", setup, 0x206, version)
    struct.pack_into("<II", setup, 0x248, offset, len(payload))
    return bytes(setup) + b"\x90" * offset + payload + b"\xcc" * 300


def packed(kernel: bytes, name: str) -> bytes:
    """A kernel compressed as its build does: with its size behind it, which gzip has by itself."""
    return PACK[name](kernel) + (b"" if name == "gzip" else struct.pack("<I", len(kernel)))


@pytest.fixture(scope="module")
def blob() -> bytes:
    builder = btf.Builder()
    builder.add_all([btf.Struct("task_struct", 4096), *(btf.Struct(f"s{number}", number) for number in range(500))])
    return builder.marshal()


@pytest.fixture(scope="module")
def kernel(blob: bytes) -> bytes:
    return elf((".text", random.Random(1).randbytes(5000), 0), (".BTF", blob, 0))


@pytest.mark.parametrize("name", PACK)
def test_a_vmlinuz_of_every_compression_has_its_kernels_types(kernel: bytes, blob: bytes, name: str) -> None:
    spec = btf.load_spec(bzimage(packed(kernel, name)))
    assert bytes(spec.raw) == blob


@pytest.mark.parametrize("sectors", [0, 1, 64, 255])
def test_the_payload_is_found_behind_any_number_of_sectors(kernel: bytes, blob: bytes, sectors: int) -> None:
    assert bytes(btf.load_spec(bzimage(packed(kernel, "xz"), sectors=sectors)).raw) == blob


def test_a_payload_that_is_not_compressed_is_read(kernel: bytes, blob: bytes) -> None:
    assert bytes(btf.load_spec(bzimage(kernel)).raw) == blob


def test_a_vmlinuz_is_a_file_and_may_itself_be_compressed(kernel: bytes, tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz-6.1.0.gz"
    path.write_bytes(gzip.compress(bzimage(packed(kernel, "gzip"))))
    spec = btf.load_spec(path)
    assert spec.name == "vmlinuz-6.1.0"
    assert spec.type_by_name("task_struct", btf.Struct).size == 4096
    assert spec.pointer_size == 8


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (bzimage(b"payload" * 9, version=0x207), r"boot protocol 2.07, which does not say .* came with 2.08"),
        (bzimage(b"payload" * 9), "compressed in an unknown way: its payload starts with 70 61 79 6c"),
        (bzimage(b"payload" * 9)[:0x24F], "cut short: 591 bytes, its header has 592"),
        (bzimage(b"payload" * 9)[:20_000], "cut short: its payload of 63 bytes starts at 21195 of 20000"),
        (bzimage(b""), "cut short: its payload of 0 bytes"),
        (bzimage(b"p" * 15), "cut short: its payload of 15 bytes"),
        (bzimage(b"payload" * 9, offset=0xFFFF)[:-70000], "cut short"),
    ],
)
def test_images_without_a_payload_say_why(image: bytes, message: str) -> None:
    with pytest.raises(BtfError, match=message) as caught:
        btf.load_spec(image)
    assert caught.value.offset is not None


@pytest.mark.parametrize("field", [0x248, 0x24C])
@pytest.mark.parametrize("value", [0x7FFF_FFFF, 0xFFFF_FFFF])
def test_absurd_places_of_the_payload_are_errors(kernel: bytes, field: int, value: int) -> None:
    image = bytearray(bzimage(packed(kernel, "xz")))
    struct.pack_into("<I", image, field, value)
    with pytest.raises(BtfError, match="cut short"):
        btf.load_spec(image)


@pytest.mark.parametrize("name", PACK)
def test_a_payload_that_is_cut_short_is_an_error(kernel: bytes, name: str) -> None:
    payload = packed(kernel, name)
    for size in (16, 30, len(payload) // 2, len(payload) - 5, len(payload) - 1):
        with pytest.raises(BtfError, match=r"the payload of a kernel image|cut short"):
            btf.load_spec(bzimage(payload[:size]))


def test_a_size_that_is_not_that_of_what_comes_out_is_an_error(kernel: bytes) -> None:
    payload = lzma.compress(kernel) + struct.pack("<I", len(kernel) + 1)
    with pytest.raises(BtfError, match=f"unpacks to {len(kernel)} bytes, and should to {len(kernel) + 1}"):
        btf.load_spec(bzimage(payload))


def test_bytes_behind_the_payloads_end_are_an_error(kernel: bytes) -> None:
    payload = lzma.compress(kernel) + b"garbage" + struct.pack("<I", len(kernel))
    with pytest.raises(BtfError, match=r"the payload of a kernel image .*7 bytes lie behind the end"):
        btf.load_spec(bzimage(payload))


def test_a_payload_that_grows_beyond_the_limit_is_an_error(kernel: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compressed, "MAX_SIZE", len(kernel) - 1)
    with pytest.raises(BtfError, match="unpacks to more than"):
        btf.load_spec(bzimage(packed(kernel, "xz")))


def test_a_payload_packed_with_what_is_not_read_here_says_so() -> None:
    with pytest.raises(UnsupportedError, match="lzop"):
        btf.load_spec(bzimage(b"\x89LZO\0\r\n\x1a\n" + bytes(40)))


def test_a_payload_that_is_no_elf_file_is_named() -> None:
    with pytest.raises(BtfError, match=r"looks like text: 'no kernel at all.*, inside vmlinuz"):
        btf.load_spec(bzimage(packed(b"no kernel at all" * 20, "xz")))


def test_a_kernel_built_without_btf_says_so(tmp_path: Path) -> None:
    path = tmp_path / "vmlinuz-5.4"
    path.write_bytes(bzimage(packed(elf((".text", b"code", 0)), "xz")))
    with pytest.raises(NotFoundError, match=r"vmlinuz-5.4: the ELF file has no \.BTF section"):
        btf.load_spec(path)


@pytest.mark.parametrize("seed", range(200))
def test_a_damaged_header_is_an_error_or_does_no_harm(kernel: bytes, blob: bytes, seed: int) -> None:
    dice = random.Random(seed)
    image = bytearray(bzimage(packed(kernel, "gzip")))
    for _ in range(dice.randint(1, 4)):
        image[dice.choice((0x1F1, *range(0x200, 0x260)))] = dice.randrange(256)
    with suppress(EbpfError):
        assert bytes(btf.load_spec(image).raw) == blob
