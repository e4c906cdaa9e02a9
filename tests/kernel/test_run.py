"""Programs run by hand: what goes in and what comes out."""

import struct
import time

import pytest

import ebpfpy
from ebpfpy import asm, features, sys
from ebpfpy.errors import EbpfError, KernelError
from ebpfpy.sys import ProgramType
from tests.kernel import features as machine
from tests.kernel.blueprints import collection_of, path_of, program_of

PACKET = b"abcdefghijkl" + bytes(60)


@pytest.fixture
def spec():
    spec = ebpfpy.load_collection_spec(path_of("run.bpf.o"))
    if not features.have_program_type(ProgramType.SYSCALL):
        del spec.programs["add"]
    return spec


def test_a_syscall_program_changes_its_context_and_not_what_was_passed(spec):
    machine.since("5.14", None if "add" in spec.programs else "this kernel has no programs of type SYSCALL")
    with ebpfpy.Collection(spec) as collection:
        assert spec.programs["add"].flags & sys.ProgramFlags.SLEEPABLE
        context = struct.pack("=QQQ", 3, 4, 0)
        result = collection.programs["add"].run(context=context)
        assert result.retval == 3
        assert struct.unpack("=QQQ", result.context) == (3, 4, 7)
        assert struct.unpack("=QQQ", context) == (3, 4, 0)


def test_a_packet_comes_out_as_the_program_left_it(spec):
    with ebpfpy.Collection(spec) as collection:
        result = collection.programs["swap"].run(PACKET)
        assert (result.retval, result.data) == (3, b"ghijklabcdef" + bytes(60))
        assert collection.programs["swap"].run(PACKET, repeat=1000).duration < 1_000_000
        with pytest.raises(KernelError, match="program swap"):
            collection.programs["swap"].run(PACKET, data_room=10)


def test_the_context_of_a_packet_goes_in_and_comes_out(spec):
    context = bytearray(192)
    context[8:12] = struct.pack("=I", 41)  # mark
    with ebpfpy.Collection(spec) as collection:
        result = collection.programs["mark"].run(PACKET, context=bytes(context))
        assert result.retval == len(PACKET)
        assert struct.unpack_from("=I", result.context, 48) == (42,)  # cb[0]
        assert collection.programs["mark"].run(PACKET).context == b""


def test_a_program_runs_on_the_cpu_that_is_asked_for(spec):
    with ebpfpy.Collection(spec) as collection:
        for cpu in range(sys.possible_cpus()):
            collection.programs["on_cpu"].run(context=bytes(8), cpu=cpu)
            assert collection.variables["cpu_seen"].get() == cpu + 1


def test_a_program_that_cannot_be_run_by_hand_says_so():
    kprobe = program_of([asm.mov_imm(0, 0), asm.exit_()], kind=ProgramType.KPROBE, section="kprobe/f")
    refusal = pytest.raises(KernelError, match=r"program by_hand: .*cannot run programs of type KPROBE by hand")
    with ebpfpy.Collection(collection_of(kprobe)) as collection, refusal:
        collection.programs["by_hand"].run()


def test_runs_are_counted_while_statistics_are_enabled(spec):
    with ebpfpy.Collection(spec) as collection:
        program = collection.programs["mark"]
        program.run(PACKET)
        assert program.info.run_cnt == 0
        with sys.enable_stats():
            program.run(PACKET, repeat=50)
        assert program.info.run_cnt == 50
        assert program.info.run_time_ns > 0
        program.run(PACKET)
        assert program.info.run_cnt == 50


def test_the_callback_of_a_timer_is_linked_in_and_runs(spec):
    if not features.have_helper(ProgramType.SCHED_CLS, "timer_init"):
        machine.since("5.15", "this kernel has no timers")
    spec.programs["start_timer"].autoload = True
    with ebpfpy.Collection(spec) as collection:
        assert collection.programs["start_timer"].run(PACKET).retval == 0
        deadline = time.monotonic() + 20
        while not collection.variables["fired"].get() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert collection.variables["fired"].get() == 1


@pytest.mark.parametrize(
    ("name", "arguments", "why"),
    [
        ("on_cpu", {"data": bytes(14)}, "a RAW_TRACEPOINT takes its arguments as context, and no packet"),
        ("on_cpu", {"context": bytes(16), "repeat": 5}, "a RAW_TRACEPOINT runs once, and not 5 times"),
        ("on_cpu", {"context": bytes(16), "cpu": 1 << 20}, "there is no CPU 1048576"),
        ("swap", {"data": "packet"}, "data is of type str, not bytes"),
        ("swap", {"data": bytes(14), "repeat": -1}, "repeat is -1, not a number of 32 bits"),
        ("swap", {"data": bytes(14), "data_room": -1}, "data_room is -1, not a number of bytes"),
    ],
)
def test_input_that_a_program_does_not_go_with_is_said(name, arguments, why, spec):
    for other in set(spec.programs) - {name}:
        del spec.programs[other]
    with ebpfpy.Collection(spec) as collection, pytest.raises(EbpfError, match=why):
        collection.programs[name].run(**arguments)


def test_a_packet_that_is_shorter_than_its_header_is_said(spec):
    for other in set(spec.programs) - {"swap"}:
        del spec.programs[other]
    refusal = None
    with ebpfpy.Collection(spec) as collection:
        try:
            collection.programs["swap"].run(data=bytes(13))
        except EbpfError as error:
            refusal = str(error)
    if refusal is None:
        machine.since("5.18", "this kernel runs programs on packets that are shorter than their header")
    assert refusal is not None
    assert "takes a packet of 14 bytes at least as data, not of 13" in refusal
