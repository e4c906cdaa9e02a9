"""Bytes -> Python values by BTF, and back.

A map's values and a ring buffer's records are C structs whose layout BTF describes. `decode` turns them into plain
Python: a struct into a dict, an array into a list, ``char comm[16]`` into a str, an enum into the name of its value.

A type is compiled once, into a `Codec`, which its `Spec` keeps. Compiled, ``struct event {u32 pid; u64 ts;
char comm[16]; enum op op;}`` is one `struct.Struct` ("<I4xQ16sI"), the names of its members, and two functions that
turn 16 bytes into a str and a number into a name. What does not fit into such a format (bitfields, unions, nested
structs, arrays) takes part as "0s", which yields a placeholder, and is read by a function of its own.

Bitfields count bits in memory order: in little-endian BTF the bit offset counts from the least significant bit of
the first byte upwards, in big-endian BTF from its most significant bit downwards. So a field of `width` bits at
`offset` is covered by the bytes from ``offset // 8`` to ``(offset + width + 7) // 8``; read as one number in the byte
order at hand, the field has ``offset % 8`` bits below it (little) or above it (big).

Types come from files and may be hostile: a struct may contain itself, an array may have 4 billion elements of no
size, a union may show the same bytes a million times over. Compiling refuses what is nested more than 64 deep, and
what would make out of all proportion more values than there are bytes.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import attrs

from ebpfpy.errors import InputError

from . import types as t
from .layout import DECORATIONS, MAX_DEPTH

if TYPE_CHECKING:
    from .spec import Spec

_MAX_DEPTH = 64
_MAX_INTEGER = 16
_FREE_VALUES = 1 << 14
_VALUES_PER_BYTE = 32
_MAX_SIZE = 1 << 32
_MAX_FIELDS = 1 << 15

Read = Callable[[Any, int], Any]
Write = Callable[[Any, bytearray, int], None]


@attrs.frozen(eq=False)
class Codec:
    """A compiled type.

    Attributes:
        size: bytes that it occupies; what follows a flexible array member does not count.
        values: the number of Python values that one reading makes, about.
        read: (bytes, offset) -> value. The bytes must be there.
        write: (value, buffer, offset): put the value into the buffer, which has room.
        code: the format of `struct` that fits it, or "" where none does.
        convert: what to do with the value that `code` gives; None: nothing.
    """

    size: int
    values: int
    read: Read
    write: Write
    code: str = ""
    convert: Callable[[Any], Any] | None = None


def decode(of: t.Type, buffer: Any, *, text: bool = True) -> Any:
    """The Python value of bytes that hold a `of`.

    ========================  ==================================================================================
    struct, data section      dict; members of anonymous members are in the same dict
    union                     dict of all members, each a view of the same bytes
    array                     list; of ``char``: str up to the first NUL (as UTF-8, other bytes as backslash escapes)
    enum                      the enumerator's name (the first, if several have the value), or the int if none has it
    bool, float               bool, float
    integer, pointer          int
    ========================  ==================================================================================

    A flexible array member (``T last[]``) takes what is left of the buffer.

    Args:
        of: the type. Byte order and pointer size are those of its `Spec`, or this machine's for a type built by hand.
        buffer: bytes-like; longer than the type is fine (ring buffer records are padded).
        text: False leaves arrays of ``char`` as bytes, NULs and all.

    Raises:
        InputError: the buffer is too short, or the type has no values (void, functions, forward declarations), contains
            itself, is nested more than 64 deep, or needs out of all proportion more values than it has bytes.
    """
    try:
        codec = of._spec.derived[_CACHE[text]][of]  # type: ignore[union-attr]
    except (KeyError, AttributeError):
        codec = _codec(of, text)
    if type(buffer) is not bytes:
        buffer = _bytes_view(buffer)
    if len(buffer) < codec.size:
        size = codec.size
        raise InputError(f"{of!r} has {size} bytes, {size - len(buffer)} are missing", offset=len(buffer))
    return codec.read(buffer, 0)


def encode(of: t.Type, value: Any) -> bytes:
    """The bytes of a `of` that holds `value`: `decode` the other way.

    Members that a dict leaves out are zero. Of a union give one member; of several the last one of the dict wins where
    they overlap. Enums take a name or an int, arrays of ``char`` a str (as UTF-8, filled up with NUL) or bytes, other
    arrays a sequence of at most as many elements as they have. A flexible array member makes the result longer.

    Args:
        of: the type, as in `decode`.
        value: what `decode` would return.

    Raises:
        InputError: the value does not fit; the message says which member. Or as `decode`.
    """
    codec = _codec(of, True)
    out = bytearray(codec.size)
    codec.write(value, out, 0)
    return bytes(out)


class _Text:
    """Key of `Spec.derived`: codecs that read char arrays as str."""


class _Raw:
    """Key of `Spec.derived`: codecs that read char arrays as bytes."""


_CACHE: dict[bool, type] = {True: _Text, False: _Raw}
_by_hand: dict[bool, WeakKeyDictionary[t.Type, Codec]] = {
    True: WeakKeyDictionary(),
    False: WeakKeyDictionary(),
}


def _codec(of: t.Type, text: bool) -> Codec:
    if not isinstance(of, t.Type):
        raise InputError(f"{of!r} is no type")
    spec = of._spec
    cache: Any = spec.derived.setdefault(_CACHE[text], {}) if spec is not None else _by_hand[text]
    found: Codec | None = cache.get(of)
    if found is None:
        found = cache[of] = _Compiler(spec, text).compile(of, last=True)
    return found


def _bytes_view(buffer: Any) -> Any:
    try:
        view = memoryview(buffer)
        return view if view.format == "B" and view.ndim == 1 and view.contiguous else view.cast("B")
    except (TypeError, ValueError):
        raise InputError(f"{type(buffer).__name__} object is not a contiguous buffer of bytes") from None


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


class _Compiler:
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
        self.resolved: dict[t.Type, t.Type] = {}
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

    def resolve(self, of: t.Type) -> t.Type:
        """`layout.resolve` with a memory: a thousand members may use one long chain of typedefs."""
        chain: list[t.Type] = []
        current = of
        while isinstance(current, DECORATIONS):
            known = self.resolved.get(current)
            if known is not None:
                current = known
                break
            chain.append(current)
            if len(chain) > MAX_DEPTH:
                raise InputError(f"{of!r}: typedefs and qualifiers form a cycle")
            current = current.target
        for each in chain:
            self.resolved[each] = current
        return current

    def _enter(self, of: t.Type) -> None:
        if of in self.inside:
            raise InputError(f"{of!r} contains itself")
        if len(self.inside) >= _MAX_DEPTH:
            raise InputError(f"{self.inside[0]!r} is nested more than {_MAX_DEPTH} deep")
        self.inside.append(of)

    def _make(self, of: t.Type, last: bool) -> Codec:
        if isinstance(of, t.Int):
            if of.bits != of.size * 8 or of.bit_offset:
                if of.size > _MAX_INTEGER:
                    raise InputError(f"{of!r}: no integer has {of.size} bytes")
                return attrs.evolve(self._bitfield(of, of.bit_offset, of.bits, of.size), size=of.size)
            return self._integer(of.size, of.signed, bool if of.bool else None, repr(of))
        if isinstance(of, t.Pointer):
            return self._integer(self.pointer_size, False, None, repr(of))
        if isinstance(of, t.Enum):
            return self._enum(of)
        if isinstance(of, t.Float):
            code = {2: "e", 4: "f", 8: "d"}.get(of.size)
            if code is None:
                raise InputError(f"{of!r}: Python has no float of {of.size} bytes")
            return self._plain(of.size, code, None, lambda value: value, repr(of))
        if isinstance(of, t.Array):
            return self._array(of, last)
        if isinstance(of, (t.Struct, t.Union)):
            return self._composite(of, last)
        if isinstance(of, t.Datasec):
            return self._record(repr(of), self._datasec_shape(of))
        if isinstance(of, t.Var):
            return self.compile(of.type, last=last)
        raise InputError(f"{of!r} has no value")

    # --- numbers -------------------------------------------------------------------------------

    def _plain(
        self,
        size: int,
        code: str,
        convert: Callable[[Any], Any] | None,
        revert: Callable[[Any], Any],
        what: str,
    ) -> Codec:
        """A codec around one format character."""
        packer = struct.Struct(self.mark + code)
        unpack, pack = packer.unpack_from, packer.pack_into

        def read(buffer: Any, at: int) -> Any:
            return unpack(buffer, at)[0]

        def read_converted(buffer: Any, at: int) -> Any:
            return convert(unpack(buffer, at)[0])  # type: ignore[misc]

        def write(value: Any, out: bytearray, at: int) -> None:
            try:
                pack(out, at, revert(value))
            except (struct.error, TypeError, ValueError, OverflowError) as error:
                raise _unfit(value, what, error) from None

        return Codec(size, 1, read if convert is None else read_converted, write, code, convert)

    def _integer(self, size: int, signed: bool, convert: Callable[[Any], Any] | None, what: str) -> Codec:
        code = {1: "b", 2: "h", 4: "i", 8: "q"}.get(size)
        if code is not None:
            return self._plain(size, code if signed else code.upper(), convert, _as_int, what)
        if not 0 < size <= _MAX_INTEGER:
            raise InputError(f"{what}: no integer has {size} bytes")
        order = self.order

        def read(buffer: Any, at: int) -> Any:
            number = int.from_bytes(buffer[at : at + size], order, signed=signed)
            return number if convert is None else convert(number)

        def write(value: Any, out: bytearray, at: int) -> None:
            try:
                out[at : at + size] = _as_int(value).to_bytes(size, order, signed=signed)
            except (TypeError, OverflowError) as error:
                raise _unfit(value, what, error) from None

        return Codec(size, 1, read, write)

    def _enum(self, of: t.Enum) -> Codec:
        if of.size not in (1, 2, 4, 8):
            raise InputError(f"{of!r}: no enum has {of.size} bytes")
        name_of, value_of = _enum_tables(of, of.size * 8)
        code = {1: "b", 2: "h", 4: "i", 8: "q"}[of.size]
        get = name_of.get

        def convert(number: int) -> Any:
            return get(number, number)

        def revert(value: Any) -> int:
            return _enum_value(value, value_of)

        return self._plain(of.size, code if of.signed else code.upper(), convert, revert, repr(of))

    def _bitfield(self, of: t.Type, offset_bits: int, width: int, room: int) -> Codec:
        """A codec for `width` bits that start `offset_bits` from where it is applied, within `room` bytes."""
        start, end = offset_bits // 8, (offset_bits + width + 7) // 8
        if width == 0 or end > room:
            raise InputError(f"{of!r}: a bitfield of {width} bits at bit {offset_bits} does not fit {room} bytes")
        order = self.order
        shift = offset_bits % 8 if order == "little" else 8 * (end - start) - offset_bits % 8 - width
        mask = (1 << width) - 1
        sign = 1 << width - 1
        signed = isinstance(of, (t.Int, t.Enum)) and of.signed
        convert: Callable[[Any], Any] | None = None
        value_of: Mapping[str, int] = {}
        if isinstance(of, t.Enum):
            name_of, value_of = _enum_tables(of, width)
            convert = _lookup(name_of)
        elif isinstance(of, t.Int):
            convert = bool if of.bool else None
        else:
            raise InputError(f"{of!r} cannot be a bitfield")
        what = f"{of!r} of {width} bits"
        number_of = int.from_bytes

        def read(buffer: Any, at: int) -> Any:
            number = number_of(buffer[at + start : at + end], order) >> shift & mask
            if signed:
                number = (number ^ sign) - sign
            return number if convert is None else convert(number)

        def write(value: Any, out: bytearray, at: int) -> None:
            try:
                number = _enum_value(value, value_of) if isinstance(value, str) else _as_int(value)
            except (TypeError, ValueError) as error:
                raise _unfit(value, what, error) from None
            lowest, highest = (-sign, sign - 1) if signed else (0, mask)
            if not lowest <= number <= highest:
                raise _unfit(value, what, f"it must be within {lowest} and {highest}")
            around = number_of(out[at + start : at + end], order) & ~(mask << shift)
            whole = around | (number & mask) << shift
            out[at + start : at + end] = whole.to_bytes(end - start, order)

        return Codec(end, 1, read, write)

    # --- arrays --------------------------------------------------------------------------------

    def _array(self, of: t.Array, last: bool) -> Codec:
        under = self.resolve(of.element)
        if isinstance(under, t.Int) and under.size == 1 and (under.char or under.name == "char"):
            return self._text(of.count, last)
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
                _write_inside(f"[{index}]", write_one, each, out, at + step * index)

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
                _write_inside(f"[{index}]", write_one, each, out, at + step * index)

        return Codec(0, 1, read, write)

    def _text(self, count: int, last: bool) -> Codec:
        convert = _to_text if self.text else None
        flexible = count == 0 and last

        def read(buffer: Any, at: int) -> Any:
            raw = bytes(buffer[at:] if flexible else buffer[at : at + count])
            return raw if convert is None else convert(raw)

        def write(value: Any, out: bytearray, at: int) -> None:
            raw = _to_bytes(value)
            if flexible:
                out.extend(bytes(max(0, at + len(raw) - len(out))))
            elif len(raw) > count:
                raise _unfit(value, f"char[{count}]", f"it has {len(raw)} bytes")
            out[at : at + len(raw)] = raw
            if not flexible:
                out[at + len(raw) : at + count] = bytes(count - len(raw))

        return Codec(count, 1, read, write, "" if flexible or not count else f"{count}s", convert)

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
                codec = self._bitfield(under, member.offset_bits, member.bitfield_size, of.size)
                return (_Field(member.name, 0, codec),)
            if isinstance(under, t.Int) and (under.bits != under.size * 8 or under.bit_offset):
                # legacy: the width is in the integer's type
                codec = self._bitfield(under, member.offset_bits + under.bit_offset, under.bits, of.size)
                return (_Field(member.name, 0, codec),)
            codec = self.compile(under, last=last)
            if member.offset_bits % 8:
                raise InputError(f"starts at bit {member.offset_bits}")
            if offset + codec.size > of.size:
                raise InputError(f"ends at byte {offset + codec.size} of {of.size}")
            return (_Field(member.name, offset, codec),)
        except InputError as error:
            raise _inside(f"{of.name or of.kind.name.lower()}.{member.name or '(anon)'}", error) from None

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
                raise _unfit(value, what, "it must be a dict")
            for name, each in value.items():
                if name not in writers:
                    raise InputError(f"{what} has no member {name!r}")
                offset, write_one = writers[name]
                _write_inside(f".{name}", write_one, each, out, at + offset)

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


def _write_inside(where: str, write: Write, value: Any, out: bytearray, at: int) -> None:
    try:
        write(value, out, at)
    except InputError as error:
        raise _inside(where, error) from None


def _inside(where: str, error: InputError) -> InputError:
    """The error with one more step in front of its path: ".a", "[3]" and "x: bad" make ".a[3]: x: bad"."""
    gap = "" if error.message.startswith((".", "[")) else ": "
    return InputError(f"{where}{gap}{error.message}", source=error.source, offset=error.offset)


def _unfit(value: Any, what: str, why: object) -> InputError:
    shown = repr(value)
    return InputError(f"{shown if len(shown) < 60 else shown[:57] + '...'} does not fit {what}: {why}")


def _as_int(value: Any) -> int:
    if isinstance(value, int):
        return int(value)
    index = getattr(type(value), "__index__", None)
    if index is None:
        raise TypeError("it must be an int")
    return int(index(value))


def _as_sequence(value: Any, what: str, most: int | None) -> Sequence[Any]:
    if isinstance(value, (str, Mapping)) or not isinstance(value, (Sequence, memoryview, bytearray)):
        raise _unfit(value, what, "it must be a sequence")
    if most is not None and len(value) > most:
        raise _unfit(value, what, f"it has {len(value)} elements")
    return value


def _enum_tables(of: t.Enum, bits: int) -> tuple[dict[int, str], dict[str, int]]:
    """Value -> name and name -> value, values as a field of `bits` bits reads them; the first of equals wins."""
    mask, sign = (1 << bits) - 1, 1 << bits - 1
    name_of: dict[int, str] = {}
    value_of: dict[str, int] = {}
    for each in of.enumerators:
        value = each.value & mask
        if of.signed:
            value = (value ^ sign) - sign
        name_of.setdefault(value, each.name)
        value_of.setdefault(each.name, value)
    return name_of, value_of


def _lookup(name_of: dict[int, str]) -> Callable[[int], Any]:
    get = name_of.get
    return lambda number: get(number, number)


def _enum_value(value: Any, value_of: Mapping[str, int]) -> int:
    if not isinstance(value, str):
        return _as_int(value)
    try:
        return value_of[value]
    except KeyError:
        raise ValueError("it has no enumerator of that name") from None


def _to_text(raw: bytes) -> str:
    end = raw.find(0)
    return (raw if end < 0 else raw[:end]).decode("utf-8", "backslashreplace")


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, str):
        try:
            return value.encode()
        except UnicodeEncodeError as error:
            raise _unfit(value, "an array of char", error) from None
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value)
    raise _unfit(value, "an array of char", "it must be str or bytes")
