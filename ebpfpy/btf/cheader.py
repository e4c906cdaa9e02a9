"""All types of a spec as one C header that compiles.

**Order.** `corder` decides it. No forward declarations are needed but for one reason: a tag that first appears in a
parameter list is forgotten at its end, so it is declared before. Enums depend on nothing and come first.

**Names.** Tags and typedefs get theirs by ascending id before anything is written, enumerators when they are written.
The header of a split spec continues that of its base, whose names are taken.

Works on the raw words: a vmlinux of 126,000 types is half a second's work.
"""

from __future__ import annotations

from itertools import compress
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from ebpfpy.errors import InputError

from .ccolumns import Columns
from .cdecl import MOST_TABS
from .cdeclarator import MARK
from .ckfuncs import write_kfuncs
from .clayout import Shape
from .cnames import KEYWORDS_C23, PREDEFINED, identifier
from .corder import Order
from .cscalars import integer_name, is_c_integer
from .cscope import VA_LIST, Taken
from .ctags import MACRO_DEFINITIONS, MACROS, declaration_tags, needs_macros
from .cwords import COMPOSITES, ENUM, ENUM64, INT, STRUCT, TYPEDEF, UNION, Words, enum_values
from .kinds import KIND_MASK, KIND_SHIFT, VLEN_MASK
from .spec import check_spec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .spec import Spec

_KEYWORDS = {STRUCT: "struct", UNION: "union", ENUM: "enum"}

_HEAD = """\
#ifndef {guard}
#define {guard}
{include}
{undefined}{push}"""
_PUSH = """\
#if defined(__clang__) && defined(__bpf__) && !defined(BPF_NO_PRESERVE_ACCESS_INDEX)
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

"""
_POP = """\
#if defined(__clang__) && defined(__bpf__) && !defined(BPF_NO_PRESERVE_ACCESS_INDEX)
#pragma clang attribute pop
#endif

"""
_TAIL = """\
{pop}#endif /* {guard} */
"""
_UNTIL_C23 = "#if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 202311L\n{text}#endif\n\n"


def format_header(spec: Spec, *, include: str = "vmlinux.h", guard: str = "") -> Iterator[str]:
    """All types of a spec as one C header.

    Structs, unions, enums and typedefs with the layout that BTF has, and prototypes of kfuncs (functions with the
    declaration tag ``bpf_kfunc``). Several types of one name become ``name``, ``name___2``, ...; names that C does not
    allow are made ones. It compiles as C (C11 to C17 with GNU extensions; C23, unless members are called ``bool``) with
    clang for BPF, and with GCC and clang for machines whose numbers have the sizes of the spec's; there the layouts are
    the same.

    Declaration and type tags are macros, ``__btf_decl_tag("...")`` and ``__btf_type_tag("...")``, which the header
    defines as attributes for compilers that know these, else as nothing.

    A split spec's header has its own types only, and includes that of its base; tags that it has for types of its base
    cannot be written.

    BTF does not tell alignments. Where pointers have 4 bytes, machines disagree on that of 8-byte numbers; the text has
    the layout of the BTF on all of them.

    Args:
        spec: whose types.
        include: what the header of a split spec includes: a name for ``#include "..."``. Not used without a base.
        guard: the macro of the include guard; by default made of the spec's name, ``__VMLINUX_H__``, and of its
            contents where the name does not tell it from others, as for a split without a name.

    Yields:
        Pieces of text, in order; joined, they are the header.

    Raises:
        BtfError: a record is malformed, or its type cannot be written in C (it contains itself; its text would be
            exponentially long).
        InputError: `guard` or `include` is unsuitable.
    """
    check_spec(spec)
    if not isinstance(include, str) or not isinstance(guard, str):
        raise InputError("include and guard are text")
    guard = guard or _own_guard(spec)
    if identifier(guard) != guard:
        raise InputError(f"{guard!r} cannot be a macro")
    if spec.base is None:
        line = ""
    elif any(c in include for c in '"\\\n\r') or not include:
        raise InputError(f"{include!r} cannot be included")
    else:
        line = f'\n#include "{include}"\n'
    text, undefined, composites = _written(spec)
    yield _HEAD.format(guard=guard, include=line, undefined=undefined, push=_PUSH if composites else "")
    yield text
    yield _TAIL.format(guard=guard, pop=_POP if composites else "")


def _own_guard(spec: Spec) -> str:
    """A macro for the include guard that no other header has."""
    name = spec.name.rpartition("/")[2]
    guard = _guard_of(name)
    if (spec.base is not None and (guard == _guard_of("") or guard in _guards_below(spec))) or not name.isascii():
        return f"__{identifier(name).upper() or 'SPLIT'}_{crc32(spec.raw):08X}_H__"
    return guard


def _guard_of(name: str) -> str:
    return f"__{identifier(name or 'vmlinux').upper()}_H__"


def _guards_below(spec: Spec) -> Iterator[str]:
    base = spec.base
    while base is not None:
        yield _guard_of(base.name.rpartition("/")[2])
        base = base.base


class _Written(NamedTuple):
    """The declarations, lines that take macros away, and whether there are records: if not, clang minds the pragma."""

    text: str
    undefined: str
    records: bool


def _written(spec: Spec) -> _Written:
    header = _Header(spec)
    text = header.text()
    lines = [f"#undef {name}\n" for name in sorted(PREDEFINED.intersection(header.names.values()))]
    return _Written(text, "".join([*lines, "\n"]) if lines else "", bool(header.records.own(STRUCT, UNION)))


class _Header(Order):
    """Writes one header."""

    open_ends = False
    tag_styles = MACROS

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec)
        self.taken = _taken_by(spec.base).copy() if spec.base is not None else Taken()
        self.renamed, self.contained = self.taken.renamed, self.taken.contained
        self.declared_tags = {
            f"{_KEYWORDS[kind]} {name}" for name, kind in self.taken.kinds.items() if name in self.taken.tags
        }
        self.own_tags, self.callable = declaration_tags(self.records)
        self.inlined: set[int] = set()
        self.inner: list[str] = []  # tags in parameter lists of what was written since somebody emptied it
        self.aliases: list[str] = []
        self.out: list[str] = []

    def text(self) -> str:
        """The declarations, in order."""
        records = self.records
        self.taken.name(records, self.names)
        if needs_macros(records, self.own_tags):
            self.out.append(MACRO_DEFINITIONS)
        enums = records.own(ENUM, ENUM64)
        self._enums(enums)
        self.prepare()
        self.columns = Columns(records, self, self.own_tags)
        self.walk(type_id << 1 for type_id in records.own(TYPEDEF))
        self.mark_pointers()
        composites = records.own(STRUCT, UNION)
        self.walk(type_id << 1 | 1 for type_id in compress(composites, records.column(composites, 0)))
        self._constants(enums)
        write_kfuncs(self)
        return "".join(self.out)

    # --- names ----------------------------------------------------------------------------------

    def enumerators(self, names: list[str]) -> list[str]:
        return self.taken.enumerators(names)

    def parameters(self, names: list[str]) -> list[str]:
        names = super().parameters(names)
        typedefs = self.taken.typedefs
        return names if typedefs.isdisjoint(names) else ["" if name in typedefs else name for name in names]

    def mentioned(self, inner: tuple[str, ...]) -> None:
        if inner:
            self.inner += inner

    def tags_on(self, type_id: int) -> Mapping[int, Sequence[tuple[str, bool]]]:
        return self.own_tags.get(type_id, {}) if self.own_tags else {}

    def body(self, type_id: int, tabs: int, name: str) -> str:
        if name:
            return super().body(type_id, tabs, name)
        self.inlined.add(type_id)
        if self.kinds[type_id] not in COMPOSITES or type_id not in self.columns.plain or type_id not in self.aligns:
            return super().body(type_id, tabs, name)
        columns = self.columns  # a shortcut: kernels have thousands
        if type_id in columns.mentions:
            self.inner += columns.mentions[type_id]
        keyword = "struct" if self.kinds[type_id] == STRUCT else "union"
        indent = "\n" + "\t" * min(tabs, MOST_TABS)
        text = columns.text(type_id, columns.plain[type_id]).replace("\n", indent)
        return f"{keyword} {{{text}{indent}}}"

    def scalar(self, words: Words, at: int) -> str:
        """C's own numbers as they are; others become typedefs of what has their size."""
        name = self.spec.string(words[at])
        size = words[at + 2]
        integer = words[at + 1] >> KIND_SHIFT & KIND_MASK == INT
        if integer and is_c_integer(name, size, self.pointer_size):
            return name
        if not integer and (name, size) in (("float", 4), ("double", 8)):
            return name
        encoding = words[at + 3] >> 24 if integer else -1
        key = (name, size, encoding)
        made = self.taken.scalars.get(key)
        if made is None:
            same, behind = integer_name(size, max(encoding, 0)), ""
            if not integer and size in (4, 8):
                same = "float" if size == 4 else "double"
            if not same:
                step = next(unit for unit in (4, 2, 1) if size % unit == 0)
                same, behind = {4: "unsigned int", 2: "unsigned short", 1: "unsigned char"}[step], f"[{size // step}]"
            wanted = identifier(name.replace(" ", "_")) or "unnamed"
            wanted = f"{wanted}_" if set(wanted.split("_")) <= {"", "long", "double", "float"} else wanted
            made = self.taken.ordinary.claim(wanted)
            self.taken.typedefs.add(made)
            self.taken.scalars[key] = made
            text = f"typedef {same} {made}{behind};\n\n"
            self.aliases.append(_UNTIL_C23.format(text=text[:-1]) if made in KEYWORDS_C23 else text)
        return made

    # --- order ----------------------------------------------------------------------------------

    def shape(self, type_id: int) -> Shape:
        rows = self.columns.plain.get(type_id)
        if rows is None or type_id not in self.aligns:
            return super().shape(type_id)
        align = self.aligns[type_id]
        text = self.columns.text(type_id, rows)
        return Shape(align, align, False, text, self.columns.mentions.get(type_id, ()))

    # --- texts ----------------------------------------------------------------------------------

    def forward(self) -> str:
        """Declarations of tags that the text just written mentions in parameter lists only."""
        texts = []
        if self.aliases:
            texts += self.aliases
            self.aliases.clear()
        declared = self.declared_tags
        for tag in self.inner:
            if tag not in declared:
                declared.add(tag)
                texts.append(f"{tag};\n\n")
        self.inner.clear()
        return "".join(texts)

    def _guarded(self, text: str, names: Iterable[str]) -> str:
        """The text; where it gives names that C23 has itself, with the same meaning, not for C23."""
        return _UNTIL_C23.format(text=text[:-1]) if KEYWORDS_C23.issuperset(names) else text

    def write_composite(self, type_id: int, start: int, kind: int) -> None:
        name = self.renamed.get(type_id) or self.names[self.words[start]]
        tag = f"union {name}" if kind == UNION else f"struct {name}"
        shape = self.shape(type_id)
        self.declared_tags.add(tag)
        if shape.inner:
            self.inner += shape.inner
        end = self.ending(type_id, shape.packed) if shape.packed or self.own_tags else ""
        feed = "\n" if shape.text else ""
        text = f"{tag} {{{shape.text}{feed}}}{end};\n\n"
        if MARK in text:
            text = self.expand(text)
        self.spend(len(text))
        if self.inner or self.aliases:
            self.out.append(self.forward())
        self.out.append(text)

    def write_plain(self, type_id: int, rows: tuple[int, int]) -> None:
        """`_composite` for a plain one with a name."""
        tag = self.declarators[type_id][4]
        self.declared_tags.add(tag)
        columns = self.columns
        inner = columns.mentions.get(type_id)
        if inner:
            self.inner += inner
        text = f"{tag} {{{columns.text(type_id, rows)}\n}};\n\n"
        if MARK in text:
            text = self.expand(text)
        self.budget -= len(text)
        if self.budget < 0:
            self.spend(0)
        if self.inner or self.aliases:
            self.out.append(self.forward())
        self.out.append(text)

    def write_typedef(self, type_id: int, start: int) -> None:
        words = self.words
        name = self.renamed.get(type_id) or self.names[words[start]]
        target = words[start + 2]
        if name == VA_LIST:
            return
        if name == "__gnuc_va_list" and not target:
            self.out.append(f"typedef {VA_LIST} {name};\n\n")
            return
        before, behind, _, inner, tag = self.declarators.get(target) or self.declarator(target)
        own = self.tags_on(type_id).get(-1)
        tags = "".join(f" {each}" for each in self.declared(own)) if own else ""
        text = f"typedef {before}{name}{behind}{tags};\n\n"
        if MARK in text:
            text = self.expand(text)
        self.spend(len(text))
        if inner:
            self.inner += inner
        if self.inner or self.aliases:
            self.out.append(self.forward())
        if tag:
            self.declared_tags.add(tag)
        self.out.append(self._guarded(text, (name,)) if name in KEYWORDS_C23 else text)

    def _enums(self, ids: Iterable[int]) -> None:
        """The enums with a name, and with enumerators, unless there is no other of that name."""
        words, starts, tags = self.words, self.starts, self.taken.tags
        for type_id in ids:
            start = starts[type_id]
            if not words[start]:
                continue
            name = self.name_of(type_id, words, start)
            if not words[start + 1] & VLEN_MASK:
                if name in tags:
                    continue
                tags[name] = 1
            self.out.append(f"{self.body(type_id, 0, name)};\n\n")

    def _constants(self, ids: Iterable[int]) -> None:
        """The enums without a name that no type uses: they are there for their enumerators."""
        words, starts, kinds = self.words, self.starts, self.kinds
        for type_id in ids:
            start = starts[type_id]
            if words[start] or type_id in self.inlined:
                continue
            info = words[start + 1]
            if info & VLEN_MASK:
                text = f"{self.body(type_id, 0, '')};\n\n"
                if info & VLEN_MASK <= len(KEYWORDS_C23):
                    offsets, _ = enum_values(words, start, info, kinds[type_id], words[start + 2])
                    text = self._guarded(text, [self.names[at] for at in offsets])
                self.out.append(text)


def _taken_by(spec: Spec) -> Taken:
    """The names that the header of a spec uses: found by writing it."""
    found: Taken | None = spec.derived.get(Taken)
    if found is None:
        header = _Header(spec)
        header.text()
        found = spec.derived[Taken] = header.taken
    return found
