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

LD_IMM64 = 0x18
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
if not features.takes_functions_as_values():  # before 6.3, where ebpfpy gives a number instead
    ONLY_OURS["kfunc_demo.bpf.o", "optional"] = "isn't KIND_VAR"
"""Programs that only ebpfpy loads, and what libbpf says."""
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


def of_function_address(spec, difference):
    """The program takes the address of a kernel function; in its code only 64-bit loads differ."""
    kfuncs = {each.name for each in spec.externs.values() if each.kind is ExternKind.KFUNC}
    program = spec.programs[difference.name]
    takes = any(each.name in kfuncs and program.code[each.insn * 8] == LD_IMM64 for each in program.references)
    load = f"{LD_IMM64:02x}"
    return takes and (
        difference.fact == "tag"
        or only_these_differ(difference, lambda ours, theirs: ours.split()[1] == theirs.split()[1] == load)
    )


def of_system_calls(_spec, difference):
    """Whether system calls have wrappers, on a kernel that allows no kprobes."""
    return difference.name == ".kconfig" and no_kprobe()


def of_context_tags(spec, _difference):
    """Functions with parameters tagged as contexts have second versions in the BTF of the programs that need them."""
    return b"\0arg:ctx\0" in bytes(spec.types.raw)


def only_these_differ(difference, alike):
    """Whether two lists differ, and only in elements for which `alike` is true."""
    pairs = [(one, two) for one, two in zip(difference.ours, difference.theirs, strict=False) if one != two]
    return len(difference.ours) == len(difference.theirs) and bool(pairs) and all(alike(*pair) for pair in pairs)


EXPLAINED = (
    Explained(
        "map_flags",
        of_statics_only,
        "libbpf shares a section's memory if a skeleton shows a variable of it; ebpfpy shows static ones, too",
    ),
    *(
        Explained(
            fact,
            of_function_address,
            "a program can only ask whether a kernel function's address is 0; ebpfpy gives it the type id, a number,"
            " because kernels before 6.3 refuse libbpf's form",
        )
        for fact in ("code", "tag")
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
