"""Types as C declarations: the text of one type, given what others are called.

**Declarators.** C wraps a type around the name: ``int (*handlers[4])(void)``. So a type is two texts, one before the
name and one behind it, and each step of a chain of references adds to one of them: a pointer adds ``*`` in front, an
array ``[4]`` right behind the name, a function its parameters right behind the name; a pointer to what starts with
``[`` or ``(`` needs parentheses. From the inside out, for an array of 4 pointers to functions without parameters:
``("int ", "")``, ``("int ", "(void)")``, ``("int (*", ")(void)")``, ``("int (*", "[4])(void)")``.

A type without a name must be spelled where it is used. Its place in the text is marked, and `Writer.expand` puts the
body there when the depth of its indentation is known.

**Layout.** A compiler that reads the text must come to the offsets and sizes that BTF has. What it would do by itself
is computed (System V: natural alignment; a bitfield does not cross a boundary of its type), and corrected only where it
differs: unnamed bitfields fill gaps, ``packed`` lets members lie anywhere. BTF knows no alignments: a struct that was
aligned to 64 bytes is padded to its size, which gives the same offsets. Members that overlap outside of a union (no C
compiler makes them) become arms of one.

Everything is iterative: types may be nested to any depth. Text out of all proportion (a small BTF can describe a type
whose spelling is exponentially long) is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain
from operator import add, mod
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from ebpfpy.errors import BtfError

from .kinds import INT_BOOL, INT_SIGNED, KIND_FLAG, KIND_MASK, KIND_SHIFT, VLEN_MASK, Kind
from .text import describe_with_id

if TYPE_CHECKING:
    from collections.abc import Callable

    from .cnames import Identifiers
    from .spec import Spec

PLAIN, POINTER, FUNCTION = range(3)
"""What a qualifier would qualify: what stands in front, the pointer itself, nothing (functions have no qualifiers)."""


Declarator: TypeAlias = "tuple[str, str, int, tuple[str, ...], str]"
"""A type around a name.

* the texts before and behind the name;
* what a qualifier would apply to: `PLAIN`, `POINTER` or `FUNCTION`;
* the tags ("struct sock") that are mentioned inside parameter lists; C forgets them there unless they were declared
  before;
* the tag at the very front, or "".
"""

Field: TypeAlias = "tuple[str, str, int, int, str, tuple[str, ...]]"
"""A type as that of a member: before, behind, alignment and size in bits, tag, inner tags."""


class Shape(NamedTuple):
    """A struct or union as it must be written for its layout to come out.

    Attributes:
        align: bytes, as the compiler will see it.
        packed: it needs the attribute.
        lines: its members and the padding between them, without indentation and semicolons.
        inner, outer: the tags that they mention, inside parameter lists and elsewhere.
    """

    align: int
    packed: bool
    lines: list[str]
    inner: tuple[str, ...]
    outer: list[str]


Words: TypeAlias = Sequence[int]

# plain numbers: an enum's member costs a look-up each time, which is felt here
(_VOID, _INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD, _TYPEDEF, _VOLATILE, _CONST, _RESTRICT, _FUNC, _FUNC_PROTO,
 _VAR, _DATASEC, _FLOAT, _DECL_TAG, _TYPE_TAG, _ENUM64) = (int(kind) for kind in Kind)  # fmt: skip
MARK, MARK_END = "\x01", "\x02"
_MARKED = re.compile("\x01([0-9]+)\x02")
_QUALIFIERS: dict[int, str] = {_CONST: "const ", _VOLATILE: "volatile ", _RESTRICT: "restrict "}
_STEPS = frozenset({_PTR, _ARRAY, _CONST, _VOLATILE, _RESTRICT, _TYPE_TAG})
_EASY = frozenset({_PTR, _ARRAY, _CONST})
_OPENING = frozenset("[(")
_BOTTOMS = frozenset({_INT, _FLOAT, _STRUCT, _UNION, _ENUM, _ENUM64, _FWD, _TYPEDEF})
_PASSED = frozenset({_TYPEDEF, _CONST, _VOLATILE, _RESTRICT, _TYPE_TAG})
_ATTRIBUTE = re.compile(r"[A-Za-z_]\w*(\([\w ,.+-]*\))?", re.ASCII)
_PADS = {64: "long", 32: "int", 16: "short", 8: "char"}
_LONG = 256
"""Characters from which on every text is counted: what is long may grow without end."""
_MOST_PADS = 64
_MOST_TABS = 64
_FREE_TEXT = 1 << 24
_TEXT_PER_BYTE = 64
_BOOL_WIDTH = 1

_INT_WORDS = frozenset({"signed", "unsigned", "short", "long", "int", "char", "_Bool", "__int128"})


class Writer:
    """Writes declarations of the types of one spec and its bases.

    Args:
        spec: whose types.
        names: string offset -> identifier.
        locate: type id -> the words of its record, and where it starts in them.
    """

    def __init__(self, spec: Spec, names: Identifiers, locate: Callable[[int], tuple[Words, int]]) -> None:
        self.spec = spec
        self.names = names
        self.locate = locate
        self.pointer_size = spec.pointer_size
        self.first_id = spec.first_id
        self.count = spec.first_id + len(spec)
        self.renamed: dict[int, str] = {}
        self.declarators: dict[int, Declarator] = {0: ("void ", "", PLAIN, (), "")}
        self.sizes: dict[int, int] = {0: 1}  # bytes
        self.aligns: dict[int, int] = {0: 1}  # bytes, as the compiler sees them
        self.shapes: dict[int, Shape] = {}
        self.fields = _Fields(self)
        self.legacy: dict[int, tuple[int, int]] = {}  # integers that are bitfields: (bit offset, bits)
        self.contained: dict[int, int] = {}  # typedefs that must not be used for members: what they stand for
        self.inner: list[str] = []  # tags mentioned in parameter lists of what was written since somebody emptied it
        self.outer: list[str] = []  # tags mentioned elsewhere
        self.budget = _FREE_TEXT
        below: Spec | None = spec
        while below is not None:
            self.budget += _TEXT_PER_BYTE * len(below.raw)
            below = below.base

    open_ends = True
    """Whether a flexible array is written as one. As ``[0]`` it may be in the middle of another struct in peace."""

    # --- names: what a header decides otherwise -------------------------------------------------

    def scalar(self, words: Words, at: int) -> str:
        """What an INT or FLOAT is called."""
        return self.spec.string(words[at]) or "int"

    def enumerators(self, names: list[str]) -> list[str]:
        """What the enumerators of these names are called."""
        return names

    def parameter(self, name: str) -> str:
        """What a parameter of that name is called."""
        return name

    def name_of(self, type_id: int, words: Words, at: int) -> str:
        """What a named type is called."""
        return self.renamed.get(type_id) or self.names[words[at]]

    # --- declarators --------------------------------------------------------------------------

    def declarator(self, type_id: int) -> Declarator:
        """The texts around a name of this type.

        Raises:
            BtfError: the type cannot be written in C: it is no type, or contains itself.
        """
        known = self.declarators
        found = known.get(type_id)
        if found is not None:
            return found
        found = self._easily(type_id)
        if found is not None:
            return found
        stack, inside = [type_id], set[int]()
        while stack:
            current = stack[-1]
            if current in known:
                stack.pop()
                continue
            chain, bottom = self._chain(current)
            if bottom not in known:
                words, at = self.locate(bottom)
                info = words[at + 1]
                kind = info >> KIND_SHIFT & KIND_MASK
                if kind == _FUNC_PROTO:
                    count = info & VLEN_MASK
                    missing = [words[at + 2], *words[at + 4 : at + 3 + 2 * count : 2]]
                    missing = [each for each in missing if each not in known and self._easily(each) is None]
                    if missing:
                        if bottom in inside:
                            raise self.error(bottom, "its parameters contain itself")
                        inside.add(bottom)
                        stack += missing
                        continue
                    known[bottom] = self.function(words, at, count)
                else:
                    known[bottom] = self._bottom(bottom, kind, words, at, info)
            if chain:
                known[current] = self._wrap(known[bottom], chain)
        return known[type_id]

    def _easily(self, type_id: int) -> Declarator | None:
        """The declarator of a type that has a name, or is one step above one that is known or has: most are."""
        words, at = self.locate(type_id)
        info = words[at + 1]
        kind = info >> KIND_SHIFT & KIND_MASK
        known = self.declarators
        if kind in _BOTTOMS:
            found = known[type_id] = self._bottom(type_id, kind, words, at, info)
            return found
        if kind not in _EASY:
            return None
        target = words[at + 3] if kind == _ARRAY else words[at + 2]
        count = words[at + 5] if kind == _ARRAY else 0
        inner = known.get(target)
        if inner is None:
            words, at = self.locate(target)
            info = words[at + 1]
            below = info >> KIND_SHIFT & KIND_MASK
            if below not in _BOTTOMS:
                return None
            inner = known[target] = self._bottom(target, below, words, at, info)
        before, behind, level, mentioned, tag = inner
        if len(before) + len(behind) > _LONG:
            return None
        if kind == _PTR:
            if behind[:1] in _OPENING:
                before, behind = f"{before}(*", f"){behind}"
            else:
                before = f"{before}*"
            level = POINTER
        elif kind == _ARRAY:
            behind = f"[{count}]{behind}"
        elif level == POINTER:
            if not before.endswith("const "):
                before = f"{before}const "
        elif level == PLAIN and not before.startswith("const "):
            before = f"const {before}"
        found = known[type_id] = (before, behind, level, mentioned, tag)
        return found

    def _chain(self, type_id: int) -> tuple[list[tuple[int, Words, int]], int]:
        """The references from a type downwards, and what they end at."""
        chain: list[tuple[int, Words, int]] = []
        current = type_id
        while current not in self.declarators:
            words, at = self.locate(current)
            kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
            if kind not in _STEPS:
                break
            chain.append((kind, words, at))
            if len(chain) > self.count:
                raise self.error(type_id, "it refers to itself")
            current = words[at + 3] if kind == _ARRAY else words[at + 2]
        return chain, current

    def _wrap(self, inner: Declarator, chain: list[tuple[int, Words, int]]) -> Declarator:
        """The declarator of a chain's first type, from that of its bottom."""
        first_before, first_behind, level, mentioned, tag = inner
        front: list[str] = []  # to be reversed
        before, behind = [first_before], [first_behind]  # behind: to be reversed
        first = first_behind[:1]
        for kind, words, at in reversed(chain):
            if kind == _PTR:
                if first and first in "[(":
                    before.append("(*")
                    behind.append(")")
                    first = ")"
                else:
                    before.append("*")
                level = POINTER
            elif kind == _ARRAY:
                behind.append(f"[{words[at + 5]}]")
                first = "["
            elif level == FUNCTION:
                continue
            elif kind == _TYPE_TAG:
                before.append(self._tag(words, at))
            elif level == POINTER:
                if not before[-1].endswith(_QUALIFIERS[kind]):
                    before.append(_QUALIFIERS[kind])
            elif kind != _RESTRICT or self._points(words[at + 2]):
                word = _QUALIFIERS[kind]
                if word not in front and not first_before.startswith(word):
                    front.append(word)
        text = "".join([*reversed(front), *before])
        self._spend(len(text))
        return (text, "".join(reversed(behind)), level, mentioned, tag)

    def _tag(self, words: Words, at: int) -> str:
        text = self.spec.string(words[at])
        if words[at + 1] & KIND_FLAG:
            return f"__attribute__(({text})) " if _ATTRIBUTE.fullmatch(text) else ""
        return f'__attribute__((btf_type_tag("{c_text(text)}"))) '

    def _points(self, type_id: int) -> bool:
        return self.kind_under(type_id) == _PTR

    def kind_under(self, type_id: int) -> int:
        """The kind under typedefs, qualifiers and type tags."""
        current = type_id
        for _ in range(self.count):
            if current == 0:
                return _VOID
            words, at = self.locate(current)
            kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
            if kind not in _PASSED:
                return kind
            current = words[at + 2]
        raise self.error(type_id, "it refers to itself")

    def _bottom(self, type_id: int, kind: int, words: Words, at: int, info: int) -> Declarator:
        if kind in (_INT, _FLOAT):
            return (f"{self.scalar(words, at)} ", "", PLAIN, (), "")
        if kind == _TYPEDEF:
            return (f"{self.renamed.get(type_id) or self.names[words[at]]} ", "", PLAIN, (), "")
        keyword = _TAG_KEYWORDS.get(kind)
        if kind == _FWD:
            keyword = "union" if info & KIND_FLAG else "struct"
        if keyword is None:
            raise self.error(type_id, "it is no type of a variable")
        if not words[at] or not self.names[words[at]]:
            if kind == _FWD:
                raise self.error(type_id, "a declaration without a name")
            return (f"{MARK}{type_id}{MARK_END} ", "", PLAIN, (), "")
        tag = f"{keyword} {self.name_of(type_id, words, at)}"
        return (f"{tag} ", "", PLAIN, (), "" if kind in (_ENUM, _ENUM64) else tag)

    def function(self, words: Words, at: int, count: int) -> Declarator:
        """``result name(parameters)``."""
        body = words[at + 3 : at + 3 + 2 * count]
        inner: list[str] = []
        texts: list[str] = []
        used: set[str] = set()
        for index in range(0, 2 * count, 2):
            before, after, _, mentioned, tag = self.declarators[body[index + 1]]
            name = self.parameter(self.names[body[index]]) if body[index] else ""
            if name in used:
                name = ""
            used.add(name)
            if not body[index + 1]:
                last = index == 2 * count - 2
                texts.append("void" if count == 1 else "..." if last else "int")
                continue
            inner += mentioned
            if tag:
                inner.append(tag)
            text = f"{before}{name}{after}"
            texts.append(text if name else text.rstrip())
        before, after, _, mentioned, tag = self.declarators[words[at + 2]]
        behind = f"({', '.join(texts) or 'void'}){after}"
        self._spend(len(behind))
        return (before, behind, FUNCTION, tuple(dict.fromkeys((*mentioned, *inner))), tag)

    # --- layout ---------------------------------------------------------------------------------

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
        size, align = 1, 1
        if kind == _PTR:
            size = align = self.pointer_size
        elif kind in (_STRUCT, _UNION):
            size = words[at + 2]
            self.shapes[type_id] = shape = self._compose(words, at, info, kind)
            align = shape.align
        elif kind in _PASSED:
            target = words[at + 2]
            size, align = self.sizes[target], self.aligns[target]
            if target in self.contained:
                self.contained[type_id] = self.contained[target]
            if target in self.legacy:
                self.legacy[type_id] = self.legacy[target]
        elif kind == _ARRAY:
            size, align = self.sizes[words[at + 3]] * words[at + 5], self.aligns[words[at + 3]]
        elif kind in (_INT, _FLOAT, _ENUM, _ENUM64):
            size = words[at + 2]
            align = self.natural_align(size)
            if kind == _INT:
                word = words[at + 3]  # u32 encoding << 24 | bit offset << 16 | bits
                bits, offset = word & 0xFF, word >> 16 & 0xFF
                if bits and (offset or bits != size * 8) and bits < size * 8:
                    self.legacy[type_id] = (offset, bits)
        self.sizes[type_id], self.aligns[type_id] = size, align

    def natural_align(self, size: int) -> int:
        """The alignment of a number of that many bytes."""
        if size == 16:
            return 16 if self.pointer_size == 8 else 4
        if size in (1, 2, 4) or (size == 8 and self.pointer_size == 8):
            return size
        return 4 if size and size % 4 == 0 else 1

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

    def _is_bitfield(self, member: int, width: int) -> bool:
        """Whether C has bitfields of that type and width."""
        current = member
        for _ in range(self.count):
            if current == 0:
                return False
            words, at = self.locate(current)
            info = words[at + 1]
            kind = info >> KIND_SHIFT & KIND_MASK
            if kind not in _PASSED:
                break
            current = words[at + 2]
        if kind == _INT:
            size = words[at + 2]
            boolean = words[at + 3] >> 24 & INT_BOOL
            return size in (1, 2, 4, 8, 16) and width <= (_BOOL_WIDTH if boolean else size * 8)
        return kind in (_ENUM, _ENUM64) and width <= words[at + 2] * 8

    # --- bodies ---------------------------------------------------------------------------------

    def body(self, type_id: int, tabs: int, name: str) -> str:
        """A struct, union or enum spelled out; bodies inside of it are marked, see `expand`."""
        words, at = self.locate(type_id)
        info = words[at + 1]
        kind = info >> KIND_SHIFT & KIND_MASK
        if kind in (_ENUM, _ENUM64):
            return self._enum(words, at, info, kind, tabs, name)
        shape = self.shapes.get(type_id)
        if shape is None:
            self.measure(type_id)
            shape = self.shapes.get(type_id) or self._compose(words, at, info, kind)
        self.inner += shape.inner
        self.outer += shape.outer
        head = f"{_TAG_KEYWORDS[kind]} {name} {{" if name else f"{_TAG_KEYWORDS[kind]} {{"
        end = "} __attribute__((packed))" if shape.packed else "}"
        if not shape.lines:
            return head + end
        indent = "\n" + "\t" * min(tabs, _MOST_TABS)
        between = f"{indent}\t"
        return f"{head}{between}{between.join(shape.lines)}{indent}{end}"

    def field(self, member: int) -> Field:
        """A type as that of a member; it was measured."""
        before, behind, _, inner, tag = self.declarator(self.contained.get(member, member))
        return (before, behind, 8 * self.aligns[member], 8 * self.sizes[member], tag, inner)

    def _compose(self, words: Words, at: int, info: int, kind: int) -> Shape:
        """The members of a struct or union with what they need around them; their types were measured."""
        if not info & KIND_FLAG and not self.legacy:
            shape = self._compose_plain(words, at, info, kind == _UNION)
            if shape is not None:
                return shape
        members = self._named(words, at, info)
        align, end, packed, arms = 1, 0, False, False
        union = kind == _UNION
        inner: list[str] = []
        outer: list[str] = []
        for name, member, offset, width in members:
            _, _, own, size, tag, mentioned = self.fields[member]
            inner += mentioned
            if tag:
                outer.append(tag)
            if width:
                packed = packed or offset % own + width > size
                size = width
            elif offset % own:
                packed = True
                arms = arms or offset % 8 != 0
            if name or not width:
                align = max(align, own)
            arms = arms or (offset != 0 if union else offset < end)
            end = max(end, offset + size)
        total = 8 * words[at + 2]
        arms = arms or end > total
        packed = packed or arms or total % align != 0
        align = 8 if packed else max(align, 8)
        if arms:
            lines = self._arms(members, total)
        elif union:
            lines = self._union_lines(members, end, total, align, packed)
        else:
            lines = self._struct_lines(members, total, align, packed)
        return Shape(align // 8, packed, lines, tuple(inner), outer)

    def _compose_plain(self, words: Words, at: int, info: int, union: bool) -> Shape | None:
        """`_compose` for nearly all structs and unions: naturally aligned, without bitfields; None for others.

        Column by column, for the loops to run in C: this is where most of the time of a header goes.
        """
        count = info & VLEN_MASK
        if not count:
            return None
        end = 8 * words[at + 2]
        body = list(words[at + 3 : at + 3 + 3 * count])
        names, offsets = body[0::3], body[2::3]
        before, behind, aligns, sizes, tags, inner = zip(*map(self.fields.__getitem__, body[1::3]), strict=True)
        largest = max(8, *aligns)
        ends = list(map(add, offsets, sizes))
        last = max(ends) if union else ends[-1]
        if any(map(mod, offsets, aligns)) or end % largest or last > end or (union and any(offsets)):
            return None
        if len(set(names)) != count and len(set(names)) != count - max(0, names.count(0) - 1):
            return None
        lines = [
            f"{front}{name}{back};"
            for front, name, back in zip(before, map(self.names.__getitem__, names), behind, strict=True)
        ]
        if 0 in names:
            for index in range(count):
                if not names[index]:
                    under = self.composite_under(body[3 * index + 1])
                    if under is None:
                        return None
                    lines[index] = f"{MARK}{under}{MARK_END};"
        if end - last >= largest:
            lines += _widening(end, largest, packed=False) if union else padding(last, end, largest, packed=False)
        elif not union and self.open_ends and count > 1 and names[-1] and behind[-1].startswith("[0]"):
            lines[-1] = f"{before[-1]}{self.names[names[-1]]}[]{behind[-1][3:]};"
        if not union and (offsets[0] or ends[:-1] != offsets[1:]):
            ends.insert(0, 0)
            for index in range(count - 1, -1, -1):
                gap = offsets[index] - ends[index]
                if gap < 0:
                    return None
                if gap >= aligns[index]:
                    lines[index:index] = padding(ends[index], offsets[index], largest, packed=False)
        return Shape(largest // 8, False, lines, tuple(chain.from_iterable(inner)), list(filter(None, tags)))

    def composite_under(self, member: int) -> int | None:
        """The struct or union that an unnamed member is, with or without a tag; None if it is something else."""
        current = member
        words, at = self.locate(current)
        while (kind := words[at + 1] >> KIND_SHIFT & KIND_MASK) in _PASSED:  # no circle: it was measured
            current = words[at + 2]
            words, at = self.locate(current)
        return current if kind in (_STRUCT, _UNION) else None

    def _named(self, words: Words, at: int, info: int) -> list[tuple[str, int, int, int]]:
        """Name, type, bit offset and width of all members that C can have, each name once."""
        found: list[tuple[str, int, int, int]] = []
        used = {self.names[offset] for offset in words[at + 3 : at + 3 + 3 * (info & VLEN_MASK) : 3]}
        seen: set[str] = set()
        for name_off, member, offset, width in self.members(words, at, info):
            name = self.names[name_off]
            if name in seen:
                name = _another(name, used)
            elif name:
                seen.add(name)
            if width:
                if self._is_bitfield(member, width):
                    found.append((name, member, offset, width))
            elif name:
                found.append((name, member, offset, 0))
            elif (under := self.composite_under(member)) is not None:
                found.append(("", under, offset, 0))
        return found

    def _line(self, name: str, member: int, width: int) -> str:
        """One member, wherever it is."""
        before, behind, *_ = self.fields[member]
        if width:
            return f"{before}{name}: {width};" if name else f"{before.rstrip()}: {width};"
        return f"{before}{name}{behind};" if name else f"{MARK}{member}{MARK_END};"

    def _struct_lines(
        self, members: list[tuple[str, int, int, int]], total: int, align: int, packed: bool
    ) -> list[str]:
        lines: list[str] = []
        position = 0
        for name, member, offset, width in members:
            _, _, own, size, *_ = self.fields[member]
            natural = position
            if not packed and (not width or position % own + width > size):
                natural = -(-position // own) * own
            elif not width:
                natural = -(-position // 8) * 8
            if natural != offset:
                lines += padding(position, offset, align, packed=packed)
            lines.append(self._line(name, member, width))
            position = offset + (width or size)
        if -(-position // align) * align < total:
            return lines + padding(position, total, align, packed=packed)
        if self.open_ends and len(lines) > 1 and name and self.fields[member][1].startswith("[0]"):
            before, behind, *_ = self.fields[member]
            lines[-1] = f"{before}{name}[]{behind[3:]};"
        return lines

    def _union_lines(
        self, members: list[tuple[str, int, int, int]], end: int, total: int, align: int, packed: bool
    ) -> list[str]:
        lines = [self._line(name, member, width) for name, member, _, width in members]
        if -(-end // align) * align < total:  # only a member can widen a union
            lines += _widening(total, align, packed=packed)
        return lines

    def _arms(self, members: list[tuple[str, int, int, int]], total: int) -> list[str]:
        """Members that overlap: each in a struct of its own, all of them in one union."""
        lines = ["union {"]
        for name, member, offset, width in members:
            if offset + (width or self.fields[member][3]) > total or (not width and offset % 8):
                continue
            arm = [*padding(0, offset, 64, packed=True), self._line(name, member, width)]
            lines += ["\tstruct {", *(f"\t\t{line}" for line in arm), "\t} __attribute__((packed));"]
        rest = padding(0, total, 64, packed=True)
        return [*lines, "\tstruct {", *(f"\t\t{line}" for line in rest), "\t} __attribute__((packed));", "};"]

    def _enum(self, words: Words, at: int, info: int, kind: int, tabs: int, name: str) -> str:
        size = words[at + 2]
        values = enum_values(words, at, info, kind, size)
        suffix = ("LL" if info & KIND_FLAG else "ULL") if kind == _ENUM64 else ""
        known = self.names
        names = self.enumerators([known[offset] for offset, _ in values])
        lines = [f"{each} = {value}{suffix}," for each, (_, value) in zip(names, values, strict=True)]
        if kind == _ENUM64:  # C has no literal for the lowest number
            lines = [line.replace("-9223372036854775808LL", "-9223372036854775807LL - 1") for line in lines]
        attribute = ""
        if size != 4 or kind == _ENUM64:
            numbers = [value for _, value in values] or [0]
            low, high = min(numbers), max(numbers)
            wide = low < -(1 << 31) or high >= 1 << 32 or (low < 0 and high >= 1 << 31)
            attribute = "" if size == (8 if wide else 4) else _ENUM_MODES.get(size, "")
        if not lines:
            lines = [f"{self.enumerators([f'{name}___empty'])[0]} = 0,"]
        indent = "\n" + "\t" * min(tabs, _MOST_TABS)
        between = f"{indent}\t"
        return f"enum {name + ' ' if name else ''}{{{between}{between.join(lines)}{indent}}}{attribute}"

    # --- whole texts ----------------------------------------------------------------------------

    def expand(self, text: str) -> str:
        """The text with every marked type spelled out in its place.

        Raises:
            BtfError: the text would be out of all proportion.
        """
        if MARK not in text:
            return text
        done: list[str] = []
        rest: list[str | int] = [text]
        tabs = 0  # of the line that is being written
        while rest:
            part = rest.pop()
            if isinstance(part, int):
                part = self.body(part, tabs, "")
                self._spend(len(part))
            if MARK in part:
                texts = _MARKED.split(part)  # text, id, text, id, ... text
                texts[1::2] = map(int, texts[1::2])
                rest += reversed(texts)
                continue
            done.append(part)
            line = part.rpartition("\n")[2] if "\n" in part else None
            if line is not None:
                tabs = len(line) - len(line.lstrip("\t"))
        return "".join(done)

    def _spend(self, length: int) -> None:
        self.budget -= length
        if self.budget < 0:
            raise BtfError("as C, its types would be out of all proportion long", source=self.spec.name or "BTF")

    def error(self, type_id: int, why: str) -> BtfError:
        """An error about one type."""
        return BtfError(f"{describe_with_id(self.spec, type_id)}: {why}", source=self.spec.name or "BTF")


class _Fields(dict[int, Field]):
    """Type id -> the type as that of a member; made when asked for."""

    def __init__(self, writer: Writer) -> None:
        self.writer = writer

    def __missing__(self, member: int) -> Field:
        self[member] = made = self.writer.field(member)
        return made


def padding(start: int, end: int, align: int, *, packed: bool) -> list[str]:
    """Unnamed bitfields that move the position from bit `start` to bit `end`.

    Args:
        start: bits.
        end: bits.
        align: bits of the struct's alignment: a larger type would raise it on some machines.
        packed: bitfields are not aligned.
    """
    unit = 64 if packed else min(align, 64)
    keyword = _PADS[unit]
    lines: list[str] = []
    position = start
    if end - start > _MOST_PADS * unit:
        position = -(-start // 8) * 8
        if position != start:
            lines.append(f"char: {position - start};")
        count = (end - position) // 8
        lines.append(f"char __padding_{position // 8}[{count}];")
        position += 8 * count
    while position < end:
        step = min(end - position, unit - position % unit)
        whole = not packed and position % unit and (position + step) % unit == 0
        lines.append(f"{keyword}: {0 if whole else step};")
        position += step
    return lines


_TAG_KEYWORDS: dict[int, str] = {
    _STRUCT: "struct",
    _UNION: "union",
    _ENUM: "enum",
    _ENUM64: "enum",
}
_ENUM_MODES = {
    1: " __attribute__((mode(QI)))",
    2: " __attribute__((mode(HI)))",
    4: " __attribute__((mode(SI)))",
    8: " __attribute__((mode(DI)))",
}


def _widening(end: int, align: int, *, packed: bool) -> list[str]:
    """A member that gives a union `end` bits."""
    return ["struct {", *(f"\t{line}" for line in padding(0, end, align, packed=packed)), "};"]


def _another(name: str, used: set[str]) -> str:
    """A member's name with a number behind it, as an earlier member has the name."""
    if not name:
        return ""
    number = 2
    while f"{name}___{number}" in used:
        number += 1
    made = f"{name}___{number}"
    used.add(made)
    return made


def enum_values(words: Words, at: int, info: int, kind: int, size: int) -> list[tuple[int, int]]:
    """Name offset and value of each enumerator, as C writes it."""
    signed = bool(info & KIND_FLAG)
    found: list[tuple[int, int]]
    if kind == _ENUM64:
        body = words[at + 3 : at + 3 + 3 * (info & VLEN_MASK)]
        found = [(n, low | high << 32) for n, low, high in zip(body[0::3], body[1::3], body[2::3], strict=True)]
        return [(n, v - (1 << 64) if v >> 63 else v) for n, v in found] if signed else found
    body = words[at + 3 : at + 3 + 2 * (info & VLEN_MASK)]
    found = list(zip(body[0::2], body[1::2], strict=True))
    if signed or size < 4:  # the flag is young: without it, a number too large for the size was negative
        return [(n, v - (1 << 32) if v >> 31 else v) for n, v in found]
    return found


def parts_of(words: Words, at: int, info: int) -> Sequence[int]:
    """The types whose size a type's own depends on."""
    kind = info >> KIND_SHIFT & KIND_MASK
    if kind in (_STRUCT, _UNION):
        return words[at + 4 : at + 3 + 3 * (info & VLEN_MASK) : 3]
    if kind in _PASSED:
        return (words[at + 2],)
    return (words[at + 3],) if kind == _ARRAY else ()


def c_text(text: str) -> str:
    """The text as the inside of a C string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if " " <= c <= "~" else "".join(f"\\{b:03o}" for b in c.encode()) for c in escaped)


def integer_name(size: int, encoding: int) -> str:
    """C's name for an integer; "" if it has none."""
    if encoding & INT_BOOL and size == 1:
        return "_Bool"
    word = {1: "char", 2: "short int", 4: "int", 8: "long long int", 16: "__int128"}.get(size, "")
    if not word:
        return ""
    if encoding & INT_SIGNED:
        return "signed char" if size == 1 else word
    return f"unsigned {word}"


def is_c_integer(name: str, size: int, pointer_size: int) -> bool:
    """Whether a C compiler knows an integer of that name and gives it that size."""
    tokens = name.split()
    if not tokens or not _INT_WORDS.issuperset(tokens):
        return False
    for word, expected in (("_Bool", 1), ("char", 1), ("short", 2), ("__int128", 16)):
        if word in tokens:
            return size == expected
    return size == {0: 4, 1: pointer_size, 2: 8}.get(tokens.count("long"), 0)
