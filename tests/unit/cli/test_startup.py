"""Signals and closed pipes at the beginning and the end of the command."""

import os
import subprocess
import sys

import pytest

from ebpfpy.cli.status import one_line
from ebpfpy.errors import verifier_error

EBPFPY = [sys.executable, "-m", "ebpfpy"]
BUFFERED = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""As users have it; without a buffer, argparse itself meets the error of writing its help, and says nothing."""

# Ctrl-C at the moment when a module is about to be imported, then the command as its script calls it.
INTERRUPTED = """
import signal, sys

class CtrlC:
    def find_spec(self, name, path=None, target=None):
        if name == {module!r}:
            sys.meta_path.remove(self)
            signal.raise_signal(signal.SIGINT)

sys.meta_path.insert(0, CtrlC())
sys.argv[1:] = {words!r}
from ebpfpy.__main__ import main
status = main()
assert not any(isinstance(finder, CtrlC) for finder in sys.meta_path), "was never interrupted"
sys.exit(status)
"""


@pytest.mark.parametrize(
    "module", ["ebpfpy.cli", "argparse", "ebpfpy.cli.main", "ebpfpy.errors", "ebpfpy.cli.inspect", "ebpfpy.cli.status"]
)
def test_ctrl_c_while_the_command_starts_is_status_130_and_silence(module):
    code = INTERRUPTED.format(module=module, words=["inspect", "nothing.o"])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["inspect", "testdata/demo.bpf.o"]], ids=" ".join)
def test_a_reader_that_is_gone_before_the_first_line_is_no_traceback(testdata, words):
    with subprocess.Popen(
        [*EBPFPY, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=testdata.parent, env=BUFFERED
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.mark.parametrize("words", [["--version"], ["inspect", "testdata/demo.bpf.o"]], ids=" ".join)
def test_a_full_disk_is_one_line_and_status_3(testdata, words):
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*EBPFPY, *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            cwd=testdata.parent,
            env=BUFFERED,
        )
    assert (done.returncode, done.stderr) == (3, "ebpfpy: [Errno 28] No space left on device\n")


def test_without_standard_output_the_command_still_ends_well(testdata):
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", *EBPFPY, "inspect", str(testdata / "demo.bpf.o")],
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_the_log_of_a_refused_program_is_said_to_be_where_the_user_can_see_it():
    error = verifier_error(13, program="p", log="0: r0 = 1\nno\n", reason="no")
    assert str(error) == "program p: no [EACCES] (2 lines of log in .log)"
    assert one_line(error) == "program p: no [EACCES] (2 lines of log shown by --debug)"
    assert one_line(error, log_is="above") == "program p: no [EACCES] (2 lines of log above)"
