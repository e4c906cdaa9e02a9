"""What the objects of testdata need of the kernel, as the tables beside them say, asked of the running one."""

import re
import sys as python

import ebpfpy
from ebpfpy import asm, btf, features, sys
from ebpfpy.btf.kinds import Kind
from ebpfpy.errors import KernelError
from ebpfpy.sys import AttachType, MapType, ProgramFlags, ProgramType
from tests.kernel import expectations
from tests.kernel import features as machine
from tests.kernel.blueprints import TESTDATA

_OF_THE_CODE = "answers to all relocations"
"""What is no feature of the kernel, but a question of the types that an object was compiled with."""


def sleeps_in_uprobes():
    code = asm.encode([asm.mov_imm(0, 0), asm.exit_()], python.byteorder)
    try:
        sys.prog_load(type=ProgramType.KPROBE, insns=code, license="GPL", flags=ProgramFlags.SLEEPABLE)[0].close()
    except KernelError:
        return False
    return True


def has(feature, types):
    """Whether the running kernel has a feature of the tables."""
    kernel = types[0]
    kind, _, name = feature.rpartition(" ")
    match kind:
        case "helper":
            return bool(kernel.string_offsets(name.replace("bpf_", "BPF_FUNC_", 1).encode()))
        case "function":
            return bool(kernel.ids_by_name(name.encode(), (Kind.FUNC,)))
        case "map type":
            return bool(features.have_map_type(MapType[name]))
        case "program type":
            return bool(features.have_program_type(ProgramType[name]))
        case "attach type":
            return bool(features.have_attach_type(AttachType[name]))
        case "program flag":
            return bool(features.have_program_flag(ProgramFlags[name]))
    match feature:
        case "types of modules":
            return machine.no_module_types() is None
        case "variables in the kernel's types":
            return bool(kernel.ids_by_name(b"bpf_prog_active", (Kind.VAR,)))
        case "functions as arguments":
            return bool(kernel.string_offsets(b"BPF_FUNC_for_each_map_elem"))  # the first that takes one
        case "links of struct_ops":
            return bool(kernel.string_offsets(b"BPF_STRUCT_OPS"))  # the attach type
        case "argument prev_state of sched_switch":
            return machine.no_prev_state() is None
        case "structs as arguments":
            return machine.no_structs_as_arguments() is None
        case "structures of modules":
            return any(each.ids_by_name(b"bpf_struct_ops_ebpfpy_demo_ops", (Kind.STRUCT,)) for each in types[1:])
        case "sleepable uprobes":
            return sleeps_in_uprobes()
    raise LookupError(f"no test knows the feature {feature!r}")


def _missing(name):
    """For each program and map of an object that loads by itself, and that this kernel lacks something for: what."""
    types = [btf.load_kernel_spec()]
    of = expectations.entry_of(name)
    spec = ebpfpy.load_collection_spec(TESTDATA / name)
    parts = [("programs", each.name, each.autoload) for each in spec.programs.values()]
    parts += [("maps", each.name, each.autocreate) for each in spec.maps.values()]
    for group, part, wanted in parts:
        needs = [*of.get("needs", ()), *of.get(group, {}).get(part, {}).get("needs", ())]
        lacking = [each for each in needs if each != _OF_THE_CODE and not has(each, types)]
        if wanted and lacking:
            yield group, part, lacking[0]


def require_object(name):
    """The test loads an object of testdata whole."""
    _require(name, ("programs", "maps"))


def require_programs(name):
    """The test loads an object's programs, without maps that this kernel does not have."""
    _require(name, ("programs",))


def _require(name, groups):
    for part, feature in [(part, feature) for group, part, feature in _missing(name) if group in groups]:
        first = re.search(r"Linux (\d+\.\d+)", expectations.words_for(feature))
        machine.since(first[1] if first else "0", f"this kernel lacks what {part} of {name} needs: {feature}")


def without_missing_maps(name):
    """An object's blueprint, less the maps of types that this kernel does not have."""
    spec = ebpfpy.load_collection_spec(TESTDATA / name)
    for group, part, _ in _missing(name):
        if group == "maps":
            del spec.maps[part]
    return spec
