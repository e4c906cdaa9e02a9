"""bpf(2) through typed ctypes: commands, their attributes, descriptors, and the numbers of the kernel."""

from __future__ import annotations

from ebpfpy.lazy import names_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .call import bpf, try_bpf
    from .cpus import possible_cpus
    from .enums import AttachType, Command, LinkType, MapFlags, MapType, ProgramFlags, ProgramType
    from .fd import Fd, HasFileno, number_of
    from .kallsyms import Symbol, find_symbols
    from .kconfig import kernel_version_code, read_config
    from .links import (
        IterOptions,
        KprobeMultiOptions,
        LinkOptions,
        NetfilterOptions,
        PerfEventOptions,
        RelativeOptions,
        TracingOptions,
        UprobeMultiOptions,
        iter_create,
        link_create,
        link_detach,
        link_update,
        raw_tracepoint_open,
    )
    from .maps import (
        Batch,
        map_batches,
        map_create,
        map_delete,
        map_delete_batch,
        map_freeze,
        map_lookup,
        map_lookup_and_delete,
        map_lookup_batch,
        map_next_key,
        map_update,
        map_update_batch,
        object_name,
    )
    from .objects import (
        BtfInfo,
        Kind,
        LinkInfo,
        MapInfo,
        ProgInfo,
        btf_data,
        btf_info,
        btf_load,
        enable_stats,
        fd_by_id,
        link_info,
        map_info,
        next_id,
        obj_get,
        obj_pin,
        prog_info,
        prog_instructions,
    )
    from .programs import Records, RunResult, prog_bind_map, prog_load, prog_test_run

__all__ = [
    "AttachType",
    "Batch",
    "BtfInfo",
    "Command",
    "Fd",
    "HasFileno",
    "IterOptions",
    "Kind",
    "KprobeMultiOptions",
    "LinkInfo",
    "LinkOptions",
    "LinkType",
    "MapFlags",
    "MapInfo",
    "MapType",
    "NetfilterOptions",
    "PerfEventOptions",
    "ProgInfo",
    "ProgramFlags",
    "ProgramType",
    "Records",
    "RelativeOptions",
    "RunResult",
    "Symbol",
    "TracingOptions",
    "UprobeMultiOptions",
    "bpf",
    "btf_data",
    "btf_info",
    "btf_load",
    "enable_stats",
    "fd_by_id",
    "find_symbols",
    "iter_create",
    "kernel_version_code",
    "link_create",
    "link_detach",
    "link_info",
    "link_update",
    "map_batches",
    "map_create",
    "map_delete",
    "map_delete_batch",
    "map_freeze",
    "map_info",
    "map_lookup",
    "map_lookup_and_delete",
    "map_lookup_batch",
    "map_next_key",
    "map_update",
    "map_update_batch",
    "next_id",
    "number_of",
    "obj_get",
    "obj_pin",
    "object_name",
    "possible_cpus",
    "prog_bind_map",
    "prog_info",
    "prog_instructions",
    "prog_load",
    "prog_test_run",
    "raw_tracepoint_open",
    "read_config",
    "try_bpf",
]

__getattr__ = names_of(
    __name__, ("enums", "fd", "cpus", "filemap", "kallsyms", "kconfig", "call", "objects", "maps", "programs", "links")
)
