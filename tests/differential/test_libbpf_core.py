"""The distribution's libbpf and ebpfpy are asked the same CO-RE questions, and must give the same answers.

Thousands of random type graphs with a random question each (`random_types`), which reach the rules that no compiler's
output does. Real objects are in `test_core_objects`, C declarations and their later versions in `test_core_evolved`.

Where ebpfpy differs on purpose, `DIFFERENCES` says why, and a test shows it.
"""

from __future__ import annotations

import re
from collections import Counter
from random import Random
from typing import TYPE_CHECKING

import pytest

from ebpfpy import btf, core
from ebpfpy.core import RelocationKind as R
from ebpfpy.core.access import AccessError, walk_fields
from ebpfpy.core.query import LocalType
from ebpfpy.core.rawtypes import raw_types
from ebpfpy.errors import AmbiguousRelocationError, RelocationError
from tests.differential import libbpf
from tests.differential.objectwriter import LD_IMM64, LDX, LOAD_OF, MOV, Asked, encode, object_file
from tests.differential.random_types import random_case
from tests.unit.core.records import SIGNED, Records, relocation

if TYPE_CHECKING:
    from pathlib import Path

RANDOM_CASES = 2500

DIFFERENCES = {
    "unreadable bitfield": "a target bitfield that no 8-byte load can read makes libbpf fail the whole object; here it"
    " counts as no match (poison): another candidate may match, and the program may never reach it",
    "lost offset": "libbpf forgets to take back the offset of an anonymous member that held a namesake of another type;"
    " the path and the offset that it goes on with contradict each other",
    "shift of a big field": "the left shift of a field of more than 8 bytes is a negative number, which libbpf compares"
    " unsigned with the signed immediate, and so fails; here it is patched, and means as little",
    "best candidate": "libbpf decides by relocation and fails when two candidates both match and differ; here the one"
    " that answers most relocations of the type wins, for all of them",
    "order": "libbpf drops candidates that did not match one relocation for the next ones, so that order decides;"
    " here it does not",
}

pytestmark = pytest.mark.skipif(libbpf.why_not() is not None, reason=str(libbpf.why_not()))


# --- random type graphs ----------------------------------------------------------------------------


def opcode_for(kind: R, memory: bool, size: int, value: int) -> int:
    if kind in (R.LOCAL_TYPE_ID, R.TARGET_TYPE_ID, R.ENUMVAL_EXISTS, R.ENUMVAL_VALUE):
        return LD_IMM64
    if kind == R.BYTE_OFF and memory and value <= 0x7FFF:
        return LOAD_OF.get(size, MOV if size else LDX)
    return MOV


def outcome(local: Records, target: Records, root: int, asked: Asked) -> tuple:
    """What ebpfpy makes of one question: an error, poison, or the patched instruction with the paths."""
    try:
        fixups = core.relocate(
            [relocation(local.spec("local"), root, asked.access, R(asked.kind))], [target.spec("target")]
        )
        code = core.patch(encode(asked.opcode, asked.value), fixups, "little").hex()
    except RelocationError:
        return ("error",)
    return ("poison",) if code.startswith("85") else ("value", code, fixups[0].local, fixups[0].target)


def said_outcome(asked: Asked, answer: dict) -> tuple:
    """What libbpf made of it, in the same form."""
    said = answer["relocations"][0]
    if "failed to perform CO-RE relocations" in answer["log"]:
        return ("error",)
    if said["poisoned"]:
        return ("poison",)
    code = answer["programs"]["prog"][: 32 if asked.opcode == LD_IMM64 else 16]
    return "value", code, said["local"], said["matching"][0] if said["matching"] else None


def contradicts_itself(target: btf.Spec, text: str) -> bool:
    """Whether a path that libbpf prints does not lead to the offset behind it."""
    match = re.search(r"\[(\d+)\].* \(([\d:]+) @ offset (\d+)(?:\.(\d))?\)$", text)
    assert match, text
    try:
        walked = walk_fields(raw_types(target), int(match.group(1)), match.group(2))
    except AccessError:
        return True
    return walked.bits != int(match.group(3)) * 8 + int(match.group(4) or 0)


def difference(target: Records, answer: dict, ours: tuple, said: tuple) -> str | None:
    """Which of `DIFFERENCES` this is."""
    log = answer["log"]
    if said == ("error",) and "can't be satisfied for bitfield" in log and ours != ("error",):
        return "unreadable bitfield"
    if said == ("error",) and re.search(
        r"<lshift_u64>.*unexpected insn #0 \(ALU/ALU64\) value: got 42949", log, re.DOTALL
    ):
        return "shift of a big field"
    matching = answer["relocations"][0]["matching"]
    if matching and any(" @ offset " in text and contradicts_itself(target.spec(), text) for text in matching):
        return "lost offset"
    return None


def put(tmp_path: Path, number: int, local: Records, target: Records, asked: list[Asked]) -> tuple[str, str]:
    paths = tmp_path / f"{number}.o", tmp_path / f"{number}.btf"
    paths[0].write_bytes(object_file(local, asked))
    paths[1].write_bytes(target.blob())
    return str(paths[0]), str(paths[1])


def test_libbpf_and_ebpfpy_agree_on_random_types(tmp_path):
    cases, questions = [], []
    for number in range(RANDOM_CASES):
        case = random_case(Random(number))
        value, size = 0, 0
        try:
            asking = relocation(case.local.spec(), case.root, case.access, case.kind)
            mine = LocalType(asking.spec, case.root).query(asking).value
            value, size = mine.number, mine.size
        except RelocationError:
            pass  # libbpf has to find fault with it, too
        asked = Asked(case.root, case.access, case.kind, opcode_for(case.kind, case.memory, size, value), value)
        questions.append(put(tmp_path, number, case.local, case.target, [asked]))
        cases.append((case, asked))
    outcomes: Counter = Counter()
    differences: Counter = Counter()
    for number, ((case, asked), answer) in enumerate(zip(cases, libbpf.ask(questions), strict=True)):
        assert len(answer["relocations"]) == 1, (number, answer["log"])
        ours, said = outcome(case.local, case.target, case.root, asked), said_outcome(asked, answer)
        if ours == said:
            outcomes[ours[0]] += 1
            continue
        known = difference(case.target, answer, ours, said)
        assert known is not None, (
            f"case {number}: {case.kind.text} {case.access}: {ours}, libbpf {said}: {answer['log']}"
        )
        differences[known] += 1
    assert all(outcomes[what] > RANDOM_CASES // 50 for what in ("value", "poison", "error")), outcomes
    assert differences.total() < RANDOM_CASES // 20, differences


# --- the differences ---------------------------------------------------------------------------------


def both(tmp_path: Path, local: Records, target: Records, asked: list[Asked]) -> tuple[list, dict]:
    """ebpfpy's fixups (or its error) and libbpf's answer to a list of questions in one program."""
    (answer,) = libbpf.ask([put(tmp_path, 0, local, target, asked)])
    spec = local.spec("local")
    try:
        return core.relocate(
            [relocation(spec, a.type_id, a.access, R(a.kind), at) for at, a in enumerate(asked)],
            [target.spec("target")],
        ), answer
    except RelocationError as error:
        return [error], answer


def test_difference_unreadable_bitfield(tmp_path):
    local, target = Records(), Records()
    wide = local.int("unsigned long", 8)
    root = local.struct("root", 16, [("f", wide, 0, 20)])
    target.struct("root", 24, [("f", target.int("unsigned long", 8), 60, 20)])
    (fixup,), answer = both(tmp_path, local, target, [Asked(root, "0:0", R.BYTE_OFF, MOV, 0)])
    assert fixup.poisoned
    assert "no 8-byte load can read" in fixup.reason
    assert "can't be satisfied for bitfield" in answer["log"]
    assert answer["relocations"][0]["error"]


def test_difference_lost_offset(tmp_path):
    local, target = Records(), Records()
    root = local.struct("root", 8, [("a", local.int("int", 4, SIGNED), 32)])
    number = target.int("int", 4, SIGNED)
    inner = target.struct("", 16, [("a", target.pointer(0), 64)])
    target.struct("root", 24, [("", inner, 0), ("a", number, 128)])
    (fixup,), answer = both(tmp_path, local, target, [Asked(root, "0:0", R.BYTE_OFF, MOV, 4)])
    assert (fixup.target_value, fixup.target) == (16, "[4] struct root.a (0:1 @ offset 16)")
    assert answer["relocations"][0]["new"] == 24
    assert contradicts_itself(target.spec(), answer["relocations"][0]["matching"][0])


def test_difference_shift_of_a_big_field(tmp_path):
    local, target = Records(), Records()
    for side in (local, target):
        root = side.struct("root", 32, [("a", side.array(side.int("long", 8, SIGNED), 4), 0)])
    (fixup,), answer = both(tmp_path, local, target, [Asked(root, "0:0", R.LSHIFT_U64, MOV, 64 - 256)])
    assert fixup.local_value == fixup.target_value == 64 - 256
    assert "unexpected insn #0" in answer["log"]


def test_difference_best_candidate(tmp_path):
    local, target = Records(), Records()
    number = local.int("int", 4, SIGNED)
    root = local.struct("root", 8, [("a", number, 0), ("b", number, 32)])
    number = target.int("int", 4, SIGNED)
    target.struct("root", 8, [("a", number, 0)])
    target.struct("root___new", 16, [("a", number, 64), ("b", number, 96)])
    asked = [Asked(root, "0:0", R.BYTE_OFF, MOV, 0), Asked(root, "0:1", R.BYTE_OFF, MOV, 4)]
    fixups, answer = both(tmp_path, local, target, asked)
    assert [fixup.target_value for fixup in fixups] == [8, 12]
    assert {fixup.type_id for fixup in fixups} == {3}
    assert "ambiguity" in answer["log"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_difference_order(tmp_path, order):
    local, target = Records(), Records()
    number = local.int("int", 4, SIGNED)
    root = local.struct("foo", 8, [("a", number, 0), ("b", number, 32)])
    number = target.int("int", 4, SIGNED)
    target.struct("foo", 4, [("a", number, 0)])
    target.struct("foo___v2", 8, [("b", number, 0)])
    asked = [Asked(root, f"0:{index}", R.FIELD_EXISTS, MOV, 1) for index in order]
    (error,), answer = both(tmp_path, local, target, asked)
    assert [r["new"] for r in answer["relocations"]] == [1, 0]  # whatever is asked first exists
    assert isinstance(error, AmbiguousRelocationError)
    assert len(error.candidates) == 2


def test_every_difference_is_explained_and_shown():
    shown = {
        name.removeprefix("test_difference_").replace("_", " ")
        for name in globals()
        if name.startswith("test_difference_")
    }
    assert shown == set(DIFFERENCES)
