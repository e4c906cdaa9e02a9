"""Headers of real kernels, put before real compilers: they compile, and every layout is the one that BTF has."""

import lzma
import os
import re
import shutil
import subprocess
import time
from functools import cache
from pathlib import Path

import pytest

from ebpfpy import btf

from .layout_proof import Proof

TESTDATA = Path(__file__).parents[2] / "testdata" / "btf"
RUNNING = Path("/sys/kernel/btf/vmlinux")
KERNELS = [*sorted(path.name for path in TESTDATA.iterdir() if path.is_dir()), "running"]
COMPILERS = {
    "clang-14": ["clang-14", "-target", "bpf"],
    "clang-19": ["clang-19", "-target", "bpf"],
    "gcc": ["gcc"],
}
MODULES = [(path.parent.name, path.name.partition(".")[0]) for path in sorted(TESTDATA.glob("*/*.btf.xz"))]
MODULES = [(kernel, module) for kernel, module in MODULES if module != "vmlinux"]


@cache
def vmlinux(kernel: str) -> btf.Spec:
    if kernel == "running":
        if not RUNNING.exists():
            pytest.skip(f"{RUNNING} is missing")
        return btf.load_spec(RUNNING)
    return btf.Spec(lzma.decompress((TESTDATA / kernel / "vmlinux.btf.xz").read_bytes()), name="vmlinux")


@cache
def proof(kernel: str) -> Proof:
    return Proof(vmlinux(kernel))


@pytest.fixture(scope="module")
def headers(tmp_path_factory):
    """Directory with the header of a kernel and the C files that prove it."""

    @cache
    def make(kernel: str) -> Path:
        directory = tmp_path_factory.mktemp(kernel)
        (directory / "vmlinux.h").write_text("".join(btf.format_header(vmlinux(kernel))))
        (directory / "header.c").write_text('#include "vmlinux.h"\nint x;\n')
        (directory / "layout.c").write_text(proof(kernel).assertions("vmlinux.h"))
        (directory / "bitfields.c").write_text(proof(kernel).bitfield_variables("vmlinux.h"))
        return directory

    return make


def compile_c(compiler: str, directory: Path, source: str, *options: str) -> str:
    """Compile; the compiler's messages, warnings included."""
    command = COMPILERS[compiler]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    out = str(directory / f"{source}.{compiler}.o")
    done = subprocess.run(
        [*command, "-I", str(directory), *options, "-c", str(directory / source), "-o", out],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[:3000]
    return done.stderr


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_header_of_a_kernel_compiles_and_every_size_and_offset_is_that_of_btf(kernel, compiler, headers):
    directory = headers(kernel)
    assert len(proof(kernel).sizes) > 5000
    assert len(proof(kernel).offsets) > 40000
    said = compile_c(compiler, directory, "layout.c", "-fsyntax-only")
    said = "\n".join(line for line in said.splitlines() if "warning" in line and "address_space" not in line)
    assert not said, "a header without warnings"


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_bitfield_of_a_kernel_is_where_btf_says(kernel, compiler, headers):
    directory = headers(kernel)
    compile_c(compiler, directory, "bitfields.c", "-w", "-O0")
    right, wrong = proof(kernel).wrong_bitfields(str(directory / f"bitfields.c.{compiler}.o"))
    assert not wrong
    assert right > 3000


@pytest.mark.parametrize("kernel", KERNELS)
def test_header_compiles_for_bpf_into_an_object_and_as_c23(kernel, headers):
    directory = headers(kernel)
    compile_c("clang-19", directory, "header.c", "-O2", "-g", "-Werror")
    compile_c("clang-19", directory, "header.c", "-std=gnu23", "-fsyntax-only", "-Werror")


@pytest.mark.parametrize("compiler", ["clang-19", "gcc"])
@pytest.mark.parametrize("kernel", KERNELS[:-1])
def test_header_of_a_module_continues_that_of_its_kernel(kernel, compiler, headers):
    """All modules of a kernel, each in a file of its own."""
    directory = headers(kernel)
    for module in [module for other, module in MODULES if other == kernel]:
        data = lzma.decompress((TESTDATA / kernel / f"{module}.btf.xz").read_bytes())
        spec = btf.Spec(data, vmlinux(kernel), name=module)
        (directory / f"{module}.h").write_text("".join(btf.format_header(spec)))
        (directory / f"{module}.c").write_text(Proof(spec).assertions(f"{module}.h"))
        compile_c(compiler, directory, f"{module}.c", "-fsyntax-only")


def test_whole_header_takes_at_most_five_times_as_long_as_bpftool():
    bpftool = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin")
    if bpftool is None:
        pytest.skip("bpftool is not installed")
    if not RUNNING.exists():
        pytest.skip(f"{RUNNING} is missing")
    theirs, ours = [], []
    for _ in range(5):
        before = os.times()
        subprocess.run([bpftool, "btf", "dump", "file", RUNNING, "format", "c"], stdout=subprocess.DEVNULL, check=True)
        after = os.times()
        theirs.append(after.children_user + after.children_system - before.children_user - before.children_system)
        start = time.process_time()
        "".join(btf.format_header(btf.load_spec(RUNNING)))
        ours.append(time.process_time() - start)
    assert min(ours) < 5 * min(theirs), f"ebpfpy {min(ours):.2f} s, bpftool {min(theirs):.2f} s"


def test_names_of_types_are_those_of_bpftool():
    """Which struct gets the plain name may differ, the set of tags does not."""
    bpftool = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin")
    if bpftool is None or not RUNNING.exists():
        pytest.skip("bpftool is not installed, or this kernel has no BTF")
    done = subprocess.run(
        [bpftool, "btf", "dump", "file", RUNNING, "format", "c"], capture_output=True, text=True, check=True
    )
    tags = re.compile(r"^(struct|union|enum) (\w+) \{", re.MULTILINE)
    theirs = set(tags.findall(done.stdout))
    ours = set(tags.findall("".join(btf.format_header(vmlinux("running")))))
    assert ours == theirs
