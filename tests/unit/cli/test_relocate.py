"""`ebpfpy relocate` against the BTF of real kernels, without root."""

import pytest

KINDS = {
    *("byte_off", "byte_sz", "field_exists", "signed", "lshift_u64", "rshift_u64", "local_type_id", "target_type_id"),
    *("type_exists", "type_size", "type_matches", "enumval_exists", "enumval_value"),
}


@pytest.fixture
def against(kernel):
    """The options for vmlinux and some modules of one kernel."""

    def options(*modules: str) -> list[str]:
        return [word for name in ("vmlinux", *modules) for word in ("--btf", str(kernel / f"{name}.btf.xz"))]

    return options


def test_json_is_exactly_as_documented(cli, testdata, against):
    facts = cli("relocate", testdata / "core_kinds.bpf.o", "--json", *against("tun")).json
    assert list(facts) == ["object", "kernel_types", "programs"]
    assert [(spec["name"], spec["split"]) for spec in facts["kernel_types"]] == [("vmlinux", False), ("tun", True)]
    assert all(spec["types"] > 100 for spec in facts["kernel_types"])
    kinds = set()
    for program in facts["programs"]:
        assert list(program) == ["name", "section", "relocations"]
        for relocation in program["relocations"]:
            assert list(relocation) == [
                *("insn", "kind", "local", "local_value", "target_value", "poisoned", "target", "candidates"),
            ]
            kinds.add(relocation["kind"])
            assert relocation["poisoned"] == (relocation["target_value"] is None)
            if relocation["target"] is not None:
                assert list(relocation["target"]) == ["spec", "type_id", "text"]
            for candidate in relocation["candidates"]:
                assert list(candidate) == ["spec", "type_id", "text", "verdict"]
    assert kinds == KINDS


def test_module_only_type_is_found_in_the_module(cli, testdata, against):
    facts = cli("relocate", testdata / "tun.bpf.o", "--json", *against("tun")).json
    first = facts["programs"][0]["relocations"][1]
    assert first["local"].startswith("[")
    assert "struct tun_file.sk.sk_sndbuf" in first["local"]
    assert first["target"]["spec"] == "tun"
    assert first["candidates"][0]["verdict"] == "chosen"


def test_without_the_module_its_type_is_poisoned_and_strict_says_so(cli, testdata, against):
    words = ["relocate", testdata / "tun.bpf.o", *against()]
    assert cli(*words).status == 0
    strict = cli(*words, "--strict")
    assert strict.status == 1
    assert "poisoned: there is no struct tun_file in vmlinux" in strict.out
    assert strict.err == ""


def test_strict_holds_with_the_module(cli, testdata, against):
    outcome = cli("relocate", testdata / "tun.bpf.o", "--strict", *against("tun"))
    assert outcome.status == 0
    assert outcome.out.splitlines()[-1] == "9 relocations, 0 poisoned"


def test_explain_names_candidates_and_similar_names(cli, testdata, against):
    out = cli("relocate", testdata / "core_kinds.bpf.o", "--explain", *against()).out
    assert "asked: where the field is, in bytes" in out
    assert "chosen from vmlinux: " in out
    assert "candidate vmlinux: [112] struct task_struct: no member 'state'" in out
    assert "did you mean: __state" in out


def test_module_of_the_attach_target_answers_before_another_module(cli, testdata, against):
    facts = cli("relocate", testdata / "kmod_demo.bpf.o", "--json", *against("e1000", "ebpfpy_demo")).json
    specs = {
        relocation["target"]["spec"]
        for program in facts["programs"]
        for relocation in program["relocations"]
        if relocation["target"] is not None
    }
    assert specs == {"vmlinux", "ebpfpy_demo"}


def test_module_first_is_a_mistake_that_is_explained(cli, testdata, kernel):
    outcome = cli("relocate", testdata / "tun.bpf.o", "--btf", kernel / "tun.btf.xz")
    assert outcome.status == 2
    assert "name that kernel's vmlinux first" in outcome.err


def test_file_that_stands_alone_needs_no_base(cli, testdata, kernel):
    distilled = next(testdata.glob("btf/6.12*/distilled/*.base.btf.xz"))
    words = ["relocate", testdata / "demo.bpf.o", "--json", "--btf", kernel / "vmlinux.btf.xz", "--btf", distilled]
    assert [spec["split"] for spec in cli(*words).json["kernel_types"]] == [False, False]


def test_malformed_btf_is_status_3(cli, testdata, tmp_path):
    path = tmp_path / "vmlinux"
    path.write_bytes(b"\x9f\xeb\x01\0" + b"\xff" * 100)
    outcome = cli("relocate", testdata / "demo.bpf.o", "--btf", path)
    assert outcome.status == 3
    assert "vmlinux" in outcome.err


def test_foreign_byte_order_is_refused_in_words(cli, testdata, against):
    outcome = cli("relocate", testdata / "demo-clang19-eb.o", *against())
    assert outcome.status == 3
    assert "big-endian" in outcome.err


def test_json_and_explain_exclude_each_other(cli, testdata):
    assert cli("relocate", testdata / "demo.bpf.o", "--json", "--explain").status == 2


def test_output_is_an_object_that_asks_for_nothing_more(cli, testdata, against, tmp_path):
    path = tmp_path / "tun.o"
    assert cli("relocate", testdata / "tun.bpf.o", *against("tun"), "--output", path).status == 0
    again = cli("relocate", path, "--json", *against("tun")).json
    assert [program["relocations"] for program in again["programs"]] == [[], []]


def test_output_that_cannot_be_written_is_an_error_that_names_it(cli, testdata, against, tmp_path):
    path = tmp_path / "missing" / "tun.o"
    outcome = cli("relocate", testdata / "tun.bpf.o", *against("tun"), "--output", path)
    assert outcome.status == 3
    assert str(path) in outcome.err


def test_output_to_a_full_device_is_an_error_that_names_it(cli, testdata, against):
    outcome = cli("relocate", testdata / "tun.bpf.o", *against("tun"), "--output", "/dev/full")
    assert outcome.status == 3
    assert "/dev/full: No space left on device" in outcome.err


def test_module_of_another_kernel_is_refused_and_the_check_named(cli, testdata, kernel):
    other = next(path for path in sorted(testdata.glob("btf/6.1*/tun.btf.xz")) if path.parent != kernel)
    outcome = cli("relocate", testdata / "tun.bpf.o", "--btf", kernel / "vmlinux.btf.xz", "--btf", other)
    assert outcome.status == 3
    assert "does not fit the kernel" in outcome.err
    assert "btf check" in outcome.err


def test_output_with_poisoned_instructions_says_so(cli, testdata, against, tmp_path):
    path = tmp_path / "tun.o"
    outcome = cli("relocate", testdata / "tun.bpf.o", "--json", *against(), "--output", path)
    assert (outcome.status, path.exists(), len(outcome.json["programs"])) == (0, True, 2)
    assert f"{path} holds 2 poisoned instructions (tun_open_entry, tun_open_exit)" in outcome.err
    whole = cli("relocate", testdata / "tun.bpf.o", *against("tun"), "--output", path)
    assert (whole.status, whole.err) == (0, "")


def test_an_offset_of_a_signed_field_of_another_size_is_no_poison_and_a_load_of_it_is(cli, testdata, against):
    words = ["relocate", testdata / "core_verdict.bpf.o", *against()]
    programs = {each["name"]: each["relocations"] for each in cli(*words, "--json").json["programs"]}
    (offset,), (load,) = programs["off_signed_of_another_size"], programs["refused_signed_load"]
    assert offset["poisoned"] is False
    assert load["target"]["text"].endswith(f" @ offset {offset['target_value']})")
    assert (load["poisoned"], load["target_value"]) == (True, None)
    assert load["local"] == offset["local"]
    poisoned = [name for name, all_of_it in programs.items() for each in all_of_it if each["poisoned"]]
    assert all(name.startswith("refused") for name in poisoned)
    assert cli(*words).out.splitlines()[-1].endswith(f", {len(poisoned)} poisoned")


def test_only_types_of_that_kind_are_offered_for_a_missing_one(cli, testdata, against):
    out = cli("relocate", testdata / "tun.bpf.o", "--explain", *against()).out
    assert "there is no struct tun_file in vmlinux" in out
    assert "did you mean: tun_hlen" not in out, "that is a member"


def test_two_drivers_with_a_struct_of_one_name_are_not_guessed(cli, testdata, against):
    words = ["relocate", testdata / "namesakes.bpf.o", *against("e1000", "e1000e")]
    outcome = cli(*words)
    assert outcome.status == 1
    assert "program on_neither: instruction 0: byte_off of [" in outcome.err
    assert "2 types fit equally well and give different answers: e1000: [" in outcome.err
    assert "; e1000e: [" in outcome.err
    assert outcome.out == ""
