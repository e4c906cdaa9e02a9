"""Bytes as C: what a variable of a type holds, as the initialiser that would make it.

``struct event {u32 pid; char comm[16]; struct {int x, y;} at;}``::

    (struct event){
        .pid = 4242,
        .comm = "bash",
        .at = {
            .y = 7,
        },
    }

Members that are zero are left out, as C would fill them in; a struct is zero when all of its bytes are, padding
included (judging by the first member alone would lose ``.y`` above). Text is written by a stack of what is left to
write, so nesting has no limit.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any, TypeAlias

from ebpfpy.errors import InputError

from . import types as t
from .cformat import format_c
from .ctags import c_text
from .dumpbounds import Measures, check_member, count_values, variable
from .layout import MAX_DEPTH
from .typebase import check_type
from .values import bytes_view

if TYPE_CHECKING:
    from collections.abc import Iterator

_MOST_LINES = 1 << 20
_FEW_LINES = 1 << 13
_VALUES_PER_BYTE = 16
"""Bitfields and unions put many values into a byte; structs that double at every level would put any number there."""
_FLEXIBLE_PER_BYTE = 8
"""The same for what flexible arrays take of the bytes."""
_MOST_TABS = 64
_WIDEST = 16
"""Bytes of the largest integer."""
_FLOATS = {2: "e", 4: "f", 8: "d"}

_Item: TypeAlias = "tuple[str, t.Type, int, int, int, int, bool]"
"""What is left to write: the text before it, its type, byte offset, bit offset and width (0: no bitfield), depth, and
whether nothing follows it, so that a flexible array may take what is left."""


def dump_data(
    of: t.Type,
    buffer: Any,
    *,
    indent: str = "\t",
    skip_names: bool = False,
    emit_zeroes: bool = False,
    compact: bool = False,
) -> str:
    """The value of bytes that hold a `of`, as C with designated initialisers.

    Arrays of ``char`` are text up to their first NUL, enums the name of their value, pointers hexadecimal numbers.

    Args:
        of: the type; a `Var` is its type behind its name, a `Datasec` all of its variables.
        buffer: bytes-like; longer than the type is fine. A flexible array takes what is left, if nothing follows it.
        indent: for each level of nesting.
        skip_names: leave out the types and members' names.
        emit_zeroes: write members and elements that are zero, too.
        compact: all on one line.

    Raises:
        InputError: the buffer is too short, the type has no values, or contains itself or something that does not lie
            in it; or the text would have more than a million values, or out of all proportion to the bytes.
        BtfError: typedefs, qualifiers or arrays form a cycle, or the type has no size.
    """
    check_type(of)
    view = memoryview(bytes_view(buffer))
    if not isinstance(indent, str):
        raise InputError(f"indent is text, not {type(indent).__name__}")
    measures = Measures()
    size = measures.size(of)
    if len(view) < size:
        raise InputError(f"{of!r} has {size} bytes, {size - len(view)} are missing", offset=len(view))
    count = count_values(of, len(view), measures)
    most = _FEW_LINES + _VALUES_PER_BYTE * size
    if count.fixed > most:
        raise InputError(f"{of!r}: more than {most} values in {size} bytes")
    most += _FLEXIBLE_PER_BYTE * len(view)
    if count.open > most:
        raise InputError(f"{of!r}: more than {most} values in {len(view)} bytes")
    return _Dump(of, view, indent, skip_names, emit_zeroes, compact, measures).text(of)


class _Dump:
    def __init__(
        self,
        of: t.Type,
        view: memoryview,
        indent: str,
        skip_names: bool,
        emit_zeroes: bool,
        compact: bool,
        measures: Measures,
    ) -> None:
        self.measures = measures
        spec = of.spec
        self.view = view
        self.order: Any = spec.byte_order if spec is not None else sys.byteorder
        self.pointer_size = spec.pointer_size if spec is not None else 8
        self.line = "" if compact else "\n"
        self.indent = "" if compact else indent
        self.names, self.zeroes, self.compact = not skip_names, emit_zeroes, compact
        self.values = 0

    def text(self, of: t.Type) -> str:
        """The whole text, without a line end."""
        done: list[str] = []
        work: list[str | Iterator[_Item]] = []
        self._start(of, done, work)
        while work:
            top = work[-1]
            if isinstance(top, str):
                work.pop()
                done.append(top)
                continue
            item = next(top, None)
            if item is None:
                work.pop()
                continue
            prefix, kind, at, bit, width, depth, last = item
            pad = self.indent * min(depth, _MOST_TABS)
            end = "," + (" " if self.compact else self.line)
            if width:
                done.append(f"{pad}{prefix}{self._bits(kind, at * 8 + bit, width)}{end}")
            else:
                done.append(f"{pad}{prefix}")
                self._value(kind, at, depth, last, done, work, end)
        if self.compact:
            return "".join(done).replace(", }", "}").removesuffix(", ").removesuffix(",")
        return "".join(done).removesuffix("\n").removesuffix(",")

    def _start(self, of: t.Type, done: list[str], work: list[str | Iterator[_Item]]) -> None:
        if isinstance(of, t.Datasec):
            work.append(self._variables(of))
            return
        if isinstance(of, t.Var):
            head = format_c(of).removeprefix("static ").removeprefix("extern ").removesuffix(";")
            done.append(f"{head} = " if self.names else "")
            of = of.type
        elif self.names:
            done.append(f"({_type_name(of)})")
        self._value(of, 0, 0, True, done, work, "")

    def _variables(self, of: t.Datasec) -> Iterator[_Item]:
        for place in of.variables:
            var = variable(of, place, self.measures)
            head = format_c(var).removeprefix("static ").removeprefix("extern ").removesuffix(";")
            yield (f"{head} = " if self.names else "", var.type, place.offset, 0, 0, 0, False)

    def _value(
        self,
        of: t.Type,
        at: int,
        depth: int,
        last: bool,
        done: list[str],
        work: list[str | Iterator[_Item]],
        end: str,
    ) -> None:
        """Write a value, or its opening, and leave the rest to `work`."""
        self.values += 1
        if self.values > _MOST_LINES:
            raise InputError(f"more than {_MOST_LINES} values in {len(self.view)} bytes")
        under = self.measures.under(of)
        if isinstance(under, t.Array):
            count = under.count
            if count == 0 and last:
                size = self.measures.size(under.element)
                count = (len(self.view) - at) // size if size else 0
            element = self.measures.under(under.element)
            if isinstance(element, t.Int) and element.size == 1 and (element.char or element.name == "char"):
                text = bytes(self.view[at : at + count])
                if self._is_text(text):
                    done.append(f'"{_octal(text.partition(bytes(1))[0])}"{end}')
                    return
            self._open(done, work, depth, end)
            work.append(self._elements(under.element, at, count, depth + 1))
        elif isinstance(under, (t.Struct, t.Union)):
            if depth > MAX_DEPTH:
                raise InputError(f"{under!r} contains itself, or is nested more than {MAX_DEPTH} deep")
            self._open(done, work, depth, end)
            work.append(self._members(under, at, depth + 1, last))
        else:
            done.append(f"{self._number(under, at)}{end}")

    def _open(self, done: list[str], work: list[str | Iterator[_Item]], depth: int, end: str) -> None:
        done.append(f"{{{self.line}")
        work.append(f"{self.indent * min(depth, _MOST_TABS)}}}{end}")

    def _elements(self, of: t.Type, at: int, count: int, depth: int) -> Iterator[_Item]:
        size = self.measures.size(of)
        if not self.zeroes:  # elements have no names here: only zeroes at the end can go
            used = len(bytes(self.view[at : at + size * count]).rstrip(b"\0")) if size else 0
            count = -(-used // size) if size else 0
        for index in range(count):
            yield ("", of, at + size * index, 0, 0, depth, False)

    def _members(self, of: t.Struct | t.Union, at: int, depth: int, last: bool) -> Iterator[_Item]:
        final = len(of.members) - 1
        for index, member in enumerate(of.members):
            kind = member.type
            offset, width = check_member(of, member, self.measures)
            start = at + offset // 8
            open_end = last and (index == final or isinstance(of, t.Union))
            if not self.zeroes and not self._any(kind, start, offset % 8, width, open_end):
                continue
            if width and not member.name:
                continue
            name = f".{member.name} = " if member.name and self.names else ""
            yield (name, kind, start, offset % 8, width, depth, open_end)

    def _any(self, of: t.Type, at: int, bit: int, width: int, last: bool) -> bool:
        """Whether a value is not zero."""
        if width:
            return self._raw_bits(at * 8 + bit, width) != 0
        size = self.measures.size(of)
        if size == 0:
            under = self.measures.under(of)
            return last and isinstance(under, t.Array) and under.count == 0 and any(self.view[at:])
        return any(self.view[at : at + size])

    def _raw_bits(self, offset: int, width: int) -> int:
        start, end = offset // 8, (offset + width + 7) // 8
        if not width or end > len(self.view):
            raise InputError(f"a bitfield of {width} bits at bit {offset} is not within {len(self.view)} bytes")
        number = int.from_bytes(self.view[start:end], self.order)
        shift = offset % 8 if self.order == "little" else 8 * (end - start) - offset % 8 - width
        return number >> shift & (1 << width) - 1

    def _bits(self, of: t.Type, offset: int, width: int) -> str:
        number = self._raw_bits(offset, width)
        under = self.measures.under(of)
        if isinstance(under, (t.Int, t.Enum)) and under.signed and number >> width - 1:
            number -= 1 << width
        return self._shown(under, number)

    def _number(self, of: t.Type, at: int) -> str:
        if isinstance(of, t.Float):
            raw = bytes(self.view[at : at + of.size])
            code = _FLOATS.get(of.size)
            if code is not None:
                return repr(struct.unpack(("<" if self.order == "little" else ">") + code, raw)[0])
            return f"{int.from_bytes(raw, self.order):#x}"
        if isinstance(of, t.Pointer):
            address = int.from_bytes(self.view[at : at + self.pointer_size], self.order)
            return f"(void *){address:#x}" if address else "NULL"
        if isinstance(of, (t.Int, t.Enum)):
            if not 0 < of.size <= _WIDEST:
                raise InputError(f"{of!r}: no number has {of.size} bytes")
            if isinstance(of, t.Int) and (of.bits != of.size * 8 or of.bit_offset):
                return self._bits(of, at * 8 + of.bit_offset, of.bits)
            return self._shown(of, int.from_bytes(self.view[at : at + of.size], self.order, signed=of.signed))
        raise InputError(f"{of!r} has no value")

    def _shown(self, of: t.Type, number: int) -> str:
        if isinstance(of, t.Enum):
            mask = (1 << 8 * of.size) - 1
            for each in of.enumerators:
                if each.value & mask == number & mask:
                    return each.name
        elif isinstance(of, t.Int):
            if of.bool and number in (0, 1):
                return "true" if number else "false"
            if of.size == 1 and (of.char or of.name == "char") and 32 <= number < 127:
                return f"'{c_text(chr(number)) if chr(number) != chr(39) else chr(92) + chr(39)}'"
            if of.size == 16:
                return f"{number:#x}"
        return str(number)

    def _is_text(self, raw: bytes) -> bool:
        """Whether nothing but NULs follows the first NUL, and no control character comes before it."""
        text, _, rest = raw.partition(b"\0")
        return not rest.strip(b"\0") and all(c >= 32 or c in b"\t\n\r" for c in text)


def _type_name(of: t.Type) -> str:
    """A type as a cast spells it: without the body, if it has a name."""
    if isinstance(of, (t.Struct, t.Union, t.Enum, t.Typedef)) and of.name:
        keyword = {t.Struct: "struct ", t.Union: "union ", t.Enum: "enum "}.get(type(of), "")
        return f"{keyword}{of.name}"
    if isinstance(of, (t.Struct, t.Union, t.Enum)):
        return type(of).__name__.lower()
    return format_c(of).removesuffix(";")


def _octal(raw: bytes) -> str:
    return "".join(c_text(chr(byte)) if 32 <= byte < 127 else f"\\{byte:03o}" for byte in raw)
