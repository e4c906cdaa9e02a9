"""Records as words: where in them the type ids and the string offsets are, and a blob made of changed ones.

Moving split BTF to another base changes numbers and nothing else. So it is done on the words of the type section,
record by record: no type object is made, and what is not an id or an offset stays as it was, bit for bit.
"""

from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING

from .kinds import HEADER_SIZE, HEADER_SIZE_LAYOUT, KIND_MASK, KIND_SHIFT, MAGIC, RECORD_WORDS, VLEN_MASK, Kind
from .unknown import unknown_kind

if TYPE_CHECKING:
    from array import array

    from .header import ByteOrder
    from .spec import Spec

_THIRD_WORD_IS_ID = frozenset(
    {
        Kind.PTR,
        Kind.TYPEDEF,
        Kind.VOLATILE,
        Kind.CONST,
        Kind.RESTRICT,
        Kind.FUNC,
        Kind.FUNC_PROTO,
        Kind.VAR,
        Kind.DECL_TAG,
        Kind.TYPE_TAG,
    }
)
# kind -> which word of each entry is a type id
_ENTRY_ID = {Kind.STRUCT: 1, Kind.UNION: 1, Kind.FUNC_PROTO: 1, Kind.DATASEC: 0}
# kinds whose entries start with a string offset
_ENTRY_NAME = frozenset({Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.FUNC_PROTO})


def record_end(spec: Spec, type_id: int) -> tuple[memoryview, int, int]:
    """The words that a record lies in, the index of its first word, and the index behind its last one.

    Raises:
        BtfError: its kind is unknown, so that nobody knows which of its words are ids.
        TypeNotFoundError: no type has that id.
    """
    words, at = spec.locate(type_id)
    info = words[at + 1]
    known = RECORD_WORDS.get(info >> KIND_SHIFT & KIND_MASK)
    if known is None:
        raise unknown_kind(spec, type_id, "where it holds ids is not known")
    return words, at, at + 3 + known[0] + known[1] * (info & VLEN_MASK)


def id_words(words: memoryview | array[int], at: int) -> list[int]:
    """The indices of the words of a record that hold type ids, in their order; of a known kind."""
    info = words[at + 1]
    kind = info >> KIND_SHIFT & KIND_MASK
    found = [at + 2] if kind in _THIRD_WORD_IS_ID else []
    if kind == Kind.ARRAY:  # u32 element type, u32 index type, u32 number of elements
        found += (at + 3, at + 4)
    elif kind in _ENTRY_ID:
        found += entry_words(words, at, _ENTRY_ID[Kind(kind)])
    return found


def string_words(words: memoryview | array[int], at: int) -> list[int]:
    """The indices of the words of a record that hold string offsets, its own name first; of a known kind."""
    found = [at]
    if words[at + 1] >> KIND_SHIFT & KIND_MASK in _ENTRY_NAME:
        found += entry_words(words, at, 0)
    return found


def entry_words(words: memoryview | array[int], at: int, which: int) -> range:
    """The indices of the `which`-th word of every entry (member, enumerator, parameter, variable) of a record."""
    info = words[at + 1]
    extra, entry = RECORD_WORDS[info >> KIND_SHIFT & KIND_MASK]
    first = at + 3 + extra
    return range(first + which, first + entry * (info & VLEN_MASK), entry or 1)


def own_strings(spec: Spec) -> tuple[bytes, int]:
    """The strings of a spec without those of its base, and the offset at which they start."""
    strings = spec.own_strings()
    return strings, spec.strings_end - len(strings)


def make_blob(words: array[int], strings: bytes, byte_order: ByteOrder, layout: bytes = b"") -> bytes:
    """A blob with the header that it needs: the classic one, unless it has a layout section.

    Args:
        words: the type section in this machine's byte order.
        strings: the string section.
        byte_order: of the blob.
        layout: the layout section, in the byte order of the blob.
    """
    if byte_order != sys.byteorder:
        words = words[:]
        words.byteswap()
    types = words.tobytes()
    mark = "<" if byte_order == "little" else ">"
    size, before = HEADER_SIZE_LAYOUT if layout else HEADER_SIZE, len(types) + len(layout)
    # u16 magic, u8 version, u8 flags, u32 hdr_len, u32 type_off, u32 type_len, u32 str_off, u32 str_len
    head = struct.pack(mark + "HBBIIIII", MAGIC, 1, 0, size, 0, len(types), before, len(strings))
    if layout:  # u32 layout_off, u32 layout_len
        head += struct.pack(mark + "II", len(types), len(layout))
    return head + types + layout + strings
