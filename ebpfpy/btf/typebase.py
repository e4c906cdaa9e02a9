"""What all type objects have in common: they are frozen, and refer to others lazily.

An object that comes out of a `Spec` knows its spec and where its record starts, and has the numbers of the record as
they are; its name, and what follows the record (members, parameters, enumerators, variables), are read when somebody
asks for them. So walking over a hundred thousand types makes a hundred thousand
small objects, and no strings or lists.

Frozen classes cost time where each attribute is set through ``object.__setattr__``. Therefore every class has a
*draft*: a subclass of the same layout whose attributes can be set. Objects are made as drafts, filled, and only then
get their class, before anybody else has seen them.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, TypeVar

from ebpfpy.errors import InputError

from .kinds import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import NoReturn, SupportsIndex

    from .spec import Spec

Reference: TypeAlias = "Type | int | Callable[[], Type]"
F = TypeVar("F", bound="Frozen")
V = TypeVar("V")

set_attribute = object.__setattr__
"""Sets an attribute of a frozen object; for constructors."""


_NUMBERS = frozenset(
    "size encoding bits bit_offset component count linkage offset_bits bitfield_size offset".split()  # noqa: SIM905
)


class Frozen:
    """An object that cannot be changed, and that is its own copy; compares and hashes by identity."""

    __slots__ = ()

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed: {name} stays what it is")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"a {type(self).__name__} cannot be changed: {name} stays")

    def __copy__(self: F) -> F:
        return self

    def __deepcopy__(self: F, memo: dict[int, Any]) -> F:
        return self


def fill(made: Frozen, values: dict[str, object]) -> None:
    """Set the attributes of an object that is built by hand.

    Raises:
        InputError: a number is none. Whether a record can hold it is for the `Builder` to say.
    """
    for name, value in values.items():
        if name in _NUMBERS and value.__class__ is not int:
            if not isinstance(value, int):
                raise InputError(f"{name.replace('_', ' ')} of a {type(made).__name__}: {value!r} is no integer")
            set_attribute(made, name, int(value))
        else:
            set_attribute(made, name, value)


def draft_of(cls: type[F]) -> Callable[[], F]:
    """A class whose objects can be filled and then turned into `cls` by setting their ``__class__``."""
    # both, or Python would go on looking for either of them by name each time
    body = {
        "__slots__": (),
        "__init__": object.__init__,
        "__setattr__": object.__setattr__,
        "__delattr__": object.__delattr__,
    }
    made: type[F] = type(f"_{cls.__name__}Draft", (cls,), body)
    return made


def setter_of(cls: type[Frozen], slot: str) -> Callable[[Any, object], None]:
    """A function that sets one slot of frozen objects, for what is read on demand: faster than `set_attribute`."""
    setter: Callable[[Any, object], None] = cls.__dict__[slot].__set__
    return setter


class Type(Frozen):
    """The base of all types; compare and hash by identity.

    Objects that came out of a `Spec` remember it; `Spec.type_id` tells their id. Types cannot be changed, and copying
    one gives the same object: to have other types, build them, or copy the spec (``copy.deepcopy(spec)``).
    """

    __slots__ = ("__weakref__", "_position", "_spec")

    kind: ClassVar[Kind] = Kind.VOID
    _spec: Spec | None
    _position: int
    _entries: ClassVar[str] = ""  # the attribute that holds the parts

    def _build(self, **values: object) -> None:
        """Fill an object that is built by hand."""
        set_attribute(self, "_spec", None)
        set_attribute(self, "_position", -1)
        fill(self, values)

    @property
    def spec(self) -> Spec | None:
        """The `Spec` that this type came from; None for a type built by hand."""
        return self._spec

    def _parts(self) -> Iterator[str]:
        """What `repr` shows behind the class's name."""
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
        from .builder import Builder

        builder = Builder()
        type_id = builder.add(self)
        return _type_of, (builder.spec(), type_id)


class Named(Type):
    """A type that has a name, which may be empty."""

    __slots__ = ("_name",)

    _name: str | None  # None until somebody asks

    @property
    def name(self) -> str:
        """Its name; "" for an anonymous one."""
        found = self._name
        if found is None and self._spec is not None:
            found = self._spec.string(self._spec._words[self._position])
            _set_name(self, found)
        return found  # type: ignore[return-value]

    def _parts(self) -> Iterator[str]:
        yield repr(self.name) if self.name else "(anon)"
        yield from Type._parts(self)


_set_name = setter_of(Named, "_name")


def _type_of(spec: Spec, type_id: int) -> Type:
    """Unpickles a type that came from a spec: as the very object that the unpickled spec answers with."""
    return spec.type_by_id(type_id)


def follow(reference: Reference, spec: Spec | None) -> Type:
    """The type that a reference is about.

    Raises:
        InputError: it is an id, and nobody knows of which spec, or it is no reference.
        EbpfError: the spec has no such type, or its record is malformed.
    """
    if isinstance(reference, int):
        if spec is None:
            raise InputError("a type id means nothing without a Spec: refer to the type object itself")
        return spec.type_by_id(reference)
    if isinstance(reference, type):
        raise InputError(f"{reference!r} is a class, and no type: refer to one of its objects")
    found = reference if isinstance(reference, Type) or not callable(reference) else reference()
    check_type(found)
    return found


def as_number(number: object) -> int:
    """A number of a type, a part or a string, as an int.

    Raises:
        InputError: it is none.
    """
    if not isinstance(number, int):
        raise InputError(f"{number!r} is no number of a type, a part or a string")
    return int(number)


def iterable(values: Iterable[V], what: str) -> Iterator[V]:
    """What goes through several things.

    Args:
        values: the argument.
        what: what they are, in an error.

    Raises:
        InputError: it goes through nothing.
    """
    try:
        return iter(values)
    except TypeError:
        raise InputError(f"{values!r:.200} is no sequence of {what}") from None


def check_type(of: object) -> None:
    """Refuse what is no type.

    Raises:
        InputError: it is none.
    """
    if not isinstance(of, Type):
        raise InputError(f"{of!r} is no type")


class TypeTagged:
    """What has a `type` whose tags it can tell: members, parameters, variables."""

    __slots__ = ()

    @property
    @abstractmethod
    def type(self) -> Type:
        """Its type."""

    @property
    def type_tags(self) -> tuple[str, ...]:
        """The tags of its type: ("rcu",) for ``struct task_struct __rcu *parent``. See `Pointer.type_tags`."""
        from .tags import type_tags

        return type_tags(self.type, attribute=False)

    @property
    def type_attributes(self) -> tuple[str, ...]:
        """The bare attributes of its type."""
        from .tags import type_tags

        return type_tags(self.type, attribute=True)
