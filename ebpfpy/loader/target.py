"""Finding what a tracing program attaches to: a type id, and for a module's function the module's BTF object.

``fentry/tun:tun_chr_open`` names a module: only that module's own types are searched. ``fentry/tun_chr_open`` does
not: the kernel is searched, then every loaded module. A name found in two places is an error that lists them; the
first hit never wins by luck. Types that a user supplies for CO-RE are never used: ids must be those of the running
kernel.

What is looked for depends on the attach type: a function (fentry, fexit, fmod_ret), the function ``bpf_lsm_NAME``,
the function ``bpf_iter_NAME``, or the typedef ``btf_trace_NAME`` of a tracepoint. For all but the first the kernel's
own answers first: there it is a hook, and what a module has of that name (its BTF may repeat such a typedef) is none.

The kernel is asked first (`quicktarget`), which saves walking over its types. Only where that gives no answer are they
searched here, which also tells what is wrong.

Before Linux 6.4 (commit 31bf1dbccfb0, "bpf: Fix attaching fentry/fexit/fmod_ret/lsm to modules") the kernel takes the
address of a module's function by the bare name, from the first symbol of that name anywhere: asked for
``ebpfpy_demo:version_proc_show`` it silently attaches to its own version_proc_show. Kernels with the repair have a
member ``mod`` in struct bpf_prog_aux; on others a module's function is refused when something else has its name, be it
something that has no BTF and that only /proc/kallsyms tells of.

Module targets need Linux 5.11; a descriptor of the module's BTF object needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ebpfpy.btf.kinds import Kind
from ebpfpy.btf.load import NO_MODULE_TYPES, has_module_types, looks_into_modules
from ebpfpy.btf.loadedmodules import SYSFS
from ebpfpy.btf.names import encode_name
from ebpfpy.errors import (
    AmbiguousTargetError,
    BtfError,
    InputError,
    KernelError,
    NotFoundError,
    TargetNotFoundError,
    UnsupportedError,
)
from ebpfpy.sys import AttachType
from ebpfpy.sys.vmlinux import VMLINUX

if TYPE_CHECKING:
    from ebpfpy import btf
    from ebpfpy.btf.loadedmodules import Incarnation

    from .quicktarget import QuickTargets

_LISTED = 8  # modules that a message names; the error has all of them

_PREFIXES = {
    AttachType.TRACE_RAW_TP: ("btf_trace_", Kind.TYPEDEF),
    AttachType.LSM_MAC: ("bpf_lsm_", Kind.FUNC),
    AttachType.LSM_CGROUP: ("bpf_lsm_", Kind.FUNC),
    AttachType.TRACE_ITER: ("bpf_iter_", Kind.FUNC),
    AttachType.TRACE_FENTRY: ("", Kind.FUNC),
    AttachType.TRACE_FEXIT: ("", Kind.FUNC),
    AttachType.MODIFY_RETURN: ("", Kind.FUNC),
    AttachType.TRACE_FSESSION: ("", Kind.FUNC),
}


@attrs.frozen
class AttachTarget:
    """A function (or tracepoint) of the running kernel.

    Attributes:
        name: as the user wrote it, without a module.
        type_id: in the BTF of `module`.
        module: the module that it is in; None for the kernel itself.
        incarnation: which loading of the module (see `ebpfpy.btf.loadedmodules`); None for the kernel itself, and where
            it is not known.
        directory: where that was read.
    """

    name: str
    type_id: int
    module: str | None = None
    incarnation: Incarnation | None = attrs.field(default=None, repr=False, eq=False)
    directory: str = attrs.field(default=SYSFS, repr=False, eq=False)

    def __str__(self) -> str:
        return f"{self.module or VMLINUX}:{self.name} (type id {self.type_id})"


def needs_target(attach_type: AttachType | None) -> bool:
    """Whether programs of this attach type are loaded with a target."""
    return attach_type in _PREFIXES


def find_target(
    cache: btf.Cache,
    attach_type: AttachType,
    name: str,
    module: str | None = None,
    *,
    quick: QuickTargets | None = None,
) -> AttachTarget:
    """Find an attach target in the running kernel.

    Args:
        cache: the running kernel's types.
        attach_type: says what kind of thing is looked for.
        name: of the function, LSM hook, iterator or tracepoint.
        module: search only there; "vmlinux" for the kernel itself; None for everywhere.
        quick: asks the kernel first; None: all types are searched here.

    Raises:
        TargetNotFoundError: nothing answers to the name.
        AmbiguousTargetError: several functions do; before Linux 6.4 also if another function that has no BTF has the
            name of a module's.
        UnsupportedError: this kernel would attach to another function of the same name.
    """
    prefix, kind = _PREFIXES[attach_type]
    wanted = encode_name(prefix + name)
    if not name:
        raise TargetNotFoundError("the section's name says no attach target", name=name, module=module)
    if quick is not None:
        answer = quick.find(wanted, kind, module, is_hook=bool(prefix))
        if answer is not None:
            target = AttachTarget(name, *answer)
            _check_reachable(cache, target, wanted, kind, is_alone=True)
            return target
    if module is not None:
        target = _find_in_module(cache, prefix, kind, name, module)
        _check_reachable(cache, target, wanted, kind)
        return target
    found = _matches(cache.kernel(), wanted, kind, name, None)
    if not found or not prefix:
        found += _matches_in_modules(cache, wanted, kind, name)
    if not found:
        raise _nowhere(cache, prefix, kind, name)
    target = _one(found, name, None)
    _check_reachable(cache, target, wanted, kind)
    return target


def _matches_in_modules(cache: btf.Cache, wanted: bytes, kind: Kind, name: str) -> list[AttachTarget]:
    found = []
    for spec in cache.modules():
        try:
            found += _matches(spec, wanted, kind, name, spec.name)
        except (BtfError, NotFoundError):  # a malformed module cannot be the one that is meant
            continue
    return found


def _check_reachable(
    cache: btf.Cache, target: AttachTarget, wanted: bytes, kind: Kind, *, is_alone: bool = False
) -> None:
    """Refuse a module's function that this kernel would mistake for another.

    Args:
        cache: the running kernel's types.
        target: the function.
        wanted: the name of its type.
        kind: of its type.
        is_alone: no other type has that name.
    """
    if target.module is None or kind != Kind.FUNC or looks_into_modules(cache.kernel()):
        return
    all_of_that_name: list[AttachTarget] = []
    if not is_alone:
        all_of_that_name += _matches(cache.kernel(), wanted, kind, target.name, None)
        all_of_that_name += _matches_in_modules(cache, wanted, kind, target.name)
    others = [str(other) for other in all_of_that_name if other.module != target.module]
    if others:
        raise UnsupportedError(
            f"{target}: this kernel finds functions by the bare name and may attach to {', '.join(others)} instead;"
            " Linux 6.4 looks into the module",
            feature="attaching to a module's function whose name something else has too",
            minimum="6.4",
        )
    try:
        symbols = cache.code_symbols(target.name)
    except KernelError:
        return
    if len(symbols) > 1:
        texts = tuple(f"{each.module or VMLINUX}:{each.name} at {each.address:#x}" for each in symbols)
        raise AmbiguousTargetError(
            f"{target}: this kernel finds functions by the bare name, and {len(texts)} have it: {', '.join(texts)};"
            " Linux 6.4 looks into the module",
            candidates=texts,
            name=target.name,
            module=target.module,
            searched=tuple(sorted({each.module or VMLINUX for each in symbols})),
        )


def _find_in_module(cache: btf.Cache, prefix: str, kind: Kind, name: str, module: str) -> AttachTarget:
    label = None
    if module == VMLINUX:
        spec = cache.kernel()
    else:
        try:
            spec = cache.module(module)
        except (NotFoundError, InputError) as error:
            if isinstance(error, BtfError):
                raise
            raise TargetNotFoundError(
                f"{module}:{name}: {error}", name=name, module=module, searched=(module,)
            ) from None
        label = spec.name
    found = _matches(spec, encode_name(prefix + name), kind, name, label)
    if not found:
        raise TargetNotFoundError(
            f"{module}:{name}: {module} has no {_thing(kind, name)}{_near(spec, prefix, name)}",
            name=name,
            module=module,
            searched=(module,),
        )
    return _one(found, name, module)


def _matches(spec: btf.Spec, wanted: bytes, kind: Kind, name: str, module: str | None) -> list[AttachTarget]:
    ids = spec.ids_by_name(wanted, (kind,))
    return [AttachTarget(name, type_id, module, spec.incarnation) for type_id in ids]


def _nowhere(cache: btf.Cache, prefix: str, kind: Kind, name: str) -> TargetNotFoundError:
    modules = cache.module_names()
    if not modules and not has_module_types(cache.kernel()):
        kprobes = "" if prefix else "; programs reach the functions of its modules by kprobes only"
        return TargetNotFoundError(
            f"no {_thing(kind, name)}: the kernel does not have it, and {NO_MODULE_TYPES}{kprobes}"
            f"{_near(cache.kernel(), prefix, name)}",
            name=name,
            searched=(VMLINUX,),
        )
    some = ", ".join([*modules[:_LISTED], "..."] if len(modules) > _LISTED else modules)
    searched = f"{len(modules)} searched: {some}" if modules else "none that has BTF is loaded"
    return TargetNotFoundError(
        f"no {_thing(kind, name)}: the kernel does not have it, and no loaded module has it ({searched});"
        f" if a module defines it, load that module first{_near(cache.kernel(), prefix, name)}",
        name=name,
        searched=(VMLINUX, *modules),
    )


def _near(spec: btf.Spec, prefix: str, name: str) -> str:
    names = [near.removeprefix(prefix) for near in spec.near_names(prefix + name)]
    return f"; near: {', '.join(names)}" if names else ""


def _one(found: list[AttachTarget], name: str, module: str | None) -> AttachTarget:
    if len(found) == 1:
        return found[0]
    texts = tuple(map(str, found))
    places = {target.module for target in found}
    remedy = (
        'name the module: SEC("fentry/MODULE:FUNCTION")'
        if len(places) > 1
        else "the kernel's BTF describes several functions of that name, and it cannot be told which address is meant"
    )
    raise AmbiguousTargetError(
        f"{name} is found {len(found)} times: {', '.join(texts)}; {remedy}",
        candidates=texts,
        name=name,
        module=module,
        searched=tuple(sorted(place or VMLINUX for place in places)),
    )


def _thing(kind: Kind, name: str) -> str:
    return f"tracepoint {name!r}" if kind == Kind.TYPEDEF else f"function {name!r}"
