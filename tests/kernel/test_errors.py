"""What the kernel or the object refuses: each error says what, where and why, and leaves nothing open."""

import errno
import gc
import os
import time
from contextlib import suppress

import attrs
import pytest

import ebpfpy
from ebpfpy import asm, btf, core, features, link, sys
from ebpfpy.elf import Reference, ReferenceKind
from ebpfpy.errors import (
    EbpfError,
    ElfError,
    InputError,
    KernelError,
    RelocationError,
    TargetNotFoundError,
    UnsupportedError,
    VerifierError,
    kernel_error,
)
from ebpfpy.loader import create_map
from ebpfpy.loader.externs import Externs
from ebpfpy.loader.lacking import unnamed_reason
from tests.kernel.blueprints import TESTDATA, collection_of, path_of, program_of
from tests.kernel.needs import require_object


@pytest.fixture(scope="module")
def older_types():
    """The types of a kernel without struct task_struct's member saved_state."""
    return btf.load_spec(TESTDATA / "btf" / "6.1.0-56-amd64" / "vmlinux.btf.xz")


def descriptors():
    """What is open, apart from kernel types that are mapped."""
    gc.collect()
    numbers = os.listdir("/proc/self/fd")
    links = [os.readlink(f"/proc/self/fd/{number}") for number in numbers if os.path.exists(f"/proc/self/fd/{number}")]
    return sorted(target for target in links if "bpf" in target or "btf" in target)


def objects_called(*names):
    """The programs and maps in the kernel that have one of the names, once it has had time to let go of others."""
    end = time.monotonic() + 10
    while (found := [name for name in _names() if name in names]) and time.monotonic() < end:
        time.sleep(0.01)
    return found


def _names():
    for kind, info in (("prog", sys.prog_info), ("map", sys.map_info)):
        number = 0
        while (number := sys.next_id(kind, number)) is not None:
            try:
                with sys.fd_by_id(kind, number) as fd:
                    yield info(fd).name
            except FileNotFoundError:
                continue


# --- the verifier -------------------------------------------------------------------------------------


def test_the_verifiers_reason_is_the_message_and_its_log_an_attribute():
    spec = collection_of(program_of([asm.exit_()], name="no_result"))
    with pytest.raises(VerifierError) as caught:
        ebpfpy.Collection(spec)
    error = caught.value
    assert error.reason == "R0 !read_ok"
    assert str(error).startswith("program no_result: R0 !read_ok [EACCES]")
    assert "0: (95) exit" in error.log
    assert error.program == "no_result"
    assert error.errno == errno.EACCES
    assert isinstance(error, KernelError)
    assert isinstance(error, PermissionError)


def test_a_refusal_with_einval_is_no_permission_error():
    spec = collection_of(program_of([asm.mov_imm(0, 0), asm.jump(-2), asm.exit_()]))
    with pytest.raises(VerifierError) as caught:
        ebpfpy.Collection(spec)
    assert caught.value.errno == errno.EINVAL
    assert not isinstance(caught.value, PermissionError)


def test_a_log_that_older_kernels_do_not_take_is_named_beside_what_this_one_lacks():
    spec = collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()]))
    program = spec.programs["by_hand"]
    program.type, program.attach_type = sys.ProgramType.CGROUP_SOCK_ADDR, sys.AttachType.CGROUP_SYSCTL
    for size, named in (((1 << 24) - 1, False), (1 << 24, True)):
        options = ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(log_level=1, log_size=size))
        with pytest.raises(KernelError, match="have no attach type CGROUP_SYSCTL") as caught:
            ebpfpy.Collection(spec, options)
        assert ("log_size 16777216 may be too large: before Linux 5.2" in str(caught.value)) is named


def test_a_log_that_does_not_fit_is_asked_for_again_until_it_does():
    code = [asm.mov_imm(1, number) for number in range(3000)]
    spec = collection_of(program_of([*code, asm.exit_()]))
    options = ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(log_level=1, log_size=128))
    with pytest.raises(VerifierError) as caught:
        ebpfpy.Collection(spec, options)
    assert caught.value.reason == "R0 !read_ok"
    assert caught.value.log.count("\n") > 3000


def test_a_log_can_be_had_of_a_program_that_loads():
    spec = collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()]))
    options = ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(log_level=2))
    with ebpfpy.Collection(spec, options) as collection:
        assert "(95) exit" in collection.programs["by_hand"].log
    with ebpfpy.Collection(spec) as collection:
        assert collection.programs["by_hand"].log == ""


def test_a_poisoned_relocation_is_named_instead_of_an_unknown_helper(older_types):
    options = ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(kernel_types=[older_types]))
    with pytest.raises(VerifierError) as caught:
        ebpfpy.load_collection(path_of("core_many.bpf.o"), options)
    error = caught.value
    assert error.program == "many_task_struct"
    assert "CO-RE relocation byte_off of" in error.reason
    assert "struct task_struct.saved_state" in error.reason
    assert "no member 'saved_state'" in error.reason
    assert "invalid func unknown" not in error.log
    assert "195896080" not in str(error)


def poisoned_subprogram():
    """A program whose second function has a relocation without an answer."""
    types = ebpfpy.load_collection_spec(path_of("tun.bpf.o")).types
    local = types.type_id(types.type_by_name("ebpfpy_no_such_type", btf.Struct))
    code = [
        asm.mov_imm(1, 0),
        asm.call_local(2),
        asm.mov_imm(0, 0),
        asm.exit_(),
        asm.mov_imm(0, 0),
        asm.exit_(),
    ]
    field = core.Relocation(types, local, "0:0", core.RelocationKind.BYTE_OFF, insn=4, function="inner")
    return program_of(code, relocations=(field,))


def test_a_poisoned_relocation_in_a_subprogram_is_found_too(older_types):
    options = ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(kernel_types=[older_types]))
    with pytest.raises(VerifierError, match=r"byte_off of .*struct ebpfpy_no_such_type\.member"):
        ebpfpy.Collection(collection_of(poisoned_subprogram()), options)


def test_a_poisoned_relocation_that_is_never_reached_does_no_harm():
    require_object("core_kinds.bpf.o")
    with ebpfpy.load_collection(path_of("core_kinds.bpf.o")) as collection:
        poisoned = [fixup for program in collection.programs.values() for fixup in program.fixups if fixup.poisoned]
    assert {fixup.kind for fixup in poisoned} >= {core.RelocationKind.BYTE_OFF}


# --- refused before the verifier looked ---------------------------------------------------------------


def refusal_of(program):
    with pytest.raises(KernelError) as caught:
        ebpfpy.Collection(collection_of(program))
    return caught.value


def test_a_type_of_programs_that_the_kernel_lacks_is_named_with_the_first_kernel_that_has_it():
    known = {}
    for kind in filter(None, sys.ProgramType):
        with suppress(PermissionError):  # a policy has an answer ready before the kernel has
            known[kind] = features.have_program_type(kind)
    lacking = [kind for kind, answer in known.items() if not answer]
    for kind in lacking:
        expected = {sys.ProgramType.NETFILTER: sys.AttachType.NETFILTER}.get(kind)
        text = str(refusal_of(program_of([asm.mov_imm(0, 0), asm.exit_()], kind=kind, attach_type=expected)))
        assert f"this kernel does not have program type {kind.name}: Linux {known[kind].minimum} and newer" in text
    assert len(known) - len(lacking) > 25


def test_an_attach_type_that_the_kernel_lacks_is_named():
    unknown = program_of(
        [asm.mov_imm(0, 1), asm.exit_()], kind=sys.ProgramType.CGROUP_SOCK_ADDR, attach_type=1000, section="cgroup/new"
    )
    error = refusal_of(unknown)
    assert error.errno == errno.EINVAL
    assert str(error).startswith("program by_hand (cgroup/new): BPF_PROG_LOAD: ")
    assert "this kernel does not have attach type 1000" in str(error)
    unix = sys.AttachType.CGROUP_UNIX_CONNECT
    known = program_of([asm.mov_imm(0, 1), asm.exit_()], kind=sys.ProgramType.CGROUP_SOCK_ADDR, attach_type=unix)
    if features.have_attach_type(unix):
        ebpfpy.Collection(collection_of(known)).close()
    else:
        text = "this kernel does not have attach type CGROUP_UNIX_CONNECT: Linux 6.7 and newer have it"
        assert text in str(refusal_of(known))


def test_an_attach_type_that_does_not_go_with_the_type_is_named():
    code, kind = [asm.mov_imm(0, 1), asm.exit_()], sys.ProgramType.CGROUP_SKB
    program = program_of(code, kind=kind, attach_type=sys.AttachType.XDP)
    assert "programs of type CGROUP_SKB have no attach type XDP" in str(refusal_of(program))


def test_a_type_that_needs_an_attach_type_says_so():
    program = program_of([asm.mov_imm(0, 1), asm.exit_()], kind=sys.ProgramType.CGROUP_SOCKOPT)
    assert "programs of type CGROUP_SOCKOPT need an attach type" in str(refusal_of(program))


def test_a_flag_that_no_program_can_have_is_named():
    program = program_of([asm.mov_imm(0, 0), asm.exit_()], flags=1 << 30)
    assert "programs cannot have the flag 0x40000000 on this kernel" in str(refusal_of(program))


def test_where_nothing_is_missing_the_reason_says_what_was_asked_for():
    kind, how = sys.ProgramType.CGROUP_SOCK_ADDR, sys.AttachType.CGROUP_INET4_CONNECT
    program = program_of([asm.mov_imm(0, 1), asm.exit_()], kind=kind, attach_type=how)
    refusal = kernel_error(errno.EINVAL, "BPF_PROG_LOAD")  # of a program that is in order
    text = (
        "this kernel has what was asked for, by itself: program type CGROUP_SOCK_ADDR, attach type CGROUP_INET4_CONNECT"
    )
    assert unnamed_reason(program, refusal, of_module=False) == text


def test_a_program_of_too_many_instructions_says_how_many():
    program = program_of([asm.mov_imm(0, 0), asm.exit_()])
    program.code = program.code[:8] * 1_000_001 + program.code[8:]
    error = refusal_of(program)
    assert error.errno == errno.E2BIG
    assert "it has 1000002 instructions: the kernel takes 1000000" in str(error)


def test_an_instruction_of_a_newer_set_is_named_with_its_kernel():
    swap = asm.Instruction(0xD7, 0, 0, 0, 16)  # bswap16, of -mcpu=v4
    code = [asm.mov_imm(0, 0), swap, asm.mov_imm(0, 0), asm.exit_()]
    if features.have_isa(4):  # what it is asked with includes this instruction
        ebpfpy.Collection(collection_of(program_of(code))).close()
        return
    with pytest.raises(VerifierError, match=r"Linux 6\.6 and newer have it.*; or compile with a lower -mcpu"):
        ebpfpy.Collection(collection_of(program_of(code)))


# --- objects and blueprints that cannot be loaded -----------------------------------------------------


@pytest.mark.parametrize("name", sorted(path.name for path in TESTDATA.glob("*-eb.o")))
def test_an_object_of_the_other_byte_order_is_read_but_not_loaded(name):
    spec = ebpfpy.load_collection_spec(path_of(name))
    assert spec.byte_order == "big"
    with pytest.raises(UnsupportedError, match="big-endian code cannot be loaded on this little-endian machine"):
        ebpfpy.Collection(spec)


def test_a_program_of_the_other_byte_order_in_a_right_collection_is_refused():
    program = ebpfpy.load_collection_spec(path_of("demo-clang19-eb.o")).programs["on_exec"]
    with pytest.raises(UnsupportedError, match="program on_exec: big-endian code"):
        ebpfpy.Collection(collection_of(program))


def test_a_map_in_the_old_style_is_refused_with_what_to_write_instead():
    with pytest.raises(ElfError, match=r'in a section "\.maps"'):
        ebpfpy.load_collection(path_of("legacy_maps.bpf.o"))


def test_a_program_of_an_unknown_section_says_which():
    spec = ebpfpy.load_collection_spec(path_of("sections.bpf.o"))
    with pytest.raises(UnsupportedError, match="section 'mystery/section'"):
        ebpfpy.Collection(collection_of(spec.programs["p_unknown"]))


def test_a_reference_to_a_map_that_is_not_there_names_both():
    program = program_of(
        [asm.ld_map_fd(1, 0), asm.mov_imm(0, 0), asm.exit_()],
        references=(Reference(0, ReferenceKind.MAP, "nowhere"),),
    )
    with pytest.raises(InputError, match="program by_hand refers to map 'nowhere', which is not there"):
        ebpfpy.Collection(collection_of(program))


# --- tracepoints --------------------------------------------------------------------------------------


def tracepoint(attach_type, kind, to, section):
    code = [asm.mov_imm(0, 0), asm.exit_()]
    return program_of(code, kind=kind, section=f"{section}/{to}", attach_type=attach_type, attach_to=to)


def test_a_tracepoint_with_types_that_is_not_there_is_not_found_and_neighbours_are_named():
    program = tracepoint(sys.AttachType.TRACE_RAW_TP, sys.ProgramType.TRACING, "sched_swich", "tp_btf")
    with pytest.raises(TargetNotFoundError, match="no tracepoint 'sched_swich'") as caught:
        ebpfpy.Collection(collection_of(program))
    assert caught.value.searched[0] == "vmlinux"
    assert "sched_switch" in str(caught.value)
    assert "btf_trace_" not in str(caught.value)


def test_a_raw_tracepoint_that_is_not_there_is_refused_when_it_is_attached():
    program = tracepoint(None, sys.ProgramType.RAW_TRACEPOINT, "no_such_event", "raw_tp")
    with ebpfpy.Collection(collection_of(program)) as collection:
        with pytest.raises(FileNotFoundError, match="no tracepoint 'no_such_event'") as caught:
            link.attach(collection.programs["by_hand"])
        assert isinstance(caught.value, KernelError)
        assert "by_hand to raw tracepoint no_such_event" in str(caught.value)


def test_a_section_without_a_target_is_an_error_that_says_so():
    program = tracepoint(sys.AttachType.TRACE_FENTRY, sys.ProgramType.TRACING, "", "fentry")
    with pytest.raises(TargetNotFoundError, match="says no attach target"):
        ebpfpy.Collection(collection_of(program))
    program = tracepoint(None, sys.ProgramType.RAW_TRACEPOINT, "", "raw_tp")
    with (
        ebpfpy.Collection(collection_of(program)) as collection,
        pytest.raises(InputError, match="names no tracepoint"),
    ):
        link.attach(collection.programs["by_hand"])


def test_what_cannot_be_attached_by_its_name_says_so():
    spec = collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()]))
    with (
        ebpfpy.Collection(spec) as collection,
        pytest.raises(UnsupportedError, match=r"section 'socket' \(SOCKET_FILTER\) cannot be attached by its name"),
    ):
        link.attach(collection.programs["by_hand"])


# --- maps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "key_size", "value_size", "max_entries"),
    [
        (sys.MapType.HASH, 4, 4, 0),
        (sys.MapType.HASH, 0, 4, 1),
        (sys.MapType.ARRAY, 8, 4, 1),
        (sys.MapType.ARRAY, 4, 1 << 31, 1 << 31),
        (sys.MapType.RINGBUF, 4, 0, 4096),
    ],
)
def test_a_map_that_the_kernel_refuses_is_named(kind, key_size, value_size, max_entries):
    broken = ebpfpy.MapSpec("broken", kind, key_size=key_size, value_size=value_size, max_entries=max_entries)
    with pytest.raises(KernelError, match="map broken: BPF_MAP_CREATE: ") as caught:
        ebpfpy.Collection(collection_of(maps=[broken]))
    assert caught.value.errno in (errno.EINVAL, errno.E2BIG, errno.ENOMEM)


# --- nothing is left ----------------------------------------------------------------------------------


GOOD, MAP = f"good{os.getpid()}", f"map{os.getpid()}"
"""What loads before the failure."""


def spec_with(*programs):
    good = program_of([asm.mov_imm(0, 0), asm.exit_()], name=GOOD)
    maps = [ebpfpy.MapSpec(f"{MAP}_{number}", sys.MapType.ARRAY, 4, 4, 1) for number in range(3)]
    return collection_of(good, *programs, maps=maps)


FAILURES = {
    "verifier": lambda: spec_with(program_of([asm.exit_()])),
    "relocation": lambda: spec_with(poisoned_subprogram()),
    "target": lambda: spec_with(
        tracepoint(sys.AttachType.TRACE_FENTRY, sys.ProgramType.TRACING, "no_such_function", "fentry")
    ),
    "section": lambda: ebpfpy.load_collection_spec(path_of("sections.bpf.o")),
    "map": lambda: collection_of(
        maps=[ebpfpy.MapSpec(f"{MAP}_0", sys.MapType.ARRAY, 4, 4, 1), ebpfpy.MapSpec("not", sys.MapType.ARRAY, 4, 4, 0)]
    ),
}


@pytest.mark.parametrize("why", FAILURES)
def test_a_failed_load_leaves_no_descriptor_and_no_object_in_the_kernel(why, options):
    spec = FAILURES[why]()
    before = descriptors()
    with pytest.raises(EbpfError) as caught:
        ebpfpy.Collection(spec, options)
    assert descriptors() == before
    assert not objects_called(GOOD, f"{MAP}_0", f"{MAP}_2"), caught.value


# --- what somebody has edited -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("name", 5, "program 5: name is 5, not str"),
        ("type", None, "type is None, not ProgramType"),
        ("attach_type", "x", "attach_type is 'x', not int or None"),
        ("license", None, "license is None, not str"),
        ("flags", -1, "flags -1 does not fit into 32 bits"),
        ("code", b"1234567", "code of 7 bytes is no whole number of instructions"),
        ("attach_type", -1, "attach_type -1 does not fit into 32 bits"),
        ("attach_type", 1 << 70, "does not fit into 32 bits"),
        ("code", bytes(8), "a reference of instruction 40, but code has 1"),
    ],
)
def test_a_blueprint_with_a_wrong_value_names_the_field(field, value, why):
    spec = collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()]))
    program = spec.programs["by_hand"]
    program.references = (Reference(40, ReferenceKind.MAP, "nowhere", 0),) if value == bytes(8) else ()
    setattr(program, field, value)
    with pytest.raises(InputError, match=why):
        ebpfpy.Collection(spec)


@pytest.mark.parametrize(
    ("field", "rows", "why"),
    [
        *(
            (field, rows, f"{field} is ")
            for field in ("references", "relocations")
            for rows in (None, "x", 5, (5,), ((0, 1),))
        ),
        ("relocations", lambda row: row._replace(insn=None), "relocations has .*the index of an instruction make one"),
        ("relocations", lambda row: row._replace(access=None), "an access string"),
        ("relocations", lambda row: row._replace(spec=None), "a Spec, a type id"),
        ("relocations", lambda row: row._replace(insn=10**6), "there is no instruction 1000000"),
        ("relocations", lambda row: row._replace(access="x"), "malformed access string 'x'"),
        *(
            ("func_infos", rows, "rows of 2 unsigned numbers")
            for rows in ("x", 5, (5,), ((0,),), (("a", 1),), ((-1, 1),))
        ),
        *(
            ("line_infos", rows, "rows of 4 unsigned numbers")
            for rows in (None, (5,), ((0, 1, 2),), ((0, 1, 2, 1 << 40),))
        ),
    ],
)
def test_a_malformed_table_beside_the_code_names_the_table(field, rows, why):
    spec = ebpfpy.load_collection_spec(path_of("globals.bpf.o" if field != "relocations" else "demo.bpf.o"))
    program = next(iter(spec.programs.values()))
    setattr(program, field, (rows(program.relocations[0]), *program.relocations[1:]) if callable(rows) else rows)
    with pytest.raises((InputError, RelocationError), match=why):
        ebpfpy.Collection(spec)


@pytest.mark.parametrize(
    ("field", "value"),
    [("insn", None), ("insn", 1.5), ("insn", -1), ("kind", "map"), ("name", []), ("offset", "x"), ("offset", 1 << 32)],
)
def test_a_reference_with_a_wrong_value_is_said(field, value):
    spec = ebpfpy.load_collection_spec(path_of("demo.bpf.o"))
    program = spec.programs["on_exec"]
    program.references = (attrs.evolve(program.references[0], **{field: value}), *program.references[1:])
    with pytest.raises(InputError, match=r"program on_exec: (references has|a reference of instruction -1)"):
        ebpfpy.Collection(spec)


def test_a_reference_of_half_an_instruction_is_said():
    spec = ebpfpy.load_collection_spec(path_of("demo.bpf.o"))
    program = spec.programs["on_exec"]
    end = len(program.code) // 8 - 1
    program.references = (attrs.evolve(program.references[0], insn=end),)
    with pytest.raises(InputError, match=f"a reference of instruction {end}, which is half of one"):
        ebpfpy.Collection(spec)


def test_a_relocation_of_a_kind_that_is_no_number_is_said():
    spec = ebpfpy.load_collection_spec(path_of("demo.bpf.o"))
    program = next(each for each in spec.programs.values() if each.relocations)
    program.relocations = (program.relocations[0]._replace(kind=[]), *program.relocations[1:])
    with pytest.raises(InputError, match="relocations has"):
        ebpfpy.Collection(spec)


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("slots", {1: "fill"}, "a map of type HASH has no slots"),
        ("pinning", 2, r"pinning is 2, not 0 \(none\) or 1"),
        ("pinning", "x", "pinning is 'x', not int"),
        ("map_extra", 1 << 64, "map_extra 18446744073709551616 does not fit into 64 bits"),
        ("numa_node", 1 << 32, "numa_node 4294967296 is no number of a node"),
        ("value_size", None, "value_size is None, not int"),
    ],
)
def test_a_map_with_a_value_that_it_would_not_have_is_refused(field, value, why):
    spec = ebpfpy.load_collection_spec(path_of("maps.bpf.o"))
    setattr(spec.maps["hash"], field, value)
    with pytest.raises(InputError, match=f"map hash: {why}"):
        ebpfpy.Collection(spec)


def test_a_ring_of_less_than_nothing_is_refused():
    with pytest.raises(InputError, match="map ring: max_entries -1 does not fit into 32 bits"):
        create_map(ebpfpy.MapSpec("ring", sys.MapType.RINGBUF, max_entries=-1), None)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda spec: setattr(spec.maps["by_map"], "slots", None), "map by_map: slots is None, not dict"),
        (lambda spec: setattr(spec.maps["by_link"], "slots", None), "map by_link: slots is None, not dict"),
        (lambda spec: setattr(spec.programs["cc_init"], "section", None), "program cc_init: section is None, not str"),
        (lambda spec: setattr(spec.programs["cc_init"], "attach_to", None), "attach_to is None, not str"),
    ],
)
def test_a_structure_of_functions_with_a_wrong_value_says_what_it_is(change, why):
    spec = ebpfpy.load_collection_spec(path_of("struct_ops.bpf.o"))
    change(spec)
    with pytest.raises(InputError, match=why):
        ebpfpy.Collection(spec)


def test_options_of_the_kernel_that_the_types_do_not_tell_of_are_said():
    spec = ebpfpy.load_collection_spec(path_of("externs.bpf.o"))
    spec.types = None
    with pytest.raises(InputError, match="extern 'LINUX_KERNEL_VERSION': the types of the blueprint"):
        ebpfpy.Collection(spec)


def test_functions_of_the_kernel_that_the_types_do_not_tell_of_are_said():
    spec = ebpfpy.load_collection_spec(path_of("externs.bpf.o"))
    externs = Externs(attrs.evolve(spec, types=None), btf.Cache())
    with pytest.raises(InputError, match="extern 'bpf_rcu_read_lock': the types of the blueprint"):
        externs.find("bpf_rcu_read_lock")


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (5, "options of a collection are CollectionOptions, not int"),
        (ebpfpy.ProgramOptions(), "CollectionOptions, not ProgramOptions"),
        (ebpfpy.CollectionOptions(maps={}), "maps is {}, not MapOptions"),
        (ebpfpy.CollectionOptions(cache="x"), "cache is 'x', not Cache or None"),
        (ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(log_level=99)), "log_level 99 is no sum of 1"),
        (
            ebpfpy.CollectionOptions(programs=ebpfpy.ProgramOptions(log_size=1 << 30)),
            "log_size 1073741824 is too large",
        ),
        (ebpfpy.CollectionOptions(maps=ebpfpy.MapOptions(pin_path=5)), "pin_path is 5, not str"),
        (ebpfpy.CollectionOptions(token=99.5), "token is 99.5, not a path, a token"),
        (ebpfpy.CollectionOptions(token="a\0b"), "token: a path cannot hold a NUL byte"),
        (ebpfpy.CollectionOptions(token="\ud800"), "token: a path cannot hold half"),
    ],
    ids=str,
)
def test_options_of_a_wrong_type_are_said(options, why):
    with pytest.raises(InputError, match=why):
        ebpfpy.load_collection(path_of("maps.bpf.o"), options)


def test_what_is_no_loaded_program_is_not_attached():
    with ebpfpy.Collection(collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()]))) as collection:
        with pytest.raises(InputError, match="by_hand is a blueprint"):
            link.attach(collection.spec.programs["by_hand"])
        for wrong in (None, collection):
            with pytest.raises(InputError, match="what is attached is a Program"):
                link.attach(wrong)
            with pytest.raises(InputError, match="what is attached is a Program"):
                link.attach_xdp(wrong, "lo")


def test_a_pin_outside_of_a_bpf_file_system_says_so(tmp_path):
    with ebpfpy.Collection(collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()]))) as collection:
        program = collection.programs["by_hand"]
        with pytest.raises(PermissionError, match=f"{tmp_path} is in no BPF file system"):
            program.pin(tmp_path / "pin")
        with pytest.raises(FileNotFoundError, match="there is no directory /nowhere"):
            program.pin("/nowhere/pin")


@pytest.mark.parametrize(
    ("field", "value", "why"),
    [
        ("slots", {"x": "first"}, "slots has 'x': 'first', not names by index"),
        ("slots", {-1: "first"}, "slots has -1: 'first', not names by index"),
        ("slots", None, "slots is None, not dict"),
        ("inner", "first", "inner is 'first', not MapSpec or None"),
        ("slots", {0: "placed"}, "map placed, has to be like the template: type is HASH, not ARRAY; "),
    ],
)
def test_a_map_of_maps_with_a_wrong_value_says_what_it_is(field, value, why):
    spec = ebpfpy.load_collection_spec(path_of("map_values.bpf.o"))
    setattr(spec.maps["of_maps"], field, value)
    with pytest.raises((InputError, KernelError), match=why):
        ebpfpy.Collection(spec)


def test_a_map_of_maps_of_maps_is_refused_before_it_is_made():
    spec = ebpfpy.load_collection_spec(path_of("map_values.bpf.o"))
    spec.maps["of_maps"].inner = spec.maps["of_maps"]
    with pytest.raises(InputError, match="what is inside a map of maps is no map of maps"):
        ebpfpy.Collection(spec)


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("classify", r"attach_target is 'classify', not \(PROGRAM, FUNCTION\)"),
        ((None, "verdict"), r"not \(PROGRAM, FUNCTION\)"),
        ((1, 2, 3), r"not \(PROGRAM, FUNCTION\)"),
    ],
)
def test_a_target_that_is_no_program_and_function_is_refused(target, why):
    spec = ebpfpy.load_collection_spec(path_of("replacing.bpf.o"))
    program = spec.programs["instead"]
    program.autoload, program.attach_target = True, target
    with pytest.raises(InputError, match=why):
        ebpfpy.Collection(spec)


def test_a_target_that_is_no_descriptor_of_a_program_is_said():
    with ebpfpy.Collection(collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()]))) as other:
        spec = ebpfpy.load_collection_spec(path_of("replacing.bpf.o"))
        program = spec.programs["instead"]
        program.autoload, program.attach_target = True, (os.dup(0), "verdict")
        try:
            with pytest.raises(KernelError, match=r"program instead: attach_target: .* is of no BPF program"):
                ebpfpy.Collection(spec)
        finally:
            os.close(program.attach_target[0])
        with pytest.raises(InputError, match="a structure of programs is a Map"):
            link.attach_struct_ops(other.programs["by_hand"])


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda spec: setattr(spec.maps[".rodata"], "name", None), "a map's name is None, not str"),
        (lambda spec: setattr(spec.maps[".rodata"], "key", 5), "map .*: key is 5, not Type or None"),
        (lambda spec: setattr(spec.maps[".rodata"], "value", 5), "map .*: value is 5, not Type or None"),
        (lambda spec: setattr(next(iter(spec.programs.values())), "type", 5), "type is 5, not ProgramType"),
        (lambda spec: setattr(next(iter(spec.programs.values())), "license", "\ud800"), "license .* is not ASCII"),
        (
            lambda spec: setattr(next(iter(spec.variables.values())), "map", None),
            "variable .*: map is None, not MapSpec",
        ),
        (lambda spec: setattr(next(iter(spec.variables.values())), "offset", None), "offset is None, not int"),
        (lambda spec: setattr(next(iter(spec.variables.values())), "size", None), "size is None, not int"),
        (lambda spec: setattr(next(iter(spec.variables.values())), "offset", -1), "offset -1 and size .* lie outside"),
        (lambda spec: setattr(spec.maps[".bss"], "value_size", None), "map .bss: value_size is None, not int"),
        (lambda spec: setattr(spec, "source", None), "CollectionSpec: source is None, not str"),
        (lambda spec: setattr(spec, "maps", None), "CollectionSpec: maps is None, not dict"),
        (lambda spec: setattr(spec, "maps", {"x": 5}), "CollectionSpec: maps has 'x': 5, not MapSpec"),
        (lambda spec: setattr(spec, "programs", {"x": 5}), "CollectionSpec: programs has 'x': 5, not ProgramSpec"),
        (lambda spec: setattr(spec, "variables", {"x": 5}), "CollectionSpec: variables has 'x': 5, not VariableSpec"),
        (lambda spec: setattr(spec, "externs", None), "CollectionSpec: externs is None, not dict"),
        (lambda spec: setattr(spec, "types", 0), "CollectionSpec: types is 0, not Spec or None"),
        (lambda spec: setattr(spec, "notes", None), "CollectionSpec: notes is None, not list"),
    ],
)
def test_a_part_of_a_blueprint_of_a_wrong_type_is_said(change, why):
    spec = ebpfpy.load_collection_spec(path_of("globals.bpf.o"))
    change(spec)
    with pytest.raises(InputError, match=why):
        ebpfpy.Collection(spec)


def test_arguments_of_wrong_types_are_said():
    with ebpfpy.Collection(collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()]))) as collection:
        program = collection.programs["by_hand"]
        with pytest.raises(InputError, match="data"):
            program.test_run(data=None)
        with pytest.raises(InputError, match="repeat is None, not a number"):
            program.test_run(repeat=None)
    for attach in (link.attach_tracing, link.attach_raw_tracepoint, link.attach_ksyscall):
        with pytest.raises(InputError, match="what is attached is a Program, not a NoneType"):
            attach(None)
    with pytest.raises(InputError, match="link id None is no positive number"):
        link.from_id(None)
    with ebpfpy.Collection(
        collection_of(program_of([asm.mov_imm(0, 0), asm.exit_()], kind=sys.ProgramType.SCHED_CLS))
    ) as collection:
        for attach in (link.attach_tc, link.attach_tcx):
            with pytest.raises(InputError, match="is no direction: 'ingress' or 'egress'"):
                attach(collection.programs["by_hand"], "lo", [])
    with pytest.raises(InputError, match="Cache"):
        features.explain_target("vfs_read", cache="x")
    with pytest.raises(InputError, match="Spec"):
        features.explain_target("vfs_read", kernel_types="x")


def test_a_section_without_a_target_is_an_error_that_names_the_program():
    program = program_of(
        [asm.mov_imm(0, 0), asm.exit_()],
        kind=sys.ProgramType.TRACING,
        section="fentry",
        attach_type=sys.AttachType.TRACE_FENTRY,
    )
    with pytest.raises(TargetNotFoundError, match="program by_hand: the section's name says no attach target"):
        ebpfpy.Collection(collection_of(program))
