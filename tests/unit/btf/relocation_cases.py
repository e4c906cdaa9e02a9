"""Table of cases: a distilled type, what a new base has under its name, and what becomes of it in both modes."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ebpfpy import btf

if TYPE_CHECKING:
    from collections.abc import Callable

INT = btf.Int("int", 4, 1)


def struct(size: int, *, bitfields: bool = False) -> btf.Struct:
    """``struct foo``."""
    return btf.Struct("foo", size, (btf.Member("x", INT, 0, 3 if bitfields else 0),))


def union(size: int, *, bitfields: bool = False) -> btf.Union:
    """``union foo``."""
    return btf.Union("foo", size, (btf.Member("x", INT, 0, 3 if bitfields else 0),))


def enum(size: int, *, is64: bool = False) -> btf.Enum:
    """``enum foo``."""
    return btf.Enum("foo", size, (btf.Enumerator("FOO_A", 1),), is64=is64)


def integer(size: int, encoding: int = 0) -> btf.Int:
    """An int called foo."""
    return btf.Int("foo", size, encoding)


EMPTY_STRUCT = btf.Struct("foo", 8)
EMPTY_UNION = btf.Union("foo", 8)
FWD_STRUCT = btf.Fwd("foo")
FWD_UNION = btf.Fwd("foo", True)
ENUM_4 = btf.Enum("foo", 4)
TYPEDEF = btf.Typedef("foo", INT)


class Case(NamedTuple):
    """A row of the table.

    `kernel` and `sane` say which of `there` is found (its index), or the reason why nothing is.
    """

    distilled: btf.Type
    embedded: bool
    there: tuple[btf.Type, ...]
    kernel: int | str
    sane: int | str

    def __str__(self) -> str:
        there = "+".join(_short(each) for each in self.there) or "nothing"
        return f"{_short(self.distilled)}{' embedded' if self.embedded else ''} -> {there}"


def _short(of: btf.Type) -> str:
    if isinstance(of, btf.Fwd):
        return "fwd union" if of.union else "fwd struct"
    bitfields = any(member.bitfield_size for member in getattr(of, "members", ()))
    encoding = f" encoding {of.encoding}" if isinstance(of, btf.Int) else ""
    size = f" {of.size}" if hasattr(of, "size") else ""
    return f"{of.kind.name.lower()}{size}{encoding}{' with bitfields' if bitfields else ''}"


PTR, EMB = False, True

CASES = (
    # struct: sizes
    Case(EMPTY_STRUCT, PTR, (struct(8),), 0, 0),
    Case(EMPTY_STRUCT, EMB, (struct(8),), 0, 0),
    Case(EMPTY_STRUCT, PTR, (struct(16),), 0, 0),
    Case(EMPTY_STRUCT, EMB, (struct(16),), "size", "size"),
    # struct: other kinds of that name
    Case(EMPTY_STRUCT, PTR, (union(8),), 0, "kind"),
    Case(EMPTY_STRUCT, EMB, (union(8),), 0, "kind"),
    Case(EMPTY_STRUCT, PTR, (enum(8, is64=True),), 0, "kind"),
    Case(EMPTY_STRUCT, PTR, (integer(8),), 0, "kind"),
    Case(EMPTY_STRUCT, EMB, (integer(8),), 0, "kind"),
    Case(EMPTY_STRUCT, PTR, (enum(4),), "kind", "kind"),
    Case(EMPTY_STRUCT, PTR, (TYPEDEF,), "missing", "missing"),
    Case(EMPTY_STRUCT, PTR, (), "missing", "missing"),
    # struct: declarations
    Case(EMPTY_STRUCT, PTR, (FWD_STRUCT,), 0, 0),
    Case(EMPTY_STRUCT, EMB, (FWD_STRUCT,), "declared only", "declared only"),
    Case(EMPTY_STRUCT, PTR, (FWD_UNION,), 0, "kind"),
    Case(EMPTY_STRUCT, PTR, (FWD_STRUCT, struct(8)), "ambiguous", 1),
    Case(EMPTY_STRUCT, PTR, (struct(8), FWD_STRUCT), "ambiguous", 0),
    Case(EMPTY_STRUCT, EMB, (FWD_STRUCT, struct(8)), 1, 1),
    Case(EMPTY_STRUCT, EMB, (struct(8), FWD_STRUCT), "ambiguous", 0),
    # struct: several of that name
    Case(EMPTY_STRUCT, PTR, (struct(8), struct(8)), "ambiguous", "ambiguous"),
    Case(EMPTY_STRUCT, EMB, (struct(8), struct(8)), "ambiguous", "ambiguous"),
    Case(EMPTY_STRUCT, PTR, (struct(8), struct(16)), 0, 0),
    Case(EMPTY_STRUCT, PTR, (struct(16), struct(8)), 1, 1),
    Case(EMPTY_STRUCT, PTR, (struct(16), struct(24)), "ambiguous", "ambiguous"),
    Case(EMPTY_STRUCT, EMB, (struct(16), struct(24)), "size", "size"),
    Case(EMPTY_STRUCT, PTR, (struct(8), union(8)), "ambiguous", 0),
    Case(EMPTY_STRUCT, PTR, (union(8), struct(16)), 0, 1),
    # union
    Case(EMPTY_UNION, PTR, (union(8),), 0, 0),
    Case(EMPTY_UNION, EMB, (union(16),), "size", "size"),
    Case(EMPTY_UNION, PTR, (struct(8),), 0, "kind"),
    # enum
    Case(ENUM_4, PTR, (enum(4),), 0, 0),
    Case(ENUM_4, PTR, (enum(4, is64=True),), 0, 0),
    Case(ENUM_4, PTR, (enum(8, is64=True),), "size", "size"),
    Case(ENUM_4, PTR, (integer(4),), "kind", "kind"),
    Case(ENUM_4, PTR, (enum(4), enum(4)), "ambiguous", "ambiguous"),
    # int: sign and encoding
    Case(integer(4, 1), PTR, (integer(4),), "encoding", "encoding"),
    Case(integer(4, 1), PTR, (integer(4, 1),), 0, 0),
    Case(integer(4, 1), PTR, (integer(4, 2),), "encoding", "encoding"),
    Case(integer(4, 1), PTR, (integer(8, 1),), "size", "size"),
    Case(integer(4, 1), PTR, (integer(4, 1), integer(4, 1)), "ambiguous", 0),
    Case(integer(4, 1), PTR, (struct(4),), "kind", "kind"),
    # float
    Case(btf.Float("foo", 8), PTR, (btf.Float("foo", 8),), 0, 0),
    Case(btf.Float("foo", 8), PTR, (btf.Float("foo", 4),), "size", "size"),
    Case(btf.Float("foo", 8), PTR, (integer(8),), "kind", "kind"),
    # declarations: the kernel takes the flag "has bitfields" for "is a union"
    Case(FWD_STRUCT, PTR, (FWD_STRUCT,), 0, 0),
    Case(FWD_STRUCT, PTR, (FWD_UNION,), "kind", "kind"),
    Case(FWD_STRUCT, PTR, (struct(8),), 0, 0),
    Case(FWD_STRUCT, PTR, (struct(8, bitfields=True),), "flag", 0),
    Case(FWD_STRUCT, PTR, (union(8),), "kind", "kind"),
    Case(FWD_STRUCT, PTR, (union(8, bitfields=True),), 0, "kind"),
    Case(FWD_UNION, PTR, (union(8),), "flag", 0),
    Case(FWD_UNION, PTR, (union(8, bitfields=True),), 0, 0),
    Case(FWD_UNION, PTR, (struct(8),), 0, "kind"),
    Case(FWD_STRUCT, PTR, (struct(8), FWD_STRUCT), "ambiguous", 1),
    Case(FWD_STRUCT, PTR, (struct(8), struct(16)), "ambiguous", "ambiguous"),
)


def distilled_split(
    distilled: btf.Type, *, embedded: bool, wrap: Callable[[btf.Type], btf.Type] = lambda of: of, more: int = 0
) -> btf.Spec:
    """Split BTF whose base has `distilled` and int; ``struct mine`` has it as its member `inner`, or points to it.

    `more` types follow that have nothing to do with it.
    """
    lower = btf.Builder()
    lower.add_all((distilled, INT))
    base = lower.spec("mine.base")
    foo, number = base.type_by_id(1), base.type_by_id(2)
    inner = wrap(foo) if embedded else btf.Pointer(foo)
    mine = btf.Struct("mine", 64, (btf.Member("n", number), btf.Member("inner", inner, 64)))
    upper = btf.Builder(base)
    upper.add_all((mine, *(btf.Typedef("mine_t", mine) for _ in range(1 + more))))
    return upper.spec("mine")


def kernel_base(*there: btf.Type) -> btf.Spec:
    """A base whose ids 1 and 2 are taken by other types, 3 by int; `there` follows."""
    builder = btf.Builder()
    builder.add_all((btf.Typedef("other", INT), btf.Struct("unrelated", 4, (btf.Member("inner", INT),)), INT, *there))
    return builder.spec("vmlinux")


FIRST_ID = 4
"""The id of the first of `there` in `kernel_base`."""
