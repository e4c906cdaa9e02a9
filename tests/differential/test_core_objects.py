"""Every little-endian object of testdata with CO-RE relocations, against every BTF there, by libbpf and by ebpfpy.

Compared are, relocation by relocation, the local path, the chosen target path, the value before and after, poison, and
the bytes of the patched instruction. Modules are handed to libbpf in one blob with their kernel (`kernelbtf`).
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from ebpfpy import btf, core
from ebpfpy.elf import CollectionSpec, load_collection_spec
from ebpfpy.errors import ElfError
from tests.differential import libbpf
from tests.differential.kernelbtf import Kernel, all_kernels
from tests.differential.objectwriter import LD_IMM64

TESTDATA = Path(__file__).parents[2] / "testdata"
RUNNING = Path("/sys/kernel/btf/vmlinux")
NOT_ASKED = {
    f"struct_ops{which}.o": "libbpf 1.1 stops at a member that the kernel's struct lacks, before it relocates"
    for which in (".bpf", "-clang14-el", "-clang19-el")
} | {
    "bictcp.bpf.o": "libbpf knows no difference between vmlinux's bictcp and the module's: what a prototype names",
    "together.bpf.o": "libbpf 1.1 stops at a module's structure of functions, before it relocates",
}
MASK = (1 << 64) - 1  # libbpf prints values as unsigned 64-bit numbers

pytestmark = [
    pytest.mark.skipif(libbpf.why_not() is not None, reason=str(libbpf.why_not())),
    pytest.mark.timeout(600),  # several hundred loads, each of which parses a kernel's BTF
]


@cache
def collection(name: str) -> CollectionSpec:
    return load_collection_spec(TESTDATA / name)


def has_relocations(name: str) -> bool:
    """Whether there is anything to compare."""
    try:
        return any(program.relocations for program in collection(name).programs.values())
    except ElfError:  # maps in the old style, which libbpf refuses, too
        return False


@cache
def objects() -> list[str]:
    names = sorted(path.name for pattern in ("*.bpf.o", "*-el.o") for path in TESTDATA.glob(pattern))
    return [name for name in names if name not in NOT_ASKED and has_relocations(name)]


@pytest.fixture(scope="module")
def kernels(tmp_path_factory) -> list[Kernel]:
    found = all_kernels(TESTDATA, tmp_path_factory.mktemp("btf"))
    if RUNNING.exists():
        found.append(Kernel("running", RUNNING, (btf.load_spec(RUNNING),)))
    return found


@pytest.fixture(scope="module")
def answers(kernels) -> dict[tuple[str, str], dict]:
    """libbpf's answers by object and kernel."""
    found = {}
    for kernel in kernels:
        said = libbpf.ask([(str(TESTDATA / name), str(kernel.path)) for name in objects()])
        found |= {(name, kernel.name): answer for name, answer in zip(objects(), said, strict=True)}
    return found


def test_they_agree_on_every_relocation(answers, kernels):
    compared = 0
    for (name, kernel), theirs in answers.items():
        specs = next(each.specs for each in kernels if each.name == kernel)
        report = collection(name).relocate(specs)
        assert [f for f in report.fixups if f.warnings] == []
        poisoned = set(report.poisoned)
        ours = {
            (f.relocation.function, f.relocation.function_insn, f.kind.text): (
                f.local, f.target, f in poisoned, f.local_value & MASK if f.validate and f not in poisoned else None,
                None if f in poisoned else f.target_value & MASK,
            )
            for f in report.fixups
        }  # fmt: skip
        # the old value is what the instruction held: for a bitfield's unit compilers disagree, and nobody checks
        checked = {key for key, (*_, local_value, _) in ours.items() if local_value is not None}
        said = {
            key: (
                r["local"], r["matching"][0] if r["matching"] else None, r["poisoned"],
                r["old"] & MASK if key in checked else None, None if r["new"] is None else r["new"] & MASK,
            )
            for r in theirs["relocations"]
            for key in [(r["program"], r["insn"], r["kind"])]
        }  # fmt: skip
        assert ours == said, (name, kernel)
        compared += len(ours)
    assert compared > 20_000


def test_they_leave_the_same_bytes_in_every_relocated_instruction(answers, kernels):
    compared = 0
    for kernel in kernels:
        relocator = core.Relocator(kernel.specs)
        for name in objects():
            for program in collection(name).programs.values():
                fixups = relocator.relocate(program.relocations, prefer_module=program.attach_module)
                ours = core.patch(program.code, fixups, "little")
                said = bytes.fromhex(answers[name, kernel.name]["programs"][program.name])
                for fixup in fixups:
                    if fixup.relocation.function != program.name:
                        continue  # the order of subprograms is the linker's own choice
                    at = 8 * fixup.relocation.insn
                    end = at + (16 if program.code[at] == LD_IMM64 else 8)
                    assert ours[at:end] == said[at:end], fixup.explain()
                    compared += 1
    assert compared > 20_000


@pytest.mark.parametrize(
    ("name", "module", "type_name"),
    [
        ("tun.bpf.o", "tun", "tun_file"),
        ("loop.bpf.o", "loop", "loop_device"),
        ("veth.bpf.o", "veth", "veth_priv"),
        ("kmod_demo.bpf.o", "ebpfpy_demo", "ebpfpy_demo"),
        ("namesakes.bpf.o", "e1000", "e1000_adapter"),
        ("namesakes.bpf.o", "e1000e", "e1000_adapter"),
    ],
)
def test_a_modules_types_are_missing_for_both_without_it_and_found_by_both_with_it(answers, name, module, type_name):
    def resolved(kernel: str) -> set[bool]:
        said = answers[name, kernel]["relocations"]
        return {bool(each["matching"]) for each in said if type_name in each["local"]}

    for release in {path.parent.name for path in TESTDATA.glob(f"btf/*/{module}.btf.xz")}:
        assert resolved(release) == {False}
        assert resolved(f"{release} {module}") == {True}


def test_a_linked_object_holds_old_type_ids_and_gets_the_new_ones(answers):
    """bpftool's linker gives the types of the second object new ids, and leaves the code as it is."""
    program = collection("core_linked.bpf.o").programs["type_local_id_of_typedef"]
    (relocation,) = program.relocations
    assert int.from_bytes(program.code[4:8], "little") != relocation.type_id
    patched = core.patch(program.code, core.relocate([relocation], []), "little")
    assert int.from_bytes(patched[4:8], "little") == relocation.type_id
    said = [a["programs"][program.name] for (name, _), a in answers.items() if name == "core_linked.bpf.o"]
    assert {bytes.fromhex(code)[:16] for code in said} == {patched[:16]}


def test_what_is_left_out_is_there_and_would_have_something_to_compare():
    assert all(has_relocations(name) for name in NOT_ASKED)
    assert len(objects()) > 15
