"""One question, one candidate, one answer; and the choice among the candidates of a local type."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ebpfpy.btf.kinds import Kind
from ebpfpy.btf.text import describe_with_id
from ebpfpy.errors import BtfError, RelocationError

from .access import (
    Access,
    AccessError,
    Mismatch,
    match_fields,
    missing_member,
    parse_indices,
    walk_enumerator,
    walk_fields,
    walk_type,
)
from .compat import field_mismatch, match_mismatch, type_mismatch
from .fixup import Candidate
from .rawtypes import DepthError, Members, RawTypes, raw_types
from .relocation import RelocationKind as R
from .text import ENUM_KINDS, TYPE_KINDS, access_text
from .values import Value, enumerator_value, field_value, memory_size_reason, new_value, type_value

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ebpfpy.btf import Spec
    from ebpfpy.btf.nearnames import NearNames

    from .relocation import Relocation

_BYTE_OFF = R.BYTE_OFF
_COMPOSITE = (Kind.STRUCT, Kind.UNION)
_NO_MEMBERS = Members([], [], [], [])
_NO_FIELD = TYPE_KINDS | ENUM_KINDS
_POISONING = frozenset({R.BYTE_OFF, R.BYTE_SZ, R.SIGNED, R.LSHIFT_U64, R.RSHIFT_U64, R.ENUMVAL_VALUE})


class Query:
    """A relocation with its local side worked out; equal only to itself.

    Attributes:
        kind: what is asked.
        root: the local root type.
        value: the local number.
        name: of the member, if this is the offset of a struct's own, plain member: the question that nearly every
            relocation asks, and that has a short cut; else None.
        member: the declared type of that member; else 0.
    """

    __slots__ = ("_access", "_first", "_text", "_types", "kind", "member", "name", "root", "value")

    def __init__(
        self,
        kind: R,
        root: int,
        access: Access | None,
        value: Value,
        name: bytes | None = None,
        member: int = 0,
        types: RawTypes | None = None,
        text: str = "",
    ) -> None:
        self.kind = kind
        self.root = root
        self.value = value
        self.name = name
        self.member = member
        self._access = access
        self._types = types
        self._text = text
        self._first: tuple[bytes, Mismatch] | None = None

    @property
    def first(self) -> tuple[bytes, Mismatch]:
        """The name of the first member on the path, b"" if an element comes first, and what to say where it is not."""
        if self._first is None:
            points = self.access.points[1:2]
            name = (points[0].name if points else None) or b""
            self._first = name, missing_member(name)
        return self._first

    @property
    def access(self) -> Access:
        """The local path."""
        if self._access is None:
            assert self._types is not None
            self._access = walk_fields(self._types, self.root, self._text)
        return self._access

    @property
    def poisons(self) -> bool:
        """Whether the instruction is poisoned when the target has no answer; otherwise the answer is 0."""
        return self.kind in _POISONING


class LocalType:
    """The local root type of relocations, looked at once for all of them."""

    __slots__ = ("_members", "_queries", "_root", "_types")

    def __init__(self, spec: Spec, root: int) -> None:
        self._types = raw_types(spec)
        self._root = root
        self._members: Members | None = None
        self._queries: dict[tuple[Any, ...], Query] = {}

    def query(self, relocation: Relocation) -> Query:
        """The local side of a relocation of this type; the same object for the same question.

        Raises:
            RelocationError: the relocation is malformed, whatever the target.
        """
        key = relocation[2:4]  # access string and kind
        found = self._queries.get(key)
        if found is None:
            text, kind = key
            try:
                found = self._plain(text) if kind == _BYTE_OFF else None
                if found is None:
                    found = self._make(text, kind if type(kind) is R else R(kind))
            except (AccessError, DepthError, BtfError, LookupError) as error:
                raise malformed(relocation, str(error)) from None
            except ValueError:
                raise malformed(relocation, f"relocation kind {kind} is unknown") from None
            self._queries[key] = found
        return found

    def _make(self, text: str, kind: R) -> Query:
        types, root = self._types, self._root
        types.essential_name(root)  # it has to be there
        if kind not in _NO_FIELD:
            access = walk_fields(types, root, text)
            value = field_value(types, access, kind, big_endian=types.big_endian)
        elif kind in TYPE_KINDS:
            access = walk_type(text, root)
            value = type_value(types, root, kind)
        else:
            access = walk_enumerator(types, root, text)
            value = enumerator_value(types, access, kind)
        return Query(kind, root, access, value)

    def _plain(self, text: str) -> Query | None:
        """The query for the offset of a struct's own, plain member; None if it is not that."""
        types, members = self._types, self._members
        if members is None:
            types.essential_name(self._root)  # it has to be there
            record = types.under(self._root)
            members = self._members = types.members(record) if record.kind in _COMPOSITE else _NO_MEMBERS
        indices = parse_indices(text)
        if len(indices) != 2 or indices[0]:
            return None
        names, member_types, bits, widths = members
        index = indices[1]
        if index >= len(names) or widths[index] or not names[index]:
            return None
        member = member_types[index]
        size, end = types.extent(member)
        value = new_value((bits[index] >> 3, True, size, end))
        return Query(_BYTE_OFF, self._root, None, value, names[index], member, types, text)


def malformed(relocation: Relocation, reason: str) -> RelocationError:
    """The error for a relocation that cannot be carried out."""
    try:
        root = describe_with_id(relocation.spec, relocation.type_id)
    except (BtfError, LookupError):
        root = f"[{relocation.type_id}]"
    kind = R(relocation.kind).text if relocation.kind in R._value2member_map_ else f"kind {relocation.kind}"
    return RelocationError(
        reason,
        program=relocation.function or None,
        insn=relocation.function_insn,
        relocation=f"{kind} of {root} ({relocation.access})",
    )


class Answer:
    """A candidate's answer to a query.

    Attributes:
        value: the number.
        bits: where the path on the target ends, in bits from the root.
        memory_size_reason: why a load or store has to be poisoned; None if it need not.
    """

    __slots__ = ("_access", "_evaluation", "_query", "bits", "memory_size_reason", "value")

    def __init__(
        self,
        access: Access | None,
        value: Value,
        memory_size_reason: str | None,
        bits: int = 0,
        evaluation: Evaluation | None = None,
        query: Query | None = None,
    ) -> None:
        self._access = access
        self.value = value
        self.bits = bits if access is None else access.bits
        self.memory_size_reason = memory_size_reason
        self._evaluation = evaluation
        self._query = query

    @property
    def access(self) -> Access:
        """The path on the target."""
        if self._access is None:
            assert self._evaluation is not None
            assert self._query is not None
            self._access = self._evaluation.walk(self._query)
        return self._access


class Evaluation:
    """One candidate for one local type, and its answers so far."""

    __slots__ = ("_answers", "_local", "_mismatches", "_names", "_plain", "_target", "spec", "type_id")

    def __init__(
        self,
        local: RawTypes,
        spec: Spec,
        type_id: int,
        target: RawTypes,
        mismatches: dict[tuple[int, int], str | None],
    ) -> None:
        self.spec = spec
        self.type_id = type_id
        self._local = local
        self._target = target
        self._mismatches = mismatches  # of the two
        self._answers: dict[Query, Answer | Mismatch] = {}
        self._plain: dict[bytes, tuple[int, int]] | None = None
        self._names: frozenset[bytes] | None = None

    def count_answers(self, queries: Iterable[Query]) -> int:
        """How many of the queries this candidate answers; remembers the answers.

        Raises:
            BtfError: the candidate's own BTF is malformed.
        """
        known, count = self._answers, 0
        for query in queries:
            found = known.get(query)
            if found is None:
                found = self._find(query)
            if found.__class__ is not Mismatch:
                count += 1
        return count

    def answer(self, query: Query) -> Answer | Mismatch:
        """This candidate's answer.

        Raises:
            BtfError: the candidate's own BTF is malformed.
        """
        found = self._answers.get(query)
        return found if found is not None else self._find(query)

    def _find(self, query: Query) -> Answer | Mismatch:
        """An answer that is not known yet."""
        found: Answer | Mismatch | None
        try:
            found = self._plain_answer(query, query.name) if query.name is not None else None
            if found is None:
                found = self._evaluate(query)
        except (AccessError, DepthError) as error:
            found = Mismatch(str(error))
        self._answers[query] = found
        return found

    def _evaluate(self, query: Query) -> Answer | Mismatch:
        local, target, kind = self._local, self._target, query.kind
        if kind not in _NO_FIELD:
            name, missing = query.first
            if name and self._lacks(name):
                return missing
            access = match_fields(local, query.access, target, self.type_id)
            if isinstance(access, Mismatch):
                return access
            value = field_value(target, access, kind, big_endian=target.big_endian)
            reason = memory_size_reason(local, query.value, target, value) if kind == _BYTE_OFF else None
            return Answer(access, value, reason)
        if kind in TYPE_KINDS:
            compare = match_mismatch if kind == R.TYPE_MATCHES else type_mismatch
            reason = compare(local, query.root, target, self.type_id)
            if reason is not None:
                return Mismatch(reason)
            return Answer(Access(self.type_id, (0,), (), 0), type_value(target, self.type_id, kind), None)
        return self._evaluate_enumerator(query)

    def _lacks(self, name: bytes) -> bool:
        """Whether this candidate is a struct or union without a member of that name: what many are asked in vain."""
        names = self._names
        if names is None:
            names = self._names = self._target.member_names(self.type_id)
        return name not in names if names else False

    def _plain_answer(self, query: Query, name: bytes) -> Answer | None:
        """The answer to a plain query where the target's member is plain, too; what `match_fields` would say."""
        target, members = self._target, self._plain
        if members is None:
            members = self._plain = target.plain_members(self.type_id)
        hit = members.get(name)
        if hit is None:
            return None
        bits, declared = hit
        known = self._mismatches
        pair = query.member, declared
        if pair not in known:
            known[pair] = field_mismatch(self._local, query.member, target, declared)
        if known[pair] is not None:
            return None
        size, end = target.extent(declared)
        value = new_value((bits >> 3, True, size, end))
        reason = None
        if size != query.value[2]:
            reason = memory_size_reason(self._local, query.value, target, value)
        return Answer(None, value, reason, bits, self, query)

    def walk(self, query: Query) -> Access:
        """The path on the target of a query that was answered without walking it."""
        access = match_fields(self._local, query.access, self._target, self.type_id)
        assert isinstance(access, Access)
        return access

    def _evaluate_enumerator(self, query: Query) -> Answer | Mismatch:
        from ebpfpy.btf.names import essential_bytes

        name = query.access.points[0].name or b""
        record = self._target.under(self.type_id)
        index = self._target.enumerator_index(record, essential_bytes(name))
        if index is not None:
            other, _ = self._target.enumerators(record)[index]
            point = query.access.points[0]._replace(type_id=record.type_id, number=index, name=other)
            access = Access(self.type_id, (index,), (point,), 0)
            return Answer(access, enumerator_value(self._target, access, query.kind), None)
        return Mismatch(f"no enumerator {name.decode('utf-8', 'replace')!r}")

    def text(self, query: Query) -> str:
        """The candidate, with the path on it where it matches."""
        answer = self.answer(query)
        if isinstance(answer, Mismatch):
            return describe_with_id(self.spec, self.type_id)
        return access_text(self.spec, answer.access, query.kind)


def evaluations(local: Spec, spec: Spec, ids: Iterable[int]) -> list[Evaluation]:
    """The types of a spec with these ids as candidates for a local type."""
    mine, target = raw_types(local), raw_types(spec)
    mismatches = mine.mismatches(target)
    return [Evaluation(mine, spec, type_id, target, mismatches) for type_id in ids]


class Choice:
    """The candidates for one local type, and the one that all its relocations follow.

    Attributes:
        chosen: the candidate that answers, None where none does.
        searched: all candidates of the tiers that were searched.
        warnings: specs that could not be searched, and why.
    """

    __slots__ = (
        "_because",
        "_later",
        "_later_found",
        "_names",
        "_near",
        "chosen",
        "scores",
        "searched",
        "total",
        "warnings",
    )

    def __init__(
        self,
        chosen: Evaluation | None,
        searched: list[Evaluation],
        scores: dict[int, int],
        total: int,
        warnings: list[str],
        later: Callable[[], Iterable[Evaluation]],
        near: Callable[[], tuple[str, ...]],
        because: str = "",
    ) -> None:
        self.chosen = chosen
        self.searched = searched
        self.scores = scores
        self.total = total
        self.warnings = warnings
        self._later = later
        self._later_found: list[Evaluation] | None = None
        self._near = near
        self._names: dict[bool, NearNames] = {}
        self._because = because  # what decided, if it was not the number of answers

    def candidates(self, query: Query) -> tuple[Candidate, ...]:
        """Every candidate with its verdict on one query, the chosen one first."""
        if self._later_found is None:
            self._later_found = list(self._later())
        found = [self._candidate(each, query, self._verdict(each, query)) for each in self.searched]
        found += [self._candidate(each, query, self._later_verdict(each, query)) for each in self._later_found]
        return tuple(sorted(found, key=lambda candidate: candidate.verdict != "chosen"))

    @staticmethod
    def _candidate(evaluation: Evaluation, query: Query, verdict: str) -> Candidate:
        return Candidate(evaluation.spec, evaluation.type_id, evaluation.text(query), verdict)

    def _verdict(self, evaluation: Evaluation, query: Query) -> str:
        answer = evaluation.answer(query)
        if evaluation is self.chosen:
            return "chosen" if not isinstance(answer, Mismatch) else f"chosen for this type, but: {answer.reason}"
        if isinstance(answer, Mismatch):
            return answer.reason
        if self.chosen is None:
            return "not chosen"
        mine, best = self.scores[id(evaluation)], self.scores[id(self.chosen)]
        if self._because and evaluation.spec is not self.chosen.spec:
            return f"{self._because}; would give {answer.value.number}"
        if mine == best:
            first = self.chosen.answer(query)
            if not isinstance(first, Mismatch) and first.value.number == answer.value.number:
                return "agrees with the chosen one"
            return (
                f"comes after {self.chosen.spec.name or 'BTF'}, which answers as many; would give {answer.value.number}"
            )
        return f"answers {mine} of {self.total} relocations of this type, the chosen one {best}"

    def _later_verdict(self, evaluation: Evaluation, query: Query) -> str:
        answer = evaluation.answer(query)
        assert self.chosen is not None
        first = self.chosen.spec.name or "BTF"
        if isinstance(answer, Mismatch):
            return f"comes after {first}, and {answer.reason}"
        return f"comes after {first}, which answers first; would give {answer.value.number}"

    def near(self, query: Query) -> tuple[str, ...]:
        """Names that resemble the one that no candidate has."""
        if not self.searched:
            return self._near()
        wanted = next((p.name for p in reversed(query.access.points) if p.name), None)
        if wanted is None:
            return ()
        return self._names_of(query.kind in ENUM_KINDS).like(wanted.decode("utf-8", "replace"))

    def _names_of(self, enumerators: bool) -> NearNames:
        """The names of all enumerators, or members, of the types that were searched; kept, as many may be missing."""
        from ebpfpy.btf.nearnames import NearNames

        known = self._names.get(enumerators)
        if known is not None:
            return known
        names: set[bytes] = set()
        for each in self.searched:
            types = raw_types(each.spec)
            record = types.under(each.type_id)
            if enumerators:
                names.update(name for name, _ in types.enumerators(record))
            elif record.kind in _COMPOSITE:
                names.update(types.members(record).names)
        names.discard(b"")
        found = NearNames(name.decode("utf-8", "replace") for name in sorted(names))
        self._names[enumerators] = found
        return found
