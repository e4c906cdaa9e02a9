"""The kernel's structure of functions from an object's, member by member."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.elf import MapSpec
from ebpfpy.errors import InputError, UnsupportedError
from ebpfpy.loader.structops import Operations, kernel_value
from ebpfpy.sys.enums import MapType

TESTDATA = Path(__file__).parents[3] / "testdata"

NUMBER = btf.Int("int", 4, 1)
WIDE = btf.Int("long", 8, 1)
FUNCTION = btf.Pointer(btf.FuncProto(NUMBER))
NAME = btf.Array(btf.Int("char", 1, 1), NUMBER, 8)


def structure(name: str, size: int, *members: tuple[str, btf.Type, int]) -> btf.Struct:
    return btf.Struct(name, size, tuple(btf.Member(member, kind, 8 * at) for member, kind, at in members))


def operations(*members: tuple[str, btf.Type, int], size: int = 64) -> Operations:
    """The kernel's structure, 16 bytes into a map's value."""
    theirs = structure("ops", size, *members)
    value = structure("bpf_struct_ops_ops", size + 16, ("common", WIDE, 0), ("data", theirs, 16))
    return Operations("ops", theirs, 1, value, 2, 16, None)


def ours(contents: bytes, *members: tuple[str, btf.Type, int], **slots: int) -> MapSpec:
    kind = structure("ops", len(contents), *members)
    return MapSpec(
        "ours",
        MapType.STRUCT_OPS,
        value=kind,
        contents=bytearray(contents),
        slots={at: name for name, at in slots.items()},
    )


def test_members_are_copied_by_name_wherever_they_are() -> None:
    kernel = operations(("first", FUNCTION, 0), ("flags", NUMBER, 8), ("name", NAME, 24), ("second", FUNCTION, 40))
    spec = ours(
        b"abc\0\0\0\0\0" + bytes(8) + struct.pack("=i", -5) + bytes(4) + bytes(8),
        ("name", NAME, 0),
        ("second", FUNCTION, 8),
        ("flags", NUMBER, 16),
        ("first", FUNCTION, 24),
        one=24,
        two=8,
    )
    value = kernel_value(spec, kernel, {"one": 11, "two": 22})
    assert len(value) == 80
    assert value[:16] == bytes(16)
    assert struct.unpack_from("=Qi", value, 16) == (11, -5)
    assert value[40:48] == b"abc\0\0\0\0\0"
    assert struct.unpack_from("=Q", value, 56) == (22,)


def test_a_program_that_was_left_out_leaves_its_member_empty() -> None:
    kernel = operations(("first", FUNCTION, 0))
    assert kernel_value(ours(bytes(8), ("first", FUNCTION, 0), one=0), kernel, {}) == bytes(80)


def test_structures_in_structures_are_copied_member_by_member() -> None:
    here = structure("inner", 8, ("a", NUMBER, 0), ("b", NUMBER, 4))
    there = structure("inner", 16, ("b", NUMBER, 0), ("new", WIDE, 8), ("a", NUMBER, 4))
    kernel = operations(("first", FUNCTION, 0), ("nested", there, 16))
    value = kernel_value(ours(struct.pack("=ii", 1, 2), ("nested", here, 0)), kernel, {})
    assert struct.unpack_from("=ii", value, 32) == (2, 1)


def test_a_member_that_the_kernel_lacks_must_be_zero() -> None:
    kernel = operations(("first", FUNCTION, 0))
    members = (("gone", NUMBER, 0),)
    assert kernel_value(ours(bytes(4), *members), kernel, {}) == bytes(80)
    with pytest.raises(UnsupportedError, match=r"map ours: ops.gone is not zero, and not a member"):
        kernel_value(ours(b"\1\0\0\0", *members), kernel, {})
    with pytest.raises(UnsupportedError, match=r"program one implements ops.gone, which is no function"):
        kernel_value(ours(bytes(8), ("gone", FUNCTION, 0), one=0), kernel, {"one": 3})


def test_a_member_of_another_kind_or_size_is_refused() -> None:
    with pytest.raises(InputError, match=r"ops.first is INT of 8 bytes in the object, PTR of 8 in the kernel"):
        kernel_value(ours(bytes(8), ("first", WIDE, 0)), operations(("first", FUNCTION, 0)), {})
    with pytest.raises(InputError, match=r"ops.flags is INT of 8 bytes in the object, INT of 4"):
        kernel_value(ours(bytes(8), ("flags", WIDE, 0)), operations(("flags", NUMBER, 0)), {})


def test_contents_shorter_than_their_structure_are_refused() -> None:
    spec = ours(bytes(8), ("first", FUNCTION, 0))
    spec.contents = bytearray(4)
    with pytest.raises(InputError, match="map ours: the blueprint has no structure, or fewer bytes than it"):
        kernel_value(spec, operations(("first", FUNCTION, 0)), {})
