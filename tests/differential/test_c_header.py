"""Headers of real kernels, put before real compilers: they compile, and every layout is the one that BTF has."""

import lzma
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from ebpfpy import btf

from .layout_proof import Proof
from .odd_types import each_odd_type, odd_spec

TESTDATA = Path(__file__).parents[2] / "testdata" / "btf"
RUNNING = Path("/sys/kernel/btf/vmlinux")
KERNELS = [*sorted(str(path.parent.relative_to(TESTDATA)) for path in TESTDATA.rglob("vmlinux.btf.xz")), "running"]
COMPILERS = {
    "clang-14": ["clang-14", "-target", "bpf"],
    "clang-19": ["clang-19", "-target", "bpf"],
    "gcc": ["gcc"],
    "clang-19 big": ["clang-19", "-target", "bpfeb"],
}


@cache
def vmlinux(kernel: str) -> btf.Spec:
    if kernel == "running":
        if not RUNNING.exists():
            pytest.skip(f"{RUNNING} is missing")
        return btf.load_spec(RUNNING)
    return unpacked(kernel, "vmlinux", None)


def unpacked(kernel: str, name: str, base: btf.Spec | None) -> btf.Spec:
    return btf.Spec(lzma.decompress((TESTDATA / kernel / f"{name}.btf.xz").read_bytes()), base, name=name)


@cache
def proof(kernel: str) -> Proof:
    return Proof(vmlinux(kernel))


@pytest.fixture(scope="module")
def headers(tmp_path_factory):
    """Directory with the header of a kernel and the C files that prove it."""

    @cache
    def make(kernel: str) -> Path:
        directory = tmp_path_factory.mktemp(kernel.replace("/", "-"))
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


@pytest.mark.parametrize("compiler", ["clang-19", "gcc"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_header_of_a_kernel_compiles_and_every_size_and_offset_is_that_of_btf(kernel, compiler, headers):
    directory = headers(kernel)
    every_type_is_proved(proof(kernel))
    assert len(proof(kernel).sizes) > 7000
    assert len(proof(kernel).offsets) > 50000
    assert len(proof(kernel).values) > 15000
    said = compile_c(compiler, directory, "layout.c", "-fsyntax-only")
    assert not warnings_in(said)


def every_type_is_proved(proof: Proof) -> None:
    """All structs, unions and enums of the spec, but enums that are only declared: these have no size."""
    kinds = (btf.Struct, btf.Union, btf.Enum)
    assert proof.all == {proof.spec.type_id(of) for of in proof.spec if isinstance(of, kinds)}
    missing = proof.all - proof.proved - proof.declared
    assert not [proof.spec.type_by_id(type_id) for type_id in missing]
    assert len(proof.declared) < 20


def warnings_in(said: str) -> list[str]:
    """What a compiler warns of."""
    return [line for line in said.splitlines() if "warning:" in line]


@pytest.mark.parametrize("compiler", ["clang-19", "gcc"])
@pytest.mark.parametrize("kernel", KERNELS)
def test_every_bitfield_of_a_kernel_is_where_btf_says(kernel, compiler, headers):
    directory = headers(kernel)
    compile_c(compiler, directory, "bitfields.c", "-w", "-O0")
    right, wrong = proof(kernel).wrong_bitfields(str(directory / f"bitfields.c.{compiler}.o"))
    assert not wrong
    assert right >= bitfields_in(vmlinux(kernel)) > 1500


def bitfields_in(spec: btf.Spec) -> int:
    """How many there are that have a name."""
    composites = [of for of in spec if isinstance(of, (btf.Struct, btf.Union))]
    return sum(bool(member.bitfield_size and member.name) for of in composites for member in of.members)


@pytest.mark.parametrize("kernel", KERNELS)
@pytest.mark.parametrize("compiler", ["clang-14", "clang-19"])
def test_header_compiles_for_bpf_into_an_object(kernel, compiler, headers):
    compile_c(compiler, headers(kernel), "header.c", "-O2", "-g", "-Werror")


def test_header_compiles_as_c23(headers):
    """6.1 does not: it has a member called bool."""
    compile_c("clang-19", headers("6.12.117+deb12-amd64"), "header.c", "-std=gnu23", "-fsyntax-only", "-Werror")


@pytest.mark.parametrize("compiler", ["clang-14", "clang-19", "gcc"])
def test_odd_types_compile_and_have_their_layout(compiler, tmp_path):
    spec = odd_spec()
    check_all(spec, compiler, tmp_path)


def test_odd_types_of_the_other_byte_order_have_their_layout(tmp_path):
    builder = btf.Builder()
    builder.add_all(each_odd_type())
    check_all(btf.Spec(builder.marshal("big"), name="odd"), "clang-19 big", tmp_path)


@pytest.mark.parametrize("compiler", ["clang-19", "gcc"])
def test_split_whose_every_name_is_taken_by_its_base_compiles(compiler, tmp_path):
    base = odd_spec(name="vmlinux")
    (tmp_path / "vmlinux.h").write_text("".join(btf.format_header(base)))
    types = [t for t in each_odd_type() if not isinstance(t, btf.DeclTag)]
    builder = btf.Builder(base)
    builder.add_all(types)
    split = builder.spec("odd")
    header = check_all(split, compiler, tmp_path)
    assert '#include "vmlinux.h"' in header
    assert "struct natural___3 {" in header, "natural___2 is a union of the base"
    assert "struct natural {" not in header


def check_all(spec: btf.Spec, compiler: str, directory: Path) -> str:
    """Compile a header and prove all of its layouts; the header."""
    proof = Proof(spec)
    header = "".join(btf.format_header(spec))
    (directory / "odd.h").write_text(header)
    (directory / "layout.c").write_text(proof.assertions("odd.h"))
    (directory / "bitfields.c").write_text(proof.bitfield_variables("odd.h"))
    assert not warnings_in(compile_c(compiler, directory, "layout.c", "-fsyntax-only"))
    compile_c(compiler, directory, "bitfields.c", "-w")
    right, wrong = proof.wrong_bitfields(str(directory / f"bitfields.c.{compiler}.o"))
    assert not wrong
    assert right >= 16
    return header


@pytest.mark.parametrize("compiler", ["clang-19", "gcc"])
@pytest.mark.parametrize("kernel", KERNELS[:-1])
def test_header_of_a_module_continues_that_of_its_kernel(kernel, compiler, headers):
    """All modules of a kernel, each in a file of its own."""
    directory = headers(kernel)
    modules = sorted(path.name.partition(".")[0] for path in (TESTDATA / kernel).glob("*.btf.xz"))
    for module in [module for module in modules if module != "vmlinux"]:
        spec = unpacked(kernel, module, vmlinux(kernel))
        module_proof = Proof(spec)
        every_type_is_proved(module_proof)
        (directory / f"{module}.h").write_text("".join(btf.format_header(spec)))
        (directory / f"{module}.c").write_text(module_proof.assertions(f"{module}.h"))
        compile_c(compiler, directory, f"{module}.c", "-fsyntax-only")
        (directory / f"{module}-bits.c").write_text(module_proof.bitfield_variables(f"{module}.h"))
        compile_c(compiler, directory, f"{module}-bits.c", "-w", "-O0")
        _, wrong = module_proof.wrong_bitfields(str(directory / f"{module}-bits.c.{compiler}.o"))
        assert not wrong


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
