"""BTF: the types of kernels, modules and BPF objects."""

from .builder import Builder
from .cache import Cache
from .distill import distill_base
from .ext import ExtInfo, parse_ext
from .handle import Handle, HandleInfo, iter_handles
from .kinds import Kind
from .layout import alignof, resolve, sizeof
from .load import (
    kernel_module_names,
    load_kernel_module_spec,
    load_kernel_spec,
    load_spec,
    load_spec_from_reader,
    load_split_spec,
    load_split_spec_from_reader,
)
from .names import essential_name
from .rawdump import dump_raw
from .relocatebase import BaseMatch, BaseProblem, match_base, relocate_base
from .spec import Spec
from .text import describe, describe_with_id
from .types import (
    Array,
    Const,
    Datasec,
    DeclTag,
    Enum,
    Enumerator,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Param,
    Pointer,
    Restrict,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Var,
    VarSecinfo,
    Void,
    Volatile,
)
from .values import decode, encode

__all__ = [
    "Array",
    "BaseMatch",
    "BaseProblem",
    "Builder",
    "Cache",
    "Const",
    "Datasec",
    "DeclTag",
    "Enum",
    "Enumerator",
    "ExtInfo",
    "Float",
    "Func",
    "FuncProto",
    "Fwd",
    "Handle",
    "HandleInfo",
    "Int",
    "Kind",
    "Member",
    "Param",
    "Pointer",
    "Restrict",
    "Spec",
    "Struct",
    "Type",
    "TypeTag",
    "Typedef",
    "Union",
    "Var",
    "VarSecinfo",
    "Void",
    "Volatile",
    "alignof",
    "decode",
    "describe",
    "describe_with_id",
    "distill_base",
    "dump_raw",
    "encode",
    "essential_name",
    "iter_handles",
    "kernel_module_names",
    "load_kernel_module_spec",
    "load_kernel_spec",
    "load_spec",
    "load_spec_from_reader",
    "load_split_spec",
    "load_split_spec_from_reader",
    "match_base",
    "parse_ext",
    "relocate_base",
    "resolve",
    "sizeof",
]
