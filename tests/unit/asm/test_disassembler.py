import pytest

from ebpfpy import asm
from ebpfpy.asm import AluOp, AtomicOp, Instruction, JumpOp

TEXTS = [
    (asm.mov_imm(1, -5), "r1 = -5"),
    (asm.alu_imm(AluOp.MOV, 1, 7, narrow=True), "w1 = 7"),
    (asm.alu_reg(AluOp.ARSH, 1, 2), "r1 s>>= r2"),
    (asm.alu_imm(AluOp.MOD, 1, 2, narrow=True), "w1 %= 2"),
    (Instruction(0x37, 6, 0, 1, 3), "r6 s/= 3"),
    (Instruction(0xBF, 8, 6, 8), "r8 = (s8)r6"),
    (Instruction(0xBC, 8, 6, 16), "w8 = (s16)w6"),
    (Instruction(0xBF, 8, 6, 32), "r8 = (s32)r6"),
    (Instruction(0xBF, 1, 2, 1, 1 << 16), "r1 = addr_space_cast(r2, 1, 0)"),
    (Instruction(0xBF, 1, 2, -1), "r1 = &(void __percpu *)(r2)"),
    (Instruction(0xDC, 6, 0, 0, 16), "r6 = be16 r6"),
    (Instruction(0xD4, 6, 0, 0, 64), "r6 = le64 r6"),
    (Instruction(0xD7, 6, 0, 0, 32), "r6 = bswap32 r6"),
    (Instruction(0x84, 6), "w6 = -w6"),
    (asm.ldx(8, 0, 1, 8), "r0 = *(u64 *)(r1 +8)"),
    (Instruction(0x91, 0, 10, -8), "r0 = *(s8 *)(r10 -8)"),
    (Instruction(0x30, imm=12), "r0 = *(u8 *)skb[12]"),
    (Instruction(0x48, src=3, imm=2), "r0 = *(u16 *)skb[r3 + 2]"),
    (asm.st(4, 10, -16, -1), "*(u32 *)(r10 -16) = -1"),
    (asm.stx(1, 10, -12, 6), "*(u8 *)(r10 -12) = r6"),
    (asm.atomic(AtomicOp.ADD, 8, 10, -8, 6), "lock *(u64 *)(r10 -8) += r6"),
    (asm.atomic(AtomicOp.OR | AtomicOp.FETCH, 4, 1, 0, 6), "r6 = atomic_fetch_or((u32 *)(r1 +0), r6)"),
    (asm.atomic(AtomicOp.XCHG, 8, 1, 0, 6), "r6 = atomic64_xchg((u64 *)(r1 +0), r6)"),
    (asm.atomic(AtomicOp.CMPXCHG, 8, 1, 0, 6), "r0 = atomic64_cmpxchg((u64 *)(r1 +0), r0, r6)"),
    (Instruction(0xDB, 0, 10, -8, AtomicOp.LOAD_ACQ), "r0 = load_acquire((u64 *)(r10 -8))"),
    (Instruction(0xDB, 10, 6, -8, AtomicOp.STORE_REL), "store_release((u64 *)(r10 -8), r6)"),
    (asm.jump(-3), "goto pc-3"),
    (Instruction(0x06, imm=70000), "gotol pc+70000"),
    (Instruction(0x0D, 4), "gotox r4"),
    (Instruction(0xE5, offset=2), "may_goto pc+2"),
    (asm.jump_imm(JumpOp.JNE, 1, 0, 5), "if r1 != 0x0 goto pc+5"),
    (asm.jump_imm(JumpOp.JEQ, 1, -1, 5), "if r1 == 0xffffffff goto pc+5"),
    (asm.jump_reg(JumpOp.JSLE, 1, 2, -5, narrow=True), "if w1 s<= w2 goto pc-5"),
    (asm.call("get_current_pid_tgid"), "call bpf_get_current_pid_tgid#14"),
    (asm.call(9999), "call unknown#9999"),
    (asm.call_local(4), "call pc+4"),
    (Instruction(0x85, 0, 2, 0, 123), "call kernel-function#123"),
    (Instruction(0x8D, 3), "callx r3"),
    (asm.exit_(), "exit"),
    (asm.ld_imm64(1, 0xFFFF888000000000), "r1 = 0xffff888000000000"),
    (asm.ld_map_fd(1, 5), "r1 = map[fd:5]"),
    (asm.ld_map_value(1, 5, 16), "r1 = map[fd:5][0]+16"),
    (Instruction(0x18, 2, 4, 0, 0xFFFFFFFD), "r2 = func[pc-3]"),
    (Instruction(0x18, 2, 3, 0, 7), "r2 = btf[id:7,fd:0]"),
    (Instruction(0x18, 2, 5, 0, 1), "r2 = map[idx:1]"),
    (Instruction(0x18, 2, 6, 0, 1 | 8 << 32), "r2 = map[idx:1][0]+8"),
]


@pytest.mark.parametrize(("instruction", "text"), TEXTS, ids=[text for _, text in TEXTS])
def test_text_in_the_verifiers_words(instruction, text):
    assert asm.format_instruction(instruction) == text


@pytest.mark.parametrize("opcode", [0xE7, 0xA1, 0x02, 0xE6, 0xF5, 0x86, 0x96, 0x20 | 0x80, 0xA3, 0x0E])
def test_an_opcode_that_does_not_exist_is_shown_as_unknown(opcode):
    assert asm.format_instruction(Instruction(opcode)) == f"unknown 0x{opcode:02x}"


def test_every_opcode_has_some_text():
    for opcode in range(256):
        for imm in (0, 1, 0x51, 0x7777, -1):
            assert asm.format_instruction(Instruction(opcode, 1, 2, 3, imm))


def test_lines_have_slots_offsets_opcodes_and_comments():
    code = asm.encode([asm.ld_map_fd(1, 0), asm.exit_()])
    lines = list(
        asm.disassemble(
            code,
            symbol=lambda slot, _: "map[events]" if slot == 0 else None,
            annotate=lambda _, insn: "the end" if insn == asm.exit_() else None,
        )
    )
    assert [(line.slot, line.offset, line.text, line.comment) for line in lines] == [
        (0, 0, "r1 = map[events]", ""),
        (2, 16, "exit", "the end"),
    ]
    assert str(lines[0]) == "   0: (18) r1 = map[events]"
    assert str(lines[1]).split() == ["2:", "(95)", "exit", ";", "the", "end"]


def test_a_symbol_replaces_what_a_call_calls():
    (line,) = asm.disassemble(asm.encode([asm.call_local(3)]), symbol=lambda *_: "on_entry")
    assert line.text == "call on_entry"


def test_the_byte_order_is_the_programs():
    code = asm.encode([asm.mov_reg(1, 2)], "big")
    assert [line.text for line in asm.disassemble(code, "big")] == ["r1 = r2"]
