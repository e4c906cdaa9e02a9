"""All questions at once."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from ebpfpy.errors import KernelError
from ebpfpy.sys import MapFlags, MapType, ProgramType, since

from .instructions import have_atomics, have_bounded_loops, have_isa, have_large_programs
from .links import (
    have_bpf_link,
    have_kprobe_multi,
    have_perf_event_link,
    have_raw_tracepoint_cookie,
    have_tcx,
    have_uprobe_multi,
    have_uprobe_multi_of_process,
)
from .maps import have_map_flag, have_map_type
from .programs import have_program_type
from .types import have_btf, have_btf_load, have_module_btf

if TYPE_CHECKING:
    from collections.abc import Callable

    from .support import Support


def probe_all() -> tuple[Support | KernelError, ...]:
    """Every feature but the helpers, in a fixed order (CAP_SYS_ADMIN, or CAP_BPF, CAP_PERFMON and CAP_NET_ADMIN).

    Returns:
        For each the answer, or the error that says why there is none.
    """
    asked: list[Callable[[], Support]] = [
        *(partial(have_program_type, each) for each in ProgramType if each),
        *(partial(have_map_type, each) for each in MapType if each),
        *(partial(have_map_flag, each) for each in MapFlags if each in since.MAP_FLAGS),
        have_btf,
        have_module_btf,
        have_btf_load,
        have_bpf_link,
        have_perf_event_link,
        have_kprobe_multi,
        have_uprobe_multi,
        have_uprobe_multi_of_process,
        have_tcx,
        have_raw_tracepoint_cookie,
        have_large_programs,
        have_bounded_loops,
        have_atomics,
        *(partial(have_isa, version) for version in (2, 3, 4)),
    ]
    return tuple(map(_answer, asked))


def _answer(ask: Callable[[], Support]) -> Support | KernelError:
    try:
        return ask()
    except KernelError as error:
        return error
