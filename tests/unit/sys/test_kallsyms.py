"""Symbols by address, from tables in the format of /proc/kallsyms."""

import pytest

from ebpfpy import sys
from ebpfpy.errors import InputError, KernelError

TABLE = """\
ffffffff81000000 T first
ffffffff81000100 t second
ffffffff81000100 d data
ffffffff81000180 D more_data
ffffffff81000200 W third
ffffffffc0000000 t of_module\t[tun]
ffffffffc0000400 t behind\t[tun]
"""


@pytest.fixture(params=[1, -1], ids=["sorted", "backwards"])
def table(request, tmp_path):
    path = tmp_path / "kallsyms"
    path.write_text("\n".join(TABLE.splitlines()[:: request.param]) + "\n")
    return str(path)


def test_an_address_is_in_the_function_that_starts_last_before_it(table):
    expected = {
        0xFFFFFFFF81000000: "first",
        0xFFFFFFFF810000FF: "first",
        0xFFFFFFFF81000100: "second",
        0xFFFFFFFF810001FF: "second",
        0xFFFFFFFFBFFFFFFF: "third",
        0xFFFFFFFFC00003FF: "of_module",
        0xFFFFFFFFFFFFFFFF: "behind",
    }
    found = sys.symbols_at(list(expected), path=table)
    assert {address: symbol.name for address, symbol in found.items()} == expected
    assert found[0xFFFFFFFFC00003FF].module == "tun"
    assert found[0xFFFFFFFF810000FF].address == 0xFFFFFFFF81000000
    for address, name in expected.items():
        assert sys.symbols_at([address], path=table)[address].name == name


def test_addresses_of_user_space_are_in_no_function_of_the_kernel(table):
    assert sys.symbols_at([0x7F0000001234, 0], path=table) == {}
    assert sys.symbols_at([], path=table) == {}


def test_hidden_addresses_lead_nowhere(tmp_path):
    path = tmp_path / "kallsyms"
    path.write_text("0000000000000000 T first\n0000000000000000 t second\nnonsense\n\nxyz T bad\n")
    assert sys.symbols_at([0xFFFFFFFF81000000], path=str(path)) == {}


def test_a_table_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(KernelError, match="missing"):
        sys.symbols_at([1], path=str(tmp_path / "missing"))


@pytest.mark.parametrize("wrong", [None, 5, "x", b"x", ["a"], [None], [1.5]], ids=repr)
def test_what_are_no_addresses_is_refused(wrong, table):
    with pytest.raises(InputError, match="number"):
        sys.symbols_at(wrong, path=table)


@pytest.mark.parametrize("wrong", [None, 5, "first", b"first", [5], [None], [b"first"]], ids=repr)
def test_what_are_no_names_is_refused(wrong, table):
    with pytest.raises(InputError, match="text"):
        sys.find_symbols(wrong, path=table)


@pytest.mark.parametrize(
    ("path", "why"), [("a\0b", "NUL byte"), (None, "is a path, not None"), (5, "is a path, not 5"), ("", "empty path")]
)
def test_what_is_no_path_is_refused(path, why):
    for ask in (lambda: sys.symbols_at([1], path=path), lambda: sys.find_symbols(["a"], path=path)):
        with pytest.raises(InputError, match=f"a file like /proc/kallsyms.*{why}"):
            ask()


def test_names_and_addresses_may_come_from_a_generator(table):
    assert sys.find_symbols((name for name in ["first"]), path=table) == sys.find_symbols(["first"], path=table) != {}
    start = 0xFFFFFFFF81000000
    assert sys.symbols_at((at for at in [start]), path=table) == sys.symbols_at([start], path=table) != {}
