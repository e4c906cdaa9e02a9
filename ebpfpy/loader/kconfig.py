"""Values of ``__kconfig`` variables: options of the kernel's configuration, and facts about the kernel.

An option is ``y``, ``m``, ``n``, a number or a string; the variable that takes it is a bool, a char, an integer, an
enum with the values of libbpf's ``libbpf_tristate`` (0 no, 1 yes, 2 module), or an array of char. An option that is
not set at all is an error, for a weak variable 0.

Three variables are no options: ``LINUX_KERNEL_VERSION``, ``LINUX_HAS_BPF_COOKIE`` and ``LINUX_HAS_SYSCALL_WRAPPER``.
"""

from __future__ import annotations

import os
import sys as _sys
from functools import cache
from typing import TYPE_CHECKING

from ebpfpy import btf, sys
from ebpfpy.errors import ExternError, NotFoundError
from ebpfpy.sys.syscallnames import WRAPPERS

if TYPE_CHECKING:
    from ebpfpy.elf.spec import ExternSpec

_TRISTATE = {"n": 0, "y": 1, "m": 2}


@cache
def _options() -> dict[str, str] | None:
    try:
        return sys.read_config()
    except NotFoundError:
        return None


def lookup(extern: ExternSpec) -> str | None:
    """The text of an option's value; None for a weak one that is not set.

    Raises:
        ExternError: it is not set, or not known.
    """
    if extern.name.startswith("LINUX_"):
        return _fact(extern)
    options = _options()
    value = (options or {}).get(extern.name)
    if value is None and not extern.weak:
        why = "the kernel's configuration cannot be read" if options is None else "the running kernel does not set it"
        raise ExternError(f"kernel option {extern.name}: {why}; declare it __weak to do without", name=extern.name)
    return value


def _fact(extern: ExternSpec) -> str | None:
    if extern.name == "LINUX_KERNEL_VERSION":
        return str(sys.kernel_version_code())
    if extern.name == "LINUX_HAS_BPF_COOKIE":
        return str(int(_has_cookie()))
    if extern.name == "LINUX_HAS_SYSCALL_WRAPPER":
        prefix = WRAPPERS.get(os.uname().machine)
        return str(int(prefix is not None and bool(sys.find_symbols([f"{prefix}bpf"]))))
    if extern.weak:
        return None
    raise ExternError(f"{extern.name} is no fact about the kernel that is known here", name=extern.name)


@cache
def _has_cookie() -> bool:
    """Whether programs can ask for their cookie (Linux 5.15): a tiny program that does is loaded, or not."""
    call_helper_174 = bytes([0x85, 0, 0, 0]) + (174).to_bytes(4, _sys.byteorder)
    exit_insn = bytes([0x95]) + bytes(7)
    try:
        fd, _ = sys.prog_load(type=sys.ProgramType.TRACEPOINT, insns=call_helper_174 + exit_insn, license="GPL")
    except OSError:
        return False
    fd.close()
    return True


def encode(extern: ExternSpec, text: str, size: int) -> bytes:
    """An option's value as the bytes of its variable.

    Raises:
        ExternError: the variable's type cannot hold it.
    """
    kind = btf.resolve(extern.type)
    if not isinstance(kind, (btf.Int, btf.Enum, btf.Array)):
        raise _misfit(extern, text, f"a number, an enum or an array of char, and it is a {kind.kind.name}")
    if isinstance(kind, btf.Array):
        if not text.startswith('"'):
            raise _misfit(extern, text, "a string")
        data = text.strip('"').replace('\\"', '"').replace("\\\\", "\\").encode()[: size - 1]
        return data.ljust(size, b"\0")
    if text in _TRISTATE:
        if text == "m" and (isinstance(kind, btf.Int) and kind.bool):
            raise _misfit(extern, text, "more than true and false")
        if isinstance(kind, btf.Int) and size == 1 and not kind.bool:
            return text.encode()
        return _TRISTATE[text].to_bytes(size, _sys.byteorder)
    try:
        number = int(text, 0)
    except ValueError:
        raise _misfit(extern, text, "an array of char") from None
    signed = isinstance(kind, (btf.Int, btf.Enum)) and kind.signed
    try:
        return number.to_bytes(size, _sys.byteorder, signed=signed)
    except OverflowError:
        raise _misfit(extern, text, "more bits") from None


def _misfit(extern: ExternSpec, text: str, needed: str) -> ExternError:
    return ExternError(f"kernel option {extern.name} is {text}: the variable has to hold {needed}", name=extern.name)
