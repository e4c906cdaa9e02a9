"""BTF as text, record by record: the same lines as ``bpftool btf dump file FILE format raw``.

Works on the raw words and makes no type objects: a vmlinux of 126,000 types takes about a second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .kinds import (
    INT_BOOL,
    INT_CHAR,
    INT_SIGNED,
    KIND_FLAG,
    KIND_MASK,
    KIND_SHIFT,
    VLEN_MASK,
    Kind,
    kind_name,
)
from .spec import check_spec
from .typebase import iterable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .spec import Spec

_ENCODINGS = {0: "(none)", INT_SIGNED: "SIGNED", INT_CHAR: "CHAR", INT_BOOL: "BOOL"}
_FUNC_LINKAGES = {0: "static", 1: "global", 2: "extern"}
_VAR_LINKAGES = {0: "static", 1: "global", 2: "extern"}


def dump_raw(spec: Spec, *, ids: Iterable[int] | None = None) -> Iterator[str]:
    """One line for each type, and one, indented by a tab, for each member, enumerator, parameter or variable.

    Args:
        spec: whose types.
        ids: which ones, in this order; all own types of `spec` by default. Ids of its base are allowed.

    Yields:
        Lines without a line end.

    Raises:
        BtfError: a record is malformed.
        TypeNotFoundError: there is no such id.
        InputError: `spec` is no `Spec`, or `ids` are no ids.
    """
    check_spec(spec)
    quoted = _Quoted(spec)
    for type_id in range(spec.first_id, spec.first_id + len(spec)) if ids is None else iterable(ids, "ids"):
        if type_id == 0:
            yield "[0] VOID '(anon)'"
            continue
        words, at = spec.locate(type_id)
        name_off, info, size = words[at : at + 3].tolist()
        kind = info >> KIND_SHIFT & KIND_MASK
        yield f"[{type_id}] {kind_name(kind)} {quoted[name_off]}{_tail(words, at, kind, info, size)}"
        entries = _ENTRIES.get(kind)
        if entries is not None and info & VLEN_MASK:
            yield from entries(quoted, words, at, info)


class _Quoted(dict[int, str]):
    """String offset -> the string in quotes."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __missing__(self, offset: int) -> str:
        self[offset] = text = f"'{self.spec.string(offset) or '(anon)'}'"
        return text


def _tail(words: memoryview, at: int, kind: int, info: int, size: int) -> str:
    """What follows the name."""
    vlen, flag = info & VLEN_MASK, info & KIND_FLAG
    match kind:
        case Kind.INT:
            word = words[at + 3]
            encoding = word >> 24 & 0xF
            text = _ENCODINGS.get(encoding, "UNKN")
            return f" size={size} bits_offset={word >> 16 & 0xFF} nr_bits={word & 0xFF} encoding={text}"
        case Kind.PTR | Kind.TYPEDEF | Kind.VOLATILE | Kind.CONST | Kind.RESTRICT | Kind.TYPE_TAG:
            return f" type_id={size}"
        case Kind.ARRAY:
            return f" type_id={words[at + 3]} index_type_id={words[at + 4]} nr_elems={words[at + 5]}"
        case Kind.STRUCT | Kind.UNION | Kind.DATASEC:
            return f" size={size} vlen={vlen}"
        case Kind.ENUM | Kind.ENUM64:
            return f" encoding={'SIGNED' if flag else 'UNSIGNED'} size={size} vlen={vlen}"
        case Kind.FWD:
            return f" fwd_kind={'union' if flag else 'struct'}"
        case Kind.FUNC:
            return f" type_id={size} linkage={_FUNC_LINKAGES.get(vlen, '(unknown)')}"
        case Kind.FUNC_PROTO:
            return f" ret_type_id={size} vlen={vlen}"
        case Kind.VAR:
            return f" type_id={size}, linkage={_VAR_LINKAGES.get(words[at + 3], '(unknown)')}"
        case Kind.FLOAT:
            return f" size={size}"
        case Kind.DECL_TAG:
            return f" type_id={size} component_idx={_signed(words[at + 3], 32)}"
        case _:
            return f" vlen={vlen} size_or_type={size}"


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


def _body(words: memoryview, at: int, info: int, entry: int) -> list[int]:
    found: list[int] = words[at + 3 : at + 3 + entry * (info & VLEN_MASK)].tolist()
    return found


def _members(quoted: _Quoted, words: memoryview, at: int, info: int) -> Iterator[str]:
    body = _body(words, at, info, 3)
    for name, member, offset in zip(body[0::3], body[1::3], body[2::3], strict=True):
        if info & KIND_FLAG:
            yield (
                f"\t{quoted[name]} type_id={member} bits_offset={offset & 0xFF_FFFF}"
                + (f" bitfield_size={offset >> 24}" if offset >> 24 else "")
            )
        else:
            yield f"\t{quoted[name]} type_id={member} bits_offset={offset}"


def _enumerators(quoted: _Quoted, words: memoryview, at: int, info: int) -> Iterator[str]:
    body = _body(words, at, info, 2)
    for name, value in zip(body[0::2], body[1::2], strict=True):
        yield f"\t{quoted[name]} val={_signed(value, 32) if info & KIND_FLAG else value}"


def _enumerators64(quoted: _Quoted, words: memoryview, at: int, info: int) -> Iterator[str]:
    body = _body(words, at, info, 3)
    for name, low, high in zip(body[0::3], body[1::3], body[2::3], strict=True):
        value = high << 32 | low
        text = f"{_signed(value, 64)}LL" if info & KIND_FLAG else f"{value}ULL"
        yield f"\t{quoted[name]} val={text}"


def _params(quoted: _Quoted, words: memoryview, at: int, info: int) -> Iterator[str]:
    body = _body(words, at, info, 2)
    for name, param in zip(body[0::2], body[1::2], strict=True):
        yield f"\t{quoted[name]} type_id={param}"


def _variables(quoted: _Quoted, words: memoryview, at: int, info: int) -> Iterator[str]:
    body = _body(words, at, info, 3)
    for var, offset, size in zip(body[0::3], body[1::3], body[2::3], strict=True):
        what = ""
        if var:
            where, start = quoted.spec.locate(var)
            kind = where[start + 1] >> KIND_SHIFT & KIND_MASK
            what = f" ({kind_name(kind)} {quoted[where[start]]})" if kind in (Kind.VAR, Kind.FUNC) else ""
        yield f"\ttype_id={var} offset={offset} size={size}{what}"


_ENTRIES: dict[int, Callable[[_Quoted, memoryview, int, int], Iterator[str]]] = {
    Kind.STRUCT: _members,
    Kind.UNION: _members,
    Kind.ENUM: _enumerators,
    Kind.ENUM64: _enumerators64,
    Kind.FUNC_PROTO: _params,
    Kind.DATASEC: _variables,
}
