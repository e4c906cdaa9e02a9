"""Pairs of C declarations as hypothesis draws them: what a program was compiled with, and what a kernel made of it.

A declaration is drawn: a struct of integers, bit-fields, pointers, enums, arrays and other structs, named or anonymous,
packed or not. Its later version is made by what kernel developers do to structs: members are moved, renamed, removed,
given another size or type, put into anonymous unions, turned into bit-fields and back; arrays grow and shrink;
enumerators come, go and get other values; types get new names behind "___". Both are laid out by the rules of C
for 64-bit machines (the psABI's for bit-fields) and written as BTF with `btf.Builder`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from hypothesis import strategies as st

from ebpfpy import btf

if TYPE_CHECKING:
    from collections.abc import Iterator

SIGNED, CHAR, BOOL = 1, 2, 4
INTEGERS = {
    "signed char": (1, SIGNED),
    "unsigned char": (1, 0),
    "_Bool": (1, BOOL),
    "short": (2, SIGNED),
    "unsigned short": (2, 0),
    "int": (4, SIGNED),
    "unsigned int": (4, 0),
    "long": (8, SIGNED),
    "unsigned long": (8, 0),
}
FLOATS = {"float": 4, "double": 8}
UNSIGNED = [name for name, (_, encoding) in INTEGERS.items() if not encoding & SIGNED]  # loads may follow their size
NAMES = ["a", "b", "c", "d", "e", "f"]
VALUES = ["RED", "GREEN", "BLUE", "BLACK"]


class Scalar(NamedTuple):
    """An integer, a float, or (`name` "void *") a pointer."""

    name: str


class Enum(NamedTuple):
    """An enum; `wide` ones have 64 bits."""

    name: str
    values: tuple[tuple[str, int], ...]
    signed: bool
    wide: bool


class Array(NamedTuple):
    """An array."""

    element: Declared
    count: int


class Alias(NamedTuple):
    """A typedef, or without a name a const."""

    name: str
    target: Declared


class Field(NamedTuple):
    """A member; `width` is that of a bit-field, or 0."""

    name: str
    type: Declared
    width: int = 0


class Composite(NamedTuple):
    """A struct or union."""

    name: str
    fields: tuple[Field, ...]
    union: bool = False
    packed: bool = False


Declared = Scalar | Enum | Array | Alias | Composite


# --- drawing ----------------------------------------------------------------------------------------


@st.composite
def enums(draw: st.DrawFn) -> Enum:
    """An enum."""
    wide, signed = draw(st.integers(0, 3)) == 0, draw(st.booleans())
    low, high = (-(1 << 31), (1 << 31) - 1) if signed else (0, (1 << 32) - 1)
    if wide:
        low, high = low * (1 << 32), high << 32
    number = st.sampled_from([0, 1, 5, high]) | st.integers(low, high)
    names = draw(st.lists(st.sampled_from(VALUES), min_size=1, max_size=4, unique=True))
    return Enum(draw(st.sampled_from(["e", "colour"])), tuple((name, draw(number)) for name in names), signed, wide)


@st.composite
def declared(draw: st.DrawFn, depth: int = 2) -> Declared:
    """A type that a member may have."""
    choice = draw(st.integers(0, 11 if depth else 7))
    if choice <= 3:
        return Scalar(draw(st.sampled_from([*INTEGERS, *FLOATS, *UNSIGNED])))
    if choice == 4:
        return Scalar("void *")
    if choice == 5:
        return draw(enums())
    if choice == 6:
        return Array(Scalar(draw(st.sampled_from(list(INTEGERS)))), draw(st.integers(1, 4)))
    if choice == 7:
        return Alias(draw(st.sampled_from(["", "alias_t"])), Scalar(draw(st.sampled_from(list(INTEGERS)))))
    if choice == 8:
        return Array(draw(composites(depth=depth - 1)), draw(st.integers(1, 3)))
    return draw(composites(depth=depth - 1))


@st.composite
def composites(draw: st.DrawFn, name: str = "inner", depth: int = 2, most: int = 4) -> Composite:
    """A struct or union; members of one and the same have different names."""
    fields: list[Field] = []
    names = draw(st.permutations(NAMES))
    union = draw(st.integers(0, 4)) == 0
    for at in range(draw(st.integers(1, most))):
        choice = draw(st.integers(0, 5))
        if choice == 0 and depth:  # its members must not repeat the names around it
            inner = draw(composites(name="", depth=depth - 1, most=2))
            fields.append(Field("", _renamed(inner, names[at])))
        elif choice == 1 and not union:
            integer = draw(st.sampled_from(list(INTEGERS)))
            most_bits = 1 if integer == "_Bool" else 8 * INTEGERS[integer][0]
            fields.append(Field(names[at], Scalar(integer), draw(st.integers(1, most_bits))))
        else:
            fields.append(Field(names[at], draw(declared(depth))))
    return Composite(name, tuple(fields), union, draw(st.integers(0, 5)) == 0)


def _renamed(of: Composite, prefix: str) -> Composite:
    """With a prefix before every name that can be reached without naming another."""
    return of._replace(
        fields=tuple(
            field._replace(name=f"{prefix}_{field.name}")
            if field.name
            else field._replace(type=_renamed(field.type, prefix))
            for field in of.fields
        )
    )


@st.composite
def evolved(draw: st.DrawFn, of: Composite, depth: int = 2) -> Composite:
    """A later version of a struct."""
    fields: list[Field] = []
    for field in of.fields:
        choice = draw(st.integers(0, 15))
        if choice == 0:
            continue  # removed
        if choice == 1 and field.name:
            fields.append(field._replace(name=f"{field.name}_renamed"))
        elif choice == 2 and field.name:  # into an anonymous struct or union
            around = Composite("", (Field(f"pad_{field.name}", Scalar("long")), field), draw(st.booleans()))
            fields.append(Field("", around))
        elif choice == 3 and not of.union and _integer(field.type):
            size = INTEGERS[_integer(field.type)][0]
            fields.append(field._replace(width=0 if field.width else draw(st.integers(1, 8 * size))))
        elif choice == 4:
            fields.append(Field(f"new_{field.name}" if field.name else "new", Scalar("unsigned short")))
            fields.append(field)
        elif choice <= 9:
            fields.append(field._replace(type=draw(changed(field.type, depth)), width=0))
        else:
            fields.append(field)
    if draw(st.integers(0, 2)) == 0:
        fields = draw(st.permutations(fields))
    packed = of.packed if draw(st.integers(0, 4)) else not of.packed
    return of._replace(name=draw(_flavoured(of.name)), fields=tuple(_unbool(each) for each in fields), packed=packed)


def _unbool(field: Field) -> Field:
    return field._replace(width=1) if field.width and _integer(field.type) == "_Bool" else field


def _flavoured(name: str) -> st.SearchStrategy[str]:
    return st.sampled_from([name, name, name, f"{name}___v2"]) if name else st.just(name)


def _integer(of: Declared) -> str:
    """The name of an integer type, "" for anything else."""
    return of.name if isinstance(of, Scalar) and of.name in INTEGERS else ""


@st.composite
def changed(draw: st.DrawFn, of: Declared, depth: int) -> Declared:
    """What a member's type may have become."""
    if draw(st.integers(0, 7)) == 0:
        return draw(declared(depth=0))
    if isinstance(of, Scalar):
        return (
            Scalar(draw(st.sampled_from(UNSIGNED if of.name in UNSIGNED else list(INTEGERS)))) if _integer(of) else of
        )
    if isinstance(of, Array):
        return Array(draw(changed(of.element, depth)), draw(st.integers(1, 5)))
    if isinstance(of, Alias):
        return draw(st.sampled_from([of.target, Alias("", of.target), Alias("other_t", of)]))
    if isinstance(of, Enum):
        return draw(changed_enum(of))
    return draw(evolved(of, depth - 1)) if depth else of


@st.composite
def changed_enum(draw: st.DrawFn, of: Enum) -> Enum:
    """A later version of an enum: enumerators renumbered, removed, renamed, added; another width."""
    other = draw(enums())
    mine = dict(of.values)
    values = {
        draw(_flavoured(name)): draw(st.sampled_from([mine.get(name, value), value])) for name, value in other.values
    }
    low, high = (-(1 << 31), (1 << 31) - 1) if other.signed else (0, (1 << 32) - 1)
    wide = other.wide or any(not low <= value <= high for value in values.values())
    if wide:
        low, high = low * (1 << 32), high << 32 | 0xFFFF_FFFF
    if any(not low <= value <= high for value in values.values()):
        return other
    return Enum(draw(_flavoured(of.name)), tuple(values.items()), other.signed, wide)


class Pair(NamedTuple):
    """Two versions of the same declarations: a struct and an enum."""

    local: tuple[Composite, Enum]
    target: tuple[Composite, Enum]


@st.composite
def pairs(draw: st.DrawFn) -> Pair:
    """What a program was compiled with, and what became of it."""
    root = draw(composites(name=draw(st.sampled_from(["root", "root___mine"])), most=5))
    if draw(st.integers(0, 3)) == 0 and not root.union:  # a flexible array, which a kernel may fix, and the reverse
        root = root._replace(fields=(*root.fields, Field("tail", Array(Scalar("int"), draw(st.sampled_from([0, 1]))))))
    enum = draw(enums())
    later = draw(evolved(root._replace(name="root")))
    if later.fields and later.fields[-1].name == "tail" and draw(st.booleans()):
        last = later.fields[-1]
        later = later._replace(fields=(*later.fields[:-1], last._replace(type=Array(Scalar("int"), 0))))
    return Pair((root, enum._replace(name="kind")), (later, draw(changed_enum(enum._replace(name="kind")))))


# --- layout -----------------------------------------------------------------------------------------


def size_of(of: Declared) -> tuple[int, int]:
    """Size and alignment in bytes."""
    if isinstance(of, Scalar):
        size = INTEGERS[of.name][0] if of.name in INTEGERS else FLOATS.get(of.name, 8)
        return size, size
    if isinstance(of, Enum):
        return (8, 8) if of.wide else (4, 4)
    if isinstance(of, Array):
        size, align = size_of(of.element)
        return size * of.count, align
    if isinstance(of, Alias):
        return size_of(of.target)
    return places(of)[1:]


def places(of: Composite) -> tuple[list[int], int, int]:
    """The offset of each member in bits; size and alignment in bytes."""
    found, at, end, largest = [], 0, 0, 1
    for field in of.fields:
        size, align = size_of(field.type)
        align = 1 if of.packed else align
        if of.union:
            at = 0
        if field.width:
            if not of.packed and at % (8 * size) + field.width > 8 * size:
                at = -(-at // (8 * size)) * 8 * size  # a bit-field does not cross a unit of its type
            found.append(at)
            at += field.width
        else:
            at = -(-at // (8 * align)) * 8 * align
            found.append(at)
            at += 8 * size
        end, largest = max(end, at), max(largest, align)
    return found, -(-end // (8 * largest)) * largest, largest


def to_btf(of: Declared, known: dict[Declared, btf.Type]) -> btf.Type:
    """The BTF type of a declaration; the same one every time."""
    found = known.get(of)
    if found is None:
        found = known[of] = _to_btf(of, known)
    return found


def _to_btf(of: Declared, known: dict[Declared, btf.Type]) -> btf.Type:
    if isinstance(of, Scalar):
        if of.name in INTEGERS:
            size, encoding = INTEGERS[of.name]
            return btf.Int(of.name, size, encoding)
        return btf.Float(of.name, FLOATS[of.name]) if of.name in FLOATS else btf.Pointer(btf.Void())
    if isinstance(of, Enum):
        values = tuple(btf.Enumerator(name, value) for name, value in of.values)
        return btf.Enum(of.name, 8 if of.wide else 4, values, of.signed, of.wide)
    if isinstance(of, Array):
        return btf.Array(to_btf(of.element, known), to_btf(Scalar("unsigned int"), known), of.count)
    if isinstance(of, Alias):
        target = to_btf(of.target, known)
        return btf.Typedef(of.name, target) if of.name else btf.Const(target)
    offsets, size, _ = places(of)
    members = tuple(
        btf.Member(field.name, to_btf(field.type, known), at, field.width)
        for field, at in zip(of.fields, offsets, strict=True)
    )
    return (btf.Union if of.union else btf.Struct)(of.name, size, members)


class Written:
    """A written BTF whose strings can still be added to, for .BTF.ext: they are at the end of the blob."""

    def __init__(self, builder: btf.Builder) -> None:
        self._blob = bytearray(builder.marshal("little"))
        self._end = struct.unpack_from("<I", self._blob, 20)[0]  # u32 str_len
        self._offsets: dict[str, int] = {}

    def string(self, text: str) -> int:
        """The offset of a string."""
        if text not in self._offsets:
            self._offsets[text] = self._end
            self._blob += text.encode() + b"\0"
            self._end += len(text.encode()) + 1
        return self._offsets[text]

    def blob(self) -> bytes:
        """The BTF with the strings."""
        struct.pack_into("<I", self._blob, 20, self._end)
        return bytes(self._blob)


# --- ways into a struct -----------------------------------------------------------------------------


class Way(NamedTuple):
    """An access string, and what is at its end.

    Attributes:
        access: "0:1:2".
        bits: where, from the start of the root.
        type: of what is there.
        width: of the bit-field that is there, or 0.
        element: it ends at an element of an array, or at the root.
    """

    access: str
    bits: int
    type: Declared
    width: int
    element: bool


def ways(root: Composite) -> Iterator[Way]:
    """Every way into a struct, arrays by their first and last elements; the root pointer by its elements 0 and 2."""
    for first in (0, 2):
        yield from _ways(root, str(first), first * 8 * size_of(root)[0])


def _ways(of: Declared, access: str, bits: int) -> Iterator[Way]:
    while isinstance(of, Alias):
        of = of.target
    if isinstance(of, Composite):
        for index, (field, at) in enumerate(zip(of.fields, places(of)[0], strict=True)):
            here = f"{access}:{index}"
            if field.name:
                yield Way(here, bits + at, field.type, field.width, False)
            if not field.width:
                yield from _ways(field.type, here, bits + at)
    elif isinstance(of, Array):
        size = size_of(of.element)[0]
        for index in sorted({0, max(of.count - 1, 0)} | ({3} if of.count == 0 else set())):
            if of.count or access.count(":") == 1:
                yield Way(f"{access}:{index}", bits + index * 8 * size, of.element, 0, True)
                yield from _ways(of.element, f"{access}:{index}", bits + index * 8 * size)
