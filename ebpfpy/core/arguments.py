"""What the arguments of an attach target lead to: evidence for which of two namesakes a program means.

``struct bictcp`` is in vmlinux (TCP cubic's), and a module may have another one of that name. A program on the
module's ``int demo_clash(struct bictcp *own)`` that reads ``own->cnt`` means the module's, and the module's own types
say so: the function's prototype refers to that one by its id. The same holds for what is reached from there: a member
that points to another type of the module, and so on.

Only the module's own types are followed: those of the kernel below it refer to nothing of the module.

What a target is depends on the program: a function (``FUNC demo_clash``), the function behind an iterator (``FUNC
bpf_iter_demo``), or a tracepoint (``TYPEDEF btf_trace_demo``, of a pointer to the prototype).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.btf.kinds import MODIFIERS, Kind
from ebpfpy.btf.names import encode_name
from ebpfpy.errors import BtfError, NotFoundError

from .rawtypes import raw_types

if TYPE_CHECKING:
    from ebpfpy.btf import Spec

    from .rawtypes import RawTypes, Record

_ONWARD = frozenset({Kind.PTR, *MODIFIERS})
_COMPOSITE = (Kind.STRUCT, Kind.UNION)
_TARGETS = (("{}", Kind.FUNC), ("bpf_iter_{}", Kind.FUNC), ("btf_trace_{}", Kind.TYPEDEF))


class Arguments:
    """What the arguments and the result of one function of a module lead to.

    Attributes:
        named: ids of the types that the prototype itself names, through pointers, arrays and typedefs.
        reached: ids of the types that the module's own ones among them lead to.
    """

    __slots__ = ("named", "reached")

    def __init__(self, spec: Spec, target: str) -> None:
        self.named: set[int] = set()
        self.reached: set[int] = set()
        types = raw_types(spec)
        try:
            for start in _prototypes(spec, types, target):
                self.named |= _closure(types, start, spec.first_id, through_members=False)
                self.reached |= _closure(types, start, spec.first_id, through_members=True)
        except (BtfError, NotFoundError):  # malformed types are no evidence; who needs them will find out
            self.named, self.reached = set(), set()


def _prototypes(spec: Spec, types: RawTypes, target: str) -> list[int]:
    """The one prototype that a target's name stands for, or none."""
    for form, kind in _TARGETS:
        found = spec.ids_by_name(encode_name(form.format(target)), (kind,))
        if len(found) == 1:
            under = types.under(found[0])
            refers = under.value if under.kind in (Kind.FUNC, Kind.PTR) else 0
            return [refers] if types.record(refers).kind == Kind.FUNC_PROTO else []
        if found:
            break
    return []


def _closure(types: RawTypes, start: int, first_own: int, *, through_members: bool) -> set[int]:
    """The ids of all that a type leads to; a struct's members only if wanted, and if it is one of the module's own."""
    found: set[int] = set()
    todo = [start]
    while todo:
        type_id = todo.pop()
        if type_id and type_id not in found:
            found.add(type_id)
            todo += _next(types, types.record(type_id), through_members and type_id >= first_own)
    return found


def _next(types: RawTypes, record: Record, through_members: bool) -> list[int]:
    if record.kind in _ONWARD:
        return [record.value]
    if record.kind == Kind.ARRAY:
        return [types.array(record)[0]]
    if record.kind == Kind.FUNC_PROTO:
        return [record.value, *types.params(record)]
    if record.kind in _COMPOSITE and through_members:
        return types.members(record).types
    return []
