"""Boots distribution kernels under QEMU and runs commands of this checkout inside.

    python -m tests.vm.setup                                  download kernels, build our module
    python -m tests.vm --kernel 6.12 --module tun -- COMMAND  run a command in a guest
    tests.vm.run("6.12", ["uname", "-r"])                     the same from Python

The guest sees the host's file system, read-only with a tmpfs on top, so the virtual environment and the
checkout work in it at their own paths, and what it writes is gone when it ends.
"""

from tests.vm.guest import Result, run
from tests.vm.tools import SetupError

__all__ = ["Result", "SetupError", "run"]
