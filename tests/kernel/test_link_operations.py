"""struct_ops and freplace by link; links by id and by pin."""

import socket
import uuid
from pathlib import Path

import pytest

import ebpfpy
from ebpfpy import link
from ebpfpy.errors import InputError, KernelError, UnsupportedError
from ebpfpy.sys import LinkType, linkinfo
from tests.kernel import features
from tests.kernel.blueprints import path_of
from tests.kernel.conformance import check_link, loaded, only, unless_missing

CONTROL = b"ebpfpy_cc"


def chosen(name):
    """Whether sockets can choose a congestion control of that name."""
    with socket.socket() as one:
        try:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
        except OSError:
            return False
        return True


@pytest.fixture
def operations():
    """The maps of struct_ops.bpf.o, both of them."""
    spec = ebpfpy.load_collection_spec(path_of("struct_ops.bpf.o"))
    for each in spec.maps.values():
        each.autocreate = True
    with unless_missing(), ebpfpy.Collection(spec) as collection:
        yield collection.maps


def test_operations_are_in_use_while_their_link_lives(operations):
    by_link = operations["by_link"]
    name = by_link.struct_ops_value
    with unless_missing():
        attached = link.attach_struct_ops(by_link)
    with attached:
        assert isinstance(attached.info.details, linkinfo.StructOpsDetails)
        assert attached.info.number == by_link.info.id
        with pytest.raises(InputError, match="update_map"):
            attached.update(None)
    assert name == by_link.struct_ops_value
    check_link(lambda: link.attach_struct_ops(by_link), LinkType.STRUCT_OPS)


def test_operations_without_a_link_are_in_use_until_they_are_closed(operations):
    with link.attach_struct_ops(operations["by_map"]) as attached:
        assert chosen(CONTROL)
        with pytest.raises(UnsupportedError, match="struct_ops links"):
            attached.pin("/sys/fs/bpf/x")
    assert not chosen(CONTROL)


def test_a_map_of_something_else_is_refused():
    with loaded("hooks.bpf.o", "on_xdp") as collection, pytest.raises(InputError, match="holds no structure"):
        link.attach_struct_ops(collection.maps["runs"])


@pytest.fixture
def replacement():
    """A program, and another that replaces a function of it."""
    features.require(features.no_fentry())
    with ebpfpy.load_collection(path_of("replaced.bpf.o")) as target:
        spec = ebpfpy.load_collection_spec(path_of("replacing.bpf.o"))
        spec.programs["instead"].autoload = True
        spec.programs["instead"].attach_target = (target.programs["classify"], "")
        with unless_missing(), ebpfpy.Collection(spec) as collection:
            yield target.programs["classify"], collection.programs["instead"]


def test_a_function_of_a_program_is_replaced_while_the_link_lives(replacement):
    target, program = replacement
    assert target.run(bytes(64)).retval == 11
    with link.attach(program):
        assert target.run(bytes(64)).retval != 11
        with pytest.raises(KernelError, match="EBUSY"):
            link.attach_freplace(program, target)
    assert target.run(bytes(64)).retval == 11
    with pytest.raises(InputError, match="of which program"):
        link.attach_freplace(program, function="verdict")


def test_a_function_of_a_program_loaded_later_is_replaced(replacement):
    _, program = replacement
    with ebpfpy.load_collection(path_of("replaced.bpf.o")) as again:
        other = again.programs["classify"]
        with unless_missing(), link.attach_freplace(program, other) as attached:
            assert attached.text == "instead to program classify:verdict"
            assert other.run(bytes(64)).retval != 11
        assert other.run(bytes(64)).retval == 11
        with pytest.raises(LookupError, match="no_such"):
            link.attach_freplace(program, other, "no_such")


def test_links_are_found_by_id_and_by_pin():
    with only("hooks.bpf.o", "on_xdp") as (program, _):
        with link.attach_xdp(program, "lo", mode=link.XdpMode.SKB) as attached:
            number = attached.info.id
            with link.from_id(number) as same:
                assert same.text == f"(xdp 1) id {number}"
            with pytest.raises(InputError, match="positive"):
                link.from_id(0)
        with pytest.raises(FileNotFoundError):
            link.from_id(0x7FFFFFFF)
        features.require(features.no_bpffs())
        path = Path(features.BPFFS) / f"ebpfpy-{uuid.uuid4().hex}"
        program.pin(path)
        try:
            with pytest.raises(InputError, match="is no pinned link"):
                link.from_path(path)
        finally:
            path.unlink()
        with pytest.raises(FileNotFoundError):
            link.from_path(path)
