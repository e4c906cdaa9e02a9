"""The limit of locked memory as the reason for a refusal: kernels before 5.11 count maps and programs against it.

The kernel answers EPERM, as to a process that may not do such a thing at all. The two are told apart by something small
of the same kind: if the kernel takes that, it was the size. Whether the limit counts at all is told by a helper that
came in the same version as the other way of counting.
"""

from __future__ import annotations

from typing import Final

from ebpfpy import asm, sys
from ebpfpy.errors import EbpfError
from ebpfpy.features.asking import RETURN_0, verdict
from ebpfpy.sys import MapType, ProgramType
from ebpfpy.sys.rights import locked_memory, raises_limits

_NEWER: Final = (asm.call("ktime_get_coarse_ns"), asm.mov_imm(0, 0), asm.exit_())


def over_the_limit(what: str) -> str | None:
    """Whether the limit of locked memory is why the kernel refused something (EPERM); the reason, or None.

    Args:
        what: "the map" or "the program".
    """
    limit = locked_memory()
    if limit is None or raises_limits():  # then it has been lifted already
        return None
    try:
        if not verdict(ProgramType.SOCKET_FILTER, _NEWER):  # None: it has the helper; "": the verifier did not look
            return None
        if what == "the map":
            sys.map_create(type=MapType.ARRAY, key_size=4, value_size=4, max_entries=1, name="probe").close()
        elif verdict(ProgramType.SOCKET_FILTER, RETURN_0) is not None:
            return None
    except EbpfError:
        return None
    return (
        f"{what} does not fit into the limit of locked memory ({limit} bytes for all maps and programs of the user),"
        " which counts before Linux 5.11: raise RLIMIT_MEMLOCK (ulimit -l), or give the process CAP_SYS_RESOURCE"
    )
