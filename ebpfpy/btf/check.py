"""Does the split BTF of a module fit the BTF of a kernel?

Split BTF refers to its base by number: type 731, the string at byte 40,912. On the base of another build the numbers
lead elsewhere, and often nobody notices: each still leads *somewhere*. Of the 4,230 modules of Debian's kernel
6.12.115, libbpf 1.5 reads 344 without complaint on the base of 6.12.117, and Debian 12's bpftool (libbpf 1.1) reads
them all: ``struct hid_device_id`` is then printed as ``struct r_1``.

What gives a wrong base away, strongest first:

* **Strings.** A base whose strings take more or fewer bytes moves every string of the module itself, so its names start
  in the middle of others. Writers of BTF never do that. One misplaced name is proof.
* **The end of the base's strings.** The module's own strings are all used, and each starts where the base's end plus
  its place says. There is at most one end for which that is so: what the base *should* have had. It explains a misfit
  and is no proof by itself: where nothing else is wrong (the base holds the right one, and the module's own types as
  well), the verdict is "cannot tell".
* **Ids** beyond the last type.
* **Kinds.** Every id of the module's own types moves with the number of the base's types, so FUNC refers to something
  else than a FUNC_PROTO, an array counts with something else than an integer, a member is a function.
* **Layouts.** Members take their sizes from the base: they overlap, or end behind their struct.

A wrong base must survive all of that for every type of the module to be taken for the right one. What survives is a
base that is the same for everything the module says, or a module that says nothing: the verdict is then "cannot tell".

Names that are no C identifiers are counted too, but prove nothing: a name is whatever the compiler wrote.

A module with a distilled base (``.BTF.base``) has no numbers of a kernel in it. There the question is whether each of
its types is found in the kernel (see `relocatebase`), and the answer names those that are not.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal

import attrs

from ebpfpy.errors import BtfError, InputError

from .kinds import KIND_FLAG, KIND_MASK, KIND_SHIFT, MODIFIERS, RECORD_WORDS, VLEN_MASK, Kind, kind_name
from .matchbase import check_mode, is_distilled, match_base
from .records import id_words, own_strings, string_words
from .source import find_btf
from .spec import Spec, spec_list
from .standsalone import refuse_alone
from .text import KEYWORDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .baseproblem import BaseProblem
    from .source import Source

Verdict = Literal["fits", "does not fit", "cannot tell"]

EXAMPLES = 10
"""How many findings of each sort a report spells out; it counts all."""

_NOT_A_TYPE = frozenset({Kind.FUNC, Kind.VAR, Kind.DATASEC, Kind.DECL_TAG})
"""Nothing but a declaration tag, a data section refers to these."""
_NOT_AN_OBJECT = _NOT_A_TYPE | {Kind.VOID, Kind.FUNC_PROTO, Kind.FWD}
"""Nothing of these can be a member, an element, a variable."""
_TAGGABLE = frozenset({Kind.STRUCT, Kind.UNION, Kind.FUNC, Kind.VAR, Kind.TYPEDEF})
_WORD_SIZED = frozenset({Kind.INT, Kind.ENUM, Kind.ENUM64})
HAVE_SIZE = frozenset({Kind.INT, Kind.FLOAT, Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.DATASEC})
"""Kinds whose third word is the size of the type in bytes."""
_FREE_TEXT = frozenset({Kind.INT, Kind.FLOAT, Kind.DATASEC, Kind.DECL_TAG, Kind.TYPE_TAG})
"""Kinds whose name is no identifier: "long unsigned int", ".data..percpu", "bpf_kfunc"."""
_IDENTIFIER = re.compile(rb"[A-Za-z_$][A-Za-z0-9_$]*(\.[A-Za-z0-9_$.]+)?")
"""Of C, and what gcc makes of functions: ``foo.isra.0``."""
_LONGEST_CHAIN = 200


@attrs.frozen
class SplitReport:
    """What `check_split` found.

    Attributes:
        name: of the module.
        base: the name of the base that it was checked against.
        verdict: "fits", "does not fit" or "cannot tell".
        distilled: the module has a distilled base of its own, so that its types are looked up by name.
        types: how many types the module has.
        base_references: how many ids and string offsets of the module lead into the base, or depend on its length.
        bad_strings: string offsets that are not the start of a string, or lie beyond the last.
        bad_ids: type ids beyond the last type.
        bad_kinds: references to a type of a kind that cannot stand there.
        bad_layouts: members that overlap or do not fit into their struct; variables of another size than their type.
        odd_names: names that are no C identifiers; they do not count for the verdict.
        examples: the first findings of each sort, as text.
        problems: types of the distilled base that do not fit.
        notes: what fits, yet is not the same; of distilled bases only.
        base_strings: bytes of strings that the base has.
        expected_strings: bytes of strings that the module's base had when it was built; None if that cannot be told.
    """

    name: str
    base: str
    verdict: Verdict
    distilled: bool
    types: int
    base_references: int
    bad_strings: int = 0
    bad_ids: int = 0
    bad_kinds: int = 0
    bad_layouts: int = 0
    odd_names: int = 0
    examples: tuple[str, ...] = ()
    problems: tuple[BaseProblem, ...] = ()
    notes: tuple[str, ...] = ()
    base_strings: int = 0
    expected_strings: int | None = None

    @property
    def fits(self) -> bool:
        """Whether the verdict is "fits"."""
        return self.verdict == "fits"

    @property
    def faults(self) -> int:
        """All that speaks against the base, added up."""
        return self.bad_strings + self.bad_ids + self.bad_kinds + self.bad_layouts + len(self.problems)

    def reasons(self) -> list[str]:
        """Why the verdict is what it is, a few lines for people; empty where the module fits."""
        counted = (
            (self.bad_strings, "string offset{s} not at the start of a string"),
            (self.bad_ids, "type id{s} beyond the last type"),
            (self.bad_kinds, "reference{s} to a kind of type that cannot stand there"),
            (self.bad_layouts, "layout{s} that cannot be"),
            (len(self.problems), "type{s} of its distilled base without a match"),
        )
        lines = [f"{count} {text.format(s='' if count == 1 else 's')}" for count, text in counted if count]
        if self.distilled and self.faults > len(self.problems):
            lines.insert(0, "it does not even fit its own distilled base")
        if self.expected_strings is not None and self.expected_strings != self.base_strings:
            lines.append(
                f"it was built on a base with {self.expected_strings} bytes of strings,"
                f" this one has {self.base_strings}"
            )
        if self.verdict == "cannot tell":
            if not self.types:
                lines.append("the module has no types")
            elif not self.base_references:
                lines.append("nothing in the module depends on its base")
            else:
                lines.append(
                    "yet nothing is wrong with its ids and names here: this base may hold the right one, and more"
                )
        return lines

    def __str__(self) -> str:
        reasons = self.reasons()
        return f"{self.name}: {self.verdict} {self.base}" + (f": {'; '.join(reasons)}" if reasons else "")

    def as_dict(self) -> dict[str, Any]:
        """The report as plain values, as ``ebpfpy btf check --json`` prints it."""
        plain = attrs.asdict(self, recurse=False)
        plain["examples"], plain["notes"] = list(self.examples), list(self.notes)
        plain["problems"] = [
            {
                **problem._asdict(),
                "candidates": [candidate._asdict() for candidate in problem.candidates],
                "embedded_in": list(problem.embedded_in),
                "text": str(problem),
            }
            for problem in self.problems
        ]
        return plain | {"reasons": self.reasons()}


def check_split(
    split: Spec | Source, base: Spec, *, distilled: Spec | None = None, strict: str | None = None
) -> SplitReport:
    """Find out whether the types of a module fit the types of a kernel.

    Nothing of the module needs to make sense on that base: what does not is counted and reported, not raised.

    Args:
        split: the module: its .ko file, also compressed, or its split BTF, as a path, bytes or binary file; or a
            `Spec`. A `Spec` on a distilled base is checked by name, any other is read anew on `base`.
        base: the types of the kernel.
        distilled: the distilled base that `split` rests on, where that is a file of its own.
        strict: for distilled bases, as in `relocate_base`: "kernel" asks what the kernel would say.

    Raises:
        BtfError, ElfError: the module is malformed, whatever its base: cut short, or of a kind of type that is unknown.
        InputError: it stands alone, so that it is no split BTF; or the mode is unknown.
        NotFoundError: an ELF file without BTF.
        OSError: the file cannot be read.
    """
    check_mode(strict)
    spec = open_split(split, base, distilled)
    if spec.base is not base:
        return _check_distilled(_inspect(spec), spec, base, strict)
    return _inspect(spec)


def rank_bases(
    split: Spec | Source, bases: Iterable[Spec], *, distilled: Spec | None = None, strict: str | None = None
) -> list[SplitReport]:
    """`check_split` against several kernels, the best one first: those that fit, then by the number of faults.

    Raises:
        EbpfError, OSError: as `check_split`.
    """
    check_mode(strict)
    bases = spec_list(bases)
    if bases:
        split = open_split(split, bases[0], distilled)  # what is read once need not be read again
    reports = [check_split(split, base, distilled=distilled, strict=strict) for base in bases]
    order = {"fits": 0, "cannot tell": 1, "does not fit": 2}
    return sorted(reports, key=lambda report: (order[report.verdict], report.faults))


def open_split(split: Spec | Source, base: Spec, distilled: Spec | None = None) -> Spec:
    """A module as a spec: on its distilled base if it has one, else on `base`, whether it fits that or not.

    Args:
        split: as for `check_split`.
        base: the types of a kernel.
        distilled: the distilled base, where that is a file of its own.

    Raises:
        EbpfError, OSError: as `check_split`.
    """
    if isinstance(split, Spec):
        if split.base is None:
            raise InputError(f"{split.name or 'BTF'} stands alone: it is no split BTF")
        refuse_alone(split)
        if split.base is base or is_distilled(split.base):
            return split
        return Spec(split.raw, distilled or base, name=split.name)
    found = find_btf(split)
    if distilled is not None:
        return Spec(found.blob, distilled, name=found.name)
    try:
        alone = found.spec()
    except BtfError:
        return found.spec(base)  # raw BTF that does not stand alone
    if alone.base is not None:
        return alone
    continued = found.spec(base)  # its strings may start with an empty one all the same
    refuse_alone(continued)
    return continued


def looks_misplaced(split: Spec) -> bool:
    """Whether `check_split` should be asked about a split and its base: a glance that costs next to nothing.

    The first and the last of a split's own strings are used, as all are. On a base whose strings end elsewhere, one of
    the two is not: the one that would have to lie outside. A split without own strings cannot be judged like that.
    """
    strings, first = own_strings(split)
    if not strings:
        return bool(len(split))
    words, _ = split.locate(split.first_id) if len(split) else (memoryview(b"").cast("I"), 0)
    last = first + strings.rfind(b"\0", 0, -1) + 1
    return not {first, last}.issubset(words)


def _check_distilled(own: SplitReport, spec: Spec, base: Spec, strict: str | None) -> SplitReport:
    """The report about a split that was found to fit its distilled base, or not to."""
    report = attrs.evolve(
        own, base=base.name or "BTF", distilled=True, base_strings=base.strings_end, expected_strings=None
    )
    if own.faults:
        return report
    match = match_base(spec, base, strict=strict)
    verdict: Verdict = "does not fit" if match.problems else "fits" if own.base_references else own.verdict
    return attrs.evolve(report, verdict=verdict, problems=match.problems, notes=match.notes)


class _Facts:
    """Kind and size of the types of a base, by id, remembered: thousands of modules ask for the same few hundred."""

    def __init__(self, spec: Spec) -> None:
        self._spec = spec
        self._known: dict[int, tuple[int, int, int | None]] = {0: (Kind.VOID, 0, None)}

    def of(self, type_id: int) -> tuple[int, int, int | None]:
        """(kind, kind under typedefs and qualifiers, size in bytes or None)."""
        found = self._known.get(type_id)
        if found is None:
            found = self._known[type_id] = self._look(type_id)
        return found

    def _look(self, type_id: int) -> tuple[int, int, int | None]:
        kind, count, under = -1, 1, -1
        for _ in range(_LONGEST_CHAIN):
            if type_id == 0:
                return (kind if kind >= 0 else Kind.VOID), under if under >= 0 else Kind.VOID, None
            try:
                words, at = self._spec.locate(type_id)
            except LookupError:
                break
            current, third = words[at + 1] >> KIND_SHIFT & KIND_MASK, words[at + 2]
            if kind < 0:
                kind = current
            if current in MODIFIERS:
                type_id = third
                continue
            under = current if under < 0 else under
            if current == Kind.ARRAY:
                count, type_id = count * words[at + 5], words[at + 3]
            elif current == Kind.PTR:
                return kind, under, count * self._spec.pointer_size
            else:
                return kind, under, count * third if current in HAVE_SIZE else None
        return kind, under, None


def _facts(base: Spec) -> _Facts:
    found = base.derived.get(_Facts)
    if found is None:
        found = base.derived.setdefault(_Facts, _Facts(base))
    assert isinstance(found, _Facts)
    return found


class _Inspection:
    """One pass over the records of a split."""

    def __init__(self, spec: Spec) -> None:
        assert spec.base is not None
        self.spec = spec
        self.first = spec.first_id
        self.last = spec.first_id + len(spec) - 1
        self.base_facts = _facts(spec.base)
        self.own_facts = _Facts(spec)
        self.counts: Counter[str] = Counter()
        self.examples: dict[str, list[str]] = {}
        self.names: dict[int, bytes | None] = {}
        self.references = 0

    def fault(self, sort: str, type_id: int, text: str) -> None:
        self.counts[sort] += 1
        examples = self.examples.setdefault(sort, [])
        if len(examples) < EXAMPLES:
            examples.append(f"[{type_id}] {text}")

    def name(self, offset: int) -> bytes | None:
        """The string at an offset; None where no string starts."""
        if offset not in self.names:
            try:
                self.names[offset] = self.spec.string_bytes(offset)
            except BtfError:
                self.names[offset] = None
        return self.names[offset]

    def facts(self, type_id: int) -> tuple[int, int, int | None]:
        return self.base_facts.of(type_id) if type_id < self.first else self.own_facts.of(type_id)

    def run(self) -> None:
        for type_id in range(self.first, self.last + 1):
            words, at = self.spec.locate(type_id)
            info = words[at + 1]
            kind = info >> KIND_SHIFT & KIND_MASK
            known = RECORD_WORDS.get(kind)
            if known is None:
                continue
            end = at + 3 + known[0] + known[1] * (info & VLEN_MASK)
            record = words[at:end]
            self._check_names(type_id, kind, record)
            if self._check_ids(type_id, record):
                self._check_kinds(type_id, kind, record)
                if kind in (Kind.STRUCT, Kind.UNION):
                    self._check_members(type_id, kind, record)
                elif kind == Kind.DATASEC:
                    self._check_variables(type_id, record)

    def _check_names(self, type_id: int, kind: int, record: memoryview) -> None:
        for index in string_words(record, 0):
            offset = record[index]
            if offset == 0:
                continue
            self.references += 1
            text = self.name(offset)
            if text is None:
                what = f"the name at byte {offset} is not the start of a string"
                if garbled := self._garbled(offset):
                    what += f", it reads {garbled!r}"
                self.fault("string", type_id, f"{_keyword(kind)}: {what}")
            elif not _IDENTIFIER.fullmatch(text) and not (index == 0 and kind in _FREE_TEXT):
                self.fault("name", type_id, f"{_keyword(kind)}: {text.decode('utf-8', 'backslashreplace')!r}")

    def _garbled(self, offset: int) -> str:
        """What a reader that does not look closely would take for the name; "" beyond the end."""
        spec: Spec | None = self.spec
        while spec is not None:
            strings, first = own_strings(spec)
            if offset >= first:
                text = strings[offset - first : offset - first + 60]
                return text.split(b"\0")[0].decode("utf-8", "backslashreplace")
            spec = spec.base
        return ""

    def _check_ids(self, type_id: int, record: memoryview) -> bool:
        fine = True
        for index in id_words(record, 0):
            other = record[index]
            if other:
                self.references += 1
            if other > self.last:
                self.fault("id", type_id, f"type id {other} is beyond the last one, {self.last}")
                fine = False
        return fine

    def _check_kinds(self, type_id: int, kind: int, record: memoryview) -> None:
        # what comes first among the ids of a record is not what comes after: an array's element and index
        for number, index in enumerate(id_words(record, 0)):
            other, under, _ = self.facts(record[index])
            if kind == Kind.FUNC:
                wrong = other != Kind.FUNC_PROTO
            elif kind == Kind.ARRAY:
                wrong = under != Kind.INT if number else under in _NOT_AN_OBJECT
            elif kind in (Kind.STRUCT, Kind.UNION, Kind.VAR):
                wrong = other in _NOT_A_TYPE or under in _NOT_AN_OBJECT
            elif kind == Kind.DATASEC:
                wrong = other not in (Kind.VAR, Kind.FUNC)
            elif kind == Kind.DECL_TAG:
                wrong = other not in _TAGGABLE
            elif kind == Kind.FUNC_PROTO and number:
                variadic = other == Kind.VOID and index == len(record) - 1 and record[index - 1] == 0
                wrong = not variadic and (other in _NOT_A_TYPE or under in (Kind.VOID, Kind.FUNC_PROTO))
            else:
                wrong = other in _NOT_A_TYPE or (kind == Kind.FUNC_PROTO and under == Kind.FUNC_PROTO)
            if wrong:
                self.fault(
                    "kind", type_id, f"{_keyword(kind)} refers to type {record[index]}, which is a {_keyword(other)}"
                )

    def _check_members(self, type_id: int, kind: int, record: memoryview) -> None:
        flag, whole = record[1] & KIND_FLAG, record[2] * 8
        places = []
        for at in range(3, len(record), 3):
            word = record[at + 2]
            start, bits = (word & 0xFF_FFFF, word >> 24) if flag else (word, 0)
            _, under, size = self.facts(record[at + 1])
            if size is None:
                continue
            if bits and (under not in _WORD_SIZED or bits > size * 8):
                self.fault("layout", type_id, f"a bitfield of {bits} bits in a {_keyword(under)} of {size} bytes")
            places.append((start, start + (bits or size * 8)))
        places.sort()
        reached = 0
        for start, end in places:
            if end > whole:
                self.fault("layout", type_id, f"a member ends at bit {end} of a {_keyword(kind)} of {whole} bits")
                return
            if kind == Kind.STRUCT and start < reached and end > start:
                self.fault("layout", type_id, f"members overlap: one ends at bit {reached}, one starts at bit {start}")
                return
            reached = max(reached, end)

    def _check_variables(self, type_id: int, record: memoryview) -> None:
        for at in range(3, len(record), 3):
            if self.facts(record[at])[0] != Kind.VAR:
                continue
            words, start = self.spec.locate(record[at])
            target = words[start + 2]
            size = self.facts(target)[2] if target <= self.last else None
            if size is not None and size != record[at + 2]:
                self.fault("layout", type_id, f"a variable has {record[at + 2]} bytes, its type {size}")


def _keyword(kind: int) -> str:
    return KEYWORDS[Kind(kind)] if 0 <= kind <= Kind.ENUM64 else kind_name(kind) if kind >= 0 else "cycle"


def _inspect(spec: Spec) -> SplitReport:
    """The report about a split on the base that it was opened with."""
    assert spec.base is not None
    seen = _Inspection(spec)
    seen.run()
    counts = seen.counts
    expected = _expected_strings(spec, seen.names)
    faults = counts["string"] + counts["id"] + counts["kind"] + counts["layout"]
    verdict: Verdict = "does not fit" if faults else "fits"
    if not faults and (not seen.references or expected not in (None, spec.base.strings_end)):
        verdict = "cannot tell"
    return SplitReport(
        name=spec.name or "BTF",
        base=spec.base.name or "BTF",
        verdict=verdict,
        distilled=False,
        types=len(spec),
        base_references=seen.references,
        bad_strings=counts["string"],
        bad_ids=counts["id"],
        bad_kinds=counts["kind"],
        bad_layouts=counts["layout"],
        odd_names=counts["name"],
        examples=tuple(
            text for sort in ("string", "id", "kind", "layout", "name") for text in seen.examples.get(sort, ())
        ),
        base_strings=spec.base.strings_end,
        expected_strings=expected,
    )


def _expected_strings(spec: Spec, offsets: Iterable[int]) -> int | None:
    """Where the strings of the base ended for which the split was written.

    The offset of the split's last string is the largest of all. That gives the end; it is the truth if all other own
    strings are used, too.
    """
    starts, at = [], 0
    for text in own_strings(spec)[0].split(b"\0")[:-1]:
        starts.append(at)
        at += len(text) + 1
    used = set(offsets)
    if len(starts) < 2 or not used:
        return None
    end = max(used) - starts[-1]
    return end if end >= 0 and all(end + start in used for start in starts) else None
