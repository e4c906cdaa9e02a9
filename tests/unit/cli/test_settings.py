"""``--set NAME=VALUE``: variables of an object before it is loaded."""

from pathlib import Path

import pytest

import ebpfpy
from ebpfpy.cli.settings import apply_settings
from ebpfpy.cli.status import UsageError

TOOLS = Path(__file__).parents[3] / "testdata" / "tools"


def spec(name):
    return ebpfpy.load_collection_spec(TOOLS / f"{name}.bpf.o")


def test_numbers_truth_and_lists_are_understood():
    tool = spec("tcpconnect")
    apply_settings(tool, ["only_pid=0x10", "count_only=true", "ports=80, 443", "ports_used=2"])
    values = {name: tool.variables[name].get() for name in ("only_pid", "count_only", "ports", "ports_used")}
    assert values == {"only_pid": 16, "count_only": True, "ports": [80, 443] + [0] * 14, "ports_used": 2}
    other = spec("offcputime")
    apply_settings(other, ["state_mask=-1", "with_user_stacks=false"])
    assert other.variables["state_mask"].get() == -1
    assert other.variables["with_user_stacks"].get() is False


@pytest.mark.parametrize(
    ("setting", "match"),
    [
        ("only_pid", "write NAME=VALUE"),
        ("nothing=1", "no such variable; the object has .*only_pid"),
        ("only_pid=many", "--set only_pid=many: "),
        ("only_pid=4294967296", "--set only_pid=4294967296: "),
        ("ports=1,2,x", "--set ports=1,2,x: "),
        ("ports=" + ",".join("1" * 17), "--set ports="),
    ],
)
def test_a_setting_that_cannot_be_is_a_usage_error(setting, match):
    with pytest.raises(UsageError, match=match):
        apply_settings(spec("tcpconnect"), [setting])
