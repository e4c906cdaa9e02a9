"""Where BTF is read from, and what is said about files that are something else."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
import threading
from typing import TYPE_CHECKING, Literal

import pytest

from ebpfpy import btf
from ebpfpy.btf.elfsection import sections
from ebpfpy.errors import BtfError, ElfError, InputError, KernelError, NotFoundError
from tests.unit.btf.elf_files import elf
from tests.unit.btf.test_compressed import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def blob() -> bytes:
    builder = btf.Builder()
    builder.add(btf.Struct("found", 4))
    return builder.marshal()


@pytest.mark.parametrize("pack", [bytes, bytearray, memoryview, gzip.compress, bz2.compress, lzma.compress])
def test_raw_and_compressed_bytes_are_read(blob: bytes, pack: object) -> None:
    assert callable(pack)
    assert btf.load_spec(pack(blob)).type_by_name("found")


def test_files_readers_and_path_objects_are_read_and_give_the_name(blob: bytes, tmp_path: Path) -> None:
    path = tmp_path / "nf.btf.xz"
    path.write_bytes(lzma.compress(blob))
    assert btf.load_spec(path).name == "nf"
    assert btf.load_spec(str(path)).name == "nf"
    with path.open("rb") as file:
        assert btf.load_spec_from_reader(file).name == "nf"
    assert btf.load_spec_from_reader(io.BytesIO(blob)).type_by_name("found")


@pytest.mark.parametrize("behind", [b"", b"\0", b"\0" * (5 << 20)], ids=["nothing", "a byte", "megabytes"])
@pytest.mark.parametrize("order", ["little", "big"])
@pytest.mark.parametrize("types", [1, 6_000, 400_000])
def test_a_file_is_read_to_its_end_whatever_its_header_tells(
    types: int, order: Literal["little", "big"], behind: bytes, tmp_path: Path
) -> None:
    builder = btf.Builder()
    number = builder.add(btf.Int("number", 4))
    data = builder.marshal(byte_order=order)
    pointer = struct.pack("<III" if order == "little" else ">III", 0, 2 << 24, number)
    head = struct.Struct("<HBBIIIII" if order == "little" else ">HBBIIIII")
    magic, version, flags, length, _, size, _, strings = head.unpack_from(data)
    grown = size + types * len(pointer)
    data = (
        head.pack(magic, version, flags, length, 0, grown, grown, strings)
        + data[length : length + size]
        + types * pointer
        + data[length + size :]
        + behind
    )
    path = tmp_path / "file"
    path.write_bytes(data)
    spec = btf.load_spec(str(path))
    assert spec.raw == data
    assert len(spec) == 1 + types
    path.write_bytes(data[: length + grown - 1])
    with pytest.raises(BtfError, match="truncated: type section"):
        btf.load_spec(str(path))


@pytest.mark.parametrize("order", ["el", "eb"])
def test_objects_of_either_byte_order_read_alike(testdata: Path, order: str) -> None:
    spec = btf.load_spec(testdata / f"core_kinds-clang19-{order}.o")
    assert spec.byte_order == {"el": "little", "eb": "big"}[order]
    other = btf.load_spec(testdata / "core_kinds-clang19-el.o")
    assert list(btf.dump_raw(spec)) == list(btf.dump_raw(other))


def test_a_distilled_base_comes_along(testdata: Path) -> None:
    root = testdata / "btf/6.12.117+deb12-amd64/distilled"
    base = btf.load_spec(root / "ebpfpy_demo.base.btf.xz")
    split = btf.load_split_spec(root / "ebpfpy_demo.btf.xz", base)
    assert len(base) > 0
    assert len(list(btf.dump_raw(split))) > len(split) > 0


def test_a_kernel_of_the_test_data_has_what_kernels_have(vmlinux: btf.Spec) -> None:
    assert vmlinux.name == "vmlinux"
    assert vmlinux.pointer_size == 8
    assert len(vmlinux) > 90_000
    task = vmlinux.type_by_name("task_struct", btf.Struct)
    assert task.member("pid").type is vmlinux.type_by_name("pid_t", btf.Typedef)
    assert btf.resolve(task.member("pid").type) is vmlinux.type_by_name("int", btf.Int)
    assert vmlinux.type_by_name("vfs_read", btf.Func).linkage in (0, 1)


@pytest.mark.skipif(not os.path.exists("/sys/kernel/btf/vmlinux"), reason="this kernel offers no BTF")
def test_the_running_kernel_is_read() -> None:
    kernel = btf.load_kernel_spec()
    assert kernel.name == "vmlinux"
    assert kernel.type_by_name("task_struct", btf.Struct).size > 1000
    for name in btf.kernel_module_names()[:3]:
        module = btf.load_kernel_module_spec(name, kernel)
        assert module.name == name
        assert module.base is kernel
        assert len(list(btf.dump_raw(module))) >= len(module)


@pytest.mark.parametrize("name", ["", "../vmlinux", "a/b", ".", "..", "a\0b", "\ud800", "x" * 5000])
def test_what_is_no_module_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a module"):
        btf.load_kernel_module_spec(name)


def test_a_module_that_is_not_loaded_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no_such_module: it is not loaded"):
        btf.load_kernel_module_spec("no-such-module")


def page(start: bytes, *, at: int = 0) -> bytes:
    """A page of zeros with some bytes in it."""
    return (bytes(at) + start).ljust(4096, b"\0")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (bytes(4096), "starts with zeros only"),
        (b"hello, world\n", "looks like text: 'hello, world"),
        (b"!<arch>\ndebian-binary   ", "a Debian package: `dpkg -x FILE DIR` unpacks it"),
        (b"!<arch>\nlib.o/", "ar archive"),
        (b"\xed\xab\xee\xdb\3\0", "an RPM package"),
        (b"PK\x03\x04\0\0\0\0", "zip"),
        (b"070701" + b"0" * 104, "a cpio archive"),
        (b"\n<!DOCTYPE html>\n<html>", "an HTML page"),
        (b"<?xml version='1.0'?>", "XML"),
        (b"version https://git-lfs.github.com/spec/v1\n", "`git lfs pull` fetches"),
        (b"BC\xc0\xde5\x14", "LLVM bitcode: compile it to an object file first"),
        (page(b"MZ"), "a PE file"),
        (page(b"MZ\0\0zimggzip"), r"a kernel image for EFI \(zboot\).*/sys/kernel/btf/vmlinux"),
        (page(b"ARM\x64", at=0x38), "an arm64 kernel Image, which is no ELF file"),
        (page(b"RSC\x05", at=0x38), "a RISC-V kernel Image"),
        (page(b"\x18\x28\x6f\x01", at=0x24), "an arm kernel zImage"),
        (b"\x27\x05\x19\x56" + bytes(60), "a U-Boot image"),
        (b"\x7f\0\1\2", "starts with 7f 00 01 02"),
        (gzip.compress(b"some text that is no BTF"), "looks like text: 'some text that is no', inside gzip"),
        (gzip.compress(page(b"ARM\x64", at=0x38)), "an arm64 kernel Image.*, inside gzip"),
        (lzma.compress(gzip.compress(b"")), "the file is empty, inside gzip in xz"),
    ],
)
def test_files_that_are_something_else_are_named(data: bytes, message: str) -> None:
    with pytest.raises(BtfError, match=message):
        btf.load_spec(data)


def test_a_file_that_is_something_else_is_named_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux-6.1"
    path.write_bytes(b"<html>")
    with pytest.raises(BtfError, match=r"^vmlinux-6\.1: neither BTF nor ELF: it looks like an HTML page"):
        btf.load_spec(path)


def test_a_reader_of_text_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "vmlinux.btf"
    path.write_bytes(b"\x9f\xeb\x01")  # no UTF-8
    with path.open(encoding="utf-8") as text:
        for reader in (io.StringIO("text"), io.StringIO(""), text):
            with pytest.raises(InputError, match="binary mode"):
                btf.load_spec(reader)  # type: ignore[arg-type]


def test_what_cannot_be_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="No such file") as missing:
        btf.load_spec(tmp_path / "absent.btf")
    assert isinstance(missing.value, FileNotFoundError)
    with pytest.raises(KernelError, match="directory"):
        btf.load_spec(tmp_path)
    with pytest.raises(FileNotFoundError, match="/sys/kernel/btf/no_such_module"):
        btf.load_spec("/sys/kernel/btf/no_such_module")
    with pytest.raises(InputError, match="is no path"):
        btf.load_spec("a\0b")
    with pytest.raises(InputError, match="not from int"):
        btf.load_spec(3)  # type: ignore[arg-type]


def test_a_reader_that_fails_is_an_error_of_the_kernel(tmp_path: Path) -> None:
    with (tmp_path / "written").open("wb") as file, pytest.raises((KernelError, InputError)):
        btf.load_spec_from_reader(file)


def test_a_reader_may_return_less_than_it_was_asked_for(blob: bytes) -> None:
    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            return super().read(min(7, size or 7))

    assert btf.load_spec(Slow(blob)).type_by_name("found")


@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_btf_is_taken_out_of_elf_files_of_any_class_and_byte_order(blob: bytes, wide: bool, order: str) -> None:
    data = elf((".text", b"code", 0), (".BTF", blob, 0), wide=wide, order=order)
    assert btf.load_spec(data).type_by_name("found")
    assert btf.load_spec(lzma.compress(data)).type_by_name("found")


def test_an_elf_file_without_btf_says_so() -> None:
    with pytest.raises(NotFoundError, match=r"has no \.BTF section"):
        btf.load_spec(elf((".text", b"code", 0)))


def test_a_compressed_section_says_so(blob: bytes) -> None:
    with pytest.raises(ElfError, match="compressed"):
        btf.load_spec(elf((".BTF", blob, 0x800)))


LONG = {size: btf.Int("long int", size, 1) for size in (4, 8)}
X86, X86_64, BPF, BIG_ENDIAN_MIPS = 3, 62, 247, 8


@pytest.mark.parametrize(
    ("long", "wide", "machine", "size"),
    [
        (None, True, X86_64, 8),
        (None, False, X86, 4),
        (None, False, BIG_ENDIAN_MIPS, 4),
        (None, False, BPF, 8),
        (4, False, BPF, 8),
        (8, False, X86, 8),
        (4, True, X86_64, 4),
    ],
)
@pytest.mark.parametrize("order", ["little", "big"])
def test_pointers_are_as_large_as_long_or_as_the_elf_file_says(
    long: int | None, wide: bool, machine: int, size: int, order: Literal["little", "big"]
) -> None:
    builder = btf.Builder()
    builder.add_all([btf.Pointer(btf.Void()), *([LONG[long]] if long else [])])
    data = elf((".BTF", builder.marshal(order), 0), wide=wide, machine=machine, order="<" if order == "little" else ">")
    spec = btf.load_spec(data)
    assert spec.pointer_size == size
    assert btf.sizeof(spec.type_by_id(1)) == size
    spec.pointer_size = 12 - size
    assert btf.sizeof(spec.type_by_id(1)) == 12 - size


def test_a_module_has_its_kernels_pointers_whatever_its_file_says() -> None:
    base = btf.Builder()
    base.add(btf.Int("int", 4, 1))
    kernel = base.spec()
    kernel.pointer_size = 4
    split = btf.Builder(kernel)
    split.add(btf.Pointer(btf.Void()))
    module = btf.load_split_spec(elf((".BTF", split.marshal(), 0)), kernel)
    assert module.pointer_size == 4


def test_a_32_bit_module_with_a_distilled_base_has_its_pointers() -> None:
    base = btf.Builder()
    base.add(btf.Struct("s", 4))
    split = btf.Builder(base.spec())
    split.add(btf.Pointer(btf.Void()))
    data = elf((".BTF", split.marshal(), 0), (".BTF.base", base.marshal(), 0), wide=False, machine=X86)
    assert btf.load_spec(data).pointer_size == 4


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, lzma.compress, run("zstd", "-q", "-c")], ids=["plain", "gz", "xz", "zst"]
)
def test_a_modules_file_is_read_however_it_is_packed(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    base = btf.Builder()
    base.add_all([btf.Int("int", 4, 1), btf.Struct("known", 4)])
    kernel = base.spec("vmlinux")
    split = btf.Builder(kernel)
    split.add(btf.Struct("own", 8, (btf.Member("p", btf.Pointer(kernel.type_by_name("known"))),)))
    distilled, on_it = btf.distill_base(split.spec())
    plain = elf((".BTF", split.marshal(), 0))
    bringing = elf((".BTF", bytes(on_it.raw), 0), (".BTF.base", bytes(distilled.raw), 0))
    path = tmp_path / "mod.ko.packed"
    for data in (plain, bringing):
        path.write_bytes(pack(data))
        module = btf.load_split_spec(path, kernel)
        (member,) = module.type_by_name("own", btf.Struct).members
        assert isinstance(member.type, btf.Pointer)
        assert member.type.target is kernel.type_by_name("known")
        assert btf.check_split(path, kernel).fits


def test_truncated_elf_files_are_errors_everywhere(blob: bytes) -> None:
    data = elf((".BTF", blob, 0))
    for size in range(4, len(data)):
        with pytest.raises((ElfError, NotFoundError)):
            btf.load_spec(data[:size])


@pytest.mark.parametrize("table", [1 << 40, 1 << 62, 1 << 63, (1 << 64) - 1])
@pytest.mark.parametrize("count", [0, 1, 0xFFFF])
def test_absurd_section_tables_are_errors(table: int, count: int) -> None:
    data = bytearray(elf((".BTF", b"", 0)))
    struct.pack_into("<Q", data, 0x28, table)
    struct.pack_into("<HH", data, 0x3C, count, 0)
    with pytest.raises(ElfError):
        sections(memoryview(data), (".BTF",), source="absurd")


@pytest.mark.parametrize("wrapped", [bytes, lambda blob: elf((".BTF", blob, 0))], ids=["raw", "ELF"])
def test_what_comes_through_a_pipe_is_read_however_large(wrapped: Callable[[bytes], bytes], tmp_path: Path) -> None:
    builder = btf.Builder()
    builder.add_all([btf.Struct(f"{number:0100}", 4) for number in range(1000)])
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    feeding = threading.Thread(target=pipe.write_bytes, args=(wrapped(builder.marshal()),))
    feeding.start()
    spec = btf.load_spec(pipe)
    feeding.join()
    assert len(spec) == 1000


@pytest.mark.parametrize("directory", ["long" * 100, "there"])
def test_a_kernels_types_that_cannot_be_read_are_an_error_of_the_librarys_own(directory: str, tmp_path: Path) -> None:
    (tmp_path / "there" / "vmlinux").mkdir(parents=True)
    with pytest.raises(KernelError, match="vmlinux: read"):
        btf.load_kernel_spec(directory=str(tmp_path / directory))


@pytest.mark.parametrize("size", [4, 5, 19])
def test_the_beginning_of_an_elf_file_is_called_truncated(size: int) -> None:
    with pytest.raises(ElfError, match=f"truncated ELF header: {size} bytes"):
        btf.load_spec((b"\x7fELF\x02\x01\x01" + bytes(20))[:size])
