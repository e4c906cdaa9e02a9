"""Fixups into instructions: where the number goes, what is refused, what poison looks like."""

from __future__ import annotations

import struct

import pytest

from ebpfpy import core
from ebpfpy.core import RelocationKind as R
from ebpfpy.errors import RelocationError
from tests.unit.core.records import SIGNED, Records, relocation

POISON = struct.pack("<BBhi", 0x85, 0, 0, 195896080)
EXIT = struct.pack("<BBhi", 0x95, 0, 0, 0)
MARK = {"little": "<", "big": ">"}


def insn(opcode: int, off: int = 0, imm: int = 0, registers: int = 0x10, order: str = "little") -> bytes:
    if order == "big":
        registers = registers >> 4 | (registers & 0xF) << 4
    return struct.pack(f"{MARK[order]}BBhi", opcode, registers, off, imm)


def wide(value: int, registers: int = 0x01, order: str = "little") -> bytes:
    low, high = (struct.unpack("<i", struct.pack("<I", half & 0xFFFF_FFFF))[0] for half in (value, value >> 32))
    return insn(0x18, imm=low, registers=registers, order=order) + insn(0, imm=high, registers=0, order=order)


def solve(kind: R = R.BYTE_OFF, access: str = "0:0", *, to: int = 8, order: str = "little", at: int = 0) -> core.Fixup:
    """A fixup of s{u32 a@4; int b@8; void *p@16; enum e} -> the same at other offsets and sizes."""
    local, target = Records(order), Records(order)
    root = local.struct(
        "s",
        24,
        [("a", local.int("unsigned int", 4), 32), ("b", local.int("int", 4, SIGNED), 64), ("p", local.pointer(), 128)],
    )
    enum = local.enum("e", [("V", 5)])
    bits = 8 * to & 0xFFFF_FFFF
    types = {"a": target.int("unsigned long", 8), "b": target.int("long", 8, SIGNED), "p": target.pointer()}
    target.struct("s", 64, [(name, type_id, bits) for name, type_id in types.items()])
    target.enum64("e", [("V", to)])
    root = enum if kind in (R.ENUMVAL_VALUE, R.ENUMVAL_EXISTS) else root
    (found,) = core.relocate([relocation(local.spec(order), root, access, kind, at)], [target.spec(order)])
    return found


def missing(kind: R = R.BYTE_OFF) -> core.Fixup:
    local = Records()
    root = local.struct("gone", 8, [("a", local.int("unsigned int", 4), 32)])
    (found,) = core.relocate([relocation(local.spec(), root, "0:0", kind)], [Records().spec()])
    return found


@pytest.mark.parametrize("opcode", [0xB7, 0xB4, 0x07, 0x04])
@pytest.mark.parametrize("order", ["little", "big"])
def test_an_alu_instruction_holds_the_number_in_its_immediate(opcode, order):
    code = insn(opcode, imm=4, order=order)
    assert core.patch(code, [solve(order=order)], order) == insn(opcode, imm=8, order=order)


@pytest.mark.parametrize(("opcode", "resized"), [(0x61, 0x79), (0x63, 0x7B), (0x62, 0x7A)], ids=["ldx", "stx", "st"])
@pytest.mark.parametrize("order", ["little", "big"])
def test_a_load_or_store_holds_it_in_its_offset_and_follows_the_size(opcode, resized, order):
    code = insn(opcode, off=4, imm=77, order=order)
    assert core.patch(code, [solve(order=order)], order) == insn(resized, off=8, imm=77, order=order)


def test_a_load_of_the_same_size_keeps_its_opcode():
    assert core.patch(insn(0x79, off=16), [solve(access="0:2")], "little") == insn(0x79, off=8)


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_64_bit_load_holds_it_in_both_halves(order):
    fixup = solve(R.ENUMVAL_VALUE, "0", to=0x1_2345_6789, order=order)
    assert core.patch(wide(5, order=order), [fixup], order) == wide(0x1_2345_6789, order=order)


def test_minus_one_fills_both_halves():
    assert core.patch(wide(5), [solve(R.ENUMVAL_VALUE, "0", to=-1)], "little") == wide(-1)


def test_an_alu_immediate_is_cut_to_32_bits():
    fixup = solve(R.ENUMVAL_VALUE, "0", to=0x1_8000_0002)
    assert core.patch(insn(0xB7, imm=5), [fixup], "little") == insn(0xB7, imm=-0x7FFF_FFFE)


def test_only_the_named_instruction_changes_and_the_code_given_stays():
    code = insn(0xB7, imm=4) * 3
    patched = core.patch(code, [solve(at=1)], "little")
    assert patched == insn(0xB7, imm=4) + insn(0xB7, imm=8) + insn(0xB7, imm=4)
    assert code == insn(0xB7, imm=4) * 3


# --- poison --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [insn(0xB7, imm=4), insn(0x61, off=4), insn(0x63, off=4)], ids=["alu", "ldx", "stx"])
def test_an_instruction_without_answer_becomes_a_call_of_no_helper(code):
    assert core.patch(code + EXIT, [missing()], "little") == POISON + EXIT


def test_both_halves_of_a_64_bit_load_are_poisoned():
    assert core.patch(wide(4) + EXIT, [missing()], "little") == POISON + POISON + EXIT


def test_poison_in_big_endian():
    local = Records("big")
    root = local.struct("gone", 8, [("a", local.int("unsigned int", 4), 32)])
    (fixup,) = core.relocate([relocation(local.spec(), root, "0:0", R.BYTE_OFF)], [Records("big").spec()])
    assert core.patch(insn(0xB7, imm=4, order="big"), [fixup], "big") == struct.pack(
        ">BBhi", 0x85, 0, 0, core.POISON_CALL
    )


@pytest.mark.parametrize("opcode", [0x61, 0x63, 0x62])
def test_a_load_or_store_of_a_signed_field_that_grew_is_poisoned(opcode):
    assert core.patch(insn(opcode, off=8), [solve(access="0:1", to=16)], "little") == POISON


def test_arithmetic_on_a_signed_field_that_grew_is_not_poisoned():
    assert core.patch(insn(0xB7, imm=8), [solve(access="0:1", to=16)], "little") == insn(0xB7, imm=16)


def test_poison_does_not_look_at_what_the_instruction_held():
    assert core.patch(insn(0xB7, imm=1234), [missing()], "little") == POISON


def test_what_is_missing_and_answers_zero_is_no_poison():
    assert core.patch(insn(0xB7, imm=1), [missing(R.FIELD_EXISTS)], "little") == insn(0xB7, imm=0)


# --- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (insn(0xB7, imm=5), "the instruction holds 5, but the object's own types say 4"),
        (insn(0x61, off=5), "the instruction holds 5"),
        (wide(5), "the instruction holds 5"),
        (insn(0xBF, imm=4), "takes its operand from a register"),
        (insn(0xD4, imm=4), "opcode 0xd4 has no operand"),
        (insn(0xDC, imm=4), "takes its operand from a register"),
        (insn(0xD7, imm=4), "opcode 0xd7 has no operand"),
        (insn(0x87, imm=4), "opcode 0x87 has no operand"),
        (insn(0x85, imm=4), "opcode 0x85 cannot be relocated"),
        (insn(0x15, imm=4), "opcode 0x15 cannot be relocated"),
        (insn(0x20, imm=4), "opcode 0x20 cannot be relocated"),
        (insn(0x79, off=4), "moves 8 bytes, the field has 4"),
        (wide(4, registers=0x11), "refers to an object"),
        (wide(4)[:8], "second half of a 64-bit load is missing"),
        (wide(4)[:8] + EXIT, "two halves are no 64-bit load"),
        (b"", "no instruction 0"),
    ],
)
def test_an_instruction_that_cannot_hold_it_is_refused_by_name(code, message):
    with pytest.raises(RelocationError, match=message) as caught:
        core.patch(code, [solve()], "little")
    error = caught.value
    assert (error.program, error.insn) == ("prog", 0)
    assert error.relocation == "byte_off of [4] struct s.a (0:0 @ offset 4)"


@pytest.mark.parametrize("order", ["little", "big"])
def test_a_reference_to_a_map_is_refused_in_either_byte_order(order):
    with pytest.raises(RelocationError, match="refers to an object"):
        core.patch(wide(5, registers=0x11, order=order), [solve(R.ENUMVAL_VALUE, "0", order=order)], order)


def test_an_offset_beyond_16_bits_is_refused():
    assert core.patch(insn(0x61, off=4), [solve(to=0x7FFF)], "little") == insn(0x79, off=0x7FFF)
    with pytest.raises(RelocationError, match="offset 32768 does not fit into 16 bits"):
        core.patch(insn(0x61, off=4), [solve(to=0x8000)], "little")


def test_an_instruction_index_beyond_the_code_is_refused():
    with pytest.raises(RelocationError, match="no instruction 7"):
        core.patch(EXIT * 7, [solve(at=7)], "little")


@pytest.mark.parametrize("kind", [R.LOCAL_TYPE_ID, R.TARGET_TYPE_ID])
def test_type_ids_are_not_compared_with_what_the_instruction_holds(kind):
    fixup = solve(kind, "0")
    assert core.patch(wide(31), [fixup], "little") == wide(fixup.target_value)


def test_the_unit_of_a_bitfield_is_not_compared_but_its_width_is():
    local, target = Records(), Records()
    for side in (local, target):
        root = side.struct("s", 8, [("f", side.int("unsigned int", 4), 34, 3)])
    fixups = {}
    for kind in (R.BYTE_OFF, R.BYTE_SZ, R.LSHIFT_U64, R.RSHIFT_U64, R.SIGNED):
        (fixups[kind],) = core.relocate([relocation(local.spec(), root, "0:0", kind)], [target.spec()])
    for kind in (R.BYTE_OFF, R.BYTE_SZ, R.LSHIFT_U64):
        assert core.patch(insn(0xB7, imm=1), [fixups[kind]], "little") == insn(0xB7, imm=fixups[kind].target_value)
    for kind in (R.RSHIFT_U64, R.SIGNED):
        with pytest.raises(RelocationError, match="the instruction holds 7"):
            core.patch(insn(0xB7, imm=7), [fixups[kind]], "little")
