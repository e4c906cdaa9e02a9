"""One `Cache` in eight threads: everything is read once, and everybody gets the same."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ebpfpy import btf
from tests.kernel import features

THREADS = 8


@pytest.fixture(autouse=True)
def types() -> None:
    there = Path("/sys/kernel/btf/vmlinux").exists()
    features.require(None if there else "the kernel shows no BTF in /sys/kernel/btf")


def test_eight_threads_share_the_kernel_and_its_modules() -> None:
    cache = btf.Cache()
    names = cache.module_names()
    start = threading.Barrier(THREADS)

    def ask(number: int) -> list[object]:
        start.wait()
        found: list[object] = []
        for turn in range(20):
            found.append(cache.kernel())
            found.append(cache.kernel().type_by_name("task_struct", btf.Struct))
            for name in names[number % 2 :: 2] if turn % 2 else names:
                module = cache.module(name)
                assert module.base is cache.kernel()
                found.append(module)
        return found

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(THREADS) as pool:
            answers = list(pool.map(ask, range(THREADS)))
    finally:
        sys.setswitchinterval(before)
    different = {id(each) for answer in answers for each in answer}
    assert len(different) == 2 + len(names)
    assert cache.kernel().type_by_name("task_struct", btf.Struct).size > 1000
