"""Find out whether the types of a kernel module fit the types of a kernel.

A module's BTF refers to its kernel's types by number, so it is right with the kernel of its own build only. A module
built apart from the kernel may bring a distilled base (.BTF.base); it fits every kernel that has those types.

Exit status 0: it fits one of the bases. 1: it fits none, or nothing in it depends on its base. 3: a file is unreadable.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy import btf
from ebpfpy.btf.check import open_split
from ebpfpy.cli.output import BOLD, GREEN, RED, YELLOW, paint, print_json, printable
from ebpfpy.cli.status import DOES_NOT_HOLD, OK

if TYPE_CHECKING:
    import argparse

_COLOURS = {"fits": GREEN, "does not fit": RED, "cannot tell": YELLOW}
_SHOWN = 5


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("module", metavar="MODULE", help="the module's .ko file, or its split BTF, also compressed")
    parser.add_argument(
        "--base",
        action="append",
        required=True,
        metavar="VMLINUX",
        help="the types of a kernel: raw BTF, vmlinux or vmlinuz, also compressed (repeatable: which one fits?)",
    )
    parser.add_argument(
        "--distilled", metavar="FILE", help="the distilled base of MODULE, where it is a file of its own"
    )
    parser.add_argument(
        "--strict",
        choices=("kernel",),
        help="for a distilled base: what the kernel would say, which looks at less and stumbles over more",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Check against every base, print."""
    distilled = btf.load_spec(options.distilled) if options.distilled is not None else None
    kernels = [(path, btf.load_spec(path)) for path in options.base]
    module = open_split(options.module, kernels[0][1], distilled)
    reports = [
        (path, btf.check_split(module, kernel, distilled=distilled, strict=options.strict)) for path, kernel in kernels
    ]
    fitting = [path for path, report in reports if report.fits]
    if options.json:
        bases = [{"file": path, **report.as_dict()} for path, report in reports]
        print_json({"module": options.module, "fits": fitting, "bases": bases})
    else:
        for path, report in reports:
            _print(report, path)
        if len(reports) > 1:
            print(f"fits: {printable(', '.join(fitting)) or 'none of them'}")
    return OK if fitting else DOES_NOT_HOLD


def _print(report: btf.SplitReport, path: str) -> None:
    verdict = paint(report.verdict, _COLOURS[report.verdict])
    types = f"{report.types} type{'' if report.types == 1 else 's'}"
    distilled = ", by its distilled base" if report.distilled else ""
    print(f"{paint(printable(report.name), BOLD)} ({types}) {verdict} {printable(path)}{distilled}")
    for line in report.reasons():
        print(f"  {line}")
    if report.odd_names:
        print(f"  {report.odd_names} name{'' if report.odd_names == 1 else 's'} that are no C identifiers")
    for problem in report.problems:
        print(f"  - {printable(str(problem))}")
    if not report.fits:
        for example in report.examples[:_SHOWN]:
            print(f"  - {printable(example)}")
        hidden = len(report.examples) - _SHOWN
        if hidden > 0:
            print(f"  - ... (--json shows {hidden} more)")
    for text in report.notes:
        print(f"  note: {printable(text)}")
