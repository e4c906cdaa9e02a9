"""The relocator: relocations and an ordered list of specs go in, fixups come out.

**Candidates.** For a local type, every target type of the same kind (the two kinds of enum are one) with the same
essential name is a candidate. Names without types, and specs without the name, cost next to nothing.

**Tiers.** Specs without a base (vmlinux) are asked first; then the module that the program attaches to; then all other
modules together. The first tier in which a candidate answers at least one relocation of the local type answers all of
them; but the attached module answers instead of vmlinux if it answers more of them, or if its type is what the
arguments of the attached function lead to (`arguments`). So the kernel's own ``struct file`` is never shadowed by a
module's, and a probe on e1000e gets e1000e's ``struct e1000_adapter`` although e1000 has one of that name, too.

**Agreement.** All relocations of one local type in one program follow one target type: two layouts are never mixed,
whatever the order of the relocations. The candidate that answers most of them is chosen. If several answer equally
many and disagree on any number, or on the offset behind one, that is an `AmbiguousRelocationError`.

**No answer.** "Does it exist", "does it match", sizes and ids become 0; offsets, shifts, signs and enumerators poison
their instruction: a program may contain them, as long as it never reaches them.

**Faults.** A module's BTF that cannot be read is left out with a warning, in `Fixup.warnings`.

Worked example: ``struct s {int x; int y}`` with relocations x, y and exists(z), against vmlinux ``struct s {y@0}`` and
``struct s___old {x@8, y@0, z@4}``: the first answers one of three, the second three; the second is chosen for all.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from ebpfpy.btf.kinds import Kind
from ebpfpy.btf.names import essential_name
from ebpfpy.btf.spec import spec_list
from ebpfpy.btf.text import describe
from ebpfpy.errors import AmbiguousRelocationError, BtfError, EbpfError, InputError, NotFoundError

from .access import Mismatch
from .arguments import Arguments
from .fixup import Fixup
from .query import Answer, Choice, LocalType, evaluations, malformed
from .rawtypes import raw_types
from .relocation import RelocationKind as R
from .text import access_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from ebpfpy.btf.spec import Spec

    from .query import Evaluation, Query
    from .relocation import Relocation

_ENUMS = (Kind.ENUM, Kind.ENUM64)
_NAMED = (Kind.STRUCT, Kind.UNION, Kind.ENUM, Kind.ENUM64, Kind.TYPEDEF, Kind.FWD, Kind.INT, Kind.FLOAT)
_LISTED = 4  # specs that a message names
_SHOWN = 8  # candidates that it spells out
_MANY = 32  # candidates of one local type
_MOST_PAIRS = 50_000
"""Local types with so many candidates, times these: a second's work, and far beyond anything that was compiled."""


def relocate(
    relocations: Sequence[Relocation],
    kernel_types: Iterable[Spec],
    *,
    prefer_module: str | None = None,
    prefer_function: str | None = None,
    fallback: Callable[[], Iterable[Spec]] | None = None,
) -> list[Fixup]:
    """Solve the relocations of one program.

    Args:
        relocations: in any order; the result is in the same order.
        kernel_types: the target's types: vmlinux, and any modules as split specs on it.
        prefer_module: name of the module that the program attaches to: it is asked before the other modules.
        prefer_function: what in that module the program attaches to, a function or a tracepoint: the module's types
            that its arguments lead to are asked before vmlinux.
        fallback: further modules, the last tier; asked for only if no candidate before them answers.

    Returns:
        One `Fixup` for each relocation.

    Raises:
        RelocationError: a relocation is malformed.
        AmbiguousRelocationError: several target types answer equally well, and differently.
        BtfError: the types of a spec without a base are malformed.
        InputError: byte orders differ.
    """
    relocator = Relocator(kernel_types, fallback=fallback)
    return relocator.relocate(relocations, prefer_module=prefer_module, prefer_function=prefer_function)


class Relocator:
    """`relocate` for many programs against the same types: remembers candidates and answers."""

    def __init__(self, kernel_types: Iterable[Spec], *, fallback: Callable[[], Iterable[Spec]] | None = None) -> None:
        self._specs = specs = spec_list(kernel_types)
        self._bases = [spec for spec in specs if spec.base is None]
        self._fallback = fallback
        self._fallback_specs: list[Spec] | None = None if fallback is not None else []
        self._candidates: dict[tuple[int, int, int], list[Evaluation]] = {}
        self._locals: dict[tuple[int, int], LocalType] = {}
        self._arguments: dict[tuple[int, str], Arguments] = {}
        self._faults: dict[int, str] = {}
        self._pairs = 0
        self._kept: list[Spec] = []  # keeps the objects alive whose id() is a key above

    @cached_property
    def _splits(self) -> list[Spec]:
        return [spec for spec in self._specs if spec.base is not None]

    def relocate(
        self,
        relocations: Sequence[Relocation],
        *,
        prefer_module: str | None = None,
        prefer_function: str | None = None,
    ) -> list[Fixup]:
        """Solve the relocations of one program; see `ebpfpy.core.relocate`."""
        groups: dict[tuple[int, int], list[int]] = {}
        for at, relocation in enumerate(relocations):
            key = id(relocation[0]), relocation[1]  # its spec and type
            if key in groups:
                groups[key].append(at)
            else:
                groups[key] = [at]
        fixups: list[Fixup | None] = [None] * len(relocations)
        for key, places in groups.items():
            local = self._locals.get(key)
            if local is None:
                spec = relocations[places[0]].spec
                self._kept.append(spec)
                local = self._locals[key] = LocalType(spec, key[1])
            group = [relocations[at] for at in places]
            for at, fixup in zip(places, self._solve(local, group, prefer_module, prefer_function), strict=True):
                fixups[at] = fixup
        return [fixup for fixup in fixups if fixup is not None]

    def _solve(
        self, local: LocalType, group: list[Relocation], prefer_module: str | None, prefer_function: str | None
    ) -> list[Fixup]:
        """The fixups for the relocations of one local type."""
        queries = [local.query(relocation) for relocation in group]
        asked: dict[Query, Relocation] = {}
        for relocation, query in zip(group, queries, strict=True):
            if query.kind is not R.LOCAL_TYPE_ID:
                asked.setdefault(query, relocation)
        choice = self._choose(asked, prefer_module, prefer_function) if asked else None
        found = []
        for relocation, query in zip(group, queries, strict=True):
            if choice is None or query.kind is R.LOCAL_TYPE_ID:
                found.append(Fixup(relocation, query, None, Answer(query.access, query.value, None)))
            elif choice.chosen is not None:
                found.append(Fixup(relocation, query, choice, choice.chosen.answer(query)))
            else:
                found.append(Fixup(relocation, query, choice, self._no_answer(choice, relocation, query)))
        return found

    def _no_answer(self, choice: Choice, relocation: Relocation, query: Query) -> Mismatch:
        for evaluation in choice.searched:
            answer = evaluation.answer(query)
            if isinstance(answer, Mismatch):
                return answer
        kind, _, name = describe(relocation.spec, relocation.type_id).partition(" ")
        missing = f"there is no {kind.removesuffix('64')} {essential_name(name)}"
        names = [spec.name or "BTF" for spec in (*self._bases, *self._splits, *(self._fallback_specs or ()))]
        if not names:
            return Mismatch(f"{missing}: no kernel types were given")
        if len(names) > _LISTED:
            return Mismatch(f"{missing} in {names[0]} and {len(names) - 1} modules")
        return Mismatch(f"{missing} in {', '.join(names)}")

    # --- tiers ---------------------------------------------------------------------------------

    def _tiers(self, prefer_module: str | None) -> list[Callable[[], list[Spec]]]:
        """What is asked one after the other."""
        if prefer_module is None:
            return [lambda: self._bases, lambda: self._splits]

        def of_module(wish: bool) -> list[Spec]:
            return [spec for spec in self._splits if _is_module(spec, prefer_module) is wish]

        return [lambda: self._bases, lambda: of_module(True), lambda: of_module(False)]

    def _fallback_tier(self) -> list[Spec]:
        if self._fallback_specs is None:
            assert self._fallback is not None
            have = {spec.name for spec in self._splits}
            self._fallback_specs = [spec for spec in self._fallback() if spec.name not in have]
        return self._fallback_specs

    def _choose(self, asked: dict[Query, Relocation], prefer_module: str | None, prefer_function: str | None) -> Choice:
        """The candidate that answers.

        Args:
            asked: what is asked of one local type, and the first relocation that asks it.
            prefer_module: the module that the program attaches to.
            prefer_function: what in it.
        """
        queries = list(asked)
        relocation = asked[queries[0]]
        local = relocation.spec
        record = raw_types(local).record(relocation.type_id)
        essential = raw_types(local).essential_name(relocation.type_id)
        if not essential:
            raise malformed(relocation, "the local type has no name")
        searched: list[Evaluation] = []
        warnings: list[str] = []
        scores: dict[int, int] = {}

        def score(tier: Iterable[Spec]) -> list[Evaluation]:
            found = []
            for spec in tier:
                for evaluation in self._evaluations(spec, local, relocation, record.kind, essential, warnings):
                    points = self._score(evaluation, queries, warnings)
                    if points is not None:
                        scores[id(evaluation)] = points
                        found.append(evaluation)
            return found

        tiers = self._tiers(prefer_module)
        rivals = 1 if prefer_module is None else 2  # tiers that are all searched: the attached module may know better
        equals: list[Evaluation] = []
        points = used = 0
        for tier in tiers:
            if equals and used >= rivals:
                break
            used += 1
            found = score(tier())
            searched += found
            most = max((scores[id(evaluation)] for evaluation in found), default=0)
            if most > points:
                points, equals = most, [evaluation for evaluation in found if scores[id(evaluation)] == most]
        meant: list[Evaluation] = []
        if prefer_module is not None and prefer_function is not None:
            meant = self._meant(searched, scores, prefer_module, prefer_function)
        if meant:
            points = max(scores[id(evaluation)] for evaluation in meant)
            equals = [evaluation for evaluation in meant if scores[id(evaluation)] == points]
        if not equals:
            found = score(self._fallback_tier())
            searched += found
            points = max((scores[id(evaluation)] for evaluation in found), default=0)
            equals = [evaluation for evaluation in found if points and scores[id(evaluation)] == points]
        self._agree(equals, asked)
        chosen = equals[0] if equals else None

        def later() -> list[Evaluation]:
            if chosen is None:
                return []
            found = [evaluation for tier in tiers[used:] for evaluation in score(tier())]
            return found if chosen.spec in self._fallback_tier() else found + score(self._fallback_tier())

        def near() -> tuple[str, ...]:
            return _near_types([*self._bases, *self._splits], essential, _kinds_of(record.kind))

        because = f"the arguments of {prefer_function} lead to {prefer_module}'s" if meant else ""
        return Choice(chosen, searched, scores, len(queries), warnings, later, near, because)

    def _meant(
        self, searched: list[Evaluation], scores: dict[int, int], module: str, function: str
    ) -> list[Evaluation]:
        """The types of the attached module that what the program attaches to shows to be meant; perhaps none.

        Types that the prototype names count more than those which these lead to. Where those lead to a type of the
        kernel of that name, too, it is open which is meant.
        """
        own = [each for each in searched if _is_module(each.spec, module) and scores[id(each)]]
        if not own or len(searched) < 2:
            return []
        key = id(own[0].spec), function
        found = self._arguments.get(key)
        if found is None:
            found = self._arguments[key] = Arguments(own[0].spec, function)
        named = [evaluation for evaluation in own if evaluation.type_id in found.named]
        if named or any(evaluation.type_id in found.reached for evaluation in searched if not evaluation.spec.split):
            return named
        return [evaluation for evaluation in own if evaluation.type_id in found.reached]

    def _evaluations(
        self,
        spec: Spec,
        local: Spec,
        relocation: Relocation,
        kind: int,
        essential: bytes,
        warnings: list[str],
    ) -> list[Evaluation]:
        key = id(spec), id(local), relocation.type_id
        found = self._candidates.get(key)
        if found is not None:
            return found
        if id(spec) in self._faults:
            warnings.append(self._faults[id(spec)])
            return []
        if spec.byte_order != local.byte_order:
            raise InputError(
                f"the object is {local.byte_order}-endian, {spec.name or 'the target'} {spec.byte_order}-endian"
            )
        try:
            ids = raw_types(spec).ids_by_essential_name(essential, _kinds_of(kind))
        except (BtfError, NotFoundError) as error:
            if not spec.split:
                raise
            self._fault(spec, error, warnings)
            return []
        if len(ids) > _MANY:
            self._pairs += len(ids)
            if self._pairs > _MOST_PAIRS:
                raise malformed(
                    relocation,
                    f"{len(ids)} types of {spec.name or 'BTF'} have that name, as for very many other local types:"
                    f" more than {_MOST_PAIRS} pairs are not compared",
                )
        found = self._candidates[key] = evaluations(local, spec, ids)
        return found

    def _score(self, evaluation: Evaluation, queries: list[Query], warnings: list[str]) -> int | None:
        try:
            return evaluation.count_answers(queries)
        except (BtfError, NotFoundError) as error:
            if not evaluation.spec.split:
                raise
            self._fault(evaluation.spec, error, warnings)
            return None

    def _fault(self, spec: Spec, error: Exception, warnings: list[str]) -> None:
        text = f"module {spec.name or '?'} is left out: {error}"
        self._faults[id(spec)] = text
        warnings.append(text)

    @staticmethod
    def _agree(equals: list[Evaluation], asked: dict[Query, Relocation]) -> None:
        """Refuse candidates that answer equally many relocations, and differently."""
        if len(equals) < 2:
            return
        for query, relocation in asked.items():
            answers = [evaluation.answer(query) for evaluation in equals]
            # modulo 2**64, as an instruction holds it: -1 of an enum is the same as ~0 of an enum64
            numbers = {None if isinstance(a, Mismatch) else (a.value.number % (1 << 64), a.bits) for a in answers}
            if len(numbers) == 1:
                continue
            texts = tuple(
                f"{e.spec.name or 'BTF'}: {e.text(query)}"
                + (f": {a.reason}" if isinstance(a, Mismatch) else f" = {a.value.number}")
                for e, a in zip(equals, answers, strict=True)
            )
            shown = "; ".join([*texts[:_SHOWN], *(["..."] if len(texts) > _SHOWN else [])])
            modules = {e.spec.name for e in equals if e.spec.split}
            remedy = "; a program on a function of one of these modules gets that one's" if len(modules) > 1 else ""
            raise AmbiguousRelocationError(
                f"{len(texts)} types fit equally well and give different answers: {shown}{remedy}",
                candidates=texts,
                program=relocation.function or None,
                insn=relocation.function_insn,
                relocation=f"{query.kind.text} of {access_text(relocation.spec, query.access, query.kind)}",
            )


def _is_module(spec: Spec, name: str) -> bool:
    return spec.split and spec.name.replace("-", "_") == name.replace("-", "_")


def _kinds_of(kind: int) -> tuple[int, ...]:
    return _ENUMS if kind in _ENUMS else (kind,)


def _near_types(specs: list[Spec], essential: bytes, kinds: tuple[int, ...], count: int = 3) -> tuple[str, ...]:
    """What a type that is nowhere may have been meant to be: its namesakes of other kinds, then similar names."""
    name = essential.decode("utf-8", "replace")
    found: dict[str, None] = {}
    for spec in specs:
        try:
            namesakes = [describe(spec, each) for each in spec.ids_by_essential_name(essential, _NAMED)]
            found |= dict.fromkeys(
                f"{each.removeprefix('fwd ')}, which is only declared" if each.startswith("fwd ") else each
                for each in namesakes
            )
            similar = spec.near_names(name, 8 * count)
            found |= dict.fromkeys(each for each in similar if spec.ids_by_name(each.encode(), kinds))
        except EbpfError:  # a malformed module has nothing to offer
            continue
    return tuple(found)[:count]
