"""Objects that were read before: copies of what was read, for as long as the file is the same."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.elf import load_collection_spec, readbefore
from ebpfpy.elf.readbefore import KEPT, LARGEST, ReadBefore
from ebpfpy.errors import ElfError, KernelError

TESTDATA = Path(__file__).parents[3] / "testdata"
OBJECT = TESTDATA / "thirty_plain.bpf.o"
OTHER = TESTDATA / "demo.bpf.o"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The objects that are really read, from now on."""
    seen: list[str] = []
    really = readbefore.read_blueprints

    def noted(file):
        seen.append(file.source)
        return really(file)

    monkeypatch.setattr(readbefore, "read_blueprints", noted)
    return seen


def test_what_was_read_is_handed_out_again_and_says_the_same(read: list[str]) -> None:
    before = ReadBefore()
    first, second = before.load(OBJECT), before.load(str(OBJECT))
    assert read == [str(OBJECT)]
    assert first is not second
    whole = load_collection_spec(OBJECT)
    for spec in (first, second):
        assert spec.source == whole.source
        assert repr(spec.programs) == repr(whole.programs)
        assert list(spec.maps) == list(whole.maps)
        assert {name: each.value for name, each in spec.variables.items()} == {
            name: each.value for name, each in whole.variables.items()
        }


def test_what_becomes_of_one_copy_changes_no_other(read: list[str]) -> None:
    before = ReadBefore()
    first = before.load(OBJECT)
    name, variable = next(iter(first.variables.items()))
    was = variable.value
    variable.set(bytes(byte ^ 0xFF for byte in was))
    program = next(iter(first.programs.values()))
    program.code = b""
    first.maps.clear()
    first.notes.append("mine")
    second = before.load(OBJECT)
    assert second.variables[name].value == was
    assert second.programs[program.name].code
    assert second.maps
    assert "mine" not in second.notes
    assert len(read) == 1


def test_a_file_that_has_changed_is_read_anew(tmp_path: Path, read: list[str]) -> None:
    path = tmp_path / "object.o"
    before = ReadBefore()
    shutil.copy(OBJECT, path)
    assert len(before.load(path).programs) == 30
    shutil.copy(OTHER, path)
    assert len(before.load(path).programs) != 30
    path.write_bytes(b"nonsense")
    for _ in range(2):
        with pytest.raises(ElfError, match="not an ELF file"):
            before.load(path)
    path.unlink()
    with pytest.raises(KernelError, match="No such file"):
        before.load(path)
    shutil.copy(OBJECT, path)
    assert len(before.load(path).programs) == 30
    assert len(read) == 2


def test_bytes_and_open_files_are_told_apart_by_their_content(read: list[str]) -> None:
    before = ReadBefore()
    for _ in range(2):
        assert len(before.load(OBJECT.read_bytes()).programs) == 30
        assert len(before.load(OTHER.read_bytes()).programs) != 30
        with OBJECT.open("rb") as file:
            assert len(before.load(file).programs) == 30
    assert read == ["<bytes>", "<bytes>", str(OBJECT)]


def test_no_more_objects_are_kept_than_said(tmp_path: Path, read: list[str]) -> None:
    before = ReadBefore()
    paths = [tmp_path / f"{number}.o" for number in range(KEPT + 1)]
    for path in paths:
        shutil.copy(OTHER, path)
        before.load(path)
    before.load(paths[-1])
    assert len(read) == KEPT + 1
    before.load(paths[0])
    assert len(read) == KEPT + 2


def test_what_is_very_large_is_not_kept(read: list[str]) -> None:
    before = ReadBefore()
    large = OTHER.read_bytes() + bytes(LARGEST)
    assert list(before.load(large).programs) == list(before.load(large).programs)
    assert len(read) == 2


def test_each_cache_has_its_own() -> None:
    one, two = btf.Cache(), btf.Cache()
    assert ReadBefore.of(one) is ReadBefore.of(one)
    assert ReadBefore.of(one) is not ReadBefore.of(two)
