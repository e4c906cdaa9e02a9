"""Can this function be attached to? Real BTF of Debian's 6.12 with symbol tables that show one difficulty each."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ebpfpy import btf, features
from ebpfpy.cli.main import main
from ebpfpy.errors import InputError
from ebpfpy.sys.kallsyms import copies_in, read_symbols

REAL = Path(__file__).parents[2] / "testdata" / "btf" / "6.12.117+deb12-amd64"

OTHER = "ffffffff81000000 T something_else\n"


@pytest.fixture(scope="module")
def specs() -> list[btf.Spec]:
    kernel = btf.load_spec(REAL / "vmlinux.btf.xz")
    kernel.name = "vmlinux"
    return [kernel, *(btf.load_split_spec(REAL / f"{name}.btf.xz", kernel) for name in ("tun", "e1000", "e1000e"))]


@pytest.fixture
def ask(specs, tmp_path):
    def asked(name: str, symbols: str, module: str | None = None) -> features.TargetAudit:
        path = tmp_path / "kallsyms"
        path.write_text(symbols)
        return features.explain_target(name, module, kernel_types=specs, kallsyms=str(path))

    return asked


def test_a_function_with_one_type_and_one_symbol_is_attachable_by_both(ask):
    audit = ask("vfs_read", "ffffffff81000000 T vfs_read\n")

    assert audit.verdict == "attachable by fentry and kprobe"
    assert audit.sections == ("fentry/vfs_read", "kprobe/vfs_read")
    assert [function.place for function in audit.functions] == ["vmlinux"]
    assert "struct file *" in audit.functions[0].prototype


def test_a_modules_function_is_written_with_its_module(ask):
    audit = ask("tun_chr_open", "ffffffffc0000000 t tun_chr_open\t[tun]\n")

    assert audit.fentry is None
    assert audit.sections[0] == "fentry/tun:tun_chr_open"


def test_a_name_in_two_modules_lists_both_and_asks_which(ask):
    symbols = "ffffffffc0000000 t e1000_probe\t[e1000]\nffffffffc0100000 t e1000_probe\t[e1000e]\n"
    audit = ask("e1000_probe", symbols)

    assert audit.sections[:2] == ("fentry/e1000:e1000_probe", "fentry/e1000e:e1000_probe")
    assert any("module e1000, module e1000e each have" in reason for reason in audit.reasons)
    one = ask("e1000_probe", symbols, "e1000e")
    assert [function.module for function in one.functions] == ["e1000e"]
    assert [symbol.module for symbol in one.symbols] == ["e1000e"]


def test_a_function_of_which_only_a_changed_copy_is_left_is_attachable_under_the_copys_name(ask):
    audit = ask("vfs_read", "ffffffff81000000 t vfs_read.isra.0\nffffffff81100000 t vfs_read.cold\n")

    assert audit.verdict == "attachable under another name"
    assert audit.sections == ("kprobe/vfs_read.isra.0",)
    assert audit.fentry == "the kernel only has vfs_read.isra.0: the compiler changed the function"
    assert any("calls of those are not seen" in reason for reason in audit.reasons)


def test_the_place_that_has_the_code_is_advised_and_the_one_that_has_not_is_not(ask):
    symbols = "ffffffffc0000000 t e1000_probe.isra.0\t[e1000]\nffffffffc0100000 t e1000_probe\t[e1000e]\n"
    audit = ask("e1000_probe", symbols)

    assert audit.fentry is None
    assert audit.sections == ("fentry/e1000e:e1000_probe", "kprobe/e1000_probe")


def test_a_name_that_is_no_text_is_an_error(specs):
    with pytest.raises(InputError):
        features.explain_target(5, kernel_types=specs)


def test_a_function_without_a_symbol_was_inlined_or_for_start_up(ask):
    audit = ask("vfs_read", "ffffffff81000000 T vfs_write\n")

    assert audit.verdict == "not attachable"
    assert "inlined everywhere, or was for start-up only" in audit.fentry


def test_several_symbols_of_one_name_explain_why_btf_leaves_it_out(ask):
    audit = ask("no_such_type", "ffffffff81000000 t no_such_type\nffffffff81000100 t no_such_type\n")

    assert audit.verdict == "not attachable"
    assert "2 functions in the kernel have that name" in audit.kprobe
    assert "pahole cannot tell them apart" in audit.reasons[0]


def test_a_symbol_of_a_module_without_btf_says_so(ask):
    audit = ask("odd_probe", "ffffffffc0000000 t odd_probe\t[odd]\n")

    assert audit.verdict == "attachable by kprobe only"
    assert audit.reasons[0].startswith("module odd has no BTF")


def test_a_function_with_a_variable_number_of_arguments_is_for_kprobes_only(ask):
    audit = ask("_printk", "ffffffff81000000 T _printk\n")

    assert audit.fentry == "it takes a variable number of arguments"
    assert audit.sections == ("kprobe/_printk",)


def test_without_symbols_the_types_alone_answer(specs):
    audit = features.explain_target("vfs_read", kernel_types=specs)

    assert audit.fentry is None
    assert audit.kprobe == "unknown without kallsyms"


def test_an_unknown_name_says_where_it_was_looked_for_and_what_resembles_it(ask):
    audit = ask("vfs_raed", "ffffffff81000000 T vfs_read\n")

    assert not audit.attachable
    assert "is it misspelt" in audit.reasons[0]
    assert "vfs_read" in audit.reasons[1]


@pytest.mark.parametrize("name", ["sys_read", "__se_sys_read", "__do_sys_read"])
def test_a_system_call_by_its_old_name_is_told_its_function_and_what_to_write(ask, name):
    audit = ask(name, "ffffffff81000000 T __x64_sys_read\n")
    assert not audit.attachable
    assert 'system call read is the function __x64_sys_read here: SEC("ksyscall/read")' in " ".join(audit.reasons)
    assert not any(
        "system call" in reason for reason in ask("sys_", OTHER).reasons + ask("sys_no_such_call", OTHER).reasons
    )


def test_hidden_addresses_are_said_to_be_hidden(ask):
    assert any("kptr_restrict" in reason for reason in ask("vfs_read", "0000000000000000 T vfs_read\n").reasons)


@pytest.mark.parametrize("name", ["", "two words", "a\0b"])
def test_what_is_no_name_is_an_error(name):
    with pytest.raises(InputError, match="is not the name of a function"):
        features.explain_target(name, kernel_types=[])


def test_copies_are_found_and_mere_beginnings_are_not(tmp_path):
    path = tmp_path / "kallsyms"
    path.write_bytes(
        b"1 t foo\n2 t foo.isra.0.cold\n3 t foobar\n4 t my.foo\n5 t foo.llvm.77\t[m]\nbroken\n6 t foo\xff\n7 D foo\n"
    )
    found = [(symbol.name, symbol.module) for symbol in copies_in(read_symbols(str(path)), "foo")]

    assert found == [("foo", None), ("foo.isra.0.cold", None), ("foo.llvm.77", "m"), ("foo", None)]


def test_the_command_prints_the_verdict_and_the_sections(capsys, tmp_path):
    path = tmp_path / "kallsyms"
    path.write_text("ffffffffc0000000 t tun_chr_open\t[tun]\n")
    files = ["--btf", str(REAL / "vmlinux.btf.xz"), "--btf", str(REAL / "tun.btf.xz"), "--kallsyms", str(path)]

    assert main(["target", "tun:tun_chr_open", *files]) == 0
    printed = capsys.readouterr().out
    assert "tun_chr_open: attachable by fentry and kprobe" in printed
    assert 'SEC("fentry/tun:tun_chr_open")' in printed
    assert "int tun_chr_open(struct inode *inode, struct file *file);" in printed

    assert main(["target", "nothing_like_it", *files, "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["verdict"] == "not attachable"


def test_the_command_refuses_symbols_without_types_and_two_modules(capsys):
    assert main(["target", "f", "--kallsyms", "/proc/kallsyms"]) == 2
    assert "--kallsyms belongs to the files of --btf" in capsys.readouterr().err
    assert main(["target", "a:f", "--module", "b"]) == 2
    assert "given twice" in capsys.readouterr().err


def test_a_kernel_that_looks_for_bare_names_takes_a_modules_function_for_its_namesake(tmp_path):
    older = next(REAL.parent.glob("6.1.*"))
    kernel = btf.load_spec(older / "vmlinux.btf.xz")
    specs = [kernel, btf.load_split_spec(older / "tun.btf.xz", kernel)]
    path = tmp_path / "kallsyms"
    path.write_text("ffffffffc0000000 t tun_chr_open\t[tun]\nffffffffc0100000 t tun_chr_open\t[other]\n")
    audit = features.explain_target("tun_chr_open", "tun", kernel_types=specs, kallsyms=str(path))
    assert audit.fentry is not None
    assert "looks for the bare name, which module tun, module other have" in audit.fentry
    path.write_text("ffffffffc0000000 t tun_chr_open\t[tun]\n")
    assert features.explain_target("tun_chr_open", "tun", kernel_types=specs, kallsyms=str(path)).fentry is None


def test_a_malformed_module_has_no_functions_for_those_who_ask_about_others(specs, tmp_path):
    garbled = bytearray(specs[1].raw)
    garbled[28:32] = b"\xff" * 4
    broken = btf.Spec(bytes(garbled), specs[0], name="broken")
    path = tmp_path / "kallsyms"
    path.write_text("ffffffff81000000 T vfs_read\n")
    audit = features.explain_target("vfs_read", kernel_types=[specs[0], broken], kallsyms=str(path))
    assert [each.place for each in audit.functions] == ["vmlinux"]
    assert audit.sections == ("fentry/vfs_read", "kprobe/vfs_read")
    asked = features.explain_target("vfs_read", "broken", kernel_types=[specs[0], broken], kallsyms=str(path))
    assert all("malformed" in each.problem for each in asked.functions)


@pytest.mark.parametrize("data", [b"", bytes(range(256)), b"not\nsymbols\n"])
def test_a_file_that_has_no_symbols_is_an_error_and_no_answer(specs, tmp_path, data):
    path = tmp_path / "kallsyms"
    path.write_bytes(data)
    with pytest.raises(InputError, match="not in the format of /proc/kallsyms"):
        features.explain_target("vfs_read", kernel_types=specs, kallsyms=str(path))


def test_code_for_start_up_only_and_padding_are_not_offered(ask):
    edges = "ffffffff82000000 T _sinittext\n{}ffffffff82001000 T _einittext\n"
    audit = ask("vfs_read", edges.format("ffffffff82000100 T vfs_read\n"))
    assert not audit.attachable
    assert "for start-up only" in audit.fentry
    assert "for start-up only" in audit.kprobe
    padding = ask("__pfx_vfs_read", "ffffffff81000000 t __pfx_vfs_read\n")
    assert not padding.attachable
    assert "padding in front of a function" in padding.kprobe


def test_a_name_that_fentry_would_resolve_by_luck_is_not_offered_and_says_what_to_do(ask):
    audit = ask("vfs_read", "ffffffff81000000 t vfs_read\nffffffff81100000 t vfs_read\n")

    assert audit.lucky
    assert audit.verdict == "attachable by luck only"
    assert audit.sections == ()
    assert "2 functions in the kernel have that name" in audit.fentry
    assert "right by luck only" in audit.fentry
    assert any("attach_kprobe(program, address=...)" in reason for reason in audit.reasons)


def test_a_name_in_the_kernel_and_a_module_is_offered_to_kprobes_with_the_place(ask):
    symbols = "ffffffff81000000 t tun_chr_open\nffffffffc0000000 t tun_chr_open\t[tun]\n"

    assert ask("tun_chr_open", symbols, "tun").sections == ("fentry/tun:tun_chr_open", "kprobe/tun:tun_chr_open")
    assert ask("tun_chr_open", symbols).sections[1:] == ("kprobe/vmlinux:tun_chr_open", "kprobe/tun:tun_chr_open")
