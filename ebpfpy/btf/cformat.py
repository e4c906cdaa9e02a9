"""One type as a C declaration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.errors import InputError

from . import types as t
from .builder import Builder
from .cdecl import Writer
from .cdeclarator import FREE_TEXT
from .cnames import Identifiers
from .ctags import c_text
from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, VLEN_MASK, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .cwords import Words
    from .spec import Spec

_FUNC_LINKAGES = {0: "static ", 2: "extern "}
_VAR_LINKAGES = {0: "static ", 2: "extern "}


def format_c(of: t.Type) -> str:
    """A type as a C programmer declares it.

    =====================  ===============================================================================
    struct, union, enum    the definition: ``struct event {``, members, ``};``
    typedef                ``typedef unsigned int u32;``
    function, variable     ``static int vfs_read(struct file *file, ...);``
    data section           its variables, one after the other, behind a comment that names it
    forward declaration    ``struct file;``
    all others             a type without a name around it: ``const char *``, ``int (*[4])(void)``
    =====================  ===============================================================================

    Members are where BTF has them: gaps that a compiler would not make by itself are filled with unnamed bitfields, and
    large ones with a member ``char __padding_16520[3960]``; ``__attribute__((packed))`` is there where it must be.
    Other types are referred to by name; those without one are spelled out. Works for types of any depth and for types
    that refer to themselves.

    Names that C does not allow are made ones: ``core::fmt`` becomes ``core__fmt``, ``if`` becomes ``if_``, ``3d``
    becomes ``_3d``, and the second of two members of one name ``name___2``.

    A member that C cannot have, because it lies outside of its struct, starts within a byte or has a type without a
    size, is a comment: ``/* not here: tail, at bits 64 to 96 of 64 */``.

    Args:
        of: a type of a `Spec`, or one built by hand.

    Returns:
        The text without a line end.

    Raises:
        BtfError: a struct or union contains itself, or the text would be exponentially long.
        InputError: a type built by hand cannot be what it claims to be.
    """
    spec, type_id = spec_of(of)
    return _Declaration(spec).text(type_id)


def spec_of(of: t.Type) -> tuple[Spec, int]:
    """A spec that has this type, and its id there; for a type built by hand, a spec made for it."""
    if not isinstance(of, t.Type):
        raise InputError(f"{of!r} is no type")
    if of.spec is not None:
        return of.spec, of.spec.type_id(of)
    builder = Builder(_only_spec(of))
    type_id = builder.add(of)
    return builder.spec(), type_id


def _only_spec(of: t.Type) -> Spec | None:
    """The first spec whose types a type built by hand refers to."""
    from .builder import _references

    seen, stack = {of}, [of]
    while stack:
        current = stack.pop()
        if current.spec is not None:
            return current.spec
        for other in _references(current):
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return None


class _Declaration(Writer):
    """Writes one type."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec, Identifiers(spec), spec.locate)
        self.budget = FREE_TEXT  # however large the spec is

    def text(self, type_id: int) -> str:
        """The declaration of the type with that id."""
        if type_id == 0:
            return "void"
        words, at = self.locate(type_id)
        info, target = words[at + 1], words[at + 2]
        kind = info >> KIND_SHIFT & KIND_MASK
        name = self.names[words[at]]
        called = name or "unnamed"
        match kind:
            case Kind.STRUCT | Kind.UNION:
                return self.expand(f"{self.body(type_id, 0, name)};")
            case Kind.ENUM | Kind.ENUM64:
                return f"{self.body(type_id, 0, name)};" if info & VLEN_MASK or not name else f"enum {name};"
            case Kind.FWD:
                return f"{self.declarator(type_id)[0].rstrip()};"
            case Kind.TYPEDEF:
                return f"typedef {self._around(target, called)}{self._behind(type_id)};"
            case Kind.FUNC:
                return f"{_FUNC_LINKAGES.get(info & VLEN_MASK, '')}{self._function(type_id, target, called)};"
            case Kind.VAR:
                return f"{_VAR_LINKAGES.get(words[at + 3], '')}{self._around(target, called)}{self._behind(type_id)};"
            case Kind.DATASEC:
                return self._section(words, at, info)
            case Kind.DECL_TAG:
                return self.tags.on_declaration(self.spec.string(words[at]), attribute=bool(info & KIND_FLAG))
            case _:
                return self._around(type_id, "").rstrip()

    def tags_on(self, type_id: int) -> Mapping[int, Sequence[tuple[str, bool]]]:
        found: dict[int, list[tuple[str, bool]]] = {}
        for tag in self.spec.decl_tags_of(type_id):
            found.setdefault(tag.component, []).append((tag.name, tag.attribute))
        return found

    def _behind(self, type_id: int) -> str:
        """The tags of a declaration."""
        return "".join(f" {text}" for text in self.declared(self.tags_on(type_id).get(-1, ())))

    def _function(self, type_id: int, proto: int, name: str) -> str:
        before, behind, *_ = self.declarator(proto)
        words, at = self.locate(proto)
        info = words[at + 1]
        if info >> KIND_SHIFT & KIND_MASK == Kind.FUNC_PROTO:
            before, behind, *_ = self.function(words, at, info & VLEN_MASK, self.tags_on(type_id))
        return self.expand(f"{before}{name}{behind}") + self._behind(type_id)

    def _around(self, type_id: int, name: str) -> str:
        before, behind, *_ = self.declarator(type_id)
        return self.expand(f"{before}{name}{behind}")

    def _section(self, words: Words, at: int, info: int) -> str:
        name = c_text(self.spec.string(words[at])).replace("*/", "* /")
        lines = [f"/* {name}, {words[at + 2]} bytes */"]
        for index in range(at + 3, at + 3 + 3 * (info & VLEN_MASK), 3):
            where, start = self.locate(words[index])
            if where[start + 1] >> KIND_SHIFT & KIND_MASK in (Kind.VAR, Kind.FUNC):
                lines.append(self.text(words[index]))
        return "\n".join(lines)
