"""C files that compile only if a header gives the types what BTF says of them.

`assertions`: a `_Static_assert` for the size of every struct, union and enum, for offset and size of every member that
is no bitfield, and for the value of every enumerator. A type without a name is reached through what contains it or
points to it: ``__typeof__(*((struct outer *)0)->member)``. Which types were proved is noted in `proved`.

`bitfield_variables`: C has no constant expression for where a bitfield is. So each becomes a variable in which only it
is set; the compiler puts the variables into a section of the object file, where `wrong_bitfields` finds the bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from elftools.elf.elffile import ELFFile

from ebpfpy import btf
from ebpfpy.btf.cheader import _Header
from ebpfpy.btf.cnames import identifier
from ebpfpy.errors import BtfError

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 1 << 16
"""Bytes of a struct that becomes a variable."""


class Bitfield(NamedTuple):
    """Where one is: in a type of that C name and size, by that path; in bits."""

    type: str
    size: int
    path: str
    offset: int
    width: int
    boolean: bool


class _Recorder(_Header):
    """Notes what the enumerators of each enum are called, and which types were spelled out."""

    def __init__(self, spec: btf.Spec) -> None:
        self.names_of: dict[int, list[str]] = {}
        self.spelled: set[int] = set()
        self._current = 0
        super().__init__(spec)

    def body(self, type_id: int, tabs: int, name: str) -> str:
        self._current = type_id
        self.spelled.add(type_id)
        return super().body(type_id, tabs, name)

    def enumerators(self, names: list[str]) -> list[str]:
        made = super().enumerators(names)
        self.names_of.setdefault(self._current, list(made))
        return made


class Proof:
    """What is to be proved about the header of one spec.

    Attributes:
        sizes: (a type in C, bytes).
        offsets: (a type in C, path, byte offset, bytes or None).
        values: (enumerator, value).
        all: ids of the structs, unions and enums of the spec.
        proved: ids of those that the above are about.
        declared: ids of enums that are declared and not defined.
        unwritten: C types that the header does not have, as nothing refers to them; the assertions define them.
    """

    def __init__(self, spec: btf.Spec) -> None:
        self.spec = spec
        self.header = _Recorder(spec)
        self.text = self.header.text()
        self.sizes: list[tuple[str, int]] = []
        self.offsets: list[tuple[str, str, int, int | None]] = []
        self.values: list[tuple[str, int]] = []
        self.bitfields: list[Bitfield] = []
        self.proved: set[int] = set()
        self.all: set[int] = set()
        for of in spec:
            if isinstance(of, (btf.Struct, btf.Union, btf.Enum)):
                self.all.add(spec.type_id(of))
        self._roots: list[tuple[str, btf.Type]] = []
        self.unwritten = self._write_the_rest()
        self._roots += [(name, of) for of in spec if (name := self._c_name(of)) is not None]
        for name, of in self._roots:  # grows while we go
            self._prove(name, of)
        self._prove_values()

    def _write_the_rest(self) -> list[str]:
        """Definitions of the types without a name that nothing refers to."""
        lines = []
        self.declared = set()
        for type_id in sorted(self.all):
            of = self.spec.type_by_id(type_id)
            if of.name and isinstance(of, btf.Enum) and not of.enumerators:
                self.declared.add(type_id)
            elif not of.name and type_id not in self.header.spelled and not isinstance(of, btf.Enum):
                before, *_ = self.header.declarator(type_id)
                lines.append(self.header.expand(f"typedef {before}unwritten_{type_id};"))
                self._roots.append((f"unwritten_{type_id}", of))
        return lines

    def _c_name(self, of: btf.Type) -> str | None:
        name = self.header.renamed.get(self.spec.type_id(of)) or identifier(getattr(of, "name", ""))
        match of:
            case btf.Struct():
                return f"struct {name}" if of.name else None
            case btf.Union():
                return f"union {name}" if of.name else None
            case btf.Enum():
                return f"enum {name}" if of.name and of.enumerators else None
            case btf.Typedef() if of.name != "__builtin_va_list":
                under = btf.resolve(of)
                if isinstance(under, (btf.Struct, btf.Union, btf.Enum)) and not under.name:
                    return name
        return None

    def _prove(self, name: str, of: btf.Type) -> None:
        under = btf.resolve(of)
        self.sizes.append((name, under.size))
        self._note(under)
        if not isinstance(under, (btf.Struct, btf.Union)):
            return
        for path, offset, width, boolean, member in self._members(under, "", 0, self._note):
            if width:
                self.bitfields.append(Bitfield(name, under.size, path, offset, width, boolean))
                self._note(btf.resolve(member))
            elif offset % 8 == 0:
                self.offsets.append((name, path, offset // 8, _size(member)))
                self._reach(name, path, member)

    def _note(self, of: btf.Type) -> bool:
        """Count a type as proved; whether it is the first time."""
        if not isinstance(of, (btf.Struct, btf.Union, btf.Enum)):
            return False
        type_id = self.spec.type_id(of)
        known = type_id in self.proved
        self.proved.add(type_id)
        return not known

    def _reach(self, name: str, path: str, member: btf.Type) -> None:
        """Types without a name that a member is, is an array of, or points to, become roots of their own."""
        steps, stars, current = "", "", member
        while isinstance(current, (btf.Array, btf.Const, btf.Volatile, btf.Restrict, btf.TypeTag, btf.Pointer)):
            if isinstance(current, btf.Array):
                current, steps = current.element, steps + "[0]"
            else:
                steps, stars = (steps + "[0]", "*") if isinstance(current, btf.Pointer) else (steps, stars)
                current = current.target
        if isinstance(current, btf.Enum) and not current.name and not stars:
            self._note(current)  # its size is that of the member, or of an element
        elif isinstance(current, (btf.Struct, btf.Union, btf.Enum)) and not current.name and self._note(current):
            self._roots.append((f"__typeof__((({name} *)0)->{path}{steps})", current))

    def _members(self, of, path, start, inside) -> Iterator[tuple[str, int, int, bool, btf.Type]]:
        seen: set[str] = set()
        for member in of.members:
            under = btf.resolve(member.type)
            at = start + member.offset_bits
            if not member.name:
                if isinstance(under, (btf.Struct, btf.Union)):
                    inside(under)
                    yield from self._members(under, path, at, inside)
                continue
            here = path + identifier(member.name)
            if here in seen:
                here += "___2"
            seen.add(here)
            boolean = isinstance(under, btf.Int) and under.bool
            if isinstance(under, btf.Int) and under.bits != under.size * 8:  # legacy
                yield here, at + under.bit_offset, under.bits, boolean, member.type
                continue
            yield here, at, member.bitfield_size, boolean, member.type

    def _prove_values(self) -> None:
        for type_id, names in self.header.names_of.items():
            of = self.spec.type_by_id(type_id)
            if not isinstance(of, btf.Enum) or not of.enumerators:
                continue
            for name, enumerator in zip(names, of.enumerators, strict=True):
                value = enumerator.value
                if (of.size < 4 or of.signed) and not of.is64 and value >> 31 > 0:
                    value -= 1 << 32
                self.values.append((name, value))
            if not of.name:
                self.proved.add(type_id)  # it has no size of its own that anything depends on

    def assertions(self, header: str) -> str:
        """A C file that compiles only if all sizes, offsets and values are right."""
        lines = [f'#include "{header}"', *self.unwritten]
        lines += [f'_Static_assert(sizeof({name}) == {size}, "");' for name, size in self.sizes]
        for name, path, at, size in self.offsets:
            lines.append(f'_Static_assert(__builtin_offsetof({name}, {path}) == {at}, "");')
            if size is not None:
                lines.append(f'_Static_assert(sizeof((({name} *)0)->{path}) == {size}, "");')
        for name, value in self.values:
            text = (
                "(-9223372036854775807LL - 1)"
                if value == -(1 << 63)
                else f"{value}{'ULL' if value >> 63 > 0 else 'LL'}"
            )
            lines.append(f'_Static_assert({name} == {text}, "");')
        return "\n".join(lines) + "\n"

    def bitfield_variables(self, header: str) -> str:
        """A C file with a variable for each bitfield, in which nothing but it is set."""
        lines = [f'#include "{header}"', *self.unwritten]
        for index, field in enumerate(self.bitfields):
            if field.size <= _LONGEST:
                lines.append(f"{field.type} v{index} = {{ .{field.path} = {1 if field.boolean else -1} }};")
        return "\n".join(lines) + "\n"

    def wrong_bitfields(self, object_file: str) -> tuple[int, list[str]]:
        """How many bitfields an object file has right, and which are elsewhere."""
        right, wrong = 0, []
        variables = variables_of(object_file)
        order = self.spec.byte_order
        for index, field in enumerate(self.bitfields):
            if field.size > _LONGEST:
                continue
            number = int.from_bytes(variables[f"v{index}"][: field.size], order)
            shift = field.offset if order == "little" else 8 * field.size - field.offset - field.width
            if number == (1 << field.width) - 1 << shift:
                right += 1
            else:
                wrong.append(f"{field.type}.{field.path}: bits {field.offset}+{field.width}, compiled {number:#x}")
        return right, wrong


def variables_of(object_file: str) -> dict[str, bytes]:
    """The bytes of each variable of an object file, from its start to the end of its section."""
    with open(object_file, "rb") as stream:
        elf = ELFFile(stream)
        data = {index: section.data() for index, section in enumerate(elf.iter_sections()) if section["sh_size"]}
        symbols = [s for s in elf.get_section_by_name(".symtab").iter_symbols() if s["st_info"]["type"] == "STT_OBJECT"]
    return {s.name: data[s["st_shndx"]][s["st_value"] :] for s in symbols if s["st_shndx"] in data}


def _size(of: btf.Type) -> int | None:
    try:
        return btf.sizeof(of)
    except BtfError:
        return None
