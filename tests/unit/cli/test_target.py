"""What `ebpfpy target` says of names that cannot be, and of names that older kernels had."""

import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([""], "'' is not the name of a function"),
        (["tun:"], "'' is not the name of a function"),
        (["two words"], "'two words' is not the name of a function"),
        (["*"], "'*' is not the name of a function"),
        (["0xffffffff81000000"], "'0xffffffff81000000' is not the name of a function"),
        ([":tun_chr_open"], "'' is not the name of a module"),
        (["tun_chr_open", "--module", ""], "'' is not the name of a module"),
        (["tun:tun_chr_open", "--module", "tun"], "the module is given twice"),
    ],
)
def test_what_is_no_name_is_status_2(cli, words, said):
    outcome = cli("target", *words)
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_system_call_is_told_its_section_from_types_alone(cli, kernel):
    outcome = cli("target", "sys_openat", "--btf", kernel / "vmlinux.btf.xz")
    assert outcome.status == 1
    assert 'system call openat is the function __x64_sys_openat here: SEC("ksyscall/openat")' in outcome.out
