"""Random type graphs that resemble each other, and a random question about them: for comparing two relocators.

Everything is drawn from a `random.Random`, so a number names a case. Graphs are well formed and acyclic by
value (a struct holds
only structs that were written before it); odd, but allowed, are: overlapping members, names that differ in
kind between the two
sides, bitfields of any place and width, arrays without elements, flavours, anonymous members.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ebpfpy.core import RelocationKind as R
from tests.unit.core.records import BOOL, CHAR, SIGNED, Records

if TYPE_CHECKING:
    from random import Random

NAMES = ["a", "b", "c", "d", "a___x"]
VALUES = ["A", "B", "C", "A___old", "B___new"]
FIELD_KINDS = [R.BYTE_OFF, R.BYTE_SZ, R.FIELD_EXISTS, R.SIGNED, R.LSHIFT_U64, R.RSHIFT_U64]
TYPE_KINDS = [R.TARGET_TYPE_ID, R.TYPE_EXISTS, R.TYPE_SIZE, R.TYPE_MATCHES]
ENUM_KINDS = [R.ENUMVAL_EXISTS, R.ENUMVAL_VALUE]


class Case(NamedTuple):
    """Local and target types, and the question."""

    local: Records
    target: Records
    root: int
    access: str
    kind: R
    memory: bool


class _Side:
    """One of the two type graphs in the making."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.records = Records()
        self.ints: list[tuple[int, int]] = []
        self.plain: list[int] = []
        self.composites: list[tuple[int, int, list[tuple]]] = []
        self.enums: list[tuple[int, int]] = []
        self.walk: dict[int, tuple] = {}  # id -> ("struct", members) or ("array", element, count)
        for name, size, encoding in [
            ("int", 4, SIGNED), ("unsigned int", 4, 0), ("long", 8, SIGNED), ("unsigned long", 8, 0),
            ("char", 1, CHAR), ("_Bool", 1, BOOL), ("short", 2, SIGNED),
        ]:  # fmt: skip
            found = self.records.int(name, size, encoding)
            self.ints.append((found, size))
            self.plain.append(found)
        self.plain += [self.records.float("double", 8), self.records.pointer(0), self.records.pointer(1)]
        self.records.forward("fwd")

    def grow(self) -> None:
        r, random = self.records, self.random
        choice = random.randrange(10)
        if choice < 4:
            self._struct(random.choice(["", "", "inner", "other"]))
        elif choice < 6:
            element, count = random.choice(self.plain), random.choice([0, 1, 2, 4])
            found = r.array(element, count, 1)
            self.walk[found] = ("array", element, count)
            self.plain.append(found)
        elif choice < 8:
            self._enum(random.choice(["", "e", "e___flavour", "g"]))
        elif choice == 8:
            target = random.choice(self.plain)
            found = r.typedef(random.choice(["t1", "t2"]), target) if random.random() < 0.5 else r.const(target)
            self.walk[found] = self.walk.get(target, ())
            self.plain.append(found)
        else:
            found = r.pointer(r.prototype(random.choice(self.plain), random.choices(self.plain, k=random.randrange(3))))
            self.plain.append(found)

    def _struct(self, name: str, members: int | None = None) -> int:
        random = self.random
        found: list[tuple] = []
        union = random.random() < 0.25
        for _ in range(random.randint(1, 4) if members is None else members):
            inner = [c for c in self.composites if c[1]]
            if inner and random.random() < 0.3:
                anonymous = random.choice(inner)
                found.append(
                    ("" if random.random() < 0.6 else random.choice(NAMES), anonymous[0], 8 * random.choice([0, 4, 8]))
                )
            elif random.random() < 0.3:
                type_id, size = random.choice(self.ints)
                found.append((random.choice(NAMES), type_id, random.randrange(120), random.randint(1, 8 * size)))
            else:
                found.append((random.choice(NAMES), random.choice(self.plain), 8 * random.choice([0, 4, 8, 16, 24])))
        if union and not any(len(m) > 3 for m in found):
            found = [(m[0], m[1], 0) for m in found]
            type_id = self.records.union(name, 32, found)
        else:
            type_id = self.records.struct(name, 32, found)
        self.walk[type_id] = ("struct", found)
        self.composites.append((type_id, 1, found))
        self.plain.append(type_id)
        return type_id

    def _enum(self, name: str) -> int:
        random = self.random
        values = [
            (v, random.choice([-1, 0, 5, 0x7FFFFFFF, 0x100000002])) for v in random.sample(VALUES, random.randint(1, 4))
        ]
        wide = random.random() < 0.4
        signed = random.random() < 0.5
        if not wide:
            values = [(v, n & 0x7FFFFFFF if n > 0 else n) for v, n in values]
        found = (self.records.enum64 if wide else self.records.enum)(name, values, signed=signed)
        self.enums.append((found, len(values)))
        self.plain.append(found)
        return found

    def root(self, kind: str, name: str) -> int:
        if kind == "struct":
            return self._struct(name, self.random.randint(1, 6))
        if kind == "enum":
            return self._enum(name)
        return self.records.typedef(name, self.random.choice(self.plain))


def _access(side: _Side, random: Random, root: int) -> str:
    steps = [random.choice([0, 0, 0, 0, 2])]
    at = root
    for _ in range(random.randint(0, 5)):
        where = side.walk.get(at, ())
        if not where:
            break
        if where[0] == "struct":
            index = random.randrange(len(where[1]))
            at = where[1][index][1]
        else:
            index = random.randrange(where[2] + 1)
            at = where[1]
        steps.append(index)
    return ":".join(map(str, steps))


def random_case(random: Random) -> Case:
    """A case; the same for the same state of `random`."""
    local, target = _Side(random), _Side(random)
    for side in (local, target):
        for _ in range(random.randint(1, 8)):
            side.grow()
    what = random.choice(["struct"] * 5 + ["enum", "enum", "typedef"])
    root = local.root(what, random.choice(["root", "root___here"]))
    for _ in range(random.choice([0, 1, 1, 1, 1, 1, 2])):
        target.root(what if random.random() < 0.9 else "typedef", random.choice(["root", "root", "root___there"]))
    if what == "enum":
        kind = random.choice(ENUM_KINDS * 2 + TYPE_KINDS)
    elif what == "typedef":
        kind = random.choice(TYPE_KINDS)
    else:
        kind = random.choice(FIELD_KINDS * 2 + [R.BYTE_OFF] * 6 + TYPE_KINDS + [R.LOCAL_TYPE_ID])
    if kind in ENUM_KINDS:
        access = str(random.randrange(local.enums[-1][1]))
    else:
        access = _access(local, random, root) if kind in FIELD_KINDS else "0"
    return Case(local.records, target.records, root, access, kind, random.random() < 0.7)
