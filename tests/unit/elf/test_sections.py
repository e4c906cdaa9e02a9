"""Names of sections: what they say about their programs."""

from __future__ import annotations

import pytest

from ebpfpy.elf.sections import TABLE, match
from ebpfpy.sys.enums import AttachType, ProgramFlags, ProgramType

CASES = [
    # name, type, attach type, flags, attach_to, module
    ("socket", "SOCKET_FILTER", None, 0, "", None),
    ("xdp", "XDP", "XDP", 0, "", None),
    ("xdp.frags/devmap", "XDP", "XDP_DEVMAP", ProgramFlags.XDP_HAS_FRAGS, "", None),
    ("kprobe/vfs_read", "KPROBE", None, 0, "vfs_read", None),
    ("kprobe", "KPROBE", None, 0, "", None),
    ("kprobe.multi/vfs_*", "KPROBE", "TRACE_KPROBE_MULTI", 0, "vfs_*", None),
    ("uprobe.s//bin/true:main", "KPROBE", None, ProgramFlags.SLEEPABLE, "/bin/true:main", None),
    ("tp/syscalls/sys_enter_openat", "TRACEPOINT", None, 0, "syscalls/sys_enter_openat", None),
    ("raw_tp/sys_enter", "RAW_TRACEPOINT", None, 0, "sys_enter", None),
    ("raw_tp.w/x", "RAW_TRACEPOINT_WRITABLE", None, 0, "x", None),
    ("tp_btf/sched_switch", "TRACING", "TRACE_RAW_TP", 0, "sched_switch", None),
    ("fentry/tun:tun_chr_open", "TRACING", "TRACE_FENTRY", 0, "tun_chr_open", "tun"),
    ("fexit.s/vfs_read", "TRACING", "TRACE_FEXIT", ProgramFlags.SLEEPABLE, "vfs_read", None),
    ("fmod_ret/m:f", "TRACING", "MODIFY_RETURN", 0, "f", "m"),
    ("fsession/m:f", "TRACING", "TRACE_FSESSION", 0, "f", "m"),
    ("fentry.multi/vfs_*", "TRACING", "TRACE_FENTRY_MULTI", 0, "vfs_*", None),
    ("fexit.multi.s/tun:tun_*", "TRACING", "TRACE_FEXIT_MULTI", ProgramFlags.SLEEPABLE, "tun_*", "tun"),
    ("fsession.multi/f", "TRACING", "TRACE_FSESSION_MULTI", 0, "f", None),
    (
        "uprobe.session.s/libc.so.6:get*",
        "KPROBE",
        "TRACE_UPROBE_SESSION",
        ProgramFlags.SLEEPABLE,
        "libc.so.6:get*",
        None,
    ),
    ("fexit/:f", "TRACING", "TRACE_FEXIT", 0, "f", ""),
    ("lsm.s/bpf", "LSM", "LSM_MAC", ProgramFlags.SLEEPABLE, "bpf", None),
    ("lsm_cgroup/socket_bind", "LSM", "LSM_CGROUP", 0, "socket_bind", None),
    ("iter/task", "TRACING", "TRACE_ITER", 0, "task", None),
    ("freplace/f", "EXT", None, 0, "f", None),
    ("cgroup/connect4", "CGROUP_SOCK_ADDR", "CGROUP_INET4_CONNECT", 0, "", None),
    ("cgroup_skb/egress", "CGROUP_SKB", "CGROUP_INET_EGRESS", 0, "", None),
    ("syscall", "SYSCALL", None, ProgramFlags.SLEEPABLE, "", None),
]


@pytest.mark.parametrize("row", CASES, ids=lambda row: row[0])
def test_a_section_name_says_type_attach_type_flags_and_target(row):
    name, kind, attach_type, flags, attach_to, module = row
    found = match(name)
    assert found is not None
    assert found.kind.type is ProgramType[kind]
    assert found.kind.attach_type == (None if attach_type is None else AttachType[attach_type])
    assert found.kind.flags == flags
    assert (found.attach_to, found.attach_module) == (attach_to, module)
    assert found.autoload


@pytest.mark.parametrize("row", CASES, ids=lambda row: row[0])
def test_a_question_mark_changes_autoload_only(row):
    name, _, _, _, attach_to, module = row
    plain, optional = match(name), match("?" + name)
    assert optional is not None
    assert not optional.autoload
    assert (optional.kind, optional.attach_to, optional.attach_module) == (plain.kind, attach_to, module)


@pytest.mark.parametrize(
    "name",
    ["", "?", "mystery/section", "xdp/eth0", "socket/x", "kprobes/f", "cgroup/nothing", "fentryx/f", "/"],
)
def test_other_names_mean_nothing(name):
    assert match(name) is None


def test_a_suffix_alone_decides_whether_programs_may_sleep_or_take_fragments():
    for kind in TABLE:
        head = kind.pattern.partition("/")[0]
        assert bool(kind.flags & ProgramFlags.SLEEPABLE) == (head.endswith(".s") or head == "syscall"), kind.pattern
        assert bool(kind.flags & ProgramFlags.XDP_HAS_FRAGS) == head.endswith(".frags"), kind.pattern


def test_no_two_rows_of_the_table_have_the_same_name():
    assert len({kind.pattern for kind in TABLE}) == len(TABLE)


def test_every_row_answers_to_its_own_name():
    for kind in TABLE:
        assert match(kind.pattern).kind is kind
        if kind.extra:
            found = match(kind.pattern + "/a/b:c")
            assert found.kind is kind
            assert (found.attach_to, found.attach_module) == (("c", "a/b") if kind.module else ("a/b:c", None))
