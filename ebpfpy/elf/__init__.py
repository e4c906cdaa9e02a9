"""Object files: a compiled BPF object goes in, a `CollectionSpec` (plain data) comes out."""

from .reader import load_collection_spec
from .rewrite import write_relocated
from .spec import (
    CollectionSpec,
    ExternKind,
    ExternSpec,
    Function,
    MapSpec,
    ProgramSpec,
    Reference,
    ReferenceKind,
    VariableSpec,
)

__all__ = [
    "CollectionSpec",
    "ExternKind",
    "ExternSpec",
    "Function",
    "MapSpec",
    "ProgramSpec",
    "Reference",
    "ReferenceKind",
    "VariableSpec",
    "load_collection_spec",
    "write_relocated",
]
