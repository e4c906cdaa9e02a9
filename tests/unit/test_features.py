"""What can be said of features without asking a kernel."""

import pytest

from ebpfpy import asm
from ebpfpy.errors import UnsupportedError
from ebpfpy.features import Support
from ebpfpy.features.programs import hidden_helper
from ebpfpy.sys import MapFlags, MapType, ProgramType, rights, since


def test_an_answer_is_true_or_false():
    assert Support("ring buffers", True, "5.8")
    assert not Support("ring buffers", False, "5.8")


def test_an_answer_reads_as_a_line():
    assert str(Support("ring buffers", True, "5.8")) == "ring buffers (Linux 5.8): yes"
    assert str(Support("mice", False)) == "mice: no"


def test_requiring_what_is_there_is_silent():
    Support("ring buffers", True, "5.8").require()


def test_requiring_what_is_missing_is_an_error_with_name_and_kernel():
    with pytest.raises(UnsupportedError) as caught:
        Support("ring buffers", False, "5.8").require()
    assert str(caught.value) == ("this kernel does not have ring buffers: Linux 5.8 and newer have it, if configured")
    assert (caught.value.feature, caught.value.minimum) == ("ring buffers", "5.8")
    with pytest.raises(UnsupportedError, match=r"this kernel does not have mice$"):
        Support("mice", False).require()


def release(text):
    return tuple(int(part) for part in text.split("."))


def test_every_type_has_a_first_kernel():
    assert set(since.PROGRAM_TYPES) == {each for each in ProgramType if each}
    assert set(since.MAP_TYPES) == {each for each in MapType if each}
    assert set(since.MAP_FLAGS) <= set(MapFlags)


def test_helpers_first_kernels_rise_with_their_numbers():
    kernels = [since.helper_since(number) for number in range(1, len(asm.HELPERS))]
    assert None not in kernels
    assert kernels == sorted(kernels, key=release)
    assert since.helper_since(0) is None
    assert since.helper_since(len(asm.HELPERS)) is None


@pytest.mark.parametrize(
    ("helper", "kernel"),
    [
        ("map_lookup_elem", "3.19"),
        ("perf_event_output", "4.4"),
        ("probe_read_kernel", "5.5"),
        ("ringbuf_output", "5.8"),
        ("get_attach_cookie", "5.15"),
        ("loop", "5.17"),
        ("cgrp_storage_get", "6.2"),
    ],
)
def test_first_kernels_of_well_known_helpers(helper, kernel):
    assert since.helper_since(asm.helper_number(helper)) == kernel


@pytest.mark.parametrize("level", [None, "none", "integrity", "confidentiality"])
def test_a_helper_that_a_type_of_program_may_never_have_is_not_put_down_to_lockdown(level, tmp_path, monkeypatch):
    path = tmp_path / "lockdown"
    if level is not None:
        path.write_text("none integrity confidentiality".replace(level, f"[{level}]"))
    monkeypatch.setattr(rights, "LOCKDOWN", str(path))
    log = "unknown func bpf_probe_read#4"
    known = level == "confidentiality"
    for kind in (ProgramType.STRUCT_OPS, ProgramType.EXT, ProgramType.XDP):
        assert bool(hidden_helper(log, kind)) == known
    assert bool(hidden_helper(log, ProgramType.KPROBE)) == (known or level is None)
