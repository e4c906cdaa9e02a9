"""Records of the type section -> type objects.

Numbers are taken over; a name stays an offset, and what follows the record is not read (see `ebpfpy.btf.typebase`).
That the name is a name is checked here, so that a type that is there has one. A kind that only the layout section
knows makes an `Unknown`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ebpfpy.errors import BtfError

from . import types as t
from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, VLEN_MASK, Kind
from .typebase import Named, draft_of
from .unknown import Unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .spec import Spec


def inflate(spec: Spec, positions: Iterable[int]) -> None:
    """Make the types whose records start at these word indices, and put them into ``spec._types``.

    Raises:
        BtfError: a record is cut short, or has a bad name. Types before it have been made.
    """
    words, types, classes = spec._words, spec._types, _CLASSES
    names, first, end = spec.raw, spec._first_string, spec._strings_length
    before = spec._strings_at - first - 1
    try:
        for position in positions:
            # u32 name_off, u32 info, u32 size_or_type
            info = words[position + 1]
            draft, cls, named, fill = classes[info >> KIND_SHIFT & KIND_MASK]
            made: Any = draft()
            made._spec = spec
            made._position = position
            if named:
                made._name = None
                name = words[position]
                if not 0 < name - first < end or names[before + name]:
                    spec.string_bytes(name)  # it is of the base, or it is none
            fill(made, words, position, info)
            made.__class__ = cls
            types.setdefault(position, made)  # another thread may be faster: then its object counts
    except IndexError:
        raise BtfError("truncated: a record runs past the end of the types", source=spec.name or "BTF") from None


# Each of these fills a draft from the words of its record. The layouts of what follows the first three words are in
# kinds.RECORD_WORDS.


def _int(made: Any, words: memoryview, at: int, info: int) -> None:
    made.size = words[at + 2]
    word = words[at + 3]
    made.encoding = word >> 24 & 0xF
    made.bits = word & 0xFF
    made.bit_offset = word >> 16 & 0xFF


def _float(made: Any, words: memoryview, at: int, info: int) -> None:
    made.size = words[at + 2]


def _target(made: Any, words: memoryview, at: int, info: int) -> None:
    made._target = words[at + 2]


def _typedef(made: Any, words: memoryview, at: int, info: int) -> None:
    made._target = words[at + 2]


def _type_tag(made: Any, words: memoryview, at: int, info: int) -> None:
    made._target = words[at + 2]
    made.attribute = info & KIND_FLAG != 0


def _decl_tag(made: Any, words: memoryview, at: int, info: int) -> None:
    _type_tag(made, words, at, info)
    component = words[at + 3]
    made.component = component - (1 << 32) if component & 0x8000_0000 else component


def _array(made: Any, words: memoryview, at: int, info: int) -> None:
    made._element = words[at + 3]
    made._index = words[at + 4]
    made.count = words[at + 5]


def _composite(made: Any, words: memoryview, at: int, info: int) -> None:
    made.size = words[at + 2]
    made._members = None


def _enum(made: Any, words: memoryview, at: int, info: int) -> None:
    made.size = words[at + 2]
    made.signed = info & KIND_FLAG != 0
    made.is64 = info >> KIND_SHIFT & KIND_MASK == Kind.ENUM64
    made._enumerators = None


def _fwd(made: Any, words: memoryview, at: int, info: int) -> None:
    made.union = info & KIND_FLAG != 0


def _func_proto(made: Any, words: memoryview, at: int, info: int) -> None:
    made._result = words[at + 2]
    made._params = None


def _func(made: Any, words: memoryview, at: int, info: int) -> None:
    made._proto = words[at + 2]
    made.linkage = info & VLEN_MASK
    made._params = None


def _var(made: Any, words: memoryview, at: int, info: int) -> None:
    made._type = words[at + 2]
    made.linkage = words[at + 3]


def _datasec(made: Any, words: memoryview, at: int, info: int) -> None:
    made.size = words[at + 2]
    made._variables = None


def _unknown(made: Any, words: memoryview, at: int, info: int) -> None:
    made._name = None  # its first word need be none


_FILL: dict[type[t.Type], Callable[[Any, memoryview, int, int], None]] = {
    t.Int: _int,
    t.Pointer: _target,
    t.Array: _array,
    t.Struct: _composite,
    t.Union: _composite,
    t.Fwd: _fwd,
    t.Typedef: _typedef,
    t.Volatile: _target,
    t.Const: _target,
    t.Restrict: _target,
    t.Func: _func,
    t.FuncProto: _func_proto,
    t.Var: _var,
    t.Datasec: _datasec,
    t.Float: _float,
    t.DeclTag: _decl_tag,
    t.TypeTag: _type_tag,
}
_CLASSES: dict[int, tuple[Callable[[], t.Type], type[t.Type], bool, Callable[[Any, memoryview, int, int], None]]] = {
    **dict.fromkeys(range(KIND_MASK + 1), (draft_of(Unknown), Unknown, False, _unknown)),
    **{cls.kind: (draft_of(cls), cls, issubclass(cls, Named), fill) for cls, fill in _FILL.items()},
}
_CLASSES[Kind.ENUM] = _CLASSES[Kind.ENUM64] = draft_of(t.Enum), t.Enum, True, _enum
