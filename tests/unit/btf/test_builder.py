from __future__ import annotations

import struct
import sys
from typing import TYPE_CHECKING, Any

import pytest

from ebpfpy import btf
from ebpfpy.errors import EbpfError, InputError
from tests.strategies import structure

if TYPE_CHECKING:
    from pathlib import Path

INT = btf.Int("int", 4, 1)


def test_an_empty_builder_writes_an_empty_blob() -> None:
    builder = btf.Builder()
    assert len(builder) == 0
    assert len(builder.spec()) == 0
    assert builder.marshal("little") == struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, 1) + b"\0"


def test_bytes_of_a_small_blob() -> None:
    builder = btf.Builder()
    builder.add(INT)
    types = struct.pack(">IIII", 1, 0x0100_0000, 4, 0x0100_0020)
    assert builder.marshal("big") == struct.pack(">HBBIIIII", 0xEB9F, 1, 0, 24, 0, 16, 16, 5) + types + b"\0int\0"


def test_each_object_is_written_once() -> None:
    builder = btf.Builder()
    assert builder.add(btf.Pointer(INT)) == 1
    assert builder.add(INT) == 2
    assert builder.add(btf.Const(INT)) == 3
    assert builder.add(btf.Int("int", 4, 1)) == 4  # equal, but another object
    assert len(builder) == 4


def test_void_is_0_and_takes_no_record() -> None:
    builder = btf.Builder()
    assert builder.add(btf.Void()) == 0
    assert builder.add(btf.Pointer(btf.Void())) == 1
    assert len(builder) == 1


def test_cycles_are_written() -> None:
    node = btf.Struct("node", 8, (btf.Member("next", btf.Pointer(lambda: node)),))
    builder = btf.Builder()
    assert builder.add(node) == 1
    back = builder.spec().type_by_id(1)
    assert isinstance(back, btf.Struct)
    pointer = back.members[0].type
    assert isinstance(pointer, btf.Pointer)
    assert pointer.target is back


def test_chains_of_any_length_need_no_recursion() -> None:
    of: btf.Type = INT
    for _ in range(50_000):
        of = btf.Pointer(of)
    builder = btf.Builder()
    builder.add(of)
    assert len(builder.spec()) == 50_001


def test_strings_are_written_once() -> None:
    builder = btf.Builder()
    builder.add_all([btf.Struct("same", 4, (btf.Member("same", INT), btf.Member("int", INT))), btf.Fwd("same")])
    assert builder.spec().own_strings() == b"\0same\0int\0"


def test_a_copy_of_a_spec_has_its_ids(testdata: Path) -> None:
    spec = btf.load_spec(testdata / "core_kinds.bpf.o")
    builder = btf.Builder()
    builder.add_all(spec)
    assert list(btf.dump_raw(builder.spec())) == list(btf.dump_raw(spec))


def test_a_copy_of_a_module_on_its_kernel_has_its_ids(vmlinux: btf.Spec, kernel_dir: Path) -> None:
    module = btf.load_split_spec(kernel_dir / "tun.btf.xz", vmlinux)
    builder = btf.Builder(vmlinux)
    builder.add_all(module)
    copy = builder.spec()
    assert list(btf.dump_raw(copy)) == list(btf.dump_raw(module))
    assert len(copy.raw) <= len(module.raw)


def test_types_of_the_base_keep_their_ids_and_types_of_other_specs_are_copied(vmlinux: btf.Spec) -> None:
    one, other = btf.Builder(), btf.Builder()
    one.add_all([INT, btf.Struct("s", 4, (btf.Member("a", INT),))])
    other.add(btf.Struct("foreign", 4, (btf.Member("b", btf.Int("long", 8)),)))
    base, foreign = one.spec(), other.spec().type_by_name("foreign")
    builder = btf.Builder(base)
    assert builder.add(base.type_by_id(2)) == 2
    assert builder.add(foreign) == 3
    assert builder.add(btf.Pointer(base.type_by_id(2))) == 5
    split = builder.spec()
    assert structure([split.type_by_id(3)]) == structure([foreign])
    assert len(split) == 3
    assert len(base) == 2


def test_a_part_of_a_kernel_is_copied_with_all_that_belongs_to_it(vmlinux: btf.Spec) -> None:
    builder = btf.Builder()
    path = vmlinux.type_by_name("path", btf.Struct)
    type_id = builder.add(path)
    assert structure([builder.spec().type_by_id(type_id)])[:50] == structure([path])[:50]


@pytest.mark.parametrize("order", ["little", "big"])
def test_the_layout_section_tells_the_length_of_every_kind(order: Any) -> None:
    builder = btf.Builder()
    builder.add(btf.Struct("s", 4, (btf.Member("a", INT),)))
    spec = btf.Spec(builder.marshal(order, header_size=32))
    assert spec._layout[btf.Kind.INT] == (4, 0)
    assert spec._layout[btf.Kind.ARRAY] == (12, 0)
    assert spec._layout[btf.Kind.STRUCT] == (0, 12)
    assert spec._layout[btf.Kind.ENUM64] == (0, 12)
    assert len(spec._layout) == 20
    assert len(spec) == 2


def test_the_flag_is_set_for_bitfields_and_signed_enums_only() -> None:
    builder = btf.Builder()
    builder.add_all(
        [
            btf.Struct("plain", 4, (btf.Member("a", INT, 0x100_0000),)),
            btf.Struct("bits", 4, (btf.Member("a", INT, 3, 2), btf.Member("b", INT, 32))),
            btf.Enum("u", 4, (btf.Enumerator("x", 0xFFFF_FFFF),)),
            btf.Enum("s", 4, (btf.Enumerator("x", -1),), signed=True),
        ]
    )
    spec = builder.spec()
    flags = [words[at + 1] >> 31 for words, at in map(spec.locate, (1, 2, 3, 4))]
    assert flags == [0, 1, 0, 1]
    assert structure(spec) == structure([*spec])


BITS = btf.Member("bits", INT, 0, 1)


@pytest.mark.parametrize(
    ("of", "message"),
    [
        (btf.Struct("a\0b", 4), "contains NUL"),
        (btf.Struct("\udc80", 4), "cannot be encoded"),
        (btf.Struct(7, 4), "is no string"),  # type: ignore[arg-type]
        (btf.Struct("s", 4, (btf.Member("a\0b", INT),)), "contains NUL"),
        (btf.Enum("e", 4, (btf.Enumerator("a\0b", 1),)), "contains NUL"),
        (btf.FuncProto(INT, (btf.Param("a\0b", INT),)), "contains NUL"),
        (btf.Struct("s", 1 << 32), "size 4294967296"),
        (btf.Struct("s", -1), "size -1"),
        (btf.Int("i", 4, 16), "encoding 16"),
        (btf.Int("i", 64), "number of bits 512"),
        (btf.Int("i", 4, 0, 32, 256), "bit offset 256"),
        (btf.Float("f", 1 << 32), "size"),
        (btf.Array(INT, INT, 1 << 32), "number of elements"),
        (btf.Struct("s", 4, (btf.Member("a", INT, 0, 256),)), "width of bitfield 'a': 256"),
        (btf.Struct("s", 4, (btf.Member("a", INT, 0, -1),)), "width of bitfield 'a': -1"),
        (btf.Struct("s", 4, (btf.Member("a", INT, 1 << 32),)), "offset of member 'a'"),
        (btf.Struct("s", 4, (btf.Member("a", INT, 1 << 24), BITS)), "with bitfields"),
        (btf.Struct("s", 4, (btf.Member("a", INT, -8),)), "offset of member 'a': -8"),
        (btf.Enum("e", 4, (btf.Enumerator("x", -1),)), "value of enumerator 'x': -1"),
        (btf.Enum("e", 4, (btf.Enumerator("x", 1 << 32),)), "value of enumerator 'x'"),
        (btf.Enum("e", 4, (btf.Enumerator("x", 1 << 31),), signed=True), "value of enumerator 'x'"),
        (btf.Enum("e", 8, (btf.Enumerator("x", 1 << 64),), is64=True), "value of enumerator 'x'"),
        (btf.Func("f", btf.FuncProto(INT), 1 << 24), "linkage"),
        (btf.Var("v", INT, 1 << 32), "linkage"),
        (btf.DeclTag("t", INT, 1 << 31), "component"),
        (btf.Datasec("d", 4, (btf.VarSecinfo(btf.Var("v", INT), 1 << 32, 4),)), "offset of a variable"),
        (btf.Datasec("d", 4, (btf.VarSecinfo(btf.Var("v", INT), 0, 1 << 32),)), "size of a variable"),
        (btf.Enum("e", 4, (btf.Enumerator("x", 1),) * (1 << 24)), "number of enumerators 16777216"),
        (btf.Pointer(3), "a type id means nothing"),
        (btf.Pointer(lambda: "int"), "is no type"),  # type: ignore[arg-type,return-value]
    ],
)
def test_what_a_record_cannot_hold_is_refused_and_nothing_is_added(of: btf.Type, message: str) -> None:
    builder = btf.Builder()
    for broken in (of, btf.Struct("outer", 8, (btf.Member("a", btf.Pointer(of)),))):
        with pytest.raises(InputError, match=message):
            builder.add(broken)
    assert len(builder) == 0
    assert builder.add(INT) == 1


def test_a_reference_that_changes_its_mind_is_an_error() -> None:
    builder = btf.Builder()
    builder.add(btf.Pointer(lambda: btf.Int("new", 4)))
    with pytest.raises(InputError, match="same type every time"):
        builder.marshal()


def test_a_reference_to_a_missing_type_of_a_spec_is_an_error() -> None:
    builder = btf.Builder()
    builder.add(INT)
    blob = bytearray(builder.marshal())
    blob[24:40] = struct.pack("=IIII", 0, 0x0200_0000, 99, 0)[:12] + bytes(4)
    blob[12:16] = struct.pack("=I", 12)
    spec = btf.Spec(bytes(blob))
    other = btf.Builder()
    with pytest.raises(EbpfError, match="99"):
        other.add(spec.type_by_id(1))
    assert len(other) == 0


@pytest.mark.parametrize("header_size", [0, 23, 25, 40])
def test_other_header_sizes_are_refused(header_size: int) -> None:
    with pytest.raises(InputError, match="24 or 32"):
        btf.Builder().marshal(header_size=header_size)


def test_byte_orders_are_checked() -> None:
    with pytest.raises(InputError, match="middle"):
        btf.Builder().marshal("middle")  # type: ignore[arg-type]
    foreign: Any = "big" if sys.byteorder == "little" else "little"
    base = btf.Spec(btf.Builder().marshal(foreign))
    split = btf.Builder(base)
    split.add(INT)
    assert split.spec().byte_order == foreign
    with pytest.raises(InputError, match="like its base"):
        split.marshal(sys.byteorder)
