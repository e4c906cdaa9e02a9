"""From the words of the command line to a sub-command, and from its outcome to an exit status.

A sub-command is a module with two functions: `configure` declares its arguments, `run` does the work and returns the
exit status. A module is imported only when its name is among the words, so that ``ebpfpy --help`` stays quick.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple

from ebpfpy import __version__
from ebpfpy.errors import EbpfError

if TYPE_CHECKING:
    from collections.abc import Sequence


class Command(NamedTuple):
    """A row of the table of commands."""

    words: tuple[str, ...]
    module: str
    help: str


COMMANDS = (
    Command(("run",), "run", "load an object, attach its programs, print their events"),
    Command(("inspect",), "inspect", "show an object's programs, maps and variables"),
    Command(("relocate",), "relocate", "relocate an object against kernel types, offline, and say why"),
    Command(("btf", "dump"), "btf_dump", "show the types of a kernel, module or object"),
    Command(("btf", "check"), "btf_check", "find out whether a module's types fit a kernel's, and why not"),
    Command(("btf", "find"), "btf_find", "find a type by name in the kernel and its modules"),
    Command(("btf", "context"), "btf_context", "show the arguments that a tracing program gets, as a C struct"),
    Command(("btf", "diff"), "btf_diff", "show what changed between the types of two kernels"),
    Command(("target",), "target", "find out whether and how a kernel function can be attached to"),
    Command(("disasm",), "disasm", "show an object's instructions with their source lines"),
)

EPILOG = """\
exit status:
  0  everything asked for holds
  1  it does not: a relocation is poisoned under --strict, nothing was found,
     two kernels' types differ
  2  the command line is wrong
  3  the input is unreadable or malformed
  4  the kernel or its permissions refused
"""


class _Parser(argparse.ArgumentParser):
    """A parser that keeps the line ends of descriptions, and takes no abbreviated options."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)


def build_parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """The parser, with the arguments of those sub-commands filled in whose names are among `words`."""
    parser = _Parser(prog="ebpfpy", description="Load, relocate and attach compiled eBPF objects.", epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"ebpfpy {__version__}")
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error, and kernel logs")
    top = parser.add_subparsers(metavar="COMMAND", required=True)
    groups = {}
    for command in COMMANDS:
        *group, name = command.words
        level = top
        for word in group:
            if word not in groups:
                inner = top.add_parser(word, help="look into types", description="Look into types.")
                groups[word] = inner.add_subparsers(metavar="COMMAND", required=True)
            level = groups[word]
        sub = level.add_parser(name, help=command.help)
        if name in words:
            module = import_module(f"ebpfpy.cli.{command.module}")
            sub.description = module.__doc__
            module.configure(sub)
            sub.add_argument("--debug", action="store_true", default=argparse.SUPPRESS, help=argparse.SUPPRESS)
            sub.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        argv: the words behind the command's name; those of this process if None.

    Returns:
        The exit status; 130 after Ctrl-C, 141 when the reader of standard output went away.

    Raises:
        SystemExit: the words are no command line, or ask for help only.
    """
    words = sys.argv[1:] if argv is None else list(argv)
    try:
        try:
            return _carry_out(words)
        finally:
            if sys.stdout is not None:  # it is None where the process was started without one
                sys.stdout.flush()
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # standard output cannot be written to
        # what Python would still flush at its end goes nowhere
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, sys.stdout.fileno())
        os.close(null)
        return 141 if isinstance(error, BrokenPipeError) else _report(error, debug=False)


def _carry_out(words: Sequence[str]) -> int:
    options = build_parser(words).parse_args(words)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        status: int = options.run(options)
    except BrokenPipeError:
        raise
    except (EbpfError, OSError) as error:
        return _report(error, debug=options.debug)
    return status


def _report(error: Exception, *, debug: bool) -> int:
    from ebpfpy.cli.status import one_line, status_of

    if debug:
        import traceback

        traceback.print_exception(error)
        log = getattr(error, "log", "")
        if log:
            print(log, file=sys.stderr)
    where = "above" if debug else "shown by --debug"
    print(f"ebpfpy: {one_line(error, log_is=where)}", file=sys.stderr)
    return status_of(error)
