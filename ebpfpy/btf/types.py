"""The types of BTF as Python objects.

Types form cyclic graphs (``struct list_head`` points at itself), so an object never holds the types it
refers to: it holds *references*, resolved when they are read. A reference is a type id inside the `Spec` that
the type came from, another type object, or, for graphs built by hand, a callable that returns one::

    node = Struct("node", 8, (Member("next", Pointer(lambda: node)),))

Consequences: making a type touches nothing else; ``repr`` prints one level; equality and hash are identity.
A `Spec` returns the same object for the same id every time, so identity is what a caller means.
Structural comparison is a question of its own.

All sizes are in bytes unless the name says bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, SupportsIndex, TypeAlias

import attrs

from ebpfpy.errors import InputError

from .kinds import INT_BOOL, INT_CHAR, INT_SIGNED, Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .spec import Spec

Reference: TypeAlias = "Type | int | Callable[[], Type]"


def _follow(reference: Reference, spec: Spec | None) -> Type:
    if isinstance(reference, Type):
        return reference
    if isinstance(reference, int):
        if spec is None:
            raise InputError("a type id means nothing without a Spec: refer to the type object itself")
        return spec.type_by_id(reference)
    return reference()


@attrs.frozen(eq=False, repr=False)
class Type:
    """The base of all types; compare and hash by identity.

    Objects that came out of a `Spec` remember it; `Spec.type_id` tells their id.
    """

    kind: ClassVar[Kind] = Kind.VOID
    _spec: Spec | None = attrs.field(default=None, kw_only=True)
    _position: int = attrs.field(default=-1, kw_only=True)

    @property
    def spec(self) -> Spec | None:
        """The `Spec` that this type came from; None for a type built by hand."""
        return self._spec

    def _parts(self) -> Iterator[str]:
        """What `repr` shows between the class name and the id."""
        name = getattr(self, "name", None)
        if name is not None:
            yield repr(name) if name else "(anon)"
        size = getattr(self, "size", None)
        if size is not None:
            yield f"size={size}"

    def __repr__(self) -> str:
        return f"<{' '.join([type(self).__name__, *self._parts()])}>"

    def __reduce_ex__(self, protocol: SupportsIndex) -> tuple[Any, ...]:
        """Pickled as a spec and an id: any depth, any circles; types of one spec stay one another's.

        A type that was built by hand is written down for that, and comes back as a type of a spec of its own.
        """
        if self._spec is not None:
            return _type_of, (self._spec, self._spec.type_id(self))
        if isinstance(self, Void):
            return Void, ()
        from .builder import Builder

        builder = Builder()
        type_id = builder.add(self)
        return _type_of, (builder.spec(), type_id)

    def __copy__(self) -> Type:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Type:
        return self


def _type_of(spec: Spec, type_id: int) -> Type:
    """Unpickles a type that came from a spec: as the very object that the unpickled spec answers with."""
    return spec.type_by_id(type_id)


@attrs.frozen(eq=False, repr=False)
class Void(Type):
    """``void``, type id 0 of every BTF."""

    name: ClassVar[str] = "void"


@attrs.frozen(eq=False, repr=False)
class Int(Type):
    """An integer.

    Attributes:
        name: as the source spells it ("unsigned int").
        size: bytes that it occupies.
        encoding: sum of the bits signed (1), char (2) and bool (4).
        bits: significant bits; fewer than ``size * 8`` only in legacy bitfields.
        bit_offset: where they start; 0 but in legacy bitfields.
    """

    kind: ClassVar[Kind] = Kind.INT
    name: str
    size: int
    encoding: int = 0
    bits: int = attrs.field()
    bit_offset: int = 0

    @bits.default
    def _all_bits(self) -> int:
        return self.size * 8

    @property
    def signed(self) -> bool:
        """Whether values below zero exist."""
        return bool(self.encoding & INT_SIGNED)

    @property
    def char(self) -> bool:
        """Whether the compiler marked it as a character (it rarely does)."""
        return bool(self.encoding & INT_CHAR)

    @property
    def bool(self) -> bool:
        """Whether it is a truth value."""
        return bool(self.encoding & INT_BOOL)


@attrs.frozen(eq=False, repr=False)
class Float(Type):
    """A floating point number of `size` bytes."""

    kind: ClassVar[Kind] = Kind.FLOAT
    name: str
    size: int


@attrs.frozen(eq=False, repr=False)
class _Target(Type):
    """A type that is about one other type."""

    _target: Reference

    @property
    def target(self) -> Type:
        """The type referred to."""
        return _follow(self._target, self._spec)


@attrs.frozen(eq=False, repr=False)
class Pointer(_Target):
    """A pointer to `target`; its size is the spec's pointer size."""

    kind: ClassVar[Kind] = Kind.PTR


@attrs.frozen(eq=False, repr=False)
class Volatile(_Target):
    """``volatile`` on `target`."""

    kind: ClassVar[Kind] = Kind.VOLATILE


@attrs.frozen(eq=False, repr=False)
class Const(_Target):
    """``const`` on `target`."""

    kind: ClassVar[Kind] = Kind.CONST


@attrs.frozen(eq=False, repr=False)
class Restrict(_Target):
    """``restrict`` on `target`."""

    kind: ClassVar[Kind] = Kind.RESTRICT


@attrs.frozen(eq=False, repr=False)
class _NamedTarget(Type):
    name: str
    _target: Reference

    @property
    def target(self) -> Type:
        """The type referred to."""
        return _follow(self._target, self._spec)


@attrs.frozen(eq=False, repr=False)
class Typedef(_NamedTarget):
    """``typedef target name``."""

    kind: ClassVar[Kind] = Kind.TYPEDEF


@attrs.frozen(eq=False, repr=False)
class TypeTag(_NamedTarget):
    """``__attribute__((btf_type_tag(name)))`` on `target`; with `attribute` set, the bare attribute `name`."""

    kind: ClassVar[Kind] = Kind.TYPE_TAG
    attribute: bool = False


@attrs.frozen(eq=False, repr=False)
class DeclTag(_NamedTarget):
    """``__attribute__((btf_decl_tag(name)))`` on `target`.

    Attributes:
        name: the tag's text.
        component: index of the member or parameter that it is on; -1 for the target itself.
        attribute: it is the bare attribute `name` rather than a tag.
    """

    kind: ClassVar[Kind] = Kind.DECL_TAG
    component: int = -1
    attribute: bool = False


@attrs.frozen(eq=False, repr=False)
class Array(Type):
    """An array of `count` elements."""

    kind: ClassVar[Kind] = Kind.ARRAY
    _element: Reference
    _index: Reference
    count: int

    @property
    def element(self) -> Type:
        """The type of an element."""
        return _follow(self._element, self._spec)

    @property
    def index(self) -> Type:
        """The type of an index."""
        return _follow(self._index, self._spec)

    def _parts(self) -> Iterator[str]:
        yield f"count={self.count}"


@attrs.frozen(eq=False, repr=False)
class Member:
    """A member of a struct or union.

    Attributes:
        name: "" for an anonymous member.
        offset_bits: where it starts, in bits from the start of the struct.
        bitfield_size: its width in bits, 0 when it is no bitfield.
    """

    name: str
    _type: Reference
    offset_bits: int = 0
    bitfield_size: int = 0
    _spec: Spec | None = None

    @property
    def type(self) -> Type:
        """The member's type."""
        return _follow(self._type, self._spec)

    @property
    def offset(self) -> int:
        """The offset in whole bytes (of a bitfield: of the byte where it starts)."""
        return self.offset_bits // 8

    def __copy__(self) -> Member:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Member:
        return self

    def __repr__(self) -> str:
        width = f":{self.bitfield_size}" if self.bitfield_size else ""
        return f"<Member {self.name or '(anon)'}{width} @{self.offset_bits} bits>"


@attrs.frozen(eq=False, repr=False)
class _Composite(Type):
    name: str
    size: int
    members: tuple[Member, ...] = ()

    def member(self, name: str) -> Member:
        """The member called `name`, searched in this struct only, not in anonymous members.

        Raises:
            KeyError: there is none.
        """
        for member in self.members:
            if member.name == name:
                return member
        raise KeyError(name)


@attrs.frozen(eq=False, repr=False)
class Struct(_Composite):
    """A struct of `size` bytes; `name` is "" for an anonymous one."""

    kind: ClassVar[Kind] = Kind.STRUCT


@attrs.frozen(eq=False, repr=False)
class Union(_Composite):
    """A union of `size` bytes; `name` is "" for an anonymous one."""

    kind: ClassVar[Kind] = Kind.UNION


@attrs.frozen
class Enumerator:
    """A named value of an enum."""

    name: str
    value: int


@attrs.frozen(eq=False, repr=False)
class Enum(Type):
    """An enum: of BTF's kind ENUM, or of kind ENUM64 where `is64` says so.

    Attributes:
        name: "" for an anonymous one.
        size: 1, 2, 4 or 8 bytes.
        signed: whether the values are signed, as the record's flag says. Compilers before clang 15 and pahole 1.24
            never set it: a negative enumerator then reads as a large positive value, as bpftool shows it too.
        is64: the record is of kind ENUM64.
    """

    name: str
    size: int
    enumerators: tuple[Enumerator, ...] = ()
    signed: bool = False
    is64: bool = False

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """`Kind.ENUM` or `Kind.ENUM64`."""
        return Kind.ENUM64 if self.is64 else Kind.ENUM


@attrs.frozen(eq=False, repr=False)
class Fwd(Type):
    """A struct (or union) that is declared, not defined."""

    kind: ClassVar[Kind] = Kind.FWD
    name: str
    union: bool = False


@attrs.frozen(eq=False, repr=False)
class Param:
    """A parameter of a function prototype; the last one of a variadic function has no name and type void."""

    name: str
    _type: Reference
    _spec: Spec | None = None

    @property
    def type(self) -> Type:
        """The parameter's type."""
        return _follow(self._type, self._spec)

    def __copy__(self) -> Param:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Param:
        return self

    def __repr__(self) -> str:
        return f"<Param {self.name or '(anon)'}>"


@attrs.frozen(eq=False, repr=False)
class FuncProto(Type):
    """A function's type."""

    kind: ClassVar[Kind] = Kind.FUNC_PROTO
    _result: Reference
    params: tuple[Param, ...] = ()

    @property
    def result(self) -> Type:
        """The return type."""
        return _follow(self._result, self._spec)

    def _parts(self) -> Iterator[str]:
        yield f"params={len(self.params)}"


@attrs.frozen(eq=False, repr=False)
class Func(Type):
    """A function.

    Attributes:
        linkage: 0 static, 1 global, 2 extern.
    """

    kind: ClassVar[Kind] = Kind.FUNC
    name: str
    _proto: Reference
    linkage: int = 0

    @property
    def proto(self) -> Type:
        """Its `FuncProto`."""
        return _follow(self._proto, self._spec)


@attrs.frozen(eq=False, repr=False)
class Var(Type):
    """A global variable.

    Attributes:
        linkage: 0 static, 1 global, 2 extern.
    """

    kind: ClassVar[Kind] = Kind.VAR
    name: str
    _type: Reference
    linkage: int = 0

    @property
    def type(self) -> Type:
        """The variable's type."""
        return _follow(self._type, self._spec)


@attrs.frozen(eq=False, repr=False)
class VarSecinfo:
    """Where a variable lies in a data section: byte offset and size."""

    _var: Reference
    offset: int
    size: int
    _spec: Spec | None = None

    @property
    def var(self) -> Type:
        """The `Var` (or, in a .ksyms section, the `Func`)."""
        return _follow(self._var, self._spec)

    def __copy__(self) -> VarSecinfo:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> VarSecinfo:
        return self

    def __repr__(self) -> str:
        return f"<VarSecinfo @{self.offset} size={self.size}>"


@attrs.frozen(eq=False, repr=False)
class Datasec(Type):
    """A data section and the variables in it."""

    kind: ClassVar[Kind] = Kind.DATASEC
    name: str
    size: int
    variables: tuple[VarSecinfo, ...] = ()
