"""What the kernel makes of a module with a distilled base is what `relocate_base` makes of its file."""

import os
import subprocess
from pathlib import Path

import pytest

from ebpfpy import btf
from tests.kernel import features, modules


def distilled_file():
    """The path of our module built with a section .BTF.base, or None where the running kernel knows no such thing."""
    given = os.environ.get("EBPFPY_DEMO_DISTILLED_KO")
    if given:
        return Path(given)
    from tests.vm import kernels, kmod

    series = kernels.series_of(features.RELEASE)
    return kmod.build(series, distilled=True) if series is not None and kmod.can_distil(series) else None


@pytest.fixture(scope="module")
def vmlinux():
    return btf.load_kernel_spec()


@pytest.fixture(scope="module")
def module_file(vmlinux):
    """Our module, distilled; it is loaded while these tests run."""
    features.require_modules()
    path = distilled_file()
    missing = None if path else "no distilled build of our module for this kernel: .BTF.base came with Linux 6.12"
    features.since("6.12", missing)
    with modules.absent(modules.DEMO), modules.unloaded_afterwards(modules.DEMO):
        subprocess.run(["insmod", str(path)], check=True)
        yield path


@pytest.fixture(scope="module")
def in_sysfs(module_file):
    return Path("/sys/kernel/btf", modules.DEMO).read_bytes()


def parts(raw):
    """The types, the strings, and where they are; kernels since 7.1 write a longer header in front of the same."""
    size = int.from_bytes(raw[4:8], "little")
    assert not any(raw[24:size])
    return bytes(raw[8:24]), bytes(raw[size:])


def test_the_file_rests_on_a_distilled_base_and_sysfs_does_not(module_file, in_sysfs, vmlinux):
    assert len(btf.load_spec(module_file).base) < len(vmlinux) // 100
    assert btf.Spec(in_sysfs, vmlinux).type_by_name("ebpfpy_demo_state", btf.Struct).size == 80


@pytest.mark.parametrize("strict", [None, "kernel"])
def test_relocated_bytes_are_those_of_the_running_kernel(module_file, in_sysfs, vmlinux, strict):
    relocated = btf.relocate_base(btf.load_spec(module_file), vmlinux, strict=strict)
    assert parts(relocated.raw) == parts(in_sysfs)


def test_a_file_loaded_with_the_kernels_types_is_relocated(module_file, in_sysfs, vmlinux):
    assert parts(btf.load_split_spec(module_file, vmlinux).raw) == parts(in_sysfs)


def test_the_check_says_that_it_fits(module_file, vmlinux):
    report = btf.check_split(module_file, vmlinux)
    assert (report.verdict, report.distilled, report.faults) == ("fits", True, 0)


def test_every_loaded_module_fits_the_running_kernel(vmlinux):
    features.require_modules()
    with modules.unloaded_afterwards("veth"):
        modules.load("veth")
        for name in modules.names():
            assert btf.check_split(f"/sys/kernel/btf/{name}", vmlinux).faults == 0, name
