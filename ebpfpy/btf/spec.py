"""`Spec`: a lazy view of one BTF blob, base or split.

Opening a spec reads the header, nothing else. Its parts lie one on the other: the blob's strings (`blobstrings`), where
its records start (`recordtable`), the way from a name to a record (`nametable`); and here the types: objects that are
made when asked for, once, and remembered by the position of their record.

A *split* spec continues a base: its ids and string offsets start where the base's end. It holds its own types only;
ids below ``first_id`` are answered by the base (which remembers them: two modules share the base's objects). Two
modules' own ids overlap, so splits are never merged.

Malformed records are reported when they are reached, as `BtfError` with id and byte offset.

Thread-safe: growing is done under a lock, reading needs none.
"""

from __future__ import annotations

import re
from _thread import RLock  # threading's, without the rest of threading
from bisect import bisect_left
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar, overload

from ebpfpy.errors import AmbiguousTypeError, BtfError, InputError, NotFoundError, TypeNotFoundError

from .derived import Derived, forget_derived
from .header import read_header
from .inflate import inflate
from .inflateparts import Texts
from .kept import Kept
from .kinds import KIND_MASK, KIND_SHIFT, USUAL_SIZES, Kind
from .names import encode_name, essential_bytes
from .nametable import NameTable
from .typebase import as_number, check_type
from .types import Datasec, DeclTag, Enum, Float, Func, Fwd, Int, Struct, Type, Typedef, TypeTag, Union, Var, Void

if TYPE_CHECKING:
    from collections.abc import Buffer, Iterable, Iterator  # type: ignore[attr-defined]

    from .header import ByteOrder

T = TypeVar("T", bound=Type)

_LONG_NAMES = frozenset(
    {b"long", b"long int", b"int long", b"unsigned long", b"long unsigned int", b"unsigned long int", b"long unsigned",
     b"int long unsigned", b"long int unsigned", b"int unsigned long", b"unsigned int long"}
)  # fmt: skip


_SHOWN_IDS = 10
_DEEPEST = 64
_TOGETHER = 256  # types that a walk makes at a time
_KINDS_OF: dict[type[Type], tuple[int, ...]] = {
    cls: (cls.kind,) for cls in (Int, Float, Struct, Union, Fwd, Typedef, Func, Var, Datasec, DeclTag, TypeTag)
}
_KINDS_OF[Enum] = (Kind.ENUM, Kind.ENUM64)


class Spec(NameTable):
    """The types of one BTF blob.

    Args:
        data: the blob. Bytes (and a mapped file) are viewed, any other buffer is copied.
        base: what this blob continues; None for a blob that stands alone.
        name: what to call it in messages and reports ("vmlinux", the name of a module, a file name).

    Raises:
        BtfError: the header is malformed, or its byte order is not the base's.
        InputError: more than 64 splits would lie one on the other.
    """

    # what most specs never change, they share: thousands of modules are opened to be asked for one name
    _pointer_size: int | None = None
    _depth = 0  # how many lie below
    incarnation: tuple[int, int] | None = None
    """Which loading of a module of the running kernel this is; see `ebpfpy.btf.loadedmodules`. None for others."""
    _types = Kept[int, Type]()
    _entries = Kept[int, "tuple[Any, ...]"]()
    """Members, parameters, ... by the position of their type."""
    _texts = Kept[int, str](Texts)
    derived = Derived()
    """What higher floors worked out from these types and want to find again; keyed by their own classes."""

    def __init__(self, data: Buffer, base: Spec | None = None, *, name: str = "") -> None:
        if base is not None and not isinstance(base, Spec):
            raise InputError(f"a base is a Spec, not {type(base).__name__}: load it first")
        if not isinstance(name, str):
            raise InputError(f"the name of a Spec is a string, not {name!r:.200}")
        self.name = name
        self.base = base
        self._data = data = data if data.__class__ is bytes else _sliced_to_bytes(data)
        order, _, _, strings, strings_end, layout = read_header(data, source=name or "BTF", split=base is not None)
        self.byte_order: ByteOrder = order
        """The blob's byte order, "little" or "big"."""
        self._strings_at = strings
        self._strings_length = strings_end - strings
        if base is None:
            self.first_id: int = 1
            self._first_string = 0
            self._sizes: dict[int, int] = dict(USUAL_SIZES)
            self._lock: Any = RLock()
            self._void: Void = Void(spec=self)
            return
        if base.byte_order != order:
            raise BtfError(
                f"split BTF is {order}-endian, its base {base.byte_order}-endian", source=name or "BTF", offset=0
            )
        self.first_id = base._next_id
        self._first_string = base._first_string + base._strings_length
        self._depth = base._depth + 1
        if self._depth > _DEEPEST:
            raise InputError(f"{name or 'BTF'}: split BTF on more than {_DEEPEST} others, one on the other")
        # splits without a layout of their own learn from each other
        self._sizes = dict(USUAL_SIZES) if layout else base._sizes
        self._lock = base._lock
        self._void = base._void

    # --- what it is ----------------------------------------------------------------------------

    @property
    def pointer_size(self) -> int:
        """Bytes of a pointer: the base's, else guessed from the size of ``long``, else 8.

        May be set to 4 or 8, for this spec and for all splits on it that have not been set themselves.
        """
        if self._pointer_size is None:
            if self.base is not None:
                return self.base.pointer_size  # asked each time: it may be set there
            self._pointer_size = self.size_of_long() or 8
        return self._pointer_size

    @pointer_size.setter
    def pointer_size(self, size: int) -> None:
        if not isinstance(size, int) or size not in (4, 8):
            raise InputError(f"a pointer has 4 or 8 bytes, not {size!r}")
        self._pointer_size = size
        forget_derived(self)

    def size_of_long(self) -> int | None:
        """Bytes of the own type ``long`` (4 or 8), by which the size of a pointer is guessed; None without one."""
        words, index, known = self._words, 0, 256
        while True:
            self._grow(min(known * 8, len(words)))
            for position in self._starts[index:]:
                if (
                    words[position + 1] >> KIND_SHIFT & KIND_MASK == Kind.INT
                    and words[position + 2] in (4, 8)
                    and self.string_bytes(words[position]) in _LONG_NAMES
                ):
                    return words[position + 2]
            index = len(self._starts)
            if self._frontier >= len(words):
                return None
            known *= 8

    @property
    def split(self) -> bool:
        """Whether this spec continues a base."""
        return self.base is not None

    def __iter__(self) -> Iterator[Type]:
        """Every own type, by id."""
        self._grow(len(self._words))
        known = self._types.get
        for index in range(0, len(self._starts), _TOGETHER):
            chunk = self._starts[index : index + _TOGETHER]
            # a malformed one is reported when its turn comes
            with suppress(BtfError):
                inflate(self, [position for position in chunk if position not in self._types])
            for position in chunk:
                yield known(position) or self._type_at(position)

    def __repr__(self) -> str:
        split = f" split on {self.base.name or 'its base'}" if self.base is not None else ""
        return f"<Spec {self.name or 'BTF'}{split}, {len(self.raw)} bytes>"

    def __reduce__(self) -> tuple[Any, ...]:
        return _unpickle, (bytes(self.raw), self.base, self.name, self._pointer_size)

    # --- by id ---------------------------------------------------------------------------------

    def type_by_id(self, type_id: int) -> Type:
        """The type with this id, in this spec or in its base.

        Raises:
            TypeNotFoundError: no type has it.
            BtfError: a record on the way to it, or its own, is malformed.
        """
        if type_id.__class__ is not int:
            type_id = as_number(type_id)
        if type_id >= self.first_id:
            index = type_id - self.first_id
            if index >= len(self._starts):
                self._grow_to_index(index)
            return self._type_at(self._starts[index])
        if type_id == 0:
            return self._void
        if self.base is not None and type_id > 0:
            return self.base.type_by_id(type_id)
        raise TypeNotFoundError(f"{self._label}: no type has id {type_id}", name=type_id)

    def type_id(self, t: Type) -> int:
        """The id of a type that came from this spec or from its base.

        Raises:
            NotFoundError: it came from elsewhere.
        """
        check_type(t)
        if isinstance(t, Void):
            return 0
        if t._spec is self:
            position = t._position
            if position >= self._frontier:
                self._grow(position + 1)
            return self.first_id + bisect_left(self._starts, position)
        if self.base is not None:
            return self.base.type_id(t)
        raise NotFoundError(f"{self._label}: {t!r} is not one of its types")

    # --- by name -------------------------------------------------------------------------------

    @overload
    def type_by_name(self, name: str) -> Type: ...
    @overload
    def type_by_name(self, name: str, cls: type[T]) -> T: ...
    def type_by_name(self, name: str, cls: type[Type] = Type) -> Type:
        """The one own type of that exact name and class.

        Only own types are searched: a split spec answers for its module; ask ``spec.base`` for the rest.

        Args:
            name: the exact name, flavours and all.
            cls: the class that it must have (`Struct`, `Func`, ...).

        Raises:
            TypeNotFoundError: there is none.
            AmbiguousTypeError: there are several.
        """
        if not isinstance(cls, type) or not issubclass(cls, Type):
            raise InputError(f"{cls!r} is no class of types")
        positions = self._positions_by_name(encode_name(name), _KINDS_OF.get(cls))
        found = [t for t in map(self._type_at, positions) if isinstance(t, cls)]
        return self._only(found, name, cls)

    def any_type_by_name(self, name: str) -> Type:
        """`type_by_name` for any class."""
        return self._only(self.any_types_by_name(name), name, Type)

    def any_types_by_name(self, name: str) -> list[Type]:
        """All own types of that exact name, by id; none is no error."""
        positions = self._positions_by_name(encode_name(name))
        return [self._type_at(position) for position in positions] if positions else []

    def every_type_by_name(self, name: str) -> list[Type]:
        """All types of that exact name, own ones first (by id), then those of the base, then of its base; may be empty.

        The one look-up by name that goes on to the base: all others answer for own types.
        """
        own = self.any_types_by_name(name)
        return own + self.base.every_type_by_name(name) if self.base is not None else own

    def types_by_essential_name(self, name: str) -> list[Type]:
        """All own types whose name without flavour is that of `name`, by id."""
        essential = essential_bytes(encode_name(name))
        return [self.type_by_id(type_id) for type_id in self.ids_by_essential_name(essential)]

    def _only(self, found: list[Type], name: str, cls: type[Type]) -> Type:
        if len(found) == 1:
            return found[0]
        what = f"{cls.__name__.lower()} {name!r}" if cls is not Type else repr(name)
        if found:
            ids = tuple(self.type_id(t) for t in found)
            shown = ", ".join(map(str, ids[:_SHOWN_IDS])) + (", ..." if len(ids) > _SHOWN_IDS else "")
            raise AmbiguousTypeError(
                f"{self._label}: {len(ids)} types answer to {what}: ids {shown}", name=name, ids=ids
            )
        near = self.near_names(name)
        hint = f"; near: {', '.join(near)}" if near else ""
        below = self.base
        while below is not None:
            if any(isinstance(t, cls) for t in below.any_types_by_name(name)):
                hint = f" of its own; {below.name or 'its base'} has one: ask spec.base, or every_type_by_name"
                break
            below = below.base
        raise TypeNotFoundError(f"{self._label}: no {what}{hint}", name=name, near=near)

    def near_names(self, name: str, count: int = 3) -> tuple[str, ...]:
        """Up to `count` names of own types and members that resemble `name`, best first; for error messages.

        Raises:
            InputError: `name` is no string, or `count` no number from 0 on.
        """
        import difflib

        stem = re.escape(encode_name(name)[:3])
        if as_number(count) < 0:
            raise InputError(f"{count} near names are fewer than none")
        if not count or not name:
            return ()
        around = re.compile(rb"\0(" + stem + rb"[^\0]{0,64})(?=\0)")
        pool = {match.group(1).decode("utf-8", "replace") for match in around.finditer(b"\0" + self.own_strings())}
        pool.discard(name)
        close = [other for other in pool if abs(len(other) - len(name)) <= 6]
        return tuple(difflib.get_close_matches(name, close[:4000], n=count, cutoff=0.7))

    # --- tags ----------------------------------------------------------------------------------

    def tags_of(self, of: Type | int, component: int = -1) -> tuple[str, ...]:
        """The declaration tags on a type of this spec or its base: the base's tags, then those that this spec adds.

        Args:
            of: the type, or its id.
            component: the index of the member or parameter; -1 for the type itself.

        Raises:
            NotFoundError: the type is not one of this spec or its base.
        """
        return self._tag_names(of, component, attribute=False)

    def attributes_of(self, of: Type | int, component: int = -1) -> tuple[str, ...]:
        """`tags_of` for bare attributes: declaration tags that stand for ``__attribute__((name))``."""
        return self._tag_names(of, component, attribute=True)

    def _tag_names(self, of: Type | int, component: int, attribute: bool) -> tuple[str, ...]:
        from .tags import tag_names

        component = as_number(component)
        type_id = self._id_of(of)
        below: tuple[str, ...] = ()
        if self.base is not None and type_id < self.first_id:
            below = self.base._tag_names(type_id, component, attribute)
        return below + tag_names(self, type_id, component, attribute)

    def decl_tags_of(self, of: Type | int) -> list[DeclTag]:
        """The declaration tags, as types, on a type and on its members or parameters: the base's, then the own ones."""
        from .tags import decl_tags

        type_id = self._id_of(of)
        below = self.base.decl_tags_of(type_id) if self.base is not None and type_id < self.first_id else []
        return below + decl_tags(self, type_id)

    def _id_of(self, of: Type | int) -> int:
        """The id of a type that is here, or in the base."""
        if not isinstance(of, int):
            return self.type_id(of)
        self.kind_of(of)  # it has to be there
        return of

    # --- raw access: what the relocator and the loader use --------------------------------------

    # --- growing -------------------------------------------------------------------------------

    def _type_at(self, position: int) -> Type:
        found = self._types.get(position)
        if found is None:
            inflate(self, (position,))
            found = self._types[position]
        return found


def check_spec(value: object) -> None:
    """Refuse what is no `Spec`: a path, perhaps.

    Raises:
        InputError: it is none.
    """
    if not isinstance(value, Spec):
        raise InputError(f"a Spec is needed, not {type(value).__name__}: load_spec() makes one from a file")


def spec_list(value: Iterable[Spec]) -> list[Spec]:
    """What goes through several specs as a list of them.

    Raises:
        InputError: it is something else: one `Spec`, for example, which goes through its types.
    """
    if issubclass(type(value), Spec) or not hasattr(value, "__iter__"):
        raise InputError(f"a list of Specs is needed, not {type(value).__name__}")
    found = list(value)
    if not all(issubclass(cls, Spec) for cls in set(map(type, found))):  # there may be thousands
        for each in found:
            check_spec(each)
    return found


def _unpickle(data: bytes, base: Spec | None, name: str, pointer_size: int | None) -> Spec:
    spec = Spec(data, base, name=name)
    spec._pointer_size = pointer_size
    return spec


def _sliced_to_bytes(data: Any) -> Any:
    """A buffer whose slices are bytes: the one that was given (bytes, a mapped file), or a copy of it."""
    if isinstance(data, bytes):
        return data
    try:
        if isinstance(data[0:0], bytes):
            return data
    except (TypeError, KeyError):
        pass
    try:
        return bytes(memoryview(data))
    except TypeError:
        raise InputError(f"BTF is bytes, not {type(data).__name__}") from None
