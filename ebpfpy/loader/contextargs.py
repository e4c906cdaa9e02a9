"""Parameters that are tagged as the program's context, for kernels that do not understand the tag.

The verifier looks at a global function by itself, and knows of a parameter what its type says. ``void *`` says nothing,
and is not what the program passes on: its context. A declaration tag says what is meant::

    __noinline int first_word(void *ctx __attribute__((btf_decl_tag("arg:ctx"))))

Kernels since 6.8 read the tag. Older ones recognise a context by the name of the structure that the parameter points
to, ``struct __sk_buff`` for tc. So there, after a refusal, the object's BTF is loaded once more with an empty structure
of that name behind all types, and a second version of each such function that takes a pointer to it; the program's
function information leads to the second versions. All other ids stay. libbpf does the same.

One function may be part of programs of several types, whose contexts have several names: there is one BTF object for
each name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import attrs

from ebpfpy import btf
from ebpfpy.btf.kinds import Kind, make_info
from ebpfpy.errors import VerifierError
from ebpfpy.sys import ProgramType as P

from .btfpatch import Patch
from .objectbtf import load_types

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ebpfpy import sys
    from ebpfpy.elf.spec import ProgramSpec

    from .objectbtf import ObjectTypes

    Attempt = Callable[[ProgramSpec, "ObjectTypes | None"], tuple[sys.Fd, str]]

TAG: Final = "arg:ctx"
_REGISTERS = "bpf_user_pt_regs_t"
_PACKETS = (
    *(P.SOCKET_FILTER, P.SCHED_CLS, P.SCHED_ACT, P.CGROUP_SKB, P.FLOW_DISSECTOR, P.SK_SKB),
    *(P.LWT_IN, P.LWT_OUT, P.LWT_XMIT, P.LWT_SEG6LOCAL),
)
_CONTEXTS: Final[Mapping[int, str]] = {
    **dict.fromkeys(_PACKETS, "__sk_buff"),
    P.CGROUP_DEVICE: "bpf_cgroup_dev_ctx",
    P.CGROUP_SOCK: "bpf_sock",
    P.CGROUP_SOCK_ADDR: "bpf_sock_addr",
    P.CGROUP_SOCKOPT: "bpf_sockopt",
    P.CGROUP_SYSCTL: "bpf_sysctl",
    P.KPROBE: _REGISTERS,
    P.NETFILTER: "bpf_nf_ctx",
    P.PERF_EVENT: "bpf_perf_event_data",
    P.RAW_TRACEPOINT: "bpf_raw_tracepoint_args",
    P.RAW_TRACEPOINT_WRITABLE: "bpf_raw_tracepoint_args",
    P.SK_LOOKUP: "bpf_sk_lookup",
    P.SK_MSG: "sk_msg_md",
    P.SK_REUSEPORT: "sk_reuseport_md",
    P.SOCK_OPS: "bpf_sock_ops",
    P.XDP: "xdp_md",
}
"""What the kernel calls the contexts of programs; other types have none with a name."""


class ContextArguments:
    """Loads the programs of one object whose functions have such parameters.

    Args:
        types: the object's BTF in the kernel, None without.
        token_fd: descriptor of a BPF token, or 0.

    The caller closes it.
    """

    def __init__(self, types: ObjectTypes | None, *, token_fd: int = 0) -> None:
        self._types = types
        self._token_fd = token_fd
        self._needed = False
        self._versions: dict[str, tuple[ObjectTypes | None, Mapping[int, int]]] = {}

    def close(self) -> None:
        """Let go of the BTF objects that were made."""
        for types, _ in self._versions.values():
            if types is not None:
                types.handle.close()
        self._versions.clear()

    def load(self, spec: ProgramSpec, attempt: Attempt) -> tuple[sys.Fd, str]:
        """Load a program as it is, and if the verifier refuses it, with the types that an older kernel wants.

        Args:
            spec: the program.
            attempt: loads it with a BTF object.

        Raises:
            EbpfError: as `attempt` raises it, for the program as it is.
        """
        if self._needed:  # as an earlier program has shown
            return attempt(*(self._changed(spec) or (spec, self._types)))
        try:
            return attempt(spec, self._types)
        except VerifierError as refused:
            changed = self._changed(spec)
            if changed is None:
                raise
            try:
                loaded = attempt(*changed)
            except VerifierError:
                raise refused from None
            self._needed = True
            return loaded

    def _changed(self, spec: ProgramSpec) -> tuple[ProgramSpec, ObjectTypes] | None:
        """The program with other functions in its function information, and the BTF that has them."""
        context = _CONTEXTS.get(spec.type)
        if context is None or self._types is None:
            return None
        if context not in self._versions:
            self._versions[context] = self._version(self._types, context)
        types, versions = self._versions[context]
        if types is None or not any(number in versions for _, number in spec.func_infos):
            return None
        functions = tuple((at, versions.get(number, number)) for at, number in spec.func_infos)
        return attrs.evolve(spec, func_infos=functions), types

    def _version(self, types: ObjectTypes, context: str) -> tuple[ObjectTypes | None, Mapping[int, int]]:
        blob, versions = with_contexts(types.spec, context)
        if not versions:
            return None, versions
        loaded, _ = load_types(btf.Spec(blob), name=types.spec.name, token_fd=self._token_fd)
        return loaded, versions


def with_contexts(types: btf.Spec, context: str) -> tuple[bytes, Mapping[int, int]]:
    """BTF with second versions of the functions that have parameters tagged as contexts.

    Args:
        types: the object's types.
        context: the name of the context's structure.

    Returns:
        The blob, and the id of the second version by that of the first; none where there is nothing to change.
    """
    wanted = _tagged(types, context)
    if not wanted:
        return bytes(types.raw), {}
    patch = Patch(types)
    structure = patch.add(patch.name(context), make_info(Kind.STRUCT), 0)
    pointer = patch.add(0, make_info(Kind.PTR), structure)
    versions = {}
    for function, indexes in wanted.items():
        record = patch.place(function)  # u32 name, u32 info, u32 prototype
        prototype = patch.place(patch.get(record + 8))  # u32 0, u32 info, u32 result, then u32 name, u32 type for each
        info = patch.get(prototype + 4)
        words = [0, info, patch.get(prototype + 8)]
        for index in range(info & 0xFFFF):
            at = prototype + 12 + 8 * index
            words += [patch.get(at), pointer if index in indexes else patch.get(at + 4)]
        versions[function] = patch.add(patch.get(record), patch.get(record + 4), patch.add(*words))
    return patch.blob(), versions


def _tagged(types: btf.Spec, context: str) -> dict[int, set[int]]:
    """Global functions by id: which of their parameters are tagged, and are not what the kernel wants by themselves."""
    if TAG.encode() not in bytes(types.raw):
        return {}
    found: dict[int, set[int]] = {}
    for tag in types:
        if isinstance(tag, btf.DeclTag) and tag.name == TAG and isinstance(tag.target, btf.Func):
            function = tag.target
            parameters = function.proto.params if isinstance(function.proto, btf.FuncProto) else ()
            is_parameter = function.linkage == 1 and 0 <= tag.component < len(parameters)
            if is_parameter and _needs_change(parameters[tag.component].type, context):
                found.setdefault(types.type_id(function), set()).add(tag.component)
    return found


def _needs_change(parameter: btf.Type, context: str) -> bool:
    pointer = btf.resolve(parameter)
    if not isinstance(pointer, btf.Pointer):
        return False
    of_registers = context in (_REGISTERS, "bpf_perf_event_data")
    if of_registers and _REGISTERS in _names(pointer.target):
        return False
    target = btf.resolve(pointer.target)
    if isinstance(target, btf.Void):
        return True
    if isinstance(target, btf.Struct):
        return of_registers and target.name == "pt_regs"
    return isinstance(target, btf.Int) and target.size == 8 and context == "bpf_raw_tracepoint_args"


def _names(of: btf.Type) -> Iterable[str]:
    """The names of the typedefs that lead to a type."""
    while isinstance(of, (btf.Typedef, btf.Const, btf.Volatile, btf.Restrict)):
        if isinstance(of, btf.Typedef):
            yield of.name
        of = of.target
