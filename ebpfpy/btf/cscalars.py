"""Integers as a C compiler knows them: names, sizes, alignments."""

from __future__ import annotations

from .kinds import INT_BOOL, INT_SIGNED

_INT_WORDS = frozenset({"signed", "unsigned", "short", "long", "int", "char", "_Bool", "__int128"})

ENUM_MODES = {
    1: " __attribute__((mode(QI)))",
    2: " __attribute__((mode(HI)))",
    4: " __attribute__((mode(SI)))",
    8: " __attribute__((mode(DI)))",
}
"""The sizes that an enum can have in C, in bytes, and what gives it that size."""


def integer_name(size: int, encoding: int) -> str:
    """C's name for an integer; "" if it has none."""
    if encoding & INT_BOOL and size == 1:
        return "_Bool"
    word = {1: "char", 2: "short int", 4: "int", 8: "long long int", 16: "__int128"}.get(size, "")
    if not word:
        return ""
    if encoding & INT_SIGNED:
        return "signed char" if size == 1 else word
    return f"unsigned {word}"


def is_c_integer(name: str, size: int, pointer_size: int) -> bool:
    """Whether a C compiler knows an integer of that name and gives it that size."""
    tokens = name.split()
    if not tokens or not _INT_WORDS.issuperset(tokens):
        return False
    for word, expected in (("_Bool", 1), ("char", 1), ("short", 2), ("__int128", 16)):
        if word in tokens:
            return size == expected
    return size == {0: 4, 1: pointer_size, 2: 8}.get(tokens.count("long"), 0)


def alignments(size: int, pointer_size: int) -> tuple[int, int]:
    """The least and the greatest alignment, in bits, that compilers give to a number of `size` bytes.

    They differ on 32-bit machines: a ``long long`` is aligned to 4 bytes on x86 and to 8 on Arm, MIPS, PowerPC and
    RISC-V, and BTF does not say for which machine it is.
    """
    if size == 16:
        return (128, 128) if pointer_size == 8 else (32, 128)
    if size == 8:
        return (64, 64) if pointer_size == 8 else (32, 64)
    if size in (1, 2, 4):
        return 8 * size, 8 * size
    return (32, 32) if size and size % 4 == 0 else (8, 8)
