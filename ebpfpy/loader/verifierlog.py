"""The verifier's log: the line that says why.

The reason is the last line that is no statistics. Lines of the form "processed 12 insns (limit ...)
max_states_per_insn" and "verification time", "stack depth" close a log; blank lines do not count.

A CO-RE relocation without an answer left a call of a helper that does not exist, and so did a call of a weak kernel
function that the kernel does not have; the verifier's complaint about "func
unknown#195896080" is replaced by what the relocation asked for and why nothing answered.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ebpfpy.core import POISON_CALL

from .externs import POISONED_FUNCTION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ebpfpy.core import Fixup

_STATISTICS = re.compile(r"^(processed \d+ insns|verification time \d|stack depth \d|mark_precise|peak_states)")
_POISONED_INSN = re.compile(rf"^(\d+): \(85\) call unknown#{POISON_CALL}", re.MULTILINE)
_POISON_COMPLAINT = re.compile(rf"^.*invalid func unknown#{POISON_CALL}.*$", re.MULTILINE)

_MISSING_FUNCTION = re.compile(rf"^.*invalid func unknown#({POISONED_FUNCTION // 1_000_000}\d{{6}}).*$", re.MULTILINE)


def reason(log: str) -> str:
    """The verifier's reason: one line, "" for an empty log."""
    for line in reversed(log.splitlines()):
        if line.strip() and not _STATISTICS.match(line):
            return line.strip()
    return ""


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


def explain_missing(log: str, externs: Sequence[str]) -> tuple[str, str | None]:
    """Replace the complaint about a call of a function that the kernel does not have by that function's name.

    Args:
        log: the verifier's log.
        externs: the names of the object's externs, in order: the number of the poisoned call counts from the first.

    Returns:
        The log, and the new complaint, None if it was something else.
    """
    match = _MISSING_FUNCTION.search(log)
    number = int(match[1]) - POISONED_FUNCTION if match else -1
    if not 0 <= number < len(externs):
        return log, None
    text = f"kernel function {externs[number]!r} is called, but the running kernel does not have it"
    return _MISSING_FUNCTION.sub(text, log), text


def poison_text(fixup: Fixup) -> str:
    """One line for a fixup without an answer."""
    why = fixup.memory_size_reason if fixup.memory_size_reason is not None and not fixup.poisoned else fixup.reason
    near = f"; did you mean {', '.join(fixup.near)}?" if fixup.near else ""
    return f"CO-RE relocation {fixup.kind.text} of {fixup.local} has no answer in the kernel's types: {why}{near}"
