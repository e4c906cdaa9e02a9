"""Types of programs, and the helpers that they can call."""

from __future__ import annotations

import errno
import re
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from ebpfpy import asm
from ebpfpy.errors import InputError, KernelError, UnsupportedError, kernel_error
from ebpfpy.sys import AttachType, ProgramFlags, ProgramType, since
from ebpfpy.sys.hints import TRACING
from ebpfpy.sys.refusals import ENOTSUPP
from ebpfpy.sys.rights import hiding, lacking

from .asking import RETURN_0, about, member_of, name_of, verdict
from .support import Support
from .types import have_btf

if TYPE_CHECKING:
    from collections.abc import Iterator

_EXPECTED: Final[dict[int, AttachType]] = {
    ProgramType.CGROUP_SOCK_ADDR: AttachType.CGROUP_INET4_CONNECT,
    ProgramType.CGROUP_SOCKOPT: AttachType.CGROUP_GETSOCKOPT,
    ProgramType.SK_LOOKUP: AttachType.SK_LOOKUP,
    ProgramType.NETFILTER: AttachType.NETFILTER,
}


def _attributes(type_: int) -> dict[str, Any]:
    flags = ProgramFlags.SLEEPABLE if type_ == ProgramType.SYSCALL else 0
    return {"expected_attach_type": _EXPECTED.get(type_, 0), "flags": flags}


@cache
def have_program_type(type: ProgramType | int) -> Support:  # noqa: A002
    """Whether programs of a type can be loaded (CAP_BPF, and CAP_PERFMON or CAP_NET_ADMIN as the type says).

    Raises:
        KernelError: no answer, for one because the process may not load programs (PermissionError).
    """
    type = member_of(ProgramType, type)  # noqa: A001
    feature = name_of("program type", type)
    with about(feature):
        try:
            known = verdict(type, RETURN_0, **_attributes(type)) != ""
        except KernelError as error:
            if error.errno != ENOTSUPP:  # struct_ops: the verifier wants to know which structure
                raise
            known = True
    return Support(feature, known, since.PROGRAM_TYPES.get(type))


_OF_OTHERS: Final = frozenset((ProgramType.STRUCT_OPS, ProgramType.EXT))
"""Types of program whose helpers are those of what they are written for: it may simply not have one."""
_NAMED_HELPER: Final = re.compile(r"(?:unknown func|cannot use helper) bpf_\w+#(\d+)")
_NO_HELPER: Final = (
    *("invalid func ", "unknown func ", "program of this type cannot use helper "),
    # the whole program is refused because it wants to be sleepable, before the verifier comes to the call
    *("programs can be sleepable", "cannot be sleepable", " is not sleepable"),
)


@cache
def have_helper(program_type: ProgramType | int, helper: int | str) -> Support:
    """Whether a type of program can call a helper function (capabilities as for `have_program_type`).

    Tracing programs are asked as fentry programs and as iterators, LSM programs with and without being sleepable: true
    if one of them can. Helpers of extensions and struct_ops are those of what they extend or fill in.

    Args:
        program_type: the type of program.
        helper: number, or name with or without "bpf_" ("ringbuf_output").

    Raises:
        InputError: no helper has that name, or the helpers of that type of program depend on more than the type.
        UnsupportedError: TRACING or LSM, and the kernel's own types, which these need, are not there.
        KernelError: no answer, for one because the process lacks CAP_BPF or CAP_PERFMON.
    """
    program_type = member_of(ProgramType, program_type)
    number = asm.helper_number(helper) if isinstance(helper, str) else helper
    if number is None or not 0 < number < 1 << 31:
        raise InputError(f"no helper is called {helper!r}")
    if program_type in _OF_OTHERS:
        raise InputError(f"the helpers of {name_of('program type', program_type)} are those of what it is written for")
    feature = f"helper {asm.helper_name(number) or number} in {name_of('program type', program_type)}"
    with about(feature):
        found = bool(have_program_type(program_type)) and _can_call(program_type, number)
    if not found and (missing := lacking("CAP_PERFMON", "CAP_BPF")):
        why = f"the kernel may have it, and hide it from a process without {' and '.join(missing)}"
        raise kernel_error(errno.EPERM, "BPF_PROG_LOAD", subject=feature, hint=why)
    return Support(feature, found, since.helper_since(number))


def _can_call(type_: ProgramType | int, number: int) -> bool:
    asked = False
    for attributes in _variants(type_):
        log = verdict(type_, (asm.call(number), *RETURN_0), **attributes)
        if log is None or (log and not any(words in log for words in _NO_HELPER)):
            return True
        asked = asked or log != ""
        if why := hidden_helper(log, type_):
            raise kernel_error(errno.EPERM, "BPF_PROG_LOAD", hint=why)
    if not asked and type_ in _TARGETS:
        raise UnsupportedError(
            f"the helpers of {name_of('program type', type_)} cannot be asked for: the kernel has no types of its own",
            feature="kernel BTF",
            minimum="5.4",
        )
    return False


def hidden_helper(log: str, program_type: int) -> str | None:
    """Why the verifier hides a helper that the kernel has, going by the verifier's log; None if it does not.

    Helpers that the kernel has are named in the log, others go by their number only.
    """
    named = _NAMED_HELPER.search(log)
    return hiding(int(named[1]), sure=program_type in TRACING - _OF_OTHERS) if named else None


_TARGETS: Final[dict[int, tuple[tuple[str, AttachType, int], ...]]] = {
    ProgramType.TRACING: (
        ("bpf_fentry_test1", AttachType.TRACE_FENTRY, 0),
        ("bpf_iter_task", AttachType.TRACE_ITER, 0),
        ("bpf_iter_task", AttachType.TRACE_ITER, ProgramFlags.SLEEPABLE),
    ),
    ProgramType.LSM: (
        ("bpf_lsm_file_open", AttachType.LSM_MAC, 0),
        ("bpf_lsm_file_open", AttachType.LSM_MAC, ProgramFlags.SLEEPABLE),
    ),
}
"""Functions that exist to be traced, for types of program that must name one."""


def _variants(type_: int) -> Iterator[dict[str, Any]]:
    """The ways to load a program of a type that differ in the helpers."""
    targets = _TARGETS.get(type_)
    if targets is None:
        yield _attributes(type_)
        if type_ == ProgramType.KPROBE:  # uprobes may sleep (6.0)
            yield {"flags": ProgramFlags.SLEEPABLE}
        return
    ids = _function_ids()
    for name, attach_type, flags in targets:
        if name in ids:
            yield {"expected_attach_type": attach_type, "attach_btf_id": ids[name], "flags": flags}


@cache
def _function_ids() -> dict[str, int]:
    """Type ids of the functions in `_TARGETS`, as far as the kernel has them."""
    from ebpfpy import btf

    if not have_btf():
        return {}
    kernel = btf.load_kernel_spec()
    names = {name for targets in _TARGETS.values() for name, _, _ in targets}
    return {
        name: kernel.type_id(found)
        for name in names
        for found in kernel.any_types_by_name(name)
        if isinstance(found, btf.Func)
    }
