"""BTF for old kernels: each replacement, that ids stay, and that nothing else changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.btf import Feature, Kind
from ebpfpy.errors import BtfError, InputError
from tests.steps import lines_run
from tests.unit.core.records import SIGNED, Records

TESTDATA = Path(__file__).parents[3] / "testdata"
OBJECTS = sorted(TESTDATA.glob("*.o"))
NOTHING = Feature(0)


def lines(data: bytes) -> list[str]:
    return list(btf.dump_raw(btf.Spec(data)))


def changed(records: Records, missing: Feature) -> list[str]:
    """The lines of the result that are not in the original."""
    spec = records.spec()
    before, after = lines(bytes(spec.raw)), lines(btf.sanitize(spec, missing))
    return [line for line in after if line not in before]


def everything() -> Records:
    r = Records()
    number = r.int("int", 4, SIGNED)  # 1
    proto = r.add(Kind.FUNC_PROTO, vlen=1, value=number, words=[r.string("arg"), number])  # 2
    r.add(Kind.FUNC, "prog", value=proto, vlen=1)  # 3, global
    variable = r.add(Kind.VAR, "count", value=number, words=[1])  # 4
    r.add(Kind.DATASEC, "?.data.x", vlen=1, value=8, words=[variable, 4, 4])  # 5
    r.float("double", 8)  # 6
    struct = r.struct("S", 4, [("a", number, 0)])  # 7
    r.add(Kind.DECL_TAG, "tag", value=struct, words=[0])  # 8
    tag = r.add(Kind.TYPE_TAG, "user", value=number)  # 9
    r.enum64("big", [("A", 1 << 40), ("B", 2)])  # 10
    r.enum("signed", [("M", -1)], signed=True)  # 11
    r.pointer(r.add(Kind.TYPE_TAG, "noderef", value=tag, flag=True))  # 12, 13
    r.pointer(r.add(Kind.TYPE_TAG, "address_space(1)", value=struct, flag=True))  # 14, 15
    r.add(Kind.DECL_TAG, "attribute", value=struct, words=[0xFFFF_FFFF], flag=True)  # 16
    r.add(Kind.DATASEC, ".rodata", value=24)  # 17
    return r


def test_nothing_missing_is_the_blob_as_it_is() -> None:
    spec = everything().spec()
    assert btf.sanitize(spec, NOTHING) == bytes(spec.raw)


@pytest.mark.parametrize(
    ("missing", "expected"),
    [
        (Feature.FUNC, ["[2] ENUM '(anon)' encoding=UNSIGNED size=4 vlen=0", "[3] TYPEDEF 'prog' type_id=2"]),
        (Feature.FUNC_LINKAGE, ["[3] FUNC 'prog' type_id=2 linkage=static"]),
        (
            Feature.DATASEC,
            [
                "[4] INT 'count' size=1 bits_offset=0 nr_bits=8 encoding=(none)",
                "[5] STRUCT '__data_x' size=8 vlen=1",
                "\t'count' type_id=4 bits_offset=32",
                "[17] STRUCT '_rodata' size=24 vlen=0",
            ],
        ),
        (Feature.EMPTY_DATASEC, ["[17] STRUCT '_rodata' size=24 vlen=0"]),
        (Feature.QMARK_DATASEC, ["[5] DATASEC '_.data.x' size=8 vlen=1"]),
        (Feature.FLOAT, ["[6] STRUCT '(anon)' size=8 vlen=0"]),
        (
            Feature.DECL_TAG,
            [
                "[8] INT 'tag' size=1 bits_offset=0 nr_bits=8 encoding=(none)",
                "[16] INT 'attribute' size=1 bits_offset=0 nr_bits=8 encoding=(none)",
            ],
        ),
        (
            Feature.TYPE_TAG,
            ["[9] CONST '(anon)' type_id=1", "[12] CONST '(anon)' type_id=9", "[14] CONST '(anon)' type_id=7"],
        ),
        (
            Feature.ENUM64,
            [
                "[10] UNION 'big' size=8 vlen=2",
                "\t'A' type_id=18 bits_offset=0",
                "\t'B' type_id=18 bits_offset=0",
                "[11] ENUM 'signed' encoding=UNSIGNED size=4 vlen=1",
                "\t'M' val=4294967295",
                "[18] INT 'enum64_placeholder' size=1 bits_offset=0 nr_bits=8 encoding=(none)",
            ],
        ),
        (
            Feature.TAG_ATTRIBUTES,
            [
                "[12] TYPE_TAG 'user' type_id=1",
                "[14] CONST '(anon)' type_id=7",
                "[16] INT 'attribute' size=1 bits_offset=0 nr_bits=8 encoding=(none)",
            ],
        ),
        (Feature.LAYOUT, []),
    ],
)  # fmt: skip
def test_each_missing_feature_replaces_its_records_and_no_others(missing: Feature, expected: list[str]) -> None:
    assert changed(everything(), missing) == expected


def test_a_tag_on_what_cannot_be_tagged_any_more_goes_too() -> None:
    r = Records()
    variable = r.add(Kind.VAR, "v", value=r.int("int", 4, SIGNED), words=[1])
    r.add(Kind.DECL_TAG, "tag", value=variable, words=[0xFFFF_FFFF])
    assert changed(r, Feature.DATASEC)[-1].startswith("[3] INT 'tag' size=1")


def test_members_of_a_section_without_sizes_fit_into_the_struct() -> None:
    r = Records()
    number = r.int("int", 4, SIGNED)
    one, two = (r.add(Kind.VAR, name, value=number, words=[1]) for name in "ab")
    function = r.add(Kind.FUNC, "kfunc", value=r.prototype(0, []), vlen=2)
    r.add(Kind.DATASEC, ".ksyms", vlen=3, value=0, words=[one, 4, 4, two, 0, 4, function, 0, 0])
    assert changed(r, Feature.DATASEC)[-3:] == [
        "[6] STRUCT '_ksyms' size=5 vlen=2",
        "\t'b' type_id=3 bits_offset=0",
        "\t'a' type_id=2 bits_offset=32",
    ]


def test_the_layout_section_stays_unless_it_is_what_is_missing() -> None:
    builder = btf.Builder()
    builder.add(btf.Float("double", 8))
    for order in ("little", "big"):
        spec = btf.Spec(builder.marshal(order, header_size=32))
        kept = btf.Spec(btf.sanitize(spec, Feature.FLOAT))
        assert kept.byte_order == order
        assert kept._sections.layout == spec._sections.layout != ()
        assert lines(bytes(kept.raw)) == ["[1] STRUCT '(anon)' size=8 vlen=0"]
        assert btf.Spec(btf.sanitize(spec, Feature.LAYOUT))._sections.layout == ()
        assert btf.sanitize(spec, Feature.LAYOUT)[4 if order == "little" else 7] == 24


def test_split_types_are_refused() -> None:
    split = btf.Builder(btf.Builder().spec()).spec("module")
    with pytest.raises(InputError, match="module: split BTF cannot be loaded"):
        btf.sanitize(split, Feature.FLOAT)


def test_attributes_in_a_circle_are_an_error() -> None:
    r = Records()
    r.add(Kind.TYPE_TAG, "a", value=1, flag=True)
    with pytest.raises(BtfError, match="form a cycle"):
        btf.sanitize(r.spec(), Feature.TAG_ATTRIBUTES)


def test_work_grows_with_the_number_of_attributes_and_sections() -> None:
    def work(number: int) -> int:
        r = Records()
        below = r.int("int", 4, SIGNED)
        for index in range(number):
            below = r.add(Kind.TYPE_TAG, "a", value=below, flag=True)
            r.add(Kind.DATASEC, f"?{index}")
        spec = r.spec()
        return lines_run(lambda: btf.sanitize(spec, Feature.everything() & ~Feature.TYPE_TAG), "btf/oldkernels.py")

    assert work(800) < 5 * work(200)


@pytest.mark.parametrize("path", OBJECTS, ids=lambda path: path.stem)
def test_every_type_of_a_real_object_keeps_its_id(path: Path) -> None:
    spec = btf.load_spec(path)
    plain = btf.Spec(btf.sanitize(spec, Feature.everything()))
    assert len(spec) <= len(plain) <= len(spec) + 1
    gone = {Kind.FUNC, Kind.FUNC_PROTO, Kind.VAR, Kind.DATASEC, Kind.FLOAT, Kind.DECL_TAG, Kind.TYPE_TAG, Kind.ENUM64}
    for type_id in range(1, len(spec) + 1):
        before, after = spec.kind_of(type_id), plain.kind_of(type_id)
        assert after not in gone
        assert before in gone or after == before
    assert not any(isinstance(each, btf.Enum) and each.signed for each in plain)
