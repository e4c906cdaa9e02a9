"""The command line: `python -m ebpfpy`, and the script `ebpfpy`."""

from __future__ import annotations

import sys

from ebpfpy.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
