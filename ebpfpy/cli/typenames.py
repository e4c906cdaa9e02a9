"""A type in a few words, as C would name it: ``struct event``, ``const char *``, ``u32[4]``."""

from __future__ import annotations

from ebpfpy import btf

_DEPTH = 32
"""Pointers to pointers, arrays of arrays: malformed BTF has circles of them."""

_QUALIFIERS: dict[type[btf.Type], str] = {btf.Const: "const", btf.Volatile: "volatile", btf.Restrict: "restrict"}


def type_name(kind: btf.Type | None) -> str:
    """The name of a type; "" for None."""
    if kind is None:
        return ""
    prefix = suffix = ""
    for _ in range(_DEPTH):
        if isinstance(kind, btf.Pointer):
            suffix = " *" + suffix.lstrip()
            kind = kind.target
        elif isinstance(kind, btf.Array):
            outer = len(suffix) - len(
                suffix.lstrip("[]0123456789")
            )  # of an array of arrays the outer count comes first
            suffix = f"{suffix[:outer]}[{kind.count}]{suffix[outer:]}"
            kind = kind.element
        elif isinstance(kind, (btf.Const, btf.Volatile, btf.Restrict)):
            prefix += f"{_QUALIFIERS[type(kind)]} "
            kind = kind.target
        elif isinstance(kind, btf.TypeTag):
            kind = kind.target
        else:
            return f"{prefix}{_plain(kind)}{suffix}"
    return f"{prefix}...{suffix}"


def _plain(kind: btf.Type) -> str:
    name = getattr(kind, "name", "")
    keyword = {btf.Struct: "struct ", btf.Union: "union ", btf.Enum: "enum "}.get(type(kind), "")
    if isinstance(kind, btf.Fwd):
        keyword = "union " if kind.union else "struct "
    if isinstance(kind, btf.FuncProto):
        return "function"
    return f"{keyword}{name or '(anonymous)'}"
