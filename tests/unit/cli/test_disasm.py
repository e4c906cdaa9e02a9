"""`ebpfpy disasm` on the objects of testdata."""

import pytest


def test_text_has_source_lines_symbols_and_relocations(cli, testdata):
    out = cli("disasm", testdata / "demo.bpf.o").out
    assert out.startswith("on_exec (tp_btf/sched_process_exec):\n")
    assert "; ./demo.bpf.c:55: __u32 pid = task->tgid;" in out
    assert "map[by_parent]" in out
    assert "map[.rodata][0]+4" in out
    assert "call bpf_map_lookup_elem#1" in out
    assert "; CO-RE byte_off [" in out
    assert "->" not in next(line for line in out.splitlines() if "; CO-RE" in line)


def test_relocated_code_has_the_targets_numbers(cli, testdata, kernel):
    words = ["disasm", testdata / "demo.bpf.o", "--json"]
    plain = cli(*words).json["programs"][0]["instructions"]
    moved = cli(*words, "--btf", kernel / "vmlinux.btf.xz").json["programs"][0]["instructions"]
    changed = [(a, b) for a, b in zip(plain, moved, strict=True) if a["text"] != b["text"]]
    assert changed
    assert all(b["relocations"][0]["target"]["spec"] == "vmlinux" for _, b in changed)


def test_poisoned_instruction_is_shown_as_what_no_kernel_accepts(cli, testdata, kernel):
    out = cli("disasm", testdata / "core_kinds.bpf.o", "--btf", kernel / "vmlinux.btf.xz").out
    assert "#195896080" in out
    assert ": poisoned" in out


def test_subprograms_are_called_by_name(cli, testdata):
    listing = cli("disasm", testdata / "subprogs.bpf.o", "--json").json
    functions = {row["function"] for program in listing["programs"] for row in program["instructions"]}
    calls = {
        row["text"].split()[1]
        for program in listing["programs"]
        for row in program["instructions"]
        if row["text"].startswith("call ") and "#" not in row["text"]
    }
    assert calls
    assert calls <= functions


def test_one_program(cli, testdata):
    listing = cli("disasm", testdata / "rawtp.bpf.o", "--program", "count_calls", "--json").json
    assert [program["name"] for program in listing["programs"]] == ["count_calls"]


def test_unknown_program_is_status_2_and_says_which_there_are(cli, testdata):
    outcome = cli("disasm", testdata / "rawtp.bpf.o", "--program", "nothing")
    assert outcome.status == 2
    assert "count_calls" in outcome.err


@pytest.mark.parametrize("name", ["demo", "core_kinds", "globals", "subprogs", "maps"])
def test_both_byte_orders_read_the_same(cli, testdata, name):
    big = cli("disasm", testdata / f"{name}-clang19-eb.o", "--json").json["programs"]
    little = cli("disasm", testdata / f"{name}-clang19-el.o", "--json").json["programs"]
    assert [len(program["instructions"]) > 0 for program in big]
    assert [program["name"] for program in big] == [program["name"] for program in little]
