"""Every object of testdata loads, or is refused for the reason that is written beside it in `expected.toml`.

Whether the kernel has what an object needs is asked of the kernel here; what the error must say where it has not is in
the table. No version of a kernel decides anything.
"""

from fnmatch import fnmatch

import pytest

import ebpfpy
from ebpfpy import core
from ebpfpy.errors import EbpfError
from tests.kernel import expectations, modules
from tests.kernel import features as machine
from tests.kernel.blueprints import TESTDATA
from tests.kernel.needs import has

USED = sorted(
    {name for table in expectations.tables().values() for each in table.values() for name in each.get("modules", ())}
)


@pytest.fixture(scope="module", autouse=True)
def all_modules():
    """The modules that objects attach to are loaded, once for all."""
    machine.require(machine.no_modules())
    machine.require(machine.no_fentry())
    with modules.unloaded_afterwards(*USED):
        for name in USED:
            modules.load(name)
        yield


@pytest.fixture(name="types", scope="module")
def kernel_types(cache, all_modules):
    """The types of the kernel and of its modules."""
    return [cache.kernel(), *cache.modules()]


def lacks(needs, types, program=None):
    """The words for the first of the needs of a program or map that the kernel does not have; None if it has all."""
    for feature in needs:
        if not (is_answered(program, types) if feature == "answers to all relocations" else has(feature, types)):
            return expectations.words_for(feature)
    return None


def is_answered(program, types):
    return not any(fixup.poisoned for fixup in core.relocate(program.relocations, types))


def entry(of, group, name):
    """What the table says of one program or map of an object."""
    return of.get(group, {}).get(name, {})


def refuse(spec, options, words):
    """The object is refused, and the error says these words, or any of them."""
    with pytest.raises(EbpfError) as caught, ebpfpy.Collection(spec, options):
        pass
    assert any(each in str(caught.value) for each in ([words] if isinstance(words, str) else words)), str(caught.value)


def with_programs(spec, *names):
    """A copy of an object's blueprint with these programs only, and all of them to be loaded."""
    copy = spec.copy()
    copy.programs = {name: program for name, program in copy.programs.items() if name in names}
    for program in copy.programs.values():
        program.autoload = True
    return copy


@pytest.mark.parametrize("name", expectations.objects())
def test_an_object_loads_or_is_refused_for_the_reason_beside_it(name, options, types):
    of = expectations.entry_of(name)
    assert of is not None, f"{name} is not in the table beside it"
    if "refused" in of:
        with pytest.raises(EbpfError) as caught:
            ebpfpy.load_collection(str(TESTDATA / name), options)
        assert of["refused"] in str(caught.value)
        return
    spec = ebpfpy.load_collection_spec(TESTDATA / name)
    for each in spec.maps.values():
        each.autocreate = True
    refused = {}
    for program in spec.programs.values():
        own = entry(of, "programs", program.name)
        words = lacks([*of.get("needs", ()), *own.get("needs", ())], types, program) or own.get("refused")
        if words is not None:
            refused[program.name] = words
    for each in [each for each in spec.maps if "needs" in entry(of, "maps", each)]:
        words = lacks(entry(of, "maps", each)["needs"], types)
        if words is not None:
            alone = with_programs(spec)
            alone.maps = {each: alone.maps[each]}
            refuse(alone, options, words)
            del spec.maps[each]
    for program, words in refused.items():
        refuse(with_programs(spec, program), options, words)
    loading = set(spec.programs) - set(refused)
    if loading or not refused:
        with ebpfpy.Collection(with_programs(spec, *loading), options) as collection:
            assert set(collection.programs) == loading
            assert set(spec.maps) <= set(collection.maps)
            assert len({program.info.id for program in collection.programs.values()}) == len(loading)


def test_the_tables_speak_of_nothing_that_is_not_there():
    for directory, table in expectations.tables().items():
        names = [
            name.rpartition("/")[2] for name in expectations.objects() if (name.rpartition("/")[0] or ".") == directory
        ]
        for pattern, of in table.items():
            found = [name for name in names if fnmatch(name, pattern)]
            assert found or pattern == "missing", pattern
            for name in found:
                if "refused" in of or expectations.entry_of(f"{directory}/{name}".removeprefix("./")) is not of:
                    continue
                spec = ebpfpy.load_collection_spec(TESTDATA / directory / name)
                assert set(of.get("programs", ())) <= set(spec.programs), name
                assert set(of.get("maps", ())) <= set(spec.maps), name
