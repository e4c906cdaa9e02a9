"""What a refusal of the kernel to attach means: asked after it, never before a success.

Whether the kernel has a kind of link at all stands in its own types: ``enum bpf_link_type`` and ``enum
bpf_attach_type`` list what it was built from, whatever its version says.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ebpfpy.elf.spec import ProgramSpec
from ebpfpy.errors import InputError, KernelError, UnsupportedError
from ebpfpy.features.attachtypes import enumerators
from ebpfpy.loader import Program
from ebpfpy.sys.refusals import UNKNOWN
from ebpfpy.sys.since import ATTACH_TYPES, LINK_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from ebpfpy.sys import AttachType, LinkType, ProgramType


@contextmanager
def attaching(
    text: str,
    link_type: LinkType | None = None,
    *,
    feature: str | None = None,
    attach_type: AttachType | None = None,
    have: Callable[[], object] | None = None,
    minimum: str | None = None,
    hints: Mapping[int, str] | None = None,
) -> Iterator[None]:
    """Let a refusal name what was attached where, and what is missing.

    Args:
        text: what is attached where.
        link_type: the kind of link that it needs.
        feature: what to call that; default: by the kind of link.
        attach_type: what else the kernel must know.
        have: asks the kernel for the feature: one that it knows may not be configured.
        minimum: the first kernel that has it; default: by the kind of link.
        hints: what an error number means here.

    Raises:
        UnsupportedError: the kernel does not know the kind of link.
        KernelError: it refused for another reason; its hint says which, if it is known.
    """
    try:
        yield
    except KernelError as error:
        error.subject = error.subject or text
        if error.errno in UNKNOWN and (lacks(link_type, attach_type) or _denied(have)):
            name, first = _feature(link_type, attach_type)
            raise missing(text, feature or name, minimum or first) from error
        error.hint = (hints or {}).get(error.errno or 0) or error.hint
        raise


def _feature(link_type: LinkType | None, attach_type: AttachType | None) -> tuple[str, str | None]:
    """What to call a kind of link, or else of attaching, and the first kernel that has it."""
    if link_type is not None:
        return f"{link_type.name.lower()} links", LINK_TYPES.get(link_type)
    if attach_type is not None:
        return f"attach type {attach_type.name}", ATTACH_TYPES.get(attach_type)
    return "this", None


def _denied(have: Callable[[], object] | None) -> bool:
    """Whether the kernel says that it does not have a feature; False if it does not answer."""
    try:
        return have is not None and not have()
    except KernelError:
        return False


def missing(text: str, feature: str, minimum: str | None) -> UnsupportedError:
    """The error that says what the kernel does not have, to be raised."""
    first = f" (Linux {minimum} and newer, if configured)" if minimum else ""
    return UnsupportedError(f"{text}: this kernel has no {feature}{first}", feature=feature, minimum=minimum)


def lacks(link_type: LinkType | None, attach_type: AttachType | None = None) -> bool:
    """Whether the kernel's own types say that it does not know a kind of link, or of attaching; False if in doubt."""
    for enum, member in (
        ("bpf_link_type", f"BPF_LINK_TYPE_{link_type.name}" if link_type is not None else None),
        ("bpf_attach_type", f"BPF_{attach_type.name}" if attach_type is not None else None),
    ):
        if member is not None and (known := enumerators(enum)) and member not in known:
            return True
    return False


def check_program(program: object) -> None:
    """Refuse what is no loaded program: blueprints, maps, collections.

    Raises:
        InputError: it is something else.
    """
    if isinstance(program, Program):
        return
    if isinstance(program, ProgramSpec):
        raise InputError(f"program {program.name} is a blueprint: what is attached is in Collection.programs")
    raise InputError(f"what is attached is a Program, not a {type(program).__name__}")


def check_type(program: Program, what: str, *types: ProgramType) -> None:
    """Refuse a program of another type.

    Args:
        program: to be attached.
        what: what those types are for, in words ("tracing").
        types: any of these.

    Raises:
        InputError: it is of none of these types.
    """
    check_program(program)
    if program.type not in types:
        section = f" ({program.spec.section})" if program.spec.section else f" ({program.type.name})"
        raise InputError(f"program {program.name}{section} is not for {what}")


def check_cookie(cookie: int, what: str = "cookie") -> None:
    """Refuse a number that the kernel's 64 bits do not hold.

    Raises:
        InputError: it is negative or too large.
    """
    if not 0 <= cookie < 1 << 64:
        raise InputError(f"{what} {cookie} is no unsigned number of 64 bits")
