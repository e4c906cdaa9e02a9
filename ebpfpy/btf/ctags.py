"""Tags and attributes as C: what sources say about types beyond C, and BTF keeps.

A *declaration tag* stands on a struct, member, typedef, function, parameter or variable, a *type tag* on what a pointer
points to: ``struct task_struct __btf_type_tag("rcu") *``. Records with the kind flag are attributes of their own
instead: ``__attribute__((address_space(1)))``. clang knows the tags, of GCC only the newest does; so a header writes
them as macros that are empty where the compiler would not know what they stand for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from .cwords import DECL_TAG, FUNC, TYPE_TAG
from .kinds import KIND_FLAG

if TYPE_CHECKING:
    from .cwords import Records

ATTRIBUTES = ('__attribute__((btf_decl_tag("{}")))', '__attribute__((btf_type_tag("{}")))', "__attribute__(({}))")
"""Declaration tag, type tag, attribute: spelled out, for a single declaration."""

MACROS = ('__btf_decl_tag("{}")', '__btf_type_tag("{}")', "__btf_attribute(({}))")
"""The same as macros, for a header that defines them."""

MACRO_DEFINITIONS = """\
#ifndef __btf_decl_tag
#if defined(__has_attribute)
#if __has_attribute(btf_decl_tag)
#define __btf_decl_tag(text) __attribute__((btf_decl_tag(text)))
#endif
#if __has_attribute(btf_type_tag)
#define __btf_type_tag(text) __attribute__((btf_type_tag(text)))
#endif
#endif
#ifndef __btf_decl_tag
#define __btf_decl_tag(text)
#endif
#ifndef __btf_type_tag
#define __btf_type_tag(text)
#endif
#if defined(__clang__)
#define __btf_attribute(parenthesised) __attribute__(parenthesised)
#else
#define __btf_attribute(parenthesised)
#endif
#endif

"""
SAID_OTHERWISE = frozenset({"bpf_kfunc", "bpf_fastcall"})
"""Tags of functions that a prototype shows in other ways."""

_ATTRIBUTE = re.compile(r"([A-Za-z_]\w*)(\([\w ,.+-]*\))?", re.ASCII)
_LAYOUT = frozenset(
    {"aligned", "ext_vector_type", "gcc_struct", "mode", "ms_struct", "packed", "randomize_layout",
     "scalar_storage_order", "transparent_union", "vector_size"}
)  # fmt: skip
"""Attributes that would move members a second time: where they are is written already."""
_ESCAPES = {
    "\\": "\\\\",
    '"': '\\"',
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\f": "\\f",
    "\a": "\\a",
    "\b": "\\b",
}
_WHOLE = 0xFFFF_FFFF
"""The component index of a tag that is on the type itself."""


class TagWriter:
    """Writes tags, either way.

    Args:
        styles: `ATTRIBUTES` or `MACROS`.
    """

    def __init__(self, styles: tuple[str, str, str]) -> None:
        self.decl, self.type, self.attribute = styles

    def on_type(self, text: str, *, attribute: bool) -> str:
        """A type tag; "" if it is an attribute that cannot be one of C, or moves members."""
        return self._attribute(text) if attribute else self.type.format(_literal(text))

    def on_declaration(self, text: str, *, attribute: bool) -> str:
        """A declaration tag, likewise."""
        return self._attribute(text) if attribute else self.decl.format(_literal(text))

    def _attribute(self, text: str) -> str:
        match = _ATTRIBUTE.fullmatch(text)
        if match is None or match.group(1).strip("_") in _LAYOUT:
            return ""
        return self.attribute.format(text)


def c_text(text: str) -> str:
    """The text as the inside of a C string literal."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return "".join(c if " " <= c <= "~" else "".join(f"\\{b:03o}" for b in c.encode()) for c in escaped)


def _literal(text: str) -> str:
    """The text as the inside of an attribute's string, in which compilers want no numbers for characters."""
    return "".join(_ESCAPES.get(c) or (c if c.isprintable() else "?") for c in text)


def declaration_tags(records: Records) -> tuple[dict[int, dict[int, list[tuple[str, bool]]]], dict[int, set[str]]]:
    """The declaration tags in a spec, and the functions that a program may call.

    Returns:
        Type id -> component (-1: the type itself) -> text and whether it is an attribute, in order. And function id ->
        those of its tags that a prototype shows otherwise.
    """
    words, starts, kinds, spec = records.words, records.starts, records.kinds, records.spec
    tags: dict[int, dict[int, list[tuple[str, bool]]]] = {}
    functions: dict[int, set[str]] = {}
    for type_id in records.own(DECL_TAG):
        start = starts[type_id]
        info, target, component = words[start + 1], words[start + 2], words[start + 3]
        if target >= len(kinds):
            continue
        text = spec.string(words[start])
        if component == _WHOLE and kinds[target] == FUNC and text in SAID_OTHERWISE:
            functions.setdefault(target, set()).add(text)
            continue
        place = -1 if component == _WHOLE else component
        tags.setdefault(target, {}).setdefault(place, []).append((text, bool(info & KIND_FLAG)))
    return tags, functions


def needs_macros(records: Records, tags: dict[int, dict[int, list[tuple[str, bool]]]]) -> bool:
    """Whether a header of a spec has tags in it."""
    return bool(tags) or bytes((TYPE_TAG,)) in records.kinds
