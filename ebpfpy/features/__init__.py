"""What this kernel can do, found out by trying.

Every question is a function `have_...` and answers with a `Support`: true or false, with the feature's name and the
first kernel that had it::

    if not features.have_map_type(MapType.RINGBUF):
        ...                                                  # fall back to a perf buffer
    features.have_helper(ProgramType.XDP, "xdp_load_bytes").require()    # or UnsupportedError, which names both

How a question is put
---------------------
The smallest program, map or link that needs the feature is offered to the kernel, and taken back at once. Nothing is
ever attached: links are asked for with a target that cannot exist, so that a kernel which knows the kind of link says
"no such target" and one which does not says EINVAL. Versions are never compared: distributions carry features back, and
configurations leave them out.

Programs are offered with a log. A type that the kernel does not know is refused before the verifier starts, and leaves
the log empty; so *any* word of the verifier says that the type is known, whatever it thinks of the program. A helper is
asked for by calling it without arguments: the verifier complains about the call itself if the kernel, or this type of
program, does not have the helper ("invalid func", "unknown func", "cannot use helper"), and about the arguments if it
does.

What is no answer
-----------------
A refusal for lack of rights (EPERM), memory or descriptors says nothing about the feature: it is raised as the
`KernelError` that it is. So is a "no" about a helper to a process without CAP_BPF or CAP_PERFMON, from which the kernel
hides helpers. Answers are remembered for the life of the process, errors are not. Only the kernel's answer to the real
thing is final, which is why ebpfpy itself asks these questions to explain a failure, never before a success.
"""

from __future__ import annotations

from .attachtypes import have_attach_type, have_program_flag
from .audit import TargetAudit, explain_target
from .everything import probe_all
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
from .programs import have_helper, have_program_type
from .support import Support
from .types import have_btf, have_btf_load, have_module_btf

__all__ = [
    "Support",
    "TargetAudit",
    "explain_target",
    "have_atomics",
    "have_attach_type",
    "have_bounded_loops",
    "have_bpf_link",
    "have_btf",
    "have_btf_load",
    "have_helper",
    "have_isa",
    "have_kprobe_multi",
    "have_large_programs",
    "have_map_flag",
    "have_map_type",
    "have_module_btf",
    "have_perf_event_link",
    "have_program_flag",
    "have_program_type",
    "have_raw_tracepoint_cookie",
    "have_tcx",
    "have_uprobe_multi",
    "have_uprobe_multi_of_process",
    "probe_all",
]
