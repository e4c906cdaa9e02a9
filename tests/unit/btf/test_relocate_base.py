"""Split BTF on a distilled base, relocated to kernels."""

from __future__ import annotations

import lzma
from array import array
from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.btf.records import make_blob
from ebpfpy.errors import BaseMismatchError, BtfError, InputError
from tests.steps import lines_run
from tests.unit.btf.relocation_cases import (
    CASES,
    EMPTY_STRUCT,
    FIRST_ID,
    FWD_STRUCT,
    FWD_UNION,
    INT,
    Case,
    distilled_split,
    kernel_base,
    struct,
    union,
)

TESTDATA = Path(__file__).parents[3] / "testdata" / "btf"
KERNEL = TESTDATA / "6.12.117+deb12-amd64"


@pytest.fixture(scope="module")
def vmlinux() -> btf.Spec:
    return btf.load_spec(KERNEL / "vmlinux.btf.xz")


@pytest.fixture(scope="module")
def distilled_demo() -> btf.Spec:
    """Our module as it was built, on its own base: a raw pair."""
    base = btf.load_spec(KERNEL / "distilled" / "ebpfpy_demo.base.btf.xz")
    return btf.load_split_spec(KERNEL / "distilled" / "ebpfpy_demo.btf.xz", base)


def inner_target(split: btf.Spec, *, embedded: bool) -> btf.Type:
    inner = split.type_by_name("mine", btf.Struct).member("inner").type
    return inner if embedded else inner.target


@pytest.mark.parametrize("strict", [None, "kernel"], ids=["sane", "kernel"])
@pytest.mark.parametrize("case", CASES, ids=str)
def test_every_case_ends_as_the_table_says(case: Case, strict: str | None) -> None:
    split = distilled_split(case.distilled, embedded=case.embedded)
    base = kernel_base(*case.there)
    expected = case.kernel if strict else case.sane
    if isinstance(expected, int):
        relocated = btf.relocate_base(split, base, strict=strict)
        found = inner_target(relocated, embedded=case.embedded)
        assert found is base.type_by_id(FIRST_ID + expected)
        assert relocated.base is base
    else:
        with pytest.raises(BaseMismatchError) as caught:
            btf.relocate_base(split, base, strict=strict)
        (problem,) = caught.value.problems
        assert (problem.name, problem.reason) == ("foo", expected)


def test_a_size_change_behind_a_pointer_is_noted() -> None:
    match = btf.match_base(distilled_split(EMPTY_STRUCT, embedded=False), kernel_base(struct(16)))
    assert match.notes == ("struct foo: 8 bytes became 16, behind pointers",)
    assert match.problems == ()
    assert match.ids == {1: FIRST_ID, 2: 3}


def test_a_definition_that_is_only_declared_there_is_noted() -> None:
    match = btf.match_base(distilled_split(EMPTY_STRUCT, embedded=False), kernel_base(FWD_STRUCT))
    assert match.notes == ("struct foo: it is declared there, not defined",)


def test_a_misfit_names_both_sizes_and_the_member_that_embeds_it() -> None:
    with pytest.raises(BaseMismatchError) as caught:
        btf.relocate_base(distilled_split(EMPTY_STRUCT, embedded=True), kernel_base(struct(16)))
    (problem,) = caught.value.problems
    assert problem == btf.BaseProblem(
        1, "struct", "foo", 8, "size", ((FIRST_ID, "struct", 16),), ("struct mine.inner",)
    )
    assert str(caught.value) == (
        "mine: its distilled base does not fit vmlinux: 1 of 2 types: struct foo (8 bytes): its size differs there:"
        f" [{FIRST_ID}] struct of 16 bytes; embedded in struct mine.inner"
    )


def test_two_definitions_are_both_listed() -> None:
    with pytest.raises(BaseMismatchError) as caught:
        btf.relocate_base(distilled_split(EMPTY_STRUCT, embedded=False), kernel_base(struct(8), struct(8), struct(4)))
    (problem,) = caught.value.problems
    assert [each.type_id for each in problem.candidates] == [FIRST_ID, FIRST_ID + 1]


def test_what_the_kernel_cannot_choose_between_is_listed_whatever_its_kind() -> None:
    base = kernel_base(FWD_STRUCT, struct(8))
    with pytest.raises(BaseMismatchError) as caught:
        btf.relocate_base(distilled_split(EMPTY_STRUCT, embedded=False), base, strict="kernel")
    (problem,) = caught.value.problems
    assert [each.type_id for each in problem.candidates] == [FIRST_ID, FIRST_ID + 1]
    assert f"several types answer to it: [{FIRST_ID}] fwd struct, [{FIRST_ID + 1}] struct" in str(problem)


@pytest.mark.parametrize("there", [struct(8, bitfields=True), union(8)])
def test_a_definition_that_the_kernel_takes_for_another_kind_is_not_called_one(there) -> None:
    wanted = FWD_UNION if isinstance(there, btf.Union) else FWD_STRUCT
    with pytest.raises(BaseMismatchError) as caught:
        btf.relocate_base(distilled_split(wanted, embedded=False), kernel_base(there), strict="kernel")
    (problem,) = caught.value.problems
    assert "the kernel takes what has bitfields for a union" in str(problem)
    assert "another kind" not in str(problem)


@pytest.mark.parametrize("strict", [None, "kernel"])
def test_every_misfit_is_listed(strict: str | None) -> None:
    lower = btf.Builder()
    lower.add_all(btf.Struct(f"s{number}", 8) for number in range(20))
    base = lower.spec("m.base")
    upper = btf.Builder(base)
    upper.add_all(btf.Pointer(each) for each in base)
    with pytest.raises(BaseMismatchError, match=r"20 of 20 types.*17 more in \.problems") as caught:
        btf.relocate_base(upper.spec("m"), kernel_base(), strict=strict)
    assert [problem.name for problem in caught.value.problems] == [f"s{number}" for number in range(20)]


@pytest.mark.parametrize(
    "wrap",
    [
        lambda of: btf.Const(btf.Volatile(of)),
        btf.Restrict,
        lambda of: btf.Typedef("t", of),
        lambda of: btf.TypeTag("user", of),
        lambda of: btf.Array(of, INT, 2),
        lambda of: btf.Array(btf.Typedef("t", btf.Array(btf.Const(of), INT, 2)), INT, 2),
    ],
    ids=["qualifiers", "restrict", "typedef", "type tag", "array", "array of typedef of array"],
)
@pytest.mark.parametrize("strict", [None, "kernel"])
def test_what_wraps_a_member_does_not_hide_that_it_is_embedded(wrap, strict: str | None) -> None:
    split = distilled_split(EMPTY_STRUCT, embedded=True, wrap=wrap)
    with pytest.raises(BaseMismatchError) as caught:
        btf.relocate_base(split, kernel_base(struct(16)), strict=strict)
    assert caught.value.problems[0].embedded_in == ("struct mine.inner",)


@pytest.mark.parametrize("by", ["variable", "parameter", "result"])
def test_a_size_also_matters_by_value_but_not_to_the_kernel(by: str) -> None:
    lower = btf.Builder()
    lower.add(EMPTY_STRUCT)
    base = lower.spec("m.base")
    foo = base.type_by_id(1)
    upper = btf.Builder(base)
    upper.add(
        {
            "variable": btf.Var("state", foo),
            "parameter": btf.FuncProto(btf.Void(), (btf.Param("p", foo),)),
            "result": btf.FuncProto(foo),
        }[by]
    )
    split = upper.spec("m")
    with pytest.raises(BaseMismatchError) as caught:
        btf.relocate_base(split, kernel_base(struct(16)))
    assert by in caught.value.problems[0].embedded_in[0]
    assert len(btf.relocate_base(split, kernel_base(struct(16)), strict="kernel")) == 1


def test_two_distilled_types_of_one_name_find_their_own_sizes() -> None:
    lower = btf.Builder()
    lower.add_all((btf.Struct("foo", 16), btf.Struct("foo", 8)))
    base = lower.spec("m.base")
    upper = btf.Builder(base)
    upper.add_all(btf.Pointer(each) for each in base)
    new = kernel_base(struct(8), struct(16))
    for strict in (None, "kernel"):
        relocated = btf.relocate_base(upper.spec("m"), new, strict=strict)
        assert [pointer.target.size for pointer in relocated] == [16, 8]


# --- what must hold before ------------------------------------------------------------------------


def test_a_spec_without_base_cannot_be_relocated() -> None:
    with pytest.raises(InputError, match="stands alone"):
        btf.relocate_base(kernel_base(), kernel_base())


def test_the_same_base_is_no_new_base() -> None:
    split = distilled_split(EMPTY_STRUCT, embedded=False)
    with pytest.raises(InputError, match=r"mine rests on mine\.base already"):
        btf.relocate_base(split, split.base)


def test_an_unknown_mode_is_an_error() -> None:
    with pytest.raises(InputError, match="strict is None or"):
        btf.relocate_base(distilled_split(EMPTY_STRUCT, embedded=False), kernel_base(), strict="libbpf")


@pytest.mark.parametrize("strict", [None, "kernel"])
@pytest.mark.parametrize(
    ("odd", "why"),
    [
        (btf.Struct("", 8), "type 2 is anonymous"),
        (btf.Enum("", 4), "type 2 is anonymous"),
        (btf.Pointer(INT), "type 2 is of kind PTR"),
        (btf.Typedef("foo", INT), "type 2 is of kind TYPEDEF"),
        (btf.Enum("foo", 8, is64=True), "type 2 is of kind ENUM64"),
        (btf.Func("foo", btf.FuncProto(INT)), "type 2 is of kind FUNC"),
    ],
    ids=["anonymous struct", "anonymous enum", "pointer", "typedef", "enum64", "function"],
)
def test_a_base_with_other_things_is_no_distilled_base(odd: btf.Type, why: str, strict: str | None) -> None:
    lower = btf.Builder()
    lower.add_all((INT, odd))
    split = btf.Builder(lower.spec("odd.base"))
    split.add(btf.Pointer(btf.Void()))
    with pytest.raises(BtfError, match=f"odd.base: no distilled base: {why}"):
        btf.relocate_base(split.spec("odd"), kernel_base(), strict=strict)


def test_split_on_split_has_no_distilled_base() -> None:
    middle = btf.Builder(kernel_base())
    middle.add(btf.Struct("foo", 8))
    top = btf.Builder(middle.spec("middle"))
    top.add(btf.Pointer(btf.Void()))
    with pytest.raises(BtfError, match="split BTF itself"):
        btf.relocate_base(top.spec("top"), kernel_base())


def test_another_byte_order_is_an_error() -> None:
    builder = btf.Builder()
    builder.add(INT)
    big = btf.Spec(builder.marshal("big"), name="big")
    with pytest.raises(InputError, match="mine is little-endian, big big-endian"):
        btf.relocate_base(distilled_split(EMPTY_STRUCT, embedded=False), big)


def test_big_endian_stays_big_endian() -> None:
    lower = btf.Builder()
    lower.add_all((INT, btf.Struct("foo", 8)))
    base = btf.Spec(lower.marshal("big"), name="m.base")
    upper = btf.Builder(base)
    upper.add(btf.Struct("mine", 8, (btf.Member("f", base.type_by_id(2)),)))
    new = btf.Builder()
    new.add_all((btf.Pointer(btf.Void()), btf.Struct("foo", 8), INT))
    vmlinux = btf.Spec(new.marshal("big"), name="vmlinux")
    relocated = btf.relocate_base(upper.spec("m"), vmlinux)
    assert relocated.byte_order == "big"
    assert list(btf.dump_raw(relocated)) == ["[4] STRUCT 'mine' size=8 vlen=1", "\t'f' type_id=2 bits_offset=0"]


def test_the_kernel_does_not_relocate_to_split_btf_but_we_do() -> None:
    split = distilled_split(EMPTY_STRUCT, embedded=True)
    middle = btf.Builder(kernel_base())
    middle.add_all((btf.Struct("filler", 1), struct(8)))
    new = middle.spec("module")
    with pytest.raises(InputError, match="module is split BTF: the kernel relocates to vmlinux only"):
        btf.relocate_base(split, new, strict="kernel")
    relocated = btf.relocate_base(split, new)
    assert inner_target(relocated, embedded=True) is new.type_by_name("foo", btf.Struct)
    assert relocated.type_by_name("mine", btf.Struct).member("n").type is new.base.type_by_id(3)


def test_an_id_beyond_the_end_is_an_error() -> None:
    split = distilled_split(EMPTY_STRUCT, embedded=False)
    blob = make_blob(array("I", [0, 2 << 24, 99]), b"", split.byte_order)
    broken = btf.Spec(blob, split.base, name="broken")
    with pytest.raises(BtfError, match="broken: type 3 refers to type 99, which does not exist"):
        btf.relocate_base(broken, kernel_base(struct(8)))


@pytest.mark.parametrize(
    ("record", "why"),
    [([9999, 8 << 24, 0], "beyond the end"), ([0, 25 << 24, 0], "unknown kind"), ([2, 8 << 24, 0], "not the start")],
    ids=["string offset", "kind", "middle of a string"],
)
def test_a_malformed_record_is_an_error(record: list[int], why: str) -> None:
    split = distilled_split(EMPTY_STRUCT, embedded=False)
    broken = btf.Spec(make_blob(array("I", record), b"", split.byte_order), split.base, name="broken")
    with pytest.raises(BtfError, match=why):
        btf.relocate_base(broken, kernel_base(struct(8)))


def test_typedefs_in_a_circle_are_an_error() -> None:
    split = distilled_split(EMPTY_STRUCT, embedded=False)
    words = array(
        "I", [0, 4 << 24 | 1, 8, 0, 4, 0, 0, 10 << 24, 4]
    )  # a struct with a member of type 4, const of itself
    broken = btf.Spec(make_blob(words, b"", split.byte_order), split.base, name="broken")
    with pytest.raises(BtfError, match="cycle"):
        btf.relocate_base(broken, kernel_base(struct(8)))


def test_work_grows_with_the_number_of_members_at_the_end_of_a_long_chain() -> None:
    def work(number: int) -> int:
        lower = btf.Builder()
        lower.add_all((EMPTY_STRUCT, INT))
        base = lower.spec("mine.base")
        below = base.type_by_id(1)
        for index in range(number):
            below = btf.Typedef(f"t{index}", below)
        members = (btf.Member(f"m{index}", below, 64 * index) for index in range(number))
        upper = btf.Builder(base)
        upper.add(btf.Struct("mine", 8 * number, tuple(members)))
        split = upper.spec("mine")
        return lines_run(lambda: btf.relocate_base(split, kernel_base(struct(8))), "btf/relocatebase.py")

    assert work(800) < 5 * work(200)


def test_a_base_string_that_is_no_types_name_is_kept_but_stops_the_kernel() -> None:
    types = array("I", [1, 4 << 24, 8])
    base = btf.Spec(make_blob(types, b"\0foo\0extra\0", "little"), name="m.base")
    split = btf.Spec(make_blob(array("I", [5, 8 << 24, 1]), b"", "little"), base, name="m")
    with pytest.raises(BaseMismatchError, match="string 'extra' lies in the distilled base") as caught:
        btf.relocate_base(split, kernel_base(struct(8)), strict="kernel")
    assert caught.value.problems[0].reason == "string"
    relocated = btf.relocate_base(split, kernel_base(struct(8)))
    assert list(btf.dump_raw(relocated)) == [f"[5] TYPEDEF 'extra' type_id={FIRST_ID}"]


@pytest.mark.parametrize("strict", [None, "kernel"])
@pytest.mark.parametrize("offset", [5, 0xFFFF_FFFF], ids=["just behind", "far behind"])
def test_a_name_behind_the_last_string_is_an_error(offset: int, strict: str | None) -> None:
    base = btf.Spec(make_blob(array("I", [1, 4 << 24, 8]), b"\0foo\0", "little"), name="m.base")
    split = btf.Spec(make_blob(array("I", [offset, 8 << 24, 1]), b"", "little"), base, name="m")
    with pytest.raises(BtfError, match=f"m: string offset {offset} is beyond the end"):
        btf.relocate_base(split, kernel_base(struct(8)), strict=strict)


@pytest.mark.parametrize("offset", [5, 6], ids=["start", "middle"])
def test_a_name_that_starts_within_a_string_is_good_enough_for_the_kernel(offset: int) -> None:
    base = btf.Spec(make_blob(array("I", [1, 4 << 24, 8]), b"\0foo\0", "little"), name="m.base")
    split = btf.Spec(make_blob(array("I", [offset, 8 << 24, 1]), b"mine\0", "little"), base, name="m")
    new = kernel_base(struct(8))
    words, at = btf.relocate_base(split, new, strict="kernel").locate(new.first_id + len(new))
    assert words[at] == new.strings_end + offset - base.strings_end
    if offset == 6:
        with pytest.raises(BtfError, match="not the start of a string"):
            btf.relocate_base(split, new)


# --- real data ------------------------------------------------------------------------------------


def layout(of: btf.Type, depth: int = 0) -> object:
    """A type with everything that it contains, without ids; what it points at, by name only."""
    match btf.resolve(of):
        case btf.Struct() | btf.Union() as composite:
            members = [(m.name, m.offset_bits, m.bitfield_size, layout(m.type)) for m in composite.members]
            return composite.kind.name, composite.name, composite.size, members
        case btf.Array() as array_type:
            return "ARRAY", array_type.count, layout(array_type.element)
        case btf.Pointer() as pointer:
            target = btf.resolve(pointer.target)
            return "PTR", target.kind.name, getattr(target, "name", "")
        case btf.Enum() as enum:
            return "ENUM", enum.name, enum.size, enum.signed, enum.enumerators
        case other:
            return other.kind.name, getattr(other, "name", ""), getattr(other, "size", None)


def signature(func: btf.Func) -> object:
    proto = func.proto
    return func.name, layout(proto.result), [(param.name, layout(param.type)) for param in proto.params]


@pytest.mark.parametrize("strict", [None, "kernel"])
def test_our_module_relocated_has_the_layouts_of_the_plain_build(
    vmlinux: btf.Spec, distilled_demo: btf.Spec, strict: str | None
) -> None:
    plain = btf.load_split_spec(KERNEL / "ebpfpy_demo.btf.xz", vmlinux)
    relocated = btf.relocate_base(distilled_demo, vmlinux, strict=strict)
    own = [t for t in plain if isinstance(t, (btf.Struct, btf.Enum)) and t.name]
    assert {t.name for t in own} >= {"ebpfpy_demo_state", "ebpfpy_demo_inner", "ebpfpy_demo_flags", "bictcp"}
    for t in own:
        assert layout(relocated.type_by_name(t.name, type(t))) == layout(t)
    functions = [t for t in plain if isinstance(t, btf.Func)]
    assert len(functions) == 8
    for func in functions:
        assert signature(relocated.type_by_name(func.name, btf.Func)) == signature(func)


def test_what_our_module_points_at_is_the_kernels_own_type(vmlinux: btf.Spec, distilled_demo: btf.Spec) -> None:
    relocated = btf.relocate_base(distilled_demo, vmlinux)
    owner = relocated.type_by_name("ebpfpy_demo_state", btf.Struct).member("owner").type
    assert owner.target is vmlinux.type_by_name("task_struct", btf.Struct)


def test_own_types_keep_their_order_and_follow_the_kernels(vmlinux: btf.Spec, distilled_demo: btf.Spec) -> None:
    relocated = btf.relocate_base(distilled_demo, vmlinux)
    assert relocated.first_id == 1 + len(vmlinux)
    kinds = [(t.kind, getattr(t, "name", "")) for t in distilled_demo]
    assert [(t.kind, getattr(t, "name", "")) for t in relocated] == kinds


def test_another_series_fits_but_for_the_sign_of_char(distilled_demo: btf.Spec) -> None:
    older = btf.load_spec(TESTDATA / "6.1.0-56-amd64" / "vmlinux.btf.xz")
    match = btf.match_base(distilled_demo, older)
    # char lost its sign in 6.2 (Linux kernel commit 3bc753c06dd0, "kbuild: treat char as always unsigned")
    assert [(each.kind, each.name, each.reason) for each in match.problems] == [("int", "char", "encoding")]
    # our module only points at structs, so their sizes may change
    assert match.notes == (
        "struct file: 184 bytes became 232, behind pointers",
        "struct inode: 624 bytes became 632, behind pointers",
    )


def elf_with(sections: dict[str, bytes]) -> bytes:
    """A 64-bit ELF file that has these sections."""
    import struct as s

    names = b"\0" + b"".join(name.encode() + b"\0" for name in [*sections, ".shstrtab"])
    body, headers, at = b"", [bytes(64)], 64
    for name, content in {**sections, ".shstrtab": names}.items():
        header = s.pack("<IIQQQQIIQQ", names.index(name.encode() + b"\0"), 1, 0, 0, at, len(content), 0, 0, 1, 0)
        headers.append(header)
        body += content
        at += len(content)
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    head = ident + s.pack("<HHIQQQIHHHHHH", 1, 62, 1, 0, 0, at, 0, 64, 0, 0, 64, len(headers), len(headers) - 1)
    return head + body + b"".join(headers)


def module_file() -> bytes:
    unpack = lambda name: lzma.decompress((KERNEL / "distilled" / name).read_bytes())  # noqa: E731
    return elf_with({".BTF": unpack("ebpfpy_demo.btf.xz"), ".BTF.base": unpack("ebpfpy_demo.base.btf.xz")})


def test_a_module_file_without_base_shows_its_distilled_base() -> None:
    split = btf.load_spec(module_file())
    assert split.base is not None
    assert len(split.base) == 15


def test_a_module_file_with_base_is_relocated(vmlinux: btf.Spec, distilled_demo: btf.Spec) -> None:
    split = btf.load_split_spec(module_file(), vmlinux)
    assert split.base is vmlinux
    assert split.raw == btf.relocate_base(distilled_demo, vmlinux).raw


def test_a_module_file_that_does_not_fit_says_so() -> None:
    with pytest.raises(BaseMismatchError, match="15 of 15 types"):
        btf.load_split_spec(module_file(), btf.Spec(btf.Builder().marshal(), name="nothing"))
