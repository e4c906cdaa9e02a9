"""What the kernel supplies to an object: options, facts, symbols, variables and functions, of modules too."""

import os
import time

import attrs
import pytest

import ebpfpy
from ebpfpy import btf, link, sys
from ebpfpy.elf import ExternKind
from ebpfpy.errors import ExternError, VerifierError
from ebpfpy.features import have_helper
from tests.kernel import features, modules
from tests.kernel.blueprints import path_of

PACKET = bytes(64)


def supplied():
    """The object with everything in it, less what this kernel hides."""
    spec = ebpfpy.load_collection_spec(path_of("supplied.bpf.o"))
    if no_variables():
        del spec.programs["variable"]
    return spec


def no_variables():
    """Why programs cannot read variables of the kernel by name, or None."""
    if not sys.find_symbols(["bpf_prog_active"]):  # the verifier looks the address up there
        return "no addresses of variables in /proc/kallsyms (CONFIG_KALLSYMS_ALL)"
    if not btf.load_kernel_spec().ids_by_name(b"bpf_prog_active"):
        return "no variables in the kernel's BTF"
    return None


@pytest.fixture(scope="module")
def values():
    """The variables of that object after its programs have run; it is closed again."""
    with ebpfpy.Collection(supplied()) as collection:
        links = [link.attach(program) for program in collection.programs.values()]
        try:
            deadline = time.monotonic() + 10
            while not collection.variables["runs"].get() and time.monotonic() < deadline:
                os.getppid()
            return {name: variable.get() for name, variable in collection.variables.items()}
        finally:
            for each in links:
                each.close()


def test_options_of_the_configuration_arrive_in_variables_of_every_shape(values):
    config = sys.read_config()
    assert values["hz"] == int(config["CONFIG_HZ"])
    assert values["bpf_syscall"] is True
    assert values["net"] == {"y": 1, "m": 2}[config["CONFIG_NET"]]
    assert chr(values["inet"]) == config["CONFIG_INET"]
    assert values["hostname"] == config["CONFIG_DEFAULT_HOSTNAME"].strip('"')


def test_a_weak_option_that_is_not_set_reads_as_zero(values):
    assert values["none"] == 0


def test_facts_about_the_kernel_are_its_version_and_what_it_can_do(values):
    major, minor = map(int, os.uname().release.split(".")[:2])
    assert values["version"] >> 16 == major
    assert values["version"] >> 8 & 0xFF == minor
    assert values["cookie"] is bool(have_helper(sys.ProgramType.TRACEPOINT, "get_attach_cookie"))
    assert values["wrapper"] is bool(sys.find_symbols(["__x64_sys_bpf"]))


def test_a_typed_variable_of_the_kernel_is_read(values):
    features.since("5.11", no_variables())
    assert values["active"] >= 0


def test_weak_symbols_and_functions_that_do_not_exist_are_absent(values):
    assert values["no_symbol"] == 0
    assert values["no_function"] == 0


def test_a_weak_function_is_called_exactly_where_the_kernel_has_it(values):
    has = bool(btf.load_kernel_spec().ids_by_name(b"bpf_rcu_read_lock"))
    assert bool(values["has_lock"]) is has
    assert bool(values["called"]) is has


def test_the_blueprint_lists_externs_with_kind_and_weakness():
    externs = ebpfpy.load_collection_spec(path_of("supplied.bpf.o")).externs
    assert externs["CONFIG_HZ"].kind is ExternKind.KCONFIG
    assert externs["bpf_prog_active"].kind is ExternKind.KSYM
    assert externs["bpf_rcu_read_lock"].kind is ExternKind.KFUNC
    assert [name for name, each in externs.items() if each.weak and each.kind is ExternKind.KCONFIG] == [
        "CONFIG_EBPFPY_NONE"
    ]


def test_an_option_that_is_not_set_and_not_weak_is_an_error_that_names_it():
    spec = supplied()
    spec.externs["CONFIG_EBPFPY_NONE"] = attrs.evolve(spec.externs["CONFIG_EBPFPY_NONE"], weak=False)
    with pytest.raises(ExternError, match="CONFIG_EBPFPY_NONE: the running kernel does not set it"):
        ebpfpy.Collection(spec)


def test_a_function_of_another_prototype_is_refused_with_the_difference():
    spec = supplied()
    program = spec.types.type_by_name("variable", btf.Func)  # one parameter, where the kernel's function has none
    lock = spec.externs["bpf_rcu_read_lock"]
    spec.externs["bpf_rcu_read_lock"] = attrs.evolve(lock, type=program, weak=False)
    has = bool(btf.load_kernel_spec().ids_by_name(b"bpf_rcu_read_lock"))
    why = "incompatible type: 1 parameters in the object, 0 in the kernel" if has else "not found in vmlinux"
    with pytest.raises(ExternError, match=why):
        ebpfpy.Collection(spec)


def test_a_function_of_a_module_is_called():
    features.require_modules()
    with modules.unloaded_afterwards(modules.DEMO):
        modules.load(modules.DEMO)
        spec = ebpfpy.load_collection_spec(path_of("kfunc_demo.bpf.o"))
        del spec.programs["optional"]
        with ebpfpy.Collection(spec) as collection:
            result = collection.programs["add"].test_run(data=PACKET)
            assert result.retval == len(PACKET) + 42 + 1000


def test_a_weak_function_of_a_module_that_is_not_loaded_is_absent():
    features.require_modules()
    with modules.absent(modules.DEMO):
        spec = ebpfpy.load_collection_spec(path_of("kfunc_demo.bpf.o"))
        del spec.programs["add"]
        with ebpfpy.Collection(spec) as collection:
            assert collection.programs["optional"].test_run(data=PACKET).retval == 7


def test_a_weak_function_of_a_module_is_called_under_its_essential_name():
    features.require_modules()
    with modules.unloaded_afterwards(modules.DEMO):
        modules.load(modules.DEMO)
        spec = ebpfpy.load_collection_spec(path_of("kfunc_demo.bpf.o"))
        del spec.programs["add"]
        with ebpfpy.Collection(spec) as collection:
            assert collection.programs["optional"].test_run(data=PACKET).retval == len(PACKET) + 1 + 1000


def test_a_function_of_a_module_that_is_not_loaded_is_an_error_that_says_where_was_searched():
    features.require_modules()
    with modules.absent(modules.DEMO), pytest.raises(ExternError) as caught:
        ebpfpy.load_collection(path_of("kfunc_demo.bpf.o"))
    assert caught.value.name == "ebpfpy_demo_kfunc_add"
    assert "not found in vmlinux" in str(caught.value)


def test_a_call_of_a_weak_function_that_does_not_exist_names_it_instead_of_a_number():
    spec = ebpfpy.load_collection_spec(path_of("externs.bpf.o"))
    extern = spec.externs.pop("bpf_rcu_read_lock")
    spec.programs = {"uses_kfunc": spec.programs["uses_kfunc"]}
    program = spec.programs["uses_kfunc"]
    spec.externs["ebpfpy_absent"] = attrs.evolve(extern, name="ebpfpy_absent")
    program.references = tuple(attrs.evolve(each, name="ebpfpy_absent") for each in program.references)
    with pytest.raises(VerifierError, match="kernel function 'ebpfpy_absent' is called, but the running kernel"):
        ebpfpy.Collection(spec)


def test_a_kernel_without_addresses_of_variables_is_told_from_its_configuration():
    spec = ebpfpy.load_collection_spec(path_of("supplied.bpf.o"))
    for name in set(spec.programs) - {"variable"}:
        del spec.programs[name]
    if no_variables() is None:
        ebpfpy.Collection(spec).close()
        return
    if not btf.load_kernel_spec().ids_by_name(b"bpf_prog_active"):
        with pytest.raises(ExternError, match="the types of this kernel tell of no variables at all"):
            ebpfpy.Collection(spec)
        return
    with pytest.raises(VerifierError, match=r"this kernel keeps no addresses of variables.*CONFIG_KALLSYMS_ALL"):
        ebpfpy.Collection(spec)
