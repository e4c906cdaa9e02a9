"""`Spec`: a lazy view of one BTF blob, base or split.

Type ids are implicit: the n-th record has id n. So finding a record by id needs the start of every record before
it, and records have no fixed length. Walking the 126,572 records of a vmlinux costs Python 10 ms; a type that a
program asks for usually lies in the first third. Therefore:

* Opening a spec reads the header, nothing else. Nothing is copied: names are cut out of the blob when asked for.
* ``_starts`` holds the word index of each record seen so far. It grows on demand, never further than an answer needs.
* A name is found backwards: its bytes in the string section give an offset, and that offset is looked for among *all*
  words of the type section (`ebpfpy.sys.memory`). A hit counts if the next word is the ``info`` word of a record and,
  to be sure, if ``_starts`` (grown up to there) has it.
* Type objects are made when asked for, once, and remembered by the position of their record.

A *split* spec continues a base: its ids and string offsets start where the base's end. It holds its own types only;
ids below ``first_id`` are answered by the base (which remembers them: two modules share the base's objects). Two
modules' own ids overlap, so splits are never merged. A name that its base has is looked for in the base's strings
once, whatever the number of splits.

Malformed records are reported when they are reached, as `BtfError` with id and byte offset.

Thread-safe: growing is done under a lock, reading needs none.
"""

from __future__ import annotations

import re
from _thread import RLock  # threading's, without the rest of threading
from array import array
from bisect import bisect_left
from contextlib import suppress
from functools import cached_property
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from ebpfpy.errors import AmbiguousTypeError, BtfError, InputError, NotFoundError, TypeNotFoundError
from ebpfpy.sys.memory import Memory, find

from .header import native_words, read_header
from .inflate import inflate
from .kinds import KIND_MASK, KIND_SHIFT, RECORD_WORDS, USUAL_SIZES, VLEN_MASK, Kind, kind_name
from .names import encode_name, essential_bytes
from .typebase import check_type
from .types import Datasec, DeclTag, Enum, Float, Func, Fwd, Int, Struct, Type, Typedef, TypeTag, Union, Var, Void

if TYPE_CHECKING:
    from collections.abc import Buffer, Collection, Iterable, Iterator  # type: ignore[attr-defined]

    from .header import ByteOrder, Sections

T = TypeVar("T", bound=Type)
K = TypeVar("K")
V = TypeVar("V")

_LONG_NAMES = frozenset(
    {b"long", b"long int", b"int long", b"unsigned long", b"long unsigned int", b"unsigned long int", b"long unsigned",
     b"int long unsigned", b"long int unsigned", b"int unsigned long", b"unsigned int long"}
)  # fmt: skip


_SMALL_STRINGS = 1 << 18
_PIECE = 1 << 17  # words: what is found at a time lies in a list before it is kept
_USUAL_NAME = 64  # bytes: a name that is not longer is cut out of the blob in one go
_REMEMBERED_NAMES = 1024
_MANY_FLAVOURS = 16
_TOGETHER = 256  # types that a walk makes at a time
_NAMELESS = frozenset({Kind.PTR, Kind.ARRAY, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.FUNC_PROTO})
_KINDS_OF: dict[type[Type], tuple[int, ...]] = {
    cls: (cls.kind,) for cls in (Int, Float, Struct, Union, Fwd, Typedef, Func, Var, Datasec, DeclTag, TypeTag)
}
_KINDS_OF[Enum] = (Kind.ENUM, Kind.ENUM64)


class _Kept(Generic[K, V]):
    """A dictionary that an object gets when it is first asked for; then it stands where this stood."""

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    def __get__(self, of: Any, owner: type) -> dict[K, V]:
        found: dict[K, V] = of.__dict__.setdefault(self._name, {})
        return found


class Spec:
    """The types of one BTF blob.

    Args:
        data: the blob. Bytes (and a mapped file) are viewed, any other buffer is copied.
        base: what this blob continues; None for a blob that stands alone.
        name: what to call it in messages and reports ("vmlinux", the name of a module, a file name).

    Raises:
        BtfError: the header is malformed, or its byte order is not the base's.
    """

    # what most specs never change; thousands of modules are opened to be asked for one name
    _frontier = 0  # word index where the next unseen record starts
    _starts = array("I")  # replaced, not changed, when the first records are found
    _memory: Memory | None = None
    _word_memory: Memory | None = None
    _name_offsets: dict[bytes, tuple[int, ...]] | None = None
    _flavours: dict[bytes, list[int]] | None = None
    _pointer_size: int | None = None
    _types = _Kept[int, Type]()
    _entries = _Kept[int, "tuple[Any, ...]"]()
    """Members, parameters, ... by the position of their type."""
    _texts = _Kept[int, str]()
    """Names of members, parameters and enumerators: the same for many."""
    _long_strings = _Kept[int, bytes]()
    _long_names = _Kept[bytes, str]()
    derived = _Kept[Any, Any]()
    """What higher floors worked out from these types and want to find again; keyed by their own classes."""

    def __init__(self, data: Buffer, base: Spec | None = None, *, name: str = "") -> None:
        if base is not None and not isinstance(base, Spec):
            raise InputError(f"a base is a Spec, not {type(base).__name__}: load it first")
        self.name = name
        self.base = base
        self._data = data = data if data.__class__ is bytes else _sliced_to_bytes(data)
        order, _, _, strings, strings_end, layout = read_header(data, source=name or "BTF", split=base is not None)
        self.byte_order: ByteOrder = order
        """The blob's byte order, "little" or "big"."""
        self._strings_at = strings
        self._strings_length = strings_end - strings
        # words of a record, by its info word; splits without a layout of their own learn from each other
        self._sizes: dict[int, int] = dict(USUAL_SIZES) if base is None or layout else base._sizes
        self._lock: Any = RLock() if base is None else base._lock
        self._void: Void = Void(spec=self) if base is None else base._void
        if base is None:
            self.first_id: int = 1
            self._first_string = 0
        else:
            if base.byte_order != order:
                raise BtfError(
                    f"split BTF is {order}-endian, its base {base.byte_order}-endian",
                    source=name or "BTF",
                    offset=0,
                )
            self.first_id = base._next_id
            self._first_string = base._first_string + base._strings_length

    # --- what it is ----------------------------------------------------------------------------

    @cached_property
    def raw(self) -> memoryview:
        """The blob, as bytes that cannot be written to."""
        return memoryview(self._data).cast("B").toreadonly()

    @cached_property
    def _sections(self) -> Sections:
        return read_header(self._data, source=self.name or "BTF", split=self.base is not None)

    @cached_property
    def _words(self) -> memoryview:
        return native_words(self.raw, self._sections)

    @property
    def pointer_size(self) -> int:
        """Bytes of a pointer: the base's, else guessed from the size of ``long``, else 8. May be set to 4 or 8."""
        if self._pointer_size is None:
            self._pointer_size = self.base.pointer_size if self.base is not None else self.size_of_long() or 8
        return self._pointer_size

    @pointer_size.setter
    def pointer_size(self, size: int) -> None:
        if not isinstance(size, int) or size not in (4, 8):
            raise InputError(f"a pointer has 4 or 8 bytes, not {size!r}")
        self._pointer_size = size
        self.derived.clear()

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

    def __len__(self) -> int:
        """The number of own types; void and the base's types do not count."""
        self._grow(len(self._words))
        return len(self._starts)

    @cached_property
    def _next_id(self) -> int:
        """The id that the first type of a split spec has."""
        return self.first_id + len(self)

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
            type_id = _as_id(type_id)
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
            raise AmbiguousTypeError(f"{self._label}: {len(ids)} types answer to {what}: ids {ids}", name=name, ids=ids)
        near = self.near_names(name)
        hint = f"; near: {', '.join(near)}" if near else ""
        raise TypeNotFoundError(f"{self._label}: no {what}{hint}", name=name, near=near)

    def near_names(self, name: str, count: int = 3) -> tuple[str, ...]:
        """Up to `count` names of own types and members that resemble `name`, best first; for error messages."""
        import difflib

        stem = re.escape(encode_name(name)[:3])
        if not name:
            return ()
        around = re.compile(rb"\0(" + stem + rb"[^\0]{0,64})(?=\0)")
        pool = {match.group(1).decode("utf-8", "replace") for match in around.finditer(self.own_strings())}
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

        component = _as_id(component)
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

    def locate(self, type_id: int) -> tuple[memoryview, int]:
        """The record of a type: the words that it lies in, and the index of its first word.

        Raises:
            TypeNotFoundError: no type has that id.
        """
        if type_id.__class__ is not int:
            type_id = _as_id(type_id)
        if type_id >= self.first_id:
            index = type_id - self.first_id
            if index >= len(self._starts):
                self._grow_to_index(index)
            return self._words, self._starts[index]
        if self.base is not None and type_id > 0:
            return self.base.locate(type_id)
        raise TypeNotFoundError(f"{self._label}: no type has id {type_id}", name=type_id)

    def string(self, offset: int) -> str:
        """The string at an offset of a `name_off` field, in this spec or its base.

        Raises:
            BtfError: the offset is out of range, or is not where a string starts.
        """
        found = self.string_bytes(_as_id(offset))
        if len(found) > _USUAL_NAME:
            text = self._long_names.get(found)
            if text is None:
                text = self._long_names[found] = found.decode("utf-8", "backslashreplace")
            return text
        try:
            return found.decode()
        except UnicodeDecodeError:
            return found.decode("utf-8", "backslashreplace")

    def string_bytes(self, offset: int) -> bytes:
        """`string`, undecoded."""
        own = offset - self._first_string
        if 0 < own < self._strings_length:
            at = self._strings_at + own
            piece = self._data[at - 1 : at + _USUAL_NAME]
            if piece[0]:
                raise BtfError(f"string offset {offset} is not the start of a string", source=self._label)
            end = piece.find(b"\0", 1)
            return piece[1:end] if end > 0 else self._long_string(at)
        if own > 0:
            raise BtfError(f"string offset {offset} is beyond the end of the strings", source=self._label)
        if offset == 0:
            return b""
        if self.base is None:
            raise BtfError(f"string offset {offset} is negative", source=self._label)
        if own < 0:
            return self.base.string_bytes(offset)
        if not self._strings_length:
            raise BtfError(f"string offset {offset} is beyond the end of the strings", source=self._label)
        return self._long_string(self._strings_at)  # the first string of a split spec

    def _long_string(self, at: int) -> bytes:
        """The string at a byte of the blob, however long it is: kept, as a thousand types may have that name."""
        known = self._long_strings.get(at)
        if known is not None:
            return known
        data, length = self._data, _USUAL_NAME
        while True:
            piece: bytes = data[at : at + length]
            end = piece.find(b"\0")
            if end >= 0:
                return self._long_strings.setdefault(at, piece[:end])
            length *= 4

    def strings_at(self, offsets: Iterable[int]) -> list[bytes]:
        """`string_bytes` for many offsets at once, which is faster."""
        first, length, start, data = self._first_string - 1, self._strings_length - 1, self._strings_at - 1, self._data
        found: list[bytes] = []
        for offset in offsets:
            at = offset - first
            if 1 < at <= length:
                at += start
                piece = data[at - 1 : at + _USUAL_NAME]
                end = piece.find(b"\0", 1)
                if end > 0 and not piece[0]:
                    found.append(piece[1:end])
                    continue
            found.append(self.string_bytes(offset))
        return found

    @property
    def strings_end(self) -> int:
        """The string offset after the last string of this spec: where a split spec's own strings would start."""
        return self._first_string + self._strings_length

    def own_strings(self) -> bytes:
        """A copy of the string section; offset 0 of it is ``strings_end - len()``."""
        found: bytes = self._data[self._strings_at : self._strings_at + self._strings_length]
        return found

    def each_string(self) -> Iterator[tuple[bytes, int]]:
        """Every string with its offset, the base's first."""
        if self.base is not None:
            yield from self.base.each_string()
        at = self._first_string
        for text in self.own_strings().split(b"\0")[:-1]:
            yield text, at
            at += len(text) + 1

    def string_offsets(self, name: bytes) -> list[int]:
        """Every offset at which `name` stands as a whole string; base strings first."""
        return [*(self.base._offsets_of(name) if self.base is not None else ()), *self._each_own_offset(name)]

    def _offsets_of(self, name: bytes) -> tuple[int, ...]:
        """`string_offsets`, remembered: what many splits ask their base."""
        known = self._name_offsets
        if known is None or len(known) >= _REMEMBERED_NAMES:
            known = self._name_offsets = {}
        found = known.get(name)
        if found is None:
            found = known[name] = tuple(self.string_offsets(name))
        return found

    def _each_own_offset(self, name: bytes) -> Iterator[int]:
        if b"\0" in name:
            return
        start, end = self._strings_at, self._strings_at + self._strings_length
        needle = name + b"\0"
        if self._data[start : start + len(needle)] == needle:
            yield self._first_string
        needle = b"\0" + needle
        at = self._find(needle, start, end)
        while at >= 0:
            yield self._first_string + at + 1 - start
            at = self._find(needle, at + 1, end)

    def _find(self, needle: bytes, start: int, end: int) -> int:
        """The first place of some bytes in a part of the blob, -1 if there is none."""
        if isinstance(self._data, bytes):
            return find(self._data, needle, start, end)
        if self._memory is None:
            self._memory = Memory(self.raw)
        return self._memory.find(needle, start, end)

    def ids_by_name(self, name: bytes, kinds: Collection[int] | None = None) -> list[int]:
        """The ids of all own types of that exact name, ascending; no type object is made.

        Args:
            name: the name, undecoded.
            kinds: only types of these kinds, which is faster; None for all.
        """
        return [self._id_at(position) for position in self._positions_by_name(name, kinds)]

    def ids_by_essential_name(self, essential: bytes, kinds: Collection[int] | None = None) -> list[int]:
        """`ids_by_name` for all own types whose name without flavour is `essential`."""
        flavours = self._flavour_offsets(essential)
        exact = bool(essential) and essential_bytes(essential) == essential
        if len(flavours) > _MANY_FLAVOURS:
            offsets = {*flavours, *(self.string_offsets(essential) if exact else ())}
            return [self._id_at(position) for position in self._positions_of_many(offsets, kinds)]
        found = set(self._positions_by_name(essential, kinds)) if exact else set()
        for offset in flavours:
            found.update(self._positions_of(offset, kinds))
        return [self._id_at(position) for position in sorted(found)]

    def _positions_of_many(self, offsets: set[int], kinds: Collection[int] | None) -> list[int]:
        """The records whose name_off is one of `offsets`, in one pass over all records."""
        self._grow(len(self._words))
        words = self._words
        return [
            position
            for position in self._starts
            if words[position] in offsets and (kinds is None or words[position + 1] >> KIND_SHIFT & KIND_MASK in kinds)
        ]

    def _flavour_offsets(self, essential: bytes) -> list[int]:
        """The offsets of all strings that are `essential` with a flavour."""
        if self._flavours is None:
            self._flavours = self._find_flavours()
        found = self._flavours.get(essential, [])
        return self.base._flavour_offsets(essential) + found if self.base is not None else found

    def _find_flavours(self) -> dict[bytes, list[int]]:
        start, end = self._strings_at, self._strings_at + self._strings_length
        flavours: dict[bytes, list[int]] = {}
        at = self._find(b"___", start, end)
        while at >= 0:
            before, back = b"", _USUAL_NAME
            while (first := before.rfind(b"\0")) < 0 and len(before) < at - start:
                before, back = self._data[max(start, at - back) : at], 4 * back
            first = at - len(before) + first + 1
            name = self._long_string(first)
            essential = essential_bytes(name)
            if essential != name:
                flavours.setdefault(essential, []).append(self._first_string + first - start)
            at = self._find(b"___", first + len(name), end)
        return flavours

    def _positions_by_name(self, name: bytes, kinds: Collection[int] | None = None) -> list[int]:
        if not name:
            return self._anonymous_positions(kinds)
        # Writers of BTF keep each string once. A table large enough for the difference to be felt is a kernel's: there
        # the search ends with the first copy that names a type; in smaller ones every copy counts.
        every = self._strings_length <= _SMALL_STRINGS
        base = self.base._offsets_of(name) if self.base is not None else ()
        if every and not base:  # most modules lack it
            start = self._strings_at
            if self._find(name, start, start + self._strings_length) < 0:
                return []
        own = self._each_own_offset(name)
        found: list[int] = []
        offsets = chain(base, own)
        for tried, offset in enumerate(offsets):
            if tried == _MANY_FLAVOURS:  # somebody wrote it down very often
                return sorted({*found, *self._positions_of_many({offset, *offsets}, kinds)})
            found += self._positions_of(offset, kinds)
            if found and not every and tried >= len(base):
                break
        return sorted(found)

    def _anonymous_positions(self, kinds: Collection[int] | None) -> list[int]:
        self._grow(len(self._words))
        words = self._words
        return [
            position
            for position in self._starts
            if not self.string_bytes(words[position])
            and (kinds is None or words[position + 1] >> KIND_SHIFT & KIND_MASK in kinds)
        ]

    def _positions_of(self, offset: int, kinds: Collection[int] | None = None) -> list[int]:
        """The records whose name_off is `offset`: candidates by search, proved by `_starts`."""
        if self._word_memory is None:
            self._word_memory = Memory(self._words.cast("B"))
        words = self._words
        if kinds is None:
            kinds = self._kinds_with_names
        return [
            at
            for at in self._word_memory.words_equal(offset, 0, len(words) - 1)  # the info word follows
            if words[at + 1] >> KIND_SHIFT & KIND_MASK in kinds and self._is_start(at)
        ]

    @property
    def _kinds_with_names(self) -> Collection[int]:
        return [kind for kind in range(1, max(len(self._layout), len(RECORD_WORDS) + 1)) if kind not in _NAMELESS]

    def _is_start(self, position: int) -> bool:
        if position >= self._frontier:
            self._grow(position + 1)
        index = bisect_left(self._starts, position)
        return index < len(self._starts) and self._starts[index] == position

    def _id_at(self, position: int) -> int:
        return self.first_id + bisect_left(self._starts, position)

    # --- growing -------------------------------------------------------------------------------

    @property
    def _label(self) -> str:
        return self.name or "BTF"

    @property
    def _layout(self) -> tuple[tuple[int, int], ...]:
        if self._sections.layout or self.base is None:
            return self._sections.layout
        return self.base._layout

    def _grow_to_index(self, index: int) -> None:
        """Find at least `index` + 1 records, in steps, or fail."""
        total = len(self._words)
        while index >= len(self._starts) and self._frontier < total:
            missing = index + 1 - len(self._starts)
            try:
                self._grow(min(total, self._frontier + 3 * missing + 64))
            except BtfError:
                if index >= len(self._starts):  # else the fault lies behind what was asked for
                    raise
        if index >= len(self._starts):
            type_id = index + self.first_id
            raise TypeNotFoundError(
                f"{self._label}: no type has id {type_id}, the last one is {self.first_id + len(self._starts) - 1}",
                name=type_id,
            )

    def _grow(self, limit: int) -> None:
        """Find every record that starts before the word index `limit`; at a malformed one, keep what is before it."""
        while self._frontier < limit:
            with self._lock:
                if self._frontier < limit:
                    self._grow_piece(min(limit, self._frontier + _PIECE))

    def _grow_piece(self, limit: int) -> None:
        words, sizes, starts, position = self._words, self._sizes, list[int](), self._frontier
        # window[position] is the info word of the record at position; IndexError is the end
        window = words[1 : limit + 1]
        fault: BtfError | None = None
        while fault is None:
            try:
                while True:
                    starts.append(position)
                    position += sizes[window[position]]
            except KeyError:
                starts.pop()
                try:
                    index = len(self._starts) + len(starts)
                    sizes[window[position]] = self._record_words(window[position], position, index)
                except BtfError as error:
                    fault = error
            except IndexError:
                starts.pop()
                break
        if fault is None and (position > len(words) or (position < limit and position != len(words))):
            if position > len(words):
                position = starts.pop()
            fault = BtfError(
                f"truncated: the record of type {self.first_id + len(self._starts) + len(starts)} runs past the end"
                " of the types",
                source=self._label,
                offset=self._sections.types + 4 * position,
            )
        if self._starts:
            self._starts.extend(array("I", starts))
        else:
            self._starts = array("I", starts)
        self._frontier = position
        if fault is not None:
            raise fault

    def _record_words(self, info: int, position: int, index: int) -> int:
        """The length of a record with this info word, in words."""
        kind = info >> KIND_SHIFT & KIND_MASK
        vlen = info & VLEN_MASK
        known = RECORD_WORDS.get(kind)
        if known is not None:
            return 3 + known[0] + known[1] * vlen
        layout = self._layout
        if 0 < kind < len(layout):
            extra, entry = layout[kind]
            if extra % 4 == 0 and entry % 4 == 0:
                return 3 + extra // 4 + entry // 4 * vlen
        raise BtfError(
            f"type {self.first_id + index} has the unknown kind {kind_name(kind)},"
            " and no layout section tells its length",
            source=self._label,
            offset=self._sections.types + 4 * position,
        )

    def _type_at(self, position: int) -> Type:
        found = self._types.get(position)
        if found is None:
            inflate(self, (position,))
            found = self._types[position]
        return found

    def kind_of(self, type_id: int) -> int:
        """The kind of a type by id, without making an object; 0 for void."""
        if type_id == 0:
            return Kind.VOID
        words, position = self.locate(type_id)
        return words[position + 1] >> KIND_SHIFT & KIND_MASK


def _as_id(number: object) -> int:
    if not isinstance(number, int):
        raise InputError(f"{number!r} is no number of a type, a part or a string")
    return int(number)


def check_spec(value: object) -> None:
    """Refuse what is no `Spec`: a path, perhaps.

    Raises:
        InputError: it is none.
    """
    if not isinstance(value, Spec):
        raise InputError(f"a Spec is needed, not {type(value).__name__}: load_spec() makes one from a file")


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
