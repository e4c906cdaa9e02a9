"""Loading programs: blueprint -> relocated code -> BPF_PROG_LOAD."""

from __future__ import annotations

import errno
import struct
import sys as _sys
from array import array
from functools import cached_property, partial
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs

from ebpfpy import core, sys
from ebpfpy.btf.rows import Rows
from ebpfpy.elf.sections import MULTI
from ebpfpy.elf.spec import ReferenceKind
from ebpfpy.errors import (
    EbpfError,
    ExternError,
    InputError,
    KernelError,
    NotFoundError,
    TargetNotFoundError,
    UnsupportedError,
    VerifierError,
    verifier_error,
)
from ebpfpy.sys import AttachType, ProgramType
from ebpfpy.sys.vmlinux import VMLINUX

from . import olderhelpers, structops, targetverdict, verifierlog
from .contextargs import ContextArguments
from .modulehandles import ModuleHandles
from .program import Program
from .programtarget import find_in_program
from .quicktarget import QuickTargets
from .target import AttachTarget, find_target, needs_target
from .wellformed import MAX_LOG, check_program

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from ebpfpy import btf
    from ebpfpy.btf.loadedmodules import Incarnation
    from ebpfpy.elf.spec import MapSpec, ProgramSpec

    from .externs import Externs
    from .map import Map
    from .objectbtf import ObjectTypes
    from .options import ProgramOptions

_LOG_AFTER_REFUSAL = (1 << 24) - 1
"""Bytes: the most that kernels before 5.16 take, and more than most logs have."""
_MAX_LOG = MAX_LOG
_OLD_MAX_LOG = (1 << 24) - 1  # UINT_MAX >> 8
_CALL = 0x85
_PSEUDO_MAP_FD = 1
_PSEUDO_MAP_VALUE = 2
# to get at the member of an enum takes longer than what is done with it here, for each program
_MAP, _MAP_VALUE, _FUNCTION, _UNRESOLVED = ReferenceKind
_UNSPEC, _EXT, _STRUCT_OPS, _KPROBE = ProgramType.UNSPEC, ProgramType.EXT, ProgramType.STRUCT_OPS, ProgramType.KPROBE
_WITH_TARGET = (ProgramType.TRACING, ProgramType.LSM)
# u8 opcode, u8 registers, s16 off, s32 imm
_INSN = struct.Struct("=BBhi")


@attrs.define(eq=False)
class _Ready:
    """A program before it is loaded.

    Attributes:
        spec: its blueprint.
        target: what it is loaded for.
        wanted: what BPF_PROG_LOAD has to be told about that.
        fixups: its CO-RE relocations, solved.
        code: relocated, with maps and externs written into it.
        fd_array: descriptors of BTF objects of modules, for `code`.
        request: what the kernel is asked; None: that is put together when it is asked, as it may change until then, or
            needs room for a log.
    """

    spec: ProgramSpec
    target: AttachTarget | None
    wanted: Mapping[str, int]
    fixups: tuple[core.Fixup, ...]
    code: bytes = b""
    fd_array: tuple[int, ...] = ()
    request: sys.ProgRequest | None = None


class ProgramLoader:
    """Loads the programs of one collection: what they share is worked out once.

    Args:
        options: for all programs.
        cache: the running kernel's types.
        maps: the collection's maps, by name.
        types: the object's BTF in the kernel, None without.
        externs: what the kernel supplies to the programs.
        blueprints: of all maps, also of those that are not made: programs can be loaded whose code that uses them is
            never reached.
        token_fd: descriptor of a BPF token, or 0.

    A context manager: while it is open it keeps descriptors of the BTF objects of the modules that programs need, one
    for each module.
    """

    def __init__(
        self,
        options: ProgramOptions,
        cache: btf.Cache,
        maps: Mapping[str, Map],
        types: ObjectTypes | None,
        externs: Externs,
        *,
        blueprints: Mapping[str, MapSpec],
        token_fd: int = 0,
    ) -> None:
        self._blueprints = blueprints
        self._options = options
        self._cache = cache
        self._maps = maps
        self._types = types
        self._contexts = ContextArguments(types, token_fd=token_fd)
        self._externs = externs
        self._token_fd = token_fd
        self._relocators: dict[tuple[str, Incarnation | None] | None, core.Relocator] = {}
        self._modules = ModuleHandles(cache)
        self._quick = QuickTargets(cache, token_fd)
        self._older_helpers = False

    def __enter__(self) -> ProgramLoader:
        return self

    def __exit__(self, *exc: object) -> None:
        self._quick.close()
        self._contexts.close()
        self._modules.close()

    def load(self, specs: Iterable[tuple[str, ProgramSpec]], into: dict[str, Program]) -> None:
        """Load programs, in their order.

        Python's part of the work is done for many programs before the first is loaded: after each visit to the verifier
        the processor has forgotten what Python was about, and learning it anew takes a twentieth of a load's time. Not
        so for programs that need modules, which come and go, or externs, which may have to be written in another way;
        and where logs are asked for, as room for all of them at once may be more than there is.

        Args:
            specs: their names in the collection, and blueprints.
            into: gets each program, by that name, as soon as it is loaded; the caller closes them.

        Raises:
            InputError: a blueprint has values of wrong types.
            TargetNotFoundError, AmbiguousTargetError: what a program attaches to; also if the module that has it went
                away meanwhile.
            ExternError: a module that has a function or variable of it went away meanwhile.
            RelocationError: a CO-RE relocation that cannot be carried out.
            VerifierError: the verifier refused a program.
            KernelError: the kernel refused it otherwise.
            UnsupportedError: it needs what this library or machine does not do.
        """
        waiting: dict[str, _Ready] = {}
        for name, spec in specs:
            try:
                ready = self._prepare(spec)
            except EbpfError as error:
                _name_program(error, spec)
                self._modules.set_aside()
                self._load_waiting(waiting, into)  # what is wrong with an earlier one is said first
                raise
            if ready.request is None:
                used = self._modules.set_aside()
                self._load_waiting(waiting, into)
                self._modules.take_back(used)
                into[name] = self._load_ready(ready)
            else:
                waiting[name] = ready
        self._load_waiting(waiting, into)

    def _load_waiting(self, waiting: dict[str, _Ready], into: dict[str, Program]) -> None:
        for name, ready in waiting.items():
            into[name] = self._load_ready(ready)
        waiting.clear()

    def _prepare(self, spec: ProgramSpec) -> _Ready:
        """Everything that comes before the kernel is asked to load a program."""
        check_program(spec)
        if spec.byte_order != _sys.byteorder:
            raise UnsupportedError(
                f"program {spec.name}: {spec.byte_order}-endian code cannot be loaded"
                f" on this {_sys.byteorder}-endian machine"
            )
        if spec.type == _UNSPEC:
            raise UnsupportedError(
                f"program {spec.name}: section {spec.section!r} does not say what type of program it is; set spec.type"
            )
        self._modules.begin()
        target, wanted = self._find_target(spec)
        ready = _Ready(spec, target, wanted, self._relocate(spec, target))
        self._write_code(ready)
        if self._options.log_level or self._modules.in_use:
            return ready
        if _UNRESOLVED not in [each.kind for each in spec.references]:
            ready.request = sys.prog_request(**self._arguments(ready, spec, self._types))
        return ready

    def _write_code(self, ready: _Ready) -> None:
        spec = ready.spec
        code = bytearray(core.patch(spec.code, ready.fixups, spec.byte_order) if ready.fixups else spec.code)
        module_fds = self._refer(spec, code)
        ready.code = bytes(code)
        ready.fd_array = (0, *module_fds.values()) if module_fds else ()
        ready.request = None

    def _load_ready(self, ready: _Ready) -> Program:
        try:
            fd, log = self._load_known(ready)
        except KernelError as error:
            spec, target = ready.spec, ready.target
            blamed = self._modules.blame(error)
            if blamed is not None:
                raise self._gone(spec, target, *blamed) from error
            if target is not None and targetverdict.is_of_target(error, target):
                error.hint = targetverdict.verdict(spec, target, self._cache) or error.hint
            raise
        target = ready.target
        if target is not None and self._cache.directory != target.directory:
            target = attrs.evolve(target, directory=self._cache.directory)
        return Program(fd, ready.spec, target, ready.fixups, log, ready.wanted["expected_attach_type"])

    def _load_known(self, ready: _Ready) -> tuple[sys.Fd, str]:
        try:
            return self._contexts.load(ready.spec, partial(self._load, ready))
        except VerifierError as refusal:
            if not self._externs.are_refused(refusal):
                raise
            self._write_code(ready)
            return self._contexts.load(ready.spec, partial(self._load, ready))

    def _gone(self, spec: ProgramSpec, target: AttachTarget | None, module: str, why: str) -> EbpfError:
        """The error for a module that came or went."""
        if target is not None and target.module == module:
            return TargetNotFoundError(
                f"program {spec.name}: {module}:{target.name}: {why}",
                name=target.name,
                module=module,
                searched=(module,),
            )
        names = [each.name for each in spec.references if each.kind is _UNRESOLVED]
        name = next((each for each in names if (found := self._externs.in_module(each)) and found.module == module), "")
        return ExternError(f"program {spec.name}: kernel symbol {name!r}: {why}", name=name)

    def _find_target(self, spec: ProgramSpec) -> tuple[AttachTarget | None, dict[str, int]]:
        """What the program is loaded for, and what BPF_PROG_LOAD has to be told about it."""
        expected = int(spec.attach_type or 0)
        if spec.type == _EXT or spec.attach_target is not None:
            found, fd = find_in_program(spec)
            return found, {
                "expected_attach_type": expected,
                "attach_btf_id": found.type_id,
                "attach_prog_fd": fd,
            }
        if spec.type == _STRUCT_OPS:
            operations, number = structops.program_target(self._cache, spec)
            target = AttachTarget(spec.attach_to, operations.type_id, operations.module, operations.incarnation)
            return target, {"expected_attach_type": number, **self._in_kernel(spec, target)}
        if spec.type in _WITH_TARGET and needs_target(spec.attach_type):
            assert spec.attach_type is not None
            target = find_target(self._cache, spec.attach_type, spec.attach_to, spec.attach_module, quick=self._quick)
            return target, {"expected_attach_type": expected, **self._in_kernel(spec, target)}
        if spec.attach_type in MULTI and spec.attach_module not in (None, VMLINUX):
            try:
                module_fd = self._modules.fd(spec.attach_module or "", None)
            except NotFoundError as error:
                raise TargetNotFoundError(
                    f"program {spec.name}: {error}", name=spec.attach_to, module=spec.attach_module
                ) from None
            return None, {"expected_attach_type": expected, "attach_btf_obj_fd": module_fd}
        if not expected and spec.type == _KPROBE and _is_static_probe(spec.section):
            expected = _static_probe_type()
        return None, {"expected_attach_type": expected}

    def _in_kernel(self, spec: ProgramSpec, target: AttachTarget) -> dict[str, int]:
        module_fd = 0
        if target.module is not None:
            try:
                module_fd = self._modules.fd(target.module, target.incarnation)
            except NotFoundError as error:
                raise self._gone(spec, target, target.module, str(error)) from error
        return {"attach_btf_id": target.type_id, "attach_btf_obj_fd": module_fd}

    def _relocate(self, spec: ProgramSpec, target: AttachTarget | None) -> tuple[core.Fixup, ...]:
        if not spec.relocations:
            return ()
        module = target.module if target is not None else None
        given = self._options.kernel_types
        own: list[btf.Spec] = []
        if module is not None and given is None:
            assert target is not None
            try:
                own.append(self._cache.module(module))
                self._modules.check(module, own[0].incarnation)
            except NotFoundError as error:
                raise self._gone(spec, target, module, str(error)) from error
        key = (module, own[0].incarnation) if own and module is not None else None
        relocator = self._relocators.get(key)
        if relocator is None:
            if given is not None:
                relocator = core.Relocator(given)
            else:
                relocator = core.Relocator([self._cache.kernel(), *own], fallback=self._cache.modules)
            self._relocators[key] = relocator
        fixups = relocator.relocate(
            spec.relocations, prefer_module=module or spec.attach_module, prefer_function=spec.attach_to or None
        )
        return tuple(fixups)

    @cached_property
    def _map_fds(self) -> dict[str, int]:
        return {name: each.fileno() for name, each in self._maps.items()}

    def _refer(self, spec: ProgramSpec, code: bytearray) -> dict[str, int]:
        """Resolve the instructions that refer to maps and externs.

        Returns:
            Descriptors of the modules' BTF objects, in the order of ``fd_array`` from index 1.
        """
        if not spec.references:
            return {}
        unresolved = [each for each in spec.references if each.kind is _UNRESOLVED]
        for reference in unresolved:
            if reference.name not in self._externs:
                raise UnsupportedError(
                    f"program {spec.name}: instruction {reference.insn} refers to {reference.name!r}, which the object"
                    " neither defines nor declares as __ksym or __kconfig",
                    feature="undefined symbols",
                )
        module_fds = self._fds_of_externs(spec, {each.name for each in unresolved}) if unresolved else {}
        map_fds = self._map_fds
        for reference in spec.references:
            if reference.kind is _UNRESOLVED:
                self._externs.write(code, reference.insn, reference.name, maps=map_fds, module_fds=module_fds)
            elif reference.kind is not _FUNCTION:
                fd = map_fds.get(reference.name)
                blueprint = self._blueprints.get(reference.name) if fd is None else None
                if blueprint is not None and not blueprint.autocreate:
                    _poison_map(code, reference.insn * 8, list(self._blueprints).index(reference.name))
                    continue
                if fd is None:
                    raise InputError(f"program {spec.name} refers to map {reference.name!r}, which is not there")
                value = reference.kind is _MAP_VALUE
                _put_map(code, reference.insn * 8, fd, reference.offset if value else None)
        return module_fds

    def _fds_of_externs(self, spec: ProgramSpec, names: set[str]) -> dict[str, int]:
        """Descriptors of the modules that have these externs, by name of the module."""
        fds: dict[str, int] = {}
        for name in sorted(names):
            found = self._externs.in_module(name)
            if found is not None and found.module is not None:
                try:
                    fds[found.module] = self._modules.fd(found.module, found.incarnation)
                except NotFoundError as error:
                    raise ExternError(f"program {spec.name}: kernel symbol {name!r}: {error}", name=name) from error
        return dict(sorted(fds.items()))

    def _arguments(self, ready: _Ready, form: ProgramSpec, types: ObjectTypes | None) -> dict[str, Any]:
        """What BPF_PROG_LOAD is told, but for the log."""
        arguments: dict[str, Any] = {
            "type": form.type,
            "insns": olderhelpers.with_older(ready.code) if self._older_helpers else ready.code,
            "license": form.license,
            "name": form.name,
            "flags": form.flags,
            "fd_array": ready.fd_array,
            "token_fd": self._token_fd,
            **ready.wanted,
        }
        if types is not None and form.func_infos:
            arguments["prog_btf_fd"] = types.handle.fileno()
            arguments["func_info"] = _records(form, "func_infos", 2)
            arguments["line_info"] = _records(form, "line_infos", 4)
        return arguments

    def _load(self, ready: _Ready, form: ProgramSpec, types: ObjectTypes | None) -> tuple[sys.Fd, str]:
        """Load the code: without a log unless one is asked for, and after a refusal once more with one.

        Args:
            ready: the program.
            form: its blueprint, maybe with another function information.
            types: the BTF object that goes with that.
        """
        asked = self._options.log_level
        level, size = asked, self._options.log_size
        again = False
        request = ready.request
        if form is not ready.spec or self._older_helpers:  # as an earlier program has shown
            request = None
        while True:
            try:
                if request is None:
                    arguments = self._arguments(ready, form, types)
                    request = sys.prog_request(**arguments, log_level=level, log_size=size if level else 0)
                fd, log = request.send()
            except KernelError as error:
                request = None
                if error.errno == errno.ENOSPC and level and size < _MAX_LOG:
                    size = min(_MAX_LOG, max(error.log_true_size, size * 2, _LOG_AFTER_REFUSAL))
                elif not self._older_helpers and olderhelpers.lacks_newer(error.log):
                    self._older_helpers = True  # of all programs that follow
                    level, size = asked, self._options.log_size
                elif not level and error.errno != errno.EPERM:
                    level, size = 1, max(size, _LOG_AFTER_REFUSAL)
                elif not again and self._modules.may_have_become_live(error):
                    again = True
                else:
                    raise self._refused(form, error, ready.fixups) from None
            else:
                return fd, log if asked else ""

    def _refused(self, spec: ProgramSpec, error: KernelError, fixups: tuple[core.Fixup, ...]) -> EbpfError:
        from . import lacking  # and with it all questions about features, which a load that succeeds does not ask

        log, poison = verifierlog.explain_poison(error.log, fixups)
        log, missing = verifierlog.explain_missing(log, self._externs.names, tuple(self._blueprints))
        why = verifierlog.poison_text(poison) if poison is not None else missing or verifierlog.reason(log)
        if not why:
            error.subject = f"program {spec.name} ({spec.section})"
            error.hint = lacking.unnamed_reason(spec, error, of_module=self._modules.in_use) or error.hint
            if error.errno == errno.EINVAL and self._options.log_level and self._options.log_size > _OLD_MAX_LOG:
                error.hint = (
                    f"log_size {self._options.log_size} may be too large: before Linux 5.2 a log has"
                    f" {_OLD_MAX_LOG} bytes at most; {error.hint or ''}"
                ).rstrip("; ")
            return error
        refused = verifier_error(
            error.errno or 0,
            program=spec.name,
            log=log,
            reason=why,
            hint=verifierlog.hint(log, spec) or lacking.verifier_reason(log, spec) or error.hint,
        )
        types = self._types.spec if self._types is not None else None
        refused.source_line = verifierlog.source_line(log, spec, types)
        return refused


def _name_program(error: EbpfError, spec: ProgramSpec) -> None:
    """Have an error from a place that knows no programs say which it is about."""
    if isinstance(error, KernelError):
        error.subject = error.subject or f"program {spec.name}"
    elif error.args and isinstance(error.args[0], str) and f"program {spec.name}" not in error.args[0]:
        error.args = (f"program {spec.name}: {error.args[0]}", *error.args[1:])


def _is_static_probe(section: str) -> bool:
    return section.removeprefix("?").partition("/")[0] in ("usdt", "usdt.s")


def _static_probe_type() -> int:
    """How static probes of user space are attached: all places by one link, where the kernel can limit it to a process.

    Which it is has to be said when the program is loaded, so this is asked before.
    """
    from ebpfpy import features

    try:
        multi = features.have_uprobe_multi_of_process()
    except KernelError:
        return 0
    return int(AttachType.TRACE_UPROBE_MULTI) if multi else 0


def _records(spec: ProgramSpec, field: str, columns: int) -> sys.Records:
    """A table beside the code, as the kernel reads it."""
    rows = getattr(spec, field)
    if isinstance(rows, Rows) and rows.width == columns:
        return sys.Records(rows.words.tobytes(), 4 * columns)
    try:
        packed = array("I", chain.from_iterable(rows))
        if len(packed) == columns * len(rows):
            return sys.Records(packed.tobytes(), 4 * columns)
    except (TypeError, OverflowError):
        pass
    raise InputError(f"program {spec.name}: {field} is {rows!r:.60}, not rows of {columns} unsigned numbers of 32 bits")


def _poison_map(code: bytearray, at: int, number: int) -> None:
    """Make two calls of a helper that does not exist of the ld_imm64 at `at`: an error only where it is reached."""
    for place in (at, at + 8):
        _INSN.pack_into(code, place, _CALL, 0, 0, verifierlog.POISONED_MAP + number)


def _put_map(code: bytearray, at: int, fd: int, offset: int | None) -> None:
    """Make the ld_imm64 at `at` load a map, or the address of a byte of its value."""
    opcode, registers, off, _ = _INSN.unpack_from(code, at)
    source = _PSEUDO_MAP_FD if offset is None else _PSEUDO_MAP_VALUE
    registers = registers & 15 | source << 4 if _sys.byteorder == "little" else registers & 240 | source
    _INSN.pack_into(code, at, opcode, registers, off, fd)
    _INSN.pack_into(code, at + 8, 0, 0, 0, offset or 0)
