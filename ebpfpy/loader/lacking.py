"""Why a program was refused: what this kernel lacks of what the program needs. Asked after the refusal, never before.

The verifier says something about every program that it looks at. Where it says nothing (EINVAL, E2BIG) the kernel did
not know what was asked for: the program's type, its attach type, a flag, an attribute. Each is asked for by itself;
what the kernel then denies is the reason, and has a first kernel.

Where the verifier speaks, it names an instruction, not the feature behind it: an opcode of a newer instruction set, a
jump backwards, a call of a kernel function. There too the feature is asked for, and only named if it is missing.
"""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING

from ebpfpy import features, sys
from ebpfpy.errors import EbpfError, KernelError, UnsupportedError
from ebpfpy.features.asking import RETURN_0, verdict
from ebpfpy.features.programs import hidden_helper
from ebpfpy.sys import ProgramFlags, ProgramType
from ebpfpy.sys.hints import program_needs
from ebpfpy.sys.refusals import UNKNOWN
from ebpfpy.sys.rights import lacking

from .limits import over_the_limit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ebpfpy.elf.spec import ProgramSpec
    from ebpfpy.features import Support

_MOST_INSNS = 1_000_000
_OLD_MOST_INSNS = 4096
_OPCODE = re.compile(r"unknown (?:opcode|insn|class)|uses reserved (?:fields|mode)|invalid BPF_(?:ATOMIC|LD|LDX|STX)")
_LOOP = re.compile(r"back-edge from insn")
_TOO_LARGE = re.compile(r"BPF program is too large\. Processed (\d+) insn")
_NO_ADDRESS = re.compile(r"failed to find the address for kernel symbol")
_NO_TARGET = "Tracing programs must provide btf_id"
_NOT_ALLOWED = re.compile(r"calling kernel function (\S+) is not allowed")


def unnamed_reason(spec: ProgramSpec, error: KernelError, *, of_module: bool) -> str | None:
    """What this kernel lacks for a program that it refused without a word.

    Args:
        spec: the program.
        error: the refusal.
        of_module: whether it attaches to a function of a module, or calls one.

    Returns:
        One line, or None if the kernel has all that can be asked for.
    """
    if error.errno == errno.EPERM and not lacking(*program_needs(spec.type)):
        return over_the_limit("the program")
    if error.errno not in UNKNOWN:
        return None
    count = len(spec.code) // 8
    if error.errno == errno.E2BIG and count > _MOST_INSNS:
        return f"it has {count} instructions: the kernel takes {_MOST_INSNS}"
    there: list[str] = []
    missing = _first_missing(_needs(spec, of_module=of_module), there) or _misfit(spec) or _flag_alone(spec)
    if missing is None and there and error.errno == errno.EINVAL:
        return f"this kernel has what was asked for, by itself: {', '.join(there)}"
    return missing


def _needs(spec: ProgramSpec, *, of_module: bool) -> Iterator[Support]:
    yield features.have_program_type(spec.type)
    if spec.attach_type:
        yield features.have_attach_type(spec.attach_type)
    for flag in (ProgramFlags.SLEEPABLE, ProgramFlags.XDP_HAS_FRAGS):
        if spec.flags & flag:
            yield features.have_program_flag(flag)
    if of_module:
        yield features.have_module_btf()
    if len(spec.code) // 8 > _OLD_MOST_INSNS:
        yield features.have_large_programs()


def _flag_alone(spec: ProgramSpec) -> str | None:
    """The flag that this kernel does not take, whatever the program."""
    for bit in range(32):
        flag = spec.flags & 1 << bit
        if flag and flag not in (ProgramFlags.SLEEPABLE, ProgramFlags.XDP_HAS_FRAGS):
            try:
                if verdict(ProgramType.SOCKET_FILTER, RETURN_0, flags=flag) == "":
                    return f"programs cannot have the flag {ProgramFlags(flag).name or hex(flag)} on this kernel"
            except EbpfError:
                return None
    return None


def _misfit(spec: ProgramSpec) -> str | None:
    """Whether the type and the attach type, both known, do not go together."""
    try:
        if verdict(spec.type, RETURN_0, expected_attach_type=spec.attach_type or 0) == "":
            if spec.attach_type:
                name = getattr(spec.attach_type, "name", spec.attach_type)  # a number, in a blueprint that was edited
                return f"programs of type {spec.type.name} have no attach type {name}"
            return f"programs of type {spec.type.name} need an attach type"
    except EbpfError:
        return None
    return None


def verifier_reason(log: str, spec: ProgramSpec) -> str | None:
    """What this kernel lacks for a program that the verifier complained about; None if it seems to lack nothing."""
    if _NO_TARGET in log and spec.attach_type:  # so it takes an attach type that it does not know
        return _first_missing(iter([features.have_attach_type(spec.attach_type)]))
    if _OPCODE.search(log):
        text = _first_missing(_instructions())
        return text and f"{text}; or compile with a lower -mcpu"
    if _LOOP.search(log):
        return _first_missing(iter([features.have_bounded_loops()]))
    if large := _TOO_LARGE.search(log):
        return (
            f"it looked at {large[1]} instructions on all paths: fewer branches, bpf_loop(), or global functions help"
        )
    if _NO_ADDRESS.search(log) and _is_left_out("CONFIG_KALLSYMS_ALL"):
        return "this kernel keeps no addresses of variables: it is built without CONFIG_KALLSYMS_ALL"
    if call := _NOT_ALLOWED.search(log):
        return f"programs of this type and attach type may not call {call[1]}"
    return hidden_helper(log, spec.type)


def _instructions() -> Iterator[Support]:
    for version in (2, 3, 4):
        yield features.have_isa(version)
    yield features.have_atomics()


def _is_left_out(option: str) -> bool:
    """Whether the kernel's configuration can be read, and does not set an option."""
    try:
        return option not in sys.read_config()
    except EbpfError:
        return False


def _first_missing(answers: Iterator[Support], there: list[str] | None = None) -> str | None:
    """The first feature that the kernel lacks; those before it are added to `there`."""
    try:
        for answer in answers:
            answer.require()
            if there is not None:
                there.append(answer.feature)
    except UnsupportedError as error:
        return str(error)
    except EbpfError:  # the kernel gives no answer: neither do we
        return None
    return None
