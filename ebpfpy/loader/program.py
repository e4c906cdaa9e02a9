"""Programs in the kernel: blueprint -> relocated code -> BPF_PROG_LOAD."""

from __future__ import annotations

import errno
import struct
import sys as _sys
from typing import TYPE_CHECKING

from ebpfpy import core, sys
from ebpfpy.elf.spec import ReferenceKind
from ebpfpy.errors import EbpfError, InputError, KernelError, UnsupportedError, verifier_error
from ebpfpy.sys import AttachType, ProgramType

from . import target as targets
from . import verifierlog

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from ebpfpy import btf
    from ebpfpy.elf.spec import ProgramSpec

    from .externs import Externs
    from .map import Map
    from .options import ProgramOptions

_MAX_LOG = 1 << 30
_PSEUDO_MAP_FD = 1
_PSEUDO_MAP_VALUE = 2
# u8 opcode, u8 registers, s16 off, s32 imm
_INSN = struct.Struct("=BBhi")


class Program:
    """A program in the kernel. Owns its descriptor: close it, or use it as a context manager.

    Attributes:
        spec: the blueprint it was made from.
        name: of the function.
        target: what it was loaded for, None for types without a target.
        fixups: its CO-RE relocations, as they were solved.
        log: the verifier's log, "" unless the options asked for it.
    """

    def __init__(
        self,
        fd: sys.Fd,
        spec: ProgramSpec,
        target: targets.AttachTarget | None,
        fixups: tuple[core.Fixup, ...],
        log: str,
    ) -> None:
        self._fd = fd
        self.spec = spec
        self.name = spec.name
        self.target = target
        self.fixups = fixups
        self.log = log

    @property
    def type(self) -> ProgramType:
        """The program type."""
        return self.spec.type

    @property
    def info(self) -> sys.ProgInfo:
        """What the kernel says of it."""
        return sys.prog_info(self._fd)

    def fileno(self) -> int:
        """The descriptor; still owned by the program."""
        return self._fd.fileno()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd.closed

    def close(self) -> None:
        """Let go of the program. The kernel keeps it while a link or a pin exists."""
        self._fd.close()

    def test_run(self, **arguments: int | bytes) -> sys.RunResult:
        """Run it once, now (BPF_PROG_TEST_RUN); the arguments are those of `ebpfpy.sys.prog_test_run`."""
        return sys.prog_test_run(self._fd, **arguments)  # type: ignore[arg-type]

    def pin(self, path: str | os.PathLike[str]) -> None:
        """Give the program a name on a bpf file system, where it outlives the process."""
        sys.obj_pin(self._fd, path)

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        state = "closed" if self._fd.closed else f"fd {self._fd.fileno()}"
        return f"<Program {self.name} {self.spec.section} {state}>"


class ProgramLoader:
    """Loads the programs of one collection: what they share is worked out once.

    Args:
        options: for all programs.
        cache: the running kernel's types.
        maps: the collection's maps, by name.
        types: the object's BTF in the kernel, None without.
        externs: what the kernel supplies to the programs.

    A context manager: while it is open it keeps descriptors of the BTF objects of the modules that programs need, one
    for each module.
    """

    def __init__(
        self,
        options: ProgramOptions,
        cache: btf.Cache,
        maps: Mapping[str, Map],
        types: btf.Handle | None,
        externs: Externs,
    ) -> None:
        self._options = options
        self._cache = cache
        self._maps = maps
        self._types = types
        self._externs = externs
        self._relocators: dict[str | None, core.Relocator] = {}
        self._handles: dict[str, btf.Handle] = {}

    def __enter__(self) -> ProgramLoader:
        return self

    def __exit__(self, *exc: object) -> None:
        for handle in self._handles.values():
            handle.close()
        self._handles.clear()

    def _module_fd(self, module: str) -> int:
        handle = self._handles.get(module)
        if handle is None:
            handle = self._handles[module] = self._cache.module_handle(module)
        return handle.fileno()

    def load(self, spec: ProgramSpec) -> Program:
        """Load one program.

        Raises:
            TargetNotFoundError, AmbiguousTargetError: what it attaches to.
            RelocationError: a CO-RE relocation that cannot be carried out.
            VerifierError: the verifier refused it.
            KernelError: the kernel refused it otherwise.
            UnsupportedError: it needs what this library or machine does not do.
        """
        if spec.byte_order != _sys.byteorder:
            raise UnsupportedError(
                f"program {spec.name}: {spec.byte_order}-endian code cannot be loaded"
                f" on this {_sys.byteorder}-endian machine"
            )
        if spec.type == ProgramType.UNSPEC:
            raise UnsupportedError(
                f"program {spec.name}: section {spec.section!r} does not say what type of program it is; set spec.type"
            )
        target = self._find_target(spec)
        fixups = self._relocate(spec, target)
        code = bytearray(core.patch(spec.code, fixups, spec.byte_order))
        module_fds = self._refer(spec, code)
        fd, log = self._load(spec, bytes(code), target, module_fds, fixups)
        return Program(fd, spec, target, fixups, log)

    def _find_target(self, spec: ProgramSpec) -> targets.AttachTarget | None:
        if spec.type not in (ProgramType.TRACING, ProgramType.LSM) or spec.attach_type is None:
            return None
        if not targets.needs_target(spec.attach_type):
            return None
        return targets.find_target(self._cache, spec.attach_type, spec.attach_to, spec.attach_module)

    def _relocate(self, spec: ProgramSpec, target: targets.AttachTarget | None) -> tuple[core.Fixup, ...]:
        if not spec.relocations:
            return ()
        module = target.module if target is not None else None
        relocator = self._relocator(module)
        fixups = relocator.relocate(spec.relocations, prefer_module=module or spec.attach_module)
        return tuple(fixups)

    def _relocator(self, module: str | None) -> core.Relocator:
        """The relocator for programs that attach to `module`."""
        given = self._options.kernel_types
        key = None if given is not None else module
        found = self._relocators.get(key)
        if found is None:
            if given is not None:
                found = core.Relocator(given)
            else:
                own = [self._cache.module(module)] if module is not None else []
                found = core.Relocator([self._cache.kernel(), *own], fallback=self._cache.modules)
            self._relocators[key] = found
        return found

    def _refer(self, spec: ProgramSpec, code: bytearray) -> dict[str, int]:
        """Resolve the instructions that refer to maps and externs.

        Returns:
            Descriptors of the modules' BTF objects, in the order of ``fd_array`` from index 1.
        """
        unresolved = [each for each in spec.references if each.kind is ReferenceKind.UNRESOLVED]
        for reference in unresolved:
            if reference.name not in self._externs:
                raise UnsupportedError(
                    f"program {spec.name}: instruction {reference.insn} refers to {reference.name!r}, which the object"
                    " neither defines nor declares as __ksym or __kconfig",
                    feature="undefined symbols",
                )
        modules = {self._externs.module(reference.name) for reference in unresolved}
        module_fds = {module: self._module_fd(module) for module in sorted(filter(None, modules))}
        map_fds = {name: each.fileno() for name, each in self._maps.items()}
        for reference in spec.references:
            if reference.kind is ReferenceKind.UNRESOLVED:
                self._externs.write(code, reference.insn, reference.name, maps=map_fds, module_fds=module_fds)
            elif reference.kind is not ReferenceKind.FUNCTION:
                fd = map_fds.get(reference.name)
                if fd is None:
                    raise InputError(f"program {spec.name} refers to map {reference.name!r}, which is not there")
                value = reference.kind is ReferenceKind.MAP_VALUE
                _put_map(code, reference.insn * 8, fd, reference.offset if value else None)
        return module_fds

    def _load(
        self,
        spec: ProgramSpec,
        code: bytes,
        target: targets.AttachTarget | None,
        module_fds: Mapping[str, int],
        fixups: tuple[core.Fixup, ...],
    ) -> tuple[sys.Fd, str]:
        arguments = {
            "type": spec.type,
            "insns": code,
            "license": spec.license,
            "name": spec.name,
            "flags": spec.flags,
            "expected_attach_type": spec.attach_type or AttachType(0),
            "attach_btf_id": target.type_id if target is not None else 0,
            "attach_btf_obj_fd": self._module_fd(target.module) if target is not None and target.module else 0,
            "fd_array": (0, *module_fds.values()) if module_fds else (),
        }
        if self._types is not None and spec.func_infos:
            arguments["prog_btf_fd"] = self._types.fileno()
            arguments["func_info"] = _records(spec.func_infos, 2)
            arguments["line_info"] = _records(spec.line_infos, 4)
        level, size = self._options.log_level, self._options.log_size
        while True:
            try:
                return sys.prog_load(**arguments, log_level=level, log_size=size if level else 0)  # type: ignore[arg-type]
            except KernelError as error:
                if error.errno == errno.ENOSPC and level and size < _MAX_LOG:
                    size = min(_MAX_LOG, max(error.log_true_size, size * 2))
                elif (not level and not isinstance(error, PermissionError)) or (
                    not level and error.errno == errno.EACCES
                ):
                    level = 1
                else:
                    raise self._refused(spec, error, fixups) from None

    def _refused(self, spec: ProgramSpec, error: KernelError, fixups: tuple[core.Fixup, ...]) -> EbpfError:
        log, poison = verifierlog.explain_poison(error.log, fixups)
        log, missing = verifierlog.explain_missing(log, self._externs.names)
        why = verifierlog.poison_text(poison) if poison is not None else missing or verifierlog.reason(log)
        if not why:
            error.subject = f"program {spec.name} ({spec.section})"
            return error
        return verifier_error(error.errno or 0, program=spec.name, log=log, reason=why, hint=error.hint)


def _records(rows: tuple[tuple[int, ...], ...], fields: int) -> sys.Records:
    pack = struct.Struct(f"={fields}I").pack
    return sys.Records(b"".join([pack(*row) for row in rows]), 4 * fields)


def _put_map(code: bytearray, at: int, fd: int, offset: int | None) -> None:
    """Make the ld_imm64 at `at` load a map, or the address of a byte of its value."""
    opcode, registers, off, _ = _INSN.unpack_from(code, at)
    source = _PSEUDO_MAP_FD if offset is None else _PSEUDO_MAP_VALUE
    registers = registers & 15 | source << 4 if _sys.byteorder == "little" else registers & 240 | source
    _INSN.pack_into(code, at, opcode, registers, off, fd)
    _INSN.pack_into(code, at + 8, 0, 0, 0, offset or 0)
