"""Reading memory on kernels before 5.5: one helper for the kernel's memory and the user's.

Since Linux 5.5 there are helpers for either, which libbpf's headers (bpf_core_read.h) call. Older kernels have the one
that served both, under the numbers here; a program is given it after the verifier has refused the newer one.

| newer | older |
|---|---|
| probe_read_user 112, probe_read_kernel 113 | probe_read 4 |
| probe_read_user_str 114, probe_read_kernel_str 115 | probe_read_str 45 |

Source: commit 6ae08ae3dea2 ("bpf: Add probe_read_{user, kernel} and probe_read_{user, kernel}_str helpers"), in 5.5.
"""

from __future__ import annotations

import re
import struct
from typing import Final

_OLDER: Final = {112: 4, 113: 4, 114: 45, 115: 45}
_CALL: Final = 0x85
_LD_IMM64: Final = 0x18
_HELPER: Final = 0
_REFUSED: Final = re.compile(r"invalid func unknown#11[2-5]\b")
# u8 opcode, u8 registers, s16 off, s32 imm
_INSN: Final = struct.Struct("=BBhi")


def lacks_newer(log: str) -> bool:
    """Whether the verifier's log says that the kernel does not know one of the newer helpers."""
    return _REFUSED.search(log) is not None


def with_older(code: bytes) -> bytes:
    """The code with calls of the older helpers in place of the newer ones; arguments and results are the same."""
    out = bytearray(code)
    second_half = False
    for index, (opcode, registers, _, number) in enumerate(_INSN.iter_unpack(code)):
        if second_half:
            second_half = False
        elif opcode == _LD_IMM64:
            second_half = True
        elif opcode == _CALL and registers == _HELPER and number in _OLDER:
            _INSN.pack_into(out, 8 * index, opcode, registers, 0, _OLDER[number])
    return bytes(out)
