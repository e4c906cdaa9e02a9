"""Objects to load: the compiled ones of testdata, and small ones built by hand."""

import sys as python
from pathlib import Path

import ebpfpy
from ebpfpy import asm, btf, sys
from ebpfpy.asm import AluOp
from ebpfpy.elf import Reference, ReferenceKind
from ebpfpy.ringbuf import Reader

TESTDATA = Path(__file__).parents[2] / "testdata"
ORDER = python.byteorder
ENTRY = sys.AttachType.TRACE_FENTRY
EXIT = sys.AttachType.TRACE_FEXIT


def path_of(name):
    """The path of a compiled object, as a str."""
    return str(TESTDATA / name)


def collection_of(*programs, maps=()):
    """The blueprint of a collection built by hand."""
    return ebpfpy.CollectionSpec(
        source="by hand",
        maps={each.name: each for each in maps},
        programs={program.name: program for program in programs},
        variables={},
        types=None,
        byte_order=ORDER,
        license="GPL",
    )


def program_of(code, *, kind=sys.ProgramType.SOCKET_FILTER, name="by_hand", section="socket", **fields):
    """The blueprint of a program built by hand."""
    return ebpfpy.ProgramSpec(
        name=name,
        section=section,
        type=kind,
        attach_type=fields.pop("attach_type", None),
        license="GPL",
        byte_order=ORDER,
        code=asm.encode(code, ORDER),
        **fields,
    )


def counting_program(attach_to, module=None, *, attach_type=ENTRY, name="counts"):
    """A tracing program that counts how often it runs, in the map `counter`."""
    code = [
        asm.ld_map_value(1, 0),
        asm.ldx(8, 2, 1),
        asm.alu_imm(AluOp.ADD, 2, 1),
        asm.stx(8, 1, 0, 2),
        asm.mov_imm(0, 0),
        asm.exit_(),
    ]
    where = f"{module}:{attach_to}" if module is not None else attach_to
    return program_of(
        code,
        kind=sys.ProgramType.TRACING,
        name=name,
        section=f"{'fentry' if attach_type == ENTRY else 'fexit'}/{where}",
        attach_type=attach_type,
        attach_to=attach_to,
        attach_module=module,
        references=(Reference(0, ReferenceKind.MAP_VALUE, "counter", 0),),
    )


def counting_collection(attach_to, module=None, **options):
    """A collection of one `counting_program` and its map."""
    counter = ebpfpy.MapSpec("counter", sys.MapType.ARRAY, key_size=4, value_size=8, max_entries=1)
    return collection_of(counting_program(attach_to, module, **options), maps=[counter])


def count(collection):
    """What a `counting_collection` has counted."""
    return int.from_bytes(collection.maps["counter"][0], ORDER)


def event_type(collection):
    """The struct event that an object of testdata declares."""
    return collection.spec.types.type_by_name("event", btf.Struct)


def read_events(collection, pid, number):
    """The next events of a process, decoded; those of others are passed over."""
    kind = event_type(collection)
    found = []
    with Reader(collection.maps["events"], timeout=20) as reader:
        while len(found) < number:
            value = btf.decode(kind, reader.read())
            if value["pid"] == pid:
                found.append(value)
    return found
