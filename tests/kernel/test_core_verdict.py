"""Relocated programs are run, and say what CO-RE told them: that must be what the kernel's own types say.

Three answers to one question are compared: what the program returned, what the fixups promise, and what the `btf`
classes say of the running kernel, which the relocator has no part in. A fourth is libbpf's, which loads the same file.
"""

import json
import os
import subprocess
import sys as python
from contextlib import contextmanager
from pathlib import Path

import pytest

import ebpfpy
from ebpfpy import btf
from tests.differential import libbpf
from tests.kernel.blueprints import path_of
from tests.kernel.features import require
from tests.kernel.needs import require_object

OBJECTS = ["core_verdict-clang14-el.o", "core_verdict-clang19-el.o", "core_verdict.bpf.o", "core_linked.bpf.o"]
NO, YES = 1000, 1001
RESET_ON_FORK = "sched_reset_on_fork"
NEWER_CLANG = "type_matches"  # what older compilers cannot ask, by the names of the programs


class Kernel:
    """The running kernel's types, asked in plain words."""

    def __init__(self, spec):
        self.spec = spec

    def type(self, name, kind=btf.Struct):
        return self.spec.type_by_name(name, kind)

    def bits(self, of, path):
        """The offset of a member in bits, through anonymous members, and the member."""
        first, _, rest = path.partition(".")
        for member in of.members:
            inner = btf.resolve(member.type)
            if member.name == first:
                if not rest:
                    return member.offset_bits, member
                deeper, last = self.bits(inner, rest)
                return member.offset_bits + deeper, last
            if not member.name and isinstance(inner, btf.Struct | btf.Union):
                try:
                    deeper, last = self.bits(inner, path)
                except LookupError:
                    continue
                return member.offset_bits + deeper, last
        raise LookupError(path)

    def offset(self, name, path, kind=btf.Struct):
        return self.bits(self.type(name, kind), path)[0] // 8

    def member(self, name, path):
        return self.bits(self.type(name), path)[1]

    def size(self, name, path):
        return btf.sizeof(self.member(name, path).type)

    def enumerator(self, enum, name):
        return next(each.value for each in self.type(enum, btf.Enum).enumerators if each.name == name)

    def id(self, name, kind=btf.Struct):
        return self.spec.type_id(self.type(name, kind))


def expected(kernel, types, pid, ppid):
    """What each program has to return, by the kernel's types, and by this process's own state."""
    reset = kernel.bits(kernel.type("task_struct"), RESET_ON_FORK)[0]
    unit = reset // 32 * 4  # bytes: where the 32-bit unit of the bit-field begins
    numbers = kernel.offset("pid", "numbers")
    upid = kernel.type("upid")
    stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    flags = int(stat[6])  # PF_* of the calling task: field 9 in proc(5)
    wide = kernel.enumerator("perf_callchain_context", "PERF_CONTEXT_KERNEL")
    return {
        "off_member": kernel.offset("task_struct", "pid"),
        "off_flavour": kernel.offset("task_struct", "flags"),
        "off_signed_of_another_size": kernel.offset("task_struct", "tgid"),
        "off_nested_anonymous": kernel.offset("dentry", "d_name.len"),
        "off_moved_into_anonymous": kernel.offset("sk_buff", "dev"),
        "off_element": kernel.offset("task_struct", "comm") + 3,
        "off_element_of_flexible": numbers + 2 * btf.sizeof(upid) + kernel.offset("upid", "nr"),
        "off_first_element": numbers + kernel.offset("upid", "nr"),
        "off_root_element": 3 * btf.sizeof(kernel.type("list_head")) + kernel.offset("list_head", "prev"),
        "off_typedef_root": 1000,
        "off_union_root": kernel.offset("bpf_attr", "insn_cnt", btf.Union),
        "off_bitfield": unit,
        "size_member": kernel.size("sk_buff", "transport_header"),
        "size_array": kernel.size("task_struct", "comm"),
        "size_element": 1,
        "size_struct": btf.sizeof(kernel.type("qstr")),
        "size_changed": kernel.size("task_struct", "start_time"),
        "size_bitfield": 4,
        "exists_member": YES,
        "exists_no_member": NO,
        "exists_int_for_pointer": NO,
        "exists_pointer_for_int": NO,
        "exists_int_of_another_size": YES,
        "exists_element_beyond": YES,
        "exists_no_type": NO,
        "sign_of_signed": YES,
        "sign_of_unsigned": NO,
        "shift_left": 64 - (reset + 1 - unit * 8),
        "shift_right": 63,
        "shift_of_plain": 32,
        "type_local_id": types.type_id(types.type_by_name("task_struct", btf.Struct)),
        "type_local_id_of_typedef": types.type_id(types.type_by_name("atomic_t", btf.Typedef)),
        "type_id": kernel.id("task_struct"),
        "type_id_of_typedef": kernel.id("atomic_t", btf.Typedef),
        "type_no_id": NO,
        "type_exists": YES,
        "type_exists_union": YES,
        "type_exists_typedef": YES,
        "type_exists_enum": YES,
        "type_exists_function": YES,
        "type_exists_function_with_few": NO,
        "type_exists_function_of_long": NO,
        "type_exists_not": NO,
        "type_size": btf.sizeof(kernel.type("task_struct")),
        "type_no_size": NO,
        "type_matches": YES,
        "type_matches_less": YES,
        "type_matches_more": NO,
        "type_matches_changed": NO,
        "type_matches_pointer": YES,
        "type_matches_enum": YES,
        "type_matches_no_enum": NO,
        "enum_exists": YES,
        "enum_exists_not": NO,
        "enum_exists_no_enum": NO,
        "enum_value": kernel.enumerator("pid_type", "PIDTYPE_TGID"),
        "enum_negative": kernel.enumerator("perf_event_state", "PERF_EVENT_STATE_DEAD") & 0xFFFF_FFFF,
        "enum_wide": wide & 0xFFFF_FFFF,
        "enum_wide_upper_half": wide >> 32 & 0xFFFF_FFFF,
        "load_member": pid,
        "load_through_pointers": ppid,
        "load_probed": ppid,
        "load_flags": flags,
        "load_flags_as_wide": flags,
        "load_flags_as_wide_upper_half": 0,
        "load_flags_as_narrow": flags,
        "load_bitfield": NO,
        "load_bitfield_probed": NO,
    }


def load(name, cache):
    """The collection, without the programs of core_kinds that core_linked has besides."""
    require_object(name)
    spec = ebpfpy.load_collection_spec(path_of(name))
    for program in [each for each in spec.programs if each.startswith("core_")]:
        del spec.programs[program]
    return ebpfpy.Collection(spec, ebpfpy.CollectionOptions(cache=cache))


@pytest.mark.parametrize("name", OBJECTS)
def test_every_program_returns_what_the_kernels_types_say(name, cache):
    with load(name, cache) as collection:
        returned = {each.name: each.test_run().retval for each in collection.programs.values()}
        wanted = expected(Kernel(cache.kernel()), collection.spec.types, os.getpid(), os.getppid())
    if "clang14" in name:
        wanted = {program: value for program, value in wanted.items() if not program.startswith(NEWER_CLANG)}
    assert returned == wanted


@pytest.mark.parametrize("name", OBJECTS)
def test_every_program_returns_what_its_fixup_promises(name, cache):
    compared = 0
    with load(name, cache) as collection:
        for program in collection.programs.values():
            if len(program.fixups) != 1 or program.name.startswith("load"):
                continue
            (fixup,) = program.fixups
            promised = fixup.target_value >> (32 if program.name.endswith("upper_half") else 0) & 0xFFFF_FFFF
            assert program.test_run().retval in (promised, promised + 1000), fixup.explain()
            compared += 1
    assert compared > 40


@contextmanager
def reset_on_fork():
    """The calling task's bit sched_reset_on_fork is set in the block."""
    policy, parameters = os.sched_getscheduler(0), os.sched_getparam(0)
    os.sched_setscheduler(0, policy | os.SCHED_RESET_ON_FORK, parameters)
    try:
        yield
    finally:
        os.sched_setscheduler(0, policy, parameters)


def test_a_bitfield_reads_as_the_kernel_has_set_it(cache):
    with load("core_verdict.bpf.o", cache) as collection:
        programs = [collection.programs[name] for name in ("load_bitfield", "load_bitfield_probed")]
        assert [each.test_run().retval for each in programs] == [NO, NO]
        with reset_on_fork():
            assert [each.test_run().retval for each in programs] == [YES, YES]
        assert [each.test_run().retval for each in programs] == [NO, NO]


@pytest.mark.parametrize("name", ["core_verdict-clang14-el.o", "core_verdict-clang19-el.o", "core_verdict.bpf.o"])
def test_libbpf_loads_the_same_file_and_its_programs_return_the_same(name, cache):
    require(libbpf.why_not())
    require_object(name)
    done = subprocess.run(
        [python.executable, "-m", "tests.kernel.libbpf_verdicts", path_of(name)],
        capture_output=True, text=True, check=False, timeout=60, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    theirs = json.loads(done.stdout)
    with load(name, cache) as collection:
        ours = {each.name: each.test_run().retval for each in collection.programs.values()}
    assert theirs["verdicts"].pop("load_member") == theirs["pid"]
    for program in ("load_through_pointers", "load_probed"):
        assert theirs["verdicts"].pop(program) == theirs["ppid"] == os.getpid()
    for program in list(theirs["verdicts"]):
        if program.startswith("load_flags"):  # of another process
            assert theirs["verdicts"].pop(program) & 0xFFFF_0000 == ours[program] & 0xFFFF_0000
    assert theirs["verdicts"] == {program: ours[program] for program in theirs["verdicts"]}
    assert len(theirs["verdicts"]) > 40
