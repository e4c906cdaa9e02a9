"""`ebpfpy btf dump` and `ebpfpy btf find` on the BTF of real kernels."""

import lzma
import os

import pytest

from ebpfpy.btf.kinds import make_info
from tests.strategies import raw_btf


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


def test_a_type_of_an_unknown_kind_is_dumped_as_text_and_as_json(cli, tmp_path):
    unknown = [5, make_info(25, 2), 7, 1, 2, 3, 4, 5]
    layout = bytes(4 * 25) + bytes((4, 8, 0, 0))
    file = tmp_path / "later.btf"
    file.write_bytes(raw_btf([1, make_info(1), 4, 32, *unknown], b"\0int\0odd\0", layout=layout, header=32))
    assert cli("btf", "dump", file).out.splitlines()[1] == "[2] UNKNOWN(25) 'odd' vlen=2 size_or_type=7"
    record = {"id": 2, "kind": "UNKNOWN(25)", "name": "odd", "vlen": 2, "size_or_type": 7}
    assert cli("btf", "dump", file, "--json").json["types"][1] == record


def test_what_to_include_is_refused_where_nothing_is_included(cli, kernel, vmlinux, testdata):
    words = ["btf", "dump", kernel / "tun.btf.xz", "--base", vmlinux, "--include", "mine.h"]
    assert '#include "mine.h"' in cli(*words, "--format", "c").out
    for more in ([], ["--json"], ["--format", "c", "--id", 1]):
        outcome = cli(*words, *more)
        assert (outcome.status, outcome.out) == (2, "")
        assert "--include is for a whole header" in outcome.err
    outcome = cli("btf", "dump", testdata / "globals.bpf.o", "--format", "c", "--include", "mine.h")
    assert (outcome.status, outcome.out) == (2, "")
    assert "globals.bpf.o stands alone" in outcome.err


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


@pytest.mark.parametrize(
    ("words", "kinds"),
    [
        (["--kind", "struct,func"], {"struct", "func"}),
        (["--kind", "struct", "--kind", "func"], {"struct", "func"}),
        (["--kind", "func"], {"func"}),
        ([], {"struct", "func", "fwd", "typedef", "union", "enum", "var"}),
    ],
)
def test_find_by_several_kinds(cli, vmlinux, words, kinds):
    found = {row["kind"] for row in cli("btf", "find", "tcp_*", "--btf", vmlinux, "--json", *words).json["types"]}
    assert found <= kinds
    assert {"func"} <= found


def test_an_enum_of_either_width_is_an_enum(cli, vmlinux):
    rows = cli("btf", "find", "*", "--btf", vmlinux, "--json", "--kind", "enum").json["types"]
    assert {row["kind"] for row in rows} == {"enum", "enum64"}


def test_find_takes_a_pattern_and_says_where_each_type_lives(cli, kernel, vmlinux):
    words = ["btf", "find", "*_struct", "--kind", "struct"]
    for name in ("tun", "loop", "veth"):
        words += ["--btf", vmlinux, "--btf", kernel / f"{name}.btf.xz"][2 * (name != "tun") :]
    rows = cli(*words, "--json").json["types"]
    assert ("tun", "tun_struct") in {(row["btf"], row["name"]) for row in rows}
    assert ("vmlinux", "task_struct") in {(row["btf"], row["name"]) for row in rows}
    assert all(row["name"].endswith("_struct") and row["size"] >= 0 for row in rows)
    lines = cli(*words).out.splitlines()
    assert lines[1] == "*_struct in 4 BTFs"
    assert len(lines) == len(rows) + 3


def test_find_searches_the_kernel_and_all_modules_of_a_directory(cli, kernel, tmp_path):
    for file in kernel.glob("*.btf.xz"):
        (tmp_path / file.name).symlink_to(file)
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "tun").write_bytes(lzma.decompress((kernel / "tun.btf.xz").read_bytes()))  # as in sysfs
    (tmp_path / "README").write_text("no BTF")
    (tmp_path / "vmlinux.h").write_text("no BTF")
    outcome = cli("btf", "find", "veth_*", "--btf", tmp_path, "--json")
    assert (outcome.status, outcome.err) == (0, "")
    modules = sorted(file.name.removesuffix(".btf.xz") for file in kernel.glob("*.btf.xz"))
    modules.remove("vmlinux")
    assert outcome.json["searched"][0] == "vmlinux"
    assert sorted(outcome.json["searched"][1:]) == sorted([*modules, "tun"])
    assert {row["btf"] for row in outcome.json["types"]} == {"veth"}
    in_both = cli("btf", "find", "tun_file", "--btf", tmp_path, "--json").json["types"]
    assert [row["btf"] for row in in_both] == ["tun", "tun"]


def test_a_module_of_another_kernel_in_a_directory_is_left_out_and_named(cli, kernel, testdata, tmp_path):
    other = testdata / "btf/foreign/6.12.115+deb12-amd64"
    (tmp_path / "vmlinux.btf.xz").symlink_to(kernel / "vmlinux.btf.xz")
    for name in ("cast_common", "nf_nat_tftp", "block2mtd"):
        (tmp_path / f"{name}.btf.xz").symlink_to(other / f"{name}.btf.xz")
    (tmp_path / "broken.ko").write_bytes(b"\x7fELF")
    outcome = cli("btf", "find", "*", "--btf", tmp_path, "--kind", "struct", "--json")
    assert outcome.json["searched"] == ["vmlinux"]
    lines = outcome.err.splitlines()
    assert [line.split()[1].rpartition("/")[2] for line in lines] == [
        "block2mtd.btf.xz", "broken.ko", "cast_common.btf.xz", "nf_nat_tftp.btf.xz",
    ]  # fmt: skip
    assert all("is left out: does not fit the kernel" in line for line in lines if "broken" not in line)
    assert "truncated ELF header" in lines[1]


def test_a_module_of_another_kernel_that_was_named_is_status_3(cli, kernel, vmlinux, testdata):
    module = testdata / "btf/foreign/6.12.115+deb12-amd64/block2mtd.btf.xz"
    outcome = cli("btf", "find", "*", "--btf", vmlinux, "--btf", module)
    assert (outcome.status, outcome.out) == (3, "")
    assert "does not fit the kernel that was named first" in outcome.err


def test_a_directory_without_types_is_status_2(cli, tmp_path):
    outcome = cli("btf", "find", "x", "--btf", tmp_path)
    assert outcome.status == 2
    assert "has neither vmlinux nor modules in it" in outcome.err


def test_modules_without_their_kernel_are_status_2(cli, kernel, tmp_path):
    (tmp_path / "tun.btf.xz").symlink_to(kernel / "tun.btf.xz")
    outcome = cli("btf", "find", "x", "--btf", tmp_path)
    assert outcome.status == 2
    assert "name that kernel's vmlinux first" in outcome.err


def test_a_pattern_that_cannot_be_is_status_2(cli, vmlinux):
    for pattern, why in (("[ä]", "ASCII"), ("", "empty"), ("[a", "no end"), ("x[]", "no end"), ("[a]b[!]", "no end")):
        outcome = cli("btf", "find", pattern, "--btf", vmlinux)
        assert (outcome.status, outcome.out) == (2, "")
        assert why in outcome.err
    assert cli("btf", "find", "[]t]ask_struct", "--btf", vmlinux).status == 0


def test_pipes_and_sockets_in_a_directory_are_passed_by(cli, kernel, tmp_path):
    (tmp_path / "vmlinux.btf.xz").symlink_to(kernel / "vmlinux.btf.xz")
    for name in ("pipe", "pipe.ko", "pipe.btf"):
        os.mkfifo(tmp_path / name)
    outcome = cli("btf", "find", "task_struct", "--btf", tmp_path, "--json")
    assert (outcome.status, outcome.json["searched"]) == (0, ["vmlinux"])


@pytest.mark.parametrize("kind", ["ptr", "array", "const", "volatile", "restrict", "func_proto"])
def test_a_kind_that_has_no_names_is_status_2(cli, vmlinux, kind):
    outcome = cli("btf", "find", "*", "--btf", vmlinux, "--kind", f"struct,{kind}")
    assert outcome.status == 2
    assert f"'{kind}' is a kind without names; there are int, struct" in outcome.err


def test_a_pattern_that_finds_nothing_is_status_1(cli, vmlinux):
    outcome = cli("btf", "find", "zzz*", "--btf", vmlinux, "--kind", "struct,union")
    assert (outcome.status, outcome.out) == (1, "")
    assert outcome.err == "ebpfpy: no struct or union zzz* in 1 BTF\n"


def test_not_found_is_status_1_with_similar_names(cli, vmlinux):
    outcome = cli("btf", "find", "task_strukt", "--btf", vmlinux)
    assert outcome.status == 1
    assert outcome.out == ""
    assert "task_struct" in outcome.err


def test_similar_names_are_those_of_types_and_of_modules_too(cli, kernel, vmlinux):
    outcome = cli("btf", "find", "tun_fil", "--btf", vmlinux, "--btf", kernel / "tun.btf.xz")
    assert outcome.err == "ebpfpy: no type tun_fil in 2 BTFs; near: tun_file, tun_filter, tun_pi\n"


def test_similar_names_are_those_of_the_kinds_that_were_asked_for(cli, vmlinux):
    words = ["btf", "find", "long unsigned in", "--btf", vmlinux, "--kind"]
    assert "near: long unsigned int" in cli(*words, "int").err
    for kinds in ("struct", "struct,func"):
        assert "long" not in cli(*words, kinds).err.partition("near: ")[2]


def test_unknown_kind_is_status_2(cli, vmlinux):
    for kinds in ("class", "struct,class", "", "struct,"):
        outcome = cli("btf", "find", "x", "--kind", kinds)
        assert outcome.status == 2
        assert "is no kind; there are int, struct" in outcome.err


def test_a_module_on_the_base_of_another_kernel_is_dumped_with_a_warning(cli, vmlinux, testdata):
    module = testdata / "btf/foreign/6.12.115+deb12-amd64/cast_common.btf.xz"
    outcome = cli("btf", "dump", module, "--base", vmlinux)
    assert outcome.status == 0
    assert "names and types are wrong; `ebpfpy btf check` says why" in outcome.err


def test_context_prints_the_arguments_as_a_struct_and_as_json(cli, kernel, vmlinux):
    words = ["btf", "context", "fexit/tun:tun_chr_open", "--btf", vmlinux, "--btf", kernel / "tun.btf.xz"]
    outcome = cli(*words)
    assert outcome.status == 0
    assert "struct fexit_tun_chr_open {\n\tstruct inode *inode;\n\tstruct file *file;\n\tint ret" in outcome.out
    facts = cli(*words, "--json").json
    assert [each["name"] for each in facts["arguments"]] == ["inode", "file"]
    assert (facts["module"], facts["size"], facts["result"]["offset"]) == ("tun", 24, 16)


def test_context_of_what_is_not_there_or_cannot_be_followed_ends_with_1(cli, vmlinux):
    missing = cli("btf", "context", "lsm/no_such_hook", "--btf", vmlinux)
    assert (missing.status, "BTF has no function bpf_lsm_no_such_hook" in missing.err) == (1, True)
    variadic = cli("btf", "context", "fentry/_printk", "--btf", vmlinux)
    assert (variadic.status, "variable number of arguments" in variadic.err) == (1, True)
    assert cli("btf", "context", "kprobe/vfs_read", "--btf", vmlinux).status == 3
