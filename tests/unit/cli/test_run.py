"""What `ebpfpy run` refuses before it asks the kernel anything."""

import pytest


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--event-type", "nothing"], "struct event"),
        (["--event-type", ""], "--event-type needs the name of a type"),
        (["--map", "by_parent"], "the object has events"),
        (["--program", "nothing"], "it has on_exec"),
    ],
)
def test_a_wrong_name_is_status_2_and_says_what_there_is(cli, testdata, words, said):
    outcome = cli("run", testdata / "demo.bpf.o", *words)
    assert (outcome.status, outcome.out) == (2, "")
    assert said in outcome.err
    assert outcome.err.count("\n") == 1


@pytest.mark.parametrize("words", [["--count", "0"], ["--count", "x"], ["--duration", "-1"], ["--duration", "nan"]])
def test_limits_are_positive_numbers(cli, testdata, words):
    outcome = cli("run", testdata / "demo.bpf.o", *words)
    assert outcome.status == 2
    assert f"argument {words[0]}: invalid" in outcome.err


def test_foreign_byte_order_is_status_3(cli, testdata):
    outcome = cli("run", testdata / "demo-clang19-eb.o")
    assert outcome.status == 3
    assert "big-endian" in outcome.err
    assert outcome.err.count("\n") == 1


def test_module_as_the_only_external_btf_is_status_2(cli, testdata, kernel):
    outcome = cli("run", testdata / "demo.bpf.o", "--btf", kernel / "tun.btf.xz")
    assert outcome.status == 2
    assert "vmlinux first" in outcome.err
