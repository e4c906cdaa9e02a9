"""What ebpfpy hands to the kernel is what libbpf hands to it: both load every object, and the kernel is asked.

Compared is all that the kernel tells of programs and maps (`tests.kernel.kernel_view`): instructions as the verifier
left them and the tag, a hash of them before; types, functions, lines; attach targets; maps, their types and contents.
Both load every program that ebpfpy can load here, and what it cannot, libbpf must refuse too.

Where the two differ on purpose, `tests.kernel.explained` says why, and how far.
"""

import os
import uuid
from contextlib import ExitStack, contextmanager

import attrs
import pytest

import ebpfpy
from ebpfpy import link, sys
from ebpfpy.errors import EbpfError, ElfError, ExternError, InputError, VerifierError
from ebpfpy.loader import create_map
from ebpfpy.sys import MapFlags, MapType
from tests.kernel import features, modules
from tests.kernel.blueprints import TESTDATA, path_of
from tests.kernel.conformance import unless_missing
from tests.kernel.explained import NEWER_SECTIONS, ONLY_OURS, unexplained
from tests.kernel.kernel_view import Viewer
from tests.kernel.libbpf_peer import LibbpfError, Peer
from tests.kernel.needs import require_object
from tests.vm.tools import SetupError

OBJECTS = sorted(
    str(path.relative_to(TESTDATA))
    for pattern in ("*-clang14-el.o", "*.bpf.o", "tools/*.bpf.o")
    for path in TESTDATA.glob(pattern)
    # nobody opens the first, only ebpfpy the second; in the others structures in structures have other members than the
    # module's, which libbpf copies as they are and ebpfpy member by member
    if path.name not in ("legacy_maps.bpf.o", "map_numbers.bpf.o", "module_ops.bpf.o", "together.bpf.o")
)
MODULES = {
    "tools/conntrack": ["nf_conntrack"],
    "kfunc_demo": [modules.DEMO],
    "contexts": [modules.DEMO],
    "kmod_demo": [modules.DEMO],
    "namesakes": ["e1000", "e1000e"],
}
"""Modules that an object needs and does not name."""
TARGETS = {"replacing.bpf.o": ("replaced.bpf.o", "classify")}
"""Objects whose programs attach to a program: to which."""


@pytest.fixture(scope="module")
def viewer(cache):
    try:
        viewer = Viewer(cache)
    except EbpfError as error:
        features.require(f"this kernel refuses iterators over programs and maps: {error}")
    with viewer:
        yield viewer


@pytest.fixture(scope="module")
def libbpf():
    try:
        peer = Peer()
    except SetupError:
        peer = Peer(new=False)
    with peer:
        yield peer


@contextmanager
def prepared(name):
    """An object's blueprint with everything in it wanted, and targets for its programs by name."""
    spec = ebpfpy.load_collection_spec(path_of(name))
    for each in spec.programs.values():
        each.autoload = True
    for each in spec.maps.values():
        each.autocreate = True
    wanted = [each.attach_module for each in spec.programs.values() if each.attach_module is not None]
    if features.no_modules() is None:
        for module in {*wanted, *MODULES.get(name.partition(".")[0], ())}:
            modules.load(module)
    with ExitStack() as stack:
        targets = {}
        if name in TARGETS:
            source, program = TARGETS[name]
            target = stack.enter_context(ebpfpy.load_collection(path_of(source))).programs[program]
            for each in spec.programs.values():
                each.attach_target = (target, each.attach_to)
                targets[each.name] = (target.fileno(), each.attach_to)
        yield spec, targets


def without(spec, programs=(), maps=()):
    """A copy in which these are left out."""
    copy = spec.copy()
    for name in programs:
        copy.programs[name].autoload = False
    for name in maps:
        copy.maps[name].autocreate = False
    return copy


def error_of(spec, options):
    """None, or the error of loading."""
    try:
        ebpfpy.Collection(spec, options).close()
    except EbpfError as error:
        return error
    return None


def refused_parts(spec, options):
    """What this kernel does not take: programs and struct_ops maps by name with the error; "" for all of it."""
    operations = [name for name, each in spec.maps.items() if each.type == MapType.STRUCT_OPS]
    error = error_of(without(spec, spec.programs, operations), options)
    if error is not None:
        return {"": error}
    refused = {}
    for name in operations:
        error = error_of(without(spec, spec.programs, set(operations) - {name}), options)
        if error is not None:
            refused[name] = error
    left = set(refused)
    for name in spec.programs:
        error = error_of(without(spec, set(spec.programs) - {name}, left), options)
        if error is not None:
            refused[name] = error
    return refused


# --- the comparison -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OBJECTS)
def test_programs_and_maps_are_those_that_libbpf_loads(name, options, viewer, libbpf):
    with prepared(name) as (spec, targets), ExitStack() as stack:
        everything = {each for each in spec.programs if libbpf_knows(name, spec.programs[each])}
        try:
            ours = stack.enter_context(ebpfpy.Collection(without(spec, spec.programs.keys() - everything), options))
            refused = {}
        except EbpfError:
            refused = refused_parts(spec, options)
            ours = None
        if "" in refused:
            with pytest.raises(LibbpfError):
                libbpf.load(path_of(name), programs=[], targets=targets)
            return
        if any(isinstance(error, ExternError) for error in refused.values()):
            with pytest.raises(LibbpfError, match="extern"):  # one that is missing is missing for all programs
                libbpf.load(path_of(name), programs=[], targets=targets)
            return
        programs = everything - refused.keys()
        if ours is None:
            chosen = without(spec, spec.programs.keys() - programs, refused.keys() & spec.maps.keys())
            ours = stack.enter_context(ebpfpy.Collection(chosen, options))
        operations = [each for each in ours.maps if ours.maps[each].type == MapType.STRUCT_OPS]
        with libbpf.load(path_of(name), programs=sorted(programs), maps=operations, targets=targets) as theirs:
            mine = viewer.view(descriptors(ours.programs), descriptors(ours.maps))
            assert set(mine.programs) == programs
            assert unexplained(spec, mine, viewer.view(theirs.programs, theirs.maps)) == []
        accepted = [each for each in refused if libbpf_takes(libbpf, path_of(name), spec, each, targets)]
        assert accepted == [], {each: str(refused[each]) for each in accepted}


@pytest.mark.parametrize(("name", "program"), ONLY_OURS)
def test_a_program_that_only_ebpfpy_loads_is_refused_by_libbpf_for_the_reason_known(name, program, options, libbpf):
    with prepared(name) as (spec, targets):
        error = error_of(without(spec, spec.programs.keys() - {program}), options)
        if error is not None:
            features.since("5.16", f"this kernel does not take it: {error}")
        with pytest.raises(LibbpfError, match=ONLY_OURS[name, program]):
            libbpf.load(path_of(name), programs=[program], targets=targets)


def libbpf_knows(name, program):
    return (name, program.name) not in ONLY_OURS and program.section.partition("/")[0] not in NEWER_SECTIONS


def descriptors(of):
    return {name: each.fileno() for name, each in of.items()}


def libbpf_takes(libbpf, path, spec, part, targets):
    """Whether libbpf loads one program or struct_ops map."""
    which = {"programs": [part], "maps": []} if part in spec.programs else {"programs": [], "maps": [part]}
    try:
        libbpf.load(path, **which, targets=targets).__exit__()
    except LibbpfError:
        return False
    return True


def test_maps_in_the_old_style_are_refused_by_both_and_ebpfpy_says_what_to_write(libbpf):
    with pytest.raises(LibbpfError, match="legacy map definitions in 'maps' section are not supported"):
        libbpf.load(path_of("legacy_maps.bpf.o"))
    with pytest.raises(
        ElfError, match=r'declare them with __uint and __type in a section "\.maps", and compile with -g'
    ):
        ebpfpy.load_collection_spec(path_of("legacy_maps.bpf.o"))


# --- structures of programs -----------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "control"), [("by_map", "ebpfpy_cc"), ("by_link", "ebpfpy_cc_link")])
def test_a_structure_of_programs_has_the_value_that_libbpf_gives_it(name, control, options, viewer, libbpf):
    spec = ebpfpy.load_collection_spec(path_of("struct_ops.bpf.o"))
    for each in ("by_map", "by_link"):
        spec.maps[each].autocreate = each == name
    views = []
    with unless_missing(), ebpfpy.Collection(spec, options) as ours:
        views.append(viewer.view(descriptors(ours.programs), descriptors(ours.maps)))
        with link.attach_struct_ops(ours.maps[name]):
            views.append(viewer.view(descriptors(ours.programs), descriptors(ours.maps)))
    for mine, attached in zip(views, ([], [name]), strict=True):
        with libbpf.load(path_of("struct_ops.bpf.o"), maps=[name], attached=attached) as theirs:
            assert unexplained(spec, mine, viewer.view(theirs.programs, theirs.maps)) == []
    before, after = (view.maps[name]["structure"] for view in views)
    assert not any(before["data"].values()) or before["data"]["name"] == ""
    assert (after["data"]["name"], after["data"]["cong_avoid"]) == (control, "cc_avoid")


# --- edited before loading ------------------------------------------------------------------------------


@pytest.mark.parametrize("count", [100, 9])
def test_an_array_that_was_resized_is_resized_as_libbpf_does_it(count, options, viewer, libbpf):
    spec = ebpfpy.load_collection_spec(path_of("globals.bpf.o"))
    results = spec.variables["results"]
    results.resize(count)
    size = spec.maps[".bss"].value_size
    assert size == results.offset + 8 * count
    with (
        ebpfpy.Collection(spec, options) as ours,
        libbpf.load(path_of("globals.bpf.o"), sizes={".bss": size}) as theirs,
    ):
        mine = viewer.view(descriptors(ours.programs), descriptors(ours.maps))
        assert unexplained(spec, mine, viewer.view(theirs.programs, theirs.maps)) == []
        assert mine.maps[".bss"]["has types"]
        assert ours.variables["results"].get() == ours.maps[".bss"][0]["results"] == [0] * count
        ours.variables["results"].set([7] * count)
        assert ours.variables["results"].get() == [7] * count


def test_a_section_of_another_size_without_an_array_at_its_end_loses_its_types_on_both_sides(options, viewer, libbpf):
    spec = ebpfpy.load_collection_spec(path_of("globals.bpf.o"))
    spec.maps[".data.extra"].value_size = 64
    with (
        ebpfpy.Collection(spec, options) as ours,
        libbpf.load(path_of("globals.bpf.o"), sizes={".data.extra": 64}) as theirs,
    ):
        mine = viewer.view(descriptors(ours.programs), descriptors(ours.maps))
        assert unexplained(spec, mine, viewer.view(theirs.programs, theirs.maps)) == []
        assert not mine.maps[".data.extra"]["has types"]


def test_a_map_that_is_left_out_is_poison_only_where_it_is_used_on_both_sides(options, viewer, libbpf):
    spec = ebpfpy.load_collection_spec(path_of("optional_map.bpf.o"))
    spec.maps["ring"].autocreate = False
    with (
        ebpfpy.Collection(spec, options) as ours,
        libbpf.load(path_of("optional_map.bpf.o"), left_out=["ring"]) as theirs,
    ):
        mine = viewer.view(descriptors(ours.programs), descriptors(ours.maps))
        assert unexplained(spec, mine, viewer.view(theirs.programs, theirs.maps)) == []
        assert set(ours.maps) == {"counts", ".rodata"}
        assert ours.programs["choose"].run(bytes(64)).retval == 4
        assert ours.maps["counts"][0] == 64
    spec.variables["use_ring"].set(1)
    with pytest.raises(VerifierError, match="map 'ring' is used, but it was left out") as caught:
        ebpfpy.Collection(spec, options)
    assert "return bpf_ringbuf_output(&ring" in caught.value.source_line


# --- pinned by name -------------------------------------------------------------------------------------


@pytest.fixture
def directory():
    features.require(features.no_bpffs())
    path = os.path.join(features.BPFFS, f"ebpfpy-{uuid.uuid4().hex}")
    os.mkdir(path)
    yield path
    for name in os.listdir(path):
        os.unlink(os.path.join(path, name))
    os.rmdir(path)


def pinning(cache, directory):
    return ebpfpy.CollectionOptions(cache=cache, maps=ebpfpy.MapOptions(pin_path=directory))


def test_a_map_that_libbpf_has_pinned_is_taken_and_the_other_way_round(cache, directory, libbpf):
    require_object("maps.bpf.o")
    with libbpf.load(path_of("maps.bpf.o"), pin_root=directory) as theirs:
        number = sys.map_info(theirs.maps["pinned"]).id
    with ebpfpy.load_collection(path_of("maps.bpf.o"), pinning(cache, directory)) as ours:
        assert ours.maps["pinned"].info.id == number
    os.unlink(os.path.join(directory, "pinned"))
    with ebpfpy.load_collection(path_of("maps.bpf.o"), pinning(cache, directory)) as ours:
        assert ours.maps["pinned"].info.id != number
        with libbpf.load(path_of("maps.bpf.o"), pin_root=directory) as theirs:
            assert sys.map_info(theirs.maps["pinned"]).id == ours.maps["pinned"].info.id
    assert os.listdir(directory) == ["pinned"]


@pytest.mark.parametrize(
    ("field", "value"), [("key_size", 8), ("value_size", 8), ("max_entries", 2), ("flags", int(MapFlags.MMAPABLE))]
)
def test_a_pinned_map_that_differs_is_refused_by_both_and_ebpfpy_says_in_what(field, value, cache, directory, libbpf):
    spec = ebpfpy.load_collection_spec(path_of("maps.bpf.o")).maps["pinned"]
    changes = {field: value, "key": None, "value": None}
    changes["type"] = MapType.HASH if field == "key_size" else spec.type
    with create_map(attrs.evolve(spec, **changes), None) as other:
        other.pin(os.path.join(directory, "pinned"))
    with pytest.raises(LibbpfError, match="parameter mismatch"):
        libbpf.load(path_of("maps.bpf.o"), pin_root=directory)
    with pytest.raises(InputError, match=rf"the one pinned at {directory}/pinned differs: .*{field}.* there"):
        ebpfpy.load_collection(path_of("maps.bpf.o"), pinning(cache, directory))
