"""The memory that bpf(2) reads and writes, as ctypes structures.

``union bpf_attr`` is one union for forty commands; each command uses one member struct. There is one
class here for each member struct in use, with the kernel's field names in the kernel's order, so that
`MEMBER` plus a field's name is a path into the kernel's own BTF. tests/kernel/test_sys.py walks those
paths in the running kernel and compares every offset and size: the library is its own witness.

Sizes and old kernels. The size passed to bpf(2) is always the whole structure's. A kernel that knows
fewer fields accepts a longer attribute as long as everything past what it knows is zero
(bpf_check_uarg_tail_zero, since 4.5) and answers E2BIG otherwise, so a new field costs nothing until
it is used. Trimming the zero tail would buy nothing and lose results: the kernel stores
``log_true_size`` and the like only if the size passed covers them.

Pointers. A pointer field is a ``c_char_p``: it takes ``bytes`` (ctypes then keeps the object alive as
long as the structure), an address as int (the caller keeps the memory alive), or None. Every supported
machine is 64-bit, where this is the kernel's ``__aligned_u64``. Do not read such a field back.

Source: include/uapi/linux/bpf.h.
"""

from __future__ import annotations

from ebpfpy.lazy import names_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .attribute import NAME_SIZE, Attr
    from .commands import (
        BtfLoad,
        EnableStats,
        GetId,
        InfoByFd,
        MapBatch,
        MapCreate,
        MapElem,
        Obj,
        ProgBindMap,
        ProgLoad,
        ProgTestRun,
        TokenCreate,
    )
    from .every import ATTRS, INFOS
    from .information import BtfInfo, Info, MapInfo, ProgInfo
    from .linkcommands import (
        IterCreate,
        LinkCreate,
        LinkDetach,
        LinkIter,
        LinkKprobeMulti,
        LinkNetfilter,
        LinkPerfEvent,
        LinkRelative,
        LinkTracing,
        LinkTracingMulti,
        LinkUpdate,
        LinkUprobeMulti,
        ProgAttach,
        ProgQuery,
        RawTracepoint,
    )
    from .linkinformation import (
        InfoCgroup,
        InfoEvent,
        InfoInterface,
        InfoIter,
        InfoIterCgroup,
        InfoIterMap,
        InfoIterTask,
        InfoKprobe,
        InfoKprobeMulti,
        InfoNetfilter,
        InfoNetns,
        InfoPerfEvent,
        InfoRawTracepoint,
        InfoSockmap,
        InfoStructOps,
        InfoTracepoint,
        InfoTracing,
        InfoUprobe,
        InfoUprobeMulti,
        InfoXdp,
        LinkInfo,
    )

__all__ = [
    "ATTRS",
    "INFOS",
    "NAME_SIZE",
    "Attr",
    "BtfInfo",
    "BtfLoad",
    "EnableStats",
    "GetId",
    "Info",
    "InfoByFd",
    "InfoCgroup",
    "InfoEvent",
    "InfoInterface",
    "InfoIter",
    "InfoIterCgroup",
    "InfoIterMap",
    "InfoIterTask",
    "InfoKprobe",
    "InfoKprobeMulti",
    "InfoNetfilter",
    "InfoNetns",
    "InfoPerfEvent",
    "InfoRawTracepoint",
    "InfoSockmap",
    "InfoStructOps",
    "InfoTracepoint",
    "InfoTracing",
    "InfoUprobe",
    "InfoUprobeMulti",
    "InfoXdp",
    "IterCreate",
    "LinkCreate",
    "LinkDetach",
    "LinkInfo",
    "LinkIter",
    "LinkKprobeMulti",
    "LinkNetfilter",
    "LinkPerfEvent",
    "LinkRelative",
    "LinkTracing",
    "LinkTracingMulti",
    "LinkUpdate",
    "LinkUprobeMulti",
    "MapBatch",
    "MapCreate",
    "MapElem",
    "MapInfo",
    "Obj",
    "ProgAttach",
    "ProgBindMap",
    "ProgInfo",
    "ProgLoad",
    "ProgQuery",
    "ProgTestRun",
    "RawTracepoint",
    "TokenCreate",
]

__getattr__ = names_of(__name__, ("attribute", "commands", "linkcommands", "information", "linkinformation", "every"))
