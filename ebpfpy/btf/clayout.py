"""Layout: how a struct or union must be written for a compiler to put its members where BTF has them.

What a compiler would do by itself is computed (natural alignment; a bitfield does not cross a boundary of its type),
and corrected only where BTF differs: unnamed bitfields fill gaps, ``packed`` lets members lie anywhere. BTF knows no
alignments: a struct that was aligned to 64 bytes is padded to its size, which gives the same offsets. Members that
overlap outside of a union (no C compiler makes them) become arms of one.

32-bit machines disagree on the alignment of 8-byte numbers, and BTF does not tell which machine it is for. So a type
has a least and a greatest alignment there, and what a compiler could read in two ways is written so that it cannot:
gaps as for the least one, ``packed`` as for the greatest. The text then has one layout on all of them.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from .cdeclarator import MARK, MARK_END, Declarators
from .cnames import Scope
from .cpadding import indented, own_padding, padding, widening
from .cscalars import ENUM_MODES, alignments
from .cvisible import Visible
from .cwords import (
    ARRAY,
    COMPOSITES,
    ENUM,
    ENUM64,
    FLOAT,
    FUNC_PROTO,
    FWD,
    INT,
    PASSED,
    PTR,
    STRUCT,
    UNION,
    Words,
    end_of_elements,
    parts_of,
)
from .kinds import INT_BOOL, KIND_FLAG, KIND_MASK, KIND_SHIFT, VLEN_MASK

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .cnames import Identifiers
    from .spec import Spec

Field: TypeAlias = "tuple[str, str, int, int]"
"""A type as that of a member: before; behind; least alignment and size in bits."""

Named: TypeAlias = "tuple[str, int, int, int, str]"
"""A member: name, type, bit offset, width or 0, tags."""

UNNAMED = "a member without a name"
_BOOL_WIDTH = 1
_SIZELESS = {FUNC_PROTO: "a function", FWD: "of a type that is only declared"}
LARGEST = 1 << 62
"""Where sizes end: arrays of arrays of a hostile BTF would have ever longer numbers."""


class Shape(NamedTuple):
    """A struct or union as it must be written for its layout to come out.

    Attributes:
        align, most: bits, as the compiler will see it: the least and the greatest.
        packed: it needs the attribute.
        text: its members and the padding between them, each line after a line feed and a tab.
        inner: the tags that they mention inside parameter lists.
    """

    align: int
    most: int
    packed: bool
    text: str
    inner: tuple[str, ...]


class Layout(Declarators):
    """Sizes, alignments and shapes of types; arguments as for `Declarators`."""

    open_ends = True
    """Whether a flexible array is written as one. As ``[0]`` it may be in the middle of another struct in peace."""

    def __init__(self, spec: Spec, names: Identifiers, locate: Callable[[int], tuple[Words, int]]) -> None:
        super().__init__(spec, names, locate)
        self.pointer_size = spec.pointer_size
        self.sizes: dict[int, int] = {0: 1}  # bytes
        self.aligns: dict[int, int] = {0: 8}  # bits, the least
        self.loose: dict[int, int] = {}  # bits, the greatest, where it differs
        self.shapes: dict[int, Shape] = {}
        self.fields = _Fields(self)
        self.mentions: dict[int, tuple[str, ...]] = {}  # of `fields`: the inner tags of those that have some
        self.legacy: dict[int, tuple[int, int]] = {}  # integers that are bitfields: (bit offset, bits)
        self.widest: dict[int, int] = {}  # types of bitfields: the width that they can have
        self.unlike: set[int] = set()  # enums of sizes that C's have not
        self._ends = {0: 0}
        self.visible = Visible(self)
        self.contained: dict[int, int] = {}  # typedefs that must not be used for members: what they stand for

    def tags_on(self, type_id: int) -> Mapping[int, Sequence[tuple[str, bool]]]:  # noqa: ARG002
        """The declaration tags of a type: component (-1: the type itself) -> text, and whether it is an attribute."""
        return {}

    # --- sizes ------------------------------------------------------------------------------------

    def measure(self, type_id: int) -> None:
        """Work out size, alignment and shape of a type and of all types inside of it.

        Raises:
            BtfError: it contains itself.
        """
        entered: set[int] = set()
        stack = [type_id]
        while stack:
            current = stack[-1]
            if current in self.sizes:
                stack.pop()
                continue
            words, at = self.locate(current)
            info = words[at + 1]
            missing = [each for each in parts_of(words, at, info) if each not in self.sizes]
            if not missing:
                stack.pop()
                self.settle(current, words, at, info)
            elif current in entered:
                raise self.error(current, "it contains itself")
            else:
                entered.add(current)
                stack += missing

    def settle(self, type_id: int, words: Words, at: int, info: int) -> None:
        """Note size and alignment of a type; those of its parts are known."""
        kind = info >> KIND_SHIFT & KIND_MASK
        size, align, most = 1, 8, 8
        if kind == PTR:
            size = self.pointer_size
            align = most = 8 * size
        elif kind in (STRUCT, UNION):
            size = words[at + 2]
            self.shapes[type_id] = shape = self.compose(type_id, words, at, info, kind)
            align, most = shape.align, shape.most
        elif kind in PASSED:
            target = words[at + 2]
            size, align = self.sizes[target], self.aligns[target]
            most = self.loose.get(target, align)
            if target in self.contained:
                self.contained[type_id] = self.contained[target]
            if target in self.legacy:
                self.legacy[type_id] = self.legacy[target]
        elif kind == ARRAY:
            element = words[at + 3]
            size, align = min(self.sizes[element] * words[at + 5], LARGEST), self.aligns[element]
            most = self.loose.get(element, align)
        elif kind in (INT, FLOAT, ENUM, ENUM64):
            size = words[at + 2]
            align, most = alignments(size, self.pointer_size)
            if kind in (ENUM, ENUM64) and size not in ENUM_MODES:
                self.unlike.add(type_id)
            if kind == INT:
                word = words[at + 3]  # u32 encoding << 24 | bit offset << 16 | bits
                bits, offset = word & 0xFF, word >> 16 & 0xFF
                if bits and (offset or bits != size * 8) and bits < size * 8:
                    self.legacy[type_id] = (offset, bits)
        self.sizes[type_id], self.aligns[type_id] = size, align
        if most != align:
            self.loose[type_id] = most

    def members(self, words: Words, at: int, info: int) -> list[tuple[int, int, int, int]]:
        """Name offset, type, bit offset and width (0: no bitfield) of each member."""
        body = words[at + 3 : at + 3 + 3 * (info & VLEN_MASK)]
        if info & KIND_FLAG:  # offset word: bitfield size << 24 | bit offset
            return [(n, t, o & 0xFF_FFFF, o >> 24) for n, t, o in zip(body[0::3], body[1::3], body[2::3], strict=True)]
        found = [(n, t, o, 0) for n, t, o in zip(body[0::3], body[1::3], body[2::3], strict=True)]
        if self.legacy:
            legacy = self.legacy
            found = [(n, t, o + legacy[t][0], legacy[t][1]) if t in legacy else (n, t, o, w) for n, t, o, w in found]
        return found

    def _widest(self, member: int) -> int:
        """The width that a bitfield of that type can have in C; 0 if C has none."""
        under = self.under(member)
        if not under:
            return 0
        words, at = self.locate(under)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        size = words[at + 2]
        if kind == INT:
            boolean = words[at + 3] >> 24 & INT_BOOL
            return 0 if size not in (1, 2, 4, 8, 16) else _BOOL_WIDTH if boolean else size * 8
        return size * 8 if kind in (ENUM, ENUM64) and under not in self.unlike else 0

    def without(self, member: int) -> str:
        """Why no member can have that type, or ""."""
        end = end_of_elements(member, self.locate, PASSED, self._ends)
        if end is None:
            raise self.error(member, "it refers to itself")
        if not end:
            return "of type void"
        words, at = self.locate(end)
        if end in self.unlike:
            return f"an enum of {words[at + 2]} bytes"
        return _SIZELESS.get(words[at + 1] >> KIND_SHIFT & KIND_MASK, "")

    def field(self, member: int) -> Field:
        """A type as that of a member; it was measured."""
        before, behind, _, inner, _ = self.declarator(self.contained.get(member, member))
        if inner:
            self.mentions[member] = inner
        return (before, behind, self.aligns[member], 8 * self.sizes[member])

    # --- shapes -----------------------------------------------------------------------------------

    def compose(self, type_id: int, words: Words, at: int, info: int, kind: int) -> Shape:
        """The members of a struct or union with what they need around them; their types were measured."""
        tags = self.tags_on(type_id)
        members, left_out = self._named(type_id, words, at, info, tags)
        align, most, end, packed, arms = 8, 8, 0, False, False
        union = kind == UNION
        for name, member, offset, width, _ in members:
            _, _, own, size = self.fields[member]
            greatest = self.loose.get(member, own)
            if width:
                packed = packed or offset % own + width > size or offset % greatest + width > size
                size = width
            elif offset % greatest:
                packed = True
                arms = arms or offset % 8 != 0
            if name or not width:
                align, most = max(align, own), max(most, greatest)
            arms = arms or (offset != 0 if union else offset < end)
            end = max(end, offset + size)
        total = 8 * words[at + 2]
        arms = arms or end > total
        packed = packed or arms or total % most != 0
        if packed:
            align = most = 8
        if arms:
            lines = self._arms(members, total)
        elif union:
            lines = [self._line(name, member, width, tags) for name, member, _, width, tags in members]
            if -(-end // align) * align < total:  # only a member can widen a union
                lines += widening(0, total, align, self.pointer_size, packed=packed)
        else:
            lines = self._struct_lines(members, total, align, packed)
        lines += left_out
        inner = tuple(chain.from_iterable(self.mentions.get(member[1], ()) for member in members))
        text = "".join(indented(lines))
        if not words[at]:
            text = own_padding(text, type_id)
        return Shape(align, most, packed, text, inner)

    def composite_under(self, member: int) -> int | None:
        """The struct or union that an unnamed member is, with or without a tag; None if it is something else."""
        return self.under(member) if self.kind_under(member) in COMPOSITES else None

    def _named(
        self, type_id: int, words: Words, at: int, info: int, tags: Mapping[int, Sequence[tuple[str, bool]]]
    ) -> tuple[list[Named], list[str]]:
        """All members that C can have, each name once; and notes about the others."""
        found: list[Named] = []
        left_out: list[str] = []
        names, widest = self.names, self.widest
        used: set[str] = set()
        scope: Scope | None = None
        unnamed = False
        members = self.members(words, at, info)
        for index, (name_off, member, offset, width) in enumerate(members):
            name = names[name_off]
            if name in used:
                if scope is None:
                    scope = Scope(dict.fromkeys((names[each[0]] for each in members), 1))
                name = scope.claim(name)
            elif name:
                used.add(name)
            behind = "".join(f" {text}" for text in self.declared(tags[index])) if index in tags else ""
            if width:
                if member not in widest:
                    widest[member] = self._widest(member)
                if width <= widest[member]:
                    found.append((name, member, offset, width, behind))
                else:
                    left_out.append(
                        f"/* not here: {name or UNNAMED}, a bitfield of {width} bits, which its type has not */"
                    )
            elif why := self.without(member):
                left_out.append(f"/* not here: {name or UNNAMED}, {why}, at bit {offset} */")
            elif name:
                found.append((name, member, offset, 0, behind))
            elif (under := self.composite_under(member)) is not None:
                found.append(("", under, offset, 0, behind))
                unnamed = True
        if scope is not None or (unnamed and self.visible.clashes(type_id)):
            found = self.visible.apart(type_id, found)
        return found, left_out

    def _line(self, name: str, member: int, width: int, tags: str) -> str:
        """One member, wherever it is."""
        before, behind, *_ = self.fields[member]
        if width:
            return f"{before}{name}: {width}{tags};" if name else f"{before.rstrip()}: {width}{tags};"
        return f"{before}{name}{behind}{tags};" if name else f"{MARK}{member}{MARK_END}{tags};"

    def _struct_lines(self, members: list[Named], total: int, align: int, packed: bool) -> list[str]:
        lines: list[str] = []
        position = 0
        for name, member, offset, width, tags in members:
            _, _, own, size = self.fields[member]
            natural = position
            if not packed and (not width or position % own + width > size):
                natural = -(-position // own) * own
            elif not width:
                natural = -(-position // 8) * 8
            if natural != offset:
                lines += padding(position, offset, align, self.pointer_size, packed=packed)
            lines.append(self._line(name, member, width, tags))
            position = offset + (width or size)
        if -(-position // align) * align < total:
            return lines + padding(position, total, align, self.pointer_size, packed=packed)
        if self.open_ends and len(lines) > 1 and name and self.fields[member][1].startswith("[0]"):
            before, behind, *_ = self.fields[member]
            lines[-1] = f"{before}{name}[]{behind[3:]}{tags};"
        return lines

    def _arms(self, members: list[Named], total: int) -> list[str]:
        """Members that overlap: each in a struct of its own, all of them in one union; and notes about others."""
        lines, left_out = ["union {"], list[str]()
        for index, (name, member, offset, width, tags) in enumerate(members):
            end = offset + (width or self.fields[member][3])
            if end > total or (not width and offset % 8):
                left_out.append(f"/* not here: {name or UNNAMED}, at bits {offset} to {end} of {total} */")
                continue
            arm = [
                *(own_padding(line, f"of_{index}") for line in padding(0, offset, 64, self.pointer_size, packed=True)),
                self._line(name, member, width, tags),
            ]
            lines += ["\tstruct {", *(f"\t\t{line}" for line in arm), "\t} __attribute__((packed));"]
        rest = padding(0, total, 64, self.pointer_size, packed=True)
        lines += ["\tstruct {", *(f"\t\t{line}" for line in rest), "\t} __attribute__((packed));", "};"]
        return lines + left_out


class _Fields(dict[int, Field]):
    """Type id -> the type as that of a member; made when asked for."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    def __missing__(self, member: int) -> Field:
        self[member] = made = self.layout.field(member)
        return made
