"""`ebpfpy btf check` on modules of real kernels."""

import pytest


@pytest.fixture
def newer(testdata):
    return testdata / "btf/6.12.117+deb12-amd64"


@pytest.fixture
def older(testdata):
    return testdata / "btf/foreign/6.12.115+deb12-amd64"


def base(directory):
    return directory / "vmlinux.btf.xz"


def test_a_module_that_fits_is_status_0_and_one_line(cli, newer):
    outcome = cli("btf", "check", newer / "tun.btf.xz", "--base", base(newer))
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out == f"tun (114 types) fits {base(newer)}\n"


def test_a_module_of_another_build_is_status_1_with_evidence(cli, newer, older):
    outcome = cli("btf", "check", older / "block2mtd.btf.xz", "--base", base(newer))
    assert outcome.status == 1
    first, *reasons = outcome.out.splitlines()
    assert first == f"block2mtd (84 types) does not fit {base(newer)}"
    assert any("string offsets not at the start of a string" in line for line in reasons)
    assert any("it was built on a base with " in line for line in reasons)
    assert any("it reads '" in line for line in reasons)
    assert reasons[-1].endswith("more)")


def test_of_several_bases_the_one_that_fits_is_named(cli, newer, older):
    module = older / "nf_nat_tftp.btf.xz"
    outcome = cli("btf", "check", module, "--base", base(newer), "--base", base(older))
    assert outcome.status == 0
    assert outcome.out.splitlines()[-1] == f"fits: {base(older)}"
    facts = cli("btf", "check", module, "--base", base(newer), "--base", base(older), "--json").json
    assert facts["fits"] == [str(base(older))]
    assert [report["verdict"] for report in facts["bases"]] == ["does not fit", "fits"]
    assert facts["bases"][0]["bad_strings"] > 0


def test_none_of_several_bases_is_status_1(cli, newer, older, testdata):
    other = testdata / "btf/6.1.0-56-amd64"
    outcome = cli("btf", "check", older / "veth.btf.xz", "--base", base(newer), "--base", base(other))
    assert outcome.status == 1
    assert outcome.out.splitlines()[-1] == "fits: none of them"


def test_a_distilled_base_is_checked_by_name(cli, newer, testdata):
    words = ["btf", "check", newer / "distilled/ebpfpy_demo.btf.xz"]
    words += ["--distilled", newer / "distilled/ebpfpy_demo.base.btf.xz", "--base"]
    outcome = cli(*words, base(newer))
    assert outcome.status == 0
    assert outcome.out == f"ebpfpy_demo (58 types) fits {base(newer)}, by its distilled base\n"
    other = cli(*words, base(testdata / "btf/6.1.0-56-amd64"))
    assert other.status == 1
    assert "  1 type of its distilled base without a match\n" in other.out
    assert "  - int char (1 bytes): its sign or encoding differs there: [13] int of 1 bytes\n" in other.out
    assert cli(*words, base(newer), "--strict", "kernel").status == 0


def test_a_module_without_types_is_status_1_and_says_why(cli, newer, tmp_path):
    path = tmp_path / "empty.btf"
    path.write_bytes(b"\x9f\xeb\x01\0\x18\0\0\0" + bytes(16))
    outcome = cli("btf", "check", path, "--base", base(newer))
    assert outcome.status == 1
    assert outcome.out.splitlines() == [f"empty (0 types) cannot tell {base(newer)}", "  the module has no types"]


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x9f\xeb\x01\0", b"int main;\n", bytes(4096)])
def test_an_unreadable_file_is_status_3(cli, newer, tmp_path, content):
    path = tmp_path / "broken.ko"
    path.write_bytes(content)
    for words in ([path, "--base", base(newer)], [newer / "tun.btf.xz", "--base", path]):
        outcome = cli("btf", "check", *words)
        assert outcome.status == 3
        assert outcome.out == ""
        assert outcome.err.startswith("ebpfpy: ")
        assert outcome.err.count("\n") == 1


def test_a_base_is_required(cli, newer):
    assert cli("btf", "check", newer / "tun.btf.xz").status == 2


def test_a_vmlinux_is_no_module(cli, newer):
    outcome = cli("btf", "check", base(newer), "--base", base(newer))
    assert outcome.status == 3
    assert "vmlinux stands alone" in outcome.err


def test_a_file_is_read_once_whatever_the_number_of_kernels(cli, newer, older, tmp_path):
    """A pipe cannot be read twice."""
    import os
    import threading

    pipe = tmp_path / "block2mtd.btf.xz"
    os.mkfifo(pipe)
    feeding = threading.Thread(target=pipe.write_bytes, args=((older / "block2mtd.btf.xz").read_bytes(),))
    feeding.start()
    outcome = cli("btf", "check", pipe, "--base", base(newer), "--base", base(older))
    feeding.join()
    assert outcome.status == 0
    assert outcome.out.splitlines()[-1] == f"fits: {base(older)}"


@pytest.mark.parametrize("words", [["find", "tun_file"], ["dump"]], ids=lambda words: words[0])
def test_a_modules_file_is_read_once(cli, newer, tmp_path, words):
    import os
    import threading

    pipe = tmp_path / "tun.btf.xz"
    os.mkfifo(pipe)
    feeding = threading.Thread(target=pipe.write_bytes, args=((newer / "tun.btf.xz").read_bytes(),))
    feeding.start()
    rest = ["--btf", base(newer), "--btf", pipe] if words[0] == "find" else [pipe, "--base", base(newer)]
    outcome = cli("btf", *words, *rest)
    feeding.join()
    assert (outcome.status, outcome.err) == (0, "")
    assert "tun_file" in outcome.out


def test_a_kernel_may_be_a_vmlinuz(cli, newer, tmp_path):
    import lzma

    from tests.unit.btf.elf_files import elf
    from tests.unit.btf.test_vmlinuz import bzimage, packed

    image = tmp_path / "vmlinuz-6.12.117"
    image.write_bytes(bzimage(packed(elf((".BTF", lzma.decompress(base(newer).read_bytes()), 0)), "gzip")))
    outcome = cli("btf", "check", newer / "tun.btf.xz", "--base", image)
    assert outcome.out == f"tun (114 types) fits {image}\n"
