"""Other BPF programs as targets: functions of theirs to replace (freplace, Linux 5.6) or trace (fentry, fexit, 5.5).

    spec = ebpfpy.load_collection_spec("replacing.bpf.o")
    spec.programs["instead"].attach_target = (classify, "verdict")

The function's type id is looked up in the BTF that the target program was loaded with, by way of the kernel: any
program that has a descriptor can be a target, also one that another process has loaded. That needs CAP_SYS_ADMIN.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ebpfpy import btf, sys
from ebpfpy.btf.kinds import Kind
from ebpfpy.btf.names import encode_name
from ebpfpy.errors import AmbiguousTargetError, InputError, KernelError, TargetNotFoundError
from ebpfpy.sys import ProgramType

from .target import AttachTarget

if TYPE_CHECKING:
    from ebpfpy.elf.spec import ProgramSpec

_KINDS = frozenset({ProgramType.EXT, ProgramType.TRACING})


@attrs.frozen
class ProgramTarget(AttachTarget):
    """A function of a BPF program.

    Attributes:
        program_id: the program's id.
        program_name: as the kernel keeps it.
    """

    program_id: int = 0
    program_name: str = ""

    def __str__(self) -> str:
        return f"program {self.program_name} (id {self.program_id}):{self.name}"


def find_in_program(spec: ProgramSpec) -> tuple[ProgramTarget, int]:
    """The function that a blueprint's `attach_target` means, and the descriptor of its program.

    Raises:
        InputError: the blueprint has no target, or is of a type that has none.
        TargetNotFoundError: the program has no such function, or no BTF.
        AmbiguousTargetError: it has several of that name.
        KernelError: PermissionError: ids of BTF objects need CAP_SYS_ADMIN.
    """
    if spec.type not in _KINDS:
        raise InputError(f"program {spec.name} of type {spec.type.name} attaches to no program")
    if spec.attach_target is None:
        raise InputError(
            f"program {spec.name} ({spec.section}) replaces a function of another program: say of which, by setting"
            " attach_target of its blueprint to (PROGRAM, FUNCTION)"
        )
    program, name = spec.attach_target
    fd = sys.number_of(program)
    name = name or spec.attach_to
    try:
        info = sys.prog_info(fd)
    except KernelError as error:
        error.subject = f"program {spec.name}: attach_target"
        error.hint = error.hint or f"descriptor {fd} is of no BPF program"
        raise
    where = f"program {info.name} (id {info.id})"
    if not name:
        raise TargetNotFoundError(f"program {spec.name}: it is not said which function of {where}", name=name)
    if not info.btf_id:
        raise TargetNotFoundError(f"{where} has no BTF, and so no functions by name: compile it with -g", name=name)
    with btf.Handle.from_id(info.btf_id) as handle:
        types = handle.spec()
        ids = types.ids_by_name(encode_name(name), (Kind.FUNC,))
        if not ids:
            near = ", ".join(types.near_names(name))
            raise TargetNotFoundError(f"{where} has no function {name!r}{near and '; near: '}{near}", name=name)
        if len(ids) > 1:
            raise AmbiguousTargetError(
                f"{where} has {len(ids)} functions called {name!r}",
                candidates=tuple(f"{name} (type id {each})" for each in ids),
                name=name,
            )
    return ProgramTarget(name, ids[0], program_id=info.id, program_name=info.name), fd
