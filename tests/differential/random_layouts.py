"""Random structs whose layout a compiler decides, and the BTF that describes it: for any machine that clang knows.

A description becomes C twice. First as a programmer writes it, with ``packed``, ``aligned`` and unnamed bitfields, and
with a table of its sizes and offsets, which the compiler puts into an object file. From that table the BTF is built.
Then as the header of that BTF, whose layout must be the same without knowing any of the attributes.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy.btf import Array, Builder, Enum, Enumerator, Float, Int, Member, Pointer, Spec, Struct, Type, Union, Void

if TYPE_CHECKING:
    from random import Random


class Field(NamedTuple):
    """A member.

    Attributes:
        name: "" for an unnamed bitfield.
        type: a name of `TYPES`, or a `Composite`.
        count: elements of an array; None for no array.
        width: of a bitfield; None for none.
        hidden: it has no name in BTF: an anonymous struct.
    """

    name: str
    type: str | Composite
    count: int | None = None
    width: int | None = None
    hidden: bool = False


class Composite(NamedTuple):
    """A struct or union."""

    name: str
    union: bool
    fields: tuple[Field, ...]
    attributes: str


TYPES: dict[str, Type] = {
    "char": Int("char", 1, 1),
    "_Bool": Int("_Bool", 1, 4),
    "short": Int("short int", 2, 1),
    "unsigned int": Int("unsigned int", 4),
    "int": Int("int", 4, 1),
    "unsigned long long": Int("long long unsigned int", 8),
    "double": Float("double", 8),
    "void *": Pointer(Void()),
    "enum colour": Enum("colour", 4, (Enumerator("RED", 0), Enumerator("BLUE", 9))),
}
_BITS = {"char": 8, "short": 16, "unsigned int": 32, "int": 32, "unsigned long long": 64, "_Bool": 1}
_ATTRIBUTES = ["", "", "", "", "__attribute__((packed))", "__attribute__((aligned(16)))",
               "__attribute__((packed, aligned(4)))"]  # fmt: skip


def random_composites(random: Random, count: int) -> list[Composite]:
    """Composites of which later ones may contain earlier ones."""
    made: list[Composite] = []
    for index in range(count):
        made.append(_composite(random, f"s{index}", made, 0))
    return made


def _composite(random: Random, name: str, earlier: list[Composite], depth: int) -> Composite:
    fields = []
    for index in range(random.randint(1, 6)):
        label = f"m{depth}{index}" if depth else f"f{index}"
        choice = random.randrange(10)
        if choice < 4:
            fields.append(Field(label, random.choice(list(TYPES))))
        elif choice < 5:
            fields.append(Field(label, random.choice(list(TYPES)), count=random.choice([0, 1, 3, 5])))
        elif choice < 8:
            kind = random.choice(list(_BITS))
            width = random.randint(1, _BITS[kind])
            fields.append(Field(random.choice([label, label, ""]), kind, width=random.choice([width, width, width])))
        elif choice < 9 and earlier:
            fields.append(Field(label, random.choice(earlier), count=random.choice([None, None, 2])))
        elif depth < 2:
            inner = _composite(random, "", earlier, depth + 1)
            inner = inner._replace(fields=tuple(f._replace(name=f.name and f"{label}_{f.name}") for f in inner.fields))
            fields.append(Field(label, inner, hidden=random.random() < 0.6))
        else:
            fields.append(Field(label, "char"))
    if not any(field.name and field.width is None for field in fields):
        fields.append(Field("last", "char"))
    return Composite(name, random.random() < 0.2, tuple(fields), random.choice(_ATTRIBUTES))


def source(composites: list[Composite]) -> str:
    """C in which the compiler decides the layout, and writes it down."""
    lines = ["enum colour { RED, BLUE = 9 };"]
    for index, composite in enumerate(composites):
        lines.append(f"{_spelled(composite)};")
        numbers = [f"sizeof({_tag(composite)})"]
        for path, field in _paths(composite, ""):
            if field.width is not None:
                value = 1 if field.type == "_Bool" else -1
                lines.append(f"{_tag(composite)} v{index}_{path.replace('.', '_')} = {{ .{path} = {value} }};")
            else:
                numbers.append(f"__builtin_offsetof({_tag(composite)}, {path})")
                if isinstance(field.type, Composite):
                    numbers.append(f"sizeof((({_tag(composite)} *)0)->{path}{'[0]' if field.count else ''})")
        lines.append(f"unsigned int t{index}[] = {{ {', '.join(numbers)} }};")
    return "\n".join(lines) + "\n"


def _tag(composite: Composite) -> str:
    return f"{'union' if composite.union else 'struct'} {composite.name}"


def _spelled(composite: Composite) -> str:
    lines = []
    for field in composite.fields:
        kind = field.type
        if isinstance(kind, Composite):
            kind = _tag(kind) if kind.name else _spelled(kind)
        behind = (
            f" : {field.width}" if field.width is not None else f"[{field.count}]" if field.count is not None else ""
        )
        lines.append(f"{kind} {field.name}{behind};")
    return f"{_tag(composite)} {{ {' '.join(lines)} }} {composite.attributes}"


def _paths(composite: Composite, path: str):
    """Every member that has a name, with those of unnamed structs in it."""
    for field in composite.fields:
        if not field.name:
            continue
        yield f"{path}{field.name}", field
        if isinstance(field.type, Composite) and not field.type.name:
            yield from _paths(field.type, f"{path}{field.name}.")


def spec_of(composites: list[Composite], variables: dict[str, bytes], order: str, word: int) -> Spec:
    """The BTF of what the compiler wrote down.

    Args:
        composites: what `source` was made of.
        variables: those of the object file.
        order: "little" or "big".
        word: bytes of a pointer.
    """
    made: dict[str, Type] = {}
    for index, composite in enumerate(composites):
        words = variables[f"t{index}"]
        numbers = iter(struct.unpack_from(f"{'<' if order == 'little' else '>'}{len(words) // 4}I", words))
        size = next(numbers)
        places: dict[str, tuple[int, int]] = {}  # path -> bit offset, size of the struct that it is
        for path, field in _paths(composite, ""):
            if field.width is None:
                at = 8 * next(numbers)
                places[path] = (at, next(numbers) if isinstance(field.type, Composite) else 0)
            else:
                data = int.from_bytes(variables[f"v{index}_{path.replace('.', '_')}"][:size], order)
                low = (data & -data).bit_length() - 1
                places[path] = (low if order == "little" else 8 * size - low - field.width, 0)
        made[composite.name] = _type(composite, size, places, "", 0, made)
    builder = Builder()
    builder.add_all(made.values())
    spec = Spec(builder.marshal(order), name="layouts")
    spec.pointer_size = word
    return spec


def _type(composite, size: int, places, path: str, start: int, made: dict[str, Type]) -> Type:
    members = []
    for field in composite.fields:
        if not field.name:
            continue
        here = f"{path}{field.name}"
        at, inner_size = places[here]
        if not isinstance(field.type, Composite):
            of = TYPES[field.type]
        elif field.type.name:
            of = made[field.type.name]
        else:
            of = _type(field.type, inner_size, places, f"{here}.", at, made)
        if field.count is not None:
            of = Array(of, Int("unsigned int", 4), field.count)
        members.append(Member("" if field.hidden else field.name, of, at - start, field.width or 0))
    return (Union if composite.union else Struct)(composite.name, size, tuple(members))
