r"""The kernel's symbols: /proc/kallsyms, read line by line in one pass.

A line is ``ffffffff81000000 T _text`` or, for a module's symbol, ``ffffffffc0000000 t tun_chr_open\t[tun]``. To
processes that may not see addresses (``kernel.kptr_restrict``) every address reads as zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from ebpfpy.errors import kernel_error

if TYPE_CHECKING:
    from collections.abc import Collection

PATH: Final = "/proc/kallsyms"


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
        KernelError: the file cannot be read.
    """
    wanted = {name.encode() for name in names}
    found: dict[str, list[Symbol]] = {}
    try:
        with open(path, "rb") as file:
            for line in file:
                parts = line.split()
                if len(parts) >= 3 and parts[2] in wanted:
                    symbol = _symbol(parts)
                    found.setdefault(symbol.name, []).append(symbol)
    except OSError as error:
        raise kernel_error(error.errno or 0, "read", subject=path) from error
    return found


def find_copies(name: str, *, path: str = PATH) -> list[Symbol]:
    """Every symbol of that name, and of that name with a suffix that a compiler adds to a changed copy.

    The suffixes are those of gcc and clang: ``name.isra.0``, ``name.constprop.0``, ``name.part.0``, ``name.cold``,
    ``name.llvm.123``, and several of them in a row.

    Args:
        name: the exact name.
        path: a file in the format of /proc/kallsyms.

    Raises:
        KernelError: the file cannot be read.
    """
    start = b" " + name.encode("utf-8", "surrogatepass")
    found = []
    try:
        with open(path, "rb") as file:
            for line in file:
                at = line.find(start)
                if at < 0 or line[at + len(start) : at + len(start) + 1] not in (b".", b"\n", b"\t", b" ", b""):
                    continue
                parts = line.split()
                if len(parts) >= 3 and b" " + parts[2].partition(b".")[0] == start.partition(b".")[0]:
                    found.append(_symbol(parts))
    except OSError as error:
        raise kernel_error(error.errno or 0, "read", subject=path) from error
    return found


def _symbol(parts: list[bytes]) -> Symbol:
    module = parts[3].strip(b"[]").decode("utf-8", "replace") if len(parts) > 3 else None
    try:
        address = int(parts[0], 16)
    except ValueError:
        address = 0
    return Symbol(address, parts[1].decode("ascii", "replace"), parts[2].decode("utf-8", "replace"), module)
