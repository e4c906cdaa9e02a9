"""Measuring two things side by side: alternating runs, medians.

What is measured is processor time, of this process or of the processes it starts: a busy machine then
stretches the numbers far
less than it would stretch the clock on the wall.
"""

from __future__ import annotations

import gc
import resource
import statistics
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

RUNS = 15


class Row(NamedTuple):
    """One line of the table.

    Attributes:
        what: what was measured.
        ours, peer: in `unit`; the peer is None where there is none.
        unit: "ms", "us", "MB".
        budget: the most that `judged` may be, or None.
        judged: the number that the budget is for: the ratio, the difference, or our own number.
        rule: how it is judged: "ratio", "difference", "ours".
    """

    what: str
    ours: float
    peer: float | None
    unit: str
    budget: float | None
    rule: str = "ours"

    @property
    def ratio(self) -> float | None:
        """Ours over the peer's."""
        return self.ours / self.peer if self.peer else None

    @property
    def judged(self) -> float:
        """The number that the budget is for."""
        if self.rule == "ratio" and self.peer:
            return self.ours / self.peer
        if self.rule == "difference" and self.peer is not None:
            return self.ours - self.peer
        return self.ours

    @property
    def over(self) -> bool:
        """Whether the budget is exceeded."""
        return self.budget is not None and self.judged > self.budget


def milliseconds(run: Callable[[], object]) -> float:
    """Processor time of one run, and of the processes that it starts and waits for."""
    gc.collect()
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.process_time()
    result = run()
    taken = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    taken += after.ru_utime - children.ru_utime + after.ru_stime - children.ru_stime
    del result
    return taken * 1000


def side_by_side(*runs: Callable[[], object], count: int = RUNS) -> list[float]:
    """Medians in milliseconds of `count` alternating runs of each, after one that does not count."""
    for run in runs:
        run()
    taken: list[list[float]] = [[] for _ in runs]
    for _ in range(count):
        for times, run in zip(taken, runs, strict=True):
            times.append(milliseconds(run))
    return [statistics.median(times) for times in taken]
