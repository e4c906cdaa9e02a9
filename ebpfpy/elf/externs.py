"""What an object expects the kernel to supply: ``__kconfig`` variables, ``__ksym`` variables and functions.

clang lists them in the BTF, as the variables and functions of two data sections that no ELF section corresponds to,
".kconfig" and ".ksyms"; the ELF symbol table has them as undefined symbols, weak ones for ``__weak``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy import btf

from .datasec import section_types
from .objectfile import BIND_WEAK, INDEX_UNDEFINED
from .spec import ExternKind, ExternSpec

if TYPE_CHECKING:
    from .objectfile import ObjectFile

_SECTIONS = {".kconfig": ExternKind.KCONFIG, ".ksyms": ExternKind.KSYM}


def read_externs(file: ObjectFile, types: btf.Spec | None) -> dict[str, ExternSpec]:
    """The externs of an object, by name.

    Raises:
        ElfError: the two sections hold something else than variables and functions.
    """
    if types is None:
        return {}
    weak = {symbol.name for symbol in file.symbols if symbol.section == INDEX_UNDEFINED and symbol.bind == BIND_WEAK}
    externs: dict[str, ExternSpec] = {}
    for section_name, kind in _SECTIONS.items():
        for section in section_types(types, section_name):
            for entry in section.variables:
                each = entry.var
                if isinstance(each, btf.Func):
                    externs[each.name] = ExternSpec(each.name, ExternKind.KFUNC, each, each.name in weak)
                elif isinstance(each, btf.Var):
                    externs[each.name] = ExternSpec(each.name, kind, each.type, each.name in weak)
                else:
                    raise file.error(f"{section_name} holds {each!r}, which is neither variable nor function")
    return externs
