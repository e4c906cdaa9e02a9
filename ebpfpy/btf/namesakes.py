"""How many types can have a name, told by bytes alone: no record is walked, no id is known afterwards.

A type's record starts with the offset of its name and a word that says its kind. So who has the name is among the words
of the type section that equal the name's offset, with a word behind them that says that kind. A word may look so and be
part of something else: the number that comes out is never too small, and seldom too large. "At most one" is what it is
good for: an answer of the kernel's (`kernelsearch`), which is its first, is then its only one.

A module's type may have its name in the kernel's strings or in the module's own, so both are searched; the module's
strings continue the kernel's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.sys.memory import Memory

from .header import native_words, read_header
from .kinds import KIND_MASK, KIND_SHIFT

if TYPE_CHECKING:
    from .header import Sections
    from .spec import Spec

_WORD = 4


class _Blob:
    """A blob, ready to be searched."""

    def __init__(self, data: memoryview, sections: Sections) -> None:
        self.sections = sections
        self.words = native_words(data, sections)
        self._bytes = Memory(data)
        self._types = Memory(self.words.cast("B"))

    def offsets(self, name: bytes) -> list[int]:
        """Where a name is in the string section."""
        start, end = self.sections.strings, self.sections.strings_end
        found = []
        if self._bytes.find(name + b"\0", start, start + len(name) + 1) >= 0:  # the first string of a split
            found.append(0)
        needle = b"\0" + name + b"\0"
        at = self._bytes.find(needle, start, end)
        while at >= 0:
            found.append(at + 1 - start)
            at = self._bytes.find(needle, at + 1, end)
        return found

    def count(self, offset: int, kind: int) -> int:
        words = self.words
        places = self._types.words_equal(offset, 0, len(words) - 1)
        return sum(words[at + 1] >> KIND_SHIFT & KIND_MASK == kind for at in places)


class Namesakes:
    """Counts the types of a name in a kernel and its modules.

    Args:
        kernel: the kernel's types; only their bytes are looked at.
    """

    def __init__(self, kernel: Spec) -> None:
        self._kernel = _Blob(kernel.raw, kernel._sections)
        self._modules: dict[str, _Blob] = {}
        self._name: bytes = b""
        self._offsets: list[int] = []

    def add_module(self, name: str, data: bytes) -> None:
        """Take in a module.

        Args:
            name: what to call it.
            data: its BTF.

        Raises:
            BtfError: it is malformed.
        """
        self._modules[name] = _Blob(memoryview(data), read_header(data, source=name, split=True))

    def in_kernel(self, name: bytes, kind: int) -> int:
        """At most how many types of that name and kind the kernel itself has."""
        return sum(self._kernel.count(offset, kind) for offset in self._in_base(name))

    def in_modules(self, name: bytes, kind: int) -> dict[str, int]:
        """The modules that have types of that name and kind, and at most how many."""
        sections = self._kernel.sections
        behind = sections.strings_end - sections.strings
        base = self._in_base(name)
        found = {}
        for module, blob in self._modules.items():
            own = [behind + offset for offset in blob.offsets(name)]
            count = sum(blob.count(offset, kind) for offset in (*base, *own))
            if count:
                found[module] = count
        return found

    def _in_base(self, name: bytes) -> list[int]:
        if name != self._name:
            self._name, self._offsets = name, self._kernel.offsets(name)
        return self._offsets
