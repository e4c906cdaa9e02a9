"""What the kernel holds after an object was loaded, made comparable: descriptors -> plain values, without ids.

Everything that BPF_OBJ_GET_INFO_BY_FD tells of programs and maps, the contents of maps, and by two iterators
(testdata/kernel_view.bpf.c) what the kernel tells no other way. Ids are other ones at every load: instead of them stand
names. Types are compared by structure.

    with Viewer() as viewer:
        ours = viewer.view({"fill": fd, ...}, {"hash": fd, ...})
        ours.programs["fill"]["tag"], ours.maps["hash"]["key"]
"""

import ctypes
import mmap
import struct
import sys as python
from dataclasses import dataclass

import ebpfpy
from ebpfpy import btf, link, sys
from ebpfpy.sys import MapType
from ebpfpy.sys.filemap import map_shared_at
from tests.kernel.blueprints import path_of

_INSN = struct.Struct("=BBhi")
_LD_IMM64 = 0x18
_MAP_FD, _MAP_VALUE = 1, 2
_OF_PROGRAMS = frozenset({MapType.PROG_ARRAY})
_OF_MAPS = frozenset({MapType.ARRAY_OF_MAPS, MapType.HASH_OF_MAPS})
_WITH_CONTENTS = frozenset({MapType.ARRAY, MapType.HASH, *_OF_PROGRAMS, *_OF_MAPS})
_MOST_ENTRIES = 64


class Shape:
    """A type, equal to every type of the same structure."""

    def __init__(self, of):
        self.of = of

    def __eq__(self, other):
        return isinstance(other, Shape) and btf.same_type(self.of, other.of)

    __hash__ = None

    def __repr__(self):
        return btf.format_c(self.of)


class Blob:
    """BTF, equal to the same bytes, and to other bytes with the same types under the same ids."""

    def __init__(self, spec):
        self.spec = spec

    def __eq__(self, other):
        if self.spec.raw == other.spec.raw:
            return True
        return len(self.spec) == len(other.spec) and self._first_other(other) is None

    __hash__ = None

    def _first_other(self, other):
        pairs = zip(self.spec, other.spec, strict=True)
        return next((mine for mine, theirs in pairs if not btf.same_type(mine, theirs)), None)

    def __repr__(self):
        return f"{len(self.spec)} types"


@dataclass
class View:
    """Programs and maps by name: of each what there is to know, by the name of the fact."""

    programs: dict
    maps: dict


@dataclass
class Difference:
    """A fact about a program or map that is not the same on both sides; None where one side has no such thing."""

    name: str
    fact: str
    ours: object
    theirs: object

    def __str__(self):
        return f"{self.name}: {self.fact}: {_first(self.ours, self.theirs)}"


def differences(ours, theirs):
    """Every fact that is not the same."""
    found = []
    for what in ("programs", "maps"):
        here, there = getattr(ours, what), getattr(theirs, what)
        for name in sorted(here.keys() | there.keys()):
            mine, other = here.get(name), there.get(name)
            if mine is None or other is None:
                found.append(Difference(name, what, mine and name, other and name))
                continue
            found += [
                Difference(name, fact, mine.get(fact), other.get(fact))
                for fact in sorted(mine.keys() | other.keys())
                if mine.get(fact) != other.get(fact)
            ]
    return found


def _first(mine, other):
    """The first thing that two values differ in."""
    if isinstance(mine, list) and isinstance(other, list):
        for index, (one, two) in enumerate(zip(mine, other, strict=False)):
            if one != two:
                return f"[{index}] {one!r}, not {two!r} (of {len(mine)} and {len(other)})"
        return f"{len(mine)} instead of {len(other)}"
    return f"{mine!r}, not {other!r}"


class Viewer:
    """Looks at loaded objects. A context manager: it keeps its iterators.

    Args:
        cache: the running kernel's types.
    """

    def __init__(self, cache):
        options = ebpfpy.CollectionOptions(cache=cache)
        self._collection = ebpfpy.load_collection(path_of("kernel_view.bpf.o"), options)

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        self._collection.close()

    def view(self, programs, maps):
        """What the kernel holds of these programs and maps: descriptors by name."""
        map_names = {sys.map_info(fd).id: name for name, fd in maps.items()}
        program_names = {sys.prog_info(fd).id: name for name, fd in programs.items()}
        types = _Types()
        hidden = self._hidden("each_map", "map_view")
        arenas = {}
        map_facts = {}
        for name, fd in maps.items():
            map_facts[name] = _map(fd, map_names, program_names, types) | hidden[sys.map_info(fd).id]
            start = map_facts[name].pop("arena")
            if start:  # an address of the process that made it
                size = map_facts[name]["max_entries"] * mmap.PAGESIZE
                arenas[name] = range(start, start + size)
                map_facts[name]["contents"] = _arena(fd, start, size)
        hidden = self._hidden("each_program", "program_view")
        program_facts = {}
        for name, fd in programs.items():
            more = hidden[sys.prog_info(fd).id]
            aux = more.pop("aux")
            places = arenas | {"the program's own state": range(aux, aux + 1)}
            program_facts[name] = _program(fd, map_names, places, types) | more
        return View(program_facts, map_facts)

    def _hidden(self, program, structure):
        """What an iterator writes, by id."""
        kind = self._collection.spec.types.type_by_name(structure, btf.Struct)
        found = {}
        with link.attach(self._collection.programs[program]) as attached:
            data = attached.read()
        for at in range(0, len(data), kind.size):
            facts = btf.decode(kind, data[at : at + kind.size])
            found[facts.pop("id")] = facts
        return found


class _Types:
    """BTF objects of the kernel by id, each read once."""

    def __init__(self):
        self._specs = {}
        self._names = {}

    def spec(self, number):
        if number not in self._specs:
            with btf.Handle.from_id(number) as handle:
                self._specs[number] = handle.spec()
        return self._specs[number]

    def shape(self, number, type_id):
        """The type of an id in a BTF object, None for no type."""
        return Shape(self.spec(number).type_by_id(type_id)) if type_id else None

    def name(self, number):
        """The name of a BTF object of the kernel or a module; the id of another one, which both sides share."""
        if number not in self._names:
            with sys.fd_by_id("btf", number) as fd:
                self._names[number] = sys.btf_info(fd).name or number
        return self._names[number]


def _program(fd, map_names, places, types):
    info = sys.prog_info(fd)
    facts = {
        "type": info.type,
        "name": info.name,
        "tag": info.tag.hex(),
        "gpl_compatible": info.gpl_compatible,
        "verified_insns": info.verified_insns,
        "ifindex": info.ifindex,
        "attach_btf_id": info.attach_btf_id,
        "attach_btf": types.name(info.attach_btf_obj_id) if info.attach_btf_obj_id else None,
        "maps": sorted(map_names.get(number, f"map {number}") for number in info.map_ids),
        "code": _code(sys.prog_instructions(fd), map_names, places),
        "has types": bool(info.btf_id),
    }
    if info.btf_id:
        spec = types.spec(info.btf_id)
        facts["types"] = Blob(spec)
        facts["functions"] = [(at, types.shape(info.btf_id, number)) for at, number in sys.prog_func_infos(fd)]
        facts["lines"] = [
            (at, spec.string(file), spec.string(text), place >> 10, place & 1023)
            for at, file, text, place in sys.prog_line_infos(fd)
        ]
    return facts


def _code(code, map_names, places):
    """A text for each instruction; 64-bit loads say the names of maps, and of places in memory."""
    slots = list(_INSN.iter_unpack(code))
    found = []
    index = 0
    while index < len(slots):
        opcode, registers, off, imm = slots[index]
        index += 1
        text = f"{index - 1}: {opcode:02x} {registers:02x} {off}"
        if opcode != _LD_IMM64:
            found.append(f"{text} {imm}")
            continue
        low, high = imm & 0xFFFF_FFFF, slots[index][3] & 0xFFFF_FFFF
        index += 1
        source = registers >> 4 if python.byteorder == "little" else registers & 15
        if source in (_MAP_FD, _MAP_VALUE):
            found.append(f"{text} {map_names.get(low, low)} + {high}")
        else:
            value = high << 32 | low
            where = [f"{name} + {value - place.start}" for name, place in places.items() if value in place]
            found.append(f"{text} {where[0] if where else hex(value)}")
    return found


def _pieces(data, size):
    return [data[at : at + size] for at in range(0, len(data), size)]


def _map(fd, map_names, program_names, types):
    info = sys.map_info(fd)
    facts = {
        "type": info.type,
        "key_size": info.key_size,
        "value_size": info.value_size,
        "max_entries": info.max_entries,
        "map_flags": info.map_flags,
        "name": info.name,
        "ifindex": info.ifindex,
        "map_extra": info.map_extra,
        "vmlinux value": info.btf_vmlinux_value_type_id,
        "has types": bool(info.btf_id),
        "key": types.shape(info.btf_id, info.btf_key_type_id) if info.btf_id else None,
        "value": types.shape(info.btf_id, info.btf_value_type_id) if info.btf_id else None,
    }
    if info.type == MapType.STRUCT_OPS:
        facts["structure"] = _structure(fd, info, program_names)
    if info.type in _WITH_CONTENTS and info.max_entries <= _MOST_ENTRIES:
        names = program_names if info.type in _OF_PROGRAMS else map_names if info.type in _OF_MAPS else None
        facts["contents"] = _contents(fd, info, names)
    return facts


def _structure(fd, info, program_names):
    """A struct_ops map's value, of a structure of the kernel's own: state, count, and data with names of programs."""
    kind = btf.load_kernel_spec().type_by_id(info.btf_vmlinux_value_type_id)
    value = btf.decode(kind, sys.map_lookup(fd, bytes(4), info.value_size))
    data = value["data"]
    for member in btf.resolve(next(each.type for each in kind.members if each.name == "data")).members:
        if isinstance(btf.resolve(member.type), btf.Pointer):
            data[member.name] = program_names.get(data[member.name], data[member.name])
    return value


def _contents(fd, info, names):
    """What is in a map by key; names of the programs or maps in it."""
    found = {}
    key = None
    while (key := sys.map_next_key(fd, key, info.key_size)) is not None:
        try:
            value = sys.map_lookup(fd, key, info.value_size)
        except FileNotFoundError:  # an empty element
            continue
        if value is not None and names is not None:
            number = int.from_bytes(value, python.byteorder)
            value = names.get(number, number)
        if value is not None:
            found[key.hex()] = value
    return found


def _arena(fd, start, size):
    """What is in an arena, which has one address in all processes."""
    with open("/proc/self/maps") as maps:
        here = any(int(line.partition("-")[0], 16) == start for line in maps)
    data = ctypes.string_at(start, size) if here else map_shared_at(fd, size, start).raw
    return [chunk.hex(" ") for chunk in _pieces(data, 16) if any(chunk)]
