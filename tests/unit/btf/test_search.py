"""Shell patterns over the names of a kernel and its modules."""

from __future__ import annotations

import fnmatch
import re
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpfpy import btf
from ebpfpy.btf.check import looks_misplaced
from ebpfpy.btf.kinds import Kind
from ebpfpy.btf.records import make_blob
from ebpfpy.btf.search import NameSearch
from ebpfpy.errors import InputError

INT = btf.Int("int", 4, 1)


def spec_of(*names: str, base: btf.Spec | None = None) -> btf.Spec:
    builder = btf.Builder(base)
    builder.add_all(btf.Struct(name, 4) for name in names)
    return builder.spec("test")


def found(pattern: str, *names: str) -> list[str]:
    spec = spec_of(*names)
    return [str(spec.type_by_id(type_id).name) for type_id in NameSearch(pattern).ids(spec)]  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*", ["tun_file", "tun_flow", "tap", "t", "tun"]),
        ("t?n", ["tun"]),
        ("tun_*", ["tun_file", "tun_flow"]),
        ("*_f*e", ["tun_file"]),
        ("*u*n*", ["tun_file", "tun_flow", "tun"]),
        ("t[a-n]p", ["tap"]),
        ("t[!u]*", ["tap"]),
        ("t**", ["tun_file", "tun_flow", "tap", "t", "tun"]),
        ("?", ["t"]),
        ("[]t]", ["t"]),
        ("[z-a]", []),
        ("[", []),
        ("tun", ["tun"]),
        ("un*", []),
        ("*fil", []),
    ],
)
def test_patterns_are_those_of_the_shell(pattern: str, names: list[str]) -> None:
    assert found(pattern, "tun_file", "tun_flow", "tap", "t", "tun", "") == names


@given(
    st.lists(st.text(st.sampled_from("ab]-!_"), max_size=6), max_size=8),
    st.text(st.sampled_from("ab]-!_?*["), min_size=1, max_size=7).filter(lambda text: set(text) & set("?*[")),
)
def test_patterns_find_what_fnmatch_finds(names: list[str], pattern: str) -> None:
    assert found(pattern, *names) == [name for name in names if name and fnmatch.fnmatchcase(name, pattern)]


def test_one_character_may_be_several_bytes() -> None:
    assert found("n?me", "näme", "n名me", "nme", "naame") == ["näme", "n名me"]
    assert found("n[!a]me", "näme", "name") == ["näme"]
    with pytest.raises(InputError, match="only ASCII"):
        NameSearch("[ä]")


@pytest.mark.parametrize("name", ["foo", "foo___v2", "___foo", "foo___", "foo____x", "a___b___c", "a.b", "x" * 300])
def test_a_name_without_a_pattern_finds_what_its_essential_name_finds(name: str) -> None:
    spec = spec_of("foo", "foo___v1", "foo___v2", "___foo", "foo___", "foo____x", "a___b", "a___b___c", "axb", "foobar")
    assert NameSearch(name).ids(spec) == [spec.type_id(t) for t in spec.types_by_essential_name(name)]


def test_types_of_a_module_whose_names_the_kernel_has_are_found() -> None:
    builder = btf.Builder()
    builder.add(btf.Struct("s", 4, (btf.Member("shared_name", INT),)))
    base = builder.spec("vmlinux")
    split = spec_of("shared_name", "own_name", base=base)
    search = NameSearch("*_name")
    assert search.ids(base) == []
    assert search.ids(split) == [split.first_id, split.first_id + 1]
    assert search.ids(spec_of("another", base=base)) == []


def test_only_the_kinds_that_were_asked_for_are_found() -> None:
    builder = btf.Builder()
    builder.add_all([btf.Struct("name", 4), btf.Typedef("name", INT), btf.Func("name", btf.FuncProto(INT))])
    spec = builder.spec()
    kinds = [spec.kind_of(type_id) for type_id in NameSearch("na*").ids(spec, {Kind.TYPEDEF, Kind.FUNC})]
    assert kinds == [Kind.TYPEDEF, Kind.FUNC]


def test_members_and_enumerators_are_no_types() -> None:
    builder = btf.Builder()
    builder.add(btf.Struct("s", 4, (btf.Member("member", INT),)))
    assert NameSearch("mem*").ids(builder.spec()) == []


def test_stars_do_not_make_it_slow() -> None:
    spec = spec_of("a" * 20_000, *("a" * 500 + str(number) for number in range(50)))
    assert NameSearch("*a" * 30 + "b").ids(spec) == []


def test_a_kernels_names_are_all_found(vmlinux: btf.Spec) -> None:
    ids = NameSearch("tcp_*").ids(vmlinux)
    expected = re.compile(r"tcp_.*")
    named = [line for line in btf.dump_raw(vmlinux) if re.match(r"\[\d+\] \w+ 'tcp_", line)]
    assert ids == [int(line[1 : line.index("]")]) for line in named]
    assert all(expected.fullmatch(vmlinux.type_by_id(i).name) for i in ids)  # type: ignore[attr-defined]
    assert len(ids) > 400


# --- the glance that tells whether a module is worth a closer look ------------------------------------


def test_a_glance_sees_that_a_base_ends_elsewhere() -> None:
    bases = {extra: spec_of("int", "x" * extra) for extra in (5, 6, 7, 40)}
    raw = spec_of("first", "second", "third", base=bases[6]).raw
    for extra, base in bases.items():
        assert looks_misplaced(btf.Spec(raw, base)) is (extra != 6)


def test_a_glance_at_what_has_no_strings_of_its_own_sees_nothing() -> None:
    base = spec_of("int")
    assert not looks_misplaced(btf.Spec(make_blob(array("I"), b"", "little"), base))
    assert looks_misplaced(btf.Spec(make_blob(array("I", [1, 4 << 24, 0]), b"", "little"), base))
    assert looks_misplaced(btf.Spec(make_blob(array("I"), b"string\0", "little"), base))
