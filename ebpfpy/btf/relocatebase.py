"""Split BTF on a distilled base -> split BTF on a kernel.

A module built outside the kernel's tree carries, in ``.BTF.base``, the names and sizes of the kernel types that it uses
(see `distill`), and its own types number from there. To be used, every one of those types must be found in the running
kernel; then the ids and string offsets of the module's types are rewritten. Worked example: a module's base is ::

    [1] INT 'int' size=4      [2] STRUCT 'file' size=184      [3] STRUCT 'mutex' size=32

and its own ``[4] PTR type_id=2``, ``[5] STRUCT 'mine' size=40 { lock: 3, f: 4 }``. On a kernel of 112,768 types that
has int as 21, struct file (192 bytes there) as 731 and struct mutex (32 bytes) as 240, the module's types become
``[112769] PTR type_id=731`` and ``[112770] STRUCT 'mine' { lock: 240, f: 112769 }``. That file has grown does not
matter: the module only points at it. Had mutex grown, nothing of `mine` would be right, so that is a misfit.

A size matters where a type is *embedded*: it is a member of a struct or union of the split, directly or through
arrays, typedefs, qualifiers and type tags, not through a pointer.

Two questions, two modes:

* *Is it right?* (the default). Kinds must agree, one definition must be meant, sizes must agree where they matter (also
  in variables, and in parameters and results passed by value).
* ``strict="kernel"``: *would this kernel take it?* The kernel and libbpf share one piece of code for this, which looks
  at less and stumbles over more. The differences that matter:

  - a struct or union is matched by name alone; a union, an int, an enum64 of that name serve as well. Only where
    several structs or unions of the base share the name must the size agree, embedded or not;
  - a second match is an error, even a forward declaration beside its definition;
  - whether a forward declaration is one of a union is read from the definition's flag, which there says "has
    bitfields";
  - it moves offsets and copies nothing: a string of the split that lies in the distilled base must be a type's name.

  One mistake is not followed: libbpf before 1.6, and kernels of that time, overlook what the last types of a split
  embed (fixed in "libbpf: Fix incorrect traversal end type ID when marking BTF_IS_EMBEDDED").

Source: Linux kernel commit 19e00c897d50 ("libbpf: Split BTF relocation", behaviour); the tests compare with libbpf.
"""

from __future__ import annotations

from array import array
from itertools import chain
from typing import NamedTuple

from ebpfpy.errors import BaseMismatchError, BtfError, InputError

from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, MODIFIERS, Kind, kind_name
from .records import id_words, make_blob, own_strings, record_end, string_words
from .spec import Spec, check_spec
from .text import KEYWORDS

MODES = (None, "kernel")

_BASE_KINDS = frozenset({Kind.INT, Kind.FLOAT, Kind.ENUM, Kind.STRUCT, Kind.UNION, Kind.FWD})
_COMPOSITES = frozenset({Kind.STRUCT, Kind.UNION})
_SIZED_BY_NAME = frozenset({Kind.INT, Kind.FLOAT, Kind.ENUM, Kind.ENUM64})
_FINDABLE = _SIZED_BY_NAME | _COMPOSITES | {Kind.FWD}


class Candidate(NamedTuple):
    """A type of the new base that has the name of a type of the distilled one.

    Attributes:
        type_id: its id in the new base.
        kind: in words, such as "struct" or "fwd union".
        size: in bytes; None where that kind has none.
    """

    type_id: int
    kind: str
    size: int | None

    def __str__(self) -> str:
        size = f" of {self.size} bytes" if self.size is not None else ""
        return f"[{self.type_id}] {self.kind}{size}"


class BaseProblem(NamedTuple):
    """A type of a distilled base for which the new base has nothing that fits.

    Attributes:
        type_id: its id in the distilled base.
        kind: in words, such as "struct" or "fwd union".
        name: its name.
        size: its size in bytes where the split was built; None for a forward declaration.
        reason: "missing", "kind", "size", "encoding", "declared only" or "ambiguous"; in the kernel's mode also
            "string", for a string (its text is `name`) that the kernel cannot move.
        candidates: what has that name in the new base.
        embedded_in: the members ("struct mine.lock"), variables and parameters that contain it, for which its size
            must agree.
    """

    type_id: int
    kind: str
    name: str
    size: int | None
    reason: str
    candidates: tuple[Candidate, ...] = ()
    embedded_in: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.reason == "string":
            return f"string {self.name!r} lies in the distilled base but is no type's name"
        size = f" ({self.size} bytes)" if self.size is not None else ""
        there = ", ".join(map(str, self.candidates[:3]))
        if len(self.candidates) > 3:
            there += f" and {len(self.candidates) - 3} more"
        what = {
            "missing": "there is no such type",
            "kind": f"it is another kind of type there: {there}",
            "size": f"its size differs there: {there}",
            "encoding": f"its sign or encoding differs there: {there}",
            "declared only": f"it is declared there, not defined: {there}",
            "ambiguous": f"several types answer to it: {there}",
        }[self.reason]
        text = f"{self.kind} {self.name}{size}: {what}"
        if self.embedded_in:
            more = f" and {len(self.embedded_in) - 1} more" if len(self.embedded_in) > 1 else ""
            text += f"; embedded in {self.embedded_in[0]}{more}"
        return text


class BaseMatch(NamedTuple):
    """How the types of a distilled base are found in another base.

    Attributes:
        ids: id in the distilled base -> id in the new base, for those that are found.
        problems: those that do not fit, by id.
        notes: what fits, yet is not the same: sizes that changed behind a pointer, types that are only declared.
    """

    ids: dict[int, int]
    problems: tuple[BaseProblem, ...]
    notes: tuple[str, ...]


class _Record(NamedTuple):
    """The head of a record that matching looks at."""

    type_id: int
    kind: int
    flag: bool
    size: int
    encoding: int  # of an int: its encoding, bit offset and bits as they stand

    @property
    def keyword(self) -> str:
        if self.kind == Kind.FWD:
            return "fwd union" if self.flag else "fwd struct"
        return KEYWORDS.get(Kind(self.kind), kind_name(self.kind)) if self.kind <= Kind.ENUM64 else kind_name(self.kind)

    @property
    def candidate(self) -> Candidate:
        sized = self.kind in _SIZED_BY_NAME or self.kind in _COMPOSITES
        return Candidate(self.type_id, self.keyword, self.size if sized else None)


def _record(spec: Spec, type_id: int) -> _Record:
    words, at, _ = record_end(spec, type_id)
    info = words[at + 1]
    kind = info >> KIND_SHIFT & KIND_MASK
    return _Record(type_id, kind, bool(info & KIND_FLAG), words[at + 2], words[at + 3] if kind == Kind.INT else 0)


# --- the public questions -------------------------------------------------------------------------


def is_distilled(spec: Spec) -> bool:
    """Whether a spec can be a distilled base: it stands alone and has only named types of kinds found by name.

    A struct, union or enum in it has no members or values; a spec without any types is none.
    """
    if spec.base is not None or not len(spec):
        return False
    for type_id in range(1, 1 + len(spec)):
        words, at = spec.locate(type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        if kind not in _BASE_KINDS or not words[at]:
            return False
        if kind not in (Kind.INT, Kind.FLOAT, Kind.FWD) and words[at + 1] & 0xFF_FFFF:
            return False
    return True


def match_base(split: Spec, new_base: Spec, *, strict: str | None = None) -> BaseMatch:
    """Look the types of a distilled base up in another base; the first half of `relocate_base`, without the verdict.

    Args:
        split: split BTF on a distilled base.
        new_base: the types of a kernel.
        strict: None or "kernel", see `relocate_base`.

    Raises:
        InputError, BtfError: as `relocate_base`, `BaseMismatchError` excepted.
    """
    check_spec(split)
    check_spec(new_base)
    distilled = _distilled_base(split, new_base, strict)
    embedded = _embedded(split, by_value=strict is None)
    names = {type_id: _name(distilled, type_id) for type_id in range(1, 1 + len(distilled))}
    there = _by_name(new_base, set(names.values()))
    if strict == "kernel":
        return _match_as_kernel(distilled, new_base, names, there, embedded)
    ids: dict[int, int] = {}
    problems: list[BaseProblem] = []
    notes: list[str] = []
    for type_id, name in names.items():
        wanted = _record(distilled, type_id)
        candidates = there.get(name, [])
        found, reason = _choose(wanted, candidates, embedded=type_id in embedded)
        if found is None:
            problems.append(_problem(wanted, name, reason, candidates, embedded))
            continue
        ids[type_id] = found.type_id
        if found.kind != wanted.kind and found.kind == Kind.FWD:
            notes.append(f"{wanted.keyword} {_text(name)}: it is declared there, not defined")
        elif wanted.kind in _COMPOSITES and found.size != wanted.size:
            notes.append(f"{wanted.keyword} {_text(name)}: {wanted.size} bytes became {found.size}, behind pointers")
    return BaseMatch(ids, tuple(problems), tuple(notes))


def relocate_base(split: Spec, new_base: Spec, *, strict: str | None = None) -> Spec:
    """Move split BTF from its distilled base to the types of a kernel.

    The own types keep their order; their ids follow the new base's. Their strings are kept.

    Args:
        split: split BTF on a distilled base: ``load_spec("module.ko")`` of a module with a section ``.BTF.base``,
            what `distill_base` returned, or ``load_split_spec("X.btf", load_spec("X.base.btf"))``. It is not changed.
        new_base: the types of a kernel, usually `load_kernel_spec`'s.
        strict: None to ask whether the result is right; "kernel" to get exactly what the kernel (6.12 and later) and
            libbpf would make of it, errors included.

    Returns:
        The split on `new_base`.

    Raises:
        BaseMismatchError: types of the distilled base have no match; it lists every one, with the reason.
        InputError: `split` has no base, or rests on `new_base` already; or the mode is unknown.
        BtfError: its base is no distilled base, or a record is malformed.
    """
    match = match_base(split, new_base, strict=strict)
    assert split.base is not None
    problems = list(match.problems)
    strings = _StringMap(split, split.base, new_base, match.ids, strict)
    words = array("I")
    shift = new_base.first_id + len(new_base) - split.first_id
    last = split.first_id + len(split) - 1
    for type_id in range(split.first_id, last + 1):
        where, at, end = record_end(split, type_id)
        record = array("I", where[at:end].tolist())
        for index in id_words(record, 0):
            old = record[index]
            if old > last:
                raise BtfError(f"type {type_id} refers to type {old}, which does not exist", source=_label(split))
            record[index] = old + shift if old >= split.first_id else match.ids.get(old, 0)
        for index in string_words(record, 0):
            record[index] = strings.moved(record[index])
        words.extend(record)
    problems += (BaseProblem(0, "string", text, None, "string") for text in strings.lost)
    if problems:
        raise BaseMismatchError(
            _summary(problems, split, new_base, strict), problems=tuple(problems), source=split.name or None
        )
    return Spec(make_blob(words, strings.own(), split.byte_order), new_base, name=split.name)


# --- what is looked for, and where ----------------------------------------------------------------


def _distilled_base(split: Spec, new_base: Spec, strict: str | None) -> Spec:
    """The base of `split`, after everything was checked that both modes rely on."""
    if strict not in MODES:
        raise InputError(f'strict is None or "kernel", not {strict!r}')
    base = split.base
    if base is None:
        raise InputError(f"{_label(split)} stands alone: only split BTF has a base to relocate")
    if base is new_base:
        raise InputError(f"{_label(split)} rests on {_label(new_base)} already")
    if strict == "kernel" and new_base.base is not None:
        raise InputError(f"{_label(new_base)} is split BTF: the kernel relocates to vmlinux only")
    if split.byte_order != new_base.byte_order:
        raise InputError(
            f"{_label(split)} is {split.byte_order}-endian, {_label(new_base)} {new_base.byte_order}-endian"
        )
    if base.base is not None:
        raise BtfError("the base is split BTF itself, so it is no distilled one", source=_label(base))
    for type_id in range(1, 1 + len(base)):
        words, at = base.locate(type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        if kind not in _BASE_KINDS:
            raise BtfError(
                f"no distilled base: type {type_id} is of kind {kind_name(kind)}, such a base has only INT, FLOAT,"
                " ENUM, STRUCT, UNION and FWD",
                source=_label(base),
            )
        if not words[at]:
            raise BtfError(f"no distilled base: type {type_id} is anonymous", source=_label(base))
    return base


def _embedded(split: Spec, *, by_value: bool) -> dict[int, list[str]]:
    """Which types of the base are embedded in types of the split -> in what. `by_value`: not in members alone."""
    found: dict[int, list[str]] = {}
    known: dict[int, int] = {0: 0}
    for type_id in range(split.first_id, split.first_id + len(split)):
        words, at, _ = record_end(split, type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        if kind in _COMPOSITES or (by_value and kind in (Kind.VAR, Kind.FUNC_PROTO)):
            for index in id_words(words, at):
                inner = _contained(split, words[index], known)
                if inner:
                    found.setdefault(inner, []).append(_place(split, words, at, type_id, index))
    return found


def _contained(split: Spec, type_id: int, known: dict[int, int]) -> int:
    """The struct or union of the base that a type contains, under arrays, typedefs and qualifiers; 0 if none.

    `known` holds the answers so far: many members have types at the end of one long chain.
    """
    passed: dict[int, None] = {}
    while type_id not in known:
        if type_id in passed:
            raise BtfError(f"type {type_id}: typedefs, qualifiers and arrays form a cycle", source=_label(split))
        passed[type_id] = None
        words, at, _ = record_end(split, type_id)
        kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
        if kind in MODIFIERS:
            type_id = words[at + 2]
        elif kind == Kind.ARRAY:
            type_id = words[at + 3]
        else:
            known[type_id] = type_id if kind in _COMPOSITES and type_id < split.first_id else 0
    known.update(dict.fromkeys(passed, known[type_id]))
    return known[type_id]


def _place(split: Spec, words: memoryview, at: int, type_id: int, index: int) -> str:
    """Where a contained type stands, for people: "struct mine.lock"."""
    kind = words[at + 1] >> KIND_SHIFT & KIND_MASK
    name = split.string(words[at])
    if kind == Kind.VAR:
        return f"variable {name}"
    if kind == Kind.FUNC_PROTO:
        what = "the result" if index == at + 2 else f"parameter {split.string(words[index - 1]) or '(anon)'}"
        return f"{what} of [{type_id}] func_proto"
    return f"{KEYWORDS[Kind(kind)]} {name or f'(anon) [{type_id}]'}.{split.string(words[index - 1]) or '(anon)'}"


def _name(spec: Spec, type_id: int) -> bytes:
    words, at = spec.locate(type_id)
    return spec.string_bytes(words[at])


def _by_name(spec: Spec, names: set[bytes]) -> dict[bytes, list[_Record]]:
    """Every type of `spec` and its bases that has one of the names and can be found by name, by id."""
    lower = _by_name(spec.base, names) if spec.base is not None else {}
    wanted = {offset: text for text, offset in spec.each_string() if offset and text in names}
    found: dict[bytes, list[_Record]] = {text: list(records) for text, records in lower.items()}
    len(spec)  # every record is found
    words = spec._words
    for type_id, at in enumerate(spec._starts, spec.first_id):
        offset = words[at]
        if offset in wanted and words[at + 1] >> KIND_SHIFT & KIND_MASK in _FINDABLE:
            found.setdefault(wanted[offset], []).append(_record(spec, type_id))
    return found


# --- is it right? ---------------------------------------------------------------------------------


def _choose(wanted: _Record, candidates: list[_Record], *, embedded: bool) -> tuple[_Record | None, str]:
    """The one candidate that is meant; else None and the reason."""
    if not candidates:
        return None, "missing"
    if wanted.kind in _SIZED_BY_NAME:
        return _choose_scalar(wanted, candidates)
    if wanted.kind == Kind.FWD:
        # the same declaration is right wherever it stands; without one, the definition must be the only one
        same = [each for each in candidates if each.kind == Kind.FWD and each.flag == wanted.flag]
        if same:
            return same[0], ""
        kind = Kind.UNION if wanted.flag else Kind.STRUCT
        return _only([each for each in candidates if each.kind == kind], "kind")
    definitions = [each for each in candidates if each.kind == wanted.kind]
    if definitions:
        exact = [each for each in definitions if each.size == wanted.size]
        if exact or embedded:
            return _only(exact, "size")
        return _only(definitions, "kind")
    declared = [each for each in candidates if each.kind == Kind.FWD and each.flag == (wanted.kind == Kind.UNION)]
    if declared and embedded:
        return None, "declared only"
    return (declared[0], "") if declared else (None, "kind")


def _choose_scalar(wanted: _Record, candidates: list[_Record]) -> tuple[_Record | None, str]:
    kinds = {wanted.kind, Kind.ENUM64} if wanted.kind == Kind.ENUM else {wanted.kind}
    same = [each for each in candidates if each.kind in kinds]
    if not same:
        return None, "kind"
    sized = [each for each in same if each.size == wanted.size]
    if not sized:
        return None, "size"
    if wanted.kind == Kind.ENUM:
        return _only(sized, "kind")
    # ints and floats that agree are the same type, however often it is there
    equal = [each for each in sized if each.encoding == wanted.encoding]
    return (equal[0], "") if equal else (None, "encoding")


def _only(found: list[_Record], otherwise: str) -> tuple[_Record | None, str]:
    if len(found) == 1:
        return found[0], ""
    return None, "ambiguous" if found else otherwise


# --- would the kernel take it? --------------------------------------------------------------------


def _match_as_kernel(
    distilled: Spec,
    new_base: Spec,
    names: dict[int, bytes],
    there: dict[bytes, list[_Record]],
    embedded: dict[int, list[str]],
) -> BaseMatch:
    """As the kernel does it: through the new base by id, each of its types against those that have its name."""
    by_name: dict[bytes, list[_Record]] = {}
    for type_id, name in names.items():
        by_name.setdefault(name, []).append(_record(distilled, type_id))
    matches: dict[int, list[_Record]] = {}
    for name, candidates in there.items():
        crowded = _crowded(new_base, candidates)
        for found in candidates:
            sized = found.kind in _SIZED_BY_NAME or found.type_id in crowded
            for wanted in by_name[name]:
                # that a type is embedded is forgotten with the first match: the mark is kept where the match goes
                marked = wanted.type_id in embedded and wanted.type_id not in matches
                if (not sized or found.size == wanted.size) and _kernel_accepts(wanted, found, embedded=marked):
                    matches.setdefault(wanted.type_id, []).append(found)
    problems = []
    for type_id, name in names.items():
        wanted, found_ones = _record(distilled, type_id), matches.get(type_id, [])
        if len(found_ones) == 1:
            continue
        candidates = found_ones or there.get(name, [])
        reason = "ambiguous" if found_ones else _choose(wanted, candidates, embedded=type_id in embedded)[1]
        # right by our measure and still refused: the kernel's quirks about sizes and flags
        reason = reason or ("kind" if wanted.kind == Kind.FWD else "size")
        problems.append(_problem(wanted, name, reason, candidates, embedded))
    ids = {type_id: found[-1].type_id for type_id, found in matches.items()}
    return BaseMatch(ids, tuple(problems), ())


def _crowded(new_base: Spec, candidates: list[_Record]) -> set[int]:
    """The structs and unions whose name, counted by its offset, occurs more than once among structs and unions."""
    offsets: dict[int, list[int]] = {}
    for each in candidates:
        if each.kind in _COMPOSITES:
            words, at = new_base.locate(each.type_id)
            offsets.setdefault(words[at], []).append(each.type_id)
    return set(chain.from_iterable(ids for ids in offsets.values() if len(ids) > 1))


def _kernel_accepts(wanted: _Record, found: _Record, *, embedded: bool) -> bool:
    """Whether the kernel takes `found` for `wanted`, once name (and size, where it asks) agree."""
    if wanted.kind == Kind.FWD:
        if found.kind == Kind.FWD:
            return found.flag == wanted.flag
        # the flag of a definition says that it has bitfields; the kernel reads it as "this is a union"
        return (found.kind == Kind.STRUCT and not found.flag) or (found.kind == Kind.UNION and found.flag)
    if wanted.kind == Kind.INT:
        return found.kind == Kind.INT and found.encoding >> 24 & 0xF == wanted.encoding >> 24 & 0xF
    if wanted.kind == Kind.FLOAT:
        return found.kind == Kind.FLOAT
    if wanted.kind == Kind.ENUM:
        return found.kind in (Kind.ENUM, Kind.ENUM64)
    return not embedded or found.size == wanted.size


# --- strings --------------------------------------------------------------------------------------


class _StringMap:
    """String offsets of a split on its distilled base -> on the new base.

    The split's own strings stay as they are, behind those of the new base. A string of the distilled base is the name
    of a type that was found, so the new base has it. If not (somebody else made that base), it joins the own strings;
    the kernel gives up there.
    """

    def __init__(self, split: Spec, distilled: Spec, new_base: Spec, ids: dict[int, int], strict: str | None) -> None:
        self._split = split
        self._own_from = distilled.strings_end
        self._shift = new_base.strings_end - distilled.strings_end
        self._strings = bytearray(own_strings(split)[0])
        self._strict = strict
        self._moved = {0: 0}
        self.lost: list[str] = []
        for old, new in ids.items():
            words, at = distilled.locate(old)
            there, start = new_base.locate(new)
            self._moved[words[at]] = there[start]
        self._new_end = new_base.strings_end

    def moved(self, offset: int) -> int:
        if offset >= self._own_from:
            if self._strict is None:
                self._split.string_bytes(offset)  # out of range, or not the start of a string
            return offset + self._shift
        new = self._moved.get(offset)
        if new is None:
            text = self._split.string_bytes(offset)
            if self._strict is not None:
                self.lost.append(_text(text))
            new = self._moved[offset] = self._new_end + len(self._strings)
            self._strings += text + b"\0"
        return new

    def own(self) -> bytes:
        return bytes(self._strings)


# --- words ----------------------------------------------------------------------------------------


def _problem(
    wanted: _Record, name: bytes, reason: str, candidates: list[_Record], embedded: dict[int, list[str]]
) -> BaseProblem:
    if reason == "ambiguous":  # those that could be meant
        alike = [each for each in candidates if each.kind == wanted.kind] or candidates
        candidates = [each for each in alike if each.size == wanted.size] or alike
    return BaseProblem(
        wanted.type_id,
        wanted.keyword,
        _text(name),
        wanted.candidate.size,
        reason,
        tuple(each.candidate for each in candidates),
        tuple(embedded.get(wanted.type_id, ())),
    )


def _summary(problems: list[BaseProblem], split: Spec, new_base: Spec, strict: str | None) -> str:
    assert split.base is not None
    first = "; ".join(map(str, problems[:3]))
    more = f"; {len(problems) - 3} more in .problems" if len(problems) > 3 else ""
    judge = "the kernel would refuse it on" if strict == "kernel" else "its distilled base does not fit"
    return f"{judge} {_label(new_base)}: {len(problems)} of {len(split.base)} types: {first}{more}"


def _text(name: bytes) -> str:
    return name.decode("utf-8", "backslashreplace")


def _label(spec: Spec) -> str:
    return spec.name or "BTF"
