"""A base for split BTF that is small enough to travel with it.

Split BTF names the types of its base by number, and numbers differ between any two builds of a kernel. A *distilled*
base holds just what a module uses of its kernel, and of that just what is needed to find it again in another kernel:
names and sizes. 112,768 types of a vmlinux become 15 for a small module; in its file they are the section
``.BTF.base``.

What the base keeps of a type that the split refers to:

* int, float, forward declaration: as it is;
* named struct or union: its size, no members. What its members refer to is not looked at;
* named enum: its size, no values, and always of kind ENUM.

Everything else (pointers, arrays, typedefs, qualifiers, type tags, prototypes, anonymous structs, unions and enums) is
not found by name but rebuilt: it moves to the end of the split, in full, with what it refers to in turn. So the split's
own types keep their order, right behind the base.

`relocate_base` is the way back, to any kernel that has those names and sizes.

Source: libbpf, ``btf__distill_base`` (behaviour); Linux kernel 6.12 and later read the result in modules.
"""

from __future__ import annotations

from array import array

from ebpfpy.errors import BtfError, InputError

from .kinds import KIND_MASK, KIND_SHIFT, Kind, kind_name, make_info
from .records import id_words, make_blob, record_end, string_words
from .spec import Spec, check_spec

_AS_IT_IS = frozenset({Kind.INT, Kind.FLOAT, Kind.FWD})
_BY_NAME_AND_SIZE = {
    Kind.STRUCT: Kind.STRUCT,
    Kind.UNION: Kind.UNION,
    Kind.ENUM: Kind.ENUM,
    Kind.ENUM64: Kind.ENUM,
}
_NEVER_SHARED = frozenset({Kind.VAR, Kind.FUNC, Kind.DATASEC, Kind.DECL_TAG})


class _Strings:
    """A string section in the making. `lower` are the strings of the base, by text; they are used, not repeated."""

    def __init__(self, first: int = 0, lower: dict[bytes, int] | None = None) -> None:
        self.data = bytearray()
        self._first = first
        self.offsets: dict[bytes, int] = dict(lower or {})

    def offset(self, text: bytes) -> int:
        found = self.offsets.get(text)
        if found is None:
            found = self.offsets[text] = self._first + len(self.data)
            self.data += text + b"\0"
        return found


def distill_base(split: Spec) -> tuple[Spec, Spec]:
    """Split BTF on its large base -> the same types on a small one that holds just what they need.

    The split's own types keep their order; behind them come copies of what cannot be found by name in another kernel.
    Split BTF that continues other split BTF is distilled as well: the new base stands for all that lies below.

    Args:
        split: the types of a module, on the types of its kernel. It is not changed.

    Returns:
        The distilled base, and the split on it; ``split.raw`` and ``base.raw`` are what belongs into the sections
        ``.BTF`` and ``.BTF.base`` of a module.

    Raises:
        InputError: `split` has no base.
        BtfError: it is malformed, or refers to a function, variable, section or declaration tag of its base.
    """
    check_spec(split)
    if split.base is None:
        raise InputError(f"{split.name or 'BTF'} stands alone: only split BTF has a base to distil")
    kept, copied = _sort_out(split)
    ids = {0: 0}
    ids.update((old, new) for new, old in enumerate(kept, 1))
    own = range(split.first_id, split.first_id + len(split))
    ids.update((old, new) for new, old in enumerate([*own, *copied], 1 + len(kept)))

    name = split.name
    base = _write_base(split, kept, name=f"{name}.base" if name else "distilled base")
    base.pointer_size = split.pointer_size
    return base, _write_split(split, [*own, *copied], ids, base, name=name)


def _sort_out(split: Spec) -> tuple[list[int], list[int]]:
    """The ids below the split that it needs: those to keep in the base, and those to copy into the split."""
    first = split.first_id
    needed: set[int] = set()
    todo = list(range(first, first + len(split)))
    while todo:
        referrer = todo.pop()
        words, at, _ = record_end(split, referrer)
        for index in id_words(words, at):
            type_id = words[index]
            if type_id == 0 or type_id >= first or type_id in needed:
                continue
            where, start, _ = record_end(split, type_id)
            kind = where[start + 1] >> KIND_SHIFT & KIND_MASK
            if kind in _NEVER_SHARED:
                raise BtfError(
                    f"type {referrer} refers to the {kind_name(kind)} {type_id} of its base: no base can be distilled"
                    " from that",
                    source=split.name or "BTF",
                )
            needed.add(type_id)
            if kind not in (Kind.STRUCT, Kind.UNION) or not where[start]:
                todo.append(type_id)
    kept: list[int] = []
    copied: list[int] = []
    for type_id in sorted(needed):
        words, at = split.locate(type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        stays = kind in _AS_IT_IS or (kind in _BY_NAME_AND_SIZE and words[at])
        (kept if stays else copied).append(type_id)
    return kept, copied


def _write_base(split: Spec, kept: list[int], *, name: str) -> Spec:
    strings = _Strings()
    strings.offset(b"")
    out = array("I")
    for type_id in kept:
        words, at, end = record_end(split, type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        offset = strings.offset(split.string_bytes(words[at]))
        if kind in _AS_IT_IS:
            out.append(offset)
            out.extend(words[at + 1 : end])
        else:
            out.extend((offset, make_info(_BY_NAME_AND_SIZE[Kind(kind)]), words[at + 2]))
    return Spec(make_blob(out, bytes(strings.data), split.byte_order), name=name)


def _write_split(split: Spec, types: list[int], ids: dict[int, int], base: Spec, *, name: str) -> Spec:
    lower: dict[bytes, int] = {}
    for text, offset in base.each_string():
        lower.setdefault(text, offset)
    strings = _Strings(base.strings_end, lower)
    moved: dict[int, int] = {}
    out = array("I")
    for type_id in types:
        words, at, end = record_end(split, type_id)
        record = array("I", words[at:end].tolist())
        for index in string_words(record, 0):
            old = record[index]
            new = moved.get(old)
            if new is None:
                new = moved[old] = strings.offset(split.string_bytes(old))
            record[index] = new
        for index in id_words(record, 0):
            new = ids.get(record[index])
            if new is None:
                raise BtfError(
                    f"type {type_id} refers to type {record[index]}, which does not exist", source=split.name or "BTF"
                )
            record[index] = new
        out.extend(record)
    return Spec(make_blob(out, bytes(strings.data), split.byte_order), base, name=name)
