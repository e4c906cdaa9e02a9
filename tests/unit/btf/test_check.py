"""Does a module's BTF fit a kernel? Modules of one Debian build on the base of another, and what else can go wrong."""

from __future__ import annotations

import io
import itertools
import json
import lzma
from array import array
from pathlib import Path

import pytest
from hypothesis import given, settings

from ebpfpy import btf
from ebpfpy.btf.records import make_blob, own_strings, record_end, string_words
from ebpfpy.btf.standsalone import stands_alone
from ebpfpy.errors import BtfError, ElfError, InputError
from tests.strategies import splits
from tests.unit.btf.relocation_cases import EMPTY_STRUCT, INT, distilled_split, kernel_base, struct

TESTDATA = Path(__file__).parents[3] / "testdata" / "btf"
NEWER = TESTDATA / "6.12.117+deb12-amd64"
OLDER = TESTDATA / "foreign" / "6.12.115+deb12-amd64"
OTHER_SERIES = TESTDATA / "6.1.0-56-amd64"
STOCK = ("tun", "loop", "veth", "nf_conntrack", "e1000", "e1000e", "ebpfpy_demo")
SILENT = ("cast_common", "nf_nat_tftp", "block2mtd")
"""Modules of the older build that libbpf 1.5 takes on the newer base without complaint (tests/differential shows)."""


def load(directory: Path) -> btf.Spec:
    return btf.load_spec(directory / "vmlinux.btf.xz")


@pytest.fixture(scope="module")
def newer() -> btf.Spec:
    return load(NEWER)


@pytest.fixture(scope="module")
def older() -> btf.Spec:
    return load(OLDER)


# --- real data: one patch level and another -------------------------------------------------------


@pytest.mark.parametrize("module", STOCK)
def test_a_module_fits_its_own_kernel(newer: btf.Spec, module: str) -> None:
    report = btf.check_split(NEWER / f"{module}.btf.xz", newer)
    assert report.verdict == "fits"
    assert (report.faults, report.odd_names, report.problems, report.reasons()) == (0, 0, (), [])
    assert report.expected_strings == newer.strings_end
    assert report.base_references > 20


@pytest.mark.parametrize("module", [*SILENT, "veth"])
def test_a_module_of_the_older_build_fits_that(older: btf.Spec, module: str) -> None:
    assert btf.check_split(OLDER / f"{module}.btf.xz", older).fits


@pytest.mark.parametrize("module", SILENT)
def test_a_wrong_base_is_noticed_where_libbpf_is_silent(newer: btf.Spec, module: str) -> None:
    report = btf.check_split(OLDER / f"{module}.btf.xz", newer)
    assert report.verdict == "does not fit"
    assert report.faults >= 2


def test_a_wrong_base_is_noticed_from_kinds_alone(newer: btf.Spec) -> None:
    """A module of four types and no strings."""
    report = btf.check_split(OLDER / "cast_common.btf.xz", newer)
    assert (report.types, report.bad_strings, report.bad_kinds) == (4, 0, 2)
    assert report.expected_strings is None
    assert report.reasons() == ["2 references to a kind of type that cannot stand there"]


def test_garbled_names_are_counted_shown_and_explained(newer: btf.Spec, older: btf.Spec) -> None:
    report = btf.check_split(OLDER / "block2mtd.btf.xz", newer)
    assert report.bad_strings > 20
    assert "is not the start of a string, it reads '" in report.examples[0]
    assert report.expected_strings == older.strings_end
    assert (
        f"it was built on a base with {older.strings_end} bytes of strings, this one has {newer.strings_end}"
        in report.reasons()
    )


@pytest.mark.parametrize("module", STOCK)
def test_a_module_of_the_newer_build_does_not_fit_the_older(older: btf.Spec, module: str) -> None:
    report = btf.check_split(NEWER / f"{module}.btf.xz", older)
    assert report.verdict == "does not fit"
    assert report.bad_strings > 0
    assert report.bad_ids > 0


@pytest.mark.parametrize("module", ["tun", "veth", "nf_conntrack"])
def test_another_series_does_not_fit(newer: btf.Spec, module: str) -> None:
    assert btf.check_split(OTHER_SERIES / f"{module}.btf.xz", load(OTHER_SERIES)).fits
    assert not btf.check_split(OTHER_SERIES / f"{module}.btf.xz", newer).fits
    assert not btf.check_split(NEWER / f"{module}.btf.xz", load(OTHER_SERIES)).fits


def test_of_several_bases_the_one_that_fits_comes_first(newer: btf.Spec, older: btf.Spec) -> None:
    other = load(OTHER_SERIES)
    for module in (*SILENT, "veth"):
        ranked = btf.rank_bases(OLDER / f"{module}.btf.xz", [other, newer, older])
        assert [report.verdict for report in ranked] == ["fits", "does not fit", "does not fit"]
        assert ranked[0].base_strings == older.strings_end
        assert ranked[1].faults <= ranked[2].faults


# --- what is accepted -----------------------------------------------------------------------------


def test_paths_bytes_readers_and_specs_are_checked_alike(newer: btf.Spec, older: btf.Spec, tmp_path: Path) -> None:
    data = lzma.decompress((OLDER / "veth.btf.xz").read_bytes())
    raw = tmp_path / "veth.btf"
    raw.write_bytes(data)
    expected = btf.check_split(OLDER / "veth.btf.xz", newer)
    assert btf.check_split(str(raw), newer) == expected
    assert btf.check_split(btf.load_split_spec(raw, older), newer) == expected
    assert btf.check_split(btf.load_split_spec(raw, newer), newer) == expected
    for source in (data, memoryview(data), io.BytesIO(data)):
        report = btf.check_split(source, newer)
        assert (report.bad_strings, report.bad_kinds) == (expected.bad_strings, expected.bad_kinds)
    assert btf.rank_bases(io.BytesIO(data), [newer, older])[0].base_strings == older.strings_end


def test_a_kernel_is_not_read_as_a_module_of_any_kernel(newer: btf.Spec, older: btf.Spec) -> None:
    files = {newer: NEWER / "vmlinux.btf.xz", older: OLDER / "vmlinux.btf.xz"}
    for vmlinux, base in itertools.product(files, repeat=2):
        for source in (bytes(vmlinux.raw), files[vmlinux]):
            for read in (btf.load_split_spec, btf.check_split):
                with pytest.raises(InputError, match="stands alone: it is no split BTF"):
                    read(source, base)
    with pytest.raises(InputError, match="stands alone"):
        btf.check_split(btf.Spec(newer.raw, older, name="vmlinux"), older)


def test_an_objects_types_are_not_read_as_a_module(newer: btf.Spec) -> None:
    with pytest.raises(InputError, match="demo stands alone: it is no split BTF"):
        btf.load_split_spec(TESTDATA.parent / "demo.bpf.o", newer)


def with_empty_string(split: btf.Spec) -> bytes:
    """A split as a writer would write it that starts the strings of everything with an empty one."""
    strings, first = own_strings(split)
    words = array("I")
    for type_id in range(split.first_id, split.first_id + len(split)):
        where, at, end = record_end(split, type_id)
        record = array("I", where[at:end].tolist())
        for index in string_words(record, 0):
            record[index] += record[index] >= first
        words.extend(record)
    return make_blob(words, b"\0" + strings, split.byte_order)


@pytest.mark.parametrize("module", STOCK)
def test_a_module_whose_strings_start_with_an_empty_one_is_one(newer: btf.Spec, module: str) -> None:
    plain = btf.load_split_spec(NEWER / f"{module}.btf.xz", newer)
    data = with_empty_string(plain)
    split = btf.load_split_spec(data, newer)
    assert [str(t) for t in split] == [str(t) for t in plain]
    assert btf.check_split(data, newer).verdict == btf.check_split(plain, newer).verdict


@settings(max_examples=200, deadline=None)
@given(splits())
def test_no_split_stands_alone_whatever_its_strings_start_with(split: btf.Spec) -> None:
    assert not stands_alone(split)
    assert not stands_alone(btf.Spec(with_empty_string(split), split.base))


def test_btf_that_stands_alone_is_no_module(newer: btf.Spec) -> None:
    with pytest.raises(InputError, match="vmlinux stands alone: it is no split BTF"):
        btf.check_split(NEWER / "vmlinux.btf.xz", newer)
    with pytest.raises(InputError, match="vmlinux stands alone: it is no split BTF"):
        btf.check_split(newer, newer)


@pytest.mark.parametrize(
    "data", [b"", b"\x9f\xeb\x01", b"\x7fELF", b"nonsense" * 9], ids=["empty", "cut", "ELF", "text"]
)
def test_what_cannot_be_read_is_an_error(newer: btf.Spec, data: bytes) -> None:
    with pytest.raises((BtfError, ElfError)):
        btf.check_split(data, newer)


def test_a_module_that_is_cut_short_is_an_error(newer: btf.Spec) -> None:
    data = lzma.decompress((NEWER / "tun.btf.xz").read_bytes())
    with pytest.raises(BtfError, match="truncated"):
        btf.check_split(data[:-100], newer)


def test_an_unknown_kind_is_an_error(newer: btf.Spec) -> None:
    with pytest.raises(BtfError, match="unknown kind"):
        btf.check_split(make_blob(array("I", [0, 99 << 24, 0]), b"", "little"), newer)


# --- one fault at a time --------------------------------------------------------------------------

BASE = kernel_base(
    struct(8), btf.Func("f", btf.FuncProto(btf.Void())), btf.Pointer(btf.Void()), btf.Enum("e", 4), btf.Fwd("fwd")
)
TYPEDEF, STRUCT4, INT_ID, STRUCT8, FUNC, PTR, ENUM, FWD, PROTO = range(1, 10)
FIRST = 1 + len(BASE)
NAME = BASE.strings_end
"""The offset of the only own string, "mine"."""


def check(*words: int, strings: bytes = b"mine\0") -> btf.SplitReport:
    return btf.check_split(btf.Spec(make_blob(array("I", words), strings, "little"), BASE, name="m"), BASE)


def kind(number: btf.Kind, entries: int = 0, *, flag: bool = False) -> int:
    return number << 24 | entries | flag << 31


K = btf.Kind
GOOD = {
    "pointer to nothing": (0, kind(K.PTR), 0),
    "function": (NAME, kind(K.FUNC), PROTO),
    "array": (0, kind(K.ARRAY), 0, STRUCT8, INT_ID, 2),
    "array counted by a typedef": (0, kind(K.ARRAY), 0, STRUCT8, TYPEDEF, 2),
    "struct that is full": (NAME, kind(K.STRUCT, 2), 12, 0, STRUCT8, 0, 0, INT_ID, 64),
    "struct whose members are out of order": (NAME, kind(K.STRUCT, 2), 12, 0, INT_ID, 64, 0, STRUCT8, 0),
    "bitfields": (NAME, kind(K.STRUCT, 2, flag=True), 4, 0, INT_ID, 3 << 24, 0, INT_ID, 29 << 24 | 3),
    "bitfield of an enum": (NAME, kind(K.STRUCT, 1, flag=True), 4, 0, ENUM, 2 << 24),
    "flexible array": (
        *(NAME, kind(K.STRUCT, 2), 4, 0, INT_ID, 0, 0, FIRST + 1, 32),
        *(0, kind(K.ARRAY), 0, STRUCT8, INT_ID, 0),
    ),
    "union": (NAME, kind(K.UNION, 2), 8, 0, STRUCT8, 0, 0, INT_ID, 0),
    "variadic prototype": (0, kind(K.FUNC_PROTO, 2), 0, 0, INT_ID, 0, 0),
    "declaration tag": (NAME, kind(K.DECL_TAG), FUNC, 0xFFFF_FFFF),
    "variable in a section": (
        *(NAME, kind(K.VAR), STRUCT8, 1),
        *(NAME, kind(K.DATASEC, 1), 8, FIRST, 0, 8),
    ),
    "pointer to a declaration": (0, kind(K.PTR), FWD),
}
BAD = {
    "middle of a string": ((NAME + 1, kind(K.STRUCT), 4), "bad_strings", "it reads 'ine'"),
    "beyond the strings": ((NAME + 5, kind(K.STRUCT), 4), "bad_strings", "not the start of a string"),
    "middle of a base's string": ((2, kind(K.STRUCT), 4), "bad_strings", "it reads"),
    "middle of a member's name": ((NAME, kind(K.STRUCT, 1), 4, NAME + 2, INT_ID, 0), "bad_strings", "it reads 'ne'"),
    "id": ((0, kind(K.PTR), FIRST + 1), "bad_ids", f"type id {FIRST + 1} is beyond the last one, {FIRST}"),
    "function of an int": ((NAME, kind(K.FUNC), INT_ID), "bad_kinds", "func refers to type 3, which is a int"),
    "array of functions": ((0, kind(K.ARRAY), 0, FUNC, INT_ID, 2), "bad_kinds", "which is a func"),
    "array of void": ((0, kind(K.ARRAY), 0, 0, INT_ID, 2), "bad_kinds", "which is a void"),
    "array counted by a struct": ((0, kind(K.ARRAY), 0, INT_ID, STRUCT8, 2), "bad_kinds", "which is a struct"),
    "member that is a function": ((NAME, kind(K.STRUCT, 1), 8, 0, FUNC, 0), "bad_kinds", "struct refers to type 5"),
    "member that is a prototype": ((NAME, kind(K.STRUCT, 1), 8, 0, PROTO, 0), "bad_kinds", "which is a func_proto"),
    "member that is declared only": ((NAME, kind(K.UNION, 1), 8, 0, FWD, 0), "bad_kinds", "which is a fwd"),
    "variable that is a function": ((NAME, kind(K.VAR), FUNC, 0), "bad_kinds", "var refers"),
    "section of a struct": ((NAME, kind(K.DATASEC, 1), 8, STRUCT8, 0, 8), "bad_kinds", "datasec refers"),
    "tag on a pointer": ((NAME, kind(K.DECL_TAG), PTR, 0), "bad_kinds", "decl_tag refers"),
    "pointer to a function's name": ((0, kind(K.PTR), FUNC), "bad_kinds", "ptr refers"),
    "parameter that is void": ((0, kind(K.FUNC_PROTO, 2), 0, 0, 0, 0, INT_ID), "bad_kinds", "func_proto refers"),
    "result that is a function": ((0, kind(K.FUNC_PROTO), FUNC), "bad_kinds", "func_proto refers"),
    "member behind the end": (
        (NAME, kind(K.STRUCT, 1), 8, 0, STRUCT8, 32),
        "bad_layouts",
        "a member ends at bit 96 of a struct of 64 bits",
    ),
    "members that overlap": (
        (NAME, kind(K.STRUCT, 2), 12, 0, STRUCT8, 0, 0, INT_ID, 32),
        "bad_layouts",
        "members overlap: one ends at bit 64, one starts at bit 32",
    ),
    "union that is too small": ((NAME, kind(K.UNION, 1), 4, 0, STRUCT8, 0), "bad_layouts", "bit 64 of a union of 32"),
    "bitfield of a struct": (
        (NAME, kind(K.STRUCT, 1, flag=True), 8, 0, STRUCT8, 3 << 24),
        "bad_layouts",
        "a bitfield of 3 bits in a struct of 8 bytes",
    ),
    "variable of another size": (
        (NAME, kind(K.VAR), STRUCT8, 1, NAME, kind(K.DATASEC, 1), 16, FIRST, 0, 16),
        "bad_layouts",
        "a variable has 16 bytes, its type 8",
    ),
}


@pytest.mark.parametrize("words", GOOD.values(), ids=GOOD)
def test_what_can_be_is_no_fault(words: tuple[int, ...]) -> None:
    report = check(*words)
    assert (report.faults, report.examples) == (0, ())


@pytest.mark.parametrize(("words", "sort", "text"), BAD.values(), ids=BAD)
def test_what_cannot_be_is_a_fault(words: tuple[int, ...], sort: str, text: str) -> None:
    report = check(*words)
    assert report.verdict == "does not fit"
    assert getattr(report, sort) == 1
    assert report.faults == 1
    assert text in report.examples[0]


def test_types_in_a_circle_end() -> None:
    report = check(0, kind(K.CONST), FIRST, 0, kind(K.ARRAY), 0, FIRST + 1, INT_ID, 2)
    assert report.types == 2


@pytest.mark.parametrize(
    ("name", "odd"),
    [(b"core::fmt::Debug", 1), (b"&str", 1), (b"9lives", 1), (b"foo.isra.0", 0), (b"_x$1", 0), (b"\xff", 1)],
)
def test_names_that_are_no_identifiers_are_counted_but_prove_nothing(name: bytes, odd: int) -> None:
    report = check(NAME, kind(K.STRUCT), 8, strings=name + b"\0")
    assert (report.odd_names, report.faults) == (odd, 0)
    assert report.fits


@pytest.mark.parametrize("of", [K.INT, K.FLOAT, K.TYPE_TAG, K.DECL_TAG])
def test_some_kinds_have_names_with_spaces(of: btf.Kind) -> None:
    third = FUNC if of == K.DECL_TAG else 0 if of == K.TYPE_TAG else 4
    extra = (32,) if of == K.INT else (0xFFFF_FFFF,) if of == K.DECL_TAG else ()
    assert check(NAME, kind(of), third, *extra, strings=b"long unsigned int\0").odd_names == 0


def test_a_module_without_types_cannot_be_judged(newer: btf.Spec) -> None:
    empty = b"\x9f\xeb\x01\0\x18\0\0\0" + bytes(16)
    report = btf.check_split(empty, newer)
    assert report.verdict == "cannot tell"
    assert report.reasons() == ["the module has no types"]
    assert not report.fits


def test_a_module_that_refers_to_nothing_cannot_be_judged() -> None:
    report = check(0, kind(K.PTR), 0, strings=b"")
    assert report.verdict == "cannot tell"
    assert report.reasons() == ["nothing in the module depends on its base"]


def test_a_base_to_which_the_modules_own_types_were_added_is_not_said_to_fit(newer: btf.Spec) -> None:
    tun = btf.load_split_spec(NEWER / "tun.btf.xz", newer)
    for more in (tun, btf.merge_splits([tun], name="merged")):
        report = btf.check_split(bytes(tun.raw), more)
        assert (report.verdict, report.faults) == ("cannot tell", 0)
        assert (report.expected_strings, report.base_strings) == (newer.strings_end, more.strings_end)
        assert "yet nothing is wrong with its ids and names here" in str(report)
        assert [each.base for each in btf.rank_bases(bytes(tun.raw), [more, newer])] == [newer.name, more.name]


def test_a_report_reads_as_a_sentence_and_as_json() -> None:
    report = check(NAME + 1, kind(K.STRUCT), 4)
    assert str(report) == "m: does not fit vmlinux: 1 string offset not at the start of a string"
    plain = json.loads(json.dumps(report.as_dict()))
    assert (plain["verdict"], plain["bad_strings"], plain["problems"]) == ("does not fit", 1, [])


# --- modules with a distilled base ----------------------------------------------------------------


def test_a_distilled_module_is_checked_by_name() -> None:
    report = btf.check_split(distilled_split(EMPTY_STRUCT, embedded=True), kernel_base(struct(8)))
    assert report.fits
    assert report.distilled
    assert report.expected_strings is None


def test_what_does_not_match_is_named_with_sizes_and_member() -> None:
    report = btf.check_split(distilled_split(EMPTY_STRUCT, embedded=True), kernel_base(struct(16)))
    assert report.verdict == "does not fit"
    assert report.reasons() == ["1 type of its distilled base without a match"]
    (problem,) = report.problems
    assert (problem.name, problem.size, problem.candidates[0].size) == ("foo", 8, 16)
    assert problem.embedded_in == ("struct mine.inner",)
    plain = json.loads(json.dumps(report.as_dict()))["problems"][0]
    assert plain["candidates"] == [{"type_id": 4, "kind": "struct", "size": 16}]
    assert plain["embedded_in"] == ["struct mine.inner"]


def test_the_kernels_verdict_can_be_asked_for() -> None:
    split, base = distilled_split(EMPTY_STRUCT, embedded=False), kernel_base(btf.Union("foo", 8))
    assert not btf.check_split(split, base).fits
    assert btf.check_split(split, base, strict="kernel").fits


def test_a_distilled_base_may_be_a_file_of_its_own(newer: btf.Spec) -> None:
    files = NEWER / "distilled"
    distilled = btf.load_spec(files / "ebpfpy_demo.base.btf.xz")
    report = btf.check_split(files / "ebpfpy_demo.btf.xz", newer, distilled=distilled)
    assert (report.verdict, report.distilled, report.types) == ("fits", True, 58)
    # without it, the split is read on the kernel's types, which is wrong
    assert not btf.check_split(files / "ebpfpy_demo.btf.xz", newer).fits


def test_a_distilled_module_fits_other_patch_levels_too(newer: btf.Spec, older: btf.Spec) -> None:
    _, split = btf.distill_base(btf.load_split_spec(NEWER / "nf_conntrack.btf.xz", newer))
    assert btf.check_split(split, newer).fits
    assert btf.check_split(split, older).fits


def test_a_split_that_does_not_fit_its_own_distilled_base_fits_nowhere() -> None:
    right = distilled_split(EMPTY_STRUCT, embedded=True)
    other = btf.Builder()
    other.add_all((btf.Struct("foo", 8), btf.Struct("longer_name", 8), INT))
    split = btf.Spec(right.raw, other.spec(), name="m")
    report = btf.check_split(split, kernel_base(struct(8), btf.Struct("longer_name", 8)))
    assert not report.fits
    assert report.bad_strings > 0
    assert report.reasons()[0] == "it does not even fit its own distilled base"
