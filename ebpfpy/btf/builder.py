"""Writing BTF: type objects -> one blob.

A `Builder` gives ids to types, in the order in which it meets them, and writes nothing until `Builder.marshal`. So
references may point forwards and in circles, as they do in C::

    node = Struct("node", 16, (Member("next", Pointer(lambda: node)), Member("value", Int("long", 8, 1), 64)))
    builder = Builder()
    builder.add(node)        # 1; the pointer is 2, the long 3
    blob = builder.marshal()

A builder with a base writes *split* BTF: types of the base keep their ids, strings of the base are used by offset, and
own ids and offsets continue where the base's end. Types of any other `Spec` are copied, with everything they refer to.

What a record can hold is checked when its type is added, so that an error names the type and the builder stays as it
was; nothing is said about whether the types make sense together.

Source of the layouts: include/uapi/linux/btf.h.
"""

from __future__ import annotations

import struct
import sys
from array import array
from typing import TYPE_CHECKING

from ebpfpy.errors import InputError

from . import types as t
from .header import layout_section
from .kinds import (
    HEADER_SIZE,
    HEADER_SIZE_LAYOUT,
    MAGIC,
    MAX_TYPE_ID,
    RECORD_WORDS,
    VLEN_MASK,
    Kind,
    make_info,
)
from .names import RawName
from .spec import Spec
from .unknown import Unknown, check_place

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .header import ByteOrder

_U32 = 0xFFFF_FFFF
_BITFIELD_OFFSET = 0xFF_FFFF


class Builder:
    """Collects types and writes them as BTF.

    Args:
        base: what the new BTF continues; None for BTF that stands alone.

    Not thread-safe.
    """

    def __init__(self, base: Spec | None = None) -> None:
        if base is not None and not isinstance(base, Spec):
            raise InputError(f"a base is a Spec, not {type(base).__name__}: load it first")
        self.base = base
        self._first_id = base.first_id + len(base) if base is not None else 1
        self._ids: dict[t.Type, int] = {}
        self._bases: set[int] = set()
        self._original: Spec | None = None  # whose types of unknown kinds are among these
        while base is not None:
            self._bases.add(id(base))
            base = base.base

    def __len__(self) -> int:
        """The number of own types; void and the base's types do not count."""
        return len(self._ids)

    def __repr__(self) -> str:
        split = f" split on {self.base.name or 'its base'}" if self.base is not None else ""
        return f"<Builder{split}, {len(self)} types>"

    def add(self, of: t.Type) -> int:
        """Add a type and everything that it refers to; what was added before is left alone.

        Returns:
            The type's id: 0 for void, the base's id for a type of the base.

        Raises:
            InputError: the type, or one that it refers to, cannot be written. Nothing was added.
            EbpfError: it refers to a type that its `Spec` does not have.
        """
        self.add_all((of,))
        return self._id(of)

    def add_all(self, types: Iterable[t.Type]) -> None:
        """Add types, then what they refer to: ids are given in this order.

        So ``builder.add_all(spec)`` copies a spec, ids and all.

        Raises:
            InputError, EbpfError: as `add`. Nothing was added.
        """
        fresh: dict[t.Type, None] = {}
        try:
            given = iter(types)
        except TypeError:
            raise InputError(f"{types!r} is no iterable of types") from None
        for of in given:
            self._meet(of, fresh)
        queue = list(fresh)
        unknown: list[Unknown] = []
        for of in queue:  # grows while it is walked: breadth first, no recursion
            if isinstance(of, Unknown):
                unknown.append(of)
                continue
            _check(of)
            queue.extend(other for other in _references(of) if self._meet(other, fresh))
        first = self._first_id + len(self._ids)
        if first + len(queue) - 1 > MAX_TYPE_ID:
            raise InputError(f"{first + len(queue)} types: ids have 31 bits")
        given_ids = {of: first + index for index, of in enumerate(queue)}
        for of in unknown:
            if of.spec is not self._original:
                check_place(of, self.base, {**self._ids, **given_ids})
                self._original = of.spec
        self._ids.update(given_ids)

    def marshal(self, byte_order: ByteOrder | None = None, *, header_size: int | None = None) -> bytes:
        """The blob.

        Args:
            byte_order: "little" or "big"; where nothing is said the base's, or that of copied types of unknown kinds,
                or this machine's.
            header_size: 24, or 32 for the header of 2026 with a layout section, which lets readers skip kinds that
                they do not know; where nothing is said, 24 unless copied types of unknown kinds need the other one.
                Split BTF has no layout section of its own, its base's counts.

        Raises:
            InputError: the byte order is not the base's, or not that of types of unknown kinds; or that header size is
                unknown, or too small for these types.
        """
        base, original = self.base, self._original
        needs_layout = original is not None and bool(original._sections.layout)
        if byte_order is None:
            follow = base if base is not None else original
            byte_order = follow.byte_order if follow is not None else sys.byteorder
        if byte_order not in ("little", "big"):
            raise InputError(f'a byte order is "little" or "big", not {byte_order!r}')
        if base is not None and byte_order != base.byte_order:
            raise InputError(f"split BTF must be {base.byte_order}-endian like its base, not {byte_order}-endian")
        if original is not None and byte_order != original.byte_order:
            raise InputError(f"types of unknown kinds are {original.byte_order}-endian, and cannot be turned")
        if header_size is None:
            header_size = HEADER_SIZE_LAYOUT if needs_layout else HEADER_SIZE
        if not isinstance(header_size, int) or header_size not in (HEADER_SIZE, HEADER_SIZE_LAYOUT):
            raise InputError(f"a header has {HEADER_SIZE} or {HEADER_SIZE_LAYOUT} bytes, not {header_size!r}")
        if needs_layout and header_size != HEADER_SIZE_LAYOUT:
            raise InputError(f"types of unknown kinds need a layout section: a header of {HEADER_SIZE_LAYOUT} bytes")
        strings = _Strings(base, original)
        words = array("I")
        for of in self._ids:
            words.extend(of.words if isinstance(of, Unknown) else _RECORDS[of.kind](of, strings.offset, self._id))
        if byte_order != sys.byteorder:
            words.byteswap()
        types, layout, text = words.tobytes(), b"", strings.table()
        mark = "<" if byte_order == "little" else ">"
        if needs_layout or (header_size == HEADER_SIZE_LAYOUT and base is None):
            layout = _layout() if original is None else bytes(layout_section(original.raw, byte_order))
        before = len(types) + len(layout)
        if before + len(text) > _U32:
            raise InputError("more than 4 GiB of types and strings")
        # u16 magic, u8 version, u8 flags, u32 hdr_len, u32 type_off, u32 type_len, u32 str_off, u32 str_len
        head = struct.pack(mark + "HBBIIIII", MAGIC, 1, 0, header_size, 0, len(types), before, len(text))
        if header_size == HEADER_SIZE_LAYOUT:  # u32 layout_off, u32 layout_len
            head += struct.pack(mark + "II", len(types) if layout else 0, len(layout))
        return head + types + layout + text

    def spec(self, name: str = "") -> Spec:
        """What was collected so far as a `Spec` of that name, on the builder's base."""
        return Spec(self.marshal(), self.base, name=name)

    def _meet(self, of: t.Type, fresh: dict[t.Type, None]) -> bool:
        """Note a type if it is a new one, and tell."""
        if not isinstance(of, t.Type):
            raise InputError(f"{of!r} is no type")
        if of in fresh or of in self._ids or isinstance(of, t.Void) or id(of.spec) in self._bases:
            return False
        fresh[of] = None
        return True

    def _id(self, of: t.Type) -> int:
        found = self._ids.get(of)
        if found is not None:
            return found
        if isinstance(of, t.Void):
            return 0
        if self.base is None or id(of.spec) not in self._bases:
            # a reference that is a callable gave another object when it was added
            raise InputError(f"{of!r} was not added: a reference must give the same type every time")
        return self.base.type_id(of)


class _Strings:
    """The string section in the making; every string is there once, in the base if the base has it."""

    def __init__(self, base: Spec | None, original: Spec | None) -> None:
        self._chunks: list[bytes] = []
        self._offsets: dict[bytes, int] = {b"": 0}
        if base is None:
            self._chunks.append(b"\0")
            self._next = 1
        else:
            self._next = base.strings_end
            for text, offset in base.each_string():
                self._offsets.setdefault(text, offset)
        if original is not None:  # whose types of unknown kinds may have strings, which stay where they are
            for text, offset in original.each_string():
                self._offsets.setdefault(text, offset)
            self._chunks = [original.own_strings()]
            self._next = original.strings_end

    def offset(self, name: str) -> int:
        raw = name.raw if name.__class__ is RawName else name.encode()
        found = self._offsets.get(raw)
        if found is None:
            found = self._offsets[raw] = self._next
            self._chunks.append(raw + b"\0")
            self._next += len(raw) + 1
        return found

    def table(self) -> bytes:
        return b"".join(self._chunks)


def _layout() -> bytes:
    """Per kind: ``u8 info_sz, u8 elem_sz, u16 flags``."""
    sizes = (RECORD_WORDS.get(kind, (0, 0)) for kind in range(max(Kind) + 1))
    return b"".join(bytes((4 * extra, 4 * entry, 0, 0)) for extra, entry in sizes)


# --- what a type refers to ------------------------------------------------------------------------


def _references(of: t.Type) -> Iterator[t.Type]:
    if isinstance(of, (t._Target, t.Typedef, t.TypeTag, t.DeclTag)):
        yield of.target
    elif isinstance(of, t.Array):
        yield of.element
        yield of.index
    elif isinstance(of, (t.Struct, t.Union)):
        for member in of.members:
            yield member.type
    elif isinstance(of, t.FuncProto):
        yield of.result
        for param in of.params:
            yield param.type
    elif isinstance(of, t.Func):
        yield of.proto
    elif isinstance(of, t.Var):
        yield of.type
    elif isinstance(of, t.Datasec):
        for place in of.variables:
            yield place.var


# --- what a record can hold -----------------------------------------------------------------------


def _within(of: object, what: str, value: int, highest: int, lowest: int = 0) -> None:
    if not isinstance(value, int) or not lowest <= value <= highest:
        raise InputError(f"{of!r}: {what} {value!r} is not within {lowest} and {highest}")


def _check_name(of: object, name: str) -> None:
    if not isinstance(name, str):
        raise InputError(f"{of!r}: the name {name!r} is no string")
    if "\0" in name:
        raise InputError(f"{of!r}: the name {name!r} contains NUL")
    try:
        name.encode()
    except UnicodeEncodeError:
        raise InputError(f"{of!r}: the name {name!r} cannot be encoded as UTF-8") from None


def _check(of: t.Type) -> None:
    """Refuse a type that its record could not hold."""
    if of.kind not in _RECORDS:
        raise InputError(f"{of!r} cannot be written")
    if not isinstance(of, (t._Target, t.Array, t.FuncProto)):
        _check_name(of, of.name)  # type: ignore[attr-defined]
    if isinstance(of, (t.Struct, t.Union)):
        _check_members(of)
    elif isinstance(of, t.Enum):
        _check_enumerators(of)
    elif isinstance(of, t.Int):
        _within(of, "size", of.size, _U32)
        _within(of, "encoding", of.encoding, 0xF)
        _within(of, "number of bits", of.bits, 0xFF)
        _within(of, "bit offset", of.bit_offset, 0xFF)
    elif isinstance(of, t.Float):
        _within(of, "size", of.size, _U32)
    elif isinstance(of, t.Array):
        _within(of, "number of elements", of.count, _U32)
    elif isinstance(of, t.FuncProto):
        _within(of, "number of parameters", len(of.params), VLEN_MASK)
        for param in of.params:
            _check_name(of, param.name)
    elif isinstance(of, t.Func):
        _within(of, "linkage", of.linkage, VLEN_MASK)
    elif isinstance(of, t.Var):
        _within(of, "linkage", of.linkage, _U32)
    elif isinstance(of, t.DeclTag):
        _within(of, "component", of.component, 0x7FFF_FFFF, -0x8000_0000)
    elif isinstance(of, t.Datasec):
        _within(of, "size", of.size, _U32)
        _within(of, "number of variables", len(of.variables), VLEN_MASK)
        for place in of.variables:
            _within(of, "offset of a variable", place.offset, _U32)
            _within(of, "size of a variable", place.size, _U32)


def _check_members(of: t.Struct | t.Union) -> None:
    _within(of, "size", of.size, _U32)
    _within(of, "number of members", len(of.members), VLEN_MASK)
    bitfields = any(member.bitfield_size for member in of.members)
    highest = _BITFIELD_OFFSET if bitfields else _U32
    what = "bit offset (of a struct with bitfields)" if bitfields else "bit offset"
    for member in of.members:
        _check_name(of, member.name)
        if bitfields:
            _within(of, f"width of bitfield {member.name!r}:", member.bitfield_size, 0xFF)
        _within(of, f"{what} of member {member.name!r}:", member.offset_bits, highest)


def _check_enumerators(of: t.Enum) -> None:
    _within(of, "size", of.size, _U32)
    _within(of, "number of enumerators", len(of.enumerators), VLEN_MASK)
    bits = 64 if of.is64 else 32
    lowest = -(1 << bits - 1) if of.signed else 0
    highest = (1 << bits - 1) - 1 if of.signed else (1 << bits) - 1
    for each in of.enumerators:
        _check_name(of, each.name)
        _within(of, f"value of enumerator {each.name!r}:", each.value, highest, lowest)


# --- records --------------------------------------------------------------------------------------
# Each writer returns the words of one record: u32 name_off, u32 info, u32 size_or_type, what follows.
# The layouts of what follows are in kinds.RECORD_WORDS.


def _int(of: t.Int, name: Callable[[str], int], _ref: Callable[[t.Type], int]) -> list[int]:
    return [name(of.name), make_info(of.kind), of.size, of.encoding << 24 | of.bit_offset << 16 | of.bits]


def _float(of: t.Float, name: Callable[[str], int], _ref: Callable[[t.Type], int]) -> list[int]:
    return [name(of.name), make_info(of.kind), of.size]


def _target(of: t._Target, _name: Callable[[str], int], ref: Callable[[t.Type], int]) -> list[int]:
    return [0, make_info(of.kind), ref(of.target)]


def _typedef(of: t.Typedef, name: Callable[[str], int], ref: Callable[[t.Type], int]) -> list[int]:
    return [name(of.name), make_info(of.kind), ref(of.target)]


def _type_tag(of: t.TypeTag, name: Callable[[str], int], ref: Callable[[t.Type], int]) -> list[int]:
    return [name(of.name), make_info(of.kind, flag=of.attribute), ref(of.target)]


def _decl_tag(of: t.DeclTag, name: Callable[[str], int], ref: Callable[[t.Type], int]) -> list[int]:
    return [name(of.name), make_info(of.kind, flag=of.attribute), ref(of.target), of.component & _U32]


def _array(of: t.Array, _name: Callable[[str], int], ref: Callable[[t.Type], int]) -> list[int]:
    return [0, make_info(of.kind), 0, ref(of.element), ref(of.index), of.count]


def _composite(of: t.Struct | t.Union, name: Callable[[str], int], ref: Callable[[t.Type], int]) -> list[int]:
    bitfields = any(member.bitfield_size for member in of.members)
    words = [name(of.name), make_info(of.kind, len(of.members), bitfields), of.size]
    for member in of.members:
        words += (name(member.name), ref(member.type), member.bitfield_size << 24 | member.offset_bits)
    return words


def _enum(of: t.Enum, name: Callable[[str], int], _ref: Callable[[t.Type], int]) -> list[int]:
    words = [name(of.name), make_info(of.kind, len(of.enumerators), of.signed), of.size]
    for each in of.enumerators:
        words += (name(each.name), each.value & _U32)
        if of.is64:
            words.append(each.value >> 32 & _U32)
    return words


def _fwd(of: t.Fwd, name: Callable[[str], int], _ref: Callable[[t.Type], int]) -> list[int]:
    return [name(of.name), make_info(of.kind, flag=of.union), 0]


def _func_proto(of: t.FuncProto, name: Callable[[str], int], ref: Callable[[t.Type], int]) -> list[int]:
    words = [0, make_info(of.kind, len(of.params)), ref(of.result)]
    for param in of.params:
        words += (name(param.name), ref(param.type))
    return words


def _func(of: t.Func, name: Callable[[str], int], ref: Callable[[t.Type], int]) -> list[int]:
    return [name(of.name), make_info(of.kind, of.linkage), ref(of.proto)]


def _var(of: t.Var, name: Callable[[str], int], ref: Callable[[t.Type], int]) -> list[int]:
    return [name(of.name), make_info(of.kind), ref(of.type), of.linkage]


def _datasec(of: t.Datasec, name: Callable[[str], int], ref: Callable[[t.Type], int]) -> list[int]:
    words = [name(of.name), make_info(of.kind, len(of.variables)), of.size]
    for place in of.variables:
        words += (ref(place.var), place.offset, place.size)
    return words


_RECORDS: dict[int, Callable[..., list[int]]] = {
    Kind.INT: _int,
    Kind.PTR: _target,
    Kind.ARRAY: _array,
    Kind.STRUCT: _composite,
    Kind.UNION: _composite,
    Kind.ENUM: _enum,
    Kind.FWD: _fwd,
    Kind.TYPEDEF: _typedef,
    Kind.VOLATILE: _target,
    Kind.CONST: _target,
    Kind.RESTRICT: _target,
    Kind.FUNC: _func,
    Kind.FUNC_PROTO: _func_proto,
    Kind.VAR: _var,
    Kind.DATASEC: _datasec,
    Kind.FLOAT: _float,
    Kind.DECL_TAG: _decl_tag,
    Kind.TYPE_TAG: _type_tag,
    Kind.ENUM64: _enum,
}
