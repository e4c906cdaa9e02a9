"""bpf(2) through the typed commands, and the layouts against the running kernel's own types."""

import ctypes
import errno
import os
import struct
import sys as python
import uuid

import pytest

import ebpfpy
from ebpfpy import asm, btf, sys
from ebpfpy.errors import KernelError
from ebpfpy.sys import layout
from tests.kernel import features
from tests.kernel.blueprints import path_of
from tests.kernel.needs import require_object

pytestmark = pytest.mark.kernel

ORDER = python.byteorder

NEWER = {
    # Fields that a kernel since 5.10 may not have yet, and roughly which one brought them (a comment only).
    "raw_tracepoint.cookie": "6.10",
    "log_true_size": "6.4",
    "prog_token_fd": "6.9",
    "token_create": "6.9",
    "fd_array_cnt": "6.14",
    "link_create.tracing_multi": "7.2",
    "fd_array": "5.14",
    "core_relo_cnt": "5.17",
    "core_relos": "5.17",
    "core_relo_rec_size": "5.17",
    "attach_btf_obj_fd": "5.11",
    "map_extra": "5.16",
    "value_type_btf_obj_fd": "6.9",
    "map_token_fd": "6.9",
    "excl_prog_hash": "6.18",
    "excl_prog_hash_size": "6.18",
    "path_fd": "6.5",
    "test.batch_size": "5.18",
    "fd_by_id_token_fd": "6.16",
    "btf_log_true_size": "6.4",
    "btf_flags": "6.9",
    "btf_token_fd": "6.9",
    "link_create.perf_event": "5.15",
    "link_create.kprobe_multi": "5.18",
    "link_create.tracing": "5.19",
    "link_create.netfilter": "6.4",
    "link_create.tcx": "6.6",
    "link_create.uprobe_multi": "6.6",
    "link_create.netkit": "6.7",
    "link_create.cgroup": "6.17",
    "link_create.target_btf_id": "5.11",
    "bpf_map_info.btf_vmlinux_id": "6.9",
    "bpf_map_info.map_extra": "5.16",
    "bpf_prog_info.recursion_misses": "5.12",
    "bpf_prog_info.verified_insns": "5.16",
    "bpf_prog_info.attach_btf_obj_id": "5.18",
    "bpf_prog_info.attach_btf_id": "5.18",
    "bpf_btf_info.name": "5.11",
    "bpf_btf_info.name_len": "5.11",
    "bpf_btf_info.kernel_btf": "5.11",
    "bpf_link_info.tracing.target_obj_id": "5.13",
    "bpf_link_info.tracing.target_btf_id": "5.13",
    "bpf_link_info.tracing.cookie": "6.18",
    "bpf_link_info.raw_tracepoint.cookie": "6.18",
    "bpf_link_info.xdp": "5.12",
    "bpf_link_info.struct_ops": "6.4",
    "bpf_link_info.netfilter": "6.4",
    "bpf_link_info.tcx": "6.6",
    "bpf_link_info.netkit": "6.7",
    "bpf_link_info.iter.cgroup": "6.1",
    "bpf_link_info.iter.task": "6.1",
    "bpf_link_info.kprobe_multi": "6.6",
    "bpf_link_info.uprobe_multi": "6.8",
    "bpf_link_info.perf_event": "6.6",
    "bpf_link_info.sockmap": "6.10",
    "relative_fd": "6.6",
    "expected_revision": "6.6",
    "query.prog_attach_flags": "6.0",
    "query.link_ids": "6.6",
    "query.link_attach_flags": "6.6",
    "query.revision": "6.6",
}
"""A field named here may be missing from the running kernel, and everything inside it."""


def kernel_fields(type_, prefix="", base=0):
    """Path -> (offset, size) in bytes of every member of a kernel struct or union."""
    fields = {}
    for member in type_.members:
        inner = btf.resolve(member.type)
        offset = base + member.offset_bits // 8
        path = prefix + member.name
        if isinstance(inner, (btf.Struct, btf.Union)):
            if member.name:
                fields[path] = (offset, btf.sizeof(inner))
            fields |= kernel_fields(inner, f"{path}." if member.name else prefix, offset)
        else:
            fields[path] = (offset, btf.sizeof(inner))
    return fields


def our_fields(cls, prefix="", base=0):
    """The same of a ctypes structure."""
    anonymous = getattr(cls, "_anonymous_", ())
    fields = {}
    for name, type_, *_ in cls._fields_:
        offset = base + getattr(cls, name).offset
        if issubclass(type_, (ctypes.Structure, ctypes.Union)):
            if name not in anonymous:
                fields[prefix + name] = (offset, None)
            fields |= our_fields(type_, prefix if name in anonymous else f"{prefix}{name}.", offset)
        else:
            fields[prefix + name] = (offset, ctypes.sizeof(type_))
    return fields


def is_newer(path):
    parts = path.split(".")
    return any(".".join(parts[:count]) in NEWER for count in range(1, len(parts) + 1))


@pytest.fixture(scope="module")
def kernel():
    return btf.load_kernel_spec()


def compare(theirs, cls, prefix):
    """Paths of `cls` that the kernel does not have; fails on any field in another place."""
    missing = []
    for path, (offset, size) in our_fields(cls, prefix).items():
        if path not in theirs:
            missing.append(path)
            continue
        their_offset, their_size = theirs[path]
        assert (offset, size or their_size) == (their_offset, their_size), path
    return missing


@pytest.mark.parametrize("cls", layout.ATTRS, ids=lambda cls: cls.__name__)
def test_every_attribute_is_where_the_running_kernel_has_it(kernel, cls):
    union = kernel.type_by_name("bpf_attr", btf.Union)
    prefix = f"{cls.MEMBER}." if cls.MEMBER else ""
    missing = compare(kernel_fields(union), cls, prefix)
    assert [path for path in missing if not is_newer(path)] == []


@pytest.mark.parametrize("cls", layout.INFOS, ids=lambda cls: cls.KERNEL)
def test_every_info_field_is_where_the_running_kernel_has_it(kernel, cls):
    struct_ = kernel.type_by_name(cls.KERNEL, btf.Struct)
    missing = compare(kernel_fields(struct_), cls, "")
    assert [path for path in missing if not is_newer(f"{cls.KERNEL}.{path}")] == []


@pytest.mark.parametrize(
    ("enum", "kernel_name", "prefix"),
    [
        (sys.Command, "bpf_cmd", "BPF_"),
        (sys.MapType, "bpf_map_type", "BPF_MAP_TYPE_"),
        (sys.ProgramType, "bpf_prog_type", "BPF_PROG_TYPE_"),
        (sys.AttachType, "bpf_attach_type", "BPF_"),
        (sys.LinkType, "bpf_link_type", "BPF_LINK_TYPE_"),
    ],
)
def test_every_number_is_the_running_kernels(kernel, enum, kernel_name, prefix):
    values = {item.name: item.value for item in kernel.type_by_name(kernel_name, btf.Enum).enumerators}
    wrong = {
        name: (item.value, values[prefix + name])
        for name, item in enum.__members__.items()
        if prefix + name in values and values[prefix + name] != item.value
    }
    assert wrong == {}


def test_the_helpers_numbers_are_the_running_kernels(kernel):
    values = {}
    for spec_enum in kernel.any_types_by_name("bpf_func_id"):
        values |= {item.name: item.value for item in spec_enum.enumerators}
    named = {name: number for name, number in values.items() if name.startswith("BPF_FUNC_")}
    assert named
    assert {name: number for name, number in named.items() if asm.helper_number(name[9:]) != number} == {}


# --- maps -------------------------------------------------------------------------------------------


def u32(number):
    return struct.pack("=I", number)


def u64(number):
    return struct.pack("=Q", number)


@pytest.fixture
def hash_map():
    with sys.map_create(type=sys.MapType.HASH, key_size=4, value_size=8, max_entries=5000, name="t") as fd:
        yield fd


def test_update_lookup_delete(hash_map):
    assert sys.map_lookup(hash_map, u32(1), 8) is None
    sys.map_update(hash_map, u32(1), u64(10))
    assert sys.map_lookup(hash_map, u32(1), 8) == u64(10)
    assert sys.map_delete(hash_map, u32(1)) is True
    assert sys.map_delete(hash_map, u32(1)) is False
    assert sys.map_lookup(hash_map, u32(1), 8) is None


def test_update_flags_say_whether_the_key_may_or_must_exist(hash_map):
    with pytest.raises(FileNotFoundError):
        sys.map_update(hash_map, u32(1), u64(1), flags=2)
    sys.map_update(hash_map, u32(1), u64(1), flags=1)
    with pytest.raises(FileExistsError):
        sys.map_update(hash_map, u32(1), u64(1), flags=1)


def test_next_key_visits_every_key_once(hash_map):
    for number in range(100):
        sys.map_update(hash_map, u32(number), u64(number))
    seen = []
    key = sys.map_next_key(hash_map, None, 4)
    while key is not None:
        seen.append(key)
        key = sys.map_next_key(hash_map, key, 4)
    assert sorted(seen) == sorted(u32(number) for number in range(100))


@pytest.mark.parametrize("count", [1, 7, 4096])
def test_batches_hold_every_element_once_whatever_the_room(hash_map, count):
    elements = {u32(number): u64(number * 3) for number in range(1000)}
    sys.map_update_batch(hash_map, b"".join(elements), b"".join(elements.values()), count=1000)
    found = []
    for batch in sys.map_batches(hash_map, key_size=4, value_size=8, count=count):
        assert len(batch.keys) == batch.elements * 4
        assert len(batch.values) == batch.elements * 8
        found += [(batch.keys[at * 4 : at * 4 + 4], batch.values[at * 8 : at * 8 + 8]) for at in range(batch.elements)]
    assert len(found) == 1000
    assert dict(found) == elements


def test_batches_of_an_array():
    with sys.map_create(type=sys.MapType.ARRAY, key_size=4, value_size=4, max_entries=100) as fd:
        sys.map_update(fd, u32(42), u32(7))
        batches = list(sys.map_batches(fd, key_size=4, value_size=4, count=30))
        assert sum(batch.elements for batch in batches) == 100
        values = struct.unpack("=100I", b"".join(batch.values for batch in batches))
        assert values[42] == 7


def test_lookup_and_delete_batch_empties_the_map(hash_map):
    for number in range(50):
        sys.map_update(hash_map, u32(number), u64(number))
    taken = sys.map_batches(hash_map, key_size=4, value_size=8, count=64, delete=True)
    assert sum(batch.elements for batch in taken) == 50
    assert sys.map_next_key(hash_map, None, 4) is None


def test_delete_batch(hash_map):
    for number in range(10):
        sys.map_update(hash_map, u32(number), u64(number))
    sys.map_delete_batch(hash_map, u32(3) + u32(4), count=2)
    assert sys.map_lookup(hash_map, u32(4), 8) is None
    assert sys.map_lookup(hash_map, u32(5), 8) == u64(5)


def test_a_queue_has_no_keys():
    with sys.map_create(type=sys.MapType.QUEUE, key_size=0, value_size=4, max_entries=4) as fd:
        sys.map_update(fd, None, u32(1))
        sys.map_update(fd, None, u32(2))
        assert sys.map_lookup_and_delete(fd, None, 4) == u32(1)
        assert sys.map_lookup_and_delete(fd, None, 4) == u32(2)
        assert sys.map_lookup_and_delete(fd, None, 4) is None


def test_a_per_cpu_map_has_a_value_for_each_possible_cpu():
    cpus = sys.possible_cpus()
    with sys.map_create(type=sys.MapType.PERCPU_ARRAY, key_size=4, value_size=4, max_entries=1) as fd:
        values = b"".join(u64(number + 1) for number in range(cpus))
        sys.map_update(fd, u32(0), values)
        assert sys.map_lookup(fd, u32(0), 8 * cpus) == values


def test_a_frozen_map_refuses_changes_and_the_error_says_so(hash_map):
    sys.map_freeze(hash_map)
    with pytest.raises(PermissionError, match="frozen") as caught:
        sys.map_update(hash_map, u32(1), u64(1))
    assert isinstance(caught.value, KernelError)
    assert caught.value.call == "BPF_MAP_UPDATE_ELEM"


def test_info_of_a_map(hash_map):
    info = sys.map_info(hash_map)
    assert (info.type, info.key_size, info.value_size, info.max_entries, info.name) == (1, 4, 8, 5000, "t")
    with sys.fd_by_id("map", info.id) as again:
        assert sys.map_info(again) == info


def test_an_impossible_map_is_an_error_with_the_maps_name():
    with pytest.raises(KernelError, match="map odd: BPF_MAP_CREATE") as caught:
        sys.map_create(type=sys.MapType.HASH, key_size=0, value_size=0, max_entries=0, name="odd")
    assert caught.value.errno == errno.EINVAL


def test_a_descriptor_of_something_else_is_an_error():
    with open(os.devnull, "rb") as file, pytest.raises(KernelError) as caught:
        sys.map_lookup(file.fileno(), u32(0), 8)
    assert caught.value.errno == errno.EINVAL


def test_an_id_that_nobody_has_is_a_file_not_found_error():
    with pytest.raises(FileNotFoundError, match="prog id 4294967295"):
        sys.fd_by_id("prog", 0xFFFFFFFF)


def test_ids_go_up_and_end(hash_map):
    ids = []
    number = sys.next_id("map")
    while number is not None:
        ids.append(number)
        number = sys.next_id("map", number)
    assert ids == sorted(set(ids))
    assert sys.map_info(hash_map).id in ids


def test_a_failed_creation_leaks_no_descriptor():
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(10):
        with pytest.raises(KernelError):
            sys.map_create(type=sys.MapType.ARRAY, key_size=3, value_size=1, max_entries=1)
        with pytest.raises(KernelError):
            sys.prog_load(type=sys.ProgramType.SOCKET_FILTER, insns=bytes(8))
    assert len(os.listdir("/proc/self/fd")) == before


# --- programs and BTF ---------------------------------------------------------------------------------

RETURN_7 = asm.encode([asm.mov_imm(0, 7), asm.exit_()], ORDER)
NO_RESULT = asm.encode([asm.exit_()], ORDER)


def load(code, **options):
    return sys.prog_load(type=sys.ProgramType.SOCKET_FILTER, insns=code, license="GPL", name="p", **options)


def test_a_program_is_loaded_run_and_read_back():
    program, log = load(RETURN_7)
    with program:
        assert log == ""
        assert sys.prog_test_run(program, data=bytes(14)).retval == 7
        assert sys.prog_instructions(program) == RETURN_7
        info = sys.prog_info(program)
        assert (info.type, info.name, info.gpl_compatible, info.map_ids) == (1, "p", True, ())


def test_functions_and_lines_of_a_program_are_read_back():
    require_object("subprogs.bpf.o")
    with ebpfpy.load_collection(path_of("subprogs.bpf.o")) as collection:
        program, types = collection.programs["second"], collection.spec.types
        functions = sys.prog_func_infos(program)
        assert [types.type_by_id(number).name for _, number in functions] == [
            each.name for each in program.spec.functions
        ]
        assert [at for at, _ in functions] == [each.start for each in program.spec.functions]
        lines = sys.prog_line_infos(program)
        assert {types.string(file) for _, file, _, _ in lines} == {"./subprogs.bpf.c"}
        assert len(lines) == program.info.nr_line_info
    with load(RETURN_7)[0] as bare:
        assert sys.prog_func_infos(bare) == sys.prog_line_infos(bare) == ()


def test_the_packet_comes_back():
    program, _ = load(RETURN_7)
    with program:
        packet = bytes(range(64))
        assert len(sys.prog_test_run(program, data=packet, data_size_out=256).data) > 0


def test_a_program_knows_its_maps(hash_map):
    code = asm.encode([asm.ld_map_fd(1, hash_map.fileno()), asm.mov_imm(0, 0), asm.exit_()], ORDER)
    program, _ = load(code)
    with program:
        assert sys.prog_info(program).map_ids == (sys.map_info(hash_map).id,)


def test_a_log_is_given_on_request():
    program, log = load(RETURN_7, log_level=2, log_size=4096)
    with program:
        assert "0: (b7) r0 = 7" in log


def test_a_refused_program_has_the_verifiers_log_only_if_there_was_room():
    with pytest.raises(PermissionError, match="program p: BPF_PROG_LOAD") as caught:
        load(NO_RESULT)
    assert caught.value.log == ""
    with pytest.raises(PermissionError) as caught:
        load(NO_RESULT, log_level=1, log_size=4096)
    assert "R0 !read_ok" in caught.value.log


def test_a_log_that_does_not_fit_is_enospc_and_a_larger_one_fits():
    size = 128
    code = asm.encode([asm.mov_imm(0, 1)] * 50, ORDER) + RETURN_7
    with pytest.raises(KernelError) as caught:
        load(code, log_level=2, log_size=size)
    assert caught.value.errno == errno.ENOSPC
    needed = caught.value.log_true_size or 1 << 16
    assert needed > size
    program, log = load(code, log_level=2, log_size=needed)
    with program:
        assert "51: (95) exit" in log


def test_btf_of_the_kernel_comes_back_byte_for_byte():
    features.since("5.11", features.no_objects_of_the_kernel())
    number = sys.next_id("btf")
    while number is not None:
        with sys.fd_by_id("btf", number) as handle:
            info = sys.btf_info(handle)
            if info.name == "vmlinux":
                assert info.kernel_btf
                with open("/sys/kernel/btf/vmlinux", "rb") as file:
                    assert sys.btf_data(handle) == file.read()
                return
        number = sys.next_id("btf", number)
    pytest.fail("no BTF object is called vmlinux")


def test_btf_is_loaded_and_read_back():
    strings = b"\0int\0"
    types = struct.pack("=IIII", 1, 1 << 24, 4, 1 << 24 | 32)
    header = struct.pack("=HBBIIIII", 0xEB9F, 1, 0, 24, 0, len(types), len(types), len(strings))
    handle, log = sys.btf_load(header + types + strings, name="mine", log_level=1, log_size=4096)
    with handle:
        assert "INT int" in log
        assert sys.btf_data(handle) == header + types + strings
        assert not sys.btf_info(handle).kernel_btf


def test_refused_btf_has_a_log():
    with pytest.raises(KernelError, match="BTF broken: BPF_BTF_LOAD") as caught:
        sys.btf_load(bytes(24), name="broken", log_level=1, log_size=4096)
    assert caught.value.errno == errno.EINVAL


# --- links and pins -----------------------------------------------------------------------------------


def test_a_raw_tracepoint_is_attached_and_known_by_name():
    code = asm.encode([asm.mov_imm(0, 0), asm.exit_()], ORDER)
    program, _ = sys.prog_load(type=sys.ProgramType.RAW_TRACEPOINT, insns=code, license="GPL", name="raw")
    with program, sys.raw_tracepoint_open(program, "sched_switch") as link:
        info = sys.link_info(link)
        assert (info.type, info.target) == (sys.LinkType.RAW_TRACEPOINT, "sched_switch")
        assert info.prog_id == sys.prog_info(program).id


def test_a_tp_btf_program_is_attached_by_raw_tracepoint_open_and_by_link_create(kernel):
    target = kernel.type_id(kernel.type_by_name("btf_trace_sched_switch", btf.Typedef))
    code = asm.encode([asm.mov_imm(0, 0), asm.exit_()], ORDER)
    program, _ = sys.prog_load(
        type=sys.ProgramType.TRACING,
        expected_attach_type=sys.AttachType.TRACE_RAW_TP,
        attach_btf_id=target,
        insns=code,
        license="GPL",
        name="tp",
    )
    with program:
        with sys.raw_tracepoint_open(program) as link:
            info = sys.link_info(link)
            assert (info.type, info.target) == (sys.LinkType.RAW_TRACEPOINT, "sched_switch")
        if "link_create.tracing" not in kernel_fields(kernel.type_by_name("bpf_attr", btf.Union)):
            features.since("5.19", "this kernel makes no such link with BPF_LINK_CREATE")
        options = sys.TracingOptions(cookie=0)
        with sys.link_create(program, attach_type=sys.AttachType.TRACE_RAW_TP, options=options) as link:
            assert sys.link_info(link).target == "sched_switch"


def test_a_fentry_program_is_attached_and_its_target_known(kernel):
    target = kernel.type_id(kernel.type_by_name("do_nanosleep", btf.Func))
    code = asm.encode([asm.mov_imm(0, 0), asm.exit_()], ORDER)
    try:
        program, _ = sys.prog_load(
            type=sys.ProgramType.TRACING,
            expected_attach_type=sys.AttachType.TRACE_FENTRY,
            attach_btf_id=target,
            insns=code,
            license="GPL",
            name="fe",
        )
    except PermissionError as error:
        features.require(f"this kernel's policy refuses fentry programs: {error}")
    with program, sys.raw_tracepoint_open(program) as link:
        info = sys.link_info(link)
        assert (info.type, info.attach_type) == (sys.LinkType.TRACING, sys.AttachType.TRACE_FENTRY)
        if info.target_btf_id:
            assert info.target_btf_id == target


def test_an_unknown_tracepoint_is_an_error_that_names_it():
    code = asm.encode([asm.mov_imm(0, 0), asm.exit_()], ORDER)
    program, _ = sys.prog_load(type=sys.ProgramType.RAW_TRACEPOINT, insns=code, license="GPL", name="raw")
    with program, pytest.raises(FileNotFoundError, match="raw tracepoint no_such"):
        sys.raw_tracepoint_open(program, "no_such")


@pytest.fixture
def bpffs():
    features.require(features.no_bpffs())
    return features.BPFFS


def test_a_pin_keeps_an_object_alive(bpffs):
    path = os.path.join(bpffs, f"ebpfpy-{uuid.uuid4().hex}")
    with sys.map_create(type=sys.MapType.ARRAY, key_size=4, value_size=4, max_entries=1, name="pinned") as fd:
        sys.obj_pin(fd, path)
        try:
            with pytest.raises(FileExistsError):
                sys.obj_pin(fd, path)
            number = sys.map_info(fd).id
            fd.close()
            with sys.obj_get(path) as again:
                assert sys.map_info(again).id == number
        finally:
            os.unlink(path)
    with pytest.raises(FileNotFoundError):
        sys.obj_get(path)
