"""The context of a tracing program as C text: a struct, declarations of what it points at, accessors."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import types as t
from .cnames import identifier
from .cscalars import integer_name, is_c_integer
from .layout import sizeof

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .context import Context, ContextArgument

_SLOT = 8


def context_text(context: Context) -> str:
    """The struct, and what belongs to it."""
    members, accessors = [], []
    for each in context.slots:
        notes = [each.note] if each.note else []
        if not _needs_accessor(context, each):
            aligned = "" if sizeof(each.type) == _SLOT else " __attribute__((aligned(8)))"
            member = f"{declaration(each.type, each.name)}{aligned};"
        else:
            shown = type_text(each.type)
            member = f"unsigned long long {each.name}{f'[{each.slots}]' if each.in_slots else ''};"
            if shown:
                accessors += _accessor(context, each, shown)
                notes.insert(0, f"{shown}: {context.name}__{each.name}(ctx)")
        members.append(f"\t{member}" + (f" /* {_in_comment('; '.join(notes))} */" if notes else ""))
    declared = list(_declarations(each.type for each in context.slots))
    lines = [
        f"/* {context.section}: {_in_comment(context.prototype)} */",
        *declared,
        *([""] if declared else []),
        f"struct {context.name} {{",
        *members,
        "};",
        *accessors,
    ]
    return "\n".join(lines) + "\n"


def declaration(of: t.Type, name: str) -> str:
    """What declares a variable of a type: ``struct sock *sk``.

    Type tags, which are macros of some headers, are left out. What functions and arrays have pointers to, is void.
    """
    before: list[str] = []
    behind = name
    pointed = False
    current = of
    while True:
        if isinstance(current, t.Pointer):
            behind, pointed = f"*{behind}", True
        elif isinstance(current, (t.Const, t.Volatile)):
            word = "const" if isinstance(current, t.Const) else "volatile"
            if isinstance(_plain(current), t.Pointer):
                behind = f"{word} {behind}"
            else:
                before.append(word)
        elif not isinstance(current, (t.Restrict, t.TypeTag)):
            break
        current = current.target
    base = _name_of(current) or ("void" if pointed else _number(current))
    return " ".join(filter(None, (*before, base, behind)))


def type_text(of: t.Type) -> str:
    """A type's name in C; "" for a struct without one."""
    plain = _plain(of)
    if isinstance(plain, (t.Struct, t.Union)) and not plain.name:
        return ""
    return declaration(of, "")


def _plain(of: t.Type) -> t.Type:
    """The type under qualifiers and tags, but not under typedefs."""
    while isinstance(of, (t.Const, t.Volatile, t.Restrict, t.TypeTag)):
        of = of.target
    return of


def _name_of(of: t.Type) -> str:
    if isinstance(of, t.Typedef):
        return identifier(of.name)
    if isinstance(of, (t.Struct, t.Union, t.Enum, t.Fwd)):
        return f"{_word(of)} {identifier(of.name)}" if of.name else ""
    return _number(of) if isinstance(of, t.Int) else ""


def _word(of: t.Type) -> str:
    if isinstance(of, t.Enum):
        return "enum"
    return "union" if isinstance(of, t.Union) or (isinstance(of, t.Fwd) and of.union) else "struct"


def _number(of: t.Type) -> str:
    """C's name for a number; for an enum without a name, that of its size."""
    if isinstance(of, t.Int):
        return of.name if is_c_integer(of.name, of.size, _SLOT) else integer_name(of.size, of.encoding)
    return integer_name(of.size, int(of.signed)) if isinstance(of, t.Enum) else ""


def _declarations(types: Iterable[t.Type]) -> dict[str, None]:
    """Declarations of the structs and unions that are pointed at: not every header has them."""
    found: dict[str, None] = {}
    for of in types:
        current, pointed = of, False
        while isinstance(current, (t.Pointer, t.Const, t.Volatile, t.Restrict, t.TypeTag)):
            pointed = pointed or isinstance(current, t.Pointer)
            current = current.target
        if pointed and isinstance(current, (t.Struct, t.Union, t.Fwd)) and current.name:
            found[f"{_word(current)} {identifier(current.name)};"] = None
    return found


def _needs_accessor(context: Context, argument: ContextArgument) -> bool:
    """Whether it does not lie in its slot as C would put it there."""
    return argument.in_slots or (context.byte_order == "big" and sizeof(argument.type) < _SLOT)


def _accessor(context: Context, argument: ContextArgument, shown: str) -> list[str]:
    """A function that reads whole slots, which the verifier wants; volatile keeps the compiler from reading less."""
    head = f"static inline __attribute__((always_inline, unused)) {shown} {context.name}__{argument.name}"
    slots = [
        f"*(const volatile unsigned long long *)((const char *)ctx + {_SLOT * (argument.slot + at)})"
        for at in range(argument.slots)
    ]
    if argument.in_slots:
        body = [
            f"\tunion {{ unsigned long long slots[{argument.slots}]; {shown} value; }} it = {{ .slots = {{",
            *[f"\t\t{slot}," for slot in slots],
            "\t} };",
            "\treturn it.value;",
        ]
    else:
        body = [f"\treturn ({shown}){slots[0]};"]
    return ["", f"{head}(const struct {context.name} *ctx)", "{", *body, "}"]


def _in_comment(text: str) -> str:
    return " ".join(text.replace("*/", "* /").split())
