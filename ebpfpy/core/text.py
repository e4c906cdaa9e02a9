"""Accesses in words, in libbpf's form: ``[12] struct task_struct.mm (0:3 @ offset 24)``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.btf.kinds import Kind
from ebpfpy.btf.text import describe_with_id

from .rawtypes import raw_types
from .relocation import RelocationKind as R

if TYPE_CHECKING:
    from ebpfpy.btf import Spec

    from .access import Access

MEANING = {
    R.BYTE_OFF: "where the field is, in bytes",
    R.BYTE_SZ: "how many bytes the field has",
    R.FIELD_EXISTS: "whether the field exists",
    R.SIGNED: "whether the field is signed",
    R.LSHIFT_U64: "how many bits to shift a loaded bit-field to the left",
    R.RSHIFT_U64: "how many bits to shift a loaded bit-field to the right",
    R.LOCAL_TYPE_ID: "the type's id among the object's own",
    R.TARGET_TYPE_ID: "the type's id in the kernel",
    R.TYPE_EXISTS: "whether the type exists",
    R.TYPE_SIZE: "how many bytes the type has",
    R.ENUMVAL_EXISTS: "whether the enumerator exists",
    R.ENUMVAL_VALUE: "the enumerator's value",
    R.TYPE_MATCHES: "whether the type is as declared",
}
"""What each kind of relocation asks, in words."""

TYPE_KINDS = frozenset({R.LOCAL_TYPE_ID, R.TARGET_TYPE_ID, R.TYPE_EXISTS, R.TYPE_SIZE, R.TYPE_MATCHES})
ENUM_KINDS = frozenset({R.ENUMVAL_EXISTS, R.ENUMVAL_VALUE})


def access_text(spec: Spec, access: Access, kind: R) -> str:
    """The path with its types, names, raw indices and offset."""
    text = describe_with_id(spec, access.root)
    if kind in TYPE_KINDS:
        return text
    if kind in ENUM_KINDS:
        types = raw_types(spec)
        record = types.record(access.points[0].type_id)
        name, value = types.enumerators(record)[access.points[0].number]
        if record.kind == Kind.ENUM64 and record.flag and value >> 63:
            value -= 1 << 64
        elif record.kind == Kind.ENUM and not record.flag:
            value &= 0xFFFF_FFFF
        return f"{text}::{name.decode('utf-8', 'replace')} = {value}"
    path = ""
    for index, point in enumerate(access.points):
        if point.name is not None:
            path += "." + point.name.decode("utf-8", "replace")
        elif index or point.number:
            path += f"[{point.number}]"
    raw = ":".join(map(str, access.raw))
    odd = f".{access.bits % 8}" if access.bits % 8 else ""
    return f"{text}{path} ({raw} @ offset {access.bits // 8}{odd})"
