"""Programs in the kernel."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import InputError, KernelError
from ebpfpy.sys import ProgramType
from ebpfpy.sys.refusals import ENOTSUPP

if TYPE_CHECKING:
    import os

    from ebpfpy import core
    from ebpfpy.elf.spec import ProgramSpec

    from .target import AttachTarget

_ON_CPU = 1  # BPF_F_TEST_RUN_ON_CPU
_LIVE_FRAMES = 2  # BPF_F_TEST_XDP_LIVE_FRAMES
_ROOM = 512  # bytes by which a program may make a packet larger
_CHANGED_IN_PLACE = frozenset(
    {ProgramType.SYSCALL, ProgramType.RAW_TRACEPOINT, ProgramType.RAW_TRACEPOINT_WRITABLE, ProgramType.TRACING}
)
_CONTEXT_ALONE = frozenset({ProgramType.SYSCALL, ProgramType.RAW_TRACEPOINT, ProgramType.RAW_TRACEPOINT_WRITABLE})
_PACKETS = frozenset(
    {
        ProgramType.XDP,
        ProgramType.SCHED_CLS,
        ProgramType.SCHED_ACT,
        ProgramType.SOCKET_FILTER,
        ProgramType.CGROUP_SKB,
        ProgramType.FLOW_DISSECTOR,
    }
)
_ETHERNET = 14  # bytes of a header, ETH_HLEN


def _input(program: str, field: str, value: bytes | bytearray | memoryview) -> bytes:
    if not isinstance(value, bytes | bytearray | memoryview):
        raise InputError(f"program {program}: {field} is of type {type(value).__name__}, not bytes")
    return bytes(value)


class Program:
    """A program in the kernel. Owns its descriptor: close it, or use it as a context manager.

    Attributes:
        spec: the blueprint it was made from.
        name: of the function.
        target: what it was loaded for, None for types without a target.
        fixups: its CO-RE relocations, as they were solved.
        log: the verifier's log, "" unless the options asked for it.
        attach_type: what the kernel was told at loading (0: nothing); None for a pinned one, which does not tell.
            For static probes of user space the loader chooses it, so the blueprint has none.
    """

    def __init__(
        self,
        fd: sys.Fd,
        spec: ProgramSpec,
        target: AttachTarget | None,
        fixups: tuple[core.Fixup, ...],
        log: str,
        attach_type: int | None = None,
    ) -> None:
        self._fd = fd
        self.spec = spec
        self.name = spec.name
        self.target = target
        self.fixups = fixups
        self.log = log
        self.attach_type = attach_type

    @property
    def type(self) -> ProgramType:
        """The program type."""
        return self.spec.type

    @property
    def info(self) -> sys.ProgInfo:
        """What the kernel says of it."""
        return sys.prog_info(self._fd)

    def fileno(self) -> int:
        """The descriptor; still owned by the program."""
        return self._fd.fileno()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd.closed

    def close(self) -> None:
        """Let go of the program. The kernel keeps it while a link or a pin exists."""
        self._fd.close()

    def run(
        self,
        data: bytes = b"",
        *,
        context: bytes = b"",
        repeat: int = 1,
        cpu: int | None = None,
        flags: int = 0,
        batch_size: int = 0,
        data_room: int | None = None,
        context_room: int | None = None,
    ) -> sys.RunResult:
        """Run it now, with this input (BPF_PROG_TEST_RUN; Linux 4.12, and later for some types).

        =============================  ==================================================================
        networking (xdp, tc, socket)   a packet as `data`, at least 14 bytes; `struct __sk_buff` or
                                       `struct xdp_md` as `context` if wanted
        raw_tp                         arguments as `context`: 8 bytes each (5.10)
        fentry, fexit, fmod_ret        nothing: the kernel calls functions made for this (5.7)
        syscall                        `context`, which the program may change (5.14)
        sk_lookup, flow_dissector      see the kernel's documentation
        =============================  ==================================================================

        Args:
            data: the packet.
            context: the context.
            repeat: how often; the result's duration is the mean. Networking programs only.
            cpu: on which CPU (raw_tp); None: where this process is.
            flags: ``BPF_F_TEST_*``.
            batch_size: of live XDP frames (5.18).
            data_room: bytes for the packet afterwards; None: enough for one that has grown a little.
            context_room: bytes for the context afterwards; None: as many as it had.

        Returns:
            What the program returned, and packet and context afterwards.

        Raises:
            InputError: an argument of a wrong type, or one that is no size.
            KernelError: the kernel refused; InterruptedError: a signal came, and the program may have run.
        """
        data, context = _input(self.name, "data", data), _input(self.name, "context", context)
        for name, number in (("repeat", repeat), ("flags", flags), ("batch_size", batch_size), ("cpu", cpu or 0)):
            if not isinstance(number, int) or not 0 <= number < 1 << 32:
                raise InputError(f"program {self.name}: {name} is {number!r}, not a number of 32 bits")
        for name, room in (("data_room", data_room), ("context_room", context_room)):
            if room is not None and (not isinstance(room, int) or not 0 <= room < 1 << 31):
                raise InputError(f"program {self.name}: {name} is {room!r}, not a number of bytes")
        if data_room is None:
            data_room = len(data) + _ROOM if data and not flags & _LIVE_FRAMES else 0
        if context_room is None:
            context_room = 0 if self.type in _CHANGED_IN_PLACE or flags & _LIVE_FRAMES else len(context)
        try:
            return sys.prog_test_run(
                self._fd,
                data=data,
                data_size_out=data_room,
                context=context,
                context_size_out=context_room,
                repeat=repeat,
                flags=flags if cpu is None else flags | _ON_CPU,
                cpu=cpu or 0,
                batch_size=batch_size,
            )
        except KernelError as error:
            error.subject = f"program {self.name}"
            if error.errno == ENOTSUPP:
                error.hint = f"this kernel cannot run programs of type {self.type.name} by hand"
            elif error.errno == errno.E2BIG:
                error.hint = f"the context of {len(context)} bytes is larger than the kernel's, and not zero there"
            elif error.errno == errno.ENXIO and cpu is not None:
                error.hint = f"there is no CPU {cpu} that is online"
            elif error.errno == errno.EINVAL:
                error.hint = self._unfit(len(data), len(context), repeat) or error.hint
            raise

    def _unfit(self, data: int, context: int, repeat: int) -> str | None:
        """What of the input the type of program does not go with."""
        kind = self.type.name
        if self.type in _CONTEXT_ALONE:
            if data:
                return f"a {kind} takes its arguments as context, and no packet"
            if repeat != 1:
                return f"a {kind} runs once, and not {repeat} times"
            return f"it reads more of its context than {context} bytes, or other than this kernel takes"
        if self.type in _PACKETS and data < _ETHERNET:
            return f"a {kind} takes a packet of {_ETHERNET} bytes at least as data, not of {data}"
        return None

    def test_run(self, **arguments: int | bytes) -> sys.RunResult:
        """Run it now; the arguments are those of `ebpfpy.sys.prog_test_run`, as the kernel has them: see `run`."""
        for name, value in arguments.items():
            if name in ("data", "context"):
                arguments[name] = _input(self.name, name, value)  # type: ignore[arg-type]
            elif not isinstance(value, int) or not 0 <= value < 1 << 31:
                raise InputError(f"program {self.name}: {name} is {value!r:.60}, not a number of 31 bits")
        return sys.prog_test_run(self._fd, **arguments)  # type: ignore[arg-type]

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the program a name on a bpf file system, where it outlives the process."""
        sys.obj_pin(self._fd, path)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._fd.closed else f"fd {self._fd.fileno()}"
        return f"<Program {self.name} {self.spec.section} {state}>"
