"""Packages whose names are imported when they are first used.

A package hands on the names of its modules. Importing all of them at once would cost every program the time and
memory of
what it never touches: somebody who looks a type up needs neither the C formatter nor bpf(2). So a package lists its
modules, cheap ones first, and a name that is asked for is looked for in one after the other; type checkers see
ordinary imports.

    __getattr__ = names_of(__name__, ("kinds", "types", "spec"))
"""

from __future__ import annotations

import sys
from importlib import import_module

TYPE_CHECKING = False  # true for type checkers; importing typing would cost more than everything else here
if TYPE_CHECKING:
    from collections.abc import Callable


def names_of(package: str, modules: tuple[str, ...]) -> Callable[[str], object]:
    """A module-level ``__getattr__`` that finds public names in modules of the package.

    Args:
        package: its full name.
        modules: names of the modules to search, in order; their own names can be asked for, too.
    """

    def find(name: str) -> object:
        if name in modules:
            return import_module(f"{package}.{name}")
        if not name.startswith("_"):
            for module in modules:
                found = vars(import_module(f"{package}.{module}"))
                if name in found:
                    setattr(sys.modules[package], name, found[name])
                    return found[name]
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return find
