"""Which structs and unions are the same type, although a compiler wrote each of them many times.

The rest of deduplication is comparing records word by word. Structs are different: they refer to each other in circles,
so that no order exists in which everything that a struct refers to is settled before the struct is. And a struct can be
declared in one place (``FWD``) and defined in another. An example, two source files linked into one BTF::

    a.c   [1] STRUCT node {next: 2, item: 3}   [2] PTR -> 1   [3] PTR -> 4   [4] FWD item
    b.c   [5] STRUCT node {next: 6, item: 7}   [6] PTR -> 5   [7] PTR -> 8   [8] STRUCT item {key: int}

*Shells.* Words that are no type ids (name, size, names and offsets of the members) must be equal. [1] and [5] have the
same shell, [8] is alone with its own and therefore canonical (nothing else can be equal to it), without further ado.

*Hypothesis.* Say that [5], the candidate, is [1], the canonical type. Then what their members refer to must be the
same: 6 = 2 and 7 = 3. From 6 = 2 follows 5 = 1, which was assumed: nothing to do. From 7 = 3 follows 8 = 4, a
definition against a declaration: possible if name and keyword agree, and it binds the declaration: within this
hypothesis [4] is [8] and no other. Nothing contradicts, so it is all true: [5] becomes [1], and [4] becomes [8]. A
contradiction anywhere makes it all void.

What is assumed to be equal is kept in sets (union-find): if 5 = 1 and later 5 = 9, then 1 = 9 is known and not proved
again. So a hypothesis about n types costs at most n comparisons, whatever circles they form. That a compiler writes
``int[4]`` twice for two members of one struct needs no rule of its own, as the relation is not one to one.
(libbpf allows each canonical type one candidate and has special rules for copies; the one for arrays compares an
array with itself, and ``struct {int a[4]; int b[4];}`` was taken for ``struct {int a[4]; unsigned b[4];}``.)

Rules for declarations, as libbpf has them: a declaration on the candidate's side fits every definition of its name,
each time it is met, for the candidate vanishes; one on the canonical side stays and can have one meaning only. In split
BTF the base is not ours to change: where a declaration *of the base* would have to become a definition the two types
are different, but the split's own declarations of that name get the definition. Among several canonical types that fit
a candidate, one that needs no declaration to stand for a definition is taken before the others.

*Buckets.* Comparing each candidate with every canonical type of the same shell would be quadratic where a name has
thousands of versions, or where thousands of anonymous structs have one shell. So canonical types are found by a
*colour*, a number for what a type looks like so far that nothing equal can have another one. It is made of the shell
and the colours of the members' types, through pointers, arrays, qualifiers and prototypes down to the first type with
a name; of that, only the name counts. In a bucket that gets crowded, colours look some named structs deeper, and deeper
again, but never into a struct whose name is also declared somewhere. Where that does not help (long lists of structs of
one name; a name that is declared and has thousands of versions), all types are sorted into classes of equal structure
(`ebpfpy.btf.classes`). Then a candidate is compared with the canonical type of its class, and, if declarations could
make others equal to it, with a few of those: that may leave two types where one would do, and never makes one of two.

A pair that has been found different is remembered, with all pairs that were to be equal only if it was: in two long
chains of structs that differ in the last link, every link is visited once, not once for each link before it. And when
proofs have taken many times more steps than there are types, the ones that follow must be short or fail.

Nothing here recurses: graphs may be of any depth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .classes import Classes
from .kinds import KIND_FLAG, VLEN_MASK, Kind

if TYPE_CHECKING:
    from collections.abc import Iterable

_INT, _ARRAY, _STRUCT, _UNION, _ENUM, _FWD = 1, 3, 4, 5, 6, 7
_FUNC, _FUNC_PROTO, _FLOAT, _DECL_TAG, _ENUM64 = 12, 13, 16, 17, 19
assert (_INT, _FUNC_PROTO, _ENUM64) == (Kind.INT, Kind.FUNC_PROTO, Kind.ENUM64)

REFERS = frozenset({Kind.PTR, Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.FUNC, Kind.TYPE_TAG})
"""Kinds whose third word is the only type they refer to, and which have no other words."""

_COMPOSITE = (_STRUCT, _UNION)
_ENUMS = (_ENUM, _ENUM64)
_PRIMITIVES = (_INT, _FLOAT, _FWD)  # settled by their words

UNKNOWN = -1
CROWDED = 16
"""Canonical types in a bucket before colours look deeper."""
DEPTHS = {0: 2, 2: 8, 8: 32}
"""How deep colours look next."""
DEEPEST = 64
GUESSES = 32
"""In buckets where colours do not help: canonical types of another class with which a candidate is compared."""
STEPS_PER_TYPE = 64
"""Steps of all proofs together, for each type, before proofs must be short."""
SHORT_PROOF = 256

_OPEN, _CIRCLE = 0, 1


class Table:
    """All records of a spec and its bases as one list of words; the index of everything is the type id.

    Attributes:
        words: the type sections one after the other; equal names have equal offsets.
        starts: where each record starts, and at last where they end.
        kinds: the kind of each.
        first: the first id that is the spec's own.
        same: the id of the type that each one is equal to, as far as known: its own for canonical ones, `UNKNOWN` for
            those that nobody has looked at yet. To be followed until it does not change any more.
        definitions: declaration of the base -> definition, for the split's own declarations of that name.
    """

    def __init__(self, words: list[int], starts: list[int], kinds: list[int], first: int) -> None:
        self.words = words
        self.starts = starts
        self.kinds = kinds
        self.first = first
        self.same = [UNKNOWN] * len(kinds)
        self.definitions: dict[int, int] = {}

    def find(self, type_id: int) -> int:
        """The type that this one is known to be, or itself."""
        same = self.same
        found = same[type_id]
        while found not in (type_id, UNKNOWN):
            type_id, found = found, same[found]
        return type_id

    def shell(self, type_id: int) -> tuple[int, ...]:
        """The words of a struct or union that are no type ids."""
        words, start, end = self.words, self.starts[type_id], self.starts[type_id + 1]
        return (*words[start : start + 3], *words[start + 3 : end : 3], *words[start + 5 : end : 3])


def settle_composites(table: Table, composites: Iterable[int], declared: set[int]) -> None:
    """Find the canonical type of every struct and union.

    Args:
        table: with primitive types and declarations already settled, and all of the base.
        composites: the ids of all structs and unions, ascending, the base's too.
        declared: the names (string offsets) of all declarations.
    """
    same, first = table.same, table.first
    shells: dict[tuple[int, ...], list[int]] = {}
    for type_id in composites:
        shells.setdefault(table.shell(type_id), []).append(type_id)
    shared: dict[int, int] = {}  # own type and whatever could equal it -> number of the shell
    numbers: dict[int, int] = {}
    for number, members in enumerate(shells.values()):
        if members[-1] >= first:
            if len(members) == 1:
                same[members[0]] = members[0]
            else:
                shared.update(dict.fromkeys(members, number))
        numbers.update(dict.fromkeys(members, number))
    if not shared:
        return
    buckets = _Buckets(table, _Colours(table, numbers, declared))
    hypotheses = _Hypotheses(table)
    for type_id in sorted(shared):
        if type_id < first:
            buckets.add(type_id)
            continue
        if same[type_id] != UNKNOWN:
            continue  # settled together with one that contains it
        second_best: _Proof | None = None
        for canonical in buckets.like(type_id):
            proof = hypotheses.prove(type_id, canonical, sure=buckets.one_class(type_id, canonical))
            if proof is not None and not proof.declarations:
                hypotheses.settle(proof)
                break
            second_best = second_best or proof
        else:
            if second_best is not None:
                hypotheses.settle(second_best)
            if second_best is None or second_best.base_changes:
                same[type_id] = type_id
                buckets.add(type_id)


class _Colours:
    """Numbers for what types look like. Equal types have equal colours; not the other way round."""

    def __init__(self, table: Table, shells: dict[int, int], declared: set[int]) -> None:
        self._table = table
        self._shells = shells
        self._declared = declared
        self._known: dict[int, int] = {}  # type id * DEEPEST + depth -> colour
        self._whole: dict[int, int] = {}
        self._interned: dict[tuple[int, ...], int] = {}

    def of(self, type_id: int, depth: int) -> int:
        """The colour of a struct or union itself, looking through `depth` layers of named structs below it."""
        whole = type_id * DEEPEST + depth
        found = self._whole.get(whole)
        if found is None:
            words, start, end = self._table.words, self._table.starts[type_id], self._table.starts[type_id + 1]
            inner = [self._key(each, depth) for each in words[start + 4 : end : 3]]
            for each in inner:
                if each >= 0 and each not in self._known:
                    self._paint(each)
            found = self._whole[whole] = self._mix((-1, self._shells[type_id]), inner)
        return found

    def _paint(self, root: int) -> None:
        """Find the colour of a type that is referred to.

        Types that reach a circle without any named struct in it (no C compiler writes one) all have the same colour.
        """
        known = self._known
        stack = [root]
        parts: dict[int, tuple[tuple[int, ...], list[int]]] = {}
        while stack:
            key = stack[-1]
            if key not in known:
                known[key] = _OPEN
                parts[key] = self._look(key)
                inner = parts[key][1]
                missing = [each for each in inner if each >= 0 and each not in known]
                if missing:
                    stack += missing
                    continue
            stack.pop()
            if known[key] == _OPEN:
                known[key] = self._mix(*parts.pop(key))

    def _mix(self, look: tuple[int, ...], inner: list[int]) -> int:
        known = self._known
        colours = [known[each] if each >= 0 else each for each in inner]
        if _OPEN in colours or _CIRCLE in colours:
            return _CIRCLE
        return self._interned.setdefault((*look, *colours), len(self._interned) + 2)

    def _look(self, key: int) -> tuple[tuple[int, ...], list[int]]:
        """What a type is by itself, and what else makes its colour: keys, or below zero the colour of a leaf."""
        type_id, depth = divmod(key, DEEPEST)
        words, start = self._table.words, self._table.starts[type_id]
        kind, end = self._table.kinds[type_id], self._table.starts[type_id + 1]
        name, info = words[start], words[start + 1]
        if kind in _COMPOSITE:
            if name:
                if not depth or name in self._declared:
                    return (kind, name), []
                depth -= 1
            return (-1, self._shells[type_id]), [self._key(each, depth) for each in words[start + 4 : end : 3]]
        if kind in REFERS:
            return (info, name), [self._key(words[start + 2], depth)]
        if kind == _ARRAY:
            return (info, words[start + 5]), [self._key(words[start + 3], depth), self._key(words[start + 4], depth)]
        if kind == _FUNC_PROTO:
            inner = [words[start + 2], *words[start + 4 : end : 2]]
            return (info, *words[start + 3 : end : 2]), [self._key(each, depth) for each in inner]
        if kind == _DECL_TAG:
            return (info, name, words[start + 3]), [self._key(words[start + 2], depth)]
        if kind == _FWD and name:
            return (_UNION if info & KIND_FLAG else _STRUCT, name), []
        if kind in _ENUMS and name:
            return (_ENUM, name), []
        return (-2, self._table.find(type_id)), []

    def _key(self, type_id: int, depth: int) -> int:
        if self._table.kinds[type_id] in (_INT, _FLOAT):  # settled, and the most frequent leaves
            return -2 - self._table.find(type_id)
        return type_id * DEEPEST + depth


class _Crowd:
    """Canonical types that have one colour however deep it looks."""

    def __init__(self) -> None:
        self.by_class: dict[int, int] = {}
        self.some: list[int] = []
        self.guessing: list[int] = []


class _Buckets:
    """Canonical types by colour."""

    def __init__(self, table: Table, colours: _Colours) -> None:
        self._table = table
        self._colours = colours
        self._lists: dict[tuple[int, int], list[int]] = {}
        self._deeper: dict[tuple[int, int], int] = {}
        self._crowds: dict[tuple[int, int], _Crowd] = {}
        self._classes: Classes | None = None

    def like(self, type_id: int) -> list[int]:
        """Canonical types that this one may be equal to."""
        key = self._key(type_id)
        crowd = self._crowds.get(key)
        if crowd is None or self._classes is None:
            return self._lists.get(key, [])
        exact = crowd.by_class.get(self._classes.of[type_id])
        others = crowd.some if self._classes.guessing[type_id] else crowd.guessing
        return others if exact is None else [exact, *(each for each in others if each != exact)]

    def one_class(self, one: int, other: int) -> bool:
        """Whether two types are known to be equal, without any declaration taken for a definition."""
        return self._classes is not None and self._classes.of[one] == self._classes.of[other]

    def add(self, type_id: int) -> None:
        """Add a canonical type; look deeper into a bucket that gets crowded."""
        key = self._key(type_id)
        if key in self._crowds:
            self._join(self._crowds[key], type_id)
            return
        bucket = self._lists.setdefault(key, [])
        bucket.append(type_id)
        if len(bucket) < CROWDED or len(bucket) & (len(bucket) - 1):
            return  # every doubling is reason enough to look deeper
        depth = DEPTHS.get(key[0])
        del self._lists[key]
        if depth is None:
            crowd = self._crowds[key] = _Crowd()
            for each in bucket:
                self._join(crowd, each)
            return
        self._deeper[key] = depth
        for each in bucket:
            self._lists.setdefault((depth, self._colours.of(each, depth)), []).append(each)

    def _key(self, type_id: int) -> tuple[int, int]:
        key = 0, self._colours.of(type_id, 0)
        while key in self._deeper:
            depth = self._deeper[key]
            key = depth, self._colours.of(type_id, depth)
        return key

    def _join(self, crowd: _Crowd, type_id: int) -> None:
        if self._classes is None:
            self._classes = Classes(self._table)
        crowd.by_class.setdefault(self._classes.of[type_id], type_id)
        if len(crowd.some) < GUESSES:
            crowd.some.append(type_id)
        if len(crowd.guessing) < GUESSES and self._classes.guessing[type_id]:
            crowd.guessing.append(type_id)


class _Proof(NamedTuple):
    """Two types are equal.

    Attributes:
        pairs: candidate and canonical type that are equal, and the index of the pair that they come from.
        declarations: declaration, and the definition that it stands for; in a proof without any, nothing was guessed.
        sets: the pairs as sets: type -> another one of its set.
        base_changes: they would be equal if a declaration of the base became a definition: so they are not.
    """

    pairs: list[tuple[int, int, int]]
    declarations: list[tuple[int, int]]
    sets: dict[int, int]
    base_changes: bool


class _Hypotheses:
    """Proves that types are equal, or not, and settles what follows."""

    def __init__(self, table: Table) -> None:
        self._table = table
        self._different: set[tuple[int, int]] = set()
        self._steps = STEPS_PER_TYPE * len(table.kinds)

    def prove(self, candidate: int, canonical: int, *, sure: bool = False) -> _Proof | None:
        """That two types are equal, with all that follows; None if they are different, or if it would take too long.

        With `sure` it is known already, and what follows is wanted: that settles types, so it is no work in vain.
        """
        table, different = self._table, self._different
        if (candidate, canonical) in different:
            return None
        words, starts, kinds, find = table.words, table.starts, table.kinds, table.find
        sets: dict[int, int] = {}
        pairs: list[tuple[int, int, int]] = []
        declarations: list[tuple[int, int]] = []  # of the candidate's side, and what they were met as
        bound: dict[int, int] = {}  # declaration of the canonical side -> definition of the candidate's
        base_changes = False
        todo = [(candidate, canonical, -1)]
        lowest = min(0, self._steps - SHORT_PROOF)
        while todo:
            a, b, origin = todo.pop()
            self._steps -= 1
            if a == b or find(a) == find(b):
                continue
            own = b >= table.first
            b = self._meaning(b) if kinds[b] == _FWD else find(b)
            if a == b or find(a) == find(b):
                continue
            x, y = _root(sets, a), _root(sets, b)
            if x == y:
                continue
            if self._steps < lowest and not sure:
                return None
            if kinds[a] == kinds[b]:
                inner = None if (a, b) in different else self._compare(a, b)
                if inner is None:
                    self._refuse(a, b, origin, pairs)
                    return None
                sets[x] = y
                todo += [(left, right, len(pairs)) for left, right in inner]
                pairs.append((a, b, origin))
            elif words[starts[a]] != words[starts[b]] or not self._declares(a, b):
                self._refuse(a, b, origin, pairs)
                return None
            elif kinds[a] == _FWD:
                declarations.append((a, b))
            elif kinds[b] == _FWD:
                base_changes = base_changes or not own
                if b in bound:
                    todo.append((a, bound[b], 0))  # one declaration, two definitions: they must be the same
                bound.setdefault(b, a)
        return _Proof(pairs, declarations + list(bound.items()), sets, base_changes)

    def _meaning(self, declaration: int) -> int:
        """What a declaration of the canonical side stands for by now, or itself."""
        table = self._table
        found = table.find(declaration)
        if declaration >= table.first and found in table.definitions:
            return table.find(table.definitions[found])
        return found

    def _compare(self, a: int, b: int) -> list[tuple[int, int]] | None:
        """The pairs that must be equal for two types of one kind to be equal; None if they differ by themselves."""
        table = self._table
        words, start, other = table.words, table.starts[a], table.starts[b]
        kind = table.kinds[a]
        if words[start] != words[other]:
            return None
        if kind in _COMPOSITE:
            end, other_end = table.starts[a + 1], table.starts[b + 1]
            if (
                words[start + 1 : start + 3] != words[other + 1 : other + 3]
                or words[start + 3 : end : 3] != words[other + 3 : other_end : 3]
                or words[start + 5 : end : 3] != words[other + 5 : other_end : 3]
            ):
                return None
            return list(zip(words[start + 4 : end : 3], words[other + 4 : other_end : 3], strict=True))
        if kind in _ENUMS:  # settled by their words, and not to the same
            return [] if _declared_enum(words[start], words[start + 1], words[other + 1]) else None
        if kind in _PRIMITIVES or words[start + 1] != words[other + 1]:
            return None
        if kind in REFERS:
            return [(words[start + 2], words[other + 2])]
        if kind == _ARRAY:
            if words[start + 5] != words[other + 5]:
                return None
            return list(zip(words[start + 3 : start + 5], words[other + 3 : other + 5], strict=True))
        if kind == _FUNC_PROTO:
            end, other_end = table.starts[a + 1], table.starts[b + 1]
            if words[start + 3 : end : 2] != words[other + 3 : other_end : 2]:
                return None
            inner = zip(words[start + 4 : end : 2], words[other + 4 : other_end : 2], strict=True)
            return [(words[start + 2], words[other + 2]), *inner]
        if kind == _DECL_TAG and words[start + 3] == words[other + 3]:
            return [(words[start + 2], words[other + 2])]
        return None

    def _declares(self, a: int, b: int) -> bool:
        """Whether two types of one name and different kinds can be a declaration and its definition."""
        table = self._table
        words, kinds, starts = table.words, table.kinds, table.starts
        if not words[starts[a]]:
            return False
        info, other_info = words[starts[a] + 1], words[starts[b] + 1]
        if kinds[a] == _FWD:
            return kinds[b] == (_UNION if info & KIND_FLAG else _STRUCT)
        if kinds[b] == _FWD:
            return kinds[a] == (_UNION if other_info & KIND_FLAG else _STRUCT)
        return kinds[a] in _ENUMS and kinds[b] in _ENUMS and _declared_enum(words[starts[a]], info, other_info)

    def settle(self, proof: _Proof) -> None:
        """Settle what a proof says: the candidate, and all structs and declarations that turned out equal with it."""
        same, kinds, find = self._table.same, self._table.kinds, self._table.find
        for declaration, definition in proof.declarations:
            self._define(find(declaration), definition)
        if proof.base_changes:
            self._different.add(proof.pairs[0][:2])
            return
        for a, b, _ in proof.pairs:
            if same[a] == UNKNOWN and kinds[a] in _COMPOSITE:
                settled = find(b)
                if same[settled] == settled:
                    same[a] = settled
        if not proof.declarations:  # then all of one set are equal, in whatever order they were met
            canonical: dict[int, int] = {}
            for pair in proof.pairs:
                for each in pair[:2]:
                    if same[each] != UNKNOWN and kinds[each] in _COMPOSITE:
                        canonical.setdefault(_root(proof.sets, each), find(each))
            for pair in proof.pairs:
                for each in pair[:2]:
                    if same[each] == UNKNOWN and kinds[each] in _COMPOSITE:
                        same[each] = canonical.get(_root(proof.sets, each), UNKNOWN)

    def _define(self, declaration: int, definition: int) -> None:
        table = self._table
        if table.kinds[declaration] != _FWD:
            return  # it has a definition, which counts
        if declaration < table.first:
            table.definitions.setdefault(declaration, definition)
        else:
            table.same[declaration] = table.find(definition)

    def _refuse(self, a: int, b: int, origin: int, pairs: list[tuple[int, int, int]]) -> None:
        """Remember two types as different, and with them all pairs that needed them to be equal."""
        kinds, different = self._table.kinds, self._different
        while True:
            if kinds[a] in _COMPOSITE:
                different.add((a, b))
            if origin < 0:
                return
            a, b, origin = pairs[origin]


def _root(sets: dict[int, int], type_id: int) -> int:
    """The representative of a set; halves the way for the next one."""
    above = sets.get(type_id)
    while above is not None:
        further = sets.get(above)
        if further is not None:
            sets[type_id] = further
        type_id, above = above, further
    return type_id


def _declared_enum(name: int, info: int, other_info: int) -> bool:
    """Whether two enums of one name fit because one of them has no values: it is only declared."""
    return bool(name) and not (info & VLEN_MASK and other_info & VLEN_MASK)
