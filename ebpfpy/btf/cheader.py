"""All types of a spec as one C header that compiles.

**Order.** C wants a type declared before it is mentioned, and defined before it is contained. Two questions can be
asked of a type, and each is answered once, depth first, before the text that depends on it:

* *complete*: may a variable of it stand here? A struct is complete when its members are, and it was written.
* *mention*: may a pointer to it stand here? A struct, union or enum with a tag always may. A typedef must have been
  written. The elements of an array must be complete even behind a pointer, as the members of a struct without a tag.

That needs no forward declarations but for one reason: a tag that first appears in a parameter list is forgotten at its
end, so it is declared before. Enums depend on nothing and come first. What goes round in circles by value has no size:
an error.

**Names.** Tags and typedefs get theirs by ascending id before anything is written, enumerators when they are written.
The header of a split spec continues that of its base, whose names are taken.

Works on the raw words: a vmlinux of 126,000 types is a few tenths of a second's work.
"""

from __future__ import annotations

import gc
from itertools import compress, repeat
from operator import mod
from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError, InputError

from .ccolumns import Columns
from .cdecl import MOST_TABS, Writer
from .cdeclarator import MARK, PLAIN, POINTER
from .clayout import Shape
from .cnames import KEYWORDS_C23, Identifiers, identifier
from .cscalars import integer_name, is_c_integer
from .cscope import VA_LIST, Taken
from .ctags import MACRO_DEFINITIONS, MACROS, declaration_tags, needs_macros
from .cwords import (
    ARRAY,
    CONST,
    DECORATIONS,
    ENUM,
    ENUM64,
    FLOAT,
    FUNC_PROTO,
    FWD,
    INT,
    PTR,
    STRUCT,
    TYPEDEF,
    UNION,
    Records,
    Words,
    enum_values,
)
from .kinds import KIND_MASK, KIND_SHIFT, VLEN_MASK
from .text import describe_with_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from .spec import Spec

_COMPOSITES = frozenset((STRUCT, UNION))
_KEYWORDS = {STRUCT: "struct", UNION: "union", ENUM: "enum"}

_HEAD = """\
#ifndef {guard}
#define {guard}
{include}
{push}"""
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
_KFUNC_HEAD = """\
#ifndef BPF_NO_KFUNC_PROTOTYPES
#ifndef __ksym
#define __ksym __attribute__((section(".ksyms")))
#endif
#ifndef __weak
#define __weak __attribute__((weak))
#endif
#ifndef __bpf_fastcall
#if defined(__has_attribute) && defined(__bpf__)
#if __has_attribute(bpf_fastcall)
#define __bpf_fastcall __attribute__((bpf_fastcall))
#endif
#endif
#endif
#ifndef __bpf_fastcall
#define __bpf_fastcall
#endif

"""
_KFUNC_TAIL = "\n#endif /* BPF_NO_KFUNC_PROTOTYPES */\n\n"
_UNTIL_C23 = "#if !defined(__STDC_VERSION__) || __STDC_VERSION__ < 202311L\n{text}#endif\n\n"


def format_header(spec: Spec, *, include: str = "vmlinux.h", guard: str = "") -> Iterator[str]:
    """All types of a spec as one C header.

    Structs, unions, enums and typedefs with the layout that BTF has, and prototypes of kfuncs (functions with the
    declaration tag ``bpf_kfunc``). Several types of one name become ``name``, ``name___2``, ...; names that C does not
    allow are made ones. It compiles as C (C11 to C23, with GNU extensions) with clang for BPF, and with GCC and clang
    for machines whose numbers have the sizes of the spec's; there the layouts are the same.

    A split spec's header has its own types only, and includes that of its base.

    Args:
        spec: whose types.
        include: what the header of a split spec includes: a name for ``#include "..."``. Not used without a base.
        guard: the macro of the include guard; by default made of the spec's name, ``__VMLINUX_H__``.

    Yields:
        Pieces of text, in order; joined, they are the header.

    Raises:
        BtfError: a record is malformed, or its type cannot be written in C (it contains itself; its text would be
            exponentially long).
        InputError: `guard` or `include` is unsuitable.
    """
    guard = guard or f"__{identifier(spec.name.rpartition('/')[2] or 'vmlinux').upper()}_H__"
    if identifier(guard) != guard:
        raise InputError(f"{guard!r} cannot be a macro")
    if spec.base is None:
        line = ""
    elif any(c in include for c in '"\\\n\r') or not include:
        raise InputError(f"{include!r} cannot be included")
    else:
        line = f'\n#include "{include}"\n'
    # hundreds of thousands of objects, none of which goes in circles: looking for circles takes a tenth of the time
    enabled = gc.isenabled()
    gc.disable()
    try:
        text, composites = _written(spec)
    finally:
        if enabled:
            gc.enable()
    yield _HEAD.format(guard=guard, include=line, push=_PUSH if composites else "")
    yield text
    yield _TAIL.format(guard=guard, pop=_POP if composites else "")


def _written(spec: Spec) -> tuple[str, bool]:
    """The declarations, and whether structs or unions are among them: if not, clang warns that the pragma is unused."""
    header = _Header(spec)
    return header.text(), bool(header.records.own(STRUCT, UNION))


class _Header(Writer):
    """Writes one header."""

    open_ends = False
    tag_styles = MACROS

    def __init__(self, spec: Spec) -> None:
        names = Identifiers(spec)
        names.fill()
        self.records = records = Records(spec)
        self.words, self.starts, self.kinds = records.words, records.starts, records.kinds
        super().__init__(spec, names, records.locate)
        self.first_id = spec.first_id
        # a byte for each type: 1 if the question was answered with yes; 1 if it is being looked into
        self.mentionable, self.complete = bytearray(len(self.starts)), bytearray(len(self.starts))
        self.mentioning, self.completing = bytearray(len(self.starts)), bytearray(len(self.starts))
        self.mentionable[0] = self.complete[0] = 1
        self.taken = _taken_by(spec.base).copy() if spec.base is not None else Taken()
        self.renamed, self.contained = self.taken.renamed, self.taken.contained
        self.declared_tags = {
            f"{_KEYWORDS[kind]} {name}" for name, kind in self.taken.kinds.items() if name in self.taken.tags
        }
        self.own_tags, self.callable = declaration_tags(records)
        self.inlined: set[int] = set()
        self.inner: list[str] = []  # tags in parameter lists of what was written since somebody emptied it
        self.aliases: list[str] = []
        self.out: list[str] = []
        self.targets: list[int] = []  # what the own pointers point to
        self.functions: list[tuple[int, int]] = []  # pointers to functions, and the prototypes

    def text(self) -> str:
        """The declarations, in order."""
        records, words, starts = self.records, self.words, self.starts
        self.taken.name(records, self.names)
        if needs_macros(records, self.own_tags):
            self.out.append(MACRO_DEFINITIONS)
        enums = records.own(ENUM, ENUM64)
        self._enums(enums)
        self._prepare()
        self.columns = Columns(records, self, self.own_tags)
        for type_id in records.own(TYPEDEF):
            if not self.mentionable[type_id]:
                self._walk([type_id << 1])
        self._mark_pointers()
        for type_id in records.own(STRUCT, UNION):
            if words[starts[type_id]] and not self.complete[type_id]:
                self._walk([type_id << 1 | 1])
        self._constants(enums)
        self._kfuncs()
        return "".join(self.out)

    def _prepare(self) -> None:
        """Declarators and answers for most types at once, which is a few times faster than one by one."""
        records, words, starts, names = self.records, self.words, self.starts, self.names
        renamed, known, kinds = self.renamed, self.declarators, self.kinds
        mentionable, complete = self.mentionable, self.complete
        for kind, keyword in ((TYPEDEF, ""), (STRUCT, "struct "), (UNION, "union ")):
            ids = records.own(kind)
            offsets = records.column(ids, 0)
            if kind != TYPEDEF:
                ids, offsets = list(compress(ids, offsets)), list(filter(None, offsets))
                for type_id in ids:
                    mentionable[type_id] = 1
            called = map(renamed.get, ids, map(names.__getitem__, offsets))
            tags = [f"{keyword}{name} " for name in called]
            ends = map(str.rstrip, tags) if keyword else repeat("")
            known.update(zip(ids, zip(tags, repeat(""), repeat(PLAIN), repeat(()), ends), strict=False))
        for type_id in records.own(INT, FLOAT, ENUM, ENUM64, FWD):
            start = starts[type_id]
            self.settle(type_id, words, start, words[start + 1])
            if kinds[type_id] == INT:  # what is no number of C becomes a typedef, but only if it is used
                name = self.spec.string(words[start])
                if is_c_integer(name, words[start + 2], self.pointer_size):
                    known[type_id] = (f"{name} ", "", PLAIN, (), "")
            elif words[start] and kinds[type_id] != FLOAT:
                self.declarator(type_id)
            mentionable[type_id] = complete[type_id] = 1
        for type_id in records.own(CONST):
            target = words[starts[type_id] + 2]
            inner = known.get(target)
            if inner is not None and not inner[2]:
                before, _, _, mentioned, tag = inner
                if not before.startswith("const "):
                    known[type_id] = (f"const {before}", "", PLAIN, mentioned, tag)
                    mentionable[type_id] = mentionable[target]
        pointers = records.own(PTR)
        targets = self.targets = records.column(pointers, 2)
        self.sizes.update(dict.fromkeys(pointers, self.pointer_size))
        ready: list[int] = []
        for type_id, target in zip(pointers, targets, strict=True):
            if target in known:
                before, behind, _, mentioned, tag = known[target]
                if not behind:
                    known[type_id] = (f"{before}*", "", POINTER, mentioned, tag)
                    if mentionable[target]:
                        mentionable[type_id] = complete[type_id] = 1
                        ready.append(type_id)
            elif target < len(kinds) and kinds[target] == FUNC_PROTO:
                self.functions.append((type_id, target))
        self.aligns.update(dict.fromkeys(ready, 8 * self.pointer_size))  # a size it has before it may stand anywhere
        for type_id in records.own(ARRAY):
            start = starts[type_id]
            inner = known.get(words[start + 3])
            if inner is not None and not inner[1]:
                before, _, level, mentioned, tag = inner
                known[type_id] = (before, f"[{words[start + 5]}]", level, mentioned, tag)
        for type_id, proto in self.functions:
            start = starts[proto]
            count = words[start + 1] & VLEN_MASK
            if words[start + 2] in known and all(map(known.__contains__, words[start + 4 : start + 3 + 2 * count : 2])):
                before, behind, _, mentioned, tag = self.function(words, start, count)
                known[type_id] = (f"{before}(*", f"){behind}", POINTER, mentioned, tag)

    def _mark_pointers(self) -> None:
        """Answer for the pointers to all that may be mentioned once the typedefs are written."""
        words, starts = self.words, self.starts
        mentionable, complete = self.mentionable, self.complete
        ready: list[int] = []
        pointers = self.records.own(PTR)
        for type_id, target in zip(pointers, self.targets, strict=True):
            if not complete[type_id] and target < len(mentionable) and mentionable[target]:
                mentionable[type_id] = complete[type_id] = 1
                ready.append(type_id)
        is_mentionable = mentionable.__getitem__
        for type_id, proto in self.functions:
            start = starts[proto]
            last = start + 3 + 2 * (words[start + 1] & VLEN_MASK)
            try:
                if mentionable[words[start + 2]] and all(map(is_mentionable, words[start + 4 : last : 2])):
                    mentionable[proto] = mentionable[type_id] = complete[type_id] = 1
                    ready.append(type_id)
            except IndexError:
                continue  # the walk says which
        self.aligns.update(dict.fromkeys(ready, 8 * self.pointer_size))

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
        if self.kinds[type_id] not in _COMPOSITES or type_id not in self.columns.plain or type_id not in self.aligns:
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

    def _walk(self, stack: list[int]) -> None:
        """Write all that is missing to mention, or to contain, types.

        A question is a number: type id << 1, + 1 for "complete" instead of "mention".
        """
        words, starts, kinds, first = self.words, self.starts, self.kinds, self.first_id
        mentionable, complete, settle = self.mentionable, self.complete, self.settle
        alignment, plain, all_types = self.aligns.get, self.columns.plain, self.columns.types
        try:
            while stack:
                key = stack[-1]
                current = key >> 1
                answers = complete if key & 1 else mentionable
                if answers[current]:
                    stack.pop()
                    continue
                kind, start = kinds[current], starts[current]
                rows = None
                if kind in _COMPOSITES and key & 1:
                    rows = plain.get(current)
                    if rows is not None:
                        types = all_types[rows[0] : rows[1]]
                    else:
                        types = words[start + 4 : start + 3 + 3 * (words[start + 1] & VLEN_MASK) : 3].tolist()
                    aligned = list(map(alignment, types))
                    missing = [t << 1 | 1 for t in types[::-1] if not complete[t]] if None in aligned else None
                else:
                    missing = self._missing_parts(kind, start, key)
                if missing:
                    busy = self.completing if key & 1 else self.mentioning
                    if busy[current]:
                        raise self.error(current, "it contains itself, or is declared by itself")
                    busy[current] = 1
                    stack += missing
                    continue
                stack.pop()
                answers[current] = 1
                if key & 1:
                    if rows is not None and self._is_aligned(current, start, rows, types, aligned):
                        if words[start]:
                            self._write_plain(current, rows)
                        continue
                    settle(current, words, start, words[start + 1])
                    if kind in _COMPOSITES and current >= first and words[start]:
                        self._composite(current, start, kind)
                elif kind == TYPEDEF and current >= first:
                    self._typedef(current, start)
        except IndexError:
            raise BtfError(
                f"{describe_with_id(self.spec, current)} refers to an id that no type has",
                source=self.spec.name or "BTF",
            ) from None

    def _is_aligned(
        self, type_id: int, start: int, rows: tuple[int, int], types: list[int], aligned: list[int]
    ) -> bool:
        """Settle a struct or union if its members are where they are by nature; else it is not plain."""
        columns, aligns, total = self.columns, self.aligns, self.words[start + 2]
        align = max(aligned)
        if (
            8 * total % align
            or any(map(mod, columns.offsets[rows[0] : rows[1]], aligned))
            or (self.loose and not self.loose.keys().isdisjoint(types))
        ):
            del columns.plain[type_id]
            return False
        self.sizes[type_id], aligns[type_id] = total, align
        return True

    def shape(self, type_id: int) -> Shape:
        rows = self.columns.plain.get(type_id)
        if rows is None or type_id not in self.aligns:
            return super().shape(type_id)
        align = self.aligns[type_id]
        text = self.columns.text(type_id, rows)
        return Shape(align, align, False, text, self.columns.mentions.get(type_id, ()))

    def _missing_parts(self, kind: int, start: int, key: int) -> list[int]:
        """The questions that the answer to one depends on, the first one last; not for whether a struct is complete."""
        words, mentionable, complete = self.words, self.mentionable, self.complete
        if kind == PTR:
            target = words[start + 2]
            return [] if mentionable[target] else [target << 1]
        if kind == TYPEDEF:
            if not key & 1:
                target = words[start + 2]
                return [] if mentionable[target] else [target << 1]
            parts = [words[start + 2] << 1 | 1, key & ~1]
        elif kind == ARRAY:
            element = words[start + 3]
            return [] if complete[element] else [element << 1 | 1]
        elif kind in DECORATIONS:
            parts = [words[start + 2] << 1 | key & 1]
        elif kind == FUNC_PROTO:
            last = start + 2 + 2 * (words[start + 1] & VLEN_MASK)
            parts = [*(param << 1 for param in words[last : start + 3 : -2]), words[start + 2] << 1]
        elif kind in _COMPOSITES and not words[start]:
            parts = [key | 1]
        else:
            return []
        return [part for part in parts if not (complete if part & 1 else mentionable)[part >> 1]]

    # --- texts ----------------------------------------------------------------------------------

    def _forward(self) -> str:
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

    def _composite(self, type_id: int, start: int, kind: int) -> None:
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
            self.out.append(self._forward())
        self.out.append(text)

    def _write_plain(self, type_id: int, rows: tuple[int, int]) -> None:
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
            self.out.append(self._forward())
        self.out.append(text)

    def _typedef(self, type_id: int, start: int) -> None:
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
            self.out.append(self._forward())
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

    def _kfuncs(self) -> None:
        """Prototypes of the functions that programs may call."""
        words, starts = self.words, self.starts
        kfuncs = [func for func, texts in sorted(self.callable.items()) if "bpf_kfunc" in texts]
        if not kfuncs:
            return
        self.out.append(_KFUNC_HEAD)
        for func in kfuncs:
            start = starts[func]
            name = self.names[words[start]]
            if name in self.taken.ordinary:
                self.out.append(f"/* {name}: the name has another meaning here */\n")
                continue
            self.taken.ordinary[name] = 1
            proto = words[start + 2]
            self._walk([proto << 1])
            before, behind, _, inner, _ = self.declarator(proto)
            tags = self.tags_on(func)
            if tags and self.kinds[proto] == FUNC_PROTO:
                at = starts[proto]
                before, behind, *_ = self.function(words, at, words[at + 1] & VLEN_MASK, tags)
            ending = [*self.declared(tags.get(-1, ())), "__weak __ksym"]
            if "bpf_fastcall" in self.callable[func]:
                ending.insert(0, "__bpf_fastcall")
            text = self.expand(f"extern {before}{name}{behind}")
            self.inner += inner
            self.out.append(f"{self._forward()}{text} {' '.join(ending)};\n")
        self.out.append(_KFUNC_TAIL)


def _taken_by(spec: Spec) -> Taken:
    """The names that the header of a spec uses: found by writing it."""
    found: Taken | None = spec.derived.get(Taken)
    if found is None:
        header = _Header(spec)
        header.text()
        found = spec.derived[Taken] = header.taken
    return found
