"""Big-endian objects and kernels.

libbpf refuses an object of the other byte order, so it cannot be asked directly. But the C source is compiled for both
orders, and libbpf can turn a kernel's BTF round. So ebpfpy relocates the big-endian object to the turned BTF, and
libbpf the little-endian object to the BTF as it was: the answers must be the same, apart from what the byte order
itself changes, which is where a bit-field lies in its unit, and so the shift to the left.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpfpy import btf, core
from ebpfpy.core import RelocationKind as R
from ebpfpy.elf import load_collection_spec
from ebpfpy.errors import InputError
from tests.differential import libbpf
from tests.differential.kernelbtf import big_endian, unpacked
from tests.differential.test_core_objects import objects

TESTDATA = Path(__file__).parents[2] / "testdata"
KERNELS = sorted(TESTDATA.glob("btf/**/vmlinux.btf.xz"))
PAIRS = [name.removesuffix("-el.o") for name in objects() if name.endswith("-el.o")]
MASK = (1 << 64) - 1

pytestmark = pytest.mark.skipif(libbpf.why_not() is not None, reason=str(libbpf.why_not()))


Answer = tuple[str, str, str, int | None]


def answers(name: str, spec: btf.Spec) -> set[Answer]:
    """What each program was told: (program, kind, local path, value or None for poison).

    How often is left out: BPF_CORE_READ_BITFIELD_PROBED asks for the size once more in big-endian code.
    """
    report = load_collection_spec(TESTDATA / name).relocate([spec])
    poisoned = set(report.poisoned)
    return {
        (f.relocation.function, f.kind.text, path(f.local), None if f in poisoned else f.target_value & MASK)
        for f in report.fixups
        if f.kind not in (R.LSHIFT_U64, R.LOCAL_TYPE_ID)
    }


def told(answer: dict) -> set[Answer]:
    """The same by libbpf."""
    return {
        (r["program"], r["kind"], path(r["local"]), None if r["new"] is None else r["new"] & MASK)
        for r in answer["relocations"]
        if r["kind"] not in ("lshift_u64", "local_type_id")
    }


def path(local: str) -> str:
    """A local path without ids, offsets and values, which differ between compilers and byte orders."""
    return local.partition("] ")[2].partition(" (")[0].partition(" = ")[0]


@pytest.fixture(scope="module", params=KERNELS, ids=lambda path: path.parent.name)
def kernel(request, tmp_path_factory) -> tuple[Path, btf.Spec, btf.Spec]:
    """A file for libbpf, and the same types in both byte orders."""
    blob = unpacked(request.param)
    path = tmp_path_factory.mktemp("btf") / "vmlinux"
    path.write_bytes(blob)
    return path, btf.Spec(blob, name="vmlinux"), btf.Spec(big_endian(blob), name="vmlinux")


@pytest.fixture(scope="module")
def said(kernel) -> dict[str, dict]:
    """libbpf's answers about the little-endian objects."""
    asked = [(str(TESTDATA / f"{name}-el.o"), str(kernel[0])) for name in PAIRS]
    return dict(zip(PAIRS, libbpf.ask(asked), strict=True))


def test_a_kernels_types_read_the_same_in_either_order(kernel):
    _, little, big = kernel
    assert (little.byte_order, big.byte_order, len(little)) == ("little", "big", len(big))
    for name in ("task_struct", "sk_buff", "bpf_attr"):
        one, two = ([str(m) for m in spec.any_types_by_name(name)[0].members] for spec in (little, big))
        assert one == two


@pytest.mark.parametrize("name", PAIRS)
def test_both_orders_of_one_source_get_the_answers_of_libbpf(name, kernel, said):
    theirs = told(said[name])
    assert answers(f"{name}-el.o", kernel[1]) == theirs
    assert answers(f"{name}-eb.o", kernel[2]) == theirs


@pytest.mark.parametrize("name", [name for name in PAIRS if name.startswith("core_")])
def test_the_left_shift_counts_from_the_other_end(name, kernel):
    """A unit of u bytes, in it a field of w bits from bit b: little endian 64 - (b + w), big endian 8 (8 - u) + b."""
    shifts = 0
    for order, spec in (("el", kernel[1]), ("eb", kernel[2])):
        for fixup in load_collection_spec(TESTDATA / f"{name}-{order}.o").relocate([spec]).fixups:
            if fixup.kind != R.LSHIFT_U64 or fixup.poisoned:
                continue
            point = fixup.target_access.points[-1]
            member = spec.type_by_id(point.type_id).members[point.number]
            width = member.bitfield_size or 8 * btf.sizeof(member.type)
            unit = btf.sizeof(member.type)
            inside = fixup.target_access.bits % (8 * unit)
            little, big = 64 - (inside + width), 8 * (8 - unit) + inside
            assert fixup.target_value == (little if order == "el" else big)
            shifts += 1
    assert shifts >= 2


@pytest.mark.parametrize("name", PAIRS)
def test_every_big_endian_instruction_holds_its_answer(name, kernel):
    spec = kernel[2]
    for program in load_collection_spec(TESTDATA / f"{name}-eb.o").programs.values():
        fixups = core.relocate(program.relocations, [spec])
        code = core.patch(program.code, fixups, "big")
        for fixup in fixups:
            at = 8 * fixup.relocation.insn
            opcode, off, imm = code[at], code[at + 2 : at + 4], code[at + 4 : at + 8]
            if opcode == 0x85:
                assert int.from_bytes(imm, "big") == core.POISON_CALL
                assert fixup.poisoned or fixup.memory_size_reason
            elif opcode & 7 in (1, 2, 3):
                assert int.from_bytes(off, "big", signed=True) == fixup.target_value
            else:
                assert int.from_bytes(imm, "big") == fixup.target_value & 0xFFFF_FFFF


def test_libbpf_refuses_the_other_byte_order_and_so_does_the_relocator(kernel):
    (answer,) = libbpf.ask([(str(TESTDATA / "core_kinds-clang19-eb.o"), str(kernel[0]))])
    assert answer["relocations"] == []
    assert "endian" in answer["log"]
    with pytest.raises(InputError, match="the object is big-endian, vmlinux little-endian"):
        load_collection_spec(TESTDATA / "core_kinds-clang19-eb.o").relocate([kernel[1]])
