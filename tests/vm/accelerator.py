"""KVM where it works, QEMU's own emulation where it does not.

A /dev/kvm that can be opened proves little: some hosts offer one on which no unmodified kernel boots, and
QEMU then hangs until it is killed. So the first run on a host boots a guest with KVM and a short time limit,
and the answer is kept in the cache for that host. `EBPFPY_VM_ACCEL`, a value for QEMU's -accel, overrides it.
"""

from __future__ import annotations

import json
import os
import platform
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

from tests.vm import cache

if TYPE_CHECKING:
    from collections.abc import Callable

EMULATION: Final = "tcg,thread=multi"
KVM: Final = "kvm"
PROBE_SECONDS: Final = 15.0


def choose(works: Callable[[str, float], bool]) -> str:
    """Return the accelerator for this host; *works* tries one for a number of seconds."""
    override = os.environ.get("EBPFPY_VM_ACCEL")
    if override:
        return override
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return EMULATION
    with cache.locked("accelerator"):
        answers = cache.root() / "accelerator.json"
        known: dict[str, str] = json.loads(answers.read_text()) if answers.exists() else {}
        host = _host()
        if host not in known:
            known[host] = KVM if works(KVM, PROBE_SECONDS) else EMULATION
            cache.write_atomically(answers, json.dumps(known, indent=1).encode())
        return known[host]


def _host() -> str:
    processor = re.search(r"model name\s*:\s*(.*)", Path("/proc/cpuinfo").read_text())
    return f"{platform.release()} on {processor.group(1) if processor else platform.machine()}"
