"""`ebpfpy btf dump` and `ebpfpy btf find` on the BTF of real kernels."""

import lzma

import pytest


@pytest.fixture
def vmlinux(kernel):
    return kernel / "vmlinux.btf.xz"


def test_dump_of_a_split_file_begins_behind_its_base(cli, kernel, vmlinux):
    outcome = cli("btf", "dump", kernel / "tun.btf.xz", "--base", vmlinux)
    assert outcome.status == 0
    lines = outcome.out.splitlines()
    base = cli("btf", "dump", vmlinux, "--id", lines[0].split("]")[0][1:])
    assert base.status == 2
    assert any(line.endswith("STRUCT 'tun_file' size=1728 vlen=11") for line in lines) or "'tun_file'" in outcome.out


def test_split_file_without_base_is_a_mistake_that_is_explained(cli, kernel):
    outcome = cli("btf", "dump", kernel / "tun.btf.xz")
    assert outcome.status == 2
    assert "--base" in outcome.err


def test_dump_of_one_id_in_text_and_json_agree(cli, vmlinux):
    text = cli("btf", "dump", vmlinux, "--id", 1, "--id", 2).out.splitlines()
    assert [line.split()[0] for line in text if not line.startswith("\t")] == ["[1]", "[2]"]
    facts = cli("btf", "dump", vmlinux, "--id", 1, "--id", 2, "--json").json
    assert (facts["name"], facts["base"], facts["byte_order"]) == ("vmlinux", None, "little")
    assert [record["id"] for record in facts["types"]] == [1, 2]
    assert text[0].startswith(f"[1] {facts['types'][0]['kind']} '{facts['types'][0]['name']}'")


def test_json_of_a_module_has_a_record_for_each_type_of_the_text(cli, kernel, vmlinux):
    words = ["btf", "dump", kernel / "nf_conntrack.btf.xz", "--base", vmlinux]
    text = [line for line in cli(*words).out.splitlines() if not line.startswith("\t")]
    records = cli(*words, "--json").json["types"]
    assert [f"[{record['id']}] {record['kind']} '{record['name']}'" for record in records] == [
        line[: line.index("'", line.index("'") + 1) + 1] for line in text
    ]


def test_json_of_an_object_has_its_data_sections(cli, testdata):
    records = cli("btf", "dump", testdata / "globals.bpf.o", "--json").json["types"]
    kinds = {record["kind"] for record in records}
    assert {"INT", "PTR", "ARRAY", "STRUCT", "DATASEC", "VAR", "FUNC", "FUNC_PROTO"} <= kinds
    section = next(record for record in records if record["kind"] == "DATASEC")
    assert section["vlen"] == len(section["vars"]) > 0


def test_unknown_id_is_status_2(cli, vmlinux):
    outcome = cli("btf", "dump", vmlinux, "--id", 99999999)
    assert outcome.status == 2
    assert "no type has id 99999999" in outcome.err


def test_damaged_compressed_file_is_status_3(cli, vmlinux, tmp_path):
    path = tmp_path / "vmlinux.btf.xz"
    path.write_bytes(vmlinux.read_bytes()[:5000])
    assert cli("btf", "dump", path).status == 3


def test_raw_and_compressed_files_are_the_same(cli, kernel, vmlinux, tmp_path):
    path = tmp_path / "tun.btf"
    path.write_bytes(lzma.decompress((kernel / "tun.btf.xz").read_bytes()))
    words = ["--base", vmlinux]
    assert cli("btf", "dump", path, *words) == cli("btf", "dump", kernel / "tun.btf.xz", *words)


def test_elf_without_btf_is_status_3(cli, tmp_path):
    outcome = cli("btf", "dump", "/bin/true")
    assert outcome.status == 3
    assert ".BTF" in outcome.err


def test_find_says_in_which_btf_a_type_lives(cli, kernel, vmlinux):
    words = [
        "btf",
        "find",
        "tun_file",
        "--btf",
        vmlinux,
        "--btf",
        kernel / "loop.btf.xz",
        "--btf",
        kernel / "tun.btf.xz",
    ]
    outcome = cli(*words)
    assert outcome.status == 0
    assert outcome.out.splitlines()[-1].split()[0] == "tun"
    facts = cli(*words, "--json").json
    assert (facts["name"], facts["searched"]) == ("tun_file", ["vmlinux", "loop", "tun"])
    [found] = facts["types"]
    assert (found["btf"], found["split"], found["kind"], found["name"]) == ("tun", True, "struct", "tun_file")
    assert found["size"] > 0


def test_find_by_kind(cli, vmlinux):
    words = ["btf", "find", "task_struct", "--btf", vmlinux, "--json"]
    assert cli(*words, "--kind", "struct").json["types"]
    outcome = cli(*words, "--kind", "union")
    assert outcome.status == 1
    assert outcome.json["types"] == []


def test_not_found_is_status_1_with_similar_names(cli, vmlinux):
    outcome = cli("btf", "find", "task_strukt", "--btf", vmlinux)
    assert outcome.status == 1
    assert outcome.out == ""
    assert "task_struct" in outcome.err


def test_unknown_kind_is_status_2(cli, vmlinux):
    assert cli("btf", "find", "x", "--kind", "class").status == 2
