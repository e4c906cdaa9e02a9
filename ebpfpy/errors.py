"""The exception tree of ebpfpy, on one page.

Every failure that the library reports is an `EbpfError`. Beside that root, an error is also the
builtin exception that a Python programmer would expect:

* input that cannot be what it claims to be is a `ValueError` (`InputError` and below);
* something looked up by name that is not there is a `LookupError` (`NotFoundError` and below);
* a refusal of the kernel is an `OSError` of the matching subclass (`KernelError` and below), so that
  ``except PermissionError`` works and ``errno`` is set.

``str(error)`` is one or two lines. What a program may want to act on (names, offsets, candidates,
the verifier's log) is in attributes; what a person may want to know besides is in the notes.

Errors can be copied and pickled (a process pool hands them from one process to another): the class, the text, the
attributes and the notes stay, the cause and the traceback do not. An attribute that cannot be pickled becomes its text.
"""

from __future__ import annotations

import errno as _errno
import os
from functools import cache
from typing import Any


class EbpfError(Exception):
    """The root: catch this to catch everything that ebpfpy raises on purpose."""

    _made_of: tuple[type[KernelError], int] | None = None
    """For a class that `os_error_class` made, and that has no name to be found by: of what."""

    def __reduce__(self) -> tuple[Any, ...]:
        # by attributes, not by another call of __init__, whose arguments nobody has kept
        args, attributes = (_picklable(part) for part in (self.args, self.__dict__))
        return _revive, (*_named(type(self)), args), attributes

    def __copy__(self) -> EbpfError:
        attributes = {name: list(value) if name == "__notes__" else value for name, value in self.__dict__.items()}
        return _revive(type(self), None, self.args, attributes)

    def __deepcopy__(self, memo: dict[int, Any]) -> EbpfError:
        return self.__copy__()


def _named(cls: type[EbpfError]) -> tuple[type[EbpfError], int | None]:
    """A class that can be imported, and the error number that makes the class itself of it."""
    return cls._made_of or (cls, None)


def _revive(
    cls: type[EbpfError], errno: int | None, args: tuple[Any, ...], attributes: dict[str, Any] | None = None
) -> EbpfError:
    """An error of which only the parts are known."""
    if errno is not None:
        cls = os_error_class(cls, errno)  # type: ignore[arg-type]
    error = cls.__new__(cls)
    (OSError if isinstance(error, OSError) else Exception).__init__(error, *args)
    error.__dict__.update(attributes or {})
    return error


def _picklable(value: Any) -> Any:
    """The value, or what can be pickled of it: an object that cannot be is its text."""
    import pickle

    try:
        pickle.dumps(value)
    except Exception:  # whatever an object's own methods raise
        if isinstance(value, dict):
            return {name: _picklable(part) for name, part in value.items()}
        if type(value) in (tuple, list):
            return type(value)(map(_picklable, value))
        return str(value)
    return value


# --- bad input ---------------------------------------------------------------------------------


class InputError(EbpfError, ValueError):
    """Bytes, or an argument, that cannot be what they claim to be.

    Attributes:
        source: what was being read (a path, a section's name), or None where nobody said.
        offset: the byte offset inside the source where the fault lies, or None.
    """

    def __init__(self, message: str, *, source: str | None = None, offset: int | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.source = source
        self.offset = offset

    def __str__(self) -> str:
        where = f"{self.source}: " if self.source else ""
        at = f" (at byte {self.offset})" if self.offset is not None else ""
        return f"{where}{self.message}{at}"


class BtfError(InputError):
    """Malformed BTF or .BTF.ext."""


class BaseMismatchError(BtfError):
    """Split BTF rests on a distilled base that another base does not match.

    Attributes:
        problems: one `ebpfpy.btf.BaseProblem` for every type of the distilled base that does not fit, by id.
    """

    def __init__(self, message: str, *, problems: tuple[Any, ...] = (), source: str | None = None) -> None:
        super().__init__(message, source=source)
        self.problems = problems


class ElfError(InputError):
    """A malformed or unsuitable ELF file."""


class InstructionError(InputError):
    """Bytes that are no BPF instructions, or an instruction that cannot hold what it should."""


# --- looked up and not found -------------------------------------------------------------------


class NotFoundError(EbpfError, LookupError):
    """Something looked up by name or id that is not there."""


class TypeNotFoundError(NotFoundError):
    """No such BTF type.

    Attributes:
        name: the name (or id) asked for.
        near: similar names that do exist, best first.
    """

    def __init__(self, message: str, *, name: str | int, near: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.near = near


class MemberNotFoundError(NotFoundError, KeyError):
    """No such member in a struct or union.

    Attributes:
        name: the name asked for.
        near: similar names that the type does have, best first.
    """

    def __init__(self, message: str, *, name: str, near: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.near = near

    def __str__(self) -> str:
        return str(self.args[0])  # a KeyError would show the text in quotes


class AmbiguousTypeError(EbpfError, LookupError):
    """More than one BTF type answers to the name.

    Attributes:
        name: the name asked for.
        ids: the ids of all types that answer to it.
    """

    def __init__(self, message: str, *, name: str, ids: tuple[int, ...]) -> None:
        super().__init__(message)
        self.name = name
        self.ids = ids


# --- CO-RE -------------------------------------------------------------------------------------


class RelocationError(EbpfError):
    """A CO-RE relocation that cannot be carried out, whatever the target.

    Attributes:
        program: the name of the program, or None.
        insn: the index of the instruction inside that program, or None.
        relocation: the text of the relocation, or None.
    """

    def __init__(
        self,
        message: str,
        *,
        program: str | None = None,
        insn: int | None = None,
        relocation: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.program = program
        self.insn = insn
        self.relocation = relocation

    def __str__(self) -> str:
        where = f"program {self.program}: " if self.program is not None else ""
        at = f"instruction {self.insn}: " if self.insn is not None else ""
        what = f"{self.relocation}: " if self.relocation is not None else ""
        return f"{where}{at}{what}{self.message}"


class AmbiguousRelocationError(RelocationError):
    """Several target types match a relocation and disagree on its value.

    Attributes:
        candidates: every matching candidate, as text with its spec, id and value.
    """

    def __init__(self, message: str, *, candidates: tuple[str, ...] = (), **where: Any) -> None:
        super().__init__(message, **where)
        self.candidates = candidates


class ExternError(NotFoundError):
    """Something that an object expects of the kernel, and that the kernel does not have.

    Attributes:
        name: of the variable, function or option.
    """

    def __init__(self, message: str, *, name: str) -> None:
        super().__init__(message)
        self.name = name


# --- attaching ---------------------------------------------------------------------------------


class TargetError(EbpfError):
    """An attach target that cannot be used.

    Attributes:
        name: the name of the function or tracepoint, without a module.
        module: the module asked for, or None.
        searched: the places that were searched, in order ("vmlinux", module names).
    """

    def __init__(self, message: str, *, name: str, module: str | None = None, searched: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.name = name
        self.module = module
        self.searched = searched


class TargetNotFoundError(TargetError, LookupError):
    """Nothing in the running kernel answers to the attach target's name."""


class AmbiguousTargetError(TargetError):
    """The attach target's name stands for several functions.

    Attributes:
        candidates: where they are, as "module:function" and type id.
    """

    def __init__(self, message: str, *, candidates: tuple[str, ...] = (), **where: Any) -> None:
        super().__init__(message, **where)
        self.candidates = candidates


# --- the kernel --------------------------------------------------------------------------------


class UnsupportedError(EbpfError, NotImplementedError):
    """Something that this library, this machine or this kernel does not do.

    Attributes:
        feature: what is missing, in words.
        minimum: the first kernel that has it ("5.11"), or None.
    """

    def __init__(self, message: str, *, feature: str | None = None, minimum: str | None = None) -> None:
        super().__init__(message)
        self.feature = feature
        self.minimum = minimum


class ClosedError(EbpfError, ValueError):
    """An object was used after its close()."""


_ENOTSUPP = 524  # the kernel's own number, which no C library knows


class KernelError(EbpfError, OSError):
    """The kernel refused a system call. Raise it through `kernel_error`.

    Attributes:
        errno, strerror: as in every OSError.
        call: the system call or bpf(2) command, by its kernel name ("BPF_PROG_LOAD").
        subject: what it was about ("program on_xmit", "map events").
        hint: what to do about it, or None.
        log: the kernel's log, where the command has one and was given room for it; else "".
        log_true_size: bytes that the whole log needs (6.4), or 0 where the kernel does not say.
    """

    log: str = ""
    log_true_size: int = 0

    def __init__(self, errno: int, call: str, *, subject: str | None = None, hint: str | None = None) -> None:
        super().__init__(errno, "Operation not supported" if errno == _ENOTSUPP else os.strerror(errno))
        self.call = call
        self.subject = subject
        self.hint = hint

    @property
    def errno_name(self) -> str:
        """The symbolic name of the error number, such as "EPERM"."""
        number = self.errno or 0
        return "ENOTSUPP" if number == _ENOTSUPP else _errno.errorcode.get(number, str(number))

    def __str__(self) -> str:
        subject = f"{self.subject}: " if self.subject else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{subject}{self.call}: {self.strerror} [{self.errno_name}]{hint}"


class VerifierError(KernelError):
    """The verifier refused a program.

    Attributes:
        log: the verifier's whole log.
        reason: the verifier's own reason, one line of the log.
        program: the name of the program.
        source_line: where in the source the refused instruction is from ("probe.bpf.c:12: return *p;"), None where
            the object's line information or the log does not say.
    """

    source_line: str | None = None

    def __init__(self, errno: int, *, program: str, log: str, reason: str, hint: str | None = None) -> None:
        super().__init__(errno, "BPF_PROG_LOAD", subject=f"program {program}", hint=hint)
        self.program = program
        self.log = log
        self.reason = reason

    def __str__(self) -> str:
        return self.text("in .log")

    def text(self, log_is: str) -> str:
        """The message, with words for where a reader of it finds the log."""
        hint = f" ({self.hint})" if self.hint else ""
        lines = self.log.count("\n")
        more = f" ({lines} lines of log {log_is})" if lines > 1 else ""
        where = f"\n  at {self.source_line}" if self.source_line else ""
        return f"program {self.program}: {self.reason} [{self.errno_name}]{hint}{more}{where}"


_MIXINS: dict[int, type[OSError]] = {
    _errno.EPERM: PermissionError,
    _errno.EACCES: PermissionError,
    _errno.ENOENT: FileNotFoundError,
    _errno.EEXIST: FileExistsError,
    _errno.EAGAIN: BlockingIOError,
    _errno.EINTR: InterruptedError,
    _errno.ESRCH: ProcessLookupError,
    _errno.ETIMEDOUT: TimeoutError,
}


@cache
def os_error_class(base: type[KernelError], errno: int) -> type[Any]:
    """The subclass of `base` that is also the builtin exception for `errno`, if there is one."""
    mixin = _MIXINS.get(errno)
    if mixin is None:
        return base
    names = {"__module__": base.__module__, "__doc__": base.__doc__, "_made_of": (base, errno)}
    return type(base.__name__, (base, mixin), names)


def kernel_error(errno: int, call: str, *, subject: str | None = None, hint: str | None = None) -> KernelError:
    """A `KernelError` that is also the builtin OSError subclass of `errno`."""
    error: KernelError = os_error_class(KernelError, errno)(errno, call, subject=subject, hint=hint)
    return error


def verifier_error(errno: int, *, program: str, log: str, reason: str, hint: str | None = None) -> VerifierError:
    """A `VerifierError` that is also the builtin OSError subclass of `errno`."""
    error: VerifierError = os_error_class(VerifierError, errno)(
        errno, program=program, log=log, reason=reason, hint=hint
    )
    return error
