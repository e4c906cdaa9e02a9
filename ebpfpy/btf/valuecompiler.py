"""Types -> codecs: one traversal that works out formats, offsets and bounds, so that reading only follows them.

Compiled, ``struct event {u32 pid; u64 ts; char comm[16]; enum op op;}`` is one `struct.Struct` ("<I4xQ16sI"), the names
of its members, and two functions that turn 16 bytes into a str and a number into a name. What does not fit into such a
format (bitfields, unions, nested structs, arrays) takes part as "0s", which yields a placeholder, and is read by a
function of its own.

Types come from files and may be hostile: a struct may contain itself, an array may have 4 billion elements of no
size, a union may show the same bytes a million times over. Compiling refuses what is nested more than 64 deep, and
what would make out of all proportion more values than there are bytes.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ebpfpy.errors import InputError

from . import types as t
from .codec import Codec, Read, inside, unfit, write_inside
from .layout import Ends
from .scalarcodecs import MAX_INTEGER, WIDE_FLOATS, bitfield, enum, integer, plain, text_array, wide_float

if TYPE_CHECKING:
    from .spec import Spec

_MAX_DEPTH = 64
_FREE_VALUES = 1 << 14
_VALUES_PER_BYTE = 32
_MAX_SIZE = 1 << 32
_MAX_FIELDS = 1 << 15


class _Field(NamedTuple):
    """A member as the dict shows it: under its own name, at a byte offset from the start of the whole."""

    name: str
    offset: int
    codec: Codec


class _Shape(NamedTuple):
    """A struct or union before its codec: what an outer struct takes over from an anonymous member."""

    fields: tuple[_Field, ...]
    size: int
    values: int


class Compiler:
    """Makes codecs for the types of one spec; knows what it has made, and what it is inside of."""

    def __init__(self, spec: Spec | None, text: bool) -> None:
        order = spec.byte_order if spec is not None else sys.byteorder
        self.order = order
        self.mark = "<" if order == "little" else ">"
        self.pointer_size = spec.pointer_size if spec is not None else struct.calcsize("P")
        self.text = text
        self.made: dict[tuple[t.Type, bool], Codec] = {}
        self.shapes: dict[tuple[t.Type, bool], _Shape] = {}
        self.fields = 0
        self.resolve = Ends().under
        self.inside: list[t.Type] = []

    def compile(self, of: t.Type, *, last: bool) -> Codec:
        """The codec of a type; `last` if nothing follows it: then a flexible array may use the rest of the buffer."""
        of = self.resolve(of)
        found = self.made.get((of, last))
        if found is None:
            self._enter(of)
            found = self.made[of, last] = self._make(of, last)
            self.inside.pop()
        return found

    def _enter(self, of: t.Type) -> None:
        if of in self.inside:
            raise InputError(f"{of!r} contains itself")
        if len(self.inside) >= _MAX_DEPTH:
            raise InputError(f"{self.inside[0]!r} is nested more than {_MAX_DEPTH} deep")
        self.inside.append(of)

    def _make(self, of: t.Type, last: bool) -> Codec:
        if isinstance(of, t.Int):
            if of.bits != of.size * 8 or of.bit_offset:
                if of.size > MAX_INTEGER:
                    raise InputError(f"{of!r}: no integer has {of.size} bytes")
                legacy = bitfield(self.order, of, of.bit_offset, of.bits, of.size)
                return Codec(of.size, 1, legacy.read, legacy.write)
            return integer(self.order, of.size, of.signed, bool if of.bool else None, repr(of))
        if isinstance(of, t.Pointer):
            return integer(self.order, self.pointer_size, False, None, repr(of))
        if isinstance(of, t.Enum):
            return enum(self.order, of)
        if isinstance(of, t.Float):
            code = {2: "e", 4: "f", 8: "d"}.get(of.size)
            if of.size in WIDE_FLOATS:
                return wide_float(of.size, repr(of))
            if code is None:
                raise InputError(f"{of!r}: Python has no float of {of.size} bytes")
            return plain(self.order, of.size, code, None, lambda value: value, repr(of))
        if isinstance(of, t.Array):
            return self._array(of, last)
        if isinstance(of, (t.Struct, t.Union)):
            return self._composite(of, last)
        if isinstance(of, t.Datasec):
            return self._record(repr(of), self._datasec_shape(of))
        if isinstance(of, t.Var):
            return self.compile(of.type, last=last)
        raise InputError(f"{of!r} has no value")

    # --- arrays --------------------------------------------------------------------------------

    def _array(self, of: t.Array, last: bool) -> Codec:
        if of.count < 0:
            raise InputError(f"{of!r}: no array has {of.count} elements")
        under = self.resolve(of.element)
        if isinstance(under, t.Int) and under.size == 1 and (under.char or under.name == "char"):
            self._bounded(of, of.count, 1)
            return text_array(of.count, self.text, last)
        element = self.compile(under, last=False)
        if of.count == 0 and last:
            return self._flexible(element, repr(of))
        size, values = element.size * of.count, 1 + element.values * of.count
        self._bounded(of, size, values)
        count, step, what = of.count, element.size, repr(of)
        read_one, write_one = element.read, element.write
        many: struct.Struct | None = None
        if len(element.code) == 1 and count:
            many = struct.Struct(f"{self.mark}{count}{element.code}")
        read = _read_numbers(many, element.convert) if many is not None else None

        def read_each(buffer: Any, at: int) -> Any:
            return [read_one(buffer, at + step * index) for index in range(count)]

        def write(value: Any, out: bytearray, at: int) -> None:
            for index, each in enumerate(_as_sequence(value, what, count)):
                write_inside(f"[{index}]", write_one, each, out, at + step * index)

        return Codec(size, values, read or read_each, write)

    def _flexible(self, element: Codec, what: str) -> Codec:
        step, read_one, write_one, values = element.size, element.read, element.write, element.values

        def read(buffer: Any, at: int) -> Any:
            left = len(buffer) - at
            count = left // step if step else 0
            if count * values > _FREE_VALUES + _VALUES_PER_BYTE * left:
                raise InputError(f"{what} of {left} bytes would make {count * values} values")
            return [read_one(buffer, at + step * index) for index in range(count)]

        def write(value: Any, out: bytearray, at: int) -> None:
            items = _as_sequence(value, what, None)
            out.extend(bytes(max(0, at + step * len(items) - len(out))))
            for index, each in enumerate(items):
                write_inside(f"[{index}]", write_one, each, out, at + step * index)

        return Codec(0, 1, read, write)

    # --- structs -------------------------------------------------------------------------------

    def _bounded(self, of: t.Type, size: int, values: int) -> None:
        if size > _MAX_SIZE:
            raise InputError(f"{of!r} has {size} bytes")
        if values > _FREE_VALUES + _VALUES_PER_BYTE * size:
            raise InputError(f"{of!r} of {size} bytes would make {values} values or more")

    def _composite(self, of: t.Struct | t.Union, last: bool) -> Codec:
        return self._record(repr(of), self._shape(of, last))

    def _shape(self, of: t.Struct | t.Union, last: bool) -> _Shape:
        """The fields of a struct or union whose `_enter` has been called."""
        found = self.shapes.get((of, last))
        if found is not None:
            return found
        fields: list[_Field] = []
        values = 1
        for index, member in enumerate(of.members):
            open_end = last and (isinstance(of, t.Union) or index == len(of.members) - 1)
            for field in self._fields(of, member, open_end):
                fields.append(field)
                values += field.codec.values
                self.fields += 1
            self._bounded(of, of.size, values)
            if self.fields > _MAX_FIELDS:
                raise InputError(f"{of!r} has, with all that is in it, more than {_MAX_FIELDS} members")
        if len({field.name for field in fields}) != len(fields):
            seen: set[str] = set()
            twice = next(f.name for f in fields if f.name in seen or seen.add(f.name))  # type: ignore[func-returns-value]
            raise InputError(f"{of!r} has two members {twice!r}")
        found = self.shapes[of, last] = _Shape(tuple(fields), of.size, values)
        return found

    def _fields(self, of: t.Struct | t.Union, member: t.Member, last: bool) -> Sequence[_Field]:
        try:
            under = self.resolve(member.type)
            offset = member.offset_bits // 8
            if not member.name and not member.bitfield_size and isinstance(under, (t.Struct, t.Union)):
                self._enter(under)
                inner = self._shape(under, last)
                self.inside.pop()
                if offset + inner.size > of.size or member.offset_bits % 8:
                    raise InputError(f"ends at byte {offset + inner.size} of {of.size}")
                return [_Field(name, offset + at, codec) for name, at, codec in inner.fields]
            if not member.name:
                return ()
            if member.bitfield_size:
                codec = bitfield(self.order, under, member.offset_bits, member.bitfield_size, of.size)
                return (_Field(member.name, 0, codec),)
            if isinstance(under, t.Int) and (under.bits != under.size * 8 or under.bit_offset):
                # legacy: the width is in the integer's type
                codec = bitfield(self.order, under, member.offset_bits + under.bit_offset, under.bits, of.size)
                return (_Field(member.name, 0, codec),)
            codec = self.compile(under, last=last)
            if member.offset_bits % 8:
                raise InputError(f"starts at bit {member.offset_bits}")
            if offset + codec.size > of.size:
                raise InputError(f"ends at byte {offset + codec.size} of {of.size}")
            return (_Field(member.name, offset, codec),)
        except InputError as error:
            raise inside(f"{of.name or of.kind.name.lower()}.{member.name or '(anon)'}", error) from None

    def _datasec_shape(self, of: t.Datasec) -> _Shape:
        fields: list[_Field] = []
        values = 1
        for place in of.variables:
            var = place.var
            if not isinstance(var, t.Var):
                raise InputError(f"{of!r}: {var!r} has no value")
            codec = self.compile(var.type, last=False)
            if place.offset + codec.size > of.size:
                raise InputError(f"{of!r}: {var!r} ends at byte {place.offset + codec.size} of {of.size}")
            fields.append(_Field(var.name, place.offset, codec))
            values += codec.values
        if len({field.name for field in fields}) != len(fields):
            raise InputError(f"{of!r} has two variables of one name")
        self._bounded(of, of.size, values)
        return _Shape(tuple(fields), of.size, values)

    def _record(self, what: str, shape: _Shape) -> Codec:
        """The codec of a dict: one format for all that lies in order, a function for what does not."""
        form, at = [self.mark], 0
        converted: list[tuple[str, Callable[[Any], Any]]] = []
        apart: list[tuple[str, int, Read]] = []
        for name, offset, codec in shape.fields:
            if codec.code and offset >= at:
                form.append(f"{offset - at}x{codec.code}" if offset > at else codec.code)
                at = offset + codec.size
                if codec.convert is not None:
                    converted.append((name, codec.convert))
            else:
                form.append("0s")
                apart.append((name, offset, codec.read))
        names = tuple(field.name for field in shape.fields)
        unpack = struct.Struct("".join(form)).unpack_from
        read = _read_record(names, unpack, tuple(converted), tuple(apart))
        writers = {name: (offset, codec.write) for name, offset, codec in shape.fields}

        def write(value: Any, out: bytearray, at: int) -> None:
            if not isinstance(value, Mapping):
                raise unfit(value, what, "it must be a dict")
            for name, each in value.items():
                if name not in writers:
                    raise InputError(f"{what} has no member {name!r}")
                offset, write_one = writers[name]
                write_inside(f".{name}", write_one, each, out, at + offset)

        return Codec(shape.size, shape.values, read, write)


def _read_record(
    names: tuple[str, ...],
    unpack: Callable[[Any, int], tuple[Any, ...]],
    converted: tuple[tuple[str, Callable[[Any], Any]], ...],
    apart: tuple[tuple[str, int, Read], ...],
) -> Read:
    if not converted and not apart:

        def read_plain(buffer: Any, at: int) -> dict[str, Any]:
            return dict(zip(names, unpack(buffer, at)))  # noqa: B905  (strict costs time; both have one length)

        return read_plain

    def read(buffer: Any, at: int) -> dict[str, Any]:
        record = dict(zip(names, unpack(buffer, at)))  # noqa: B905
        for name, convert in converted:
            record[name] = convert(record[name])
        for name, offset, read_one in apart:
            record[name] = read_one(buffer, at + offset)
        return record

    return read


def _read_numbers(many: struct.Struct, convert: Callable[[Any], Any] | None) -> Read:
    unpack = many.unpack_from
    if convert is None:
        return lambda buffer, at: list(unpack(buffer, at))
    return lambda buffer, at: [convert(each) for each in unpack(buffer, at)]


def _as_sequence(value: Any, what: str, most: int | None) -> Sequence[Any]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, (Sequence, memoryview, bytearray)):
        raise unfit(value, what, "it must be a sequence")
    if most is not None and len(value) > most:
        raise unfit(value, what, f"it has {len(value)} elements")
    return value
