"""Functions of executables: found where nm(1) finds them, and damaged files are refused by name."""

import os
import sys
import sysconfig

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpfpy.errors import EbpfError, ElfError, InputError, TargetNotFoundError
from ebpfpy.link.executable import Executable, find_binary
from ebpfpy.link.symbols import matching
from ebpfpy.link.usdtnotes import probes
from tests.unit.link.executables import BASE, elf


@pytest.fixture
def executable(tmp_path):
    opened = []

    def write(*arguments, **options):
        path = tmp_path / f"file{len(opened)}"
        path.write_bytes(elf(*arguments, **options))
        opened.append(Executable(path))
        return opened[-1]

    yield write
    for each in opened:
        each.close()


FUNC, WEAK, LOCAL, IFUNC, OBJECT = 0x12, 0x22, 0x02, 0x1A, 0x11


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("mark", ["<", ">"])
def test_a_functions_value_becomes_an_offset_in_the_file(executable, wide, mark):
    file = executable([("f", BASE + 0x20, FUNC, 1), ("of", BASE + 0x30, FUNC, 1)], wide=wide, mark=mark)
    assert (file.function("f"), file.function("of")) == (0x20, 0x30)
    assert file.functions(matching("*f").match) == {"f": 0x20, "of": 0x30}


def test_global_wins_over_weak_and_weak_over_local(executable):
    file = executable([("f", BASE + 1, LOCAL, 1), ("f", BASE + 2, WEAK, 1), ("f", BASE + 3, FUNC, 1)])
    assert file.function("f") == 3
    assert executable([("f", BASE + 1, LOCAL, 1), ("f", BASE + 2, WEAK, 1)]).function("f") == 2


def test_two_local_functions_of_one_name_are_refused_with_their_places(executable):
    file = executable([("f", BASE + 1, LOCAL, 1), ("f", BASE + 2, LOCAL, 1)])
    with pytest.raises(EbpfError, match="2 functions 'f': f at 0x1, f at 0x2"):
        file.function("f")


def test_versions_in_names_are_told_apart(executable):
    file = executable([("f@OLD", BASE + 1, FUNC, 1), ("f@@NEW", BASE + 2, FUNC, 1)])
    assert [file.function(name) for name in ("f", "f@NEW", "f@@NEW", "f@OLD")] == [2, 2, 2, 1]


@pytest.mark.parametrize(
    ("symbol", "reason"),
    [
        (("f", BASE, FUNC, 0), "it only uses it"),
        (("f", BASE, IFUNC, 1), "IFUNC"),
        (("f", BASE, OBJECT, 1), "defines no function 'f'$"),
        (("ffffff", BASE, FUNC, 1), "defines no function 'f'$"),
        (("f", 0x10, FUNC, 1), "defines no function 'f'$"),
    ],
)
def test_why_a_function_is_not_there_is_said(executable, symbol, reason):
    with pytest.raises(TargetNotFoundError, match=reason):
        executable([symbol]).function("f")


def test_near_names_are_offered(executable):
    with pytest.raises(TargetNotFoundError, match="near: read_line"):
        executable([("read_line", BASE, FUNC, 1)]).function("readline")


def test_a_pattern_knows_stars_and_question_marks_only():
    assert matching("a*c?").match("abbbcd")
    assert not matching("a.c").match("abc")
    assert not matching("abc").match("abcd")
    assert not matching("[a]").match("a")


@given(st.data())
def test_a_damaged_file_is_refused_or_read_but_nothing_else(tmp_path_factory, data):
    whole = bytearray(elf([("f", BASE + 0x20, FUNC, 1), ("g@V", BASE + 0x30, FUNC, 1)], notes=bytes(60)))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(whole) - 1))
        whole[at] = data.draw(st.sampled_from((0, 1, 0x7F, 0x80, 0xFF)))
    path = tmp_path_factory.mktemp("damaged") / "file"
    path.write_bytes(whole[: data.draw(st.integers(1, len(whole)))])
    try:
        with Executable(path) as file:
            for name in ("f", "g@V", "h"):
                try:
                    file.function(name)
                except EbpfError:
                    continue
            file.functions(bool)
            list(probes(file))
    except EbpfError:
        return


def test_files_that_are_none_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "."):
        with pytest.raises((ElfError, OSError), match=r"no regular file|directory"):
            Executable(tmp_path / name)
    with pytest.raises(InputError, match="NUL"):
        Executable("a\0b")


def test_names_without_a_slash_are_looked_for():
    assert find_binary("./x") == "./x"
    assert os.path.basename(find_binary("sh")) == "sh"
    with pytest.raises(TargetNotFoundError, match="no program 'no-such-program'"):
        find_binary("no-such-program")


@pytest.mark.skipif(sys.platform != "linux", reason="this is no Linux")
def test_the_c_library_is_found_and_its_functions_are():
    with Executable(find_binary("libc.so.6")) as libc:
        assert libc.function("getppid") > 0
        assert libc.function("malloc") == libc.functions(matching("mallo?").match)["malloc"]
        assert "memcpy" not in libc.functions(matching("memcpyy").match)
    assert sysconfig.get_platform()
