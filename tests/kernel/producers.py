"""Programs of ours that write records into a ring buffer or a perf buffer each time they are run, by hand.

Both kinds have the same manners, so that one test can be about both: `map`, `run`, `written` (records that found room),
`reader` (a reader of the map), `number` (the count that a record begins with), `keeps`, and words of error messages.
"""

import os
import resource
import struct
import sys as python
from contextlib import contextmanager

from ebpfpy import asm, perf, ringbuf, sys
from ebpfpy.asm import AluOp, JumpOp
from tests.kernel.features import require

ORDER = python.byteorder
CURRENT_CPU = 0xFFFFFFFF
ON_CPU = 1  # BPF_F_TEST_RUN_ON_CPU


class Producer:
    """What owns a map, a program and the counters that they share."""

    def close(self):
        self.program.close()
        self.state.close()
        self.map.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self.close()


class RingProducer(Producer):
    """A socket filter that writes `per_run` records of `size` bytes into a ring buffer.

    They begin with a u64, counted up over all runs; a record for which the ring has no room is not counted. With
    another helper the records are reserved and committed (or discarded) without content; `dwell` times a few helper
    calls lie in between.
    """

    keeps = True  # what a closed reader did not hand out
    text = "ring buffer 'ring'"
    no_map = "no ring buffer"
    module = ringbuf

    def __init__(self, *, ring_size=1 << 16, per_run=1, size=8, notify=0, helper="ringbuf_output", dwell=0):
        self.map = sys.map_create(
            type=sys.MapType.RINGBUF, key_size=0, value_size=0, max_entries=ring_size, name="ring"
        )
        self.state = sys.map_create(type=sys.MapType.ARRAY, key_size=4, value_size=8, max_entries=1)
        assert size % 8 == 0
        begin = [asm.ld_map_value(9, self.state.fileno()), asm.mov_imm(6, 0)]
        if helper == "ringbuf_output":
            body = [
                asm.ldx(8, 7, 9),
                asm.stx(8, 10, -size, 7),
                *[asm.st(8, 10, -size + at, 0x55) for at in range(8, size, 8)],
                asm.ld_map_fd(1, self.map.fileno()),
                asm.mov_reg(2, 10),
                asm.alu_imm(AluOp.ADD, 2, -size),
                asm.mov_imm(3, size),
                asm.mov_imm(4, notify),
                asm.call("ringbuf_output"),
                asm.jump_imm(JumpOp.JNE, 0, 0, 2),
                asm.alu_imm(AluOp.ADD, 7, 1),
                asm.stx(8, 9, 0, 7),
            ]
        else:
            turn = [*[asm.call("ktime_get_ns")] * 4, asm.alu_imm(AluOp.ADD, 7, 1)]
            wait = [asm.mov_imm(7, 0), *turn, asm.jump_imm(JumpOp.JLT, 7, dwell, -len(turn) - 1)] if dwell else []
            use = [asm.mov_reg(8, 0), *wait, asm.mov_reg(1, 8), asm.mov_imm(2, notify), asm.call(helper)]
            body = [
                asm.ld_map_fd(1, self.map.fileno()),
                asm.mov_imm(2, size),
                asm.mov_imm(3, 0),
                asm.call("ringbuf_reserve"),
                # without room to the end: going on would double the verifier's paths each time
                asm.jump_imm(JumpOp.JEQ, 0, 0, len(use) + 2),
                *use,
            ]
        step = [asm.alu_imm(AluOp.ADD, 6, 1)]
        back = -(sum(insn.slots for insn in body + step) + 1)
        code = [
            *begin,
            *body,
            *step,
            asm.jump_imm(JumpOp.JLT, 6, per_run, back),
            asm.mov_imm(0, 0),
            asm.exit_(),
        ]
        self.program, _ = sys.prog_load(
            type=sys.ProgramType.SOCKET_FILTER, insns=asm.encode(code, ORDER), license="GPL", name="producer"
        )

    def run(self, times=1):
        for _ in range(times):
            sys.prog_test_run(self.program, data=bytes(14))

    def reader(self, **options):
        return ringbuf.Reader(self.map, **options)

    @staticmethod
    def number(record):
        return struct.unpack_from("=Q", record)[0]

    @property
    def written(self):
        return struct.unpack("=Q", sys.map_lookup(self.state, bytes(4), 8))[0]


class PerfProducer(Producer):
    """A raw tracepoint program that sends `per_run` records of `size` bytes through a perf event array.

    They begin with a u64 that counts the records sent over all runs, those for which there was no room included.
    Runs on the CPU that the caller is on, or always on the same one.
    """

    keeps = False
    text = "perf buffer 'perfbuf'"
    no_map = "no perf event array"
    module = perf

    def __init__(self, *, per_run=1, size=12, cpu=None):
        assert size % 4 == 0
        self.cpu = cpu
        self.map = sys.map_create(
            type=sys.MapType.PERF_EVENT_ARRAY,
            key_size=4,
            value_size=4,
            max_entries=sys.possible_cpus(),
            name="perfbuf",
        )
        self.state = sys.map_create(type=sys.MapType.ARRAY, key_size=4, value_size=16, max_entries=1)
        room = (size + 7) // 8 * 8
        body = [
            asm.ldx(8, 7, 9),
            asm.stx(8, 10, -room, 7),
            asm.alu_imm(AluOp.ADD, 7, 1),
            asm.stx(8, 9, 0, 7),
            asm.mov_reg(1, 8),
            asm.ld_map_fd(2, self.map.fileno()),
            asm.ld_imm64(3, CURRENT_CPU),
            asm.mov_reg(4, 10),
            asm.alu_imm(AluOp.ADD, 4, -room),
            asm.mov_imm(5, size),
            asm.call("perf_event_output"),
            asm.jump_imm(JumpOp.JNE, 0, 0, 3),
            asm.ldx(8, 7, 9, 8),
            asm.alu_imm(AluOp.ADD, 7, 1),
            asm.stx(8, 9, 8, 7),
            asm.alu_imm(AluOp.ADD, 6, 1),
        ]
        back = -(sum(insn.slots for insn in body) + 1)
        code = [
            asm.mov_reg(8, 1),
            asm.ld_map_value(9, self.state.fileno()),
            asm.mov_imm(6, 0),
            *[asm.st(8, 10, -at, 0x55) for at in range(8, room + 1, 8)],
            *body,
            asm.jump_imm(JumpOp.JLT, 6, per_run, back),
            asm.mov_imm(0, 0),
            asm.exit_(),
        ]
        self.program, _ = sys.prog_load(
            type=sys.ProgramType.RAW_TRACEPOINT, insns=asm.encode(code, ORDER), license="GPL", name="producer"
        )

    def run(self, times=1, cpu=None):
        chosen = self.cpu if cpu is None else cpu
        for _ in range(times):
            if chosen is None:
                sys.prog_test_run(self.program, repeat=0)
            else:
                sys.prog_test_run(self.program, repeat=0, flags=ON_CPU, cpu=chosen)

    def reader(self, **options):
        return perf.Reader(self.map, **options)

    @staticmethod
    def number(record):
        return struct.unpack_from("=Q", record.data)[0]

    @property
    def sent(self):
        return struct.unpack("=QQ", sys.map_lookup(self.state, bytes(4), 16))[0]

    @property
    def written(self):
        return struct.unpack("=QQ", sys.map_lookup(self.state, bytes(4), 16))[1]


@contextmanager
def on_one_cpu():
    """Keep this thread, and so the programs that it runs, on one CPU."""
    before = os.sched_getaffinity(0)
    cpu = min(before)
    os.sched_setaffinity(0, {cpu})
    try:
        yield cpu
    finally:
        os.sched_setaffinity(0, before)


def open_descriptors():
    return sorted(os.listdir("/proc/self/fd"))


@contextmanager
def descriptors_above(number):
    """Let everything that is opened in the block have a descriptor greater than that."""
    room = 256
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number + room
    if hard != resource.RLIM_INFINITY and hard < wanted:
        require(f"{wanted} open files (ulimit -Hn says {hard})")
    taken = []
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
        while not taken or taken[-1] < number:
            taken.append(os.dup(0))
        yield
    finally:
        for descriptor in taken:
            os.close(descriptor)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
