"""`ebpfpy inspect` on the objects of testdata."""

import pytest


def test_tables_name_programs_maps_and_variables(cli, testdata):
    outcome = cli("inspect", testdata / "demo.bpf.o")
    assert outcome.status == 0
    assert outcome.err == ""
    lines = [line.split() for line in outcome.out.splitlines()]
    assert ["on_exec", "tp_btf/sched_process_exec", "tracing", "trace_raw_tp"] in [line[:4] for line in lines]
    assert ["events", "ringbuf", "262144"] in lines
    assert ["only_pid", "const", "volatile", "__u32", ".rodata", "0", "4", "00000000"] in lines
    assert "little-endian, license Dual MIT/GPL" in outcome.out


def test_json_has_the_facts(cli, testdata):
    facts = cli("inspect", testdata / "tun.bpf.o", "--json").json
    assert list(facts) == [
        *("object", "byte_order", "license", "types", "programs", "maps", "variables", "externs", "notes"),
    ]
    entry = next(program for program in facts["programs"] if program["name"] == "tun_open_entry")
    assert entry["section"] == "fentry/tun:tun_chr_open"
    assert (entry["attach_module"], entry["attach_to"]) == ("tun", "tun_chr_open")
    assert (entry["type"], entry["attach_type"]) == ("tracing", "trace_fentry")
    assert entry["relocations"] == 4
    assert {"map"} <= {reference["kind"] for reference in entry["references"]}
    events = next(each for each in facts["maps"] if each["name"] == "events")
    assert events["type"] == "ringbuf"


def test_big_endian_object_is_inspected_like_the_little_endian_one(cli, testdata):
    big = cli("inspect", testdata / "demo-clang19-eb.o", "--json").json
    little = cli("inspect", testdata / "demo-clang19-el.o", "--json").json
    assert (big.pop("byte_order"), little.pop("byte_order")) == ("big", "little")
    del big["object"], little["object"]
    assert big == little


def test_externs_are_listed(cli, testdata):
    facts = cli("inspect", testdata / "externs.bpf.o", "--json").json
    assert facts["externs"]
    assert "Needed from the kernel" in cli("inspect", testdata / "externs.bpf.o").out


def test_optional_program_is_marked(cli, testdata):
    programs = cli("inspect", testdata / "subprogs.bpf.o", "--json").json["programs"]
    assert {program["autoload"] for program in programs} == {True, False}


@pytest.mark.parametrize("name", ["globals", "maps", "core_kinds", "sections", "kmod_demo", "rawtp", "loop", "veth"])
def test_every_object_can_be_shown(cli, testdata, name):
    outcome = cli("inspect", testdata / f"{name}.bpf.o")
    assert outcome.status == 0
    assert "Programs" in outcome.out


def test_old_style_maps_are_refused_with_the_way_out(cli, testdata):
    outcome = cli("inspect", testdata / "legacy_maps.bpf.o")
    assert outcome.status == 3
    assert ".maps" in outcome.err
