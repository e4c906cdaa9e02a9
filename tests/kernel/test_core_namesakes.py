"""e1000 and e1000e both define struct e1000_adapter, and differently: who gets whose?"""

import struct

import pytest

import ebpfpy
from ebpfpy import btf, link, sys
from ebpfpy.errors import AmbiguousRelocationError, AmbiguousTargetError
from tests.kernel import features, modules
from tests.kernel.blueprints import path_of

DRIVERS = {"on_e1000": "e1000", "on_e1000e": "e1000e"}


@pytest.fixture(scope="module", autouse=True)
def both_drivers():
    features.require_module_tracing()
    with modules.unloaded_afterwards("e1000", "e1000e"):
        for driver in DRIVERS.values():
            modules.load(driver)
        yield


@pytest.fixture
def options():
    return ebpfpy.CollectionOptions(cache=btf.Cache())


def only(program):
    """The object with this program alone."""
    spec = ebpfpy.load_collection_spec(path_of("namesakes.bpf.o"))
    spec.programs = {program: spec.programs[program]}
    spec.programs[program].autoload = True
    return spec


def adapter(cache, driver):
    """The driver's struct: size, and members' offsets in bytes by name."""
    of = cache.module(driver).type_by_name("e1000_adapter", btf.Struct)
    return btf.sizeof(of), {member.name: member.offset_bits // 8 for member in of.members}


@pytest.mark.parametrize("program", DRIVERS)
def test_a_program_on_a_function_of_one_driver_gets_that_drivers_offsets(program, options):
    driver = DRIVERS[program]
    size, offset = adapter(options.cache, driver)
    with ebpfpy.Collection(only(program), options) as collection, link.attach(collection.programs[program]) as lnk:
        loaded = collection.programs[program]
        assert lnk.info.prog_id == loaded.info.id
        assert loaded.target.module == driver
        assert {fixup.module for fixup in loaded.fixups} == {driver}
        answers = {
            (fixup.kind.text, fixup.local.partition(" (")[0].partition(".")[2]): fixup.target_value
            for fixup in loaded.fixups
        }
        code = sys.prog_instructions(loaded)
    assert answers == {
        ("byte_off", "tx_timeout_count"): offset["tx_timeout_count"],
        ("byte_off", "netdev"): offset["netdev"],
        ("type_size", ""): size,
    }
    offsets = [off for _, _, off, _ in struct.iter_unpack("=BBhi", code)]
    assert offset["tx_timeout_count"] in offsets, "the kernel's own copy of the code"


def test_the_two_drivers_differ(options):
    one, two = (adapter(options.cache, driver) for driver in DRIVERS.values())
    assert one[0] != two[0]
    assert one[1]["netdev"] != two[1]["netdev"]


def test_a_program_on_neither_is_refused_with_both_listed(options):
    with pytest.raises(AmbiguousRelocationError) as caught:
        ebpfpy.Collection(only("on_neither"), options)
    assert len(caught.value.candidates) == 2
    for text, driver in zip(sorted(caught.value.candidates), DRIVERS.values(), strict=True):
        assert text.startswith(f"{driver}: [")
        assert text.endswith(f" = {adapter(options.cache, driver)[1]['netdev']}")
        assert text in str(caught.value)


def test_a_function_that_both_have_is_refused_with_both_listed(options):
    with pytest.raises(AmbiguousTargetError) as caught:
        ebpfpy.Collection(only("on_either"), options)
    assert [text.partition(":")[0] for text in sorted(caught.value.candidates)] == list(DRIVERS.values())


def test_with_one_driver_alone_there_is_nothing_to_choose(options):
    with modules.absent("e1000"), ebpfpy.Collection(only("on_neither"), options) as collection:
        assert {fixup.module for fixup in collection.programs["on_neither"].fixups} == {"e1000e"}
