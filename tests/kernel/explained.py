"""Where ebpfpy hands the kernel something else than libbpf on purpose: what, how far, and why."""

from functools import cache

import attrs

import ebpfpy
from ebpfpy import asm, btf, link
from ebpfpy.elf.spec import ExternKind
from ebpfpy.errors import EbpfError
from ebpfpy.sys import MapFlags, ProgramType
from tests.kernel import features
from tests.kernel.blueprints import collection_of, program_of
from tests.kernel.kernel_view import differences

ONLY_OURS = {
    # libbpf takes __ulong for map_extra only
    ("map_numbers.bpf.o", "touch"): "expected PTR, got enum",
    # types of the module that a program attaches to: libbpf looks at the kernel's namesake, or at both modules'
    (
        "kmod_demo.bpf.o",
        "clash_exit",
    ): "failed to resolve CO-RE relocation",
    ("namesakes.bpf.o", "on_e1000"): "field offset ambiguity",
    ("namesakes.bpf.o", "on_e1000e"): "field offset ambiguity",
}
if features.no_module_types() is None and not features.takes_functions_as_values():  # before 6.3: ebpfpy gives a number
    ONLY_OURS["kfunc_demo.bpf.o", "optional"] = "isn't KIND_VAR"
"""Programs that only ebpfpy loads, and what libbpf says."""
NAMESAKES = {("bictcp.bpf.o", "clash_count")}
"""Programs that read a structure of a module which the kernel has a namesake of, with other offsets."""
LD_IMM64 = 0x18
NEWER_SECTIONS = ("?uprobe.session", "?uprobe.session.s")
"""What the libbpf that we ask is too old for."""


@attrs.frozen
class Explained:
    """A difference that is meant.

    Attributes:
        fact: what the kernel tells.
        holds: whether a difference in that fact is this one and no other, of (blueprint, difference).
        why: the reason.
    """

    fact: str
    holds: object
    why: str


def of_statics_only(spec, difference):
    """A data section's memory is shared although no variable in it has linkage: static ones, or strings."""
    described = spec.maps[difference.name].value if difference.name in spec.maps else None
    is_section = difference.name.startswith((".rodata", ".data", ".bss"))
    return (
        is_section
        and difference.ours == difference.theirs | MapFlags.MMAPABLE
        and (
            described is None or all(isinstance(of.var, btf.Var) and of.var.linkage == 0 for of in described.variables)
        )
    )


def of_context_tags(spec, _difference):
    """Functions with parameters tagged as contexts have second versions in the BTF of the programs that need them."""
    return b"\0arg:ctx\0" in bytes(spec.types.raw)


def of_namesakes(spec, difference):
    """The program reads a structure of the module that it attaches to, of which the kernel has a namesake."""
    if (spec.source.rpartition("/")[2], difference.name) not in NAMESAKES:
        return False
    return difference.fact == "tag" or len(difference.ours) == len(difference.theirs)


def of_module_address(spec, difference):
    """The program loads the address of a kernel function or variable: in a module, a descriptor's number is in it."""
    wanted = {each.name for each in spec.externs.values() if each.kind is not ExternKind.KCONFIG}
    program = spec.programs[difference.name]
    return any(each.name in wanted and program.code[each.insn * 8] == LD_IMM64 for each in program.references)


def of_system_calls(_spec, difference):
    """Whether system calls have wrappers, on a kernel that allows no kprobes."""
    return difference.name == ".kconfig" and no_kprobe()


EXPLAINED = (
    Explained(
        "map_flags",
        of_statics_only,
        "libbpf shares a section's memory if a skeleton shows a variable of it; ebpfpy shows static ones, too",
    ),
    *(
        Explained(
            fact,
            of_namesakes,
            "the function that it attaches to takes the module's structure; libbpf reads the kernel's namesake",
        )
        for fact in ("code", "tag")
    ),
    Explained(
        "tag",
        of_module_address,
        "the tag is over the number of the descriptor of the module's types, which only the process knows",
    ),
    Explained(
        "types",
        of_context_tags,
        "before Linux 6.8 libbpf adds second versions of functions to the object's types, ebpfpy to a copy for programs"
        " that are refused without; which functions a program has is compared all the same",
    ),
    Explained(
        "contents",
        of_system_calls,
        "libbpf finds out whether system calls have wrappers by a kprobe on one, ebpfpy by the symbol",
    ),
)


def unexplained(spec, ours, theirs):
    """The differences between two views that are not meant, as texts."""
    return [
        str(each)
        for each in differences(ours, theirs)
        if not any(known.fact == each.fact and known.holds(spec, each) for known in EXPLAINED)
    ]


@cache
def no_kprobe():
    """Whether this kernel refuses kprobes altogether."""
    with ebpfpy.Collection(collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()], kind=ProgramType.KPROBE))) as own:
        try:
            link.attach_kprobe(own.programs["by_hand"], "do_nanosleep").close()
        except EbpfError:
            return True
    return False
