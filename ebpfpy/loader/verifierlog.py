"""The verifier's log: the line that says why.

The reason is the last line that is no statistics. Lines of the form "processed 12 insns (limit ...)
max_states_per_insn" and "verification time", "stack depth" close a log; blank lines do not count.

Since Linux 7.3 a report in sections follows that line::

    R0 !read_ok

    Verification failed: Register Type Safety: Unreadable register

    Reason:
      R0 has never been initialized on this path, so the verifier cannot use it as an input.

    At:
      insn 0

There the line and the report's reason are taken together: "R0 !read_ok: R0 has never been initialized ...".

Which instruction it was is in the report, or in the last line of the form "12: (85) call ..."; the object's line
information says where in the source that is.

A CO-RE relocation without an answer left a call of a helper that does not exist, and so did a call of a weak kernel
function that the kernel does not have; the verifier's complaint about "func
unknown#195896080" is replaced by what the relocation asked for and why nothing answered.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING

from ebpfpy import asm
from ebpfpy.core import POISON_CALL
from ebpfpy.elf.spec import ReferenceKind
from ebpfpy.errors import BtfError
from ebpfpy.sys import since
from ebpfpy.sys.rights import lacks

from .externs import POISONED_FUNCTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ebpfpy import btf
    from ebpfpy.core import Fixup
    from ebpfpy.elf.spec import ProgramSpec

_STATISTICS = re.compile(r"^(processed \d+ insns|verification time \d|stack depth \d|mark_precise|peak_states)")
_RUN_ON = re.compile(r"processed \d+ insns \(limit \d+\).*")  # behind a reason that lacks its end of line
_POISONED_INSN = re.compile(rf"^(\d+): \(85\) call unknown#{POISON_CALL}", re.MULTILINE)
_POISON_COMPLAINT = re.compile(rf"^.*invalid func unknown#{POISON_CALL}.*$", re.MULTILINE)

_REPORT = re.compile(r"^Verification failed: (.*)$", re.MULTILINE)
_REASON = re.compile(r"^Reason:\n((?:[ \t]+\S.*\n?)+)", re.MULTILINE)
_AT_INSN = re.compile(r"^At:\n\s+insn (\d+)", re.MULTILINE)
_INSN = re.compile(r"^(\d+): \([0-9a-f]{2}\) ", re.MULTILINE)
_NAMED_INSN = re.compile(r"\binsn (\d+)")
_NO_HELPER = re.compile(r"invalid func unknown#(\d{1,3})$", re.MULTILINE)
_NO_CALLBACKS = re.compile(r"number of funcs in func_info doesn't match|bpf_ld_imm64|BPF_LD_IMM64")
_ABOUT_POINTERS = re.compile(
    r"pointer -= pointer prohibited|pointer comparison prohibited|leaks addr|prohibited for !root"
)
_CONTINUATIONS = ("offset is outside of the packet", "is outside of the allowed memory range", "has no valid kptr")
_CALL = 0x85
_COLUMN_BITS = 10  # of the word with line and column

POISONED_MAP = 2001000000
"""The number of the helper that a load of a map becomes which was left out, the first one; as libbpf has it."""
_MISSING_MAP = re.compile(rf"^.*invalid func unknown#({POISONED_MAP // 1_000_000}\d{{6}}).*$", re.MULTILINE)
_NO_FUNCTION = "kernel function {!r} is called, but the running kernel does not have it"
_NO_MAP = "map {!r} is used, but it was left out (autocreate is False)"
_MISSING_FUNCTION = re.compile(rf"^.*invalid func unknown#({POISONED_FUNCTION // 1_000_000}\d{{6}}).*$", re.MULTILINE)


def reason(log: str) -> str:
    """The verifier's reason: one line, "" for an empty log."""
    report = _REPORT.search(log)
    if report is not None:
        before = _last_line(log[: report.start()])
        text = _REASON.search(log, report.end())
        why = " ".join(text[1].split()) if text is not None else report[1].strip()
        return f"{before}: {why}" if before else why
    last = _last_line(log)
    if last.endswith(_CONTINUATIONS):  # the line before says of what
        before = _last_line(log[: log.rindex(last)])
        return f"{before}: {last}" if before and not _INSN.match(before) else last
    return last


def _last_line(log: str) -> str:
    for line in reversed(log.splitlines()):
        if line.strip() and not _STATISTICS.match(line):
            return _RUN_ON.sub("", line).strip()
    return ""


def failing_insn(log: str) -> int | None:
    """The index of the instruction that the verifier objects to, None where the log does not say."""
    report = _REPORT.search(log)
    found = _AT_INSN.search(log, report.end()) if report is not None else None
    if found is None:
        for found in _INSN.finditer(log):  # noqa: B007  the last one counts
            pass
    if found is None:
        found = _NAMED_INSN.search(_last_line(log))
    return int(found[1]) if found is not None else None


def source_line(log: str, spec: ProgramSpec, types: btf.Spec | None) -> str | None:
    """Where in the source that instruction is from: "probe.bpf.c:12: return *p;"; None where it is not known."""
    at = failing_insn(log)
    if at is None or types is None:
        return None
    index = bisect_right(spec.line_infos, at, key=lambda row: row[0]) - 1
    if index < 0:
        return None
    _, file, text, place = spec.line_infos[index]
    try:
        return f"{types.string(file)}:{place >> _COLUMN_BITS}: {types.string(text).strip()}"
    except BtfError:
        return None


def hint(log: str, spec: ProgramSpec) -> str | None:
    """What to do about a refusal, where its cause is a kernel without something."""
    helper = _NO_HELPER.search(log)
    if helper is not None:
        number = int(helper[1])
        name = asm.helper_name(number)
        minimum = since.helper_since(number)
        if name is not None and minimum is not None:
            return f"this kernel has no helper {name}: Linux {minimum} has"
    if any(each.kind is ReferenceKind.FUNCTION for each in spec.references) and _NO_CALLBACKS.search(log):
        return "this kernel may not know functions as arguments (callbacks): Linux 5.13 does"
    if "number of funcs in func_info doesn't match" in log and _has_exception_callback(spec):
        return "this kernel may not know exceptions (bpf_throw, exception callbacks): Linux 6.7 does"
    if _ABOUT_POINTERS.search(log) and lacks("CAP_PERFMON"):
        return "this process lacks CAP_PERFMON, without which programs may not calculate with pointers"
    return None


def _has_exception_callback(spec: ProgramSpec) -> bool:
    """Whether a function is in the program's code that nothing calls or refers to: only a declaration tag names it."""
    reached = {each.offset for each in spec.references if each.kind is ReferenceKind.FUNCTION}
    for index, insn in asm.iter_decode(spec.code, spec.byte_order):
        if insn.opcode == _CALL and insn.src == 1:  # BPF_PSEUDO_CALL
            reached.add(index + 1 + insn.imm)
    return any(each.start not in reached for each in spec.functions[1:])


def explain_poison(log: str, fixups: Sequence[Fixup]) -> tuple[str, Fixup | None]:
    """Replace the complaint about a poisoned instruction by its relocation.

    Returns:
        The log, and the fixup that the verifier ran into, None if it was something else.
    """
    if not _POISON_COMPLAINT.search(log):
        return log, None
    hits = _POISONED_INSN.findall(log)
    at = int(hits[-1]) if hits else -1
    for fixup in fixups:
        if fixup.relocation.insn == at:
            text = poison_text(fixup).replace("\\", r"\\")
            return _POISON_COMPLAINT.sub(text, log), fixup
    return log, None


def explain_missing(log: str, externs: Sequence[str], maps: Sequence[str] = ()) -> tuple[str, str | None]:
    """Replace the complaint about a call of a function that the kernel does not have by that function's name.

    And that about a map that was left out by the map's name.

    Args:
        log: the verifier's log.
        externs: the names of the object's externs, in order: the number of the poisoned call counts from the first.
        maps: the names of the object's maps, in order: likewise.

    Returns:
        The log, and the new complaint, None if it was something else.
    """
    for complaint, base, names, text in (
        (_MISSING_FUNCTION, POISONED_FUNCTION, externs, _NO_FUNCTION),
        (_MISSING_MAP, POISONED_MAP, maps, _NO_MAP),
    ):
        match = complaint.search(log)
        number = int(match[1]) - base if match else -1
        if 0 <= number < len(names):
            why = text.format(names[number])
            return complaint.sub(why.replace("\\", r"\\"), log), why
    return log, None


def poison_text(fixup: Fixup) -> str:
    """One line for a fixup without an answer."""
    why = fixup.memory_size_reason if fixup.memory_size_reason is not None and not fixup.poisoned else fixup.reason
    near = f"; did you mean {', '.join(fixup.near)}?" if fixup.near else ""
    return f"CO-RE relocation {fixup.kind.text} of {fixup.local} has no answer in the kernel's types: {why}{near}"
