"""Tools for connections and packets, as many people use them: each says what the test has just done."""

import errno
import os
import socket
import subprocess

import pytest

from ebpfpy import features as kernel
from ebpfpy import link, sys
from tests.kernel import features, modules
from tests.kernel.netns import FRAME, ip, own_namespace, send
from tests.kernel.test_tools import COMM, PID
from tests.kernel.tools import reporting, running

ESTABLISHED, LISTEN = 1, 10
"""Of include/net/tcp_states.h."""
IP_FREEBIND = 15
LOCALHOST = [127, 0, 0, 1] + [0] * 12
LOCALHOST6 = [0] * 15 + [1]
NETWORK_127_0_0_0 = {"bits": 8, "address": [127, 0, 0, 0]}


def number_of(address):
    """An IPv4 address as a 32-bit number in a structure holds it, in network order."""
    return int.from_bytes(socket.inet_aton(address), "little")


# --- TCP --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chosen", [("fexit_v4", "fexit_v6"), ("enter_v4", "leave_v4", "enter_v6", "leave_v6")])
def test_tcpconnect_says_who_connects_to_where_by_fexit_and_by_kprobes(options, chosen):
    with (
        socket.create_server(("127.0.0.1", 0)) as four,
        socket.create_server(("::1", 0), family=socket.AF_INET6) as six,
    ):
        ports = [server.getsockname()[1] for server in (four, six)]
        with (
            running("tcpconnect", *chosen, options=options, ports=ports + [0] * 14, ports_used=2) as tool,
            reporting(tool) as events,
            socket.create_server(("127.0.0.1", 0)) as other,
        ):
            ends = []
            for server in (other, four, six):
                with socket.create_connection(server.getsockname()[:2], timeout=20) as client:
                    ends.append(client.getsockname())
            with socket.create_connection(four.getsockname(), timeout=20):
                pass
            first, second, third = events(3)
            counts = {(each["family"], each["port"]): count for each, count in tool.maps["counts"].items()}
    for event in (first, second, third):
        assert (event["pid"], event["uid"], event["comm"], event["result"]) == (PID, os.getuid(), COMM, 0)
    assert (first["family"], first["port"], first["source_port"]) == (socket.AF_INET, ports[0], ends[1][1])
    assert first["destination"] == first["source"] == LOCALHOST
    assert (second["family"], second["port"], second["source_port"]) == (socket.AF_INET6, ports[1], ends[2][1])
    assert second["destination"] == second["source"] == LOCALHOST6
    assert third["port"] == ports[0]
    assert counts == {(socket.AF_INET, ports[0]): 2, (socket.AF_INET6, ports[1]): 1}


def test_tcplife_says_how_long_a_connection_lived_and_how_much_went_through_it(options):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with running("tcplife", options=options, only_port=port) as tool, reporting(tool) as events:
            client = socket.create_connection(server.getsockname(), timeout=20)
            ours = client.getsockname()[1]
            peer, _ = server.accept()
            with peer:
                with client:
                    client.sendall(b"x" * 1000)
                    peer.sendall(b"y" * 500)
                    assert len(peer.recv(1000, socket.MSG_WAITALL)) == 1000
                    assert len(client.recv(500, socket.MSG_WAITALL)) == 500
                assert peer.recv(1) == b""
            found = {each["source_port"]: each for each in events(2)}
    out, back = found[ours], found[port]
    assert (out["port"], back["port"]) == (port, ours)
    for event, sent, received in ((out, 1000, 500), (back, 500, 1000)):
        assert (event["pid"], event["comm"]) == (PID, COMM)
        assert event["source"] == event["destination"] == LOCALHOST
        assert sent <= event["sent"] <= sent + 2, "SYN and FIN count as bytes"
        assert received <= event["received"] <= received + 1
        assert 0 < event["microseconds"] < 60_000_000


def test_bindsnoop_says_who_listens_where_with_which_options(options):
    with (
        running("bindsnoop", options=options, only_pid=PID) as tool,
        reporting(tool) as events,
        socket.socket() as server,
        socket.socket() as second,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as plain,
    ):
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.setsockopt(socket.IPPROTO_IP, IP_FREEBIND, 1)
        server.bind(("127.0.0.1", 0))
        server.listen(7)
        port = server.getsockname()[1]
        with pytest.raises(OSError, match="in use"):
            second.bind(("127.0.0.1", port))
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        plain.bind(("0.0.0.0", 0))
        bound, listens, refused, datagrams = events(4)
        for event in (bound, listens, refused, datagrams):
            assert (event["pid"], event["comm"], event["interface"]) == (PID, COMM, 0)
        for event in (bound, listens):
            assert (event["address"], event["port"], event["result"]) == (number_of("127.0.0.1"), port, 0)
            assert event["protocol"] == socket.IPPROTO_TCP
            assert switched_on(event) == {"freebind", "reuseaddress"}
        assert (bound["backlog"], listens["backlog"]) == (0, 7)
        assert (refused["result"], switched_on(refused)) == (-errno.EADDRINUSE, set())
        assert (datagrams["protocol"], datagrams["port"]) == (socket.IPPROTO_UDP, plain.getsockname()[1])
        assert (datagrams["address"], switched_on(datagrams)) == (0, {"reuseport"})


def switched_on(event):
    """The names of the bits of a union of a number and a structure of bits."""
    options = event["options"]
    return {name for name, value in options.items() if name != "all" and value}


def test_sockets_lists_the_sockets_of_tcp(options):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(server.getsockname(), timeout=20) as client:
            ours = client.getsockname()[1]
            with running("sockets", options=options, only_port=port) as tool:
                text = tool.links["list"].read().decode()
    found = {tuple(line.split()) for line in text.splitlines()}
    uid = str(os.getuid())
    assert (str(LISTEN), f"127.0.0.1:{port}", "0.0.0.0:0", uid) in found
    assert (str(ESTABLISHED), f"127.0.0.1:{ours}", f"127.0.0.1:{port}", uid) in found
    assert {line[1] for line in found} == {f"127.0.0.1:{port}", f"127.0.0.1:{ours}"}


def test_gethostlatency_says_which_names_were_looked_up(options):
    with running("gethostlatency", options=options, only_pid=PID) as tool, reporting(tool) as events:
        socket.getaddrinfo("127.0.0.1", None, flags=socket.AI_NUMERICHOST)
        with pytest.raises(socket.gaierror) as refusal:
            socket.getaddrinfo("no-number.example", None, flags=socket.AI_NUMERICHOST)
        good, bad = events(2)
    for event in (good, bad):
        assert (event["pid"], event["comm"]) == (PID, COMM)
        assert event["nanoseconds"] > 0
    assert (good["host"], good["result"]) == ("127.0.0.1", 0)
    assert (bad["host"], bad["result"]) == ("no-number.example", refusal.value.errno)


# --- packets ----------------------------------------------------------------------------------------------


def test_packets_counts_what_arrives_and_leaves_and_drops_what_is_on_the_list(options):
    with (
        own_namespace(),
        running("packets", options=options, attach=False) as tool,
        link.attach_xdp(tool.programs["arrive"], "lo"),
        leaving(tool.programs["leave"]),
    ):
        send(5)
        expected = {"packets": 5, "bytes": 5 * FRAME}
        for name in ("arrived", "left"):
            counters = tool.maps[name][socket.IPPROTO_UDP]
            assert {field: sum(each[field] for each in counters) for field in expected} == expected
        tool.maps["dropped"][NETWORK_127_0_0_0] = 0
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as both:
            both.bind(("127.0.0.1", 0))
            both.settimeout(0.2)
            both.sendto(b"x", both.getsockname())
            with pytest.raises(TimeoutError):
                both.recv(1)
        assert tool.maps["dropped"][NETWORK_127_0_0_0] == 1
        del tool.maps["dropped"][NETWORK_127_0_0_0]
        send()
        assert sum(each["packets"] for each in tool.maps["arrived"][socket.IPPROTO_UDP]) == 6


def leaving(program):
    """Attach a program to what leaves the loopback interface, in the newest way that the kernel has."""
    if kernel.have_tcx():
        return link.attach_tcx(program, "lo", "egress")
    return link.attach_tc(program, "lo", "egress")


def test_dropwatch_says_where_a_datagram_was_thrown_away_and_why(options):
    with (
        own_namespace(),
        running("dropwatch", options=options, only_protocol=0x0800) as tool,
        reporting(tool) as events,
    ):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as closed:
            closed.bind(("127.0.0.1", 0))
            nobody = closed.getsockname()
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            sender.sendto(b"x", nobody)
        (event,) = events(1)
        knows = tool.variables["knows_reasons"].get()
    where = sys.symbols_at([event["location"]])[event["location"]].name
    assert "udp" in where
    assert event["protocol"] == 0x0800
    assert event["no_socket"] is knows
    assert bool(event["reason"]) is knows


# --- functions of modules ---------------------------------------------------------------------------------


def test_conntrack_says_which_connections_the_firewall_has_confirmed(options):
    features.require_module_tracing()
    track = ("nf_conntrack", "act_ct", "cls_matchall", "sch_ingress")
    for name in track:  # they stay: unloading them means unloading what they have pulled in
        modules.load(name)
    with own_namespace():
        subprocess.run(["tc", "qdisc", "add", "dev", "lo", "clsact"], check=True)
        rule = "filter add dev lo ingress protocol ip matchall action ct commit"
        subprocess.run(["tc", *rule.split()], check=True)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
            receiver.bind(("127.0.0.1", 0))
            port = receiver.getsockname()[1]
            with running("conntrack", options=options, only_port=port) as tool, reporting(tool) as events:
                with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                    for _ in range(3):
                        sender.sendto(b"x", receiver.getsockname())
                    ours = sender.getsockname()[1]
                (event,) = events(1)
                assert tool.programs["confirm"].target.module == "nf_conntrack"
                assert tool.variables["attempts"].get() >= tool.variables["confirmed"].get() == 1
        ip("link", "set", "lo", "down")
    assert event["source"] == event["destination"] == number_of("127.0.0.1")
    assert (event["source_port"], event["port"]) == (ours, port)
    assert (event["family"], event["protocol"]) == (socket.AF_INET, socket.IPPROTO_UDP)
    assert event["status"] & 8, "IPS_CONFIRMED"
