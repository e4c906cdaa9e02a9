"""Generated C declarations and their later versions (`evolved_types`): libbpf and ebpfpy relocate the same object.

Every question that CO-RE knows is asked about every member, in every kind of instruction that can hold the answer; the
object is written, read by both, relocated to the later version by both, and each instruction compared bit by bit.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ebpfpy import btf, core
from ebpfpy.core import RelocationKind as R
from ebpfpy.elf import load_collection_spec
from ebpfpy.errors import RelocationError
from tests.differential import libbpf
from tests.differential.evolved_types import (
    Composite,
    Enum,
    Field,
    Pair,
    Scalar,
    Way,
    Written,
    pairs,
    places,
    size_of,
    to_btf,
    ways,
)
from tests.differential.objectwriter import LD_IMM64, LOAD_OF, MOV, STORE_IMM_OF, STORE_OF, Asked, object_file

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(libbpf.why_not() is not None, reason=str(libbpf.why_not()))

TYPE_KINDS = [R.TYPE_EXISTS, R.TYPE_SIZE, R.TYPE_MATCHES, R.TARGET_TYPE_ID, R.LOCAL_TYPE_ID]
ROUNDS = 10
"""Where examples are not the same on every run, one round of them misses a rare outcome every now and then."""


def written(root: Composite, enum: Enum) -> tuple[btf.Builder, int, int]:
    """A builder with both types, and their ids."""
    builder, known = btf.Builder(), {}
    return builder, builder.add(to_btf(root, known)), builder.add(to_btf(enum, known))


def questions(root: Composite, root_id: int, enum: Enum, enum_id: int, chosen: list[Way]) -> list[tuple]:
    """(type, access, kind, opcode); the numbers that the compiler would have put there are worked out later."""
    asked: list[tuple] = []
    for way in chosen:
        size = size_of(way.type)[0]
        kinds = [R.BYTE_OFF, R.BYTE_SZ, R.FIELD_EXISTS]
        if not way.element:
            kinds.append(R.SIGNED)
            if size <= 8:
                kinds += [R.LSHIFT_U64, R.RSHIFT_U64]
        asked += [(root_id, way.access, kind, MOV) for kind in kinds]
        if not way.width and size in LOAD_OF:
            for opcodes in (LOAD_OF, STORE_OF, STORE_IMM_OF):
                asked.append((root_id, way.access, R.BYTE_OFF, opcodes[size]))
        asked.append((root_id, way.access, R.BYTE_OFF, LD_IMM64))
    for type_id in (root_id, enum_id):
        asked += [(type_id, "0", kind, LD_IMM64) for kind in TYPE_KINDS]
    for index in range(len(enum.values)):
        asked += [(enum_id, str(index), kind, LD_IMM64) for kind in (R.ENUMVAL_EXISTS, R.ENUMVAL_VALUE)]
    return asked


def local_value(spec: btf.Spec, question: tuple) -> int | None:
    """What the compiler would have put there; None where it makes no sense to ask."""
    type_id, access, kind, _ = question
    try:
        (fixup,) = core.relocate([core.Relocation(spec, type_id, access, kind)], [])
    except RelocationError:  # a bit-field that no load can reach: no compiler asks for it
        return None
    return fixup.local_value


def instructions(code: bytes, asked: list[Asked]) -> list[bytes]:
    """The instruction of each question, 8 or 16 bytes."""
    found, at = [], 0
    for each in asked:
        size = 16 if each.opcode == LD_IMM64 else 8
        found.append(code[at : at + size])
        at += size
    return found


def compare(pair: Pair, chosen: list[Way], directory: Path, seen: Counter) -> None:
    builder, root_id, enum_id = written(*pair.local)
    local = btf.Spec(builder.marshal("little"))
    asked = []
    for question in questions(pair.local[0], root_id, pair.local[1], enum_id, chosen):
        value = local_value(local, question)
        if value is not None and (question[3] in (MOV, LD_IMM64) or value < 0x8000):
            asked.append(Asked(*question, value))
    blob = written(*pair.target)[0].marshal("little")
    (directory / "object.o").write_bytes(object_file(Written(builder), asked))
    (directory / "target.btf").write_bytes(blob)
    (theirs,) = libbpf.ask([(str(directory / "object.o"), str(directory / "target.btf"))])

    program = load_collection_spec(directory / "object.o").programs["prog"]
    fixups = core.relocate(program.relocations, [btf.Spec(blob, name="target")])
    assert len(fixups) == len(asked)
    mine = instructions(core.patch(program.code, fixups, "little"), asked)
    before = instructions(program.code, asked)
    said = instructions(bytes.fromhex(theirs["programs"]["prog"]), asked)
    for at, fixup in enumerate(fixups):
        told = theirs["relocations"][at]
        where = f"{fixup.explain()}\nlibbpf: {told}"
        if "failed to relocate" in told["error"] and "can't be satisfied for bitfield" in theirs["log"]:
            # see DIFFERENCES in test_libbpf_core
            assert fixup.poisoned, where
            assert "no 8-byte load can read" in fixup.reason, where
            seen["unreadable bitfield"] += 1
            return  # libbpf has given up
        assert not told["error"] or "accesses field incorrectly" in told["error"], where  # the latter is poison
        assert fixup.local == told["local"], where
        assert fixup.target == (told["matching"][0] if told["matching"] else None), where
        assert mine[at] == said[at], where
        opcode, poisoned = asked[at].opcode, mine[at][0] == 0x85
        assert poisoned == told["poisoned"], where
        seen["poisoned" if poisoned else "kept" if mine[at] == before[at] else "changed"] += 1
        seen[fixup.kind.text] += 1
        if opcode not in (MOV, LD_IMM64):
            name = {1: "load", 2: "store of a constant", 3: "store"}[opcode & 7]
            seen[f"{name}: {'poisoned' if poisoned else 'resized' if mine[at][0] != opcode else 'kept'}"] += 1
        if fixup.poisoned is False and poisoned:
            seen["poisoned for its size"] += 1
        if not poisoned and fixup.target_access and len(fixup.target_access.raw) != len(fixup.local_access.raw):
            seen["through other anonymous members"] += 1
        if "___" in (fixup.target or ""):
            seen["flavour"] += 1
        if "enum64" in (fixup.target or "") + fixup.local:
            seen["enum64"] += 1


@pytest.mark.timeout(600)  # for what hypothesis does when it has found something
def test_they_leave_the_same_instructions(tmp_path):
    seen: Counter = Counter()

    @given(pairs(), st.data())
    @settings(max_examples=120)
    def agree(pair: Pair, data: st.DataObject) -> None:
        every = list(ways(pair.local[0]))
        chosen = data.draw(st.lists(st.sampled_from(every), max_size=10, unique=True)) if every else []
        compare(pair, chosen, tmp_path, seen)

    instructions = ("load", "store", "store of a constant")
    outcomes = [f"{name}: {what}" for name in instructions for what in ("poisoned", "resized", "kept")]
    outcomes += ["poisoned", "kept", "changed", "poisoned for its size", "through other anonymous members"]
    outcomes += ["flavour", "enum64", *(kind.text for kind in R)]
    for _ in range(ROUNDS):
        agree()
        if all(map(seen.__getitem__, outcomes)):
            break
    assert [outcome for outcome in outcomes if not seen[outcome]] == [], seen


@pytest.mark.parametrize(
    ("packed", "union", "bits", "size"),
    [(False, False, [0, 8, 32, 64, 128], 24), (True, False, [0, 8, 13, 48, 64], 16), (False, True, [0] * 5, 8)],
)
def test_generated_structs_are_laid_out_as_in_c(packed, union, bits, size):
    """struct { char a; int b : 5; int c : 28; short d; long e; }, as gcc and clang have it for x86-64."""
    fields = (("a", "signed char", 0), ("b", "int", 5), ("c", "int", 28), ("d", "short", 0), ("e", "long", 0))
    of = Composite("s", tuple(Field(name, Scalar(kind), width) for name, kind, width in fields), union, packed)
    assert places(of)[:2] == (bits, size)
