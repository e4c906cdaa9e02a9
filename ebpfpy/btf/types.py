"""The types of BTF as Python objects.

Types form cyclic graphs (``struct list_head`` points at itself), so an object never holds the types it
refers to: it holds *references*, resolved when they are read. A reference is a type id inside the `Spec` that
the type came from, another type object, or, for graphs built by hand, a callable that returns one::

    node = Struct("node", 8, (Member("next", Pointer(lambda: node)),))

Consequences: making a type touches nothing else; ``repr`` prints one level; equality and hash are identity.
A `Spec` returns the same object for the same id every time, so identity is what a caller means.
Structural comparison is a question of its own (`same_type`).

Declaration tags are types of their own in BTF, which refer to what they are on. Here they are also found the other way
round, on what they tag (`Struct.tags`, `Member.tags`): those of the spec that the object came from. A tag in split BTF
can be on a type of the base, which knows nothing of it: ``split.tags_of(of)`` knows both.

All sizes are in bytes unless the name says bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from ebpfpy.errors import MemberNotFoundError

from .inflateparts import own_params, read_enumerators, read_members, read_params, read_variables
from .kinds import INT_BOOL, INT_CHAR, INT_SIGNED, VLEN_MASK, Kind
from .parts import Enumerator, Member, Param, Part, VarSecinfo, parts_of
from .typebase import Named, Reference, Type, TypeTagged, follow, set_attribute, setter_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .spec import Spec

__all__ = [
    "Array",
    "Const",
    "Datasec",
    "DeclTag",
    "Enum",
    "Enumerator",
    "Float",
    "Func",
    "FuncProto",
    "Fwd",
    "Int",
    "Member",
    "Param",
    "Part",
    "Pointer",
    "Reference",
    "Restrict",
    "Struct",
    "Type",
    "TypeTag",
    "Typedef",
    "Union",
    "Var",
    "VarSecinfo",
    "Void",
    "Volatile",
]


class Void(Type):
    """``void``, type id 0 of every BTF."""

    __slots__ = ()
    name: ClassVar[str] = "void"

    def __init__(self, *, spec: Spec | None = None) -> None:
        self._build()
        set_attribute(self, "_spec", spec)

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        return (Void, ()) if self._spec is None else super().__reduce_ex__(0)


class Int(Named):
    """An integer.

    Attributes:
        name: as the source spells it ("unsigned int").
        size: bytes that it occupies.
        encoding: sum of the bits signed (1), char (2) and bool (4).
        bits: significant bits; fewer than ``size * 8`` only in legacy bitfields.
        bit_offset: where they start; 0 but in legacy bitfields.
    """

    __slots__ = ("bit_offset", "bits", "encoding", "size")
    __match_args__ = ("name", "size", "encoding", "bits", "bit_offset")

    kind: ClassVar[Kind] = Kind.INT
    size: int
    encoding: int
    bits: int
    bit_offset: int

    def __init__(self, name: str, size: int, encoding: int = 0, bits: int | None = None, bit_offset: int = 0) -> None:
        self._build(_name=name, size=size, encoding=encoding, bits=0 if bits is None else bits, bit_offset=bit_offset)
        if bits is None:
            set_attribute(self, "bits", 8 * self.size)

    @property
    def signed(self) -> bool:
        """Whether values below zero exist."""
        return self.encoding & INT_SIGNED != 0

    @property
    def char(self) -> bool:
        """Whether the compiler marked it as a character (it rarely does)."""
        return self.encoding & INT_CHAR != 0

    @property
    def bool(self) -> bool:
        """Whether it is a truth value."""
        return self.encoding & INT_BOOL != 0


class Float(Named):
    """A floating point number of `size` bytes."""

    __slots__ = ("size",)
    __match_args__ = ("name", "size")

    kind: ClassVar[Kind] = Kind.FLOAT
    size: int

    def __init__(self, name: str, size: int) -> None:
        self._build(_name=name, size=size)


class _Target(Type):
    """A type that is about one other type."""

    __slots__ = ("_target",)
    __match_args__ = ("target",)

    _target: Reference

    def __init__(self, target: Reference) -> None:
        self._build(_target=target)

    @property
    def target(self) -> Type:
        """The type referred to."""
        return follow(self._target, self._spec)


class Pointer(_Target):
    """A pointer to `target`; its size is the spec's pointer size."""

    __slots__ = ()
    kind: ClassVar[Kind] = Kind.PTR

    @property
    def type_tags(self) -> tuple[str, ...]:
        """The type tags of what it points at, outermost first: ("user",) for ``char __user *``.

        Typedefs and qualifiers between them do not matter; a second pointer ends the search, its tags are its own.

        Raises:
            BtfError: what it points at is a circle of typedefs, qualifiers and tags, or has more than 32 tags, the
                depth to which the kernel resolves types.
        """
        from .tags import type_tags

        return type_tags(self, attribute=False)

    @property
    def type_attributes(self) -> tuple[str, ...]:
        """The bare attributes of what it points at, found like `type_tags`."""
        from .tags import type_tags

        return type_tags(self, attribute=True)


class Volatile(_Target):
    """``volatile`` on `target`."""

    __slots__ = ()
    kind: ClassVar[Kind] = Kind.VOLATILE


class Const(_Target):
    """``const`` on `target`."""

    __slots__ = ()
    kind: ClassVar[Kind] = Kind.CONST


class Restrict(_Target):
    """``restrict`` on `target`."""

    __slots__ = ()
    kind: ClassVar[Kind] = Kind.RESTRICT


class _Tagged(Named):
    """A type that declaration tags may be on."""

    __slots__ = ()

    @property
    def tags(self) -> tuple[str, ...]:
        """The declaration tags on it, ``__attribute__((btf_decl_tag("...")))``, by their ids.

        Those of the spec that it came from; () for a type built by hand. See also `Spec.tags_of`.
        """
        from .tags import tags_on

        return tags_on(self, -1, attribute=False)

    @property
    def attributes(self) -> tuple[str, ...]:
        """The bare attributes on it: declaration tags that have the flag for ``__attribute__((name))``."""
        from .tags import tags_on

        return tags_on(self, -1, attribute=True)


class Typedef(_Tagged):
    """``typedef target name``."""

    __slots__ = ("_target",)
    __match_args__ = ("name", "target")

    kind: ClassVar[Kind] = Kind.TYPEDEF
    _target: Reference

    def __init__(self, name: str, target: Reference) -> None:
        self._build(_name=name, _target=target)

    @property
    def target(self) -> Type:
        """The type that it is another name of."""
        return follow(self._target, self._spec)


class TypeTag(Named):
    """``__attribute__((btf_type_tag(name)))`` on `target`; with `attribute` set, the bare attribute `name`."""

    __slots__ = ("_target", "attribute")
    __match_args__ = ("name", "target", "attribute")

    kind: ClassVar[Kind] = Kind.TYPE_TAG
    _target: Reference
    attribute: bool

    def __init__(self, name: str, target: Reference, attribute: bool = False) -> None:
        self._build(_name=name, _target=target, attribute=attribute)

    @property
    def target(self) -> Type:
        """The type that is tagged."""
        return follow(self._target, self._spec)


class DeclTag(Named):
    """``__attribute__((btf_decl_tag(name)))`` on `target`.

    Attributes:
        name: the tag's text.
        component: index of the member or parameter that it is on; -1 for the target itself.
        attribute: it is the bare attribute `name` rather than a tag.
    """

    __slots__ = ("_target", "attribute", "component")
    __match_args__ = ("name", "target", "component", "attribute")

    kind: ClassVar[Kind] = Kind.DECL_TAG
    _target: Reference
    component: int
    attribute: bool

    def __init__(self, name: str, target: Reference, component: int = -1, attribute: bool = False) -> None:
        self._build(_name=name, _target=target, component=component, attribute=attribute)

    @property
    def target(self) -> Type:
        """The type that it is on, or that has the member or parameter that it is on."""
        return follow(self._target, self._spec)


class Array(Type):
    """An array of `count` elements."""

    __slots__ = ("_element", "_index", "count")
    __match_args__ = ("element", "index", "count")

    kind: ClassVar[Kind] = Kind.ARRAY
    _element: Reference
    _index: Reference
    count: int

    def __init__(self, element: Reference, index: Reference, count: int) -> None:
        self._build(_element=element, _index=index, count=count)

    @property
    def element(self) -> Type:
        """The type of an element."""
        return follow(self._element, self._spec)

    @property
    def index(self) -> Type:
        """The type of an index."""
        return follow(self._index, self._spec)

    def _parts(self) -> Iterator[str]:
        yield f"count={self.count}"


class _Composite(_Tagged):
    __slots__ = ("_members", "size")
    __match_args__ = ("name", "size", "members")

    size: int
    _entries = "members"
    _members: tuple[Member, ...] | None

    def __init__(self, name: str, size: int, members: Iterable[Member] = ()) -> None:
        self._build(_name=name, size=size, _members=parts_of(Member, members))

    @property
    def members(self) -> tuple[Member, ...]:
        """The members, in the order of the record.

        Raises:
            BtfError: a member's name is malformed.
        """
        found = self._members
        if found is None:
            found = read_members(self)
            _set_members(self, found)
        return found

    def member(self, name: str) -> Member:
        """The member called `name`, searched in this struct only, not in anonymous members.

        Raises:
            MemberNotFoundError: there is none; also a KeyError.
        """
        for member in self.members:
            if member.name == name:
                return member
        from .nearnames import NearNames

        near = NearNames(each.name for each in self.members).like(name) if isinstance(name, str) else ()
        hint = f"; near: {', '.join(near)}" if near else ""
        raise MemberNotFoundError(f"{self!r} has no member {name!r}{hint}", name=name, near=near)


class Struct(_Composite):
    """A struct of `size` bytes; `name` is "" for an anonymous one, `members` a tuple of `Member`."""

    __slots__ = ()
    kind: ClassVar[Kind] = Kind.STRUCT


class Union(_Composite):
    """A union of `size` bytes; `name` is "" for an anonymous one, `members` a tuple of `Member`."""

    __slots__ = ()
    kind: ClassVar[Kind] = Kind.UNION


class Enum(Named):
    """An enum: of BTF's kind ENUM, or of kind ENUM64 where `is64` says so.

    Attributes:
        name: "" for an anonymous one.
        size: 1, 2, 4 or 8 bytes.
        signed: whether the values are signed, as the record's flag says. Compilers before clang 15 and pahole 1.24
            never set it: a negative enumerator then reads as a large positive value, as bpftool shows it too.
        is64: the record is of kind ENUM64.
    """

    __slots__ = ("_enumerators", "is64", "signed", "size")
    __match_args__ = ("name", "size", "enumerators", "signed", "is64")

    size: int
    _entries = "enumerators"
    _enumerators: tuple[Enumerator, ...] | None
    signed: bool
    is64: bool

    def __init__(
        self,
        name: str,
        size: int,
        enumerators: Iterable[Enumerator] = (),
        signed: bool = False,
        is64: bool = False,
    ) -> None:
        self._build(_name=name, size=size, _enumerators=parts_of(Enumerator, enumerators), signed=signed, is64=is64)

    @property
    def enumerators(self) -> tuple[Enumerator, ...]:
        """The named values, in the order of the record.

        Raises:
            BtfError: a name is malformed.
        """
        found = self._enumerators
        if found is None:
            found = read_enumerators(self)
            _set_enumerators(self, found)
        return found

    @property
    def kind(self) -> Kind:  # type: ignore[override]
        """`Kind.ENUM` or `Kind.ENUM64`."""
        return Kind.ENUM64 if self.is64 else Kind.ENUM


class Fwd(Named):
    """A struct (or union) that is declared, not defined."""

    __slots__ = ("union",)
    __match_args__ = ("name", "union")

    kind: ClassVar[Kind] = Kind.FWD
    union: bool

    def __init__(self, name: str, union: bool = False) -> None:
        self._build(_name=name, union=union)


class FuncProto(Type):
    """A function's type; functions of the same type may share one."""

    __slots__ = ("_params", "_result")
    __match_args__ = ("result", "params")

    kind: ClassVar[Kind] = Kind.FUNC_PROTO
    _result: Reference
    _entries = "params"
    _params: tuple[Param, ...] | None

    def __init__(self, result: Reference, params: Iterable[Param] = ()) -> None:
        self._build(_result=result, _params=parts_of(Param, params))

    @property
    def params(self) -> tuple[Param, ...]:
        """The parameters.

        Raises:
            BtfError: a parameter's name is malformed.
        """
        found = self._params
        if found is None:
            found = read_params(self)
            _set_params(self, found)
        return found

    @property
    def result(self) -> Type:
        """The return type."""
        return follow(self._result, self._spec)

    def _parts(self) -> Iterator[str]:
        spec = self._spec
        yield f"params={len(self.params) if spec is None else spec._words[self._position + 1] & VLEN_MASK}"


class Func(_Tagged):
    """A function.

    Attributes:
        linkage: 0 static, 1 global, 2 extern.
    """

    __slots__ = ("_params", "_proto", "linkage")
    __match_args__ = ("name", "proto", "linkage")

    kind: ClassVar[Kind] = Kind.FUNC
    _proto: Reference
    linkage: int
    _entries = "params"
    _params: tuple[Param, ...] | None

    def __init__(self, name: str, proto: Reference, linkage: int = 0) -> None:
        self._build(_name=name, _proto=proto, linkage=linkage, _params=None)

    @property
    def proto(self) -> Type:
        """Its `FuncProto`."""
        return follow(self._proto, self._spec)

    @property
    def params(self) -> tuple[Param, ...]:
        """The parameters of its prototype, each of which knows the tags that this function has on it.

        Raises:
            BtfError: `proto` is no `FuncProto`, or a parameter's name is malformed.
        """
        found = self._params
        if found is None:
            found = own_params(self)
            _set_own_params(self, found)
        return found


class Var(TypeTagged, _Tagged):
    """A global variable.

    Attributes:
        linkage: 0 static, 1 global, 2 extern.
    """

    __slots__ = ("_type", "linkage")
    __match_args__ = ("name", "type", "linkage")

    kind: ClassVar[Kind] = Kind.VAR
    _type: Reference
    linkage: int

    def __init__(self, name: str, type: Reference, linkage: int = 0) -> None:  # noqa: A002
        self._build(_name=name, _type=type, linkage=linkage)

    @property
    def type(self) -> Type:
        """The variable's type."""
        return follow(self._type, self._spec)


class Datasec(Named):
    """A data section and the variables in it, a tuple of `VarSecinfo`."""

    __slots__ = ("_variables", "size")
    __match_args__ = ("name", "size", "variables")

    kind: ClassVar[Kind] = Kind.DATASEC
    size: int
    _entries = "variables"
    _variables: tuple[VarSecinfo, ...] | None

    def __init__(self, name: str, size: int, variables: Iterable[VarSecinfo] = ()) -> None:
        self._build(_name=name, size=size, _variables=parts_of(VarSecinfo, variables))

    @property
    def variables(self) -> tuple[VarSecinfo, ...]:
        """Where its variables lie."""
        found = self._variables
        if found is None:
            found = read_variables(self)
            _set_variables(self, found)
        return found


_set_members = setter_of(_Composite, "_members")
_set_enumerators = setter_of(Enum, "_enumerators")
_set_params = setter_of(FuncProto, "_params")
_set_own_params = setter_of(Func, "_params")
_set_variables = setter_of(Datasec, "_variables")
