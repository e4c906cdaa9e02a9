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


def _symbol(parts: list[bytes]) -> Symbol:
    module = parts[3].strip(b"[]").decode() if len(parts) > 3 else None
    try:
        address = int(parts[0], 16)
    except ValueError:
        address = 0
    return Symbol(address, parts[1].decode("ascii", "replace"), parts[2].decode(), module)
