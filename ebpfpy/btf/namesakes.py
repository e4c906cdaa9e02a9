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

from ebpfpy.errors import BtfError
from ebpfpy.sys.memory import Memory

from .header import native_words, read_header
from .kinds import KIND_MASK, KIND_SHIFT, VLEN_MASK, Kind
from .mappedkernel import mapped_kernel

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .header import Sections
    from .spec import Spec


class Blob:
    """A blob, ready to be searched."""

    def __init__(self, data: memoryview, sections: Sections) -> None:
        self.sections = sections
        self._is_split = bytes(data[sections.strings : sections.strings + 1]) != b"\0"
        self.words = native_words(data, sections)
        self._bytes = Memory(data)
        self._types = Memory(self.words.cast("B"))

    @classmethod
    def of(cls, spec: Spec) -> Blob:
        """That of a spec; only its bytes are looked at."""
        return cls(spec.raw, spec._sections)

    def __len__(self) -> int:
        return self.sections.strings_end  # behind the types

    def offsets(self, name: bytes) -> list[int]:
        """Where a name is in the string section."""
        start, end = self.sections.strings, self.sections.strings_end
        found = []
        if self._is_split and self._bytes.find(name + b"\0", start, start + len(name) + 1) >= 0:  # the first string
            found.append(0)
        needle = b"\0" + name + b"\0"
        at = self._bytes.find(needle, start, end)
        while at >= 0:
            found.append(at + 1 - start)
            at = self._bytes.find(needle, at + 1, end)
        return found

    def places(self, offset: int, kind: int) -> list[int]:
        """The words where a record of a kind whose name is at an offset seems to start."""
        words = self.words
        places = self._types.words_equal(offset, 0, len(words) - 1)
        return [at for at in places if words[at + 1] >> KIND_SHIFT & KIND_MASK == kind]

    def count(self, offset: int, kind: int) -> int:
        """How many records of a kind have their name at an offset, at most."""
        return len(self.places(offset, kind))


_running: list[Blob] = []  # empty, or the running kernel's own types


def running_kernel() -> Blob | None:
    """The running kernel's own types, ready to be searched once for the process; None where they are not mapped."""
    if not _running:
        data = mapped_kernel()
        if data is None:
            return None
        _running.append(Blob(memoryview(data).cast("B"), read_header(data, source="vmlinux", split=False)))
    return _running[0]


def members_by_bytes(spec: Spec, structure: bytes) -> set[bytes] | None:
    """The names of a struct's members, without a walk to the struct.

    Args:
        spec: types that stand alone.
        structure: the struct's name.

    Returns:
        None where not exactly one place looks like that struct: who needs an answer looks for the type itself.
    """
    blob = Blob.of(spec)
    places = [at for offset in blob.offsets(structure) for at in blob.places(offset, Kind.STRUCT)]
    if len(places) != 1:
        return None
    words, at = blob.words, places[0]
    # u32 name, info, size; for each member u32 name, type, offset
    names = words[at + 3 : at + 3 + 3 * (words[at + 1] & VLEN_MASK) : 3]
    try:
        return set(spec.strings_at(names))
    except BtfError:
        return None


class Namesakes:
    """Counts the types of a name in a kernel and the modules that are loaded. Thread-safe.

    Args:
        kernel: the kernel's types.
        size: bytes of modules' BTF to keep from one call of `follow` to the next.
    """

    def __init__(self, kernel: Blob, size: int) -> None:
        self._kernel = kernel
        self._size = size
        self._modules: dict[str, tuple[object, Blob | None]] = {}
        self._offsets: dict[bytes, list[int]] = {}
        self._counts: dict[tuple[bytes, int], int] = {}

    def follow(self, loaded: Mapping[str, object], read: Callable[[str], bytes]) -> None:
        """Take in modules that are new, and let go of those that are not there any more.

        Args:
            loaded: the modules, each with what tells this loading of it from any other.
            read: gives the BTF of one. A module that it cannot read (OSError), or that is malformed, has no types.
        """
        known = self._modules if sum(len(blob) for _, blob in self._modules.values() if blob) <= self._size else {}
        modules = {}
        for name, loading in loaded.items():
            entry = known.get(name)
            if entry is None or entry[0] != loading:
                entry = loading, _read(name, read)
            modules[name] = entry
        self._modules = modules

    def in_kernel(self, name: bytes, kind: int) -> int:
        """At most how many types of that name and kind the kernel itself has."""
        count = self._counts.get((name, kind))
        if count is None:
            count = sum(self._kernel.count(offset, kind) for offset in self._in_base(name))
            self._counts[name, kind] = count
        return count

    def in_modules(self, name: bytes, kind: int) -> dict[str, int]:
        """The modules that have types of that name and kind, and at most how many."""
        if not self._modules:
            return {}
        sections = self._kernel.sections
        behind = sections.strings_end - sections.strings
        base = self._in_base(name)
        found = {}
        for module, (_, blob) in self._modules.items():
            if blob is not None:
                own = [behind + offset for offset in blob.offsets(name)]
                count = sum(blob.count(offset, kind) for offset in (*base, *own))
                if count:
                    found[module] = count
        return found

    def _in_base(self, name: bytes) -> list[int]:
        offsets = self._offsets.get(name)
        if offsets is None:
            offsets = self._offsets[name] = self._kernel.offsets(name)
        return offsets


def _read(name: str, read: Callable[[str], bytes]) -> Blob | None:
    try:
        data = read(name)
        return Blob(memoryview(data), read_header(data, source=name, split=True))
    except (BtfError, OSError):
        return None
