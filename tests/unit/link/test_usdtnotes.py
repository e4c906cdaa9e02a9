"""Arguments of static probes, as assemblers write them."""

import pytest

from ebpfpy.errors import UnsupportedError
from ebpfpy.link.usdtnotes import Argument, parse_arguments

X86 = [
    ("-4@%edi", Argument(-4, 1, 0, 112)),
    ("8@%rax", Argument(8, 1, 0, 80)),
    ("2@%ax", Argument(2, 1, 0, 80)),
    ("1@%al", Argument(1, 1, 0, 80)),
    ("1@%sil", Argument(1, 1, 0, 104)),
    ("8@%r12", Argument(8, 1, 0, 24)),
    ("-4@%r8d", Argument(-4, 1, 0, 72)),
    ("4@$-17", Argument(4, 0, -17, 0)),
    ("8@-1204(%rbp)", Argument(8, 2, -1204, 32)),
    ("8@(%rsp)", Argument(8, 2, 0, 152)),
    ("8f@24(%rbx)", Argument(8, 2, 24, 40)),
]
ARM = [
    ("-4@x0", Argument(-4, 1, 0, 0)),
    ("4@w30", Argument(4, 1, 0, 240)),
    ("8@[sp, 96]", Argument(8, 2, 96, 248)),
    ("8@[x29]", Argument(8, 2, 0, 232)),
    ("-4@5", Argument(-4, 0, 5, 0)),
]


@pytest.mark.parametrize(
    ("machine", "text", "argument"),
    [("x86_64", *row) for row in X86] + [("aarch64", *row) for row in ARM],
)
def test_an_operand_says_where_an_argument_is(machine, text, argument):
    assert parse_arguments(text, machine) == [argument]


@pytest.mark.parametrize(("machine", "rows"), [("x86_64", X86), ("aarch64", ARM)])
def test_arguments_stand_side_by_side(machine, rows):
    assert parse_arguments(" ".join(text for text, _ in rows), machine) == [argument for _, argument in rows]


@pytest.mark.parametrize(
    "text",
    ["4@sym+8(%rip)", "3@%eax", "4@%xyz", "%eax", "4@%eax, 4@%ebx", "8@(%rax,%rbx,8)", "4@", "4@%r99", "4@%k1"],
)
def test_what_is_not_known_is_refused_by_name(text):
    with pytest.raises(UnsupportedError, match="is nothing that ebpfpy knows"):
        parse_arguments(text, "x86_64")


def test_another_machine_is_refused_unless_there_is_nothing_to_know():
    assert parse_arguments("", "s390x") == []
    with pytest.raises(UnsupportedError, match="not known for s390x"):
        parse_arguments("4@%r2", "s390x")
