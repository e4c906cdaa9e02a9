"""Types in words: the short form that messages and reports use."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, Kind
from .spec import check_spec

if TYPE_CHECKING:
    from .spec import Spec

KEYWORDS = {
    Kind.VOID: "void",
    Kind.INT: "int",
    Kind.PTR: "ptr",
    Kind.ARRAY: "array",
    Kind.STRUCT: "struct",
    Kind.UNION: "union",
    Kind.ENUM: "enum",
    Kind.FWD: "fwd",
    Kind.TYPEDEF: "typedef",
    Kind.VOLATILE: "volatile",
    Kind.CONST: "const",
    Kind.RESTRICT: "restrict",
    Kind.FUNC: "func",
    Kind.FUNC_PROTO: "func_proto",
    Kind.VAR: "var",
    Kind.DATASEC: "datasec",
    Kind.FLOAT: "float",
    Kind.DECL_TAG: "decl_tag",
    Kind.TYPE_TAG: "type_tag",
    Kind.ENUM64: "enum64",
}


def describe(spec: Spec, type_id: int) -> str:
    """Kind and name of a type, without making an object: "struct task_struct", "enum64 foo", "ptr".

    Raises:
        InputError: `spec` is no `Spec`, or `type_id` no number.
        BtfError, TypeNotFoundError: as `Spec.locate`.
    """
    check_spec(spec)
    if type_id == 0:
        return "void"
    words, position = spec.locate(type_id)
    kind = words[position + 1] >> KIND_SHIFT & KIND_MASK
    keyword = KEYWORDS.get(Kind(kind), "unknown") if kind <= Kind.ENUM64 else f"unknown({kind})"
    if kind == Kind.FWD:
        keyword = "fwd union" if words[position + 1] & KIND_FLAG else "fwd struct"
    name = spec.string(words[position])
    if name:
        return f"{keyword} {name}"
    return f"{keyword} <anon>" if kind in (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64) else keyword


def describe_with_id(spec: Spec, type_id: int) -> str:
    """`describe` behind the id: "[12] struct task_struct"."""
    return f"[{type_id}] {describe(spec, type_id)}"
