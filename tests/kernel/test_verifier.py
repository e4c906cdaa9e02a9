"""What is said when the verifier refuses: the reason first, where in the source, and the whole log."""

import re

import pytest

import ebpfpy
from ebpfpy.errors import VerifierError
from ebpfpy.sys import Command, programs
from tests.kernel.blueprints import TESTDATA, path_of


def source_lines():
    return (TESTDATA / "refused.bpf.c").read_text().splitlines()


def refusal(program, **options):
    spec = ebpfpy.load_collection_spec(path_of("refused.bpf.o"))
    spec.programs[program].autoload = True
    with pytest.raises(VerifierError) as caught:
        ebpfpy.Collection(spec, ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(**options)))
    return caught.value


@pytest.mark.parametrize(
    ("program", "text"),
    [("past_the_end", "return *data; /* without a look at data_end */"), ("deeper", "return data[7];")],
)
def test_a_refusal_says_reason_and_line_first_and_keeps_the_whole_log(program, text):
    error = refusal(program)
    first, second = str(error).splitlines()
    assert first.startswith(f"program {program}: invalid access to packet")
    assert "[EACCES]" in first
    number = next(number for number, line in enumerate(source_lines(), 1) if text in line)
    assert re.fullmatch(rf"  at (\./)?refused\.bpf\.c:{number}: {re.escape(text)}", second)
    assert error.source_line == second.removeprefix("  at ")
    assert error.program == program
    assert all(part in error.log for part in error.reason.split(": "))
    assert "processed " in error.log


def test_a_long_log_comes_whole_with_one_more_call(monkeypatch):
    calls = []
    really = programs.try_bpf

    def counted(command, attr):
        if command == Command.PROG_LOAD:
            calls.append(attr.log_size)
        return really(command, attr)

    monkeypatch.setattr(programs, "try_bpf", counted)
    error = refusal("long_log")
    assert len(error.log) > 1 << 16
    assert calls[0] == 0
    assert len(calls) == 2
    assert "processed " in error.log.splitlines()[-1]
    assert error.log.startswith(("0: ", "func#0", "reg type", "; "))


def test_a_log_that_is_asked_for_grows_until_it_fits():
    error = refusal("long_log", log_level=1, log_size=4096)
    assert len(error.log) > 1 << 16
    assert "invalid access to packet" in str(error)


def test_a_log_is_kept_only_where_it_was_asked_for():
    for level in (0, 1, 2):
        options = ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(log_level=level))
        with ebpfpy.load_collection(path_of("replaced.bpf.o"), options) as collection:
            assert bool(collection.programs["classify"].log) == bool(level)
