"""Executables and libraries: from a name to a file, and from a function's name to its place in the file.

The kernel knows a uprobe's place as an offset in a file. A symbol's value is an address instead; the loadable segment
that has the address tells where in the file it lies:

    Type  Offset    VirtAddr  FileSiz
    LOAD  0x02a000  0x40a000  0x1f000      a symbol with value 0x40b234 is at offset 0x2b234

A name may stand for several symbols. Of versions of one function (``memcpy@GLIBC_2.2.5``, ``memcpy@@GLIBC_2.14``) the
default one is meant, unless a version is asked for; a global symbol wins over a weak one, and that over a local one.
What is left with two places is refused.

A library may also lie in a zip archive (`ziparchive`); places are then counted from the archive's start.

Source: the System V ABI (elf.h), the Linux Standard Base on symbol versions.
"""

from __future__ import annotations

import mmap
import os
import stat
import struct
from functools import cached_property
from typing import TYPE_CHECKING, Final, NamedTuple

from ebpfpy.btf.elfsection import sections
from ebpfpy.errors import AmbiguousTargetError, EbpfError, ElfError, InputError, TargetNotFoundError, kernel_error

from .ziparchive import split_member, stored_member

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOAD: Final = 1
_FUNC: Final = 2
_IFUNC: Final = 10
_RANKS: Final = {1: 0, 2: 1, 0: 2}  # STB_GLOBAL, STB_WEAK, STB_LOCAL
_HIDDEN: Final = 0x8000
_MOST_SEGMENTS: Final = 1 << 16
_TABLES: Final = ((".dynsym", ".dynstr"), (".symtab", ".strtab"))
_OTHERS: Final = (".gnu.version", ".gnu.version_d", ".note.stapsdt", ".stapsdt.base", ".probes")
_NEAR: Final = 5
_COMPARED: Final = 1 << 14  # names that a wrong one is compared with


class Segment(NamedTuple):
    """A loadable segment: `size` bytes at `offset` of the file are at `address` in memory."""

    offset: int
    address: int
    size: int


class Function(NamedTuple):
    """A function of the file.

    Attributes:
        name: of the symbol; of one with a version without it.
        offset: bytes from the file's start.
        rank: 0 global, 1 weak, 2 local.
        hidden: an old version, which only who asks for it gets.
        version: "GLIBC_2.14", or "".
    """

    name: str
    offset: int
    rank: int
    hidden: bool
    version: str


class Executable:
    """An ELF executable or library, read as far as uprobes need it.

    Args:
        path: the file; "ARCHIVE!/MEMBER" for a library that is stored in a zip archive.

    Attributes:
        path: that.
        file: the file that the kernel is told, whose places are meant: the archive, if there is one.
        start: where in it the library begins, in bytes.

    Raises:
        ElfError: it is no ELF file, or a malformed one.
        TargetNotFoundError: the archive has no such member.
        KernelError: it cannot be read.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)
        try:
            self.file, member = split_member(self.path)
            with open(self.file, "rb", opener=_open) as file:
                state = os.fstat(file.fileno())
                if not stat.S_ISREG(state.st_mode) or not state.st_size:
                    raise ElfError("the file is empty, or no regular file", source=self.file)
                self.start, size = stored_member(file, self.file, member) if member else (0, state.st_size)
                self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except OSError as error:
            if isinstance(error, EbpfError):
                raise
            raise kernel_error(error.errno or 0, "open", subject=self.file) from error
        except ValueError as error:
            if isinstance(error, EbpfError):
                raise
            raise InputError(f"{self.path!r}: no path has a NUL") from None
        self._data = memoryview(self._map)[self.start : self.start + size]
        try:
            self._read_header()
        except struct.error:
            self.close()
            raise ElfError("truncated ELF header", source=self.path) from None
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file. Does nothing if that has been done."""
        for view in self.__dict__.pop("_sections", {}).values():
            view.release()
        self._data.release()
        self._map.close()

    def __enter__(self) -> Executable:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _read_header(self) -> None:
        data = self._data
        if len(data) < 20 or bytes(data[:4]) != b"\x7fELF":
            raise ElfError("not an ELF file", source=self.path, offset=0)
        self.wide = data[4] == 2
        self.mark = mark = ">" if data[5] == 2 else "<"
        if self.wide:
            (table,) = struct.unpack_from(mark + "Q", data, 0x20)
            entry, count = struct.unpack_from(mark + "HH", data, 0x36)
            layout = struct.Struct(mark + "IIQQQQ")  # u32 type, u32 flags, u64 offset, vaddr, paddr, filesz
        else:
            (table,) = struct.unpack_from(mark + "I", data, 0x1C)
            entry, count = struct.unpack_from(mark + "HH", data, 0x2A)
            layout = struct.Struct(mark + "IIIII")  # u32 type, offset, vaddr, paddr, filesz
        if count and (entry < layout.size or count > _MOST_SEGMENTS or table + entry * count > len(data)):
            raise ElfError(f"{count} program headers at {table} are out of range", source=self.path, offset=table)
        self.segments: list[Segment] = []
        for index in range(count):
            row = layout.unpack_from(data, table + index * entry)
            if row[0] == _LOAD:
                place = row[2:4] + row[5:6] if self.wide else row[1:3] + row[4:5]
                self.segments.append(Segment(*place))

    @cached_property
    def _sections(self) -> dict[str, memoryview]:
        wanted = tuple(name for pair in _TABLES for name in pair) + _OTHERS
        return sections(self._data, wanted, source=self.path)

    def section(self, name: str) -> memoryview | None:
        """The contents of a section, one of those that matter here; None if the file has none of that name."""
        return self._sections.get(name)

    def offset_of(self, address: int) -> int | None:
        """Where in `file` a virtual address lies; None if no segment has it."""
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.size:
                return address - segment.address + segment.offset + self.start
        return None

    def function(self, wanted: str) -> int:
        """The offset in `file` of a function.

        Args:
            wanted: its name, with "@VERSION" for a version other than the default one.

        Raises:
            TargetNotFoundError: the file defines no such function.
            AmbiguousTargetError: it defines several.
            ElfError: a malformed file.
        """
        name, _, version = wanted.partition("@")
        version = version.removeprefix("@")
        found = list(self._functions_named(name, version))
        if not version:
            current = [each for each in found if not each.hidden]
            found = current or ([] if self._has(name, _IFUNC) else found)
        rank = min((each.rank for each in found), default=0)
        best = [each for each in found if each.rank == rank]
        offsets = sorted({each.offset for each in best})
        if len(offsets) == 1:
            return offsets[0]
        if not offsets:
            raise TargetNotFoundError(
                f"{self.path} defines no function {wanted!r}{self._why_not(name)}", name=wanted, searched=(self.path,)
            )
        places = tuple(f"{each.name}{'@' + each.version if each.version else ''} at {each.offset:#x}" for each in best)
        raise AmbiguousTargetError(
            f"{self.path} has {len(offsets)} functions {wanted!r}: {', '.join(places[:_NEAR])}: give the offset",
            candidates=places,
            name=wanted,
            searched=(self.path,),
        )

    def functions(self, matches: Callable[[str], object]) -> dict[str, int]:
        """The functions whose names match, by name, each at the place that `function` would find.

        Args:
            matches: is asked with each name.
        """
        best: dict[str, Function] = {}
        for symbols, names in self._tables():
            for row in self._rows(symbols):
                name = _name_at(names, row[0])
                name = name.partition("@")[0]
                each = self._defined(name, row) if matches(name) else None
                known = best.get(name)
                if each and (known is None or (each.hidden, each.rank) < (known.hidden, known.rank)):
                    best[name] = each
        return {name: best[name].offset for name in sorted(best)}

    def _tables(self) -> Iterator[tuple[memoryview, bytes]]:
        for symbols, names in _TABLES:
            table, strings = self.section(symbols), self.section(names)
            if table is not None and strings is not None:
                yield table, bytes(strings)

    def _rows(self, table: memoryview) -> Iterator[tuple[int, int, int, int, int]]:
        """Symbols: name, value, info, section's index, own index."""
        if self.wide:  # u32 name, u8 info, u8 other, u16 shndx, u64 value, u64 size
            layout = struct.Struct(self.mark + "IBBHQQ")
            whole = table[: len(table) // layout.size * layout.size]
            for index, (name, info, _, section, value, _) in enumerate(layout.iter_unpack(whole)):
                yield name, value, info, section, index
        else:  # u32 name, u32 value, u32 size, u8 info, u8 other, u16 shndx
            layout = struct.Struct(self.mark + "IIIBBH")
            whole = table[: len(table) // layout.size * layout.size]
            for index, (name, value, _, info, _, section) in enumerate(layout.iter_unpack(whole)):
                yield name, value, info, section, index

    def _functions_named(self, name: str, version: str) -> Iterator[Function]:
        versions = self._versions if version else {}
        encoded = name.encode()
        for table, names in self._tables():
            dynamic = table is self.section(".dynsym")
            wanted = set(_places(names, encoded + b"\0"))
            suffixes = (b"@" + version.encode(), b"@@" + version.encode()) if version else (b"@@",)
            versioned = {place for suffix in suffixes for place in _places(names, encoded + suffix)}
            for row in self._rows(table):
                if row[0] in versioned:
                    each = self._defined(name, row)
                    if each:
                        yield each._replace(version=version)
                elif row[0] in wanted:
                    each = self._defined(name, row, dynamic=dynamic)
                    if each and (not version or (dynamic and versions.get(self._version_index(row[4])) == version)):
                        yield each._replace(version=version)

    def _defined(self, name: str, row: tuple[int, int, int, int, int], *, dynamic: bool = False) -> Function | None:
        _, value, info, section, index = row
        if info & 15 != _FUNC or not section or not name:
            return None
        offset = self.offset_of(value)
        if offset is None:
            return None
        hidden = dynamic and bool(self._version_word(index) & _HIDDEN)
        return Function(name, offset, _RANKS.get(info >> 4, 0), hidden, "")

    def _version_word(self, index: int) -> int:
        words = self.section(".gnu.version")
        if words is None or 2 * index + 2 > len(words):
            return 0
        (word,) = struct.unpack_from(self.mark + "H", words, 2 * index)
        return int(word)

    def _version_index(self, index: int) -> int:
        return self._version_word(index) & ~_HIDDEN

    @cached_property
    def _versions(self) -> dict[int, str]:
        """Names of the versions that the file defines, by their index."""
        data, strings = self.section(".gnu.version_d"), self.section(".dynstr")
        if data is None or strings is None:
            return {}
        names, found, at = bytes(strings), {}, 0
        try:
            for _ in range(len(data) // 20):
                # u16 version, u16 flags, u16 index, u16 count, u32 hash, u32 first name, u32 next
                _, _, index, _, _, aux, following = struct.unpack_from(self.mark + "HHHHIII", data, at)
                (name,) = struct.unpack_from(self.mark + "I", data, at + aux)
                found[index] = _name_at(names, name)
                if not following:
                    break
                at += following
        except struct.error:
            raise ElfError("truncated symbol versions", source=self.path) from None
        return found

    def _why_not(self, name: str) -> str:
        """More about a function that is not there."""
        import difflib

        if self._has(name, _IFUNC):
            return ": which function that is, is chosen when a program starts (IFUNC); give the offset"
        if self._has(name, None):
            return ": it only uses it; a library that it is linked with defines it"
        near = difflib.get_close_matches(name, list(self.functions(bool))[:_COMPARED], _NEAR, 0.7)
        if near:
            return f"; near: {', '.join(near)}"
        return "" if self.section(".symtab") is not None else ": it is stripped of names; give the offset"

    def _has(self, name: str, kind: int | None) -> bool:
        """Whether it defines a symbol of that kind; None: whether it uses the name without defining it."""
        for table, names in self._tables():
            wanted = set(_places(names, name.encode() + b"\0"))
            for row in self._rows(table):
                if row[0] in wanted and (not row[3] if kind is None else row[3] and row[2] & 15 == kind):
                    return True
        return False


def _open(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a pipe must not make us wait for a writer


def _places(names: bytes, wanted: bytes) -> Iterator[int]:
    """Where a name starts in a table of names; several may share an end."""
    at = names.find(wanted)
    while at >= 0:
        yield at
        at = names.find(wanted, at + 1)


def _name_at(names: bytes, offset: int) -> str:
    end = names.find(b"\0", offset)
    return names[offset : end if end >= 0 else None].decode("utf-8", "replace")


def find_binary(name: str) -> str:
    """The file that a name stands for: a path as it is, else a library or a program from the usual directories.

    Args:
        name: "/usr/bin/python3", "libc.so.6", "bash"; "/data/app.apk!/lib/libapp.so".

    Raises:
        TargetNotFoundError: no directory has it.
    """
    if "/" in name:
        return name
    library = name.endswith(".so") or ".so." in name
    places = _library_directories() if library else [*os.environ.get("PATH", "").split(":"), *_PROGRAMS]
    for place in dict.fromkeys(filter(None, places)):
        path = os.path.join(place, name)
        if os.path.isfile(path) and (library or os.access(path, os.X_OK)):
            return path
    raise TargetNotFoundError(
        f"no {'library' if library else 'program'} {name!r} in {', '.join(dict.fromkeys(filter(None, places)))}:"
        " give its path",
        name=name,
        searched=tuple(dict.fromkeys(filter(None, places))),
    )


_PROGRAMS: Final = ("/usr/local/bin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin")


def _library_directories() -> list[str]:
    triplet = f"{os.uname().machine}-linux-gnu"
    usual = [f"/usr/lib/{triplet}", f"/lib/{triplet}", "/usr/local/lib", "/usr/lib64", "/lib64", "/usr/lib", "/lib"]
    return [*os.environ.get("LD_LIBRARY_PATH", "").split(":"), *usual]
