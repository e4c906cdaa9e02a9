"""Pins: opened again as what they are, with the types of their values."""

import os
import subprocess
import sys as python

import pytest

from ebpfpy import asm, btf, link, pin, sys
from ebpfpy.elf import MapSpec
from ebpfpy.errors import InputError, KernelError, UnsupportedError
from ebpfpy.features.maps import shape_of
from ebpfpy.loader import Map, Program, create_map
from ebpfpy.loader.objectbtf import ObjectTypes
from ebpfpy.sys import AttachType, MapFlags, MapType, ProgramType
from tests.kernel import features

pytestmark = pytest.mark.kernel

ORDER = python.byteorder


@pytest.fixture(name="directory")
def bpf_directory(tmp_path):
    """A BPF file system of the test's own."""
    place = tmp_path / "bpf"
    place.mkdir()
    subprocess.run(["mount", "-t", "bpf", "bpf", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def typed_map(**changes):
    """A hash from an unsigned int to a struct, with its types in the kernel."""
    builder = btf.Builder()
    number = btf.Int("unsigned int", 4)
    wide = btf.Int("long", 8, 1)
    value = btf.Struct("sum", 16, (btf.Member("count", number, 0), btf.Member("total", wide, 64)))
    builder.add(number)
    builder.add(value)
    spec = builder.spec("types")
    arguments = {
        "name": "sums",
        "type": MapType.HASH,
        "key_size": 4,
        "value_size": 16,
        "max_entries": 8,
        "key": spec.type_by_id(1),
        "value": spec.type_by_name("sum", btf.Struct),
        **changes,
    }
    with btf.Handle.load(spec) as handle:
        return create_map(MapSpec(**arguments), ObjectTypes(handle, spec))


def program(type_=ProgramType.SOCKET_FILTER, name="nothing", **arguments):
    code = asm.encode([asm.mov_imm(0, 0), asm.exit_()], ORDER)
    fd, _ = sys.prog_load(type=type_, insns=code, license="GPL", name=name, **arguments)
    return fd


def iterator_link(maps):
    """A link that needs no attached thing to be traced: a raw tracepoint."""
    with program(ProgramType.RAW_TRACEPOINT, "on_enter") as loaded:
        return link.Link(sys.raw_tracepoint_open(loaded, "sys_enter"), "test")


def test_a_pinned_map_comes_back_with_decoded_values(directory):
    with typed_map() as made:
        made[7] = {"count": 2, "total": -5}
        made.pin(directory / "sums")
    with pin.load(directory / "sums") as again:
        assert isinstance(again, Map)
        assert again[7] == {"count": 2, "total": -5}
        assert (again.name, again.type, again.max_entries) == ("sums", MapType.HASH, 8)
        assert again.spec.value.name == "sum"
        again[8] = {"count": 1, "total": 1}
        assert sorted(again) == [7, 8]


def test_a_map_without_types_comes_back_with_bytes(directory):
    with create_map(MapSpec("plain", MapType.ARRAY, 4, 8, 2), None) as made:
        made[1] = 5
        made.pin(directory / "plain")
    with pin.load(str(directory / "plain")) as again:
        assert again[1] == (5).to_bytes(8, ORDER)
        assert again.spec == MapSpec("plain", MapType.ARRAY, 4, 8, 2)


def test_a_read_only_map_can_be_read_and_not_written(directory):
    with typed_map() as made:
        made[1] = {"count": 1, "total": 1}
        made.pin(directory / "sums")
    with pin.load(directory / "sums", read_only=True) as again:
        assert again[1]["count"] == 1
        with pytest.raises(PermissionError):
            again[1] = {"count": 2, "total": 2}


def test_memory_of_a_frozen_map_is_mapped_for_reading(directory):
    spec = MapSpec("memory", MapType.ARRAY, 4, 8, 1, flags=MapFlags.MMAPABLE, frozen=True)
    with create_map(spec, None) as made:
        made.pin(directory / "memory")
    with pin.load(directory / "memory") as again:
        assert again.spec.frozen
        assert again.memory()[:8] == bytes(8)
        with pytest.raises(TypeError):
            again.memory()[:8] = bytes(8)


def test_a_map_that_is_neither_can_be_written_through_its_memory(directory):
    with create_map(MapSpec("memory", MapType.ARRAY, 4, 8, 1, flags=MapFlags.MMAPABLE), None) as made:
        made.pin(directory / "memory")
    with pin.load(directory / "memory") as again:
        assert not again.spec.frozen
        again.memory()[:8] = b"12345678"
        assert again[0] == b"12345678"


def test_a_pinned_program_comes_back_and_runs(directory):
    with program(name="nothing_at_all") as fd:
        sys.obj_pin(fd, directory / "program")
    for read_only in (False, True):
        with pin.load(directory / "program", read_only=read_only) as again:
            assert isinstance(again, Program)
            assert (again.name, again.type) == ("nothing_at_all", ProgramType.SOCKET_FILTER)
            assert again.spec.license == "GPL"
            assert again.test_run(data=bytes(14)).retval == 0


def test_a_pinned_link_keeps_its_program_attached_and_comes_back(directory):
    with iterator_link(None) as attached:
        number = attached.info.id
        attached.pin(directory / "link")
    with pin.load(directory / "link") as again:
        assert isinstance(again, link.Link)
        assert again.info.id == number
        assert again.info.target == "sys_enter"
        assert "raw tracepoint sys_enter" in again.text


def test_a_link_cannot_be_opened_read_only(directory):
    with iterator_link(None) as attached:
        attached.pin(directory / "link")
    with pytest.raises(KernelError, match="links cannot be opened read-only"):
        pin.load(directory / "link", read_only=True)


def test_walking_finds_everything_in_the_order_of_the_paths(directory):
    (directory / "b").mkdir()
    with typed_map() as made, program() as fd, iterator_link(None) as attached:
        made.pin(directory / "b" / "map")
        sys.obj_pin(fd, directory / "c")
        attached.pin(directory / "a")
    os.symlink(directory / "c", directory / "d")
    found = []
    for path, opened in pin.walk(directory):
        with opened:
            found.append((os.path.relpath(path, directory), type(opened).__name__))
    own = [pair for pair in found if not pair[0].endswith(".debug")]
    assert own == [("a", "Link"), ("b/map", "Map"), ("c", "Program")]


def test_a_pin_that_goes_away_while_walking_is_left_out(directory):
    with typed_map() as made:
        for name in ("a", "b", "c"):
            made.pin(directory / name)
    found = []
    for path, opened in pin.walk(directory):
        opened.close()
        found.append(os.path.basename(path))
        if found[-1] == "a":
            (directory / "b").unlink()
    assert [name for name in found if not name.endswith(".debug")] == ["a", "c"]


def test_nothing_at_the_path_is_an_error(directory):
    with pytest.raises(FileNotFoundError, match="BPF_OBJ_GET"):
        pin.load(directory / "nothing")
    with pytest.raises(FileNotFoundError):
        list(pin.walk(directory / "nothing"))


def test_a_file_that_is_no_pinned_object_is_an_error_that_says_so(tmp_path):
    file = tmp_path / "file"
    file.write_bytes(b"")
    for read_only in (False, True):
        with pytest.raises(InputError, match="file is no pinned object: it is in no BPF file system"):
            pin.load(file, read_only=read_only)


def test_a_directory_is_an_error_that_names_the_other_function(directory):
    with pytest.raises(InputError, match="is a directory: `walk`"):
        pin.load(directory)


def test_walking_elsewhere_is_an_error(tmp_path):
    with pytest.raises(InputError, match="is in no BPF file system"):
        list(pin.walk(tmp_path))


def test_a_path_with_a_nul_byte_is_an_error():
    with pytest.raises(InputError, match="NUL"):
        pin.load("/sys/fs/bpf/a\0b")


def test_a_name_with_a_dot_is_named_as_what_the_file_system_does_not_take(directory):
    with typed_map() as made, pytest.raises(PermissionError, match="takes no name with a dot in it: 'x_y' instead of"):
        made.pin(directory / "x.y")


def test_kinds_of_descriptors_are_told_apart():
    with typed_map() as made, program() as fd, iterator_link(None) as attached:
        assert [pin.kind_of(each) for each in (made, fd, attached)] == ["map", "prog", "link"]
    with open("/dev/null") as file, pytest.raises(UnsupportedError, match="/dev/null is no map, program or link"):
        pin.kind_of(file)


def test_attach_types_are_not_kept_by_the_kernel(directory):
    with program(ProgramType.CGROUP_SKB, expected_attach_type=AttachType.CGROUP_INET_EGRESS) as fd:
        sys.obj_pin(fd, directory / "program")
    with pin.load(directory / "program") as again:
        assert again.spec.attach_type is None


# --- what is no pin -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "why"),
    [(None, "not None"), (5, "not 5"), ("", "empty path"), ("a\0b", "NUL byte"), ("\ud800", "half of a")],
)
def test_what_is_no_path_is_refused(path, why):
    with program() as fd, typed_map() as made:
        attempts = [lambda: pin.load(path), lambda: list(pin.walk(path)), lambda: link.from_path(path)]
        attempts += [lambda: made.pin(path), lambda: sys.obj_pin(fd, path), lambda: sys.obj_get(path)]
        for attempt in attempts:
            with pytest.raises(InputError, match=f"pins? is an? .*{why}|pins?: a path cannot hold (a )?{why}"):
                attempt()


@pytest.mark.parametrize("wrong", [None, "", [], b"/sys/fs/bpf"], ids=repr)
def test_what_is_no_descriptor_is_refused(wrong):
    with pytest.raises(InputError, match="a descriptor is a number, or what has a fileno"):
        pin.kind_of(wrong)


@pytest.mark.parametrize("kind", [MapType.INSN_ARRAY, MapType.RHASH], ids=lambda kind: kind.name)
def test_maps_of_the_newest_types_are_opened_as_what_they_are(kind, directory):
    features.require_map_type(kind)
    with create_map(MapSpec("newer", kind, **shape_of(kind)), None) as made:
        made.pin(directory / "newer")
    with pin.load(directory / "newer") as opened:
        assert isinstance(opened, Map)
        assert (opened.type, opened.max_entries) == (kind, 1)
