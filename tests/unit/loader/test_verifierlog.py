"""What the verifier's log says, in the forms that kernels have written it."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from ebpfpy.elf import load_collection_spec
from ebpfpy.loader import verifierlog

TESTDATA = Path(__file__).parents[3] / "testdata"

OLD = """\
0: R1=ctx() R10=fp0
; int first(void *ctx) @ subprogs.bpf.c:104
0: (b7) r1 = 20
7: (95) exit
R0 !read_ok
processed 2 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""
REPORT = """\
0: R1=ctx() R10=fp0
7: (95) exit
R0 !read_ok

Verification failed: Register Type Safety: Unreadable register

Reason:
  R0 has never been initialized on this path,
  so it cannot be used.

At:
  insn 2
        | ^-- error: R0 is not readable
  Instruction context:
  >>> 2 | (95) exit

Suggestion:
  Initialize R0 on every path before this instruction.

processed 1 insns (limit 1000000) max_states_per_insn 0 total_states 0 peak_states 0 mark_read 0
"""


@pytest.mark.parametrize(
    ("log", "reason", "insn"),
    [
        (OLD, "R0 !read_ok", 7),
        (REPORT, "R0 !read_ok: R0 has never been initialized on this path, so it cannot be used.", 2),
        ("Verification failed: Program structure: No exit\n", "Program structure: No exit", None),
        ("back-edge from insn 5 to 3\nprocessed 0 insns (limit 1)\n", "back-edge from insn 5 to 3", 5),
        ("number of funcs in func_info doesn't match number of subprogs\n\n", None, None),
        ("", "", None),
        (
            "1: (71) r0 = 1\ninvalid access\nR1 offset is outside of the packet\n",
            "invalid access: R1 offset is outside of the packet",
            1,
        ),
        ("\n\nprocessed 0 insns (limit 1)\nverification time 5 usec\nstack depth 0\n", "", None),
        ("Reason:\n  nothing\n", "nothing", None),
    ],
)
def test_the_reason_is_one_line_and_the_instruction_is_found(log: str, reason: str | None, insn: int | None) -> None:
    assert verifierlog.reason(log) == (log.strip() if reason is None else reason)
    assert "\n" not in verifierlog.reason(log)
    assert verifierlog.failing_insn(log) == insn


def test_the_line_in_the_source_comes_from_the_objects_line_information() -> None:
    spec = load_collection_spec(TESTDATA / "subprogs.bpf.o")
    program = spec.programs["first"]
    text = verifierlog.source_line(OLD, program, spec.types)
    assert text is not None
    assert text.startswith(("./subprogs.bpf.c:", "subprogs.bpf.c:"))
    nested = next(each for each in program.functions if each.name == "nested")
    log = f"{nested.end - 1}: (95) exit\nsomething is wrong\n"
    text = verifierlog.source_line(log, program, spec.types)
    assert text is not None
    assert text.endswith(": }")
    assert verifierlog.source_line("no instruction\n", program, spec.types) is None
    assert verifierlog.source_line(OLD, program, None) is None
    assert verifierlog.source_line(OLD, attrs.evolve(program, line_infos=()), spec.types) is None
    broken = attrs.evolve(program, line_infos=((0, 1 << 30, 1 << 30, 0),))
    assert verifierlog.source_line(OLD, broken, spec.types) is None


def test_a_helper_that_the_kernel_lacks_is_named_with_the_kernel_that_has_it() -> None:
    program = load_collection_spec(TESTDATA / "demo.bpf.o").programs["on_exec"]
    assert verifierlog.hint("invalid func unknown#158\n", program) == (
        "this kernel has no helper bpf_get_current_task_btf: Linux 5.11 has"
    )
    assert verifierlog.hint("invalid func unknown#195896080\n", program) is None
    assert verifierlog.hint("R1 is wrong\n", program) is None


def test_a_callback_that_the_kernel_does_not_know_is_named() -> None:
    spec = load_collection_spec(TESTDATA / "subprogs.bpf.o")
    log = "number of funcs in func_info doesn't match number of subprogs\n"
    assert "Linux 5.13" in (verifierlog.hint(log, spec.programs["callbacks"]) or "")
    assert verifierlog.hint(log, spec.programs["first"]) is None


def test_an_exception_callback_that_the_kernel_does_not_know_is_named() -> None:
    spec = load_collection_spec(TESTDATA / "exceptions.bpf.o")
    log = "number of funcs in func_info doesn't match number of subprogs\n"
    assert verifierlog.hint(log, spec.programs["with_callback"]) == (
        "this kernel may not know exceptions (bpf_throw, exception callbacks): Linux 6.7 does"
    )
    assert verifierlog.hint(log, spec.programs["without_callback"]) is None
