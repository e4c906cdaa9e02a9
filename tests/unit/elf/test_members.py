"""The members of a struct_ops blueprint's structure, by name."""

from pathlib import Path

import pytest

import ebpfpy
from ebpfpy.errors import InputError

OBJECT = Path(__file__).parents[3] / "testdata" / "module_ops.bpf.o"


@pytest.fixture
def spec():
    return ebpfpy.load_collection_spec(OBJECT).maps["doubling"]


def test_every_member_is_there_by_name(spec):
    members = spec.members
    assert list(members) == [
        "name",
        "inspect",
        "transform",
        "ebpfpy_no_such_function",
        "ebpfpy_no_such_member",
        "tuning",
        "limit",
        "reserved",
    ]
    assert len(members) == 8
    assert (members["name"], members["inspect"], members["reserved"]) == ("doubling", "look", None)
    assert members["tuning.scale"] == {"divisor": 1, "factor": 3, "ebpfpy_no_such_member": 0}
    assert repr(members).startswith("<members of ebpfpy_demo_ops___ours in map doubling: {'name': 'doubling'")


def test_changes_go_to_the_blueprint_and_stay_out_of_copies(spec):
    copy = spec.copy()
    spec.members["tuning.scale.factor"] = -5
    spec.members["limit"] = b"\x01\0\0\0"
    spec.members["inspect"] = None
    spec.members["reserved"] = "forbidden"
    assert spec.members["tuning"]["scale"]["factor"] == -5
    assert spec.members["limit"] == 1
    assert "look" not in spec.slots.values()
    assert spec.members["reserved"] == "forbidden"
    assert copy.members["tuning.scale.factor"] == 3
    assert copy.members["inspect"] == "look"


@pytest.mark.parametrize(
    "name", ["nothing", "tuning.nothing", "limit.nothing", "", "tuning.", ".", "transform.x", None, 5]
)
def test_what_is_no_member_is_a_key_error_that_names_the_map(spec, name):
    with pytest.raises(KeyError, match=f"^map {spec.name}: .* has no member {name!r}"):
        spec.members[name]
    with pytest.raises(KeyError):
        spec.members[name] = 0
    assert name not in spec.members


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("transform", 7, "transform is a function: it takes the name of a program or None, not int"),
        ("limit", b"\0", "limit has 4 bytes, not 1"),
        ("limit", 1 << 40, "1099511627776"),
        ("name", "x" * 17, "17"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_and_changes_nothing(spec, name, value, match):
    before = spec.copy()
    with pytest.raises(InputError, match=match):
        spec.members[name] = value
    assert (spec.contents, spec.slots) == (before.contents, before.slots)


def test_other_maps_have_no_members(spec):
    bss = ebpfpy.load_collection_spec(OBJECT).maps[".bss"]
    with pytest.raises(InputError, match=r"map \.bss of type ARRAY holds no structure"):
        _ = bss.members
    spec.contents = None
    with pytest.raises(InputError, match="holds no structure"):
        _ = spec.members
