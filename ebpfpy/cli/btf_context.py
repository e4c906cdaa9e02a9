"""Show what a tracing program gets as its context: the arguments of what it attaches to, as a C struct.

SECTION is what stands in SEC(): fentry/tcp_sendmsg, fexit/tun:tun_chr_open, tp_btf/sched_switch, raw_tp/sys_enter,
lsm/file_open, iter/task, struct_ops/tcp_congestion_ops:ssthresh. The text belongs behind #include "vmlinux.h", and
behind the header of the module (ebpfpy btf dump --format c) if a module has the function.

Exit status 1: BTF has no such thing, or several, or programs cannot follow its arguments.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy import btf
from ebpfpy.cli.kerneltypes import add_btf_option, kernel_types
from ebpfpy.cli.output import note, print_json
from ebpfpy.cli.status import DOES_NOT_HOLD, OK
from ebpfpy.errors import UnsupportedError

if TYPE_CHECKING:
    import argparse


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the arguments."""
    parser.add_argument("section", metavar="SECTION", help="KIND/NAME, or KIND/MODULE:NAME")
    add_btf_option(parser, "the running kernel and all its modules")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> int:
    """Look, print."""
    try:
        context = btf.context_of(kernel_types(options.btf), options.section)
    except UnsupportedError as error:
        note(str(error))
        return DOES_NOT_HOLD
    if options.json:
        print_json(context.as_dict())
    else:
        print(context.c(), end="")
    return OK
