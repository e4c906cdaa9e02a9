r"""The kernel's symbols: /proc/kallsyms, read at once, and searched for names where they stand.

A line is ``ffffffff81000000 T _text`` or, for a module's symbol, ``ffffffffc0000000 t tun_chr_open\t[tun]``. To
processes that may not see addresses (``kernel.kptr_restrict``) every address reads as zero.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from ebpfpy.errors import InputError, kernel_error

from .paths import path_text
from .textlines import line_at, line_starts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

PATH: Final = "/proc/kallsyms"
CODE: Final = "tTwW"
"""Kinds of symbols that are functions."""
_MANY: Final = 32
"""From so many names on, all lines are looked at once instead of all text for each name."""
_FUNCTIONS: Final = (b"t", b"T", b"w", b"W")
_FIRST_LINE: Final = re.compile(rb"[0-9a-fA-F]+ [a-zA-Z?] \S")


class Symbol(NamedTuple):
    """One symbol.

    Attributes:
        address: 0 where the kernel hides addresses.
        kind: the letter of nm(1): "T" and "t" are code.
        name: of the symbol.
        module: the module that it is in; None for the kernel itself.
    """

    address: int
    kind: str
    name: str
    module: str | None


def find_symbols(names: Collection[str], *, path: str = PATH) -> dict[str, list[Symbol]]:
    """Every symbol with one of these names; names without a symbol are left out.

    Args:
        names: exact names.
        path: a file in the format of /proc/kallsyms.

    Raises:
        InputError: what is no collection of texts.
        KernelError: the file cannot be read.
    """
    if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
        raise InputError(f"names of symbols are texts, several of them, not {names!r:.60}")
    names = list(names)  # which may be there to be taken once only
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"the name of a symbol is text, not {name!r:.60}")
    found: dict[str, list[Symbol]] = {}
    for symbol in symbols_in(_read(path), names):
        found.setdefault(symbol.name, []).append(symbol)
    return found


def copies_in(text: bytes, name: str) -> list[Symbol]:
    """Every symbol of that name, and of that name with a suffix that a compiler adds to a changed copy.

    The suffixes are those of gcc and clang: ``name.isra.0``, ``name.constprop.0``, ``name.part.0``, ``name.cold``,
    ``name.llvm.123``, and several of them in a row.

    Args:
        text: what `read_symbols` has read.
        name: the exact name.
    """
    word = name.encode("utf-8", "surrogatepass")
    stem = word.partition(b".")[0]
    return [
        _symbol(parts)
        for parts in _lines_with(text, {word}, ends=b".\n\t ")
        if len(parts) >= 3 and parts[2].partition(b".")[0] == stem
    ]


def symbols_in(text: bytes, names: Iterable[str]) -> list[Symbol]:
    """Every symbol with one of these names, in the order of a text that was read before."""
    wanted = {name.encode("utf-8", "surrogatepass") for name in names}
    lines = map(bytes.split, text.splitlines()) if len(wanted) > _MANY else _lines_with(text, wanted)
    return [_symbol(parts) for parts in lines if len(parts) >= 3 and parts[2] in wanted]


def symbols_from(text: bytes, address: int) -> list[Symbol]:
    """Every symbol that begins at an address, in the order of a text that was read before."""
    digits = b"%0*x" % (16 if text[:17].endswith(b" ") else 8, address)
    lines = [line_at(text, at).split() for at in line_starts(text, digits, b" ") if text.startswith(digits, at)]
    return [_symbol(parts) for parts in lines if len(parts) >= 3]


def read_symbols(path: str = PATH) -> bytes:
    """All the text of a file like /proc/kallsyms, for several questions.

    Raises:
        KernelError: the file cannot be read.
        InputError: its first line is no symbol's.
    """
    text = _read(path)
    if not _FIRST_LINE.match(text) or b"\0" in text:
        raise InputError(f"{path}: not in the format of /proc/kallsyms: the first line is no address, letter and name")
    return text


def _read(path: str) -> bytes:
    place = path_text(path, "a file like /proc/kallsyms")
    try:
        with open(place, "rb", buffering=0) as file:
            return file.read()
    except OSError as error:
        raise kernel_error(error.errno or 0, "read", subject=place) from error


def _lines_with(text: bytes, words: Collection[bytes], *, ends: bytes = b"\n\t ") -> Iterator[list[bytes]]:
    """The lines in which one of the words begins after a space and is followed by one of `ends`, split, in order."""
    starts = {start for word in words for start in line_starts(text, b" " + word, ends)}
    for start in sorted(starts):
        yield line_at(text, start).split()


def symbols_at(addresses: Collection[int], *, path: str = PATH) -> dict[int, Symbol]:
    """The function that each address is in, for stacks of the kernel; ``address - symbol.address`` is how far.

    Addresses in no function are left out: those of user space, and all of them where the kernel hides addresses
    (``kernel.kptr_restrict``). An address behind the last function counts as in it: the kernel tells no sizes.

    Args:
        addresses: as a stack map or bpf_get_stack() gives them.
        path: a file in the format of /proc/kallsyms, in any order.

    Raises:
        InputError: what is no collection of numbers.
        KernelError: the file cannot be read.
    """
    if isinstance(addresses, (str, bytes)) or not isinstance(addresses, Iterable):
        raise InputError(f"addresses are numbers, several of them, not {addresses!r:.60}")
    addresses = list(addresses)
    for address in addresses:
        if not isinstance(address, int):
            raise InputError(f"an address is a number, not {address!r:.60}")
    wanted = sorted(set(addresses))
    starts = [0] * len(wanted)  # the highest symbol that is not above this address, and above the one before
    lines = [b""] * len(wanted)
    for line in _read(path).splitlines():
        number, _, rest = line.partition(b" ")
        if rest[:1] not in _FUNCTIONS:
            continue
        start = _address(number)
        index = bisect_left(wanted, start)
        if index < len(wanted) and start > starts[index]:
            starts[index], lines[index] = start, line
    found: dict[int, Symbol] = {}
    line = b""
    for address, own in zip(wanted, lines, strict=True):
        line = own or line
        if parts := line.split():
            found[address] = _symbol(parts)
    return found


def _address(number: bytes) -> int:
    try:
        return int(number, 16)
    except ValueError:
        return 0


def _symbol(parts: list[bytes]) -> Symbol:
    module = parts[3].strip(b"[]").decode("utf-8", "replace") if len(parts) > 3 else None
    return Symbol(_address(parts[0]), parts[1].decode("ascii", "replace"), parts[2].decode("utf-8", "replace"), module)
