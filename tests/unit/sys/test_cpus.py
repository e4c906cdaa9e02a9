import os

import pytest

from ebpfpy.errors import InputError
from ebpfpy.sys.cpus import count_cpus, possible_cpus


@pytest.mark.parametrize(
    ("text", "count"), [("0", 1), ("0-3\n", 4), ("0,2-5", 6), ("0-1,4-7", 8), ("1", 2), ("0-127", 128)]
)
def test_cpus_are_counted_up_to_the_highest_number(text, count):
    assert count_cpus(text) == count


@pytest.mark.parametrize("text", ["", "a", "0-", "-3", "3-1", "0,,1", "0-1-2", "²"])
def test_what_is_no_cpu_list_is_an_error_that_says_where(text):
    with pytest.raises(InputError, match="possible: "):
        count_cpus(text, source="possible")


def test_possible_cpus_of_this_machine_are_at_least_the_usable_ones():
    assert possible_cpus() >= len(os.sched_getaffinity(0))
