"""Records as lines."""

import json
import struct

import pytest

from ebpfpy import btf, load_collection_spec
from ebpfpy.cli.events import EventPrinter, text_of
from ebpfpy.cli.typenames import type_name


@pytest.fixture(scope="module")
def event(testdata):
    types = load_collection_spec(testdata / "demo.bpf.o").types
    return types.type_by_name("event", btf.Struct)


RECORD = struct.pack("<QQQII16s64s", 10, 20, 104, 7, 1, b'a"b\x1b', b"/bin/true")


def test_line_for_people(event):
    line = EventPrinter("events", event, as_json=False).line(RECORD)
    assert line.startswith("events: time=10 start_time=20 total_vm=104 pid=7 ppid=1 comm=")
    assert line.endswith('filename="/bin/true"')
    assert "\x1b" not in line


def test_line_for_programs(event):
    line = json.loads(EventPrinter("events", event, as_json=True).line(RECORD))
    assert (line["map"], line["type"]) == ("events", "struct event")
    assert line["event"]["pid"] == 7
    assert line["event"]["comm"] == 'a"b\x1b'


def test_a_record_may_be_longer_than_its_type(event):
    printer = EventPrinter("events", event, as_json=False)
    assert printer.line(RECORD + bytes(8)) == printer.line(RECORD)


def test_short_record_is_shown_as_bytes_with_the_problem(event):
    assert "too few for struct event" in EventPrinter("events", event, as_json=False).line(b"\1\2")
    line = json.loads(EventPrinter("events", event, as_json=True).line(b"\1\2"))
    assert (line["event"], line["bytes"]) == (None, "0102")
    assert "too few" in line["problem"]


def test_record_without_a_type_is_shown_as_bytes():
    assert EventPrinter("rb", None, as_json=False).line(b"\1\2\3\4\5") == "rb: 01 02030405"
    assert json.loads(EventPrinter("rb", None, as_json=True).line(b"\1")) == {
        "map": "rb",
        "type": None,
        "event": None,
        "bytes": "01",
    }


def test_nested_values_in_text():
    assert text_of({"a": [1, -2], "b": {"c": b"\1\xff"}, "d": None}) == "{a=[1 -2] b={c=01ff} d=None}"


INT = btf.Int("int", 4)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (None, ""),
        (INT, "int"),
        (btf.Pointer(btf.Const(btf.Int("char", 1))), "const char *"),
        (btf.Pointer(btf.Pointer(btf.Struct("file", 8))), "struct file **"),
        (btf.Array(btf.Array(INT, INT, 3), INT, 2), "int[2][3]"),
        (btf.Typedef("u32", INT), "u32"),
        (btf.Union("", 4), "union (anonymous)"),
        (btf.Pointer(btf.Void()), "void *"),
        (btf.Pointer(btf.FuncProto(INT)), "function *"),
        (btf.Fwd("sock", union=False), "struct sock"),
    ],
)
def test_type_names(kind, name):
    assert type_name(kind) == name
