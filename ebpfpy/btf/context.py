"""What a tracing program gets as its context: the arguments of what it attaches to, by name and type.

The kernel hands fentry, LSM and raw tracepoint programs an array of 8-byte slots. Which argument is in which slot, and
what the verifier lets a program read, follows from BTF (``btf_distill_func_proto``, ``get_ctx_arg_idx`` and
``btf_ctx_access`` in kernel/bpf/btf.c):

* An argument begins at the next free slot. A number or a pointer takes one; a struct, union or 128-bit number that is
  passed by value takes as many as its bytes need, and may have 16 at most.
* More than 12 arguments, or "..." among them, and nothing can attach.
* fexit, fsession, fmod_ret and LSM programs find the result in the slot behind the last argument; there is none if the
  function returns nothing.
* A slot is read from its start, with up to as many bytes as the number has. On big-endian machines a number lies at the
  slot's end: there the whole slot has to be read.

For example ``fexit/tcp_sendmsg``, where BTF has ``int tcp_sendmsg(struct sock *sk, struct msghdr *msg, size_t size)``::

    struct fexit_tcp_sendmsg {
            struct sock *sk;            slot 0
            struct msghdr *msg;         slot 1
            size_t size;                slot 2
            int ret;                    slot 3
    };

A tracepoint's arguments have names nowhere but in functions that the kernel makes for it: ``__traceiter_NAME``
(Linux 5.10), ``__probestub_NAME`` (6.6), ``__bpf_trace_NAME``. The typedef ``btf_trace_NAME``, by which programs
attach, has the types; a function whose types are others (there is one for several tracepoints of a class) is passed
over. What has no name, or one that C does not allow, is called arg0, arg1, ...
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ebpfpy.errors import AmbiguousTypeError, BtfError, InputError, NotFoundError, TypeNotFoundError, UnsupportedError
from ebpfpy.sys.vmlinux import VMLINUX

from . import types as t
from .ccontext import context_text, declaration, type_text
from .cformat import format_c
from .cnames import KEYWORDS, KEYWORDS_C23, identifier
from .kinds import Kind
from .layout import resolve, sizeof
from .names import encode_name
from .same import same_type
from .spec import Spec, spec_list

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_ARGUMENTS: Final = 12
MAX_ARGUMENT_SIZE: Final = 16
"""Bytes of an argument that is passed by value."""
SLOT: Final = 8

_FUNCTIONS = {"fentry": False, "fexit": True, "fsession": True, "fmod_ret": True}  # with the result behind?
_TRACEPOINTS = frozenset({"tp_btf", "raw_tp", "raw_tracepoint"})
_HOOKS = frozenset({"lsm", "lsm_cgroup"})
_NAMES_OF_RESULT = ("ret", "retval", "result_")
_VERIFIED = {
    "__nullable": "may be NULL: compare it before it is used",
    "__ign": "the verifier does not look at it",
}
_AT_THE_END = "NULL when there are no more"


class ContextArgument(NamedTuple):
    """One argument, or the result.

    Attributes:
        name: as C allows it, and different from all others.
        type: as BTF has it.
        slot: the first of its slots: it lies at byte ``8 * slot`` of the context.
        slots: how many it takes.
        note: what a program has to know about it, or None.
    """

    name: str
    type: t.Type
    slot: int
    slots: int
    note: str | None

    @property
    def in_slots(self) -> bool:
        """Whether it is passed by value, in whole slots, instead of a number or pointer in one."""
        kind = resolve(self.type)
        return isinstance(kind, (t.Struct, t.Union)) or (isinstance(kind, t.Int) and kind.size > SLOT)


class Context(NamedTuple):
    """What a program gets.

    Attributes:
        section: what to write in ``SEC()``.
        module: the module whose types these are; None for the kernel's own.
        name: of the struct: ``fentry_tcp_sendmsg``.
        prototype: of the function, in C.
        arguments: in order.
        result: what the function returned; None where the program gets none.
        byte_order: of the machine.
    """

    section: str
    module: str | None
    name: str
    prototype: str
    arguments: tuple[ContextArgument, ...]
    result: ContextArgument | None
    byte_order: str

    @property
    def slots(self) -> tuple[ContextArgument, ...]:
        """The arguments, and the result if there is one."""
        return self.arguments if self.result is None else (*self.arguments, self.result)

    @property
    def size(self) -> int:
        """Bytes of the context."""
        return SLOT * sum(each.slots for each in self.slots)

    def c(self) -> str:
        """The context as a C struct, to be put behind ``#include "vmlinux.h"`` (and a module's header).

        Pointers have their types, so CO-RE works on what they point at. The struct itself is no type of the kernel and
        must not be relocated: keep it out of ``#pragma clang attribute push (... preserve_access_index ...)``. What
        does not lie in its slot as C would put it there has an accessor: an inline function ``NAME__ARGUMENT(ctx)``.
        """
        return context_text(self)

    def as_dict(self) -> dict[str, Any]:
        """The context as JSON-ready data."""
        return {
            "section": self.section,
            "module": self.module,
            "struct": self.name,
            "prototype": self.prototype,
            "size": self.size,
            "arguments": [_described(each) for each in self.arguments],
            "result": _described(self.result) if self.result is not None else None,
        }


def context_of(kernel_types: Spec | Iterable[Spec], section: str) -> Context:
    """The context of programs in a section.

    Args:
        kernel_types: of the kernel; with a module's behind it, for what the module has.
        section: what stands in ``SEC()``: ``fentry/tcp_sendmsg``, ``fexit/tun:tun_chr_open``, ``tp_btf/sched_switch``,
            ``raw_tp/sys_enter``, ``lsm/file_open``, ``iter/task``, ``struct_ops/tcp_congestion_ops:ssthresh``.

    Raises:
        TypeNotFoundError: there is no such function, tracepoint, hook, iterator or member.
        AmbiguousTypeError: there are several; name the module in front: ``fentry/MODULE:FUNCTION``.
        UnsupportedError: programs cannot attach to it, because of its arguments; the error says why.
        InputError: programs in that section have no such arguments.
    """
    specs = [kernel_types] if isinstance(kernel_types, Spec) else spec_list(kernel_types)
    if not isinstance(section, str):
        raise InputError(f"a section's name is a string, not {section!r}")
    kind, slash, name = section.removeprefix("?").partition("/")
    base_kind = kind.partition(".")[0]
    if not slash or not name:
        raise InputError(f"{section!r} names nothing to attach to: write KIND/NAME, as in fentry/tcp_sendmsg")
    module: str | None = None
    if base_kind in _FUNCTIONS and ":" in name:
        module, _, name = name.partition(":")
        module = module.replace("-", "_")
        specs = [spec for spec in specs if _label(spec) == module]
        if not specs:
            raise TypeNotFoundError(f"{section}: no types of {module} are among those given", name=name)
    prefix = identifier(f"{base_kind}_{name.replace(':', '_').replace('.', '_')}")
    if base_kind in _FUNCTIONS:
        spec, function = _one(specs, name, section)
        return _context(section, spec, prefix, function.proto, function, returns=_FUNCTIONS[base_kind])
    if base_kind in _HOOKS:
        spec, function = _one(specs, f"bpf_lsm_{name}", section)
        return _context(section, spec, prefix, function.proto, function, returns=True)
    if base_kind in _TRACEPOINTS:
        return _tracepoint(specs, section, name, prefix)
    if base_kind == "iter":
        return _iterator(specs, section, name, prefix)
    if base_kind == "struct_ops":
        return _operation(specs, section, name, prefix)
    raise InputError(
        f"{section!r}: programs of this kind do not get arguments in slots: those of fentry, fexit, fmod_ret, fsession,"
        " tp_btf, raw_tp, lsm, iter and struct_ops do"
    )


def why_not_followed(proto: t.Type) -> str | None:
    """Why the verifier cannot describe a function's arguments to a program (btf_distill_func_proto); None if it can."""
    if not isinstance(proto, t.FuncProto):
        return "its prototype is none"
    params = proto.params
    if params and not params[-1].name and isinstance(resolve(params[-1].type), t.Void):
        return "it takes a variable number of arguments"
    if len(params) > MAX_ARGUMENTS:
        return f"it takes {len(params)} arguments, {MAX_ARGUMENTS} at most can be followed"
    result = resolve(proto.result)
    if isinstance(result, (t.Struct, t.Union)):
        return "it returns a struct by value"
    if not isinstance(result, (t.Void, t.Int, t.Enum, t.Pointer)):
        return "what it returns is neither a number nor a pointer"
    for param in params:
        kind = resolve(param.type)
        if isinstance(kind, (t.Struct, t.Union, t.Int)) and kind.size > MAX_ARGUMENT_SIZE:
            return (
                f"its argument {param.name or '?'} is {kind.size} bytes by value,"
                f" {MAX_ARGUMENT_SIZE} at most can be followed"
            )
        if not isinstance(kind, (t.Struct, t.Union, t.Int, t.Enum, t.Pointer)):
            return f"its argument {param.name or '?'} is neither a number, a pointer nor a struct"
    return None


# --- finding ------------------------------------------------------------------------------------------


def _label(spec: Spec) -> str:
    return spec.name.replace("-", "_") if spec.split else VMLINUX


def _search(specs: Iterable[Spec], name: str, kind: Kind) -> list[tuple[Spec, t.Type]]:
    found = []
    for spec in specs:
        try:
            found += [(spec, spec.type_by_id(each)) for each in spec.ids_by_name(encode_name(name), (kind,))]
        except (BtfError, NotFoundError):
            if not spec.split:
                raise
    return found


def _one(specs: list[Spec], name: str, section: str) -> tuple[Spec, t.Func]:
    found = _search(specs, name, Kind.FUNC)
    if not found:
        near = specs[0].near_names(name) if specs else ()
        text = f"{section}: BTF has no function {name}{'; near: ' if near else ''}{', '.join(near)}"
        raise TypeNotFoundError(text, name=name, near=near)
    if len(found) > 1:
        places = ", ".join(f"{_label(spec)} (id {spec.type_id(each)})" for spec, each in found)
        ids = tuple(spec.type_id(each) for spec, each in found)
        raise AmbiguousTypeError(f"{section}: several functions are called {name}: {places}", name=name, ids=ids)
    spec, function = found[0]
    assert isinstance(function, t.Func)
    why = why_not_followed(function.proto)
    if why is not None:
        raise UnsupportedError(f"{section}: programs cannot attach to {name}: {why}", feature="its arguments")
    return spec, function


def _tracepoint(specs: list[Spec], section: str, name: str, prefix: str) -> Context:
    found = _search(specs, f"btf_trace_{name}", Kind.TYPEDEF)
    if not found:
        near = [each.removeprefix("btf_trace_") for each in specs[0].near_names(f"btf_trace_{name}")] if specs else []
        text = f"{section}: BTF has no tracepoint {name}{'; near: ' if near else ''}{', '.join(near)}"
        raise TypeNotFoundError(text, name=name, near=tuple(near))
    spec, typedef = found[0]
    pointer = resolve(typedef)
    proto = resolve(pointer.target) if isinstance(pointer, t.Pointer) else pointer
    if not isinstance(proto, t.FuncProto) or not proto.params:
        raise BtfError(f"{section}: btf_trace_{name} is not a pointer to a function")
    params = proto.params[1:]  # without void *__data, which programs do not get
    why = why_not_followed(t.FuncProto(proto.result, params))
    if why is not None:
        raise UnsupportedError(f"{section}: programs cannot attach to {name}: {why}", feature="its arguments")
    for function in ("__traceiter_", "__probestub_", "__bpf_trace_"):
        named = _same_types(_search([spec], function + name, Kind.FUNC), params)
        if named:
            params = named
            break
    context = _context(section, spec, prefix, t.FuncProto(proto.result, params), None, returns=False)
    shown = ", ".join(declaration(each.type, each.name) for each in context.arguments)
    return context._replace(prototype=f"tracepoint {name}({shown})")


def _same_types(found: list[tuple[Spec, t.Type]], wanted: tuple[t.Param, ...]) -> tuple[t.Param, ...]:
    for _, function in found:
        proto = function.proto if isinstance(function, t.Func) else None
        if isinstance(proto, t.FuncProto) and len(proto.params) == len(wanted) + 1:
            params = proto.params[1:]
            if all(each.type is other.type or same_type(each.type, other.type)
                   for each, other in zip(params, wanted, strict=True)):  # fmt: skip
                return params
    return ()


def _iterator(specs: list[Spec], section: str, name: str, prefix: str) -> Context:
    found = _search(specs, f"bpf_iter__{name}", Kind.STRUCT)
    if not found:
        raise TypeNotFoundError(f"{section}: BTF has no struct bpf_iter__{name}", name=name)
    spec, struct = found[0]
    assert isinstance(struct, t.Struct)
    taken: set[str] = set()
    arguments = []
    for at, member in enumerate(struct.members):
        inner = _only_member(member)
        note = _AT_THE_END if isinstance(resolve(inner.type), t.Pointer) and inner.name != "meta" else None
        arguments.append(ContextArgument(_name(inner.name, at, taken), inner.type, member.offset // SLOT, 1, note))
    return Context(section, _module(spec), prefix, f"struct bpf_iter__{name}", tuple(arguments), None, spec.byte_order)


def _only_member(member: t.Member) -> t.Member:
    """What is inside ``union { struct task_struct *task; __u64 :64; }``: the kernel wraps pointers into these."""
    inner = resolve(member.type)
    if isinstance(inner, t.Union) and not inner.name and inner.members:
        return inner.members[0]
    return member


def _operation(specs: list[Spec], section: str, name: str, prefix: str) -> Context:
    structure, _, wanted = name.partition(":")
    found = _search(specs, structure, Kind.STRUCT)
    if not found:
        raise TypeNotFoundError(f"{section}: BTF has no struct {structure}", name=structure)
    spec, struct = found[0]
    assert isinstance(struct, t.Struct)
    member = next((each for each in struct.members if each.name == wanted), None)
    pointer = resolve(member.type) if member is not None else None
    proto = resolve(pointer.target) if isinstance(pointer, t.Pointer) else None
    if not isinstance(proto, t.FuncProto):
        raise TypeNotFoundError(f"{section}: struct {structure} has no function {wanted!r}", name=name)
    why = why_not_followed(proto)
    if why is not None:
        raise UnsupportedError(f"{section}: programs cannot implement {wanted}: {why}", feature="its arguments")
    context = _context(section, spec, prefix, proto, None, returns=False)
    return context._replace(prototype=f"struct {structure}.{wanted}")


# --- slots --------------------------------------------------------------------------------------------


def _context(section: str, spec: Spec, name: str, proto: t.Type, function: t.Func | None, *, returns: bool) -> Context:
    assert isinstance(proto, t.FuncProto)
    taken: set[str] = set()
    arguments = []
    slot = 0
    for at, param in enumerate(proto.params):
        slots = -(-sizeof(param.type) // SLOT) or 1
        note = next((text for suffix, text in _VERIFIED.items() if (param.name or "").endswith(suffix)), None)
        arguments.append(ContextArgument(_name(param.name, at, taken), param.type, slot, slots, note))
        slot += slots
    result = None
    if returns and not isinstance(resolve(proto.result), t.Void):
        ret = next(each for each in _NAMES_OF_RESULT if each not in taken)
        result = ContextArgument(ret, proto.result, slot, 1, None)
    prototype = format_c(function).strip().removesuffix(";").removeprefix("static ") if function is not None else ""
    return Context(section, _module(spec), name, prototype, tuple(arguments), result, spec.byte_order)


def _module(spec: Spec) -> str | None:
    return _label(spec) if spec.split else None


def _name(name: str, at: int, taken: set[str]) -> str:
    made = identifier(name)
    if not made or name in KEYWORDS or name in KEYWORDS_C23 or made in taken:
        made = f"arg{at}"
    taken.add(made)
    return made


def _described(argument: ContextArgument) -> dict[str, Any]:
    return {
        "name": argument.name,
        "type": type_text(argument.type),
        "offset": SLOT * argument.slot,
        "size": sizeof(argument.type),
        "note": argument.note,
    }
