"""Names as C allows them.

BTF holds any bytes as names: Rust's ``core::fmt::Formatter``, a keyword, the empty string. C has identifiers, and two
namespaces for what a header declares: *tags* (struct, union, enum) and *ordinary names* (typedefs, enumerators,
functions). In each a name means one thing, while a kernel has several ``struct state``, each private to its file.
The n-th one is called ``state___n``: for CO-RE that is a flavour, so it still stands for the kernel's ``state``.
"""

from __future__ import annotations

import re
from contextlib import suppress
from itertools import accumulate, compress, count
from operator import add, not_
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
__volatile__ __auto_type __func__ __null
"""
KEYWORDS = frozenset(_WORDS.split())
"""Words that no declaration may use as a name, for the C of GCC and clang up to C17."""

KEYWORDS_C23 = frozenset({"bool", "true", "false"})
"""Words that became keywords, with the meaning that the kernel gives them as names."""

_NO_LETTER = re.compile(r"[^A-Za-z0-9_]")


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
    """String offset -> `identifier` of the string; filled when asked for."""

    def __init__(self, spec: Spec) -> None:
        self.spec = spec

    def __missing__(self, offset: int) -> str:
        self[offset] = made = identifier(self.spec.string(offset))
        return made

    def fill(self) -> None:
        """Convert all strings of the spec itself at once: many times faster, if most of them are needed."""
        self._fill(self.spec)

    def _fill(self, spec: Spec) -> None:
        try:
            text = spec.own_strings().decode("ascii")
        except UnicodeDecodeError:
            return  # one by one, when asked for
        names = text.split("\0")[:-1]
        # each string has a NUL behind it: the n-th one starts n bytes later than the lengths before it say
        starts = list(map(add, accumulate(map(len, names), initial=spec._first_string), count()))
        self.update(zip(starts, names, strict=False))
        unfit = list(compress(count(), map(not_, map(str.isidentifier, names))))
        for word in KEYWORDS.intersection(names):
            index = -1
            with suppress(ValueError):  # no further one
                while True:
                    unfit.append(index := names.index(word, index + 1))
        for index in unfit:
            self[starts[index]] = identifier(names[index])


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
