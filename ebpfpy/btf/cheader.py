"""All types of a spec as one C header that compiles.

**Order.** C wants a type declared before it is mentioned, and defined before it is contained. Two questions can be
asked of a type, and each is answered once, depth first, before the text that depends on it:

* *complete*: may a variable of it stand here? A struct is complete when its members are, and it was written.
* *mention*: may a pointer to it stand here? A struct, union or enum with a tag always may. A typedef must have been
  written. The elements of an array must be complete even behind a pointer, as the members of a struct without a tag.

That needs no forward declarations but one: a tag that first appears in a parameter list is forgotten at its end, so it
is declared before. Enums depend on nothing and come first. What goes round in circles by value has no size: an error.

**Names.** Tags and typedefs get theirs by ascending id before anything is written, enumerators when they are written.
The header of a split spec continues that of its base, whose names are taken.

Works on the raw words: a vmlinux of 126,000 types is half a second's work.
"""

from __future__ import annotations

import re
import sys
from array import array
from operator import itemgetter
from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError, InputError

from .cdecl import (
    MARK,
    PLAIN,
    POINTER,
    Words,
    Writer,
    enum_values,
    integer_name,
    is_c_integer,
)
from .cnames import KEYWORDS_C23, Identifiers, Scope, identifier
from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, VLEN_MASK, Kind
from .text import describe_with_id

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .spec import Spec

_ENTERED, _DONE = 1, 2
_INT, _PTR, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD = (int(kind) for kind in list(Kind)[1:8])
_TYPEDEF, _CONST, _PROTO, _FUNC, _DECL_TAG, _ENUM64 = (
    int(kind) for kind in (Kind.TYPEDEF, Kind.CONST, Kind.FUNC_PROTO, Kind.FUNC, Kind.DECL_TAG, Kind.ENUM64)
)
_COMPOSITES = frozenset((_STRUCT, _UNION))
_KEYWORDS = {_STRUCT: "struct", _UNION: "union", _ENUM: "enum"}
_DECORATIONS = frozenset(int(k) for k in (Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG))
_CLEAR_TOP_BIT = bytes(byte & 0x7F for byte in range(256))
_WHOLE = 0xFFFF_FFFF
"""The component index of a declaration tag that is on the function itself."""
_VA_LIST = "__builtin_va_list"
"""A typedef that compilers know; in BTF it looks like one of the kernel's. As it has another size for BPF, members are
written as what it stands for."""

_HEAD = """\
#ifndef {guard}
#define {guard}
{include}
#if defined(__clang__) && defined(__bpf__) && !defined(BPF_NO_PRESERVE_ACCESS_INDEX)
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
#endif

"""
_TAIL = """\
#if defined(__clang__) && defined(__bpf__) && !defined(BPF_NO_PRESERVE_ACCESS_INDEX)
#pragma clang attribute pop
#endif

#endif /* {guard} */
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
    yield _HEAD.format(guard=guard, include=line)
    yield from _Header(spec).texts()
    yield _TAIL.format(guard=guard)


class _Taken:
    """The names that the header of a spec has used; in `Spec.derived`, for the headers of its splits."""

    def __init__(self) -> None:
        self.tags = Scope()
        self.kinds: dict[str, int] = {}
        self.ordinary = Scope({_VA_LIST: 1})
        self.typedefs: set[str] = {_VA_LIST}
        self.renamed: dict[int, str] = {}
        self.scalars: dict[tuple[str, int, int], str] = {}
        self.contained: dict[int, int] = {}

    def copy(self) -> _Taken:
        made = _Taken()
        made.tags, made.kinds, made.ordinary = Scope(self.tags), dict(self.kinds), Scope(self.ordinary)
        made.typedefs, made.renamed, made.scalars = set(self.typedefs), dict(self.renamed), dict(self.scalars)
        made.contained = dict(self.contained)
        return made


class _Header(Writer):
    """Writes one header."""

    open_ends = False

    def __init__(self, spec: Spec) -> None:
        names = Identifiers(spec)
        names.fill()
        words, starts = _all_records(spec)
        self.words, self.starts = words, starts
        super().__init__(spec, names, self._locate)
        self.state = bytearray(2 * len(starts))
        self.state[0] = self.state[1] = _DONE
        self.taken = _taken_by(spec.base).copy() if spec.base is not None else _Taken()
        self.renamed, self.contained = self.taken.renamed, self.taken.contained
        self.declared = {
            f"{_KEYWORDS[kind]} {name}" for name, kind in self.taken.kinds.items() if name in self.taken.tags
        }
        self.inlined: set[int] = set()
        self.aliases: list[str] = []
        top = words.tobytes()[7 if sys.byteorder == "little" else 4 :: 4]  # of each record's second word
        self.kinds = bytes(itemgetter(*starts, 0)(top)[:-1]).translate(_CLEAR_TOP_BIT)

    def _locate(self, type_id: int) -> tuple[Words, int]:
        try:
            return self.words, self.starts[type_id]
        except IndexError:
            raise self._missing(type_id) from None

    def _missing(self, type_id: int) -> BtfError:
        return BtfError(f"a type refers to id {type_id}, which no type has", source=self.spec.name or "BTF")

    def texts(self) -> Iterator[str]:
        """The declarations, in order."""
        composites, typedefs, enums, forwards, tags = self._sorted()
        self._name(sorted(composites + typedefs + enums), forwards)
        yield from self._enums(enums)
        self._prepare(composites, typedefs)
        roots = [type_id << 2 for type_id in typedefs]
        roots += [type_id << 2 | 2 for type_id in composites if self.words[self.starts[type_id]]]
        roots.sort(reverse=True)
        yield from self._walk(roots)
        yield from self._constants(enums)
        yield from self._kfuncs(tags)

    def _prepare(self, composites: list[int], typedefs: list[int]) -> None:
        """The declarators of most types at once, which is a few times faster than one by one."""
        words, starts, names, renamed, known = self.words, self.starts, self.names, self.renamed, self.declarators
        for type_id in typedefs:
            known[type_id] = (f"{renamed.get(type_id) or names[words[starts[type_id]]]} ", "", PLAIN, (), "")
        for type_id in composites:
            start = starts[type_id]
            if words[start]:
                keyword = "struct" if self.kinds[type_id] == _STRUCT else "union"
                tag = f"{keyword} {renamed.get(type_id) or names[words[start]]}"
                known[type_id] = (f"{tag} ", "", PLAIN, (), tag)
        for type_id in self._of_kind(_CONST):
            inner = known.get(words[starts[type_id] + 2])
            if inner is not None and not inner[2]:
                before, _, _, mentioned, tag = inner
                if not before.startswith("const "):
                    known[type_id] = (f"const {before}", "", PLAIN, mentioned, tag)
        pointers = self._of_kind(_PTR)
        self.sizes.update(dict.fromkeys(pointers, self.pointer_size))
        self.aligns.update(dict.fromkeys(pointers, self.pointer_size))
        functions: list[tuple[int, int]] = []
        fields, bits, kinds = self.fields, 8 * self.pointer_size, self.kinds
        for type_id in pointers:
            target = words[starts[type_id] + 2]
            inner = known.get(target)
            if inner is None:
                if target < len(kinds) and kinds[target] == _PROTO:
                    functions.append((type_id, target))
            elif not inner[2]:
                before, _, _, mentioned, tag = inner
                before += "*"
                known[type_id] = (before, "", POINTER, mentioned, tag)
                fields[type_id] = (before, "", bits, bits, tag, mentioned)
        for type_id, proto in functions:
            start = starts[proto]
            count = words[start + 1] & VLEN_MASK
            if words[start + 2] in known and all(map(known.__contains__, words[start + 4 : start + 3 + 2 * count : 2])):
                before, behind, _, mentioned, tag = self.function(words, start, count)
                known[type_id] = (f"{before}(*", f"){behind}", POINTER, mentioned, tag)

    def _of_kind(self, *wanted: int) -> list[int]:
        """The own types of some kinds, by id."""
        pattern = re.compile(b"[" + bytes(wanted) + b"]")
        return [match.start() for match in pattern.finditer(self.kinds, self.first_id)]

    def _sorted(self) -> tuple[list[int], ...]:
        """The ids of own structs and unions, typedefs, enums, forward declarations, declaration tags."""
        groups = ((_STRUCT, _UNION), (_TYPEDEF,), (_ENUM, _ENUM64), (_FWD,), (_DECL_TAG,))
        return tuple(self._of_kind(*group) for group in groups)

    # --- names ----------------------------------------------------------------------------------

    def _name(self, own: Iterable[int], undefined: list[int]) -> None:
        """Give names to all that have a tag, and to typedefs."""
        words, starts, names, kinds = self.words, self.starts, self.names, self.kinds
        taken, renamed = self.taken, self.renamed
        tags, tag_kinds, ordinary, typedefs = taken.tags, taken.kinds, taken.ordinary, taken.typedefs
        for type_id in own:
            kind = kinds[type_id]
            if kind == _TYPEDEF:
                name = names[words[starts[type_id]]]
                if name != _VA_LIST:
                    made = ordinary.claim(name or "unnamed")
                    typedefs.add(made)
                    if made != name:
                        renamed[type_id] = made
                elif words[starts[type_id] + 2]:
                    self.contained[type_id] = words[starts[type_id] + 2]
            elif kind in (_STRUCT, _UNION, _ENUM, _ENUM64):
                start = starts[type_id]
                if not words[start]:
                    continue
                if kind in (_ENUM, _ENUM64):
                    kind = _ENUM
                    if not words[start + 1] & VLEN_MASK:
                        undefined.append(type_id)
                        continue
                name = names[words[start]]
                if name not in tags and tag_kinds.get(name, kind) != kind:
                    tags[name] = 1  # taken by a declaration of another kind, in the base
                made = tags.claim(name)
                tag_kinds[made] = kind
                if made != name:
                    renamed[type_id] = made
        for type_id in undefined:
            start = starts[type_id]
            kind = _ENUM if kinds[type_id] != _FWD else _UNION if words[start + 1] & KIND_FLAG else _STRUCT
            name = names[words[start]]
            made, number = name, 1
            while tag_kinds.setdefault(made, kind) != kind:
                number += 1
                made = f"{name}___{number}"
            if made != name:
                tags.setdefault(made, 1)
                renamed[type_id] = made

    def enumerators(self, names: list[str]) -> list[str]:
        ordinary = self.taken.ordinary
        made = []
        for name in names:
            if name and name not in ordinary:
                ordinary[name] = 1
                made.append(name)
            else:
                made.append(ordinary.claim(name or "unnamed"))
        return made

    def parameter(self, name: str) -> str:
        return "" if name in self.taken.typedefs else name

    def body(self, type_id: int, tabs: int, name: str) -> str:
        if not name:
            self.inlined.add(type_id)
        return super().body(type_id, tabs, name)

    def scalar(self, words: Words, at: int) -> str:
        """C's own numbers as they are; others become typedefs of what has their size."""
        name = self.spec.string(words[at])
        size = words[at + 2]
        integer = words[at + 1] >> KIND_SHIFT & KIND_MASK == _INT
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

    def _walk(self, stack: list[int]) -> Iterator[str]:
        """Write all that is missing to mention, or to contain, types.

        A question is a number: type id << 2, + 2 for "complete" instead of "mention", + 1 once its parts are answered.
        """
        state, words, starts, kinds = self.state, self.words, self.starts, self.kinds
        first, settle, push, pop = self.first_id, self.settle, stack.append, stack.pop
        try:
            while stack:
                key = pop()
                slot = key >> 1
                current = key >> 2
                if key & 1:
                    state[slot] = _DONE
                    kind, start = kinds[current], starts[current]
                    if key & 2:
                        if kind != _PTR or current < first:
                            settle(current, words, start, words[start + 1])
                        if kind in _COMPOSITES and current >= first and words[start]:
                            yield self._composite(current, start, kind)
                    elif kind == _TYPEDEF and current >= first:
                        yield self._typedef(current, start)
                    continue
                if state[slot]:
                    if state[slot] == _ENTERED:
                        raise self.error(current, "it contains itself, or is declared by itself")
                    continue
                kind, start = kinds[current], starts[current]
                if kind in _COMPOSITES:
                    if key & 2:
                        state[slot] = _ENTERED
                        push(key | 1)
                        last = start + 1 + 3 * (words[start + 1] & VLEN_MASK)
                        stack += [
                            each << 2 | 2 for each in words[last : start + 3 : -3] if state[each << 1 | 1] != _DONE
                        ]
                    elif words[start]:
                        state[slot] = _DONE
                    else:
                        state[slot] = _ENTERED
                        push(key | 1)
                        push(key | 2)
                    continue
                if kind == _PTR:
                    target = words[start + 2]
                    below = kinds[target]
                    if state[target << 1] == _DONE or (below in _COMPOSITES and words[starts[target]]):
                        state[slot] = _DONE
                        if key & 2 and current < first:
                            settle(current, words, start, words[start + 1])
                        continue
                    state[slot] = _ENTERED
                    push(key | 1)
                    push(target << 2)
                    continue
                state[slot] = _ENTERED
                push(key | 1)
                stack += self._parts(kind, start, key)
        except IndexError:
            raise BtfError(
                f"{describe_with_id(self.spec, current)} refers to an id that no type has",
                source=self.spec.name or "BTF",
            ) from None

    def _parts(self, kind: int, start: int, key: int) -> list[int]:
        """The questions that the answer to one depends on, the first one last; for what is no struct and no pointer."""
        words = self.words
        if kind in _DECORATIONS:
            return [words[start + 2] << 2 | key & 2]
        if kind == _TYPEDEF:
            return [words[start + 2] << 2 | 2, key & ~3] if key & 2 else [words[start + 2] << 2]
        if kind == _ARRAY:
            return [words[start + 3] << 2 | 2]
        if kind == _PROTO:
            last = start + 2 + 2 * (words[start + 1] & VLEN_MASK)
            return [*(param << 2 for param in words[last : start + 3 : -2]), words[start + 2] << 2]
        return []

    # --- texts ----------------------------------------------------------------------------------

    def _forward(self) -> str:
        """Declarations of tags that the text just written mentions in parameter lists only."""
        aliases = "".join(self.aliases)
        self.aliases.clear()
        needed = [tag for tag in dict.fromkeys(self.inner) if tag not in self.declared]
        self.declared.update(needed, self.outer)
        self.inner.clear()
        self.outer.clear()
        return aliases + "".join(f"{tag};\n\n" for tag in needed)

    def _guarded(self, text: str, names: Iterable[str]) -> str:
        """The text; where it gives names that C23 has itself, with the same meaning, not for C23."""
        return _UNTIL_C23.format(text=text[:-1]) if KEYWORDS_C23.issuperset(names) else text

    def _composite(self, type_id: int, start: int, kind: int) -> str:
        name = self.renamed.get(type_id) or self.names[self.words[start]]
        tag = f"union {name}" if kind == _UNION else f"struct {name}"
        shape = self.shapes.pop(type_id)  # thousands that nobody asks for again
        self.declared.add(tag)
        if shape.inner:
            self.inner += shape.inner
        if shape.outer:
            self.outer += shape.outer
        end = "} __attribute__((packed));\n\n" if shape.packed else "};\n\n"
        if not shape.lines:
            return f"{tag} {{{end}"
        members = "\n\t".join(shape.lines)
        text = f"{tag} {{\n\t{members}\n{end}"
        if MARK in text:
            text = self.expand(text)
        self.budget -= len(text)
        if self.budget < 0:
            self._spend(0)
        if self.inner or self.aliases:
            return f"{self._forward()}{text}"
        if self.outer:
            self.declared.update(self.outer)
            self.outer.clear()
        return text

    def _typedef(self, type_id: int, start: int) -> str:
        words = self.words
        name = self.renamed.get(type_id) or self.names[words[start]]
        target = words[start + 2]
        if name == _VA_LIST:
            return ""
        if name == "__gnuc_va_list" and not target:
            return f"typedef {_VA_LIST} {name};\n\n"
        before, behind, _, inner, tag = self.declarators.get(target) or self.declarator(target)
        text = f"typedef {before}{name}{behind};\n\n"
        if MARK in text:
            text = self.expand(text)
        self._spend(len(text))
        if inner:
            self.inner += inner
        if self.inner or self.aliases:
            text = f"{self._forward()}{text}"
        if tag:
            self.declared.add(tag)
        return self._guarded(text, (name,)) if name in KEYWORDS_C23 else text

    def _enums(self, ids: Iterable[int]) -> Iterator[str]:
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
            yield f"{self.body(type_id, 0, name)};\n\n"

    def _constants(self, ids: Iterable[int]) -> Iterator[str]:
        """The enums without a name that no type uses: they are there for their enumerators."""
        words, starts, kinds = self.words, self.starts, self.kinds
        for type_id in ids:
            start = starts[type_id]
            if words[start] or type_id in self.inlined:
                continue
            info = words[start + 1]
            if info & VLEN_MASK:
                names = [self.names[at] for at, _ in enum_values(words, start, info, kinds[type_id], words[start + 2])]
                yield self._guarded(f"{self.body(type_id, 0, '')};\n\n", names)

    def _kfuncs(self, ids: Iterable[int]) -> Iterator[str]:
        """Prototypes of the functions that programs may call."""
        words, starts, kinds = self.words, self.starts, self.kinds
        tags: dict[int, set[str]] = {}
        for type_id in ids:
            start = starts[type_id]
            if words[start + 3] == _WHOLE:
                target = words[start + 2]
                if target < len(starts) and kinds[target] == _FUNC:
                    tags.setdefault(target, set()).add(self.spec.string(words[start]))
        kfuncs = [func for func, texts in sorted(tags.items()) if "bpf_kfunc" in texts]
        if not kfuncs:
            return
        yield _KFUNC_HEAD
        for func in kfuncs:
            start = starts[func]
            name = self.names[words[start]]
            if name in self.taken.ordinary:
                yield f"/* {name}: the name has another meaning here */\n"
                continue
            self.taken.ordinary[name] = 1
            yield from self._walk([words[start + 2] << 2])
            before, behind, _, inner, _ = self.declarator(words[start + 2])
            fast = "__bpf_fastcall " if "bpf_fastcall" in tags[func] else ""
            text = self.expand(f"extern {before}{name}{behind}")
            self.inner += inner
            yield f"{self._forward()}{text} {fast}__weak __ksym;\n"
        yield _KFUNC_TAIL


def _taken_by(spec: Spec) -> _Taken:
    """The names that the header of a spec uses: found by writing it."""
    found: _Taken | None = spec.derived.get(_Taken)
    if found is None:
        header = _Header(spec)
        for _ in header.texts():
            pass
        found = spec.derived[_Taken] = header.taken
    return found


def _all_records(spec: Spec) -> tuple[array[int], array[int]]:
    """The words of a spec and all its bases, and where the record of each type id starts in them."""
    specs = [spec]
    while specs[-1].base is not None:
        specs.append(specs[-1].base)
    words, starts = array("I"), array("I", (0,))
    for each in reversed(specs):
        len(each)  # finds all records, or the fault among them
        before = len(words)
        words.frombytes(each._words.cast("B"))
        starts.extend([before + start for start in each._starts] if before else each._starts)
    starts[0] = len(words)  # void
    words.extend((0, 0, 0))
    return words, starts
