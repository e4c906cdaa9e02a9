"""fentry.multi, fexit.multi and fsession.multi: one link at many functions, by their types (Linux 7.2).

Such a program is loaded for no function: its context is what every function has, six arguments as plain numbers, which
``bpf_get_func_arg()`` reads, and whatever the verifier can tell of them is nothing. Attached, it runs at all the
functions whose type ids the link was given. They all lie in one BTF: the kernel's, or that of the module that the
program was loaded with (``fentry.multi/MODULE:PATTERN``).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final

from ebpfpy import btf, sys
from ebpfpy.btf.context import why_not_followed
from ebpfpy.btf.manynames import ids_by_names
from ebpfpy.btf.names import encode_name
from ebpfpy.errors import InputError, TargetNotFoundError, UnsupportedError
from ebpfpy.sys import AttachType, LinkType, ProgramType
from ebpfpy.sys.vmlinux import VMLINUX

from .link import Link
from .refusal import attaching, check_cookie, check_type
from .symbols import traceable

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ebpfpy.loader import Program

_KINDS: Final = {
    AttachType.TRACE_FENTRY_MULTI: "fentry.multi",
    AttachType.TRACE_FEXIT_MULTI: "fexit.multi",
    AttachType.TRACE_FSESSION_MULTI: "fsession.multi",
}
_HINTS: Final = {
    errno.ENOENT: "one of the functions cannot be traced",
    errno.EINVAL: "one of the functions cannot be traced, or is given twice",
    errno.EBUSY: "one of the functions is already patched by something else",
}


def attach_tracing_multi(
    program: Program,
    pattern: str | None = None,
    *,
    functions: Sequence[str] = (),
    cookies: Sequence[int] = (),
    types: btf.Spec | None = None,
) -> Link:
    """Attach a program to many functions at once (Linux 7.2; CAP_PERFMON).

    Args:
        program: of a section fentry.multi, fexit.multi or fsession.multi.
        pattern: all functions with such a name that can be traced: ``*`` stands for any characters, ``?`` for one.
            None: what the program's section says, unless functions are given.
        functions: instead, the functions' names.
        cookies: one for each of `functions`: what bpf_get_attach_cookie() returns there.
        types: of the running kernel, or of the module that the program was loaded with; read anew if they are not
            given, so give them where many programs are attached (`btf.Cache` keeps them).

    Returns:
        The link; the caller closes it.

    Raises:
        TargetNotFoundError: nothing matches, or there is no such function, or several of that name.
        InputError: a pattern and functions; cookies without functions, or of another number.
        UnsupportedError: the kernel has no such links; or tracefs, which lists what can be traced, is not mounted.
        KernelError: the kernel refused.
    """
    check_type(program, "fentry.multi, fexit.multi and fsession.multi", ProgramType.TRACING)
    attach_type = program.spec.attach_type
    if attach_type not in _KINDS:
        raise InputError(f"program {program.name} ({program.spec.section}) is not for many functions")
    if pattern and functions:
        raise InputError(f"program {program.name}: give a pattern, or functions")
    if cookies and len(cookies) != len(functions):
        raise InputError(f"program {program.name}: {len(cookies)} cookies for {len(functions)} functions")
    for cookie in cookies:
        check_cookie(cookie)
    module = program.spec.attach_module
    kind = _KINDS[attach_type]
    spec = types if types is not None else _types(module)
    if functions:
        ids = [_id_of(spec, name, program) for name in functions]
        what = functions[0] if len(functions) == 1 else f"{len(functions)} functions"
    else:
        what = pattern or program.spec.attach_to
        if not what:
            raise InputError(
                f"program {program.name}: section {program.spec.section!r} names no function:"
                " use link.attach_tracing_multi(program, pattern)"
            )
        ids = followable(spec, {each.name for each in traceable(f"{module or VMLINUX}:{what}")})
        if not ids:
            raise TargetNotFoundError(
                f"program {program.name}: {kind}: no function that can be traced matches {what!r}",
                name=what,
                module=module,
                searched=(module or VMLINUX,),
            )
    text = f"{program.name} to {kind} {f'{module}:' if module else ''}{what}"
    options = sys.TracingMultiOptions(ids, cookies)
    with attaching(text, LinkType.TRACING_MULTI, feature=kind, attach_type=attach_type, hints=_HINTS):
        return Link(sys.link_create(program, attach_type=attach_type, options=options), text)


def _types(module: str | None) -> btf.Spec:
    if module in (None, VMLINUX):
        return btf.load_kernel_spec()
    return btf.load_kernel_module_spec(module or "")


def _id_of(spec: btf.Spec, name: str, program: Program) -> int:
    ids = spec.ids_by_name(encode_name(name), (btf.Kind.FUNC,))
    if len(ids) != 1:
        near = ", ".join(spec.near_names(name)) if not ids else ""
        what = f"is there {len(ids)} times" if ids else f"is not there{near and '; near: '}{near}"
        raise TargetNotFoundError(
            f"program {program.name}: function {name!r} {what}", name=name, searched=(spec.name or VMLINUX,)
        )
    why = _why_not(spec, ids[0])
    if why is not None:
        raise UnsupportedError(f"program {program.name}: {name}: {why}", feature="its arguments")
    return ids[0]


def followable(spec: btf.Spec, names: Collection[str]) -> list[int]:
    """The ids of the functions of these names that have theirs alone, and whose arguments can be followed."""
    found = ids_by_names(spec, {encode_name(name) for name in names}, (btf.Kind.FUNC,))
    alone = sorted(ids[0] for ids in found.values() if len(ids) == 1)
    return [number for number in alone if _why_not(spec, number) is None]


def _why_not(spec: btf.Spec, number: int) -> str | None:
    function = spec.type_by_id(number)
    return why_not_followed(function.proto) if isinstance(function, btf.Func) else None
