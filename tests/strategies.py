"""Hypothesis strategies for BTF type graphs, a way to compare them, and raw blobs for what no builder would write."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st

from ebpfpy import btf

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

VOID = btf.Void()

names = st.one_of(
    st.just(""),
    st.sampled_from(["int", "char", "foo", "foo___v1", "___foo", "foo____bar", "foo___", "a b", "名"]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8),
)
words = st.integers(0, 0xFFFF_FFFF)
small = st.integers(0, 64)


@st.composite
def type_graphs(
    draw: st.DrawFn, *, others: Sequence[btf.Type] = (), most: int = 10, sane: bool = False
) -> list[btf.Type]:
    """Types of every kind that refer to each other at random, cycles included, and to `others`.

    With `sane`, sizes and counts are small, so that many of the types have values.
    """
    count = draw(st.integers(1, most))
    graph: list[btf.Type] = []
    number = small if sane else st.one_of(small, words)

    def reference() -> Callable[[], btf.Type] | btf.Type:
        index = draw(st.integers(-1 - len(others), count - 1))
        if index == -1:
            return VOID
        if index < -1:
            return others[-2 - index]
        return lambda: graph[index]

    def members() -> tuple[btf.Member, ...]:
        bitfields = draw(st.booleans())
        offset = st.integers(0, 0xFF_FFFF) if bitfields and not sane else number
        width = st.integers(0, 255) if bitfields else st.just(0)
        return tuple(
            btf.Member(draw(names), reference(), draw(offset), draw(width)) for _ in range(draw(st.integers(0, 4)))
        )

    def enum() -> btf.Enum:
        is64, signed = draw(st.booleans()), draw(st.booleans())
        bits = 64 if is64 else 32
        value = st.integers(-(1 << bits - 1) if signed else 0, (1 << bits - 1) - 1 if signed else (1 << bits) - 1)
        body = tuple(btf.Enumerator(draw(names), draw(value)) for _ in range(draw(st.integers(0, 3))))
        return btf.Enum(draw(names), draw(st.sampled_from([1, 2, 4, 8])), body, signed, is64)

    def params() -> tuple[btf.Param, ...]:
        return tuple(btf.Param(draw(names), reference()) for _ in range(draw(st.integers(0, 3))))

    def variables() -> tuple[btf.VarSecinfo, ...]:
        return tuple(btf.VarSecinfo(reference(), draw(number), draw(number)) for _ in range(draw(st.integers(0, 3))))

    byte = st.integers(0, 255)
    int_size = st.sampled_from([1, 2, 4, 8, 16]) if sane else st.one_of(st.sampled_from([1, 2, 4, 8, 16]), words)
    makers: list[Callable[[], btf.Type]] = [
        lambda: (
            btf.Int(draw(names), draw(st.sampled_from([1, 2, 4, 8])), draw(st.integers(0, 7)))
            if sane
            else btf.Int(draw(names), draw(int_size), draw(st.integers(0, 15)), draw(byte), draw(byte))
        ),
        lambda: btf.Pointer(reference()),
        lambda: btf.Array(reference(), reference(), draw(number)),
        lambda: btf.Struct(draw(names), draw(number), members()),
        lambda: btf.Union(draw(names), draw(number), members()),
        enum,
        lambda: btf.Fwd(draw(names), draw(st.booleans())),
        lambda: btf.Typedef(draw(names), reference()),
        lambda: btf.Volatile(reference()),
        lambda: btf.Const(reference()),
        lambda: btf.Restrict(reference()),
        lambda: btf.Func(draw(names), reference(), draw(st.integers(0, 2))),
        lambda: btf.FuncProto(reference(), params()),
        lambda: btf.Var(draw(names), reference(), draw(st.integers(0, 2))),
        lambda: btf.Datasec(draw(names), draw(number), variables()),
        lambda: btf.Float(draw(names), draw(st.sampled_from([2, 4, 8, 12, 16]))),
        lambda: btf.DeclTag(draw(names), reference(), draw(st.integers(-1, 9)), draw(st.booleans())),
        lambda: btf.TypeTag(draw(names), reference(), draw(st.booleans())),
    ]
    graph.extend(draw(st.sampled_from(makers))() for _ in range(count))
    return graph


@st.composite
def splits(draw: st.DrawFn, *, most: int = 6) -> btf.Spec:
    """Split BTF of `type_graphs`, on a base of others, that refers to both."""
    lower = btf.Builder()
    lower.add_all(draw(type_graphs(most=most)))
    base = lower.spec("base")
    upper = btf.Builder(base)
    upper.add_all(draw(type_graphs(others=list(base), most=most)))
    return upper.spec("split")


def structure(roots: Iterable[btf.Type]) -> list[tuple[Any, ...]]:
    """What is reachable from the roots, as plain tuples in which a type is its number in the order of meeting it.

    Two graphs are the same structure exactly if these are equal.
    """
    numbers: dict[btf.Type, int] = {}
    queue: list[btf.Type] = []

    def number(of: btf.Type) -> int:
        if isinstance(of, btf.Void):
            return -1
        if of not in numbers:
            numbers[of] = len(queue)
            queue.append(of)
        return numbers[of]

    def plain(value: Any) -> Any:
        if isinstance(value, btf.Type):
            return number(value)
        if isinstance(value, tuple):
            return tuple(plain(each) for each in value)
        return fields(value) if hasattr(value, "__match_args__") else value

    def fields(of: Any) -> tuple[Any, ...]:
        return (type(of).__name__, *(plain(getattr(of, name)) for name in of.__match_args__))

    for root in roots:
        number(root)
    return [fields(of) for of in queue]


def raw_btf(
    records: Sequence[int],
    strings: bytes = b"\0",
    *,
    layout: bytes = b"",
    order: str = "little",
    header: int = 24,
) -> bytes:
    """A blob around the words of its records, whatever they are."""
    mark = "<" if order == "little" else ">"
    body = struct.pack(f"{mark}{len(records)}I", *records)
    head = struct.pack(mark + "HBBIIIII", 0xEB9F, 1, 0, header, 0, len(body), len(body) + len(layout), len(strings))
    if header >= 32:
        head += struct.pack(mark + "II", len(body) if layout else 0, len(layout))
    return head.ljust(header, b"\0") + body + layout + strings
