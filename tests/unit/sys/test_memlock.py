"""The limit of locked memory is lifted when the kernel refuses, and only then."""

from __future__ import annotations

import errno
import resource
from typing import TYPE_CHECKING

import pytest

from ebpfpy.sys.memlock import without_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = resource.RLIMIT_MEMLOCK


@pytest.fixture
def low() -> Iterator[tuple[int, int]]:
    """A soft limit below the hard one; what was before comes back."""
    before = resource.getrlimit(LIMIT)
    low = (1 << 16, before[1])
    resource.setrlimit(LIMIT, low)
    yield low
    resource.setrlimit(LIMIT, before)


class Kernel:
    """Answers in order, and notes the soft limit that each was asked under."""

    def __init__(self, *answers: int) -> None:
        self.answers = list(answers)
        self.limits: list[int] = []

    def __call__(self) -> int:
        self.limits.append(resource.getrlimit(LIMIT)[0])
        return self.answers.pop(0)


@pytest.mark.parametrize("code", [errno.EPERM, errno.ENOMEM])
def test_a_refusal_is_asked_again_under_a_higher_limit_which_stays(code: int, low: tuple[int, int]) -> None:
    kernel = Kernel(-code, 7)
    assert without_limit(kernel) == 7
    assert kernel.limits[0] == low[0]
    assert kernel.limits[1] != low[0]
    assert resource.getrlimit(LIMIT)[0] == kernel.limits[1]


@pytest.mark.parametrize("second", [errno.EPERM, errno.EINVAL])
def test_a_limit_that_was_not_the_reason_is_put_back(second: int, low: tuple[int, int]) -> None:
    assert without_limit(Kernel(-errno.EPERM, -second)) == -second
    assert resource.getrlimit(LIMIT)[0] == low[0]


@pytest.mark.parametrize("answer", [0, 5, -errno.EINVAL, -errno.E2BIG])
def test_success_and_other_refusals_leave_the_limit_alone(answer: int, low: tuple[int, int]) -> None:
    kernel = Kernel(answer)
    assert without_limit(kernel) == answer
    assert kernel.limits == [low[0]]
    assert resource.getrlimit(LIMIT) == low
