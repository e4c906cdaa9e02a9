"""Ways of attaching: what the kernel's own enumerations list, and flags of programs.

Whether a way of attaching is known stands in the kernel's types: ``enum bpf_attach_type`` lists what the kernel was
built from, whatever its version says. That is asked there, because many types of programs take any number when they are
loaded and refuse it only when they are attached.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ebpfpy.errors import EbpfError, InputError, NotFoundError
from ebpfpy.sys import AttachType, ProgramFlags, ProgramType, since

from .asking import RETURN_0, about, name_of, verdict
from .support import Support

if TYPE_CHECKING:
    from collections.abc import Mapping


def enumerators(enum: str) -> Mapping[str, int]:
    """What an enumeration of the running kernel lists, by name; nothing if its types cannot be had."""
    try:
        return _read(enum)
    except (EbpfError, OSError):  # not remembered: it may only be that no more files can be opened now
        return {}


@cache
def _read(enum: str) -> Mapping[str, int]:
    from ebpfpy import btf

    return {each.name: each.value for each in btf.load_kernel_spec().type_by_name(enum, btf.Enum).enumerators}


def have_attach_type(type: AttachType | int) -> Support:  # noqa: A002
    """Whether the kernel knows a way of attaching (it need not be configured).

    Raises:
        InputError: no way of attaching can have that number.
        NotFoundError: the kernel has no types of its own to ask.
    """
    if not isinstance(type, int) or not 0 <= type < 1 << 32:
        raise InputError(f"AttachType is a number of 32 bits, not {type!r}")
    known = enumerators("bpf_attach_type")
    if not known:
        raise NotFoundError("the kernel has no BTF: it does not say which ways of attaching it knows")
    supported = any(value == type and not name.startswith("__MAX") for name, value in known.items())
    return Support(name_of("attach type", type), supported, since.ATTACH_TYPES.get(type))


@cache
def have_program_flag(flag: ProgramFlags) -> Support:
    """Whether programs can be loaded with a flag: SLEEPABLE (5.10) or XDP_HAS_FRAGS (5.18).

    Needs CAP_BPF, and CAP_PERFMON for the first, CAP_NET_ADMIN for the second.

    Raises:
        InputError: another flag.
        KernelError: no answer.
    """
    if flag not in (ProgramFlags.SLEEPABLE, ProgramFlags.XDP_HAS_FRAGS):
        raise InputError(f"{flag!r} cannot be asked for: it is not SLEEPABLE or XDP_HAS_FRAGS")
    feature = name_of("flag", flag)
    frags = flag == ProgramFlags.XDP_HAS_FRAGS
    expected = AttachType.XDP if frags else AttachType.TRACE_FENTRY
    with about(feature):
        log = verdict(
            ProgramType.XDP if frags else ProgramType.TRACING, RETURN_0, expected_attach_type=expected, flags=flag
        )
    return Support(feature, log != "", since.PROGRAM_FLAGS.get(flag))
