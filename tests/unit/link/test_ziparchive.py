"""Libraries in zip archives: found where they lie, and what nobody could map from there is refused by name."""

import os
import zipfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpfpy.errors import EbpfError, ElfError, InputError, TargetNotFoundError
from ebpfpy.link.executable import Executable
from tests.unit.link.executables import BASE, elf

FUNC = 0x12
LIBRARY = elf([("f", BASE + 0x20, FUNC, 1), ("g", BASE + 0x30, FUNC, 1)])
MEMBER = "lib/x86_64/libapp.so"


def archive(path, *, method=zipfile.ZIP_STORED, padding=b"", member=MEMBER):
    with zipfile.ZipFile(path, "w") as opened:
        opened.writestr("first", b"something before it")
        entry = zipfile.ZipInfo(member)
        entry.compress_type = method
        entry.extra = padding
        opened.writestr(entry, LIBRARY)
    return path


@pytest.mark.parametrize("padding", [b"", b"\x35\xd9\x06\x00" + bytes(6)])
def test_places_are_counted_from_the_archives_start(tmp_path, padding):
    path = archive(tmp_path / "app.apk", padding=padding)
    start = path.read_bytes().index(LIBRARY)
    with Executable(f"{path}!/{MEMBER}") as library:
        assert (library.file, library.start) == (str(path), start)
        assert library.function("f") == start + 0x20
        assert library.functions(bool) == {"f": start + 0x20, "g": start + 0x30}


def test_a_file_that_has_the_separator_in_its_name_is_that_file(tmp_path):
    directory = tmp_path / "odd!"
    directory.mkdir()
    (directory / "file").write_bytes(LIBRARY)
    with Executable(directory / "file") as file:
        assert (file.file, file.start, file.function("g")) == (str(directory / "file"), 0, 0x30)


def test_a_compressed_member_is_refused(tmp_path):
    path = archive(tmp_path / "app.apk", method=zipfile.ZIP_DEFLATED)
    with pytest.raises(InputError, match=r"'lib/x86_64/libapp.so' is compressed"):
        Executable(f"{path}!/{MEMBER}")


def test_a_member_that_is_not_there_is_named_with_its_neighbours(tmp_path):
    path = archive(tmp_path / "app.apk")
    with pytest.raises(TargetNotFoundError, match=r"no member 'lib/arm64/libapp.so'; near: lib/x86_64/libapp.so"):
        Executable(f"{path}!/lib/arm64/libapp.so")


def test_what_is_no_archive_is_refused(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(LIBRARY)
    with pytest.raises(ElfError, match="no zip archive"):
        Executable(f"{path}!/{MEMBER}")
    with pytest.raises(FileNotFoundError):
        Executable(f"{tmp_path}/none.apk!/{MEMBER}")


def test_a_member_that_would_begin_before_the_file_is_the_archives_fault(tmp_path):
    path = archive(tmp_path / "app.apk")
    whole = bytearray(path.read_bytes())
    whole[-6:-2] = (1 << 24).to_bytes(4, "little")  # of the end record: where the directory is
    path.write_bytes(whole)
    with pytest.raises(ElfError, match=f"member '{MEMBER}' of the zip archive is damaged"):
        Executable(f"{path}!/{MEMBER}")


def test_a_member_that_is_no_library_is_refused(tmp_path):
    with pytest.raises(ElfError, match="not an ELF file"):
        Executable(f"{archive(tmp_path / 'app.apk')}!/first")


@given(st.data())
def test_a_damaged_archive_is_refused_or_read_but_nothing_else(tmp_path_factory, data):
    path = archive(tmp_path_factory.mktemp("damaged") / "app.apk")
    whole = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)))
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole)))])
    before = len(os.listdir("/proc/self/fd"))
    try:
        with Executable(f"{path}!/{MEMBER}") as library:
            assert library.functions(bool) is not None
    except EbpfError:
        pass
    assert len(os.listdir("/proc/self/fd")) == before
