"""`python -m tests.vm.setup`: make everything ready that the guests need.

It installs nothing on the system. It names the programs that are missing, downloads the kernels, builds our
module for each, and says what it has done; a second run finds all of it in the cache.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Final

from tests.vm import cache, kernels, kmod, tools
from tests.vm.tools import SetupError

DEFAULT: Final = tuple(kernels.SERIES)


def main() -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m tests.vm.setup", description="Prepare the test kernels.")
    parser.add_argument("--kernel", action="append", help=f"series, repeatable (default: {', '.join(DEFAULT)})")
    parser.add_argument("--refresh", action="store_true", help="look for newer kernels")
    options = parser.parse_args()
    absent = tools.missing((*tools.FOR_GUESTS, *tools.FOR_MODULES))
    for tool in absent:
        print(f"missing: {tool.program}, which {tool.purpose}")
    if absent:
        print(tools.install_hint(absent))
    print(f"cache: {cache.root()}")
    problems = bool(absent)
    for series in options.kernel or DEFAULT:
        try:
            _prepare(series, refresh=options.refresh)
        except SetupError as error:
            print(f"{series}: {error}", file=sys.stderr)
            problems = True
    return int(problems)


def _prepare(series: str, *, refresh: bool) -> None:
    start = time.monotonic()
    kernel = kernels.get(series, refresh=refresh)
    print(f"{series}: {kernel.release} from {', '.join(map(str, kernel.packages))}", flush=True)
    print(f"{series}: {kmod.build(series)}")
    if kmod.can_distil(series):
        print(f"{series}: {kmod.build(series, distilled=True)}")
    print(f"{series}: ready after {time.monotonic() - start:.1f} s", flush=True)


if __name__ == "__main__":
    sys.exit(main())
