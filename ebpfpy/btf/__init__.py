"""BTF: the types of kernels, modules and BPF objects."""

from ebpfpy.lazy import names_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .baseproblem import BaseMatch, BaseProblem
    from .builder import Builder
    from .cache import Cache
    from .cformat import format_c
    from .cheader import format_header
    from .check import SplitReport, check_split, rank_bases
    from .context import Context, ContextArgument, context_of
    from .dedup import Deduplicated, deduplicate, deduplicate_with_map
    from .difference import Change, Diff, TypeChange, diff
    from .distill import distill_base
    from .dumpdata import dump_data
    from .ext import ExtInfo, parse_ext
    from .handle import Handle, HandleInfo, iter_handles
    from .kinds import Kind
    from .layout import alignof, resolve, sizeof
    from .load import (
        load_kernel_module_spec,
        load_kernel_spec,
        load_spec,
        load_spec_from_reader,
        load_split_spec,
        load_split_spec_from_reader,
    )
    from .loadedmodules import kernel_module_names
    from .matchbase import match_base
    from .merge import MergedSpec, merge_splits
    from .names import RawName, essential_name
    from .oldkernels import Feature, sanitize
    from .rawdump import dump_raw
    from .relocatebase import relocate_base
    from .same import same_type
    from .spec import Spec
    from .text import describe, describe_with_id
    from .typeheads import Candidate
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
    from .unknown import Unknown
    from .values import decode, encode

__all__ = [
    "Array",
    "BaseMatch",
    "BaseProblem",
    "Builder",
    "Cache",
    "Candidate",
    "Change",
    "Const",
    "Context",
    "ContextArgument",
    "Datasec",
    "DeclTag",
    "Deduplicated",
    "Diff",
    "Enum",
    "Enumerator",
    "ExtInfo",
    "Feature",
    "Float",
    "Func",
    "FuncProto",
    "Fwd",
    "Handle",
    "HandleInfo",
    "Int",
    "Kind",
    "Member",
    "MergedSpec",
    "Param",
    "Pointer",
    "RawName",
    "Restrict",
    "Spec",
    "SplitReport",
    "Struct",
    "Type",
    "TypeChange",
    "TypeTag",
    "Typedef",
    "Union",
    "Unknown",
    "Var",
    "VarSecinfo",
    "Void",
    "Volatile",
    "alignof",
    "check_split",
    "context_of",
    "decode",
    "deduplicate",
    "deduplicate_with_map",
    "describe",
    "describe_with_id",
    "diff",
    "distill_base",
    "dump_data",
    "dump_raw",
    "encode",
    "essential_name",
    "format_c",
    "format_header",
    "iter_handles",
    "kernel_module_names",
    "load_kernel_module_spec",
    "load_kernel_spec",
    "load_spec",
    "load_spec_from_reader",
    "load_split_spec",
    "load_split_spec_from_reader",
    "match_base",
    "merge_splits",
    "parse_ext",
    "rank_bases",
    "relocate_base",
    "resolve",
    "same_type",
    "sanitize",
    "sizeof",
]

__getattr__ = names_of(
    __name__,
    (
        "kinds", "names", "types", "spec", "layout", "load", "text", "ext", "values", "handle", "cache", "rawdump",
        "builder", "same", "check", "distill", "relocatebase", "oldkernels", "cformat", "cheader", "dedup", "merge",
        "difference", "dumpdata", "loadedmodules", "context", "matchbase", "baseproblem", "typeheads", "unknown",
    ),
)  # fmt: skip
