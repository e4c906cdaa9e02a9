"""Sizes, alignments, and what is under the typedefs. No recursion: types can be nested to any depth."""

from __future__ import annotations

from ebpfpy.errors import BtfError

from . import types as t
from .typebase import check_type
from .ways import Ways

MAX_DEPTH = 10_000
"""Longer chains of arrays, and of types built by hand, than this are cycles or attacks."""
_SHORT = 32
"""Chains that are walked, from object to object; the ends of longer ones are remembered."""

DECORATIONS = (t.Typedef, t.Volatile, t.Const, t.Restrict, t.TypeTag)


def resolve(of: t.Type) -> t.Type:
    """The type under all typedefs, qualifiers and type tags.

    Raises:
        BtfError: they form a cycle.
        InputError: it is no type.
    """
    current = of
    for step in range(MAX_DEPTH):
        if not isinstance(current, DECORATIONS):
            check_type(current)
            return current
        if step >= _SHORT and current._spec is not None:
            spec = current._spec
            return spec.type_by_id(Ways.end(spec, spec.type_id(current)))
        current = current.target
    raise BtfError(f"{of!r}: typedefs and qualifiers form a cycle")


def sizeof(of: t.Type) -> int:
    """The size in bytes.

    Raises:
        BtfError: the type has no size (void, a function, a forward declaration), or its chain is a cycle.
    """
    current, count = of, 1
    for step in range(MAX_DEPTH):
        if isinstance(current, t.Array):
            count *= current.count
            current = current.element
        elif isinstance(current, DECORATIONS):
            current = current.target if step < _SHORT else resolve(current)
        elif isinstance(current, t.Var):
            current = current.type
        elif isinstance(current, t.Pointer):
            return count * _pointer_size(current)
        elif isinstance(current, (t.Int, t.Float, t.Struct, t.Union, t.Enum, t.Datasec)):
            return count * current.size
        else:
            raise BtfError(f"{current!r} has no size")
    raise BtfError(f"{of!r}: its size depends on itself")


def alignof(of: t.Type) -> int:
    """The alignment in bytes, as a C compiler would choose it: 1 for a packed struct.

    Raises:
        BtfError: the type has no alignment, or depends on itself.
    """
    check_type(of)
    known: dict[t.Type, int] = {}
    inside: set[t.Type] = set()
    stack = [of]
    while stack:
        current = stack[-1]
        if current in known:
            stack.pop()
            continue
        inner = _aligned_like(current)
        missing = [each for each in inner if each not in known]
        if not missing:
            stack.pop()
            inside.discard(current)
            known[current] = _alignment(current, [known[each] for each in inner])
            continue
        if current in inside:
            raise BtfError(f"{of!r}: its alignment depends on itself")
        inside.add(current)
        stack += missing
    return known[of]


def _aligned_like(of: t.Type) -> list[t.Type]:
    """The types that decide the alignment of `of`, member by member."""
    if isinstance(of, t.Array):
        return [of.element]
    if isinstance(of, DECORATIONS):
        return [of.target if of._spec is None else resolve(of)]
    if isinstance(of, (t.Struct, t.Union)):
        return [member.type for member in of.members]
    return []


def _alignment(of: t.Type, inner: list[int]) -> int:
    if isinstance(of, t.Pointer):
        return _pointer_size(of)
    if isinstance(of, (t.Int, t.Float, t.Enum)):
        return max(1, min(of.size, _pointer_size(of)))
    if isinstance(of, (t.Struct, t.Union)):
        for member, align in zip(of.members, inner, strict=True):
            if not member.bitfield_size and member.offset_bits % (align * 8):
                return 1  # packed
        largest = max(inner, default=1)
        return largest if of.size % largest == 0 else 1
    if isinstance(of, (t.Array, *DECORATIONS)):
        return inner[0]
    raise BtfError(f"{of!r} has no alignment")


def _pointer_size(of: t.Type) -> int:
    return of.spec.pointer_size if of.spec is not None else 8
