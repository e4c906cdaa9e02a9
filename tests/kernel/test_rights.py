"""What a process may not do: each refusal says which capability, parameter, limit or policy is the reason."""

import errno
import resource
from pathlib import Path

import pytest

import ebpfpy
from ebpfpy import asm, btf, features, link, perf, sys
from ebpfpy.errors import ExternError, VerifierError
from ebpfpy.sys.hints import program_needs
from ebpfpy.sys.rights import LOCKDOWN, lockdown
from tests.kernel import features as machine
from tests.kernel import rights
from tests.kernel.blueprints import collection_of, path_of, program_of
from tests.kernel.rights import elsewhere

RETURN_0 = [asm.mov_imm(0, 0), asm.exit_()]
EVERYTHING = ("CAP_BPF", "CAP_PERFMON", "CAP_NET_ADMIN", "CAP_SYS_ADMIN")
NETWORK = sys.ProgramType.SCHED_CLS
KPROBE = sys.ProgramType.KPROBE
FILTER = sys.ProgramType.SOCKET_FILTER


def load(kind=FILTER, code=RETURN_0, maps=()):
    """Something that loads a program, and closes it."""
    return lambda: ebpfpy.Collection(collection_of(program_of(code, kind=kind), maps=maps)).close()


def load_object(name):
    return lambda: ebpfpy.load_collection(path_of(name)).close()


def make_map(kind=sys.MapType.ARRAY, max_entries=1, key_size=4, value_size=4):
    spec = ebpfpy.MapSpec("made", kind, key_size=key_size, value_size=value_size, max_entries=max_entries)
    return lambda: ebpfpy.Collection(collection_of(maps=[spec])).close()


# --- capabilities -------------------------------------------------------------------------------------


def test_without_any_right_the_error_names_cap_bpf():
    error = elsewhere(load_object("demo.bpf.o"), *EVERYTHING)
    assert isinstance(error, PermissionError)
    assert error.errno == errno.EPERM
    assert "lacks CAP_BPF" in str(error)


def test_with_cap_bpf_alone_a_tracing_program_is_refused_and_cap_perfmon_named():
    machine.require(machine.no_fentry())
    error = elsewhere(load_object("demo.bpf.o"), "CAP_PERFMON", "CAP_SYS_ADMIN", "CAP_NET_ADMIN")
    assert isinstance(error, PermissionError)
    assert str(error).startswith("program on_exec")
    assert "needs CAP_BPF and CAP_PERFMON: this process lacks CAP_PERFMON)" in str(error)


@pytest.mark.parametrize("kind", [kind for kind in sys.ProgramType if len(program_needs(kind)) > 1], ids=str)
def test_a_type_of_program_needs_the_capabilities_that_its_refusal_names_and_no_others(kind):
    def load_it():
        sys.prog_load(type=kind, insns=machine.RETURN_0, license="GPL")[0].close()

    if isinstance(elsewhere(load_it), PermissionError):
        machine.require(f"this kernel's policy refuses program type {kind.name} to everybody")
    known = features.have_program_type(kind)
    needed = program_needs(kind)
    for name in needed[1:]:
        error = elsewhere(load_it, name, "CAP_SYS_ADMIN")
        if known or error.errno != errno.EINVAL:  # the question of rights may come before that of the type
            assert f"needs {' and '.join(needed)}: this process lacks {name}" in str(error)
    others = [name for name in ("CAP_PERFMON", "CAP_NET_ADMIN") if name not in needed]
    assert not isinstance(elsewhere(load_it, *others, "CAP_SYS_ADMIN"), PermissionError)


def test_a_map_of_devices_names_cap_net_admin():
    error = elsewhere(make_map(sys.MapType.DEVMAP), "CAP_SYS_ADMIN", "CAP_NET_ADMIN")
    assert isinstance(error, PermissionError)
    assert "a DEVMAP needs CAP_BPF and CAP_NET_ADMIN: this process lacks CAP_NET_ADMIN" in str(error)


def test_what_the_verifier_forbids_without_cap_perfmon_names_it():
    error = elsewhere(load_object("thirty_plain.bpf.o"), "CAP_SYS_ADMIN", "CAP_PERFMON")
    assert isinstance(error, VerifierError)
    assert error.errno == errno.EACCES
    text = "this process lacks CAP_PERFMON, without which programs may not calculate with pointers"
    assert text in str(error)


def test_with_cap_bpf_and_cap_perfmon_the_demo_loads():
    assert elsewhere(load_object("demo.bpf.o"), "CAP_SYS_ADMIN", "CAP_NET_ADMIN") is None


def test_ids_need_cap_sys_admin_and_the_error_says_so():
    error = elsewhere(lambda: list(btf.iter_handles()), "CAP_BPF", "CAP_PERFMON", "CAP_SYS_ADMIN")
    assert isinstance(error, PermissionError)
    assert "CAP_SYS_ADMIN" in str(error)


# --- parameters of the kernel -------------------------------------------------------------------------


def test_unprivileged_use_is_named_only_where_it_is_switched_off():
    with rights.sysctl("kernel.unprivileged_bpf_disabled", "2"):
        error = elsewhere(load(), *EVERYTHING)
        assert "needs CAP_BPF: this process lacks CAP_BPF, kernel.unprivileged_bpf_disabled is 2)" in str(error)
    with rights.sysctl("kernel.unprivileged_bpf_disabled", "0"):
        assert elsewhere(load(), *EVERYTHING) is None
        error = elsewhere(load(KPROBE), *EVERYTHING)
        assert "needs CAP_BPF and CAP_PERFMON: this process lacks CAP_BPF and CAP_PERFMON)" in str(error)


def test_a_perf_event_that_the_kernel_refuses_names_the_parameter_and_its_value():
    events = ebpfpy.MapSpec("events", sys.MapType.PERF_EVENT_ARRAY, key_size=4, value_size=4, max_entries=0)
    with ebpfpy.Collection(collection_of(maps=[events])) as collection:

        def read():
            perf.Reader(collection.maps["events"]).close()

        with rights.sysctl("kernel.perf_event_paranoid", "2"):
            error = elsewhere(read, "CAP_PERFMON", "CAP_SYS_ADMIN")
            assert isinstance(error, PermissionError)
            text = "or a lower kernel.perf_event_paranoid (now 2): this process lacks CAP_PERFMON"
            assert text in str(error)
        with rights.sysctl("kernel.perf_event_paranoid", "-1"):
            assert elsewhere(read, "CAP_PERFMON", "CAP_SYS_ADMIN") is None


def test_a_probe_names_the_capability_but_no_parameter_that_would_not_help():
    units = Path("/sys/bus/event_source/devices")
    machine.require(None if (units / "kprobe").exists() else "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)")
    with ebpfpy.Collection(collection_of(program_of(RETURN_0, kind=KPROBE))) as collection:
        program = collection.programs["by_hand"]
        error = elsewhere(lambda: link.attach_kprobe(program, "do_nanosleep"), "CAP_PERFMON", "CAP_SYS_ADMIN")
    assert isinstance(error, PermissionError)
    assert "this process lacks CAP_PERFMON" in str(error)
    assert "paranoid" not in str(error)


def test_a_probe_that_cap_perfmon_is_not_enough_for_names_the_parameter_that_forbids_it():
    units = Path("/sys/bus/event_source/devices")
    machine.require(None if (units / "kprobe").exists() else "this kernel has no kprobes (CONFIG_KPROBE_EVENTS)")
    with ebpfpy.Collection(collection_of(program_of(RETURN_0, kind=KPROBE))) as collection:
        program = collection.programs["by_hand"]

        def attach():
            link.attach_kprobe(program, "do_nanosleep").close()

        with rights.sysctl("kernel.perf_event_paranoid", "3"):
            error = elsewhere(attach, "CAP_SYS_ADMIN")
            if error is not None:  # not every kernel knows that level
                assert error.errno == errno.EACCES
                assert "kernel.perf_event_paranoid is 3" in str(error)
                assert "set it to 2" in str(error)
        with rights.sysctl("kernel.perf_event_paranoid", "2"):
            assert elsewhere(attach, "CAP_SYS_ADMIN") is None


def test_hidden_addresses_are_said_to_be_hidden_and_by_what():
    there = sys.find_symbols(["init_task"])
    machine.require(None if there else "no addresses of variables in /proc/kallsyms (CONFIG_KALLSYMS_ALL)")
    with rights.sysctl("kernel.kptr_restrict", "2"):
        error = elsewhere(load_object("externs.bpf.o"))
        assert isinstance(error, ExternError)
        assert "the kernel hides its addresses: kernel.kptr_restrict is 2" in str(error)
        assert sys.symbols_at([1 << 63]) == {}
        assert any("kptr_restrict is 2" in why for why in features.explain_target("do_nanosleep").reasons)
    with rights.sysctl("kernel.kptr_restrict", "1"):
        error = elsewhere(load_object("externs.bpf.o"), "CAP_SYSLOG")
        assert "the kernel hides its addresses: this process lacks CAP_SYSLOG, and kernel.kptr_restrict is 1" in str(
            error
        )


# --- memory -------------------------------------------------------------------------------------------


def counts_locked_memory():
    """Whether this kernel counts maps and programs against the limit of locked memory (before 5.11)."""
    return bool(btf.load_kernel_spec().ids_by_name(b"bpf_map_memory"))


def low_limit():
    rights.another_user()
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 16, 1 << 16))


LARGE = {
    "map": make_map(sys.MapType.RINGBUF, 1 << 20, key_size=0, value_size=0),
    "program": load(FILTER, [asm.mov_imm(0, 0)] * 20_000 + RETURN_0),
}


@pytest.mark.parametrize("what", LARGE)
def test_the_limit_of_locked_memory_is_named_where_it_counts_and_cannot_be_lifted(what):
    error = elsewhere(LARGE[what], "CAP_SYS_RESOURCE", before=low_limit)
    if not counts_locked_memory():
        assert error is None
        return
    assert isinstance(error, PermissionError)
    assert f"the {what} does not fit into the limit of locked memory (65536 bytes" in str(error)
    assert "raise RLIMIT_MEMLOCK (ulimit -l), or give the process CAP_SYS_RESOURCE" in str(error)
    assert elsewhere(LARGE[what], before=low_limit) is None  # with the right to, it is lifted


def test_the_limit_of_locked_memory_is_not_blamed_where_it_does_not_count():
    def traced():
        spec = ebpfpy.load_collection_spec(path_of("tools/tcpconnect.bpf.o"))
        spec.programs["fexit_v4"].autoload = True
        ebpfpy.Collection(spec).close()

    error = elsewhere(traced, "CAP_SYS_RESOURCE", before=low_limit)
    if not counts_locked_memory():  # a machine's policy may refuse programs that trace
        assert error is None or "does not fit" not in str(error)


# --- policies -----------------------------------------------------------------------------------------


def test_a_filter_of_system_calls_is_named():
    error = elsewhere(make_map(), before=rights.forbid_bpf)
    assert error.errno == errno.EPERM
    assert "needs CAP_BPF, which this process has: " in str(error)
    assert "a seccomp filter may forbid it" in str(error)


def test_capabilities_in_a_user_namespace_are_told_from_real_ones():
    try:
        error = elsewhere(make_map(), before=rights.into_a_user_namespace)
    except rights.BrokenError as failed:
        machine.require(f"no user namespaces can be made here (a chroot, or a limit): {failed}")
    assert isinstance(error, PermissionError)
    assert "this process has its capabilities only in a user namespace" in str(error)


def test_lockdown_is_named_as_possible_only_where_it_cannot_be_read():
    if lockdown() is None:
        machine.require(f"{LOCKDOWN} cannot be read")
    error = elsewhere(make_map(), before=lambda: (rights.without_securityfs(), rights.forbid_bpf()))
    assert f"the kernel may be locked down ({LOCKDOWN} cannot be read)" in str(error)
    error = elsewhere(make_map(), before=rights.forbid_bpf)
    assert "locked down" not in str(error)
