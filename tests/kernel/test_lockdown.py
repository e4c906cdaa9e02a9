"""A kernel that is locked down refuses root, too, and the errors say so. It stays so, therefore this comes last."""

import pytest

import ebpfpy
from ebpfpy import asm, features, link, sys
from ebpfpy.errors import EbpfError, KernelError, VerifierError
from ebpfpy.sys import rights
from tests.kernel import features as machine
from tests.kernel.blueprints import ENTRY, collection_of, path_of, program_of
from tests.kernel.conformance import unless_missing

pytestmark = pytest.mark.irreversible

KPROBE = sys.ProgramType.KPROBE
READING = ("probe_read", "probe_read_str", "probe_read_kernel", "probe_read_kernel_str")


@pytest.fixture(scope="module")
def integrity():
    raise_to("integrity")


@pytest.fixture(scope="module")
def confidentiality():
    raise_to("confidentiality")


def raise_to(level):
    """Lock the kernel down."""
    now = rights.lockdown()
    machine.require(None if now else f"the kernel has no lockdown: {rights.LOCKDOWN} cannot be read")
    with open(rights.LOCKDOWN, "w", encoding="ascii") as file:
        file.write(level)


def calling(helper):
    """A kprobe program that calls a helper, without arguments."""
    return program_of([asm.call(asm.helper_number(helper)), asm.mov_imm(0, 0), asm.exit_()], kind=KPROBE)


def refusal_of(helper):
    with pytest.raises(VerifierError) as caught:
        ebpfpy.Collection(collection_of(calling(helper)))
    return str(caught.value)


def test_integrity_hides_the_helper_that_writes_into_processes_and_the_error_says_so(integrity):
    text = "the kernel is locked down (integrity), which forbids programs to write into the memory of processes"
    assert text in refusal_of("probe_write_user")
    assert "locked down" not in refusal_of("probe_read_kernel")  # that one is there, and wants its arguments


def test_confidentiality_hides_the_helpers_that_read_the_kernel_and_the_error_says_so(confidentiality):
    text = "the kernel is locked down (confidentiality), which forbids programs to read memory of the kernel"
    for helper in READING:
        assert text in refusal_of(helper)
    assert "locked down" not in refusal_of("probe_read_user")


def test_a_whole_object_that_reads_the_kernel_says_so_with_its_source_line(confidentiality):
    with pytest.raises(VerifierError, match="the kernel is locked down") as caught:
        ebpfpy.load_collection(path_of("demo.bpf.o"))
    assert "demo.bpf.c" in caught.value.source_line


def test_a_hidden_helper_is_no_answer_to_whether_the_kernel_has_it(confidentiality):
    for helper in ("probe_write_user", *READING):
        with pytest.raises(PermissionError, match=f"helper bpf_{helper} in .*the kernel is locked down"):
            features.have_helper(KPROBE, helper)
    assert features.have_helper(KPROBE, "probe_read_user")
    assert not features.have_helper(KPROBE, "redirect")  # which programs of that type never have


def test_a_kprobe_by_name_is_refused_and_lockdown_named(confidentiality):
    with (
        ebpfpy.Collection(collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()], kind=KPROBE))) as collection,
        pytest.raises(PermissionError, match="which this process has: the kernel is locked down") as caught,
    ):
        link.attach_kprobe(collection.programs["by_hand"], "do_nanosleep")
    assert "perf_event_paranoid" not in str(caught.value)
    assert isinstance(caught.value, KernelError)


def test_the_list_of_functions_is_refused_and_lockdown_named(confidentiality):
    with unless_missing():
        multi = program_of([asm.mov_imm(0, 0), asm.exit_()], kind=KPROBE, attach_type=sys.AttachType.TRACE_KPROBE_MULTI)
        with (
            ebpfpy.Collection(collection_of(multi)) as collection,
            pytest.raises(EbpfError, match=r"available_filter_functions.*the kernel is locked down"),
        ):
            link.attach_kprobe_multi(collection.programs["by_hand"], "do_nanosl*")
    assert any("not known: the kernel is locked down" in why for why in features.explain_target("do_nanosleep").reasons)


def test_a_program_that_follows_typed_pointers_still_works(confidentiality):
    machine.require(machine.no_fentry())
    code = [
        asm.ldx(8, 1, 1),
        asm.ldx(8, 1, 1),
        asm.mov_imm(0, 0),
        asm.exit_(),
    ]  # of the first argument, what it points to
    program = program_of(code, kind=sys.ProgramType.TRACING, attach_type=ENTRY, attach_to="do_nanosleep")
    with ebpfpy.Collection(collection_of(program)) as collection, link.attach(collection.programs["by_hand"]):
        pass
