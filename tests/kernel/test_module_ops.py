"""struct_ops whose structure is a module's: programs take part in what our own module does."""

import pytest

import ebpfpy
from ebpfpy import btf, link
from ebpfpy.errors import InputError, KernelError, NotFoundError, TargetNotFoundError, UnsupportedError
from tests.kernel import features, modules, triggers
from tests.kernel.blueprints import path_of

MAGIC = 0x1122334455667788
POKED = 43
"""What the module makes of 21."""


@pytest.fixture
def demo():
    """Our module, loaded; the blueprint of the object that implements its structure."""
    features.require_modules()
    with modules.unloaded_afterwards(modules.DEMO):
        modules.load(modules.DEMO)
        yield ebpfpy.load_collection_spec(path_of("module_ops.bpf.o"))


@pytest.fixture
def spec(demo, cache):
    if not cache.module(modules.DEMO).ids_by_name(b"bpf_struct_ops_ebpfpy_demo_ops"):
        features.since("6.9", "modules of this kernel cannot have struct_ops")
    return demo


def poked(value=21):
    """The last value that the module has made of what was written to it."""
    triggers.poke(value)
    return int(triggers.read_file("/proc/ebpfpy_demo").split()[1])


def only(spec, name):
    """The blueprint with one of its structures."""
    for each in ("doubling", "negating", "by_map", "from_the_future", "not_allowed"):
        spec.maps[each].autocreate = each == name
    return spec


def test_programs_implement_a_structure_of_a_module(spec, options):
    with ebpfpy.Collection(spec, options) as collection:
        assert set(collection.programs) == {"twice", "look"}, "those of structures that are left out are not loaded"
        assert collection.programs["twice"].target.module == modules.DEMO
        assert poked() == POKED
        with link.attach_struct_ops(collection.maps["doubling"]):
            assert poked() == POKED * 2 * 3 + 7, "factor and offset are in structures in the structure"
            values = {name: each.get() for name, each in collection.variables.items()}
            assert (values["transforms"], values["inspections"], values["magic"]) == (1, 1, MAGIC)
            assert (values["last"], values["hits"] > 0) == (POKED * 2 * 3 + 7, True)
        assert poked() == POKED


def test_members_are_changed_by_name_before_loading(spec, options):
    members = spec.maps["doubling"].members
    assert members["name"] == "doubling"
    assert members["transform"] == "twice"
    assert members["tuning"] == {
        "offset": 7,
        "scale": {"divisor": 1, "factor": 3, "ebpfpy_no_such_member": 0},
    }
    members["tuning.scale.factor"] = 5
    members["limit"] = 100
    members["inspect"] = None
    with ebpfpy.Collection(spec, options) as collection:
        assert set(collection.programs) == {"twice"}
        with link.attach_struct_ops(collection.maps["doubling"]):
            assert poked() == 100
            assert poked(1) == 3 * 2 * 5 + 7
            assert collection.variables["inspections"].get() == 0


def test_another_program_is_put_into_a_member(spec, options):
    spec.maps["doubling"].members["transform"] = "negated"
    spec.programs["negated"].attach_to = ""  # as of a program that no structure of the object refers to
    with (
        ebpfpy.Collection(spec, options) as collection,
        link.attach_struct_ops(collection.maps["doubling"]),
    ):
        assert set(collection.programs) == {"negated", "look"}
        assert poked() == -POKED * 3 + 7


def test_a_structure_is_replaced_by_another_in_one_step(spec, options):
    spec.maps["negating"].autocreate = True
    with (
        ebpfpy.Collection(spec, options) as collection,
        link.attach_struct_ops(collection.maps["doubling"]) as attached,
    ):
        with pytest.raises(KernelError, match="EEXIST"):
            link.attach_struct_ops(collection.maps["negating"])
        attached.update_map(collection.maps["negating"])
        assert poked() == -POKED
    assert poked() == POKED


def test_a_structure_without_a_link_is_in_use_until_it_is_taken_back(spec, options):
    with ebpfpy.Collection(only(spec, "by_map"), options) as collection:
        with link.attach_struct_ops(collection.maps["by_map"]):
            assert poked(1) == 3 * 2 // 2 + 1
            assert poked() == POKED * 2 // 2 + 1
            assert poked(100) == 50, "the limit"
        assert poked(100) == 201


def test_a_program_for_a_function_that_the_module_does_not_have_is_refused_with_a_remedy(spec, options):
    only(spec, "from_the_future")
    with pytest.raises(TargetNotFoundError, match="ebpfpy_demo has no member 'ebpfpy_no_such_function'") as refusal:
        ebpfpy.Collection(spec, options)
    assert 'members["ebpfpy_no_such_function"] = None' in str(refusal.value)
    spec.maps["from_the_future"].members["ebpfpy_no_such_function"] = None
    with ebpfpy.Collection(spec, options) as collection:
        assert set(collection.programs) == {"twice"}
        with link.attach_struct_ops(collection.maps["from_the_future"]):
            assert poked() == 2 * POKED


@pytest.mark.parametrize("member", ["ebpfpy_no_such_member", "tuning.scale.ebpfpy_no_such_member"])
def test_a_value_for_a_member_that_the_module_does_not_have_names_it(spec, options, member):
    spec.maps["doubling"].members[member] = 1
    with pytest.raises(UnsupportedError, match=rf"map doubling: \w+\.{member} is not zero"):
        ebpfpy.Collection(spec, options)


def test_a_function_that_no_program_may_implement_is_refused(spec, options):
    with pytest.raises(KernelError, match="forbidden"):
        ebpfpy.Collection(only(spec, "not_allowed"), options)


def test_a_structure_that_the_module_finds_incomplete_is_refused(spec, options):
    spec.maps["doubling"].members["tuning.scale.divisor"] = 0
    with ebpfpy.Collection(spec, options) as collection, pytest.raises(KernelError, match="incomplete"):
        link.attach_struct_ops(collection.maps["doubling"])
    assert poked() == POKED


def test_without_the_module_the_error_says_where_was_searched(options):
    features.require_modules()
    with modules.absent(modules.DEMO), pytest.raises(TargetNotFoundError, match=r"load that module") as refusal:
        ebpfpy.load_collection(path_of("module_ops.bpf.o"), options)
    assert "struct bpf_struct_ops_ebpfpy_demo_ops" in str(refusal.value)
    assert refusal.value.searched[0] == "vmlinux"


def test_the_structure_is_found_exactly_where_modules_can_have_such(demo, cache, options):
    if cache.module(modules.DEMO).ids_by_name(b"bpf_struct_ops_ebpfpy_demo_ops"):
        with ebpfpy.Collection(demo, options) as collection:
            assert collection.maps["doubling"].info.btf_vmlinux_value_type_id
    else:
        with pytest.raises(TargetNotFoundError, match=r"Linux 6\.9"):
            ebpfpy.Collection(demo, options)


def test_only_structures_have_members(demo):
    with pytest.raises(InputError, match="holds no structure"):
        _ = demo.maps[".bss"].members
    members = demo.maps["doubling"].members
    with pytest.raises(InputError, match="name of a program"):
        members["transform"] = 1
    with pytest.raises(KeyError):
        members["tuning.nothing"] = 1


class Going(btf.Cache):
    """Types of a kernel whose module is unloaded as soon as its BTF object is open."""

    def module_handle(self, name):
        handle = super().module_handle(name)
        modules.remove(name)
        return handle


def test_a_module_that_is_unloaded_while_its_structure_is_made_is_named(spec):
    with pytest.raises(NotFoundError, match="map doubling: module ebpfpy_demo was unloaded meanwhile: load again"):
        ebpfpy.Collection(spec, ebpfpy.CollectionOptions(cache=Going()))
