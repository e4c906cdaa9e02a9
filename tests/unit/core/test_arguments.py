"""Of two namesakes, the one that the attached function's arguments lead to is meant."""

from __future__ import annotations

import pytest

from ebpfpy import core
from ebpfpy.btf import Kind
from ebpfpy.core import RelocationKind as R
from ebpfpy.errors import AmbiguousRelocationError
from tests.unit.core.records import SIGNED, Records, relocation

INT = 1


def struct(records: Records, name: str, **members: int) -> int:
    return records.struct(name, 64, [(member, INT, 8 * offset) for member, offset in members.items()])


def function(records: Records, name: str, *params: int, result: int = INT) -> int:
    return records.add(Kind.FUNC, name, value=records.prototype(result, params))


@pytest.fixture
def asked() -> list[core.Relocation]:
    records = Records()
    number = records.int("int", 4, SIGNED)
    root = records.struct("s", 8, [("a", number, 0), ("b", number, 32)])
    spec = records.spec("object")
    return [relocation(spec, root, "0:0", R.BYTE_OFF), relocation(spec, root, "0:1", R.BYTE_OFF)]


class Target:
    """A kernel and a module that both have a struct s, and what both have is at other offsets."""

    def __init__(self) -> None:
        self.base = Records()
        self.base.int("int", 4, SIGNED)
        self.kernels = struct(self.base, "s", a=8, b=12, c=16)
        self.kernels_pointer = self.base.pointer(self.kernels)
        self.module = Records(base=self.base)
        self.own = struct(self.module, "s", a=40, b=44)
        self.own_pointer = self.module.pointer(self.own)

    def relocate(self, asked: list[core.Relocation], function: str | None) -> list[core.Fixup]:
        vmlinux = self.base.spec("vmlinux")
        module = self.module.spec("my_module", vmlinux)
        return core.relocate(asked, [vmlinux, module], prefer_module="my-module", prefer_function=function)


def offsets(fixups: list[core.Fixup]) -> list[int | None]:
    return [fixup.target_value for fixup in fixups]


def test_a_type_that_the_prototype_names_is_meant(asked):
    target = Target()
    function(target.module, "f", target.module.const(target.own_pointer))
    fixups = target.relocate(asked, "f")
    assert offsets(fixups) == [40, 44]
    assert {fixup.module for fixup in fixups} == {"my_module"}
    (other,) = [each for each in fixups[0].candidates if each.verdict != "chosen"]
    assert (other.spec.name, other.verdict) == (
        "vmlinux",
        "the arguments of f lead to my-module's; would give 8",
    )


def test_without_a_function_vmlinux_answers_as_before(asked):
    target = Target()
    function(target.module, "f", target.own_pointer)
    assert offsets(target.relocate(asked, None)) == [8, 12]
    assert offsets(target.relocate(asked, "no_such_function")) == [8, 12]


def test_a_function_that_takes_the_kernels_type_leaves_it_to_the_kernel(asked):
    target = Target()
    function(target.module, "f", target.kernels_pointer)
    assert offsets(target.relocate(asked, "f")) == [8, 12]


def test_what_a_result_leads_to_counts_too(asked):
    target = Target()
    function(target.module, "f", result=target.own_pointer)
    assert offsets(target.relocate(asked, "f")) == [40, 44]


def test_types_that_the_arguments_lead_to_through_the_modules_own_are_meant(asked):
    target = Target()
    inner = target.module.struct("inner", 16, [("s", target.own_pointer, 64)])
    outer = target.module.struct("outer", 16, [("array", target.module.array(target.module.pointer(inner), 2), 0)])
    function(target.module, "f", target.module.pointer(target.module.typedef("outer_t", outer)))
    assert offsets(target.relocate(asked, "f")) == [40, 44]


def test_what_the_arguments_lead_to_in_both_is_left_open(asked):
    target = Target()
    both = target.module.struct("both", 16, [("own", target.own_pointer, 0), ("kernels", target.kernels_pointer, 64)])
    function(target.module, "f", target.module.pointer(both))
    assert offsets(target.relocate(asked, "f")) == [8, 12], "as without evidence: the kernel's own types come first"
    function(target.module, "g", target.module.pointer(both), target.own_pointer)
    assert offsets(target.relocate(asked, "g")) == [40, 44], "what the prototype names counts more"


def test_a_type_that_leads_to_itself_does_no_harm(asked):
    target = Target()
    me = target.module.next_id
    target.module.struct("list", 16, [("next", me + 1, 0), ("s", target.own_pointer, 64)])
    target.module.pointer(me)
    function(target.module, "f", me + 1)
    assert offsets(target.relocate(asked, "f")) == [40, 44]


def test_a_type_that_answers_nothing_is_not_meant(asked):
    target = Target()
    target.module = Records(base=target.base)
    own = struct(target.module, "s", other=40)
    function(target.module, "f", target.module.pointer(own))
    assert offsets(target.relocate(asked, "f")) == [8, 12]


def test_iterators_and_tracepoints_have_prototypes_too(asked):
    target = Target()
    function(target.module, "bpf_iter_things", target.own_pointer)
    assert offsets(target.relocate(asked, "things")) == [40, 44]
    target = Target()
    prototype = target.module.prototype(0, [target.kernels_pointer, target.own_pointer])
    target.module.typedef("btf_trace_event", target.module.pointer(prototype))
    assert offsets(target.relocate(asked, "event")) == [40, 44]


def test_of_two_types_of_the_module_the_prototype_names_the_right_one(asked):
    target = Target()
    target.base = Records()
    target.base.int("int", 4, SIGNED)
    target.module = Records(base=target.base)
    one, two = struct(target.module, "s", a=8, b=12), struct(target.module, "s", a=16, b=20)
    function(target.module, "f", target.module.pointer(one))
    function(target.module, "g", target.module.pointer(two))
    assert offsets(target.relocate(asked, "f")) == [8, 12]
    assert offsets(target.relocate(asked, "g")) == [16, 20]
    with pytest.raises(AmbiguousRelocationError):
        target.relocate(asked, None)


def test_malformed_types_behind_a_prototype_are_no_evidence(asked):
    target = Target()
    function(target.module, "f", target.own_pointer, target.module.next_id + 1000)
    assert offsets(target.relocate(asked, "f")) == [8, 12]
    target = Target()
    target.module.add(Kind.FUNC, "f", value=target.own)
    assert offsets(target.relocate(asked, "f")) == [8, 12], "a function without a prototype"


def test_two_functions_of_the_name_are_no_evidence(asked):
    target = Target()
    function(target.module, "f", target.own_pointer)
    function(target.module, "f", target.own_pointer)
    assert offsets(target.relocate(asked, "f")) == [8, 12]
