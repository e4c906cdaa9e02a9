from hypothesis import given
from hypothesis import strategies as st

from ebpfpy import asm
from ebpfpy.errors import InstructionError

orders = st.sampled_from(["little", "big"])
registers = st.integers(0, 15)
offsets = st.integers(-0x8000, 0x7FFF)
narrow = st.builds(
    asm.Instruction,
    st.integers(0, 255).filter(lambda opcode: opcode != asm.LD_IMM64),
    registers,
    registers,
    offsets,
    st.integers(-(1 << 31), (1 << 31) - 1),
)
wide = st.builds(asm.Instruction, st.just(asm.LD_IMM64), registers, registers, offsets, st.integers(0, (1 << 64) - 1))
streams = st.lists(narrow | wide, max_size=20)


@given(streams, orders)
def test_decoding_what_was_encoded_gives_it_back(instructions, order):
    assert asm.decode(asm.encode(instructions, order), order) == instructions


@given(st.binary(max_size=200), orders)
def test_encoding_what_was_decoded_gives_the_bytes_back_or_the_bytes_are_refused_with_an_offset(code, order):
    try:
        instructions = asm.decode(code, order)
    except InstructionError as error:
        where = error.offset
    else:
        where = 0
        assert asm.encode(instructions, order) == code
    assert where in range(len(code) + 1)


@given(streams, orders)
def test_every_stream_has_a_text(instructions, order):
    lines = list(asm.disassemble(asm.encode(instructions, order), order))
    assert [line.instruction for line in lines] == instructions
    assert all(str(line) for line in lines)


@given(streams)
def test_the_byte_orders_differ_only_in_bytes(instructions):
    assert asm.decode(asm.encode(instructions, "big"), "big") == asm.decode(asm.encode(instructions, "little"))
