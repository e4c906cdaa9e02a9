"""What a fixup says about itself, and the report of a whole object."""

from __future__ import annotations

import json
import lzma
from pathlib import Path

import pytest

from ebpfpy import btf, core
from ebpfpy.core import RelocationKind as R
from ebpfpy.elf import load_collection_spec
from tests.unit.core.records import SIGNED, Records, relocation

TESTDATA = Path(__file__).parents[3] / "testdata"


@pytest.fixture
def target() -> btf.Spec:
    records = Records()
    number = records.int("int", 4, SIGNED)
    records.struct("task_struct", 16, [("pid", number, 32), ("tgid", number, 64)])
    records.struct("task_struct___old", 16, [("pid", number, 96)])
    records.enum("mode", [("MODE_FAST", 7)])
    return records.spec("vmlinux")


def ask(target: btf.Spec, members: list[str], *kinds: R, name: str = "task_struct") -> list[core.Fixup]:
    records = Records()
    number = records.int("int", 4, SIGNED)
    root = records.struct(name, 16, [(member, number, 32 * at) for at, member in enumerate(members)])
    spec = records.spec("object")
    asked = [relocation(spec, root, f"0:{at}", kind, 5) for kind in kinds for at in range(len(members))]
    return core.relocate(asked, [target])


def test_an_answer_names_both_paths_the_spec_and_every_other_candidate(target):
    text = ask(target, ["pid", "tgid"], R.BYTE_OFF)[0].explain()
    assert text.splitlines() == [
        "prog, instruction 5: byte_off of [2] struct task_struct.pid (0:0 @ offset 0)",
        "  asked: where the field is, in bytes; by the object's own types 0",
        "  answer: 4",
        "  chosen from vmlinux: [2] struct task_struct.pid (0:0 @ offset 4)",
        (
            "  candidate vmlinux: [3] struct task_struct___old.pid (0:0 @ offset 12): "
            "answers 1 of 2 relocations of this type, the chosen one 2"
        ),
    ]


def test_poison_says_why_for_each_candidate_and_what_resembles_the_name(target):
    text = ask(target, ["tgidd"], R.BYTE_OFF)[0].explain()
    assert "no answer: no member 'tgidd'; poisoned: the kernel refuses a program that can reach it" in text
    assert "candidate vmlinux: [2] struct task_struct: no member 'tgidd'" in text
    assert "candidate vmlinux: [3] struct task_struct___old: no member 'tgidd'" in text
    assert "did you mean: tgid?" in text


def test_a_missing_type_offers_names_that_resemble_it(target):
    (fixup,) = ask(target, ["pid"], R.FIELD_EXISTS, name="task_strukt")
    assert fixup.near[0] == "task_struct"
    assert "answer: 0, because: there is no struct task_strukt in vmlinux\n" in fixup.explain()


def test_a_name_that_is_there_is_not_offered_again():
    records = Records()
    records.struct("s", 8, [("value", records.pointer(), 0)])
    (fixup,) = ask(records.spec("vmlinux"), ["value"], R.BYTE_OFF, name="s")
    assert fixup.reason == "member 'value': integer in the object, pointer in the kernel"
    assert fixup.near == ()


def test_a_missing_enumerator_offers_those_that_resemble_it(target):
    records = Records()
    root = records.enum("mode", [("MODE_FASTER", 1)])
    (fixup,) = core.relocate([relocation(records.spec(), root, "0", R.ENUMVAL_VALUE)], [target])
    assert fixup.near == ("MODE_FAST",)
    assert "no enumerator 'MODE_FASTER'" in fixup.explain()


def test_a_load_that_has_to_be_poisoned_says_why():
    records = Records()
    records.struct("s", 8, [("a", records.int("long", 8, SIGNED), 0)])
    text = ask(records.spec("vmlinux"), ["a"], R.BYTE_OFF, name="s")[0].explain()
    assert "poisoned if it loads or stores: the field is 4 bytes in the object, 8 bytes in the kernel" in text


def test_the_short_form_shows_the_numbers(target):
    fixups = ask(target, ["tgid", "gone"], R.BYTE_OFF)
    assert [repr(fixup) for fixup in fixups] == [
        "<Fixup byte_off [2] struct task_struct.tgid (0:0 @ offset 0): 0 -> 8>",
        "<Fixup byte_off [2] struct task_struct.gone (0:1 @ offset 4): poisoned>",
    ]


def test_paths_print_as_libbpf_prints_them():
    records = Records()
    number = records.int("unsigned int", 4)
    union = records.union("", 4, [("word", number, 0), ("low", number, 3, 5)])
    element = records.struct("element", 8, [("", union, 0), ("x", number, 32)])
    root = records.struct("outer", 64, [("list", records.array(element, 4), 64)])
    enum = records.enum("e", [("NEGATIVE", -1)], signed=True)
    plain = records.enum("f", [("ALL", -1)])
    wide = records.enum64("g", [("BIG", 1 << 63)])
    spec = records.spec("vmlinux")
    asked = [
        relocation(spec, root, "0:0:2:0:1", R.BYTE_OFF),
        relocation(spec, root, "1", R.BYTE_OFF),
        relocation(spec, root, "0:0:3", R.BYTE_OFF),
        relocation(spec, root, "0", R.TYPE_SIZE),
        relocation(spec, enum, "0", R.ENUMVAL_VALUE),
        relocation(spec, plain, "0", R.ENUMVAL_VALUE),
        relocation(spec, wide, "0", R.ENUMVAL_VALUE),
    ]
    assert [fixup.local for fixup in core.relocate(asked, [spec])] == [
        "[5] struct outer.list[2].low (0:0:2:0:1 @ offset 24.3)",
        "[5] struct outer[1] (1 @ offset 64)",
        "[5] struct outer.list[3] (0:0:3 @ offset 32)",
        "[5] struct outer",
        "[6] enum e::NEGATIVE = -1",
        "[7] enum f::ALL = 4294967295",
        "[8] enum64 g::BIG = 9223372036854775808",
    ]


def test_explaining_is_left_until_somebody_asks(target):
    class Untouched(btf.Spec):
        def ids_by_essential_name(self, _essential, _kinds=None):
            raise AssertionError("searched without need")

    lazy = Untouched(Records(base=Records()).blob(), target, name="module")
    records = Records()
    root = records.struct("task_struct", 4, [("tgid", records.int("int", 4, SIGNED), 0)])
    (fixup,) = core.relocate([relocation(records.spec(), root, "0:0", R.BYTE_OFF)], [target, lazy])
    assert fixup.target_value == 8
    with pytest.raises(AssertionError, match="searched without need"):
        fixup.explain()


# --- the report ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def report() -> core.Report:
    blob = lzma.decompress((TESTDATA / "btf" / "6.12.117+deb12-amd64" / "vmlinux.btf.xz").read_bytes())
    return load_collection_spec(TESTDATA / "core_kinds.bpf.o").relocate([btf.Spec(blob, name="vmlinux")])


def test_the_json_has_exactly_the_documented_keys(report):
    data = json.loads(json.dumps(report.to_json()))
    assert set(data) == {"object", "kernel_types", "programs"}
    assert data["object"].endswith("core_kinds.bpf.o")
    (kernel,) = data["kernel_types"]
    assert set(kernel) == {"name", "split", "types"}
    assert (kernel["name"], kernel["split"], type(kernel["types"])) == ("vmlinux", False, int)
    kinds = {kind.text for kind in R}
    for program in data["programs"]:
        assert set(program) == {"name", "section", "relocations"}
        for each in program["relocations"]:
            assert set(each) == {
                "insn", "kind", "local", "local_value", "target_value", "poisoned", "target", "candidates",
            }  # fmt: skip
            assert each["kind"] in kinds
            assert type(each["insn"]) is type(each["local_value"]) is int
            assert each["poisoned"] is (each["target_value"] is None)
            if each["target"] is not None:
                assert set(each["target"]) == {"spec", "type_id", "text"}
            for candidate in each["candidates"]:
                assert set(candidate) == {"spec", "type_id", "text", "verdict"}


def test_the_json_holds_every_kind_and_every_outcome(report):
    every = [each for program in report.to_json()["programs"] for each in program["relocations"]]
    assert {each["kind"] for each in every} == {kind.text for kind in R}
    assert {each["poisoned"] for each in every} == {True, False}
    assert len(every) == len(report.fixups) == 71


def test_the_names_of_the_kinds_are_those_of_the_manual():
    assert {kind.text for kind in R} == {
        "byte_off",
        "byte_sz",
        "field_exists",
        "signed",
        "lshift_u64",
        "rshift_u64",
        "local_type_id",
        "target_type_id",
        "type_exists",
        "type_size",
        "type_matches",
        "enumval_exists",
        "enumval_value",
    }


def test_the_manual_has_every_kind_and_every_word_of_an_explanation(target):
    manual = (TESTDATA.parent / "docs" / "co-re.md").read_text()
    assert all(f"`{kind.text}`" in manual for kind in R)
    texts = [ask(target, ["tgidd"], R.BYTE_OFF)[0].explain(), ask(target, ["pid", "tgid"], R.BYTE_OFF)[0].explain()]
    words = {line.strip().split(":")[0].split(" vmlinux")[0] for text in texts for line in text.splitlines()[1:]}
    assert words == {"asked", "answer", "no answer", "chosen from", "candidate", "did you mean"}
    assert all(word.removesuffix(" from") in manual for word in words)


def test_the_report_counts_what_is_poisoned(report):
    assert {fixup.relocation.function for fixup in report.poisoned} <= {
        "core_fields",
        "core_enums",
        "core_bits",
        "core_loads",
    }
    assert all(fixup.poisoned or fixup.memory_size_reason for fixup in report.poisoned)
    assert any(fixup.poisoned for fixup in report.poisoned)


def test_a_subprogram_is_reported_once():
    blob = lzma.decompress((TESTDATA / "btf" / "6.12.117+deb12-amd64" / "vmlinux.btf.xz").read_bytes())
    names = [f.name for f in load_collection_spec(TESTDATA / "subprogs.bpf.o").relocate([btf.Spec(blob)]).functions]
    assert len(names) == len(set(names))
