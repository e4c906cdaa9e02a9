"""BTF for kernels that are older than the compiler.

A kernel refuses a whole blob for one kind, flag or name that it does not know. But BTF is worth having even if one
kind is missing from it (maps with types, functions with names), so a copy is made in which every record that the
kernel would refuse is replaced by one that it takes. *Every type keeps its id*, so whatever refers to the types (maps,
function and line records, CO-RE) stays right.

| missing | since | record | becomes |
|---|---|---|---|
| FUNC | 5.0 | FUNC_PROTO | enum without values |
| | | FUNC | typedef of it |
| FUNC_LINKAGE | 5.6 | FUNC that is global or extern | FUNC that is static |
| DATASEC | 5.2 | VAR | int of one byte |
| | | DATASEC | struct with a member for each variable; "." and "?" in its name become "_" |
| EMPTY_DATASEC | 5.12 | DATASEC without variables | struct without members, with the name as above |
| FLOAT | 5.13 | FLOAT | struct without name and members, of the same size |
| DECL_TAG | 5.16 | DECL_TAG | int of one byte |
| TYPE_TAG | 5.17 | TYPE_TAG | const |
| ENUM64 | 6.0 | ENUM64 | union of the same size with a one-byte member for each value |
| | | ENUM that is signed | ENUM that does not say so |
| QMARK_DATASEC | 6.10 | "?" in the name of a DATASEC | "_" |
| TAG_ATTRIBUTES | 6.15 | DECL_TAG that is an attribute | int of one byte |
| | | TYPE_TAG that is an attribute | const; in front of a type tag, a copy of that (a tag may not follow a const) |
| LAYOUT | 7.1 | layout section | nothing |

A tag on something that was replaced by what cannot be tagged is replaced as well. The members of ENUM64's
replacement refer to a type that is added behind all others.

Source: libbpf, ``bpf_object__sanitize_btf`` (behaviour; the rows about attributes and empty sections are ours); what
Linux 5.10 to 6.18 accept, which the tests ask them.
"""

from __future__ import annotations

from array import array
from enum import Flag, auto
from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError, InputError

from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, VLEN_MASK, Kind, make_info
from .records import make_blob, record_end
from .spec import check_spec

if TYPE_CHECKING:
    from .spec import Spec

_BYTE_INT = 8  # no encoding, no bit offset, 8 bits
_ENUM_SIZE = 4
_TAGGABLE = frozenset({Kind.STRUCT, Kind.UNION, Kind.FUNC, Kind.VAR, Kind.TYPEDEF})


class Feature(Flag):
    """What a kernel may or may not know of BTF; the numbers are not part of the interface."""

    FUNC = auto()
    """Functions and prototypes (5.0)."""
    FUNC_LINKAGE = auto()
    """Linkage of functions in their record (5.6)."""
    DATASEC = auto()
    """Variables and data sections (5.2)."""
    EMPTY_DATASEC = auto()
    """Data sections that have no variables; clang writes one for string literals alone (5.12)."""
    FLOAT = auto()
    """Floating point numbers (5.13)."""
    DECL_TAG = auto()
    """Tags on declarations (5.16)."""
    TYPE_TAG = auto()
    """Tags on types (5.17)."""
    ENUM64 = auto()
    """Enums of 64 bits, and the sign of all enums (6.0)."""
    QMARK_DATASEC = auto()
    """Question marks in names of data sections (6.10)."""
    TAG_ATTRIBUTES = auto()
    """Tags of either kind that are bare attributes (6.15)."""
    LAYOUT = auto()
    """A layout section, and the longer header that goes with it (7.1)."""

    @classmethod
    def everything(cls) -> Feature:
        """All of them."""
        return ~cls(0)


def sanitize(spec: Spec, missing: Feature) -> bytes:
    """A copy of an object's BTF for a kernel that lacks some features; ids stay what they are.

    Args:
        spec: BTF that stands alone.
        missing: what the kernel lacks. Nothing missing: the blob as it is.

    Raises:
        InputError: split BTF, which no kernel takes; or `missing` is no `Feature`.
        BtfError: the types are malformed.
    """
    check_spec(spec)
    if spec.split:
        raise InputError(f"{spec.name or 'BTF'}: split BTF cannot be loaded: only BTF that stands alone can")
    if not isinstance(missing, Feature):
        raise InputError(f"what is missing is a Feature, not {type(missing).__name__}")
    if not missing:
        return bytes(spec.raw)
    return _Sanitizer(spec, missing).blob()


class _Sanitizer:
    def __init__(self, spec: Spec, missing: Feature) -> None:
        self._spec = spec
        self._missing = missing
        self._strings = bytearray(spec.own_strings())
        self._names: dict[bytes, int] = {}
        self._placeholder = len(spec) + 1
        self._placeholder_needed = False
        self._tags: dict[int, list[int] | None] = {}  # attribute -> what becomes of it, None while that is looked for

    def blob(self) -> bytes:
        out = array("I")
        for type_id in range(1, len(self._spec) + 1):
            out.extend(self._replace(type_id, self._record(type_id)))
        if self._placeholder_needed:
            out.extend((self._name(b"enum64_placeholder"), make_info(Kind.INT), 1, _BYTE_INT))
        if Feature.LAYOUT not in self._missing:
            return _with_layout(self._spec, out, bytes(self._strings))
        return make_blob(out, bytes(self._strings), self._spec.byte_order)

    def _record(self, type_id: int) -> list[int]:
        words, start, end = record_end(self._spec, type_id)
        return words[start:end].tolist()

    def _replace(self, type_id: int, record: list[int]) -> list[int]:
        missing, info = self._missing, record[1]
        kind, vlen = info >> KIND_SHIFT & KIND_MASK, info & VLEN_MASK
        if kind == Kind.FUNC_PROTO and Feature.FUNC in missing:
            return [0, make_info(Kind.ENUM), _ENUM_SIZE]
        if kind == Kind.FUNC:
            if Feature.FUNC in missing:
                return [record[0], make_info(Kind.TYPEDEF), record[2]]
            if Feature.FUNC_LINKAGE in missing:
                return [record[0], make_info(Kind.FUNC), record[2]]
        elif kind == Kind.VAR and Feature.DATASEC in missing:
            return [record[0], make_info(Kind.INT), 1, _BYTE_INT]
        elif kind == Kind.DATASEC:
            return self._datasec(record)
        elif kind == Kind.FLOAT and Feature.FLOAT in missing:
            return [0, make_info(Kind.STRUCT), record[2]]
        elif kind == Kind.ENUM and Feature.ENUM64 in missing:
            record[1] = info & ~KIND_FLAG
        elif kind == Kind.ENUM64 and Feature.ENUM64 in missing:
            self._placeholder_needed = self._placeholder_needed or vlen > 0
            members = [word for name in record[3::3] for word in (name, self._placeholder, 0)]
            return [record[0], make_info(Kind.UNION, vlen), record[2], *members]
        elif kind == Kind.DECL_TAG:
            if not self._tag_stays(record):
                return [record[0], make_info(Kind.INT), 1, _BYTE_INT]
        elif kind == Kind.TYPE_TAG:
            return self._type_tag(type_id, record)
        return record

    def _tag_stays(self, record: list[int]) -> bool:
        missing, target = self._missing, self._spec.kind_of(record[2])
        if Feature.DECL_TAG in missing or (record[1] & KIND_FLAG and Feature.TAG_ATTRIBUTES in missing):
            return False
        return target in _TAGGABLE and not (
            (target == Kind.VAR and Feature.DATASEC in missing) or (target == Kind.FUNC and Feature.FUNC in missing)
        )

    def _datasec(self, record: list[int]) -> list[int]:
        missing = self._missing
        name = self._spec.string_bytes(record[0])
        if Feature.DATASEC in missing or (Feature.EMPTY_DATASEC in missing and not record[1] & VLEN_MASK):
            plain = name.replace(b".", b"_").replace(b"?", b"_")
            return self._struct(self._name(plain), record)
        if Feature.QMARK_DATASEC in missing and b"?" in name:
            record[0] = self._name(name.replace(b"?", b"_"))
        return record

    def _struct(self, name: int, record: list[int]) -> list[int]:
        """A data section as a struct. Kernels want members in order, and inside the struct."""
        members = []
        for variable, offset in sorted(zip(record[3::3], record[4::3], strict=True), key=lambda pair: pair[1]):
            if self._spec.kind_of(variable) == Kind.VAR and offset < 1 << 29:  # members are at bits
                words, at = self._spec.locate(variable)
                members.append((words[at], variable, 8 * offset))
        size = max([record[2], *(offset // 8 + 1 for _, _, offset in members)])
        flat = [word for member in members for word in member]
        return [name, make_info(Kind.STRUCT, len(members)), size, *flat]

    def _type_tag(self, type_id: int, record: list[int]) -> list[int]:
        missing = self._missing
        if Feature.TYPE_TAG in missing:
            return [0, make_info(Kind.CONST), record[2]]
        if not record[1] & KIND_FLAG or Feature.TAG_ATTRIBUTES not in missing:
            return record
        passed = []
        while type_id not in self._tags:  # attributes may follow attributes, and many share the end of a chain
            passed.append(type_id)
            self._tags[type_id] = None
            target = record[2]
            if self._spec.kind_of(target) != Kind.TYPE_TAG:
                found: list[int] | None = [0, make_info(Kind.CONST), target]
                break
            type_id, record = target, self._record(target)
            if not record[1] & KIND_FLAG:
                found = record
                break
        else:
            found = self._tags[type_id]
        if found is None:
            raise BtfError(f"type {type_id}: type tags form a cycle", source=self._spec.name or "BTF")
        self._tags.update(dict.fromkeys(passed, found))
        return found

    def _name(self, name: bytes) -> int:
        """The offset of a string that is added if nothing has it."""
        if not name:
            return 0
        if not self._names:
            for text, offset in self._spec.each_string():
                self._names.setdefault(text, offset)
        if name not in self._names:
            self._names[name] = len(self._strings)
            self._strings += name + b"\0"
        return self._names[name]


def _with_layout(spec: Spec, words: array[int], strings: bytes) -> bytes:
    """A blob that keeps the layout section of the original, if it has one."""
    layout = spec._sections.layout
    if not layout:
        return make_blob(words, strings, spec.byte_order)
    entries = b"".join(bytes((extra, entry, 0, 0)) for extra, entry in layout)
    plain = make_blob(words, entries + strings, spec.byte_order)
    order = spec.byte_order
    size = 4 * len(words)
    fields = (32, 0, size, size + len(entries), len(strings), size, len(entries))
    return plain[:4] + b"".join(field.to_bytes(4, order) for field in fields) + plain[24:]
