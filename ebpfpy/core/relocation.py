"""A CO-RE relocation as the compiler wrote it: what is asked of the target kernel's types."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from ebpfpy import btf


class RelocationKind(IntEnum):
    """``enum bpf_core_relo_kind``; the lower-case name is what reports and libbpf's log print."""

    BYTE_OFF = 0
    BYTE_SZ = 1
    FIELD_EXISTS = 2
    SIGNED = 3
    LSHIFT_U64 = 4
    RSHIFT_U64 = 5
    LOCAL_TYPE_ID = 6
    TARGET_TYPE_ID = 7
    TYPE_EXISTS = 8
    TYPE_SIZE = 9
    ENUMVAL_EXISTS = 10
    ENUMVAL_VALUE = 11
    TYPE_MATCHES = 12

    @property
    def text(self) -> str:
        """The name that reports print: "byte_off"."""
        return self.name.lower()


class Relocation(NamedTuple):
    """One record of .BTF.ext's CO-RE part, placed in a program's linked code.

    Attributes:
        spec: the object's own BTF, which `type_id` belongs to.
        type_id: the local root type.
        access: the access string: "0:1:2" (fields), "0" (types), "3" (index of an enumerator).
        kind: what is asked.
        insn: index of the instruction in the program's linked code.
        function: name of the function that the instruction belongs to.
        function_insn: index of the instruction inside that function.
        section: the section of that function.
    """

    spec: btf.Spec
    type_id: int
    access: str
    kind: RelocationKind
    insn: int = 0
    function: str = ""
    function_insn: int = 0
    section: str = ""
