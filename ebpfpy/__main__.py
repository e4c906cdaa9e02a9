"""The command line: `python -m ebpfpy`, and the script `ebpfpy`.

Nothing is imported here that could take long: whoever presses Ctrl-C while the command starts gets what Ctrl-C gives
later, status 130 and silence, not a traceback of imports.
"""

import sys


def main() -> int:
    """Run the command line.

    Returns:
        The exit status.
    """
    try:
        from ebpfpy.cli.main import main as carry_out

        return carry_out()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
