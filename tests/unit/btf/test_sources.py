"""Where BTF is read from, and what is said about files that are something else."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import struct
from typing import TYPE_CHECKING

import pytest

from ebpfpy import btf
from ebpfpy.btf.elfsection import sections
from ebpfpy.errors import BtfError, ElfError, InputError, NotFoundError

if TYPE_CHECKING:
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


@pytest.mark.parametrize("name", ["", "../vmlinux", "a/b", ".", "..", "a\0b", "x" * 5000])
def test_what_is_no_module_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="is not the name of a module"):
        btf.load_kernel_module_spec(name)


def test_a_module_that_is_not_loaded_is_not_found() -> None:
    with pytest.raises(NotFoundError, match="no_such_module: it is not loaded"):
        btf.load_kernel_module_spec("no-such-module")


VMLINUZ = bytearray(1024)
VMLINUZ[:2] = b"MZ"
VMLINUZ[0x202:0x206] = b"HdrS"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"hello, world\n", "looks like text: 'hello, world"),
        (bytes(VMLINUZ), "vmlinuz"),
        (b"!<arch>\ndebian-binary", "ar archive"),
        (b"PK\x03\x04\0\0\0\0", "zip"),
        (b"\x7f\0\1\2", "starts with 7f 00 01 02"),
        (gzip.compress(b"some text that is no BTF"), "looks like text"),
        (lzma.compress(b"\x9f\xeb" + bytes(40))[:-20], "cut short|damaged"),
        (b"\x1f\x8b\x08garbage", "damaged|cut short"),
        (b"BZh9garbage", "damaged"),
        (gzip.compress(gzip.compress(gzip.compress(b"\x9f\xeb"))), "compressed more than twice"),
    ],
)
def test_files_that_are_something_else_are_named(data: bytes, message: str) -> None:
    with pytest.raises(BtfError, match=message):
        btf.load_spec(data)


def test_a_reader_of_text_is_refused() -> None:
    with pytest.raises(InputError, match="binary mode"):
        btf.load_spec(io.StringIO("text"))  # type: ignore[arg-type]


def elf(*named: tuple[str, bytes, int], wide: bool = True, order: str = "<") -> bytes:
    """An ELF file with these sections: name, contents, flags."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name, _, _ in named) + b".shstrtab\0"
    contents = [(name, data, flags) for name, data, flags in named] + [(".shstrtab", names, 0)]
    at = 64
    headers, body = [bytes(64 if wide else 40)], b""
    for name, data, flags in contents:
        fields = (names.index(name.encode() + b"\0"), 1, flags, 0, at, len(data), 0, 0)
        headers.append(
            struct.pack(order + ("IIQQQQII" if wide else "IIIIIIII"), *fields).ljust(64 if wide else 40, b"\0")
        )
        body += data
        at += len(data)
    head = b"\x7fELF" + bytes((2 if wide else 1, 1 if order == "<" else 2, 1)) + bytes(9)
    count = len(headers)
    if wide:
        head += struct.pack(order + "HHIQQQIHHHHHH", 1, 247, 1, 0, 0, at, 0, 64, 0, 0, 64, count, count - 1)
    else:
        head += struct.pack(order + "HHIIIIIHHHHHH", 1, 247, 1, 0, 0, at, 0, 52, 0, 0, 40, count, count - 1)
    return head.ljust(64, b"\0") + body + b"".join(headers)


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
