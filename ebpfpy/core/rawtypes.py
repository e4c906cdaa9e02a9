"""Types as the relocator sees them: ids and words, never objects.

A relocation looks at a handful of the 100,000 types of a kernel, and at one or two members of each. Making objects
of them would cost more than the relocation. `RawTypes` answers the relocator's questions from a `Spec`'s raw tables and
remembers what it has answered: records by id, what is under the typedefs, sizes, and for each struct a dictionary from
member name to index. It lives as long as its Spec, so the next program starts warm.

Type id 0 is void. An id below the split's first belongs to the base, and is answered (and remembered) by the base's
`RawTypes`, so that modules share it.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from weakref import WeakKeyDictionary

from ebpfpy.btf.kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, MODIFIERS, VLEN_MASK, Kind
from ebpfpy.btf.names import essential_bytes
from ebpfpy.errors import BtfError

if TYPE_CHECKING:
    from ebpfpy.btf.spec import Spec

MAX_DEPTH = 32
"""libbpf's limit on the depth of nested types."""
MAX_ANONYMOUS = 400
"""Anonymous members inside each other; far above what any kernel has."""

_MODIFIERS = frozenset(int(kind) for kind in MODIFIERS)
_COMPOSITE = (Kind.STRUCT, Kind.UNION)
_SIZED = frozenset({Kind.INT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FLOAT, Kind.DATASEC})
_MAX_CHAIN = 1000


class Record(NamedTuple):
    """One record of the type section.

    Attributes:
        type_id: its id.
        kind, vlen, flag: the parts of the info word.
        name_off: offset of its name.
        value: the third word: size in bytes, or the id of the type that it refers to.
        words, at: the words that it lies in, and where its body starts: what follows the first three.
    """

    type_id: int
    kind: int
    vlen: int
    flag: bool
    name_off: int
    value: int
    words: memoryview
    at: int

    @property
    def body(self) -> memoryview:
        """The words after the first three, to the end of all types."""
        return self.words[self.at :]


_VOID = Record(0, 0, 0, False, 0, 0, memoryview(b""), 0)


class Members(NamedTuple):
    """The members of a struct or union.

    Attributes:
        names: by index; b"" for an anonymous one.
        types: ids by index.
        bits: bit offsets by index.
        widths: bitfield widths by index, 0 for no bitfield.
    """

    names: list[bytes]
    types: list[int]
    bits: list[int]
    widths: list[int]


class Reached(NamedTuple):
    """A member that is reached from a struct directly, or through anonymous members.

    Attributes:
        path: the index of each member on the way.
        bits: bit offset from the start of the struct where the way began.
        struct: id of the struct that the member is directly in.
        type_id: of the member, as it is declared.
        width: of a bitfield, else 0.
    """

    path: tuple[int, ...]
    bits: int
    struct: int
    type_id: int
    width: int


# without NamedTuple's Python constructor
_record = partial(tuple.__new__, Record)
_reached = partial(tuple.__new__, Reached)


class DepthError(ValueError):
    """Types nested deeper, or wider, than anything real: neither yes nor no."""


class RawTypes:
    """What the relocator asks of one `Spec`."""

    __slots__ = (
        "__weakref__",
        "_base",
        "_candidates",
        "_direct",
        "_enumerators",
        "_essential",
        "_extents",
        "_first",
        "_indices",
        "_members",
        "_mismatches",
        "_names",
        "_nested",
        "_plain",
        "_records",
        "_sizes",
        "_spec",
        "_under",
        "big_endian",
    )  # fmt: skip

    def __init__(self, spec: Spec, base: RawTypes | None) -> None:
        self._spec = spec
        self._base = base
        self._first = spec.first_id
        self._records: dict[int, Record] = {0: _VOID}
        self._under: dict[int, Record] = {}
        self._sizes: dict[int, int] = {}
        self._members: dict[int, Members] = {}
        self._extents: dict[int, tuple[int, int]] = {}
        self._direct: dict[int, dict[bytes, int]] = {}
        self._nested: dict[int, dict[bytes, list[Reached]]] = {}
        self._plain: dict[int, dict[bytes, tuple[int, int]]] = {}
        self._names: dict[int, frozenset[bytes]] = {}
        self._essential: dict[int, bytes] = {}
        self._enumerators: dict[int, list[tuple[bytes, int]]] = {}
        self._indices: dict[int, dict[bytes, int]] = {}
        # weak: an object that outlives a kernel's types must not keep them
        self._mismatches: WeakKeyDictionary[RawTypes, dict[tuple[int, int], str | None]] = WeakKeyDictionary()
        self.big_endian = spec.byte_order == "big"
        self._candidates: dict[tuple[bytes, tuple[int, ...]], list[int]] = {}

    def ids_by_essential_name(self, essential: bytes, kinds: tuple[int, ...]) -> list[int]:
        """The ids of all own types of the spec of that name, flavours left out, and kind; remembered."""
        found = self._candidates.get((essential, kinds))
        if found is None:
            found = self._candidates[essential, kinds] = self._spec.ids_by_essential_name(essential, kinds)
        return found

    def record(self, type_id: int) -> Record:
        """The record of a type."""
        found = self._records.get(type_id)
        if found is not None:
            return found
        if type_id < self._first and self._base is not None:
            return self._base.record(type_id)
        words, at = self._spec.locate(type_id)
        info = words[at + 1]
        found = self._records[type_id] = _record(
            (
                type_id,
                info >> KIND_SHIFT & KIND_MASK,
                info & VLEN_MASK,
                info & KIND_FLAG != 0,
                words[at],
                words[at + 2],
                words,
                at + 3,
            )
        )
        return found

    def name(self, record: Record) -> bytes:
        """The name of a record's type; b"" for an anonymous one."""
        return self._spec.string_bytes(record.name_off)

    def essential_name(self, type_id: int) -> bytes:
        """The name of a type without its flavour; b"" for an anonymous one.

        Raises:
            TypeNotFoundError, BtfError: there is no such type, or its name is none.
        """
        found = self._essential.get(type_id)
        if found is None:
            found = self._essential[type_id] = essential_bytes(self.name(self.record(type_id)))
        return found

    def mismatches(self, other: RawTypes) -> dict[tuple[int, int], str | None]:
        """Why, or why not, a type of `other` cannot stand for one of these; filled by who finds out, by the two ids."""
        found = self._mismatches.get(other)
        if found is None:
            found = self._mismatches.setdefault(other, {})
        return found

    def string(self, offset: int) -> bytes:
        """The string at an offset."""
        return self._spec.string_bytes(offset)

    def under(self, type_id: int) -> Record:
        """The record under all typedefs, qualifiers and type tags.

        Raises:
            BtfError: they form a cycle.
        """
        found = self._under.get(type_id)
        if found is not None:
            return found
        found = self.record(type_id)
        for _ in range(_MAX_CHAIN):
            if found.kind not in _MODIFIERS:
                self._under[type_id] = found
                return found
            found = self.record(found.value)
        raise BtfError(f"typedefs and qualifiers of type {type_id} form a cycle", source=self._spec.name or "BTF")

    def size(self, type_id: int) -> int:
        """The size of a type in bytes.

        Raises:
            BtfError: it has none.
        """
        found = self._sizes.get(type_id)
        if found is None:
            found = self._sizes[type_id] = self._size(type_id)
        return found

    def extent(self, type_id: int) -> tuple[int, int]:
        """The size of a type in bytes, and the id under all typedefs and qualifiers.

        Raises:
            BtfError: it has no size.
        """
        found = self._extents.get(type_id)
        if found is None:
            end = self.under(type_id).type_id
            found = self._extents[type_id] = self.size(end), end
        return found

    def _size(self, type_id: int) -> int:
        count = 1
        record = self.under(type_id)
        for _ in range(MAX_DEPTH):
            if record.kind in _SIZED:
                return count * record.value
            if record.kind == Kind.PTR:
                return count * self._spec.pointer_size
            if record.kind != Kind.ARRAY:
                break
            count *= self.array(record)[1]
            record = self.under(self.array(record)[0])
        raise BtfError(f"type {type_id} has no size", source=self._spec.name or "BTF")

    def array(self, record: Record) -> tuple[int, int]:
        """Element type and number of elements of an array."""
        body = record.body
        if len(body) < 3:
            raise self._truncated(record)
        return body[0], body[2]

    def int_word(self, record: Record) -> int:
        """The fourth word of an integer: encoding << 24 | bit offset << 16 | bits."""
        if record.at >= len(record.words):
            raise self._truncated(record)
        word: int = record.words[record.at]
        return word

    def members(self, record: Record) -> Members:
        """The members of a struct or union."""
        if record.type_id < self._first and self._base is not None:
            return self._base.members(record)
        found = self._members.get(record.type_id)
        if found is None:
            found = self._members[record.type_id] = self._read_members(record)
        return found

    def _read_members(self, record: Record) -> Members:
        # u32 name_off, u32 type, u32 offset (flag: bitfield size << 24 | bit offset)
        body = record.body[: 3 * record.vlen].tolist()
        if len(body) < 3 * record.vlen:
            raise self._truncated(record)
        names = self._spec.strings_at(body[0::3])
        offsets = body[2::3]
        if record.flag:
            bits, widths = [word & 0xFF_FFFF for word in offsets], [word >> 24 for word in offsets]
        else:
            bits, widths = offsets, [0] * len(offsets)
        return Members(names, body[1::3], bits, widths)

    def reach(self, record: Record, name: bytes) -> list[Reached]:
        """The members of that name that are reached without naming another, in the order of declaration.

        Of several members of one name in the struct itself only the first counts. An anonymous struct that is met
        again, inside itself or elsewhere, is not entered a second time.

        Raises:
            DepthError: more than `MAX_ANONYMOUS` anonymous members inside each other.
        """
        if record.type_id < self._first and self._base is not None:
            return self._base.reach(record, name)
        members = self.members(record)
        direct = self._direct.get(record.type_id)
        if direct is None:
            direct = dict(zip(reversed(members.names), range(len(members.names) - 1, -1, -1), strict=True))
            self._direct[record.type_id] = direct
        nested = self._nested_in(record, members)
        index = direct.get(name) if name else None
        hits = nested.get(name, []) if nested else []
        if index is not None:
            _, types, bits, widths = members
            hit = _reached(((index,), bits[index], record.type_id, types[index], widths[index]))
            hits = sorted([hit, *hits]) if hits else [hit]
        return hits

    def plain_members(self, type_id: int) -> dict[bytes, tuple[int, int]]:
        """Bit offset and declared type by name, of a struct's members that are the plainest case; {} for no struct.

        That is: the one member of that name, reached directly or through anonymous members, and no bitfield.
        """
        record = self._under.get(type_id) or self.under(type_id)
        if record.type_id < self._first and self._base is not None:
            return self._base.plain_members(record.type_id)
        found = self._plain.get(record.type_id)
        if found is None:
            found = self._plain[record.type_id] = self._plain_members(record) if record.kind in _COMPOSITE else {}
        return found

    def member_names(self, type_id: int) -> frozenset[bytes]:
        """The names of all members, reached directly or through anonymous members; empty for no struct or union."""
        record = self.under(type_id)
        if record.type_id < self._first and self._base is not None:
            return self._base.member_names(record.type_id)
        found = self._names.get(record.type_id)
        if found is None:
            found = frozenset()
            if record.kind in _COMPOSITE:
                members = self.members(record)
                found = frozenset(members.names).union(self._nested_in(record, members))
            self._names[record.type_id] = found
        return found

    def _plain_members(self, record: Record) -> dict[bytes, tuple[int, int]]:
        members = self.members(record)
        names, types, bits, widths = members
        # from the last to the first: of several members of one name the first counts
        found = dict(zip(reversed(names), zip(reversed(bits), reversed(types), strict=True), strict=True))
        hidden = [name for name, width in zip(names, widths, strict=True) if width] if record.flag else []
        nested = self._nested_in(record, members)
        for name, hits in nested.items():
            if name in found or len(hits) > 1 or hits[0].width:
                hidden.append(name)
            else:
                found[name] = hits[0].bits, hits[0].type_id
        for name in (b"", *hidden):
            found.pop(name, None)
        return found

    def _nested_in(self, record: Record, members: Members) -> dict[bytes, list[Reached]]:
        """What is reached through anonymous members of a struct; remembered."""
        found = self._nested.get(record.type_id)
        if found is None:
            found = self._nested[record.type_id] = self._reach_nested(record, members) if b"" in members.names else {}
        return found

    def _reach_nested(self, record: Record, outermost: Members) -> dict[bytes, list[Reached]]:
        """What is reached through anonymous members."""
        found: dict[bytes, list[Reached]] = {}
        seen = {record.type_id}
        # one level of the way down: struct, members, next index, path and bits before it
        way: list[tuple[int, Members, int, tuple[int, ...], int]] = [(record.type_id, outermost, 0, (), 0)]
        while way:
            struct, members, start, path, bits = way.pop()
            names, types, offsets, widths = members
            for at in range(start, len(names)):
                name = names[at]
                if name:
                    if path:
                        hit = Reached((*path, at), bits + offsets[at], struct, types[at], widths[at])
                        found.setdefault(name, []).append(hit)
                    continue
                inner = self.under(types[at])
                if inner.kind not in _COMPOSITE or inner.type_id in seen:
                    continue
                if len(way) > MAX_ANONYMOUS:
                    raise DepthError(f"more than {MAX_ANONYMOUS} anonymous members inside each other")
                seen.add(inner.type_id)
                way += [
                    (struct, members, at + 1, path, bits),
                    (inner.type_id, self.members(inner), 0, (*path, at), bits + offsets[at]),
                ]
                break
        return found

    def enumerators(self, record: Record) -> list[tuple[bytes, int]]:
        """Names and values of an enum: ENUM's sign-extended from 32 bits, ENUM64's as unsigned 64-bit numbers."""
        found = self._enumerators.get(record.type_id)
        if found is None:
            found = self._enumerators[record.type_id] = self._read_enumerators(record)
        return found

    def enumerator_index(self, record: Record, essential: bytes) -> int | None:
        """Where in an enum the first enumerator of that name is, flavours left out; None if there is none."""
        found = self._indices.get(record.type_id)
        if found is None:
            found = self._indices[record.type_id] = {}
            for index, (name, _) in enumerate(self.enumerators(record)):
                found.setdefault(essential_bytes(name), index)
        return found.get(essential)

    def _read_enumerators(self, record: Record) -> list[tuple[bytes, int]]:
        step = 3 if record.kind == Kind.ENUM64 else 2
        body = record.body[: step * record.vlen].tolist()
        if len(body) < step * record.vlen:
            raise self._truncated(record)
        names = self._spec.strings_at(body[0::step])
        if step == 3:
            values = [low | high << 32 for low, high in zip(body[1::3], body[2::3], strict=True)]
        else:
            values = [value - (1 << 32) if value >> 31 else value for value in body[1::2]]
        return list(zip(names, values, strict=True))

    def params(self, record: Record) -> list[int]:
        """The types of a function prototype's parameters."""
        body = record.body[: 2 * record.vlen].tolist()
        if len(body) < 2 * record.vlen:
            raise self._truncated(record)
        return body[1::2]

    def _truncated(self, record: Record) -> BtfError:
        return BtfError(f"truncated: the record of type {record.type_id}", source=self._spec.name or "BTF")


def raw_types(spec: Spec) -> RawTypes:
    """The `RawTypes` of a Spec, the same one every time."""
    found: RawTypes | None = spec.derived.get(RawTypes)
    if found is None:
        base = raw_types(spec.base) if spec.base is not None else None
        found = spec.derived.setdefault(RawTypes, RawTypes(spec, base))
    return found
