"""What every attribute of bpf(2) is."""

from __future__ import annotations

from ctypes import Structure
from typing import ClassVar

NAME_SIZE = 16
"""BPF_OBJ_NAME_LEN: bytes of a name in the kernel, the closing NUL included."""


class Attr(Structure):
    """A member struct of ``union bpf_attr``.

    Attributes:
        MEMBER: the member's name in the union; "" for the anonymous ones.
    """

    MEMBER: ClassVar[str] = ""
