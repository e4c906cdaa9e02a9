"""Programs for kernels before 5.5: calls of the newer helpers that read memory become calls of the older ones."""

import sys

import pytest

from ebpfpy import asm
from ebpfpy.loader.olderhelpers import lacks_newer, with_older


def code(*instructions):
    return asm.encode(instructions, sys.byteorder)


@pytest.mark.parametrize(
    ("newer", "older"),
    [
        ("probe_read_user", "probe_read"),
        ("probe_read_kernel", "probe_read"),
        ("probe_read_user_str", "probe_read_str"),
        ("probe_read_kernel_str", "probe_read_str"),
    ],
)
def test_each_newer_helper_has_its_older_one(newer, older):
    before = code(asm.mov_imm(0, 0), asm.call(asm.helper_number(newer)), asm.exit_())
    assert with_older(before) == code(asm.mov_imm(0, 0), asm.call(asm.helper_number(older)), asm.exit_())


def test_other_calls_and_numbers_stay():
    others = (
        asm.mov_imm(1, 113),
        asm.call(asm.helper_number("ktime_get_ns")),
        asm.call(111),
        asm.call(116),
        asm.exit_(),
    )
    assert with_older(code(*others)) == code(*others)
    kernel_function, subprogram = (bytes((0x85, source << 4, 0, 0, 113, 0, 0, 0)) for source in (2, 1))
    assert with_older(kernel_function + subprogram) == kernel_function + subprogram


def test_the_second_half_of_a_wide_load_is_no_call():
    wide = bytes((0x18, 1, 0, 0, 113, 0, 0, 0, 0x85, 0, 0, 0, 113, 0, 0, 0))
    assert with_older(wide) == wide


def test_the_verifiers_words_tell_a_helper_that_does_not_exist_from_one_that_is_forbidden():
    assert lacks_newer("3: (85) call unknown#113\ninvalid func unknown#113\nprocessed 4 insns")
    assert not lacks_newer("3: (85) call bpf_probe_read_kernel#113\nunknown func bpf_probe_read_kernel#113\n")
    assert not lacks_newer("invalid func unknown#158")
    assert not lacks_newer("invalid func unknown#1130")
