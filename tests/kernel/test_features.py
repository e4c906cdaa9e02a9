"""What the kernel answers when it is asked for features, and whether its own types agree."""

import os
import subprocess
import sys as python

import pytest

from ebpfpy import asm, btf, features
from ebpfpy.errors import InputError, UnsupportedError
from ebpfpy.sys import AttachType, MapFlags, MapType, ProgramFlags, ProgramType, since
from tests.kernel import features as machine

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module", name="kernel")
def kernel_types():
    return btf.load_kernel_spec()


def enumerators(kernel, name):
    return {each.name for each in kernel.type_by_name(name, btf.Enum).enumerators}


def answer(ask, *arguments):
    """True, False, or None where this machine gives no answer."""
    try:
        return bool(ask(*arguments))
    except PermissionError:
        return None


NEVER_EVERYWHERE = {
    # types that a configuration may leave out
    ProgramType.LIRC_MODE2,
    ProgramType.LSM,
    ProgramType.NETFILTER,
    ProgramType.LWT_IN,
    ProgramType.LWT_OUT,
    ProgramType.LWT_XMIT,
    ProgramType.LWT_SEG6LOCAL,
}


def test_program_types_are_those_in_the_kernels_own_enumeration():
    kernel = btf.load_kernel_spec()
    known = enumerators(kernel, "bpf_prog_type")
    for each in ProgramType:
        if not each:
            continue
        found = answer(features.have_program_type, each)
        if f"BPF_PROG_TYPE_{each.name}" not in known:
            assert found is False, each
        elif each not in NEVER_EVERYWHERE:
            assert found is not False, each


def test_map_types_are_those_in_the_kernels_own_enumeration():
    kernel = btf.load_kernel_spec()
    known = enumerators(kernel, "bpf_map_type")
    for each in MapType:
        if not each:
            continue
        found = answer(features.have_map_type, each)
        if f"BPF_MAP_TYPE_{each.name}" not in known:
            assert found is False, each
        elif each not in (MapType.INODE_STORAGE, MapType.XSKMAP):  # left out by some configurations
            assert found is True, each


def test_map_flags_are_those_in_the_kernels_own_enumeration():
    kernel = btf.load_kernel_spec()
    strings = bytes(kernel.raw)  # they are enumerators of a type without a name
    known = {f"BPF_F_{flag.name}" for flag in MapFlags if f"\0BPF_F_{flag.name}\0".encode() in strings}
    for flag in since.MAP_FLAGS:
        if bool(features.have_map_flag(flag)) != (f"BPF_F_{MapFlags(flag).name}" in known):
            pytest.fail(f"{MapFlags(flag).name} is {features.have_map_flag(flag)}")


def test_attach_types_are_those_in_the_kernels_own_enumeration(kernel):
    known = enumerators(kernel, "bpf_attach_type")
    for each in AttachType:
        assert bool(features.have_attach_type(each)) == (f"BPF_{each.name}" in known), each
    assert {each for each in AttachType if each <= AttachType.TRACE_UPROBE_SESSION} <= set(since.ATTACH_TYPES)


def test_helpers_end_where_the_kernels_own_enumeration_does():
    kernel = btf.load_kernel_spec()
    known = enumerators(kernel, "bpf_func_id")
    found = set()
    for number, name in enumerate(asm.HELPERS):
        if not number:
            continue
        supported = features.have_helper(ProgramType.SCHED_CLS, number)
        if supported:
            found.add(name)
        if name.replace("bpf_", "BPF_FUNC_", 1) not in known:
            assert not supported, name
    assert {"bpf_map_lookup_elem", "bpf_skb_store_bytes", "bpf_redirect", "bpf_perf_event_output"} <= found
    assert "bpf_probe_write_user" not in found
    assert "bpf_xdp_adjust_head" not in found


@pytest.mark.parametrize(
    ("type_", "helper", "expected"),
    [
        (ProgramType.XDP, "xdp_adjust_head", True),
        (ProgramType.XDP, "bpf_skb_store_bytes", False),
        (ProgramType.KPROBE, "get_stack", True),
        (ProgramType.KPROBE, "redirect", False),
        (ProgramType.SOCKET_FILTER, "ringbuf_output", True),
        (ProgramType.SOCKET_FILTER, "sk_lookup_tcp", False),
        (ProgramType.CGROUP_SOCK_ADDR, "bind", True),
        (ProgramType.SOCKET_FILTER, 4000, False),
    ],
)
def test_a_helper_belongs_to_types_of_programs(type_, helper, expected):
    assert bool(features.have_helper(type_, helper)) is expected


def test_tracing_programs_are_asked_in_all_their_forms(kernel):
    helpers = ("get_func_ip", "seq_write", "d_path", "skb_store_bytes")
    known = enumerators(kernel, "bpf_func_id")
    expected = [f"BPF_FUNC_{helper}" in known and helper != "skb_store_bytes" for helper in helpers]
    answers = [answer(features.have_helper, ProgramType.TRACING, helper) for helper in helpers]
    assert answers in (expected, [None] * 4)


def test_lsm_programs_are_asked_if_there_are_any():
    answers = [answer(features.have_helper, ProgramType.LSM, name) for name in ("copy_from_user", "redirect")]
    assert answers in ([True, False], [False, False], [None, None])


@pytest.mark.parametrize("type_", [ProgramType.EXT, ProgramType.STRUCT_OPS])
def test_helpers_that_depend_on_more_than_the_type_are_an_error(type_):
    with pytest.raises(InputError, match="are those of what it is written for"):
        features.have_helper(type_, "map_lookup_elem")


def test_kernel_btf_is_there_for_these_tests():
    assert features.have_btf()
    assert features.have_btf_load()


def test_module_btf_is_there_if_a_module_has_some():
    if [name for name in os.listdir("/sys/kernel/btf") if name != "vmlinux"]:
        assert features.have_module_btf()
    else:
        assert features.have_module_btf() in (
            features.Support("module BTF", True, "5.11"),
            features.Support("module BTF", False, "5.11"),
        )


def test_kinds_of_links_are_those_in_the_kernels_own_enumeration():
    kernel = btf.load_kernel_spec()
    known = enumerators(kernel, "bpf_link_type")
    assert features.have_bpf_link()
    for ask, name in (
        (features.have_perf_event_link, "PERF_EVENT"),
        (features.have_kprobe_multi, "KPROBE_MULTI"),
        (features.have_uprobe_multi, "UPROBE_MULTI"),
        (features.have_tcx, "TCX"),
    ):
        if f"BPF_LINK_TYPE_{name}" not in known:
            assert not ask(), name
    functions = {"have_kprobe_multi": "fprobe_ips_exit", "have_tcx": "tcx_link_attach"}
    for name, function in functions.items():
        there = any(isinstance(each, btf.Func) for each in kernel.any_types_by_name(function))
        if there:
            assert getattr(features, name)(), name


def test_cookies_of_raw_tracepoints_are_there_if_the_structure_has_them():
    kernel = btf.load_kernel_spec()
    link = kernel.type_by_name("bpf_raw_tp_link", btf.Struct)
    assert bool(features.have_raw_tracepoint_cookie()) == ("cookie" in {member.name for member in link.members})


def test_instructions_of_every_kernel_that_these_tests_boot():
    assert features.have_large_programs()
    assert features.have_bounded_loops()
    assert features.have_isa(2)
    assert features.have_isa(3)
    with pytest.raises(InputError, match="2, 3 or 4, not 1"):
        features.have_isa(1)


def test_atomic_operations_that_fetch_are_there_since_5_12():
    support = features.have_atomics()
    machine.since("5.12", None if support else f"this kernel has no {support.feature}")
    assert support.supported


def test_an_unknown_number_of_a_newer_kernel_is_asked_too():
    support = features.have_map_type(4000)
    assert not support
    assert str(support) == "map type 4000: no"
    assert str(features.have_program_type(4000)) == "program type 4000: no"


@pytest.mark.parametrize("number", [0, -1, 1 << 32, "XDP"])
def test_what_no_type_can_be_is_an_error(number):
    for ask in (features.have_map_type, features.have_program_type):
        with pytest.raises(InputError):
            ask(number)
    with pytest.raises(InputError):
        features.have_attach_type(number or None)  # 0 is one


@pytest.mark.parametrize("flag", [0, ProgramFlags.TEST_STATE_FREQ, ProgramFlags.TOKEN_FD, "SLEEPABLE"])
def test_a_programs_flag_that_is_not_asked_for_is_an_error(flag):
    with pytest.raises(InputError, match="cannot be asked for: it is not SLEEPABLE or XDP_HAS_FRAGS"):
        features.have_program_flag(flag)


def test_a_flag_that_announces_a_descriptor_is_an_error():
    with pytest.raises(InputError, match="map flag TOKEN_FD cannot be asked for by itself"):
        features.have_map_flag(MapFlags.TOKEN_FD)
    with pytest.raises(InputError, match="cannot be asked for by itself"):
        features.have_map_flag(MapFlags.RDONLY | MapFlags.MMAPABLE)


def test_a_missing_feature_can_be_made_an_error_with_its_name_and_kernel():
    with pytest.raises(UnsupportedError, match="this kernel does not have helper 4000 in program type XDP") as caught:
        features.have_helper(ProgramType.XDP, 4000).require()
    assert caught.value.feature == "helper 4000 in program type XDP"
    features.have_map_type(MapType.HASH).require()


def test_answers_are_remembered():
    assert features.have_map_type(MapType.HASH) is features.have_map_type(MapType.HASH)


def test_a_process_without_rights_gets_errors_and_not_no():
    """As nobody, in a process of its own."""
    code = """
import encodings.ascii, os  # all that is needed later: nobody may not be able to read it
from ebpfpy import btf, features
from ebpfpy.sys import MapType, ProgramType
os.setgroups([]); os.setgid(65534); os.setuid(65534)
for ask in (
    lambda: features.have_program_type(ProgramType.XDP),
    lambda: features.have_map_type(MapType.LRU_HASH),
    lambda: features.have_helper(ProgramType.KPROBE, "get_stack"),
    lambda: features.have_kprobe_multi(),
    lambda: features.have_large_programs(),
):
    try:
        print(ask())
    except PermissionError as error:
        print("error", error)
print(bool(features.have_btf()))
"""
    run = subprocess.run([python.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    lines = run.stdout.splitlines()
    assert len(lines) == 6, run.stderr
    assert all(line.startswith("error asking for ") for line in lines[:5]), lines
    assert lines[5] == "True"


def test_everything_can_be_asked_at_once():
    answers = features.probe_all()
    assert len(answers) == len({str(each) for each in answers}) > 90
    for each in answers:
        assert isinstance(each, features.Support) or each.errno == 1, each
