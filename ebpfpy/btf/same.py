"""Whether two types have the same structure.

Types form circles, so equality is proved as in mathematics: assume that the two are equal, follow what that means for
the types they refer to, and if no contradiction turns up, they are. Types assumed to be equal are kept in sets
(union-find), so that each step either meets something known or joins two sets: two graphs of n types are compared in
about n steps, however they are tangled. There is no recursion.
"""

from __future__ import annotations

from ebpfpy.errors import BtfError

from . import types as t
from .typebase import check_type
from .unknown import Unknown


def same_type(a: t.Type, b: t.Type) -> bool:
    """Whether two types are equal by structure: kinds, names, sizes, offsets, values, and all types they refer to.

    They may come from different specs, or be built by hand. A declaration (`Fwd`) is not equal to a definition, an enum
    of kind ENUM not to one of kind ENUM64. Tags count where they are part of what a type refers to (`TypeTag`), and
    not where they are only attached to it (`DeclTag`).

    Raises:
        InputError: one of them is no type.
        BtfError: types of an unknown kind, which may be the same or not, decide.
        EbpfError: one of them refers to a type that does not exist, or that is malformed.
    """
    check_type(a)
    check_type(b)
    sets: dict[t.Type, t.Type] = {}
    todo = [(a, b)]
    while todo:
        left, right = todo.pop()
        left_root, right_root = _root(sets, left), _root(sets, right)
        if left_root is right_root:
            continue
        left_look, left_inner = _look(left)
        right_look, right_inner = _look(right)
        if left_look != right_look or len(left_inner) != len(right_inner):
            return False
        if isinstance(left, Unknown):
            raise BtfError(f"{left!r} and {right!r}: nobody knows what in types of that kind makes them the same")
        sets[left_root] = right_root
        todo += zip(left_inner, right_inner, strict=True)
    return True


def _root(sets: dict[t.Type, t.Type], of: t.Type) -> t.Type:
    while of in sets:
        above = sets[of]
        if above in sets:  # halve the way for the next one
            sets[of] = sets[above]
        of = above
    return of


def _look(of: t.Type) -> tuple[tuple[object, ...], list[t.Type]]:
    """What a type is by itself, and the types that it refers to."""
    kind: object = type(of)
    if isinstance(of, t._Target):
        return (kind,), [of.target]
    if isinstance(of, (t.Struct, t.Union)):
        members = [(member.name, member.offset_bits, member.bitfield_size) for member in of.members]
        return (kind, of.name, of.size, *members), [member.type for member in of.members]
    if isinstance(of, t.Typedef):
        return (kind, of.name), [of.target]
    if isinstance(of, t.Array):
        return (kind, of.count), [of.element, of.index]
    if isinstance(of, t.FuncProto):
        return (kind, *(param.name for param in of.params)), [of.result, *(param.type for param in of.params)]
    if isinstance(of, t.Func):
        return (kind, of.name, of.linkage), [of.proto]
    if isinstance(of, t.Int):
        return (kind, of.name, of.size, of.encoding, of.bits, of.bit_offset), []
    if isinstance(of, t.Enum):
        return (kind, of.name, of.size, of.signed, of.is64, of.enumerators), []
    if isinstance(of, t.Fwd):
        return (kind, of.name, of.union), []
    if isinstance(of, t.Float):
        return (kind, of.name, of.size), []
    if isinstance(of, t.TypeTag):
        return (kind, of.name, of.attribute), [of.target]
    if isinstance(of, t.DeclTag):
        return (kind, of.name, of.component, of.attribute), [of.target]
    if isinstance(of, t.Var):
        return (kind, of.name, of.linkage), [of.type]
    if isinstance(of, t.Datasec):
        places = [(place.offset, place.size) for place in of.variables]
        return (kind, of.name, of.size, *places), [place.var for place in of.variables]
    if isinstance(of, Unknown):
        return (kind, int(of.kind), of.name, len(of.words)), []
    return (kind,), []
