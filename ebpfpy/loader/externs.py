"""What the kernel supplies to an object: configuration, variables, functions.

Found once for a collection, and then written into the instructions of each program that refers to it:

========================  ====================================================================================
kconfig variable          64-bit load of an address in the map ".kconfig", which holds the values, frozen
``extern const void X``   64-bit load of the address of symbol X, from /proc/kallsyms
typed variable            64-bit load: type id of X, and the descriptor of the BTF that it is of (0: vmlinux)
function, called          call: type id of X, and the index in ``fd_array`` of its module's BTF (0: vmlinux)
function, address         as a typed variable; before 6.3 its type id: all that ``bpf_ksym_exists`` asks is: not 0
========================  ====================================================================================

A function's address is of no use to a program but for comparing it with 0. Kernels since 6.3 take it in the form of a
typed variable. Older ones refuse that; then a number is written instead, which all take, and the verifier prunes the
branch that it rules out.

A weak extern that the kernel does not have reads as 0, and a call of it is poisoned (helper 2002000000 and up, the
form that libbpf gave it): the verifier refuses it only where it can be reached.

The running kernel's own BTF answers, then each module's own types; a name that flavours distinguish (``f___v2``) is
looked up without its flavour. The type must be compatible with the one that the object declares.

Functions in modules need Linux 5.16 (fd_array), typed variables 5.10, of modules 5.12.
"""

from __future__ import annotations

import struct
import sys as _sys
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy import btf, core, sys
from ebpfpy.btf.kinds import Kind
from ebpfpy.btf.load import NO_MODULE_TYPES, has_module_types
from ebpfpy.btf.names import encode_name, essential_name
from ebpfpy.elf.spec import ExternKind, MapSpec
from ebpfpy.errors import BtfError, EbpfError, ExternError, InputError, NotFoundError, VerifierError
from ebpfpy.sys import MapFlags, MapType
from ebpfpy.sys.rights import hides_addresses
from ebpfpy.sys.vmlinux import VMLINUX

from .objectbtf import KCONFIG, kconfig_places

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ebpfpy.btf.loadedmodules import Incarnation
    from ebpfpy.elf.spec import CollectionSpec, ExternSpec

_PSEUDO_MAP_VALUE = 2
_PSEUDO_BTF_ID = 3
_PSEUDO_KFUNC_CALL = 2
POISONED_FUNCTION = 2002000000
_NO_FUNCTIONS = "in ldimm64 isn't KIND_VAR"
_LD_IMM64 = 0x18
_CALL = 0x85
_INSN = struct.Struct("=BBhi")


class Found(NamedTuple):
    """Where an extern was found.

    Attributes:
        type_id: of the variable or function in the BTF of `module`; 0 for an address.
        module: the module that has it; None for the kernel itself.
        address: of an untyped symbol.
        incarnation: which loading of the module.
    """

    type_id: int = 0
    module: str | None = None
    address: int = 0
    incarnation: Incarnation | None = None


def kconfig_map(spec: CollectionSpec) -> MapSpec | None:
    """The blueprint of the map with the values of all kconfig variables, None if the object has none.

    Raises:
        ExternError: the kernel does not set an option that the object needs, or its value does not fit.
        InputError: the blueprint was edited, and its types tell nothing of an option.
    """
    wanted = [extern for extern in spec.externs.values() if extern.kind is ExternKind.KCONFIG]
    if not wanted:
        return None
    from .kconfig import encode, lookup

    places = kconfig_places(spec.types) if spec.types is not None else {}
    for extern in wanted:
        if extern.name not in places:
            raise _without_types(extern)
    contents = bytearray(max(place.offset + place.size for place in places.values()))
    for extern in wanted:
        place = places[extern.name]
        value = lookup(extern)
        if value is not None:
            contents[place.offset : place.offset + place.size] = encode(extern, value, place.size)
    kinds = spec.types.any_types_by_name(KCONFIG) if spec.types is not None else ()
    section = next((t for t in kinds if isinstance(t, btf.Datasec)), None)
    return MapSpec(
        KCONFIG,
        MapType.ARRAY,
        key_size=4,
        value_size=len(contents),
        max_entries=1,
        flags=MapFlags.MMAPABLE | MapFlags.RDONLY_PROG,
        value=section,
        contents=contents,
        frozen=True,
        data_section=True,
    )


class Externs:
    """The kernel symbols that the programs of one collection refer to; found when first asked for.

    Args:
        spec: the collection.
        cache: the running kernel's types.

    Attributes:
        functions_are_numbers: addresses of functions are written as numbers, for kernels before 6.3.
    """

    def __init__(self, spec: CollectionSpec, cache: btf.Cache) -> None:
        self._externs = spec.externs
        self._types = spec.types
        self._cache = cache
        self._places = kconfig_places(spec.types) if spec.types is not None else {}
        self._found: dict[str, Found | None] = {}
        self._symbols: Mapping[str, list[sys.Symbol]] | None = None
        self.functions_are_numbers = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of all externs, in the order that numbers poisoned calls: libbpf's."""
        kconfig = [name for name, each in self._externs.items() if each.kind is ExternKind.KCONFIG]
        return (*kconfig, *sorted(self._externs.keys() - set(kconfig)))

    def __contains__(self, name: str) -> bool:
        return name in self._externs

    def are_refused(self, refusal: VerifierError) -> bool:
        """Whether the kernel refused addresses of functions, and other ones should be written now.

        Then `functions_are_numbers` is set.
        """
        if self.functions_are_numbers or _NO_FUNCTIONS not in refusal.log:
            return False
        self.functions_are_numbers = True
        return True

    def find(self, name: str) -> Found | None:
        """Where an extern is, None for a weak one that is nowhere.

        Raises:
            ExternError: it is not weak, and nowhere; or its type is another one.
        """
        if name not in self._found:
            self._found[name] = self._find(self._externs[name])
        return self._found[name]

    def in_module(self, name: str) -> Found | None:
        """An extern that a module has, whose BTF object has to be open while a program with it is loaded; else None."""
        if self._externs[name].kind is ExternKind.KCONFIG:
            return None
        found = self.find(name)
        if found is None or found.module is None:
            return None
        if found.incarnation != self._cache.incarnation(found.module):  # found for an earlier program
            del self._found[name]
            found = self.find(name)
        return found if found is not None and found.module is not None else None

    def _find(self, extern: ExternSpec) -> Found | None:
        if extern.kind is ExternKind.KSYM and isinstance(btf.resolve(extern.type), btf.Void):
            return self._find_symbol(extern)
        if self._types is None:
            raise _without_types(extern)
        kind = Kind.FUNC if extern.kind is ExternKind.KFUNC else Kind.VAR
        wanted = encode_name(essential_name(extern.name))
        mismatch: str | None = None
        specs = [self._cache.kernel(), *self._cache.modules()]
        for spec in specs:
            try:
                ids = spec.ids_by_name(wanted, (kind,))
                if not ids:
                    continue
                module = spec.name if spec.split else None
                mismatch = self._mismatch(extern, spec, ids[0])
            except (BtfError, NotFoundError):  # a malformed module has no answer
                continue
            if mismatch is None:
                return Found(ids[0], module, incarnation=spec.incarnation)
            where = module or "the kernel"
            mismatch = f"{where} has one, but of an incompatible type: {mismatch}"
            break
        if extern.weak and (extern.kind is ExternKind.KFUNC or mismatch is None):
            return None
        what = "function" if kind == Kind.FUNC else "variable"
        raise ExternError(
            f"kernel {what} {extern.name!r}: "
            + (mismatch or self._where_it_is_not(kind, [spec.name for spec in specs[1:]])),
            name=extern.name,
        )

    def _where_it_is_not(self, kind: Kind, modules: list[str]) -> str:
        where = f"not found in {', '.join((VMLINUX, *modules))}"
        kernel = self._cache.kernel()
        if kind == Kind.VAR and Kind.VAR not in map(kernel.kind_of, range(1, len(kernel) + 1)):
            return f"{where}: the types of this kernel tell of no variables at all (pahole writes some since 1.19)"
        if not modules and not has_module_types(kernel):
            return f"{where}; {NO_MODULE_TYPES}"
        return where

    def _mismatch(self, extern: ExternSpec, spec: btf.Spec, type_id: int) -> str | None:
        assert self._types is not None
        local = extern.type.proto if isinstance(extern.type, btf.Func) else extern.type
        there = spec.type_by_id(type_id)
        target = there.proto if isinstance(there, btf.Func) else there.type  # type: ignore[attr-defined]
        return core.incompatible(self._types, self._types.type_id(local), spec, spec.type_id(target))

    def _find_symbol(self, extern: ExternSpec) -> Found | None:
        if self._symbols is None:
            names = [e.name for e in self._externs.values() if e.kind is ExternKind.KSYM]
            self._symbols = sys.find_symbols(names)
        symbols = self._symbols.get(extern.name, [])
        addresses = sorted({symbol.address for symbol in symbols})
        if addresses == [0]:
            if extern.weak:
                return None
            raise ExternError(
                f"kernel symbol {extern.name!r}: the kernel hides its addresses: {hides_addresses()}", name=extern.name
            )
        if len(addresses) == 1:
            return Found(address=addresses[0])
        if not addresses and extern.weak:
            return None
        why = "not in /proc/kallsyms" if not addresses else f"it has {len(addresses)} addresses"
        raise ExternError(f"kernel symbol {extern.name!r}: {why}", name=extern.name)

    def write(
        self, code: bytearray, insn: int, name: str, *, maps: Mapping[str, int], module_fds: Mapping[str, int]
    ) -> None:
        """Resolve one instruction.

        Args:
            code: the program's code, changed in place.
            insn: index of the instruction: a 64-bit load or a call.
            name: of the extern.
            maps: descriptors of the collection's maps.
            module_fds: descriptors of BTF objects by module, in the order of ``fd_array`` from index 1.
        """
        at = insn * 8
        opcode, registers, _, _ = _INSN.unpack_from(code, at)
        extern = self._externs[name]
        if extern.kind is ExternKind.KCONFIG:
            place = self._places[name]
            _put_wide(code, at, _PSEUDO_MAP_VALUE, maps[KCONFIG], place.offset)
            return
        found = self.find(name)
        if opcode == _CALL:
            if extern.kind is not ExternKind.KFUNC:
                raise EbpfError(f"instruction {insn} calls {name!r}, which is no function")
            if found is None:
                number = self.names.index(name)
                _INSN.pack_into(code, at, _CALL, 0, 0, POISONED_FUNCTION + number)
                return
            index = list(module_fds).index(found.module) + 1 if found.module is not None else 0
            _INSN.pack_into(code, at, _CALL, _with_source(registers, _PSEUDO_KFUNC_CALL), index, found.type_id)
        elif found is None:
            _put_wide(code, at, 0, 0, 0)
        elif extern.kind is ExternKind.KFUNC and self.functions_are_numbers:
            _put_wide(code, at, 0, found.type_id, 0)
        elif found.type_id:
            fd = module_fds[found.module] if found.module is not None else 0
            _put_wide(code, at, _PSEUDO_BTF_ID, found.type_id, fd)
        else:
            _put_wide(code, at, 0, found.address & 0xFFFF_FFFF, found.address >> 32)


def _without_types(extern: ExternSpec) -> InputError:
    return InputError(
        f"extern {extern.name!r}: the types of the blueprint (`CollectionSpec.types`) have no variable or function of"
        " that name: leave them as they were read, or take the programs out that use it, and it out of `externs`"
    )


def _with_source(registers: int, source: int) -> int:
    return registers & 0x0F | source << 4 if _sys.byteorder == "little" else registers & 0xF0 | source


def _put_wide(code: bytearray, at: int, source: int, low: int, high: int) -> None:
    """Make the 64-bit load at `at` load a pair of 32-bit numbers of the kind `source`."""
    opcode, registers, off, _ = _INSN.unpack_from(code, at)
    _INSN.pack_into(code, at, opcode, _with_source(registers, source), off, _signed(low))
    _INSN.pack_into(code, at + 8, 0, 0, 0, _signed(high))


def _signed(value: int) -> int:
    return value - (1 << 32) if value >> 31 else value
