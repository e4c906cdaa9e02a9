"""C files that compile only if a header gives the types the layout that BTF has.

`assertions`: a `_Static_assert` for the size of every struct, union and enum with a tag and of every typedef of one
without, and for the offset of every member that is no bitfield, with those of members that have no type name of their
own.

`bitfields`: C has no constant expression for where a bitfield is. So each becomes a variable in which only it is set;
the compiler puts the variables into a section of the object file, where `wrong_bitfields` finds the bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elftools.elf.elffile import ELFFile

from ebpfpy import btf
from ebpfpy.btf.cheader import _Header
from ebpfpy.btf.cnames import identifier

if TYPE_CHECKING:
    from collections.abc import Iterator

_LONGEST = 1 << 16
"""Bytes of a struct that becomes a variable."""


class Proof:
    """What is to be proved about the header of one spec."""

    def __init__(self, spec: btf.Spec) -> None:
        self.spec = spec
        header = _Header(spec)
        for _ in header.texts():
            pass
        self.renamed = header.renamed
        self.sizes: list[tuple[str, int]] = []
        self.offsets: list[tuple[str, str, int]] = []
        self.bitfields: list[tuple[str, int, str, int, int, bool]] = []
        for of in spec:
            name = self._c_name(of)
            if name is None:
                continue
            under = btf.resolve(of)
            self.sizes.append((name, under.size))
            if isinstance(under, (btf.Struct, btf.Union)):
                for path, offset, width, boolean in self._members(under, "", 0):
                    if width:
                        self.bitfields.append((name, under.size, path, offset, width, boolean))
                    elif offset % 8 == 0:
                        self.offsets.append((name, path, offset // 8))

    def _c_name(self, of: btf.Type) -> str | None:
        name = self.renamed.get(self.spec.type_id(of)) or identifier(getattr(of, "name", ""))
        match of:
            case btf.Struct():
                return f"struct {name}" if of.name else None
            case btf.Union():
                return f"union {name}" if of.name else None
            case btf.Enum():
                return f"enum {name}" if of.name and of.enumerators else None
            case btf.Typedef():
                under = btf.resolve(of)
                if isinstance(under, (btf.Struct, btf.Union, btf.Enum)) and not under.name:
                    return name
        return None

    def _members(self, of: btf.Struct | btf.Union, path: str, start: int) -> Iterator[tuple[str, int, int, bool]]:
        seen: set[str] = set()
        for member in of.members:
            under = btf.resolve(member.type)
            at = start + member.offset_bits
            if not member.name:
                if isinstance(under, (btf.Struct, btf.Union)):
                    yield from self._members(under, path, at)
                continue
            here = path + identifier(member.name)
            if here in seen:
                here += "___2"
            seen.add(here)
            boolean = isinstance(under, btf.Int) and under.bool
            if isinstance(under, btf.Int) and under.bits != under.size * 8:  # legacy
                yield here, at + under.bit_offset, under.bits, boolean
                continue
            yield here, at, member.bitfield_size, boolean
            steps = ""
            kind = member.type
            while isinstance(kind, (btf.Array, btf.Const, btf.Volatile)) and not (
                isinstance(kind, btf.Array) and not kind.count
            ):
                if isinstance(kind, btf.Array):
                    steps += "[0]"
                    kind = kind.element
                else:
                    kind = kind.target
            if isinstance(kind, (btf.Struct, btf.Union)) and not kind.name:
                yield from self._members(kind, f"{here}{steps}.", at)

    def assertions(self, header: str) -> str:
        """A C file that compiles only if all sizes and offsets are right."""
        lines = [f'#include "{header}"']
        lines += [f'_Static_assert(sizeof({name}) == {size}, "");' for name, size in self.sizes]
        lines += [f'_Static_assert(__builtin_offsetof({name}, {path}) == {at}, "");' for name, path, at in self.offsets]
        return "\n".join(lines) + "\n"

    def bitfield_variables(self, header: str) -> str:
        """A C file with a variable for each bitfield, in which nothing but it is set."""
        lines = [f'#include "{header}"']
        for index, (name, size, path, _, _, boolean) in enumerate(self.bitfields):
            if size <= _LONGEST:
                lines.append(f"{name} v{index} = {{ .{path} = {1 if boolean else -1} }};")
        return "\n".join(lines) + "\n"

    def wrong_bitfields(self, object_file: str) -> tuple[int, list[str]]:
        """How many bitfields an object file has right, and which are elsewhere."""
        right, wrong = 0, []
        with open(object_file, "rb") as stream:
            elf = ELFFile(stream)
            data = {
                index: section.data() for index, section in enumerate(elf.iter_sections()) if section.name == ".data"
            }
            symbols = {s.name: s for s in elf.get_section_by_name(".symtab").iter_symbols()}
        for index, (name, size, path, offset, width, _) in enumerate(self.bitfields):
            if size > _LONGEST:
                continue
            symbol = symbols[f"v{index}"]
            start = symbol["st_value"]
            order = self.spec.byte_order
            number = int.from_bytes(data[symbol["st_shndx"]][start : start + size], order)
            shift = offset if order == "little" else 8 * size - offset - width
            if number == (1 << width) - 1 << shift:
                right += 1
            else:
                wrong.append(f"{name}.{path}: bits {offset}+{width}, compiled {number:#x}")
        return right, wrong
