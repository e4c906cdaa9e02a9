"""The search for candidates touches what it needs: no type objects, no records of specs without the name."""

from __future__ import annotations

import lzma
from pathlib import Path

import pytest

from ebpfpy import btf, core
from ebpfpy.core import RelocationKind as R
from ebpfpy.elf import load_collection_spec
from ebpfpy.errors import TypeNotFoundError
from tests.unit.core.records import SIGNED, Records, relocation

TESTDATA = Path(__file__).parents[3] / "testdata"
KERNEL = TESTDATA / "btf" / "6.12.117+deb12-amd64"
MODULES = ("tun", "veth", "loop", "e1000", "e1000e", "nf_conntrack")


def unpacked(name: str) -> bytes:
    return lzma.decompress((KERNEL / f"{name}.btf.xz").read_bytes())


@pytest.fixture
def specs() -> list[btf.Spec]:
    """A kernel and modules that nobody has asked anything yet."""
    kernel = btf.Spec(unpacked("vmlinux"), name="vmlinux")
    return [kernel, *(btf.Spec(unpacked(name), kernel, name=name) for name in MODULES)]


def made(spec: btf.Spec) -> int:
    """How many types of a spec are objects."""
    return len(spec._types)


def walked(spec: btf.Spec) -> int:
    """How many records of a spec have been looked at."""
    return len(spec._starts)


@pytest.mark.parametrize("name", ["core_many", "core_kinds", "core_verdict", "tun"])
def test_a_relocation_makes_no_type_objects_of_the_target(name: str, specs: list[btf.Spec]) -> None:
    objects = load_collection_spec(TESTDATA / f"{name}.bpf.o")
    report = objects.relocate(specs)
    assert any(fixup.target_value is not None for fixup in report.fixups)
    assert [made(spec) for spec in specs] == [0] * len(specs)


def test_modules_without_the_name_are_not_walked(specs: list[btf.Spec]) -> None:
    records = Records()
    number = records.int("int", 4, SIGNED)
    root = records.struct("tun_file", 4, [("flags", number, 0)])
    (fixup,) = core.relocate([relocation(records.spec("object"), root, "0:0", R.FIELD_EXISTS)], specs)
    assert fixup.target_value == 1
    assert {spec.name for spec in specs[1:] if walked(spec)} == {"tun"}


def test_a_name_that_a_modules_strings_lack_is_answered_without_a_walk(specs: list[btf.Spec]) -> None:
    _, tun, veth, *_ = specs
    assert veth.any_types_by_name("tun_file") == []
    assert veth.types_by_essential_name("tun_file") == []
    with pytest.raises(TypeNotFoundError):
        veth.type_by_name("tun_file", btf.Struct)
    assert tun.type_by_name("tun_file", btf.Struct)
    assert (walked(veth), walked(tun) > 0) == (0, True)
