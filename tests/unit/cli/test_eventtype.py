"""The rule that finds the type of a ring buffer's records."""

import pytest

from ebpfpy import btf
from ebpfpy.cli.eventtype import event_type, singular
from ebpfpy.cli.status import UsageError

U32 = btf.Int("unsigned int", 4)


class Types:
    """What the rule asks of a `Spec`: all types, and those of a name."""

    def __init__(self, *names, more=()):
        member = btf.Member("pid", U32, 0)
        self._types = [btf.Struct(name, 4, (member,)) for name in names] + list(more)

    def __iter__(self):
        return iter(self._types)

    def any_types_by_name(self, name):
        return [t for t in self._types if t.name == name]


@pytest.mark.parametrize(
    ("map_name", "names", "answer"),
    [
        ("events", ["event", "other"], "event"),
        ("opens", ["open", "close"], "open"),
        ("opens", ["opens_event", "event"], "opens_event"),
        ("opens", ["event_opens", "event"], "event_opens"),
        ("entries", ["entry"], "entry"),
        ("rb", ["event", "exec_event"], "event"),
        ("rb", ["exec_event", "args"], "exec_event"),
        ("rb", ["eventful", "args"], None),
        ("rb", [], None),
    ],
)
def test_the_rule(map_name, names, answer):
    found = event_type(map_name, Types(*names))
    assert (found.type.name if found.type is not None else None) == answer
    assert found.reason


@pytest.mark.parametrize(
    ("map_name", "names"), [("opens", ["open", "opens_event"]), ("rb", ["open_event", "close_event"])]
)
def test_several_answers_are_an_error_that_lists_them(map_name, names):
    with pytest.raises(UsageError, match=f"struct {names[0]}, struct {names[1]}.*--event-type"):
        event_type(map_name, Types(*names))


def test_value_type_of_the_map_comes_before_names():
    value = btf.Struct("mine", 4)
    assert event_type("events", Types("event"), value=value).type is value


def test_void_is_no_value_type():
    assert event_type("events", Types("event"), value=btf.Void()).type.name == "event"


@pytest.mark.parametrize("asked", ["other", "struct other"])
def test_what_the_user_asks_for_comes_first(asked):
    found = event_type("events", Types("event", "other"), value=btf.Struct("mine", 4), asked=asked)
    assert found.type.name == "other"


def test_a_struct_comes_before_the_typedef_of_its_name():
    types = Types("thing", more=[btf.Typedef("thing", U32)])
    assert isinstance(event_type("rb", types, asked="thing").type, btf.Struct)


def test_union_and_enum_by_keyword():
    types = Types("thing", more=[btf.Union("thing", 4), btf.Enum("thing", 4)])
    assert isinstance(event_type("rb", types, asked="union thing").type, btf.Union)
    assert isinstance(event_type("rb", types, asked="enum thing").type, btf.Enum)


@pytest.mark.parametrize("asked", ["nothing", "struct nothing", "union event", "", "struct "])
def test_unknown_type_asked_for_lists_candidates(asked):
    with pytest.raises(UsageError, match="struct event"):
        event_type("events", Types("event"), asked=asked)


def test_object_without_btf():
    assert event_type("events", None).type is None
    with pytest.raises(UsageError, match="no BTF"):
        event_type("events", None, asked="event")


def test_a_struct_that_occurs_twice_counts_once():
    assert event_type("rb", Types("event", "event")).type.name == "event"


@pytest.mark.parametrize(("plural", "one"), [("events", "event"), ("entries", "entry"), ("pass", "pass"), ("rb", "rb")])
def test_singular(plural, one):
    assert singular(plural) == one
