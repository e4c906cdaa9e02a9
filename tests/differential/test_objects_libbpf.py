"""Every object of testdata as it is opened: programs and their types, maps and their numbers, as libbpf has them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpfpy.sys.enums import MapFlags, MapType, ProgramType
from tests.differential import opened

TESTDATA = Path(__file__).parents[2] / "testdata"
OBJECTS = sorted(
    str(path.relative_to(TESTDATA))
    for pattern in ("*-el.o", "*.bpf.o", "tools/*.bpf.o")
    for path in TESTDATA.glob(pattern)
    if path.name != "map_numbers.bpf.o"  # libbpf takes __ulong for map_extra only
)
UNKNOWN = ("p_unknown",)
"""Programs whose section says nothing. What else libbpf 1.5 does not know, is newer than it: uprobe.session."""
MADE_LATER = {".kconfig"}
"""Maps that ebpfpy makes when it loads."""


@pytest.fixture(scope="module")
def answers():
    """What libbpf says of each object."""
    found = opened.by_libbpf([str(TESTDATA / name) for name in OBJECTS])
    return dict(zip(OBJECTS, found, strict=True))


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_is_opened_as_libbpf_opens_it(name, answers):
    ours, theirs = opened.by_ebpfpy(str(TESTDATA / name)), answers[name]
    if ours is None or theirs is None:
        assert ours is theirs
        return
    for each in MADE_LATER:
        theirs["map"].pop(each, None)
    for section, facts in ours["map"].items():
        if section.startswith((".rodata", ".data", ".bss")):  # ebpfpy shares also what no skeleton shows
            facts[4] &= ~MapFlags.MMAPABLE
            theirs["map"][section][4] &= ~MapFlags.MMAPABLE
        elif facts[0] in (MapType.RINGBUF, MapType.USER_RINGBUF):  # libbpf makes it whole pages at once
            facts[3] = theirs["map"][section][3] = 0
    newer = [each for each, facts in theirs["program"].items() if not facts[0] and each not in UNKNOWN]
    for each in newer:
        assert ours["program"].pop(each)[0] == ProgramType.KPROBE
        del theirs["program"][each]
    assert ours == theirs
