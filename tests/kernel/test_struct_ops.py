"""struct_ops: a congestion control made of programs, chosen by a socket."""

import socket

import attrs
import pytest

import ebpfpy
from ebpfpy import features, link
from ebpfpy.errors import InputError, KernelError, TargetNotFoundError, UnsupportedError
from ebpfpy.sys import MapFlags, MapType, ProgramType
from tests.kernel import features as machine
from tests.kernel.blueprints import path_of

NAME = b"ebpfpy_cc"
MEMBERS = ("ssthresh", "cong_avoid", "undo_cwnd", "init", "release")


@pytest.fixture
def spec():
    if not features.have_program_type(ProgramType.STRUCT_OPS):
        machine.since("5.6", "this kernel has no struct_ops")
    return ebpfpy.load_collection_spec(path_of("struct_ops.bpf.o"))


def converse(name):
    """A TCP connection to oneself with a congestion control."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        with socket.socket() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, name)
            client.connect(server.getsockname())
            peer, _ = server.accept()
            with peer:
                for _ in range(20):
                    client.sendall(b"x" * 5000)
                    received = 0
                    while received < 5000:
                        received += len(peer.recv(5000))
            return client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0")


def test_a_congestion_control_of_programs_is_chosen_by_a_socket_and_runs(spec):
    with ebpfpy.Collection(spec) as collection:
        assert "by_link" not in collection.maps
        ours = collection.maps["by_map"]
        ours.register()
        try:
            assert converse(NAME) == NAME
            value = {name: variable.get() for name, variable in collection.variables.items()}
            assert value["inits"] >= 1
            assert value["releases"] >= 1
            assert value["avoids"] > 0
        finally:
            ours.unregister()
        with pytest.raises(OSError, match="No such file"), socket.socket() as client:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, NAME)


def test_the_kernels_value_has_the_name_and_a_program_for_each_member(spec):
    with ebpfpy.Collection(spec) as collection:
        ours = collection.maps["by_map"]
        assert ours.spec.value.name == "bpf_struct_ops_tcp_congestion_ops"
        assert ours.info.btf_vmlinux_value_type_id
        assert len(ours.struct_ops_value) == ours.info.value_size > spec.maps["by_map"].value_size
        ours.register()
        try:
            data = ours[0]["data"]
            assert data["name"] == NAME.decode()
            ids = {name: program.info.id for name, program in collection.programs.items()}
            assert {name: data[name] for name in MEMBERS} == {
                "ssthresh": ids["cc_ssthresh"],
                "cong_avoid": ids["cc_avoid"],
                "undo_cwnd": ids["cc_undo"],
                "init": ids["cc_init"],
                "release": ids["cc_release"],
            }
            with pytest.raises(KernelError, match="map by_map"):
                ours.register()
        finally:
            ours.unregister()


def test_a_map_of_a_link_section_is_made_when_asked_for_and_attached_by_a_link(spec):
    spec.maps["by_link"].autocreate = True
    spec.maps["by_map"].autocreate = False
    try:
        collection = ebpfpy.Collection(spec)
    except UnsupportedError as error:
        machine.since(error.minimum, f"this kernel lacks {error.feature}")
        raise
    with collection:
        assert "cc_release" not in collection.programs, "it is in no map that is made"
        ours = collection.maps["by_link"]
        assert ours.spec.flags & MapFlags.LINK
        with pytest.raises(OSError, match="No such file"):
            converse(b"ebpfpy_cc_link")
        with link.attach_struct_ops(ours):
            assert converse(b"ebpfpy_cc_link") == b"ebpfpy_cc_link"
        with pytest.raises(OSError, match="No such file"):
            converse(b"ebpfpy_cc_link")


def test_the_blueprints_bytes_can_be_edited_and_programs_left_out(spec):
    ours = spec.maps["by_map"]
    ours.contents[: len(NAME) + 2] = NAME + b"_2"
    spec.programs["cc_release"].autoload = False
    with ebpfpy.Collection(spec) as collection:
        made = collection.maps["by_map"]
        made.register()
        try:
            assert converse(NAME + b"_2") == NAME + b"_2"
            assert made[0]["data"]["release"] == 0
            assert collection.variables["releases"].get() == 0
        finally:
            made.unregister()


def test_a_member_that_the_kernel_does_not_have_must_be_zero(spec):
    ours = spec.maps["by_map"]
    offset = next(member.offset for member in ours.value.members if member.name == "ebpfpy_no_such_member")
    ours.contents[offset] = 1
    with pytest.raises(UnsupportedError, match=r"map by_map: tcp_congestion_ops.ebpfpy_no_such_member is not zero"):
        ebpfpy.Collection(spec)


def test_a_program_for_a_member_that_the_kernel_does_not_have_is_refused(spec):
    spec.programs["cc_init"].attach_to = "tcp_congestion_ops:no_such_member"
    with pytest.raises(TargetNotFoundError, match="has no member 'no_such_member'"):
        ebpfpy.Collection(spec)


def test_a_structure_that_the_kernel_does_not_have_is_named(spec):
    event = attrs.evolve(spec.maps["by_map"], value=spec.types.type_by_name("sock"))
    spec.maps["by_map"] = event
    with pytest.raises(TargetNotFoundError, match="struct sock: the running kernel has no struct bpf_struct_ops_sock"):
        ebpfpy.Collection(spec)


def test_a_struct_ops_program_that_no_structure_refers_to_says_so(spec):
    spec.programs["cc_init"].attach_to = ""
    for each in ("by_map", "by_link"):
        spec.maps[each].members["init"] = None
    with pytest.raises(TargetNotFoundError, match="program cc_init: no structure of the object refers to it"):
        ebpfpy.Collection(spec)


def test_other_maps_hold_no_structure_of_programs(spec):
    refusal = pytest.raises(UnsupportedError, match=r"map .bss of type ARRAY holds no structure of programs")
    with ebpfpy.Collection(spec) as collection, refusal:
        collection.maps[".bss"].register()
    spec.maps["by_map"].value = None
    with pytest.raises(InputError, match="says its structure in `value`"):
        ebpfpy.Collection(spec)
    assert spec.maps["by_map"].type == MapType.STRUCT_OPS


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("zz", "which the object does not have; there are: cc_"),
        ("by_map", "which is a map; there are: cc_"),
        ("cc_release", "which is not loaded: set spec.programs"),
    ],
)
def test_a_member_is_not_left_empty_where_somebody_wrote_a_program(spec, name, why):
    spec.programs["cc_release"].autoload = False
    spec.maps["by_map"].members["init"] = name
    with pytest.raises(InputError, match=f"map by_map: member init is to be struct_ops program '{name}', {why}"):
        ebpfpy.Collection(spec)


def test_a_program_is_in_one_member_only(spec):
    spec.maps["by_map"].members["init"] = "cc_release"
    with pytest.raises(InputError, match=r"program cc_release is to implement member .*, but implements .* already"):
        ebpfpy.Collection(spec)


def test_a_program_that_moved_to_another_member_is_loaded_for_it(spec):
    members = spec.maps["by_map"].members
    members["init"], members["release"] = members["release"], members["init"]
    with ebpfpy.Collection(spec) as collection:
        assert collection.programs["cc_release"].spec.attach_to == "tcp_congestion_ops:init"


def test_a_program_of_an_optional_section_is_loaded_with_the_structure_that_has_it(spec):
    release = spec.programs["cc_release"]
    release.section, release.autoload = "?struct_ops", False
    with ebpfpy.Collection(spec) as collection:
        assert "cc_release" in collection.programs
    spec.maps["by_map"].members["release"] = None
    with ebpfpy.Collection(spec) as collection:
        assert "cc_release" not in collection.programs
        assert collection.notes == []


def test_a_structure_may_be_called_otherwise(spec):
    spec.maps["by_map"].name = "other"
    with ebpfpy.Collection(spec) as collection:
        assert collection.maps["other"].info.name == "other"


def test_a_member_that_the_object_fills_may_stay_empty_with_a_note(spec):
    spec.programs["cc_release"].autoload = False
    with ebpfpy.Collection(spec) as collection:
        assert collection.notes == ["map by_map: member release stays empty: program cc_release is not loaded"]
