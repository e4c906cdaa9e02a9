"""Names as C allows them.

BTF holds any bytes as names: Rust's ``core::fmt::Formatter``, a keyword, the empty string. C has identifiers, and two
namespaces for what a header declares: *tags* (struct, union, enum) and *ordinary names* (typedefs, enumerators,
functions). In each a name means one thing, while a kernel has several ``struct state``, each private to its file.
The n-th one is called ``state___n``: for CO-RE that is a flavour, so it still stands for the kernel's ``state``.
"""

from __future__ import annotations

import re
from itertools import accumulate, compress, count
from operator import add
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .spec import Spec

_WORDS = """
auto break case char const continue default do double else enum extern float for goto if inline int long register
restrict return short signed sizeof static struct switch typedef union unsigned void volatile while asm typeof
_Alignas _Alignof _Atomic _BitInt _Bool _Complex _Float16 _Generic _Imaginary _Noreturn _Static_assert _Thread_local
_Float32 _Float64 _Float128 _Float32x _Float64x __asm __asm__ __attribute __attribute__ __bf16 __alignof __alignof__
__complex__ __const __const__ __extension__ __float128 __ibm128 __imag__ __inline __inline__ __int128 __int128_t
__uint128_t __label__ __real__ __restrict __restrict__ __signed __signed__ __thread __typeof __typeof__ __volatile
__volatile__ __auto_type __func__ __null _Decimal32 _Decimal64 _Decimal128 __fp16 __builtin_offsetof
alignas alignof constexpr nullptr static_assert thread_local typeof_unqual
"""
KEYWORDS = frozenset(_WORDS.split())
"""Words that no declaration may use as a name, for the C of GCC and clang up to C23."""

KEYWORDS_C23 = frozenset({"bool", "true", "false"})
"""Words that became keywords, with the meaning that the kernel gives them as names."""

_PREDEFINED = "linux unix i386 mips sparc hppa m68k mc68000 MIPSEB MIPSEL R3000 R4000 PPC powerpc"
PREDEFINED = frozenset(_PREDEFINED.split())
"""Macros without an underscore in front that compilers define for some machine, unless told to follow the standard."""

_NO_LETTER = re.compile(r"[^A-Za-z0-9_]")
_CLASSES = bytes(
    0 if not c else ord("0") if chr(c).isdigit() else ord("a") if c == ord("_") or chr(c).isalpha() else ord("!")
    for c in range(128)
) + b"!" * 128  # fmt: skip


def identifier(name: str) -> str:
    """The name if C allows it, else one like it.

    So ``core::fmt`` becomes ``core__fmt``, ``if`` becomes ``if_``, and ``3c`` becomes ``_3c``. The empty name stays
    empty.
    """
    if name.isascii() and name.isidentifier():
        return name if name not in KEYWORDS else f"{name}_"
    if not name:
        return ""
    made = _NO_LETTER.sub("_", name)
    return f"_{made}" if made[0].isdigit() else made


class Identifiers(dict[int, str]):
    """String offset -> `identifier` of the string; made when asked for."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __missing__(self, offset: int) -> str:
        self[offset] = made = identifier(self.spec.string(offset))
        return made

    def fill(self) -> None:
        """Make those of all strings of the spec itself: many times faster, if most of them are needed."""
        raw, first = self.spec.own_strings(), self.spec.strings_end - len(self.spec.own_strings())
        # what is not ASCII is not an identifier, and left for later
        names = raw.decode("latin-1").split("\0")[:-1]
        # each string has a NUL behind it: the n-th one starts n bytes later than the lengths before it say
        starts = list(map(add, accumulate(map(len, names), initial=first), count()))
        self.update(zip(starts, names, strict=False))
        for start in compress(starts, map(KEYWORDS.__contains__, names)):
            self[start] = identifier(self[start])
        for start in _unfit(raw):
            del self[first + start]


def _unfit(raw: bytes) -> set[int]:
    """Where strings start that are no identifiers for their letters; most strings of a kernel are none of these."""
    classes = raw.translate(_CLASSES)
    found = {0} if classes[:1] == b"0" else set()
    at = classes.find(b"\x000")
    while at >= 0:
        found.add(at + 1)
        at = classes.find(b"\x000", at + 1)
    at = classes.find(b"!")
    while at >= 0:
        found.add(raw.rfind(b"\0", 0, at) + 1)
        at = classes.find(b"!", raw.index(b"\0", at))
    return found


class Scope(dict[str, int]):
    """The names of one namespace, with how often each was wanted."""

    def claim(self, name: str) -> str:
        """The name itself if it is free, else with a number behind it."""
        count = self.get(name)
        if count is None:
            self[name] = 1
            return name
        while True:
            count += 1
            made = f"{name}___{count}"
            if made not in self:
                self[name] = count
                self[made] = 1
                return made
