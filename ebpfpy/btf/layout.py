"""Sizes, alignments, and what is under the typedefs. No recursion: types can be nested to any depth."""

from __future__ import annotations

from ebpfpy.errors import BtfError

from . import types as t
from .typebase import check_type
from .ways import Ways

MAX_DEPTH = 10_000
"""Longer chains of arrays, and of types built by hand, than this are refused."""
_SHORT = 32
"""Chains that are walked, from object to object; the ends of longer ones are remembered."""

DECORATIONS = (t.Typedef, t.Volatile, t.Const, t.Restrict, t.TypeTag)


def resolve(of: t.Type) -> t.Type:
    """The type under all typedefs, qualifiers and type tags.

    Raises:
        BtfError: they form a cycle; or there are more than 10,000 of them, built by hand.
        InputError: it is no type.
    """
    current = of
    for _ in range(_SHORT):
        if not isinstance(current, DECORATIONS):
            check_type(current)
            return current
        current = current.target
    return Ends().under(current)


class Ends:
    """`resolve` with a memory: thousands of members may lie at the end of one long chain, built by hand or not."""

    def __init__(self) -> None:
        self._known: dict[t.Type, t.Type] = {}

    def under(self, of: t.Type) -> t.Type:
        """The type under all typedefs, qualifiers and type tags.

        Raises:
            BtfError, InputError: as `resolve`.
        """
        known, current = self._known, of
        passed: dict[t.Type, None] = {}
        while isinstance(current, DECORATIONS):
            found = known.get(current)
            if found is not None:
                current = found
                break
            follow(current, passed, of, "typedefs and qualifiers form a cycle")
            spec = current._spec
            if len(passed) >= _SHORT and spec is not None:  # which remembers the ends of its chains
                current = spec.type_by_id(Ways.end(spec, spec.type_id(current)))
            else:
                current = current.target
        check_type(current)
        known.update(dict.fromkeys(passed, current))
        return current


def follow(step: t.Type, passed: dict[t.Type, None], of: t.Type, circle: str) -> None:
    """Note a step of a way.

    Args:
        step: where the way is now.
        passed: the steps before; it gets this one.
        of: where the way began.
        circle: what a way is that comes back to itself.

    Raises:
        BtfError: the way was here before, or is longer than `MAX_DEPTH`.
    """
    if step in passed:
        raise BtfError(f"{of!r}: {circle}")
    if len(passed) >= MAX_DEPTH:
        raise BtfError(f"{of!r}: a chain of more than {MAX_DEPTH} types")
    passed[step] = None


def sizeof(of: t.Type) -> int:
    """The size in bytes.

    Raises:
        BtfError: the type has no size (void, a function, a forward declaration), or its chain is a cycle, or of more
            than 10,000 arrays.
    """
    current, count, step = of, 1, 0
    passed: dict[t.Type, None] = {}
    while True:
        step += 1
        if step > _SHORT:
            follow(current, passed, of, "its size depends on itself")
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
