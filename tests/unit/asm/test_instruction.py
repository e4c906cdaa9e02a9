import pytest

from ebpfpy import asm
from ebpfpy.errors import InstructionError


@pytest.mark.parametrize(
    ("instruction", "little", "big"),
    [
        (asm.mov_reg(1, 2), "bf21000000000000", "bf12000000000000"),
        (asm.mov_imm(0, -2), "b7000000feffffff", "b7000000fffffffe"),
        (asm.ldx(4, 3, 1, -8), "6113f8ff00000000", "6131fff800000000"),
        (
            asm.ld_imm64(6, 0x1122334455667788),
            "18060000887766550000000044332211",
            "18600000556677880000000011223344",
        ),
    ],
)
def test_bytes_in_both_byte_orders(instruction, little, big):
    for order, text in (("little", little), ("big", big)):
        code = bytes.fromhex(text)
        assert asm.encode([instruction], order) == code
        assert asm.decode(code, order) == [instruction]
        assert instruction.to_bytes(order) == code


def test_slots_are_counted_as_jumps_count_them():
    code = asm.encode([asm.mov_imm(0, 0), asm.ld_imm64(1, 1), asm.exit_()])
    assert [slot for slot, _ in asm.iter_decode(code)] == [0, 1, 3]


def test_a_negative_64_bit_immediate_is_kept_unsigned():
    assert asm.ld_imm64(1, -1).imm == 0xFFFFFFFFFFFFFFFF


def test_a_length_that_is_no_multiple_of_8_is_an_error_that_says_where():
    with pytest.raises(InstructionError) as caught:
        asm.decode(bytes(20))
    assert caught.value.offset == 16


def test_a_wide_load_cut_in_half_is_an_error_that_says_where():
    code = asm.encode([asm.exit_(), asm.ld_imm64(1, 1)])
    with pytest.raises(InstructionError, match="without its second half") as caught:
        asm.decode(code[:16])
    assert caught.value.offset == 8


@pytest.mark.parametrize("at", [8, 9, 10, 11])
def test_a_second_half_that_is_no_second_half_is_an_error_that_says_where(at):
    code = bytearray(asm.encode([asm.ld_imm64(1, 1)]))
    code[at] = 0x95
    with pytest.raises(InstructionError, match="more than an immediate") as caught:
        asm.decode(bytes(code))
    assert caught.value.offset == 8


@pytest.mark.parametrize(
    "instruction",
    [
        asm.Instruction(256),
        asm.Instruction(0xB7, dst=16),
        asm.Instruction(0xB7, src=-1),
        asm.Instruction(0x05, offset=32768),
        asm.Instruction(0xB7, imm=1 << 32),
        asm.Instruction(asm.LD_IMM64, imm=1 << 64),
    ],
)
def test_a_field_that_does_not_fit_is_an_error(instruction):
    with pytest.raises(InstructionError, match="does not fit"):
        asm.encode([instruction])


def test_a_byte_order_that_does_not_exist_is_an_error():
    with pytest.raises(InstructionError, match="middle"):
        asm.decode(b"", "middle")


def test_parts_of_the_opcode():
    load = asm.ldx(2, 0, 1)
    assert (load.cls, load.size, load.mode) == (asm.Class.LDX, asm.Size.H, asm.Mode.MEM)
    assert asm.Instruction(0xA1).mode is None


def test_helpers_by_number_and_name():
    assert asm.helper_name(14) == "bpf_get_current_pid_tgid"
    assert asm.helper_number("ringbuf_output") == asm.helper_number("bpf_ringbuf_output") == 130
    assert asm.helper_name(100000) is None
    assert asm.helper_name(-1) is None
    assert asm.helper_number("no_such") is None


def test_a_call_of_a_helper_that_does_not_exist_is_an_error():
    with pytest.raises(InstructionError, match="no_such"):
        asm.call("no_such")


def test_an_access_of_three_bytes_is_an_error():
    with pytest.raises(InstructionError, match="not 3"):
        asm.ldx(3, 0, 1)
