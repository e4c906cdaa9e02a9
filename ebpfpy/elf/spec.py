"""Blueprints: what an object file asks for, as plain data that can be read, edited and copied.

Nothing here touches the kernel. `ebpfpy.loader` turns blueprints into kernel objects.
"""

from __future__ import annotations

import copy
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

import attrs

from ebpfpy.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ebpfpy import btf, core
    from ebpfpy.sys.enums import AttachType, MapType, ProgramType
    from ebpfpy.sys.fd import HasFileno

    from .members import Members

ByteOrder = Literal["little", "big"]


class ReferenceKind(Enum):
    """What an instruction of a program refers to by name."""

    MAP = "map"
    """ld_imm64 of a map: becomes the map's file descriptor."""
    MAP_VALUE = "map value"
    """ld_imm64 of a global variable: descriptor of the data section's map, and the offset inside it."""
    FUNCTION = "function"
    """ld_imm64 of a static subprogram's address (a callback). Linked: ``offset`` is its instruction index,
    and `ProgramSpec.code` already holds BPF_PSEUDO_FUNC and the distance."""
    UNRESOLVED = "unresolved"
    """ld_imm64 or call of a symbol that the object does not define: an extern, which the loader resolves; or a
    symbol in a section that is not understood, with which the program can be read, but not loaded."""


class ExternKind(Enum):
    """What kind of thing the kernel is to supply."""

    KCONFIG = "kconfig"
    """An option of the kernel's configuration, or a fact about the kernel, as the value of a variable."""
    KSYM = "ksym"
    """A variable of the kernel or a module; of type void: just an address."""
    KFUNC = "kfunc"
    """A function of the kernel or a module that BPF programs may call."""


@attrs.frozen
class ExternSpec:
    """Something that the kernel is to supply.

    Attributes:
        name: of the variable or function.
        kind: see `ExternKind`.
        type: of the variable; for a function its `btf.Func`.
        weak: the program can do without: the address reads as 0.
    """

    name: str
    kind: ExternKind
    type: btf.Type
    weak: bool = False


@attrs.frozen
class Reference:
    """One instruction that needs something which exists only when the program is loaded.

    Attributes:
        insn: index of the instruction in the program's linked code.
        kind: what is referred to.
        name: name of the map (for `MAP_VALUE`: of the data section's map) or function.
        offset: bytes into the map's value for `MAP_VALUE`, instruction index for `FUNCTION`, else 0.
    """

    insn: int
    kind: ReferenceKind
    name: str
    offset: int = 0


@attrs.frozen
class Function:
    """A run of a program's linked code that comes from one symbol of the object.

    Attributes:
        name: the symbol.
        section: the section that it comes from.
        start: index of its first instruction in the program's linked code.
        end: index past its last instruction.
    """

    name: str
    section: str
    start: int
    end: int


@attrs.define
class MapSpec:
    """A map to be created.

    Attributes:
        name: the name in the object; the kernel keeps the first 15 characters.
        type: the map type.
        key_size, value_size: in bytes. A data section's may be enlarged: what `contents` does not reach is zero.
        max_entries: number of elements (for a ring buffer: bytes).
        flags: ``BPF_F_*`` of map creation.
        key, value: BTF types of key and value, where the object names them.
        pinning: 0 none, 1 by name.
        map_extra: type-specific word (Bloom filters: number of hashes).
        numa_node: where to allocate; None: anywhere. The flag BPF_F_NUMA_NODE is added when the map is made.
        contents: initial bytes: of a data section's single value, at the start of an arena, or of the object's own
            structure in a struct_ops map; None for every other map.
        frozen: freeze the map against user space after filling it (.rodata).
        data_section: the map holds a section of global variables.
        inner: what the maps inside are like, for maps of maps.
        slots: names of what is put in at load: of maps or programs by index; in a struct_ops map, of programs by the
            byte offset of the member that they implement, "" for a member that is to stay empty.
        autocreate: False for maps in sections with a leading "?": made only when set to True. Programs can be loaded
            without a map if their code that uses it is never reached, a constant being set so.
        own_slots: what the object itself has in `slots`; not to be changed. Programs among them may be left out.
    """

    name: str
    type: MapType
    key_size: int = 0
    value_size: int = 0
    max_entries: int = 0
    flags: int = 0
    key: btf.Type | None = None
    value: btf.Type | None = None
    pinning: int = 0
    map_extra: int = 0
    numa_node: int | None = None
    contents: bytearray | None = None
    frozen: bool = False
    data_section: bool = False
    inner: MapSpec | None = None
    slots: dict[int, str] = attrs.field(factory=dict)
    autocreate: bool = True
    own_slots: Mapping[int, str] = attrs.field(factory=dict, repr=False, eq=False)

    def copy(self) -> MapSpec:
        """An independent copy; the BTF types are shared."""
        return attrs.evolve(
            self,
            contents=None if self.contents is None else bytearray(self.contents),
            inner=None if self.inner is None else self.inner.copy(),
            slots=dict(self.slots),
        )

    @property
    def members(self) -> Members:
        """The members of a struct_ops map's structure, by name, to be read and changed.

        Raises:
            InputError: a map of another type.
        """
        from .members import Members

        return Members(self)


@attrs.define
class VariableSpec:
    """A global variable inside a data section's map.

    Attributes:
        name: the symbol.
        map: blueprint of the map that holds it.
        offset, size: where its bytes are in the map's value.
        type: its BTF type, or None in an object without BTF.
        byte_order: of its bytes.
    """

    name: str
    map: MapSpec
    offset: int
    size: int
    type: btf.Type | None = None
    byte_order: ByteOrder = "little"

    @property
    def value(self) -> bytes:
        """The initial bytes.

        Raises:
            InputError: the blueprint was edited, and the variable lies nowhere in its map.
        """
        place = place_of(self)
        return bytes((self.map.contents or b"")[place]).ljust(self.size, b"\0")

    def get(self) -> Any:
        """The initial value, decoded by its BTF type (bytes without one).

        Raises:
            InputError: the blueprint was edited, and the variable lies nowhere in its map.
        """
        if self.type is None:
            return self.value
        from ebpfpy import btf

        return btf.decode(self.type, self.value)

    def set(self, value: Any) -> None:
        """Replace the initial value.

        Args:
            value: exactly `size` bytes, or an integer that fits into them; with a BTF type whatever `get` would return:
                a str, a list, a dict, the name of an enumerator.

        Raises:
            InputError: the value has another size or does not fit; or the variable lies nowhere in its map.
        """
        place = place_of(self)
        if isinstance(value, int):
            data = self._encode(value)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            data = bytes(value)
        elif self.type is not None:
            from ebpfpy import btf

            data = btf.encode(self.type, value)
        else:
            raise InputError(
                f"variable {self.name} has no BTF type: it takes bytes or an integer, not {type(value).__name__}"
            )
        if len(data) != self.size:
            raise InputError(f"variable {self.name} has {self.size} bytes, not {len(data)}")
        contents = self.map.contents
        if not isinstance(contents, bytearray) or len(contents) < place.stop:  # as somebody has edited it
            self.map.contents = contents = bytearray(contents or b"").ljust(place.stop, b"\0")
        contents[place] = data

    def resize(self, count: int) -> None:
        """Give an array another number of elements before loading; new ones are zero.

        Its section's map becomes as much larger or smaller. The program has to be written for it, with the number of
        elements in a constant, for one.

        Args:
            count: elements, at least 1.

        Raises:
            InputError: the variable is no array, or not the last one of its section: others lie behind it; or it cannot
                have so many.
        """
        from ebpfpy import btf

        if not isinstance(count, int):
            raise InputError(f"variable {self.name}: a number of elements is an int, not {type(count).__name__}")
        place_of(self)
        array = btf.resolve(self.type) if self.type is not None else None
        if not isinstance(array, btf.Array) or not btf.sizeof(array.element):
            raise InputError(f"variable {self.name} is no array: it cannot be resized")
        if self.offset + self.size != self.map.value_size:
            raise InputError(f"variable {self.name} cannot be resized: it is not the last one of {self.map.name}")
        size = count * btf.sizeof(array.element)
        if not 0 < size < 1 << 32:
            raise InputError(f"variable {self.name} cannot have {count} elements")
        end = self.offset + size
        self.map.contents = bytearray(self.map.contents or b"")[:end].ljust(end, b"\0")
        self.map.value_size = end
        self.size = size
        self.type = btf.Array(array.element, array.index, count)
        section = self.map.value
        if isinstance(section, btf.Datasec) and section.variables and isinstance(section.variables[-1].var, btf.Var):
            last = section.variables[-1].var
            longer = btf.VarSecinfo(btf.Var(last.name, self.type, last.linkage), self.offset, size)
            self.map.value = btf.Datasec(section.name, end, (*section.variables[:-1], longer))

    def _encode(self, value: int) -> bytes:
        if self.byte_order not in ("little", "big"):
            raise InputError(f'variable {self.name}: byte_order is {self.byte_order!r:.60}, not "little" or "big"')
        try:
            return value.to_bytes(self.size, self.byte_order, signed=value < 0)
        except OverflowError:
            raise InputError(f"variable {self.name} has {self.size} bytes: {value} does not fit") from None


def place_of(variable: VariableSpec) -> slice:
    """Where the bytes of a variable are in the value of its map.

    Raises:
        InputError: the blueprint was edited: a field is of a wrong type, or those bytes are not in the map.
    """
    where = f"variable {variable.name}"
    holder, offset, size = variable.map, variable.offset, variable.size
    if not isinstance(holder, MapSpec):
        raise InputError(f"{where}: map is {holder!r:.60}, not MapSpec")
    for field, value in (("offset", offset), ("size", size)):
        if not isinstance(value, int):
            raise InputError(f"{where}: {field} is {value!r:.60}, not int")
    contents = b"" if holder.contents is None else holder.contents
    if not isinstance(contents, (bytes, bytearray, memoryview)) or not isinstance(holder.value_size, int):
        raise InputError(f"{where}: map {holder.name} has no bytes: contents is {contents!r:.60}")
    room = max(len(contents), holder.value_size)  # of an arena, which has no values, what the object has there
    if offset < 0 or size < 0 or offset + size > room:
        raise InputError(
            f"{where}: offset {offset} and size {size} lie outside of map {holder.name}, which has {room} bytes"
        )
    return slice(offset, offset + size)


@attrs.define
class ProgramSpec:
    """A program to be loaded, its subprograms already appended.

    Attributes:
        name: the name of the function.
        section: the section it comes from, as written ("fentry/tun:tun_chr_open").
        type, attach_type: as the section's name says; `type` is UNSPEC for an unknown section.
        attach_to: the function, tracepoint, ... behind the section's slash, without a module where `attach_module` has
            it (kprobes keep it: "tun:tun_chr_open"); "" for none. Of a struct_ops program: "STRUCTURE:MEMBER", of the
            member that it implements.
        attach_module: the module before the colon in the section's name, or None.
        flags: ``BPF_F_*`` of program loading.
        autoload: False for sections with a leading "?".
        attach_target: another BPF program to extend (freplace) or trace (fentry, fexit), as anything with a
            descriptor, and the name of its function ("" for the one that `attach_to` says); None: the kernel.
        license: of the object.
        byte_order: of `code`.
        code: instructions, 8 bytes each, in `byte_order`, references unresolved.
        functions: the functions in `code`: the program's own first, then its subprograms.
        references: what needs a map or an address, sorted by `insn`.
        relocations: CO-RE relocations, sorted by `insn`.
        func_infos: (insn, type id of the function) of the object's BTF.
        line_infos: (insn, file name offset, line offset, line and column word): offsets into the strings of
            the object's BTF.
    """

    name: str
    section: str
    type: ProgramType
    attach_type: AttachType | None
    attach_to: str = ""
    attach_module: str | None = None
    flags: int = 0
    autoload: bool = True
    attach_target: tuple[int | HasFileno, str] | None = None
    license: str = ""
    byte_order: ByteOrder = "little"
    code: bytes = b""
    functions: tuple[Function, ...] = ()
    references: tuple[Reference, ...] = ()
    relocations: tuple[core.Relocation, ...] = ()
    func_infos: Sequence[tuple[int, int]] = ()
    line_infos: Sequence[tuple[int, int, int, int]] = ()

    def copy(self) -> ProgramSpec:
        """An independent copy (its parts are immutable)."""
        return copy.copy(self)


@attrs.define
class CollectionSpec:
    """Everything in one object file, as blueprints.

    Attributes:
        source: where it was read from, for messages.
        maps: by name, data sections (".bss", ".rodata", ".data") included.
        programs: by name of the function.
        variables: by name of the symbol.
        externs: what the kernel is to supply, by name.
        types: the object's own BTF, data sections' offsets and sizes filled in; None without BTF.
        byte_order: "little" or "big".
        license: the contents of the license section.
        notes: what a reader should know: sections that were not understood, and the like.
    """

    source: str
    maps: dict[str, MapSpec]
    programs: dict[str, ProgramSpec]
    variables: dict[str, VariableSpec]
    types: btf.Spec | None
    byte_order: ByteOrder
    license: str = ""
    externs: dict[str, ExternSpec] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)

    def copy(self) -> CollectionSpec:
        """An independent copy; the BTF is shared."""
        maps = {name: spec.copy() for name, spec in self.maps.items()}
        variables = {
            name: attrs.evolve(variable, map=maps[variable.map.name]) for name, variable in self.variables.items()
        }
        programs = {name: spec.copy() for name, spec in self.programs.items()}
        return attrs.evolve(
            self,
            maps=maps,
            variables=variables,
            programs=programs,
            externs=dict(self.externs),
            notes=list(self.notes),
        )

    def relocate(self, kernel_types: Sequence[btf.Spec], *, prefer_modules: bool = True) -> core.Report:
        """Relocate every program against `kernel_types`, offline: nothing is loaded or changed.

        Args:
            kernel_types: BTF of the target kernel: vmlinux first, then modules (split specs on it).
            prefer_modules: let a program's own target module answer before other modules.

        Returns:
            A report of every relocation of every program, with its candidates and reasons.

        Raises:
            RelocationError: a relocation that is malformed, whatever the target.
        """
        from ebpfpy.core.report import relocate_programs

        return relocate_programs(self.source, self.programs.values(), kernel_types, prefer_modules=prefer_modules)
