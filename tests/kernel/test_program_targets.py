"""Other BPF programs as targets: replaced by freplace, traced by fentry and fexit."""

import pytest

import ebpfpy
from ebpfpy import asm, features, link
from ebpfpy.errors import InputError, KernelError, TargetNotFoundError
from ebpfpy.sys import ProgramType
from tests.kernel import features as machine
from tests.kernel.blueprints import collection_of, path_of, program_of

PACKET = bytes(64)


@pytest.fixture
def target():
    """The program whose functions are replaced and traced."""
    with ebpfpy.load_collection(path_of("replaced.bpf.o")) as collection:
        yield collection.programs["classify"]


def attaching(name, target, function=""):
    spec = ebpfpy.load_collection_spec(path_of("replacing.bpf.o"))
    spec.programs[name].autoload = True
    spec.programs[name].attach_target = (target, function)
    return spec


def need(kind):
    if not features.have_program_type(kind):
        machine.since("5.6", f"this kernel has no programs of type {kind.name}")


def test_a_function_of_a_running_program_is_replaced_while_the_link_lives(target):
    machine.require(machine.no_fentry())
    need(ProgramType.EXT)
    assert target.run(PACKET).retval == 11
    with ebpfpy.Collection(attaching("instead", target)) as collection:
        program = collection.programs["instead"]
        assert str(program.target) == f"program classify (id {target.info.id}):verdict"
        with link.attach_freplace(program):
            assert target.run(PACKET).retval == len(PACKET) + 1000 + 10
        assert target.run(PACKET).retval == 11


def test_entry_and_exit_of_a_running_program_are_traced(target):
    machine.require(machine.no_fentry())
    with ebpfpy.Collection(attaching("on_entry", target)) as entry, link.attach(entry.programs["on_entry"]):
        target.run(PACKET, repeat=3)
        assert entry.variables["entered"].get() == 3
    with ebpfpy.Collection(attaching("on_exit", target, "verdict")) as leaving:
        assert leaving.programs["on_exit"].target.name == "verdict"
        with link.attach(leaving.programs["on_exit"]):
            target.run(PACKET)
            assert leaving.variables["left"].get() == 1
            assert leaving.variables["result"].get() == 1


def test_a_program_for_replacing_that_was_told_no_target_says_how():
    spec = attaching("instead", 0)
    spec.programs["instead"].attach_target = None
    with pytest.raises(InputError, match="say of which, by setting attach_target"):
        ebpfpy.Collection(spec)


def test_a_function_that_the_program_does_not_have_is_named_with_near_ones(target):
    with pytest.raises(TargetNotFoundError, match=r"program classify .* has no function 'verdicts'; near: verdict"):
        ebpfpy.Collection(attaching("instead", target, "verdicts"))


def test_a_program_without_types_has_no_functions_by_name():
    spec = collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()]))
    missing = pytest.raises(TargetNotFoundError, match=r"program by_hand .* has no BTF")
    with ebpfpy.Collection(spec) as collection, missing:
        ebpfpy.Collection(attaching("instead", collection.programs["by_hand"]))


def test_what_is_no_program_is_an_error_of_the_kernel_and_a_type_without_target_of_input(target):
    with ebpfpy.load_collection(path_of("replaced.bpf.o")) as collection:
        spec = collection.spec.copy()
        spec.programs["classify"].attach_target = (target, "verdict")
        with pytest.raises(InputError, match="of type SCHED_CLS attaches to no program"):
            ebpfpy.Collection(spec)
    with pytest.raises(KernelError):
        ebpfpy.Collection(attaching("instead", 0x7FFFFFFF))
