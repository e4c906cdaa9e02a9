"""What a dump of a type would write, before a line of it is written.

``union {union {union {...} a, b;} a, b;}``, thirty deep, has four bytes and a billion values. Each of its types is
looked at once here, so that such a thing is refused at once, and so is what lies outside of what contains it.
"""

from __future__ import annotations

from typing import NamedTuple

from ebpfpy.errors import InputError

from . import types as t
from .layout import Ends, follow, sizeof

_MANY = 1 << 62
"""Where counting ends."""


class Count(NamedTuple):
    """How many values a type has.

    Attributes:
        fixed: with something behind it, so that flexible arrays in it have no elements.
        open: with nothing behind it.
    """

    fixed: int
    open: int


class Measures:
    """What is under types, and their sizes, each worked out once: thousands of members may share one long chain."""

    def __init__(self) -> None:
        self._ends = Ends()
        self._sizes: dict[t.Type, int] = {}

    def under(self, of: t.Type) -> t.Type:
        """`layout.resolve`.

        Raises:
            BtfError: typedefs and qualifiers form a cycle.
        """
        return self._ends.under(of)

    def size(self, of: t.Type) -> int:
        """`layout.sizeof`, as far as it matters: nothing is longer than 2^62 bytes.

        Raises:
            BtfError: the type has no size, or its size depends on itself, or on more than 10,000 arrays.
        """
        chain, current = dict[t.Type, None](), self.under(of)
        while isinstance(current, (t.Array, t.Var)) and current not in self._sizes:
            follow(current, chain, of, "its size depends on itself")
            current = self.under(current.element if isinstance(current, t.Array) else current.type)
        found = self._sizes.get(current)
        size = sizeof(current) if found is None else found
        for each in reversed(chain):
            size = min(size * each.count, _MANY) if isinstance(each, t.Array) else size
            self._sizes[each] = size
        return size


def count_values(of: t.Type, size: int, measures: Measures) -> Count:
    """How many values, structs and arrays included, bytes that hold a type have.

    Args:
        of: the type.
        size: how many bytes there are; a flexible array that nothing follows may take all of them.
        measures: of types.

    Raises:
        InputError: a member or a variable lies outside of what it is in, or not at a byte; or the type contains itself.
    """
    known: dict[t.Type, Count] = {}
    entered: set[t.Type] = set()
    stack = [measures.under(of)]
    while stack:
        current = stack[-1]
        if current in known:
            stack.pop()
            continue
        inner = [measures.under(each) for each in _parts(current, measures)]
        missing = [each for each in inner if each not in known]
        if not missing:
            stack.pop()
            known[current] = _count(current, [known[each] for each in inner], size, measures)
        elif current in entered:
            raise InputError(f"{current!r} contains itself")
        else:
            entered.add(current)
            stack += missing
    return known[measures.under(of)]


def _parts(of: t.Type, measures: Measures) -> list[t.Type]:
    if isinstance(of, (t.Struct, t.Union)):
        for member in of.members:
            check_member(of, member, measures)
        return [member.type for member in of.members]
    if isinstance(of, t.Datasec):
        return [variable(of, place, measures).type for place in of.variables]
    if isinstance(of, t.Var):
        return [of.type]
    return [of.element] if isinstance(of, t.Array) else []


def _count(of: t.Type, inner: list[Count], size: int, measures: Measures) -> Count:
    fixed = opened = 1 + sum(each.fixed for each in inner)
    if isinstance(of, t.Array):
        (element,) = inner
        length = measures.size(of.element)
        fixed = 1 + of.count * element.fixed
        opened = 1 + (of.count or (size // length if length else 0)) * element.fixed
    elif isinstance(of, t.Union):
        opened = 1 + sum(each.open for each in inner)
    elif isinstance(of, (t.Struct, t.Var)) and inner:
        opened += inner[-1].open - inner[-1].fixed
    return Count(min(fixed, _MANY), min(opened, _MANY))


def check_member(of: t.Struct | t.Union, member: t.Member, measures: Measures) -> tuple[int, int]:
    """Where a member is, in bits, and its width if it is a bitfield (in its type or by itself), else 0.

    Raises:
        InputError: it is not inside of its struct, or not at a byte.
    """
    under = measures.under(member.type)
    offset, width = member.offset_bits, member.bitfield_size
    if not width and isinstance(under, t.Int) and (under.bits != under.size * 8 or under.bit_offset):
        width, offset = under.bits, offset + under.bit_offset  # legacy: the width is in the type
    end = offset + (width or 8 * measures.size(under))
    if end > 8 * of.size:
        raise InputError(f"{of!r}: {member!r} ends at bit {end} of {8 * of.size}")
    if not width and offset % 8:
        raise InputError(f"{of!r}: {member!r} starts at bit {offset}")
    return offset, width


def variable(of: t.Datasec, place: t.VarSecinfo, measures: Measures) -> t.Var:
    """The variable at a place of a section.

    Raises:
        InputError: it is none, or not inside of the section.
    """
    var = place.var
    if not isinstance(var, t.Var):
        raise InputError(f"{of!r}: {var!r} has no value")
    end = place.offset + measures.size(var.type)
    if end > of.size:
        raise InputError(f"{of!r}: {var!r} ends at byte {end} of {of.size}")
    return var
