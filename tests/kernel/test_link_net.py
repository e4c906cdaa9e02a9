"""XDP, tcx, netkit, tc, netfilter, network namespaces, maps of sockets and single sockets."""

import os
import socket
import struct
import time

import pytest

from ebpfpy import link, sys
from ebpfpy.errors import InputError, KernelError, NotFoundError, UnsupportedError
from ebpfpy.sys import AttachType, LinkType, linkinfo
from tests.kernel import features, netns
from tests.kernel.conformance import check_attachment, check_link, loaded, only, runs, unless_missing
from tests.kernel.netns import FRAME, PACKET, connection, send

namespace = netns.namespace
OBJECT = "hooks.bpf.o"
LO = "lo"


def check_counts(collection, attach, trigger=send, key=0):
    """The program runs while it is attached, and neither before nor after."""
    trigger()
    assert runs(collection, key) == 0
    with unless_missing():
        attached = attach()
    with attached:
        trigger()
        during = runs(collection, key)
        assert during > 0
    trigger()
    assert runs(collection, key) == during


# --- XDP ----------------------------------------------------------------------------------------------


def test_xdp_counts_the_frames_of_an_interface(namespace):
    with only(OBJECT, "on_xdp", wanted_length=FRAME) as (program, collection):
        check_counts(collection, lambda: link.attach_xdp(program, LO, mode=link.XdpMode.SKB))
        check_counts_more(collection, lambda: link.attach_xdp(program, socket.if_nametoindex(LO)))
        check_link(lambda: link.attach_xdp(program, LO), LinkType.XDP, details=linkinfo.XdpDetails)


def check_counts_more(collection, attach, trigger=send):
    before = runs(collection)
    with attach():
        trigger()
    assert runs(collection) > before


def test_an_xdp_link_changes_its_program_without_a_gap(namespace):
    with (
        loaded(OBJECT, "on_xdp", "on_xdp_too", wanted_length=FRAME) as collection,
        link.attach_xdp(collection.programs["on_xdp"], LO) as attached,
    ):
        one, two = collection.programs["on_xdp"], collection.programs["on_xdp_too"]
        send()
        attached.update(two)
        send(2)
        assert (runs(collection, 0), runs(collection, 1)) == (1, 2)
        assert attached.info.prog_id == two.info.id
        with pytest.raises(PermissionError):
            attached.update(two, expected=one)
        attached.update(one, expected=two)
        assert attached.info.prog_id == one.info.id
        with pytest.raises(KernelError, match=r"EBUSY.*an XDP program already"):
            link.attach_xdp(two, LO)


def test_a_severed_link_is_dead_though_open(namespace):
    with only(OBJECT, "on_xdp", wanted_length=FRAME) as (program, collection), link.attach_xdp(program, LO) as attached:
        attached.sever()
        send()
        assert runs(collection) == 0
        assert attached.info.details.ifindex == 0
        assert not attached.closed


def test_what_is_wrong_with_an_xdp_attachment_is_said(namespace):
    with only(OBJECT, "on_xdp") as (program, _):
        with pytest.raises(NotFoundError, match=r"no network interface 'nothing0' .* there are lo"):
            link.attach_xdp(program, "nothing0")
        with pytest.raises(InputError, match="number 0"):
            link.attach_xdp(program, 0)
        with pytest.raises(KernelError, match=r"driver has no XDP in this mode|EOPNOTSUPP|EINVAL"):
            link.attach_xdp(program, LO, mode=link.XdpMode.DRV)
        with pytest.raises(UnsupportedError, match=r"use link.attach_xdp\(program, interface\)"):
            link.attach(program)
        with pytest.raises(InputError, match="is not for tcx"):
            link.attach_tcx(program, LO, "ingress")
    with only(OBJECT, "on_devmap") as (program, _):
        with pytest.raises(InputError, match="is for a map"):
            link.attach_xdp(program, LO)
        with pytest.raises(UnsupportedError, match="put it into a map of devices"):
            link.attach(program)


# --- tcx and netkit -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["on_tcx_ingress", "on_tcx_egress"])
def test_tcx_counts_packets_in_the_direction_of_the_section(namespace, name):
    with only(OBJECT, name, wanted_length=FRAME) as (program, collection):
        check_counts(collection, lambda: link.attach_tcx(program, LO))
        check_link(lambda: link.attach_tcx(program, LO), LinkType.TCX, details=linkinfo.TcxDetails)
        with link.attach_tcx(program, LO) as attached:
            assert attached.info.number == socket.if_nametoindex(LO)
            assert attached.info.attach_type == program.spec.attach_type
        with pytest.raises(UnsupportedError, match=r"link.attach_tcx"):
            link.attach(program)


def test_tcx_runs_programs_in_the_order_that_anchors_say(namespace):
    with loaded(OBJECT, "on_tcx_ingress", "on_tc", "on_tc_next") as collection:
        first, second, third = (collection.programs[name] for name in ("on_tcx_ingress", "on_tc", "on_tc_next"))
        with unless_missing():
            middle = link.attach_tcx(first, LO, "ingress")
        with (
            middle,
            link.attach_tcx(second, LO, "ingress", anchor=link.First()) as front,
            link.attach_tcx(third, LO, "ingress", anchor=link.After(front)) as between,
        ):
            found = link.attached_programs(LO, "ingress")
            assert found.prog_ids == tuple(each.info.id for each in (second, third, first))
            assert found.link_ids == tuple(each.info.id for each in (front, between, middle))
            assert between.text == f"on_tc_next to tcx ingress of lo (after {front.text})"
            with pytest.raises(KernelError, match=r"ESTALE.*expected_revision"):
                link.attach_tcx(second, LO, "ingress", expected_revision=found.revision + 7)
            between.sever()
            between.close()
            assert link.attached_programs(LO, "ingress").prog_ids == (second.info.id, first.info.id)
        assert link.attached_programs(LO, "ingress").prog_ids == ()
        with pytest.raises(InputError, match="say its direction"):
            link.attach_tcx(second, LO)


@pytest.mark.parametrize("name", ["on_netkit", "on_netkit_peer"])
def test_netkit_counts_what_its_ends_send(namespace, name):
    features.require_option("CONFIG_NETKIT", add_netkit("nk0", "nk1"))
    with only(OBJECT, name) as (program, collection):
        netns.ip("addr", "add", "10.97.0.1/24", "dev", "nk0")
        netns.ip("link", "set", "nk0", "up")
        netns.ip("link", "set", "nk1", "up")
        with unless_missing():
            attached = link.attach_netkit(program, "nk0")
        with attached, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"nk0" if name == "on_netkit" else b"nk1")
            sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
            if name == "on_netkit_peer":
                netns.ip("addr", "add", "10.97.0.2/24", "dev", "nk1")
            sender.sendto(b"x", ("10.97.0.255", 9))
            end = time.monotonic() + 20
            while not runs(collection):
                assert time.monotonic() < end
                time.sleep(0.01)
            assert attached.info.details.attach_type == program.spec.attach_type
        check_link(lambda: link.attach_netkit(program, "nk0"), LinkType.NETKIT)
        with pytest.raises(KernelError, match="no netkit device"):
            link.attach_netkit(program, LO)


def add_netkit(name, peer):
    """Make a pair of netkit devices, which ip(8) learned late; the refusal's text, or None."""
    from ebpfpy.sys import netlink

    def info(name):
        return bytes(16) + netlink.attribute(3, name)

    data = netlink.attribute(1, info(peer))  # IFLA_NETKIT_PEER_INFO
    kind = netlink.attribute(1, b"netkit") + netlink.attribute(2, data)  # IFLA_INFO_KIND, IFLA_INFO_DATA
    body = info(name) + netlink.attribute(18, kind)  # IFLA_LINKINFO
    try:
        netlink.request(16, netlink.CREATE | netlink.EXCL, body, subject=name, call="RTM_NEWLINK")
    except KernelError as error:
        return str(error)
    return None


# --- classic tc ---------------------------------------------------------------------------------------


def test_tc_counts_packets_and_runs_filters_by_priority(namespace):
    with loaded(OBJECT, "on_tc", "on_tc_next", "on_tc_ingress", wanted_length=FRAME) as collection:
        last, before = collection.programs["on_tc"], collection.programs["on_tc_next"]
        with unless_missing_tc():
            check_counts(collection, lambda: link.attach_tc(last, LO, "egress"))
        counted = runs(collection, 0)
        with link.attach_tc(last, LO, "ingress", priority=7), link.attach_tc(before, LO, "ingress", priority=3) as one:
            assert one.text == "on_tc_next to tc ingress of lo, priority 3, handle 0x1"
            send()
        assert (runs(collection, 0), runs(collection, 1)) == (counted + 1, 1)
        with link.attach_tc(last, LO, "ingress", priority=3), link.attach_tc(before, LO, "ingress", priority=7):
            send()  # on_tc is the last word
        assert (runs(collection, 0), runs(collection, 1)) == (counted + 2, 1)
        check_attachment(lambda: link.attach_tc(last, LO, "egress"))
        same = {"priority": 9, "handle": 5}
        with link.attach_tc(last, LO, "egress", **same), pytest.raises(KernelError, match=r"EEXIST"):
            link.attach_tc(last, LO, "egress", **same)
        with link.attach_tc(collection.programs["on_tc_ingress"], LO) as attached:
            assert "tc ingress" in attached.text
        with pytest.raises(InputError, match="say its direction"):
            link.attach_tc(last, LO)
        with pytest.raises(InputError, match="no direction"):
            link.attach_tc(last, LO, "sideways")


def unless_missing_tc():
    """Skip where the modules of classic tc are missing."""
    from contextlib import contextmanager

    @contextmanager
    def skipping():
        try:
            yield
        except FileNotFoundError as error:
            if isinstance(error, KernelError):
                features.require(f"this kernel has no clsact or no filters of kind bpf: {error}")
            raise

    return skipping()


def test_a_tc_filter_can_be_left_behind(namespace):
    with only(OBJECT, "on_tc", wanted_length=FRAME) as (program, collection):
        with unless_missing_tc():
            link.attach_tc(program, LO, "egress").leave()
        send()
        assert runs(collection) == 1


# --- netfilter ----------------------------------------------------------------------------------------


def test_netfilter_counts_packets_at_its_hook(namespace):
    with only(OBJECT, "on_netfilter") as (program, collection):

        def attach(**more):
            return link.attach_netfilter(program, link.NetfilterFamily.IPV4, link.NetfilterHook.LOCAL_OUT, **more)

        check_counts(collection, attach)
        check_link(attach, LinkType.NETFILTER, details=linkinfo.NetfilterDetails)
        with attach(priority=-5) as attached:
            assert attached.info.details == (2, 3, -5, 0)
            with pytest.raises(KernelError, match="priority already"):
                attach(priority=-5)
        with pytest.raises(InputError, match="32 bits"):
            attach(priority=1 << 31)
        with pytest.raises(InputError, match="99"):
            link.attach_netfilter(program, 2, 99)
        with pytest.raises(UnsupportedError, match=r"link.attach_netfilter"):
            link.attach(program)


# --- network namespaces -------------------------------------------------------------------------------


def test_a_lookup_of_sockets_runs_for_its_namespace(namespace):
    with only(OBJECT, "on_lookup") as (program, collection):
        check_counts(collection, lambda: link.attach_netns(program))
        check_link(lambda: link.attach_netns(program), LinkType.NETNS, details=linkinfo.NetnsDetails)
        with open("/proc/thread-self/ns/net") as file, link.attach_netns(program, file) as attached:
            assert attached.info.details.netns_ino == os.fstat(file.fileno()).st_ino
        with pytest.raises(FileNotFoundError, match="network namespace /run/no"):
            link.attach_netns(program, "/run/no")
        with open("/dev/null") as file, pytest.raises(KernelError, match="no network namespace"):
            link.attach_netns(program, file)


def test_a_flow_dissector_runs_for_its_namespace(namespace):
    with only(OBJECT, "on_flow") as (program, collection):
        check_counts(collection, lambda: link.attach_netns(program), dissect)
        check_link(lambda: link.attach_netns(program), LinkType.NETNS)
        with link.attach_netns(program), pytest.raises(KernelError, match=r"EEXIST|E2BIG"):
            link.attach_netns(program)


def dissect():
    """Let the kernel dissect a packet: a group of packet sockets that share them by their hash."""
    fanout_hash = struct.pack("=I", 0 << 16 | os.getpid() & 0xFFFF)
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)) as one:
        one.bind((LO, 0))
        one.setsockopt(263, 18, fanout_hash)  # SOL_PACKET, PACKET_FANOUT
        send()


# --- sockets ------------------------------------------------------------------------------------------


def sockmap_link(attach):
    """A link since Linux 6.10, an attachment before."""
    with attach() as attached:
        without = isinstance(attached, link.Attachment)
    if without:
        check_attachment(attach)
    else:
        check_link(attach, LinkType.SOCKMAP, details=linkinfo.SockmapDetails)


def test_a_map_of_sockets_hands_messages_to_its_program(namespace):
    with only(OBJECT, "on_message") as (program, collection), connection() as (one, other):
        sockets = collection.maps["sockets"]
        with link.attach_sockmap(program, sockets) as attached:
            assert attached.text == "on_message to message verdict of map sockets"
            put(sockets, 0, one)
            one.sendall(b"hello")
            assert other.recv(100) == b"hello"
            assert runs(collection) == 1
            del sockets[0]
        sockmap_link(lambda: link.attach_sockmap(program, sockets))


def test_a_map_of_sockets_cuts_a_stream_and_judges_its_parts(namespace):
    with loaded(OBJECT, "on_stream_parser", "on_stream_verdict") as collection, connection() as (one, other):
        sockets = collection.maps["sockets"]
        with (
            link.attach_sockmap(collection.programs["on_stream_parser"], sockets),
            link.attach_sockmap(collection.programs["on_stream_verdict"], sockets),
        ):
            put(sockets, 0, other)
            one.sendall(b"hello")
            assert other.recv(100) == b"hello"
            assert runs(collection, 0) >= 1
            assert runs(collection, 1) >= 1
            del sockets[0]


def put(sockets, index, sock):
    sockets.update_bytes(struct.pack("=I", index), struct.pack("=I", sock.fileno()))


def test_a_program_for_sockets_needs_a_map_of_sockets(namespace):
    with only(OBJECT, "on_message") as (program, collection), pytest.raises(KernelError, match="no SOCKMAP"):
        link.attach_sockmap(program, collection.maps["runs"])
    with only(OBJECT, "on_socket") as (program, collection), pytest.raises(InputError, match="not for maps of sockets"):
        link.attach_sockmap(program, collection.maps["sockets"])


def test_a_socket_has_a_filter_while_it_is_attached(namespace):
    with only(OBJECT, "on_socket") as (program, collection):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))

            def trigger():
                receiver.sendto(b"x", receiver.getsockname())
                receiver.recv(10)

            check_counts(collection, lambda: link.attach_socket_filter(program, receiver), trigger)
            check_attachment(lambda: link.attach_socket_filter(program, receiver))
            attached = link.attach_socket_filter(program, receiver)
        attached.close()  # after the socket
        with socket.socket() as closed:
            closed.close()
            with pytest.raises(KernelError, match="setsockopt"):
                link.attach_socket_filter(program, closed)


def test_a_program_chooses_among_the_sockets_of_a_port(namespace):
    with only(OBJECT, "on_reuseport") as (program, collection):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            receiver.bind(("127.0.0.1", 0))

            def trigger():
                receiver.sendto(b"x", receiver.getsockname())
                receiver.recv(10)

            check_counts(collection, lambda: link.attach_reuseport(program, receiver), trigger)
            check_attachment(lambda: link.attach_reuseport(program, receiver))
        with pytest.raises(UnsupportedError, match=r"link.attach_reuseport"):
            link.attach(program)


@pytest.mark.parametrize(("name", "way"), [("on_route", "ip route"), ("on_call", r"program\.run\(\)")])
def test_a_program_that_no_link_is_for_says_how_it_is_used(name, way):
    with only(OBJECT, name) as (program, _), pytest.raises(UnsupportedError, match=way):
        link.attach(program)


def test_attach_types_that_a_section_leaves_open_must_be_said(namespace):
    with only(OBJECT, "on_verdict") as (program, collection):
        assert program.spec.attach_type == AttachType.SK_SKB_VERDICT
        with unless_missing():
            link.attach_sockmap(program, collection.maps["sockets"], attach_type=AttachType.SK_SKB_VERDICT).close()
        with pytest.raises(InputError, match="say its attach_type"):
            link.attach_sockmap(program, collection.maps["sockets"], attach_type=AttachType.XDP)


assert PACKET < FRAME
assert sys.LinkType is LinkType
