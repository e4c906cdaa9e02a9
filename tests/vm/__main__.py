"""The command: `python -m tests.vm --kernel 6.12 [--module tun]... -- COMMAND...`."""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tests.vm import guest
from tests.vm.tools import SetupError

if TYPE_CHECKING:
    from types import FrameType


def main() -> int:
    """Run a command in a guest; its output and exit status become this command's."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.vm",
        description="Boot a distribution kernel and run a command of this checkout inside, as root.",
        epilog="Exit status: the command's; 124 when the time is up; 125 when the guest died.",
    )
    parser.add_argument("--kernel", required=True, help="series, such as 6.1 or 6.12")
    parser.add_argument("--module", action="append", default=[], help="module to load before: name or .ko file")
    parser.add_argument("--share", action="append", default=[], type=Path, help="directory the guest may write to")
    parser.add_argument("--env", action="append", default=[], metavar="NAME=VALUE", help="environment variable")
    parser.add_argument("--timeout", type=float, default=120, help="seconds, boot included (default: 120)")
    parser.add_argument("--memory", type=int, default=1024, help="MiB of the guest (default: 1024)")
    parser.add_argument("command", nargs="+", help="command and its arguments, after --")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    try:
        result = guest.run(
            options.kernel,
            options.command,
            modules=options.module,
            timeout=options.timeout,
            memory=options.memory,
            env=dict(setting.split("=", 1) for setting in options.env),
            shares=options.share,
            sink=_print,
        )
    except SetupError as error:
        print(f"vm: {error}", file=sys.stderr)
        return guest.DIED
    if result.problem:
        print(f"vm: {result.problem}", file=sys.stderr)
    print(
        f"vm: {options.kernel} ({result.release}, {result.accelerator}): "
        f"{result.seconds:.1f} s, exit {result.exit_status}",
        file=sys.stderr,
    )
    return result.exit_status


def _print(arrived: bytes) -> None:
    sys.stdout.buffer.write(arrived)
    sys.stdout.buffer.flush()


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
