"""fentry.multi: which functions of a BTF a pattern can mean."""

import itertools

import pytest

from ebpfpy import btf
from ebpfpy.link.tracingmulti import followable

INT = btf.Int("int", 4, 1)
GOOD = btf.FuncProto(INT, ())
BAD = btf.FuncProto(btf.Struct("pair", 16, ()), ())


def spec_of(*functions):
    """BTF with functions (name, prototype), in that order."""
    builder = btf.Builder()
    for name, prototype in functions:
        builder.add(btf.Func(name, prototype, 0))
    return builder.spec()


def names_of(spec, names):
    return [spec.type_by_id(each).name for each in followable(spec, names)]


@pytest.mark.parametrize("order", list(itertools.permutations([("f", GOOD), ("f", BAD), ("g", GOOD)])))
def test_a_name_that_two_functions_have_is_left_out_whatever_their_order(order):
    spec = spec_of(*order)
    assert len(spec.ids_by_name(b"f")) == 2
    assert names_of(spec, {"f", "g"}) == ["g"]


def test_functions_that_cannot_be_followed_or_are_not_asked_for_are_left_out():
    spec = spec_of(("good", GOOD), ("bad", BAD), ("other", GOOD))
    assert names_of(spec, {"good", "bad", "absent"}) == ["good"]
