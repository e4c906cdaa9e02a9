"""Values of kernel options as bytes of variables, and the kernel's version as BPF knows it."""

import pytest

from ebpfpy import btf
from ebpfpy.elf import ExternKind, ExternSpec
from ebpfpy.errors import ExternError
from ebpfpy.loader.kconfig import encode
from ebpfpy.sys.kallsyms import find_symbols
from ebpfpy.sys.kconfig import parse_config, version_code

INT = btf.Int("int", 4, 1)
UNSIGNED_SHORT = btf.Int("unsigned short", 2)
BOOL = btf.Int("_Bool", 1, 4)
CHAR = btf.Int("char", 1, 1)
TRISTATE = btf.Enum("libbpf_tristate", 4, (btf.Enumerator("TRI_NO", 0),))
TEXT = btf.Array(CHAR, INT, 8)


def option(kind: btf.Type) -> ExternSpec:
    return ExternSpec("CONFIG_X", ExternKind.KCONFIG, kind)


@pytest.mark.parametrize(
    ("kind", "text", "expected"),
    [
        (BOOL, "y", b"\x01"),
        (BOOL, "n", b"\x00"),
        (TRISTATE, "m", b"\x02\0\0\0"),
        (CHAR, "m", b"m"),
        (INT, "-5", (-5).to_bytes(4, "little", signed=True)),
        (INT, "0x10", b"\x10\0\0\0"),
        (UNSIGNED_SHORT, "65535", b"\xff\xff"),
        (TEXT, '"abc"', b"abc\0\0\0\0\0"),
        (TEXT, '"abcdefghij"', b"abcdefg\0"),
    ],
)
def test_value_becomes_the_variables_bytes(kind: btf.Type, text: str, expected: bytes) -> None:
    assert encode(option(kind), text, btf.sizeof(kind)) == expected


@pytest.mark.parametrize(
    ("kind", "text", "needs"),
    [
        (BOOL, "m", "more than true and false"),
        (INT, '"text"', "an array of char"),
        (TEXT, "5", "a string"),
        (UNSIGNED_SHORT, "65536", "more bits"),
        (UNSIGNED_SHORT, "-1", "more bits"),
        (btf.Struct("s", 4, (btf.Member("a", INT),)), "5", "a number, an enum or an array of char, and it is a STRUCT"),
    ],
)
def test_value_that_does_not_fit_is_an_error_that_names_the_option(kind: btf.Type, text: str, needs: str) -> None:
    with pytest.raises(ExternError, match=f"CONFIG_X is .*: the variable has to hold {needs}"):
        encode(option(kind), text, btf.sizeof(kind))


def test_configuration_keeps_only_options_that_are_set() -> None:
    text = '# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_C="a=b"\n\nCONFIG_HZ=250\nnonsense\n'
    assert parse_config(text) == {"CONFIG_B": "y", "CONFIG_C": '"a=b"', "CONFIG_HZ": "250"}


@pytest.mark.parametrize(
    ("release", "version", "signature", "expected"),
    [
        ("6.18.44-fc", "#1 SMP", "", (6, 18, 44)),
        ("6.1.0-56-amd64", "#1 SMP PREEMPT_DYNAMIC Debian 6.1.192-2 (2026-10-01)", "", (6, 1, 192)),
        ("5.15.0-91-generic", "#101-Ubuntu", "Ubuntu 5.15.0-91.101-generic 5.15.131", (5, 15, 131)),
        ("4.19.300", "", "", (4, 19, 255)),
        ("7.2-rc1", "", "", (7, 2, 0)),
    ],
)
def test_version_is_the_real_one_of_a_distributions_kernel(
    release: str, version: str, signature: str, expected: tuple[int, int, int]
) -> None:
    major, minor, patch = expected
    assert version_code(release, version, signature) == major << 16 | minor << 8 | patch


def test_symbols_are_found_with_their_module_and_all_their_addresses(tmp_path) -> None:
    table = tmp_path / "kallsyms"
    table.write_text("ffffffff81000000 T _text\nffffffff81000010 t twice\nffffffffc0000000 t twice\t[tun]\nbad line\n")
    found = find_symbols(["twice", "_text", "absent"], path=str(table))
    assert [(s.address, s.module) for s in found["twice"]] == [(0xFFFFFFFF81000010, None), (0xFFFFFFFFC0000000, "tun")]
    assert found["_text"][0].kind == "T"
    assert "absent" not in found
