"""What types are made of: members, parameters, enumerators, and the places of variables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from ebpfpy.errors import InputError

from .kinds import Kind
from .typebase import Frozen, Reference, TypeTagged, fill, follow, set_attribute

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import SupportsIndex

    from .typebase import Type


class Part(Frozen):
    """Something that belongs to one type and refers to another one.

    A part of a type that came from a `Spec` knows its owner and which of the owner's parts it is; one that was built by
    hand may belong to several types, and knows none.
    """

    __slots__ = ("_index", "_owner")

    _owner: Type | None
    _index: int
    __match_args__: ClassVar[tuple[str, ...]] = ()

    def _build(self, **values: object) -> None:
        """Fill an object that is built by hand."""
        set_attribute(self, "_owner", None)
        set_attribute(self, "_index", -1)
        fill(self, values)

    def _follow(self, reference: Reference) -> Type:
        return follow(reference, None if self._owner is None else self._owner._spec)

    def _tags(self, attribute: bool) -> tuple[str, ...]:
        if self._owner is None or self._owner.kind == Kind.FUNC_PROTO:
            return ()
        from .tags import tags_on

        return tags_on(self._owner, self._index, attribute)

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Pickled as one of its owner's parts; what was built by hand, with the types that it refers to."""
        if self._owner is not None:
            return _part_of, (self._owner, self._index)
        return type(self), tuple(getattr(self, name) for name in self.__match_args__)


def _part_of(owner: Any, index: int) -> Part:
    """Unpickles a part of a type."""
    found: Part = getattr(owner, owner._entries)[index]
    return found


class TypedPart(TypeTagged, Part):
    """A part with a type, and with tags: a member or a parameter."""

    __slots__ = ("_type",)

    _type: Reference

    @property
    def type(self) -> Type:
        """Its type."""
        return self._follow(self._type)

    @property
    def tags(self) -> tuple[str, ...]:
        """The declaration tags on it: ``__attribute__((btf_decl_tag("...")))``.

        () for what was built by hand, and for a parameter of a `FuncProto`.
        """
        return self._tags(attribute=False)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The bare attributes on it; () where `tags` is always ()."""
        return self._tags(attribute=True)


class Member(TypedPart):
    """A member of a struct or union.

    Attributes:
        name: "" for an anonymous member.
        offset_bits: where it starts, in bits from the start of the struct.
        bitfield_size: its width in bits, 0 when it is no bitfield.
    """

    __slots__ = ("bitfield_size", "name", "offset_bits")
    __match_args__ = ("name", "type", "offset_bits", "bitfield_size")

    name: str
    offset_bits: int
    bitfield_size: int

    def __init__(self, name: str, type: Reference, offset_bits: int = 0, bitfield_size: int = 0) -> None:  # noqa: A002
        self._build(name=name, _type=type, offset_bits=offset_bits, bitfield_size=bitfield_size)

    @property
    def offset(self) -> int:
        """The offset in whole bytes (of a bitfield: of the byte where it starts)."""
        return self.offset_bits // 8

    def __repr__(self) -> str:
        width = f":{self.bitfield_size}" if self.bitfield_size else ""
        return f"<Member {self.name or '(anon)'}{width} @{self.offset_bits} bits>"


class Param(TypedPart):
    """A parameter of a function, or of a function prototype.

    The last one of a variadic function has no name and type void. Prototypes are shared between functions and tags are
    on functions, so only those of `Func.params` have tags.
    """

    __slots__ = ("name",)
    __match_args__ = ("name", "type")

    name: str

    def __init__(self, name: str, type: Reference) -> None:  # noqa: A002
        self._build(name=name, _type=type)

    def __repr__(self) -> str:
        return f"<Param {self.name or '(anon)'}>"


class VarSecinfo(Part):
    """Where a variable lies in a data section: byte offset and size."""

    __slots__ = ("_var", "offset", "size")
    __match_args__ = ("var", "offset", "size")

    _var: Reference
    offset: int
    size: int

    def __init__(self, var: Reference, offset: int, size: int) -> None:
        self._build(_var=var, offset=offset, size=size)

    @property
    def var(self) -> Type:
        """The `Var` (or, in a .ksyms section, the `Func`)."""
        return self._follow(self._var)

    def __repr__(self) -> str:
        return f"<VarSecinfo @{self.offset} size={self.size}>"


P = TypeVar("P", bound=Frozen)


def parts_of(cls: type[P], parts: Iterable[P]) -> tuple[P, ...]:
    """What a type is built from by hand, as a tuple.

    Raises:
        InputError: it is no iterable, or one of them is something else.
    """
    try:
        found = tuple(parts)
    except TypeError:
        raise InputError(f"{parts!r} is no sequence of {cls.__name__} objects") from None
    for each in found:
        if not isinstance(each, cls):
            raise InputError(f"{each!r} is no {cls.__name__}")
    return found


class Enumerator(Frozen):
    """A named value of an enum; two of the same name and value are equal."""

    __slots__ = __match_args__ = ("name", "value")

    name: str
    value: int

    def __init__(self, name: str, value: int) -> None:
        set_attribute(self, "name", name)
        set_attribute(self, "value", value)

    def __eq__(self, other: object) -> bool:
        if other.__class__ is not Enumerator:
            return NotImplemented
        return (self.name, self.value) == (other.name, other.value)

    def __hash__(self) -> int:
        return hash((self.name, self.value))

    def __reduce__(self) -> tuple[Any, ...]:
        return Enumerator, (self.name, self.value)

    def __repr__(self) -> str:
        return f"Enumerator(name={self.name!r}, value={self.value!r})"
