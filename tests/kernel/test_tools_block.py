"""Tools for block devices, as many people use them: each says what the test has just done on a loop device."""

import mmap
import os
from contextlib import contextmanager

import pytest

from ebpfpy import btf
from tests.kernel import features, modules, triggers
from tests.kernel.test_tools import COMM, PID
from tests.kernel.tools import reporting, running

SIZE = 1 << 20
BLOCK = 4096
SECTOR = 512
READS, WRITES = 5, 3


@pytest.fixture
def device(tmp_path):
    """The path of a loop device, and its number as the kernel keeps it."""
    features.require(features.no_modules())
    path = tmp_path / "disk"
    path.write_bytes(bytes(SIZE))
    with modules.unloaded_afterwards(*(() if modules.is_loaded("loop") else ("loop",))):
        modules.load("loop")
        number = triggers.free_loop_device()
        with triggers.loop_device(number, str(path)):
            name = f"/dev/loop{number}"
            made = os.stat(name).st_rdev
            yield name, os.major(made) << 20 | os.minor(made)


@contextmanager
def directly(name):
    """A descriptor of a device whose reads and writes go to the device, and a page of memory for them."""
    with mmap.mmap(-1, BLOCK) as page:
        descriptor = os.open(name, os.O_RDWR | os.O_DIRECT | os.O_CLOEXEC)
        try:
            yield descriptor, page
        finally:
            os.close(descriptor)


def request_comes_second():
    """Whether the kernel's tracepoint has the request behind its queue (before Linux 5.11, and what took that over)."""
    pointer = btf.resolve(btf.load_kernel_spec().type_by_name("btf_trace_block_rq_issue", btf.Typedef))
    return len(btf.resolve(pointer.target).params) == 3  # the first is the tracepoint's own


def test_biolatency_has_a_time_for_every_request_by_device_and_operation(options, device):
    name, number = device
    features.require(features.no_fentry())
    second = request_comes_second()
    with running("biolatency", options=options, only_device=number, request_comes_second=second) as tool:
        with directly(name) as (descriptor, page):
            for block in range(READS):
                assert os.preadv(descriptor, [page], block * BLOCK) == BLOCK
            for block in range(WRITES):
                assert os.pwritev(descriptor, [page], block * BLOCK) == BLOCK
        tool.stop()
        found = {
            (key["device"], key["operation"]): sum(value["slots"]) for key, value in tool.maps["histograms"].items()
        }
        assert not len(tool.maps["starts"])
    assert found == {(number, 0): READS, (number, 1): WRITES}


def test_biosnoop_says_who_read_which_sectors(options, device):
    name, number = device
    with running("biosnoop", options=options, only_device=number) as tool, reporting(tool) as events:
        with directly(name) as (descriptor, page):
            assert os.preadv(descriptor, [page], 2 * BLOCK) == BLOCK
            assert os.pwritev(descriptor, [page], 7 * BLOCK) == BLOCK
        read, write = events(2)
    for event in (read, write):
        assert (event["device"], event["sectors"], event["error"]) == (number, BLOCK // SECTOR, 0)
        assert (event["pid"], event["comm"]) == (PID, COMM)
        assert event["nanoseconds"] > 0
    assert (read["sector"], read["operation"][0]) == (2 * BLOCK // SECTOR, "R")
    assert (write["sector"], write["operation"][0]) == (7 * BLOCK // SECTOR, "W")
