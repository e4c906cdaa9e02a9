"""Layouts that compilers chose, for machines of either byte order and word size, written as C and compiled again."""

import random
import shutil
import subprocess
from functools import cache

import pytest

from ebpfpy import btf

from .layout_proof import Proof, variables_of
from .random_layouts import random_composites, source, spec_of

CLANG = "clang-19"
MACHINES = {  # what clang calls it, byte order, bytes of a pointer
    "bpf": ("bpfel", "little", 8),
    "bpf, big": ("bpfeb", "big", 8),
    "x86": ("x86_64-linux-gnu", "little", 8),
    "x86, 32 bits": ("i386-linux-gnu", "little", 4),
    "arm": ("aarch64-linux-gnu", "little", 8),
    "arm, 32 bits": ("armv7-linux-gnueabi", "little", 4),
    "arm, 32 bits, big": ("armebv7-linux-gnueabi", "big", 4),
    "mips, 32 bits, big": ("mips-linux-gnu", "big", 4),
    "mips, 32 bits": ("mipsel-linux-gnu", "little", 4),
    "powerpc, 32 bits": ("powerpc-linux-gnu", "big", 4),
    "powerpc": ("powerpc64-linux-gnu", "big", 8),
    "s390": ("s390x-linux-gnu", "big", 8),
    "riscv, 32 bits": ("riscv32-linux-gnu", "little", 4),
    "riscv": ("riscv64-linux-gnu", "little", 8),
}
COMPOSITES = random_composites(random.Random(2), 120)


@cache
def triples_of_clang() -> str:
    if shutil.which(CLANG) is None:
        pytest.skip(f"{CLANG} is not installed")
    return subprocess.run([CLANG, "--print-targets"], capture_output=True, text=True, check=True).stdout


def compiled(triple, source_text, directory, name):
    """Compile; the object file."""
    triples_of_clang()
    (directory / f"{name}.c").write_text(source_text)
    out = directory / f"{name}.o"
    command = [CLANG, f"--target={triple}", "-w", "-ffreestanding", "-I", directory, "-c", directory / f"{name}.c"]
    done = subprocess.run([*command, "-o", out], capture_output=True, text=True, check=False)
    if "unable to create target" in done.stderr or "unknown target" in done.stderr:
        pytest.skip(f"{CLANG} does not compile for {triple}")
    assert done.returncode == 0, done.stderr[:3000]
    return out


def chosen(machine, directory):
    """The BTF of the layouts that the compiler chooses for a machine."""
    triple, order, word = MACHINES[machine]
    out = compiled(triple, source(COMPOSITES), directory, "chosen")
    return spec_of(COMPOSITES, variables_of(str(out)), order, word)


def prove(spec, machine, directory):
    """Compile the header for a machine, and prove everything about it."""
    proof = Proof(spec)
    assert proof.all == proof.proved
    assert len(proof.offsets) > 300
    assert len(proof.bitfields) > 100
    triple = MACHINES[machine][0]
    (directory / "layouts.h").write_text("".join(btf.format_header(spec)))
    compiled(triple, proof.assertions("layouts.h"), directory, "proof")
    out = compiled(triple, proof.bitfield_variables("layouts.h"), directory, "bitfields")
    right, wrong = proof.wrong_bitfields(str(out))
    assert not wrong
    assert right == len(proof.bitfields)


@pytest.mark.parametrize("machine", MACHINES)
def test_layout_of_a_machine_comes_out_again(machine, tmp_path):
    prove(chosen(machine, tmp_path), machine, tmp_path)


SMALL = [name for name, (_, _, word) in MACHINES.items() if word == 4]
PAIRS = [
    (writer, reader)
    for writer in ("x86, 32 bits", "arm, 32 bits", "mips, 32 bits, big")
    for reader in SMALL
    if MACHINES[writer][1] == MACHINES[reader][1] and writer != reader  # bitfields depend on the byte order
]


@pytest.mark.parametrize(("writer", "reader"), PAIRS)
def test_header_of_a_32_bit_machine_has_one_layout_on_all_of_them(writer, reader, tmp_path):
    """Some align 8-byte numbers to 4 bytes and some to 8, and the header does not know which compiler will read it."""
    prove(chosen(writer, tmp_path), reader, tmp_path)
