"""Load, relocate and attach compiled eBPF objects from Python, kernel modules included.

The names below are imported when they are first used, so that ``import ebpfpy`` costs next to nothing.
"""

from __future__ import annotations

from importlib import import_module

TYPE_CHECKING = False  # true for type checkers; importing typing would cost more than everything else here
if TYPE_CHECKING:
    from . import asm, btf, core, elf, errors, features, link, loader, perf, pin, ringbuf
    from .elf import CollectionSpec, MapSpec, ProgramSpec, VariableSpec, load_collection_spec
    from .errors import EbpfError, KernelError, VerifierError
    from .loader import (
        AttachTarget,
        Collection,
        CollectionOptions,
        Map,
        MapOptions,
        Program,
        ProgramOptions,
        Variable,
        load_collection,
    )

__version__ = "0.1.0"

_MODULES = ("asm", "btf", "core", "elf", "errors", "features", "link", "loader", "perf", "pin", "ringbuf")
_NAMES = {
    "AttachTarget": "loader",
    "Collection": "loader",
    "CollectionOptions": "loader",
    "CollectionSpec": "elf",
    "EbpfError": "errors",
    "KernelError": "errors",
    "Map": "loader",
    "MapOptions": "loader",
    "MapSpec": "elf",
    "Program": "loader",
    "ProgramOptions": "loader",
    "ProgramSpec": "elf",
    "Variable": "loader",
    "VariableSpec": "elf",
    "VerifierError": "errors",
    "load_collection": "loader",
    "load_collection_spec": "elf",
}

__all__ = [
    "AttachTarget",
    "Collection",
    "CollectionOptions",
    "CollectionSpec",
    "EbpfError",
    "KernelError",
    "Map",
    "MapOptions",
    "MapSpec",
    "Program",
    "ProgramOptions",
    "ProgramSpec",
    "Variable",
    "VariableSpec",
    "VerifierError",
    "asm",
    "btf",
    "core",
    "elf",
    "errors",
    "features",
    "link",
    "load_collection",
    "load_collection_spec",
    "loader",
    "perf",
    "pin",
    "ringbuf",
]


def __getattr__(name: str) -> object:
    """Import a public name on its first use."""
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    if name in _NAMES:
        value = getattr(import_module(f"{__name__}.{_NAMES[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
