"""A relocated object is the same file with the target's numbers in it."""

import lzma
from pathlib import Path

import pytest

from ebpfpy import btf, core
from ebpfpy.elf import load_collection_spec, write_relocated
from ebpfpy.errors import ElfError

TESTDATA = Path(__file__).parents[3] / "testdata"
KERNEL = min((TESTDATA / "btf").glob("6.12*"))


@pytest.fixture(scope="module")
def vmlinux() -> btf.Spec:
    return btf.load_spec(lzma.decompress((KERNEL / "vmlinux.btf.xz").read_bytes()))


@pytest.mark.parametrize("name", ["demo.bpf", "core_kinds.bpf", "subprogs.bpf", "core_kinds-clang14-el"])
def test_relocated_object_holds_the_patched_code_and_asks_for_nothing_more(name: str, vmlinux: btf.Spec) -> None:
    path = TESTDATA / f"{name}.o"
    spec = load_collection_spec(path)
    report = spec.relocate([vmlinux])
    again = load_collection_spec(write_relocated(path, report))
    for program in spec.programs.values():
        fixups = core.relocate(program.relocations, [vmlinux])
        assert again.programs[program.name].code == core.patch(program.code, fixups, program.byte_order)
        assert again.programs[program.name].relocations == ()


def test_only_the_instructions_and_the_core_length_change(vmlinux: btf.Spec) -> None:
    path = TESTDATA / "demo.bpf.o"
    before = path.read_bytes()
    report = load_collection_spec(path).relocate([vmlinux])
    after = write_relocated(path, report)
    assert len(after) == len(before)
    changed = sum(a != b for a, b in zip(before, after, strict=True))
    assert 0 < changed <= 8 * len(report.fixups) + 4


def test_report_about_another_object_is_an_error_that_names_the_function(vmlinux: btf.Spec) -> None:
    report = load_collection_spec(TESTDATA / "demo.bpf.o").relocate([vmlinux])
    with pytest.raises(ElfError, match="there is no function on_exec"):
        write_relocated(TESTDATA / "rawtp.bpf.o", report)
