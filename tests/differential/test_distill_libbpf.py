"""Distilled bases side by side with libbpf 1.5: byte for byte the same, and the same refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.errors import BaseMismatchError
from tests.differential import newlibbpf
from tests.unit.btf.relocation_cases import CASES, distilled_split, kernel_base
from tests.vm.tools import SetupError

TESTDATA = Path(__file__).parents[2] / "testdata" / "btf"
KERNEL = TESTDATA / "6.12.117+deb12-amd64"
MODULES = ("tun", "loop", "veth", "nf_conntrack", "e1000", "e1000e", "ebpfpy_demo")


@pytest.fixture(scope="module", autouse=True)
def libbpf() -> None:
    try:
        newlibbpf.root()
    except SetupError as error:
        pytest.skip(f"no libbpf 1.5 to compare with: {error}")


def test_real_modules_are_distilled_as_libbpf_does() -> None:
    vmlinux = btf.load_spec(KERNEL / "vmlinux.btf.xz")
    splits = [btf.load_split_spec(KERNEL / f"{name}.btf.xz", vmlinux) for name in MODULES]
    lower = bytes(vmlinux.raw)
    answers = newlibbpf.ask([{"do": "distill", "base": lower, "split": bytes(split.raw)} for split in splits])
    for split, answer in zip(splits, answers, strict=True):
        base, distilled = btf.distill_base(split)
        assert bytes(base.raw) == answer["base"], split.name
        assert bytes(distilled.raw) == answer["split"], split.name


@pytest.mark.parametrize("release", ["6.12.117+deb12-amd64", "6.1.0-56-amd64"])
def test_real_modules_are_relocated_as_libbpf_does(release: str) -> None:
    vmlinux = btf.load_spec(KERNEL / "vmlinux.btf.xz")
    onto = btf.load_spec(TESTDATA / release / "vmlinux.btf.xz")
    pairs = [btf.distill_base(btf.load_split_spec(KERNEL / f"{name}.btf.xz", vmlinux)) for name in MODULES]
    new = bytes(onto.raw)
    answers = newlibbpf.ask(
        [{"do": "relocate", "base": bytes(base.raw), "split": bytes(split.raw), "onto": new} for base, split in pairs]
    )
    for (_, split), answer in zip(pairs, answers, strict=True):
        assert _relocate(split, onto) == answer.get("split"), split.name


def test_every_case_of_the_table_ends_as_with_libbpf() -> None:
    # before 1.6, libbpf overlooked what is embedded in the last types of a split (Linux kernel commit "libbpf: Fix
    # incorrect traversal end type ID when marking BTF_IS_EMBEDDED"); with more types, ours is none of the last
    cases = [(distilled_split(c.distilled, embedded=c.embedded, more=8), kernel_base(*c.there)) for c in CASES]
    questions = [
        {"do": "relocate", "base": bytes(s.base.raw), "split": bytes(s.raw), "onto": bytes(onto.raw)}
        for s, onto in cases
    ]
    differing = [
        str(case)
        for case, (split, onto), answer in zip(CASES, cases, newlibbpf.ask(questions), strict=True)
        if _relocate(split, onto) != answer.get("split")
    ]
    assert not differing


def test_libbpf_is_silent_about_modules_on_a_wrong_base_and_the_check_is_not() -> None:
    newer = btf.load_spec(KERNEL / "vmlinux.btf.xz")
    files = sorted((TESTDATA / "foreign" / "6.12.115+deb12-amd64").glob("[!v]*.btf.xz"))
    blobs = [bytes(btf.load_split_spec(path, newer).raw) for path in files]
    assert len(blobs) == 3
    lower = bytes(newer.raw)
    answers = newlibbpf.ask([{"do": "parse", "base": lower, "split": blob} for blob in blobs])
    assert [answer.get("error", 0) for answer in answers] == [0, 0, 0]
    assert [btf.check_split(blob, newer).verdict for blob in blobs] == ["does not fit"] * 3
    veth = btf.load_split_spec(TESTDATA / "foreign/6.12.115+deb12-amd64/veth.btf.xz", newer)
    assert newlibbpf.parses(lower, [*blobs, bytes(veth.raw)]) == [True, True, True, False]


def _relocate(split: btf.Spec, onto: btf.Spec) -> bytes | None:
    try:
        return bytes(btf.relocate_base(split, onto, strict="kernel").raw)
    except BaseMismatchError:
        return None
