"""Relocations that make no sense, whatever the target: a RelocationError that says which one, and why."""

from __future__ import annotations

import pytest

from ebpfpy import core
from ebpfpy.btf import Kind
from ebpfpy.core import RelocationKind as R
from ebpfpy.errors import RelocationError
from tests.unit.core.records import SIGNED, Records, relocation


class Local:
    def __init__(self) -> None:
        self.records = r = Records()
        self.int = r.int("int", 4, SIGNED)
        self.array = r.array(self.int, 4)
        self.struct = r.struct("s", 32, [("a", self.int, 0), ("list", self.array, 32)])
        self.enum = r.enum("e", [("A", 1), ("B", 2)])
        self.anonymous = r.struct("", 4, [("a", self.int, 0)])
        self.forward = r.forward("declared")
        self.typedef = r.typedef("loop", r.next_id + 1)
        r.typedef("pool", self.typedef)
        self.dangling = r.struct("dangling", 8, [("a", 9999, 0)])
        self.function = r.add(Kind.FUNC, "function", value=1)
        self.spec = r.spec("object")


@pytest.mark.parametrize(
    ("root", "access", "kind", "reason"),
    [
        ("struct", "", R.BYTE_OFF, "malformed access string ''"),
        ("struct", ":0", R.BYTE_OFF, "malformed access string ':0'"),
        ("struct", "0:", R.BYTE_OFF, "malformed access string '0:'"),
        ("struct", "0::1", R.BYTE_OFF, "malformed access string"),
        ("struct", "0:x", R.BYTE_OFF, "malformed access string '0:x'"),
        ("struct", "0:-1", R.BYTE_OFF, "malformed access string '0:-1'"),
        ("struct", "0: 1", R.BYTE_OFF, "malformed access string"),
        ("struct", "0:²", R.BYTE_OFF, "malformed access string"),
        ("struct", "0:99999999999", R.BYTE_OFF, "malformed access string"),
        ("struct", ":".join("0" * 65), R.BYTE_OFF, "access string with 65 steps, at most 64"),
        ("struct", "0:2", R.BYTE_OFF, "member 2 of 2"),
        ("struct", "0:1:4", R.BYTE_OFF, "element 4 of 4"),
        ("struct", "0:0:0", R.BYTE_OFF, "a step into something that is neither struct nor array"),
        ("struct", "0:1:0", R.SIGNED, "signed of an array element"),
        ("struct", "0", R.RSHIFT_U64, "rshift_u64 of an array element"),
        ("struct", "0:0", R.TYPE_EXISTS, "a relocation of a type has '0'"),
        ("struct", "1", R.TYPE_SIZE, "a relocation of a type has '0'"),
        ("struct", "0", R.ENUMVAL_VALUE, "no enum"),
        ("enum", "2", R.ENUMVAL_VALUE, "no index of the enum's 2 values"),
        ("enum", "0:0", R.ENUMVAL_EXISTS, "no index of the enum's 2 values"),
        ("anonymous", "0:0", R.BYTE_OFF, "no name"),
        ("anonymous", "0", R.TYPE_EXISTS, "no name"),
        ("forward", "0:0", R.BYTE_OFF, "no size"),
        ("forward", "0", R.TYPE_SIZE, "no size"),
        ("typedef", "0:0", R.BYTE_OFF, "cycle"),
        ("dangling", "0:0", R.BYTE_OFF, "no type has id 9999"),
        ("function", "0", R.BYTE_OFF, "no size"),
        ("struct", "0", 13, "relocation kind 13 is unknown"),
        ("struct", "0", 1 << 31, "relocation kind 2147483648 is unknown"),
    ],
)
def test_a_malformed_relocation_is_named_with_its_reason(root, access, kind, reason):
    local = Local()
    asked = core.Relocation(local.spec, getattr(local, root), access, kind, 12, "on_open", 7, "fentry/x")
    with pytest.raises(RelocationError) as caught:
        core.relocate([asked], [local.spec])
    error = caught.value
    assert reason in error.message
    assert (error.program, error.insn) == ("on_open", 7)
    assert f"[{getattr(local, root)}]" in error.relocation
    assert str(error).startswith("program on_open: instruction 7: ")


@pytest.mark.parametrize("type_id", [0, 9999, 0xFFFF_FFFF])
@pytest.mark.parametrize("kind", [R.BYTE_OFF, R.TYPE_EXISTS, R.TARGET_TYPE_ID, R.ENUMVAL_VALUE])
def test_a_type_id_that_is_nobodys_is_an_error(type_id, kind):
    local = Local()
    with pytest.raises(RelocationError, match=r"prog"):
        core.relocate([relocation(local.spec, type_id, "0", kind)], [local.spec])


def test_a_malformed_relocation_is_an_error_even_where_nothing_is_known_of_the_kernel():
    local = Local()
    with pytest.raises(RelocationError, match="member 9 of 2"):
        core.relocate([relocation(local.spec, local.struct, "0:9", R.FIELD_EXISTS)], [])


def test_64_steps_are_allowed():
    records = Records()
    inner = records.int("int", 4, SIGNED)
    for _ in range(63):
        inner = root = records.struct("deep", 4, [("a", inner, 0)])
    spec = records.spec()
    text = ":".join("0" * 64)
    (fixup,) = core.relocate([relocation(spec, root, text, R.BYTE_OFF)], [spec])
    assert fixup.local_value == 0
