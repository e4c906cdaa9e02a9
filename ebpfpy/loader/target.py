"""Finding what a tracing program attaches to: a type id, and for a module's function the module's BTF object.

``fentry/tun:tun_chr_open`` names a module: only that module's own types are searched. ``fentry/tun_chr_open`` does
not: the kernel is searched, then every loaded module. A name found in two places is an error that lists them; the
first hit never wins by luck. Types that a user supplies for CO-RE are never used: ids must be those of the running
kernel.

What is looked for depends on the attach type: a function (fentry, fexit, fmod_ret), the function ``bpf_lsm_NAME``,
the function ``bpf_iter_NAME``, or the typedef ``btf_trace_NAME`` of a tracepoint. A module's BTF may repeat such a
typedef of the kernel's, so for tracepoints the kernel's own answers first.

Module targets need Linux 5.11; a descriptor of the module's BTF object needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ebpfpy.btf.kinds import Kind
from ebpfpy.errors import AmbiguousTargetError, BtfError, NotFoundError, TargetNotFoundError
from ebpfpy.sys import AttachType

if TYPE_CHECKING:
    from ebpfpy import btf

VMLINUX = "vmlinux"

_PREFIXES = {
    AttachType.TRACE_RAW_TP: ("btf_trace_", Kind.TYPEDEF),
    AttachType.LSM_MAC: ("bpf_lsm_", Kind.FUNC),
    AttachType.LSM_CGROUP: ("bpf_lsm_", Kind.FUNC),
    AttachType.TRACE_ITER: ("bpf_iter_", Kind.FUNC),
    AttachType.TRACE_FENTRY: ("", Kind.FUNC),
    AttachType.TRACE_FEXIT: ("", Kind.FUNC),
    AttachType.MODIFY_RETURN: ("", Kind.FUNC),
}


@attrs.frozen
class AttachTarget:
    """A function (or tracepoint) of the running kernel.

    Attributes:
        name: as the user wrote it, without a module.
        type_id: in the BTF of `module`.
        module: the module that it is in; None for the kernel itself.
    """

    name: str
    type_id: int
    module: str | None = None

    def __str__(self) -> str:
        return f"{self.module or VMLINUX}:{self.name} (type id {self.type_id})"


def needs_target(attach_type: AttachType | None) -> bool:
    """Whether programs of this attach type are loaded with a target."""
    return attach_type in _PREFIXES


def find_target(cache: btf.Cache, attach_type: AttachType, name: str, module: str | None = None) -> AttachTarget:
    """Find an attach target in the running kernel.

    Args:
        cache: the running kernel's types.
        attach_type: says what kind of thing is looked for.
        name: of the function, LSM hook, iterator or tracepoint.
        module: search only there; "vmlinux" for the kernel itself; None for everywhere.

    Raises:
        TargetNotFoundError: nothing answers to the name.
        AmbiguousTargetError: several functions do.
    """
    prefix, kind = _PREFIXES[attach_type]
    wanted = (prefix + name).encode()
    if not name:
        raise TargetNotFoundError("the section's name says no attach target", name=name, module=module)
    if module is not None:
        return _find_in_module(cache, wanted, kind, name, module)
    found = _matches(cache.kernel(), wanted, kind, name, None)
    if not found or kind == Kind.FUNC:
        for spec in cache.modules():
            try:
                found += _matches(spec, wanted, kind, name, spec.name)
            except (BtfError, NotFoundError):  # a malformed module cannot be the one that is meant
                continue
    return _only(cache, found, name, kind)


def _find_in_module(cache: btf.Cache, wanted: bytes, kind: Kind, name: str, module: str) -> AttachTarget:
    if module == VMLINUX:
        spec, label = cache.kernel(), None
    else:
        try:
            spec = cache.module(module)
        except NotFoundError as error:
            raise TargetNotFoundError(f"{module}:{name}: {error}", name=name, module=module) from None
        label = spec.name
    found = _matches(spec, wanted, kind, name, label)
    if not found:
        near = spec.near_names(wanted.decode())
        hint = f"; near: {', '.join(near)}" if near else ""
        raise TargetNotFoundError(
            f"{module}:{name}: {module} has no {_thing(kind, name)}{hint}",
            name=name,
            module=module,
            searched=(module,),
        )
    return _one(found, name, module)


def _matches(spec: btf.Spec, wanted: bytes, kind: Kind, name: str, module: str | None) -> list[AttachTarget]:
    return [
        AttachTarget(name, type_id, module) for type_id in spec.ids_by_name(wanted) if spec.kind_of(type_id) == kind
    ]


def _only(cache: btf.Cache, found: list[AttachTarget], name: str, kind: Kind) -> AttachTarget:
    if found:
        return _one(found, name, None)
    searched = (VMLINUX, *cache.module_names())
    near = cache.kernel().near_names(name)
    hint = f"; near: {', '.join(near)}" if near else ""
    modules = f"nor any of {len(searched) - 1} loaded modules" if len(searched) > 1 else "and no module is loaded"
    raise TargetNotFoundError(
        f"no {_thing(kind, name)}: neither the kernel {modules} ({', '.join(searched)}) has it;"
        f" if a module defines it, load that module first{hint}"
        if len(searched) > 1
        else f"no {_thing(kind, name)}: the kernel does not have it, {modules};"
        f" if a module defines it, load that module first{hint}",
        name=name,
        searched=searched,
    )


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
