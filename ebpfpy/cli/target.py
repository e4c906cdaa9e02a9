"""Find out whether a function can be attached to, by what, and what to write in SEC().

Looks at every function of that name in the BTF of the kernel and its modules, at every symbol in kallsyms (the copies
that a compiler makes included), and, as root, at what ftrace can hook. With --btf and --kallsyms it answers for the
files of another machine.

Exit status 0: something can be attached. 1: nothing can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy import features
from ebpfpy.cli.kerneltypes import add_btf_option, types_of_files
from ebpfpy.cli.output import BOLD, GREEN, RED, YELLOW, paint, print_json, print_table, printable
from ebpfpy.cli.status import DOES_NOT_HOLD, OK, UsageError
from ebpfpy.features.audit import is_function, is_name
from ebpfpy.sys.vmlinux import VMLINUX

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("name", metavar="NAME", help="the function; MODULE:NAME looks in one module only")
    parser.add_argument("--module", metavar="MODULE", help='look only there ("vmlinux": the kernel itself)')
    add_btf_option(parser, "the running kernel and all its modules")
    parser.add_argument(
        "--kallsyms", metavar="FILE", help="symbols in the format of /proc/kallsyms, of the same machine"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Look, print."""
    module, colon, name = options.name.rpartition(":")
    if colon and options.module is not None:
        raise UsageError("the module is given twice: in front of the name, and with --module")
    if options.kallsyms is not None and not options.btf:
        raise UsageError("--kallsyms belongs to the files of --btf: name those, too")
    module = module if colon else options.module
    for what, word, fits in (("function", name, is_function), ("module", module, is_name)):
        if word is not None and not fits(word):
            raise UsageError(f"{word!r} is not the name of a {what}")
    audit = features.explain_target(
        name,
        module,
        kernel_types=types_of_files(options.btf) if options.btf else None,
        kallsyms=options.kallsyms,
    )
    if options.json:
        print_json(audit.as_dict())
    else:
        _print(audit)
    return OK if audit.attachable else DOES_NOT_HOLD


def _print(audit: features.TargetAudit) -> None:
    colour = RED if not audit.attachable else GREEN if audit.fentry is None else YELLOW
    print(f"{paint(printable(audit.name), BOLD)}: {paint(audit.verdict, colour)}")
    for section in audit.sections:
        print(f'  SEC("{printable(section)}")')
    for way, why in (("fentry", audit.fentry), ("kprobe", audit.kprobe)):
        if why is not None:
            no = "do not rely on" if way == "fentry" and audit.lucky else "no"
            print(f"  {no} {way}: {printable(why)}")
    for reason in audit.reasons:
        print(f"  {printable(reason)}")
    print_table(
        "in BTF",
        ("WHERE", "ID", "PROTOTYPE"),
        [(function.place, function.type_id, function.prototype) for function in audit.functions],
    )
    print_table(
        "in kallsyms",
        ("WHERE", "ADDRESS", "SYMBOL"),
        [
            (symbol.module or VMLINUX, f"{symbol.address:#x}" if symbol.address else "hidden", symbol.name)
            for symbol in audit.symbols
        ],
    )
