"""What all commands have in common: exit statuses, errors, pipes, help."""

import os
import subprocess
import sys

import pytest

from ebpfpy import __version__
from ebpfpy.cli.main import COMMANDS
from ebpfpy.cli.output import has_colour, printable
from ebpfpy.cli.status import UsageError, one_line, status_of
from ebpfpy.errors import (
    AmbiguousRelocationError,
    BtfError,
    ElfError,
    TargetNotFoundError,
    TypeNotFoundError,
    UnsupportedError,
    kernel_error,
    verifier_error,
)

EBPFPY = [sys.executable, "-m", "ebpfpy"]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: " ".join(command.words))
def test_every_command_has_help_that_describes_it(cli, command):
    outcome = cli(*command.words, "--help")
    assert outcome.status == 0
    assert f"usage: ebpfpy {' '.join(command.words)}" in outcome.out
    assert "--json" in outcome.out


def test_help_lists_the_commands_and_exit_statuses(cli):
    outcome = cli("--help")
    assert outcome.status == 0
    assert all(command.words[0] in outcome.out for command in COMMANDS)
    assert "exit status" in outcome.out


def test_version(cli):
    assert cli("--version").out == f"ebpfpy {__version__}\n"


@pytest.mark.parametrize(
    "words", [[], ["nonsense"], ["btf"], ["btf", "nonsense"], ["inspect"], ["inspect", "a", "--nonsense"]]
)
def test_wrong_command_line_is_status_2(cli, words):
    outcome = cli(*words)
    assert outcome.status == 2
    assert outcome.out == ""
    assert "usage: ebpfpy" in outcome.err


COMMANDS_ON_A_FILE = [["inspect"], ["relocate"], ["disasm"], ["run"], ["btf", "dump"]]


@pytest.mark.parametrize("words", COMMANDS_ON_A_FILE, ids=" ".join)
def test_missing_file_is_status_3_and_one_line(cli, tmp_path, words):
    path = tmp_path / "nothing.o"
    outcome = cli(*words, path)
    assert outcome.status == 3
    assert outcome.err.startswith(f"ebpfpy: {path}: ")
    assert "No such file" in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("words", COMMANDS_ON_A_FILE, ids=" ".join)
@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x9f\xeb\x01\0", b"int main;\n", bytes(4096)])
def test_malformed_file_is_status_3_and_one_line(cli, tmp_path, words, content):
    path = tmp_path / "broken.o"
    path.write_bytes(content)
    outcome = cli(*words, path)
    assert outcome.status == 3
    assert outcome.out == ""
    assert outcome.err.startswith("ebpfpy: ")
    assert outcome.err.count("\n") == 1


def test_directory_is_status_3(cli, tmp_path):
    assert cli("inspect", tmp_path).status == 3
    assert cli("btf", "dump", tmp_path).status == 3


@pytest.mark.parametrize("words", [["--debug", "inspect"], ["inspect", "--debug"]], ids=" ".join)
def test_debug_adds_the_traceback(cli, tmp_path, words):
    outcome = cli(*words, tmp_path / "nothing.o")
    assert outcome.status == 3
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("ebpfpy: ")


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (UsageError("no such program"), 2),
        (ElfError("no"), 3),
        (BtfError("no"), 3),
        (FileNotFoundError(2, "No such file or directory", "x"), 3),
        (kernel_error(2, "open", subject="x"), 3),
        (UnsupportedError("maps in maps"), 3),
        (UnsupportedError("ring buffers", minimum="5.8"), 4),
        (kernel_error(1, "BPF_PROG_LOAD"), 4),
        (verifier_error(13, program="p", log="l\n", reason="r"), 4),
        (TargetNotFoundError("no", name="f"), 4),
        (AmbiguousRelocationError("two"), 1),
        (TypeNotFoundError("no", name="x"), 1),
    ],
)
def test_an_error_leads_to_the_status_that_the_manual_says(error, status):
    assert status_of(error) == status


def test_an_error_of_several_lines_is_one_line():
    assert one_line(ElfError("first\n  second\n")) == "first; second"


def test_missing_file_is_named_without_pythons_numbers():
    assert one_line(FileNotFoundError(2, "No such file or directory", "x.o")) == "x.o: No such file or directory"


def test_reader_that_goes_away_ends_the_command_silently(testdata):
    with subprocess.Popen(
        [*EBPFPY, "btf", "dump", str(next(testdata.glob("btf/6.12*/vmlinux.btf.xz")))],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == 141


def test_installed_command_and_module_are_the_same(testdata):
    path = str(testdata / "demo.bpf.o")
    by_module = subprocess.run([*EBPFPY, "inspect", path], capture_output=True, check=True).stdout
    script = os.path.join(os.path.dirname(sys.executable), "ebpfpy")
    if not os.path.exists(script):
        pytest.skip("the package is not installed beside this interpreter: no script ebpfpy")
    assert subprocess.run([script, "inspect", path], capture_output=True, check=True).stdout == by_module


class Terminal:
    def isatty(self):
        return True


def test_colour_needs_a_terminal_and_no_no_color(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert has_colour(Terminal())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not has_colour(Terminal())


def test_output_into_a_pipe_has_no_colour(cli, testdata):
    assert "\x1b" not in cli("relocate", testdata / "tun.bpf.o", "--btf", next(testdata.glob("btf/6.12*/vm*"))).out


def test_control_characters_from_files_never_reach_the_terminal():
    assert printable("a\x1b[31mb\nc\u202ed") == "a\\x1b[31mb\\nc\\u202ed"
    assert printable("naïve") == "naïve"
