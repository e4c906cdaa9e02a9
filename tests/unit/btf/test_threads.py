"""Two modules on one kernel, asked by eight threads at once: every answer is the one that a single thread gets."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ebpfpy import btf

if TYPE_CHECKING:
    from collections.abc import Iterator

KERNEL = Path(__file__).parents[3] / "testdata" / "btf" / "6.12.117+deb12-amd64"
THREADS = 8
ROUNDS = 4


class Blobs(NamedTuple):
    base: bytes
    one: bytes
    two: bytes


class Specs(NamedTuple):
    """A fresh kernel and two modules on it, in which nothing was looked for yet."""

    base: btf.Spec
    one: btf.Spec
    two: btf.Spec


@pytest.fixture(scope="module")
def blobs() -> Blobs:
    base = btf.load_spec(KERNEL / "vmlinux.btf.xz")
    one, two = (btf.load_split_spec(KERNEL / f"{name}.btf.xz", base) for name in ("nf_conntrack", "e1000"))
    return Blobs(bytes(base.raw), bytes(one.raw), bytes(two.raw))


@pytest.fixture
def impatient() -> Iterator[None]:
    """Threads take turns after every few instructions."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def fresh(blobs: Blobs) -> Specs:
    base = btf.Spec(blobs.base, name="vmlinux")
    return Specs(base, btf.Spec(blobs.one, base, name="one"), btf.Spec(blobs.two, base, name="two"))


Question = tuple[int, str, Any]
"""Which spec, what is asked of it, and about which id or name."""


def questions(specs: Specs, seed: int) -> list[Question]:
    """By id in the base and in both splits, by name in all three, and the layout of what is found; in any order."""
    random = Random(seed)
    found: list[Question] = []
    for which in (1, 2):
        first, count = specs[which].first_id, len(specs[which])
        ids = [*random.sample(range(first, first + count), 40), *random.sample(range(1, first), 15)]
        found += [(which, "by id", type_id) for type_id in ids]
        found += [(which, "described", type_id) for type_id in ids[::4]]
        names = {getattr(each, "name", "") for each in specs[which]} - {""}
        found += [(which, "by name", name) for name in random.sample(sorted(names), 15)]
        found += [(which, "by essential name", name) for name in random.sample(sorted(names), 4)]
    names_of_base = ("task_struct", "sk_buff", "list_head", "file", "nf_conn", "pci_dev", "u64", "int", "no_such_name")
    found += [(0, kind, name) for name in names_of_base for kind in ("by name", "by essential name")]
    found.append((0, "size of pointers", ""))
    random.shuffle(found)
    return found


def answer(specs: Specs, question: Question) -> list[btf.Type] | str | int:
    which, what, about = question
    spec = specs[which]
    match what:
        case "by id":
            return [spec.type_by_id(about)]
        case "described":
            return btf.describe_with_id(spec, about)
        case "by name":
            return spec.any_types_by_name(about)
        case "by essential name":
            return spec.types_by_essential_name(about)
        case _:
            return spec.pointer_size


def plain(specs: Specs, which: int, answered: list[btf.Type] | str | int) -> Any:
    """An answer that can be compared with one about other objects: ids, contents, and sizes of what is inside."""
    if not isinstance(answered, list):
        return answered
    found = []
    for of in answered:
        inner = [(member.name, member.offset_bits, repr(member.type)) for member in getattr(of, "members", ())]
        found.append((specs[which].type_id(of), repr(of), inner, of.spec.name if of.spec else None))
    return found


def test_eight_threads_get_what_one_gets_and_the_same_objects(blobs: Blobs, impatient: None) -> None:
    alone = fresh(blobs)
    for turn in range(ROUNDS):
        specs = fresh(blobs)
        asked = [questions(alone, 100 * turn + number % 3) for number in range(THREADS)]
        start = threading.Barrier(THREADS)

        def ask(todo: list[Question], start: threading.Barrier = start, specs: Specs = specs) -> list[Any]:
            start.wait()
            return [answer(specs, question) for question in todo]

        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(ask, asked))
        objects: dict[tuple[str, int], btf.Type] = {}
        for todo, given in zip(asked, answers, strict=True):
            for question, answered in zip(todo, given, strict=True):
                which = question[0]
                assert plain(specs, which, answered) == plain(alone, which, answer(alone, question)), question
                for of in answered if isinstance(answered, list) else ():
                    assert of.spec is not None
                    assert objects.setdefault((of.spec.name, of.spec.type_id(of)), of) is of


def test_eight_threads_find_all_records_at_once(blobs: Blobs, impatient: None) -> None:
    specs = fresh(blobs)
    start = threading.Barrier(THREADS)

    def walk(number: int) -> tuple[int, list[btf.Type], btf.Type]:
        start.wait()
        split = specs.one if number % 2 else specs.two
        last = specs.base.type_by_id(split.first_id - 1)
        return len(specs.base), list(split), last

    with ThreadPoolExecutor(THREADS) as pool:
        walked = list(pool.map(walk, range(THREADS)))
    alone = fresh(blobs)
    for number, (count, found, last) in enumerate(walked):
        expected = alone.one if number % 2 else alone.two
        assert count == len(alone.base)
        assert [repr(each) for each in found] == [repr(each) for each in expected]
        assert all(one is two for one, two in zip(found, walked[number % 2][1], strict=True))
        assert last is walked[0][2]
