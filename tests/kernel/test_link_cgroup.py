"""cgroups: by link, without one, in an order, and for security hooks."""

import os
import socket
import subprocess
import sys as python
import uuid
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ebpfpy import link
from ebpfpy.errors import InputError, KernelError, UnsupportedError
from ebpfpy.sys import AttachFlags, AttachType, LinkType, linkinfo, prog_query
from tests.kernel import features
from tests.kernel.conformance import check_attachment, check_link, loaded, only, runs, unless_missing

OBJECT = "hooks.bpf.o"
ACTIONS = {
    "on_sock_create": "socket.socket().close()",
    "on_connect4": "s = socket.socket(); s.connect_ex(('127.0.0.1', 1))",
    "on_sendmsg4": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "on_cgroup_egress": "socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 9))",
    "on_setsockopt": "socket.socket().setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)",
    "on_sysctl": "open('/proc/sys/kernel/ostype').read()",
    "on_device": "open('/dev/null').close()",
    "on_sockops": "s = socket.socket(); s.connect_ex(('127.0.0.1', 1))",
}


def mount_point():
    """Where version 2 of cgroups is mounted."""
    with open("/proc/self/mounts") as mounts:
        for line in mounts:
            if line.split()[2] == "cgroup2":
                return Path(line.split()[1])
    features.require("no cgroup file system of version 2 is mounted")
    return None


@contextmanager
def made(path):
    path.mkdir()
    try:
        yield path
    finally:
        path.rmdir()


@pytest.fixture
def cgroup():
    with made(mount_point() / f"ebpfpy-{uuid.uuid4().hex}") as path:
        yield path


def inside(cgroup, action):
    """Do something in a process in a cgroup."""
    code = f"import os, socket; open({str(cgroup / 'cgroup.procs')!r}, 'w').write(str(os.getpid())); {action}"
    subprocess.run([python.executable, "-I", "-S", "-W", "ignore", "-c", code], check=True)


def attached_to(cgroup, attach_type):
    fd = os.open(cgroup, os.O_RDONLY)
    try:
        return prog_query(attach_type=attach_type, target_fd=fd)
    finally:
        os.close(fd)


@pytest.mark.parametrize("name", ACTIONS)
def test_a_hook_runs_for_processes_of_its_cgroup_while_it_is_attached(cgroup, name):
    with only(OBJECT, name) as (program, collection), made(cgroup / "below") as below:
        with link.attach_cgroup(program, cgroup) as attached:
            before = runs(collection)
            inside(below, ACTIONS[name])
            assert runs(collection) > before
            assert attached.info.attach_type == program.spec.attach_type
            assert attached.info.number == os.stat(cgroup).st_ino
            during = runs(collection)
        inside(below, ACTIONS[name])
        assert runs(collection) == during
        check_link(lambda: link.attach_cgroup(program, cgroup), LinkType.CGROUP, details=linkinfo.CgroupDetails)
        with pytest.raises(UnsupportedError, match=r"link\.attach_cgroup\(program, cgroup\)"):
            link.attach(program)


def test_a_section_that_leaves_the_direction_open_wants_it_said(cgroup):
    with only(OBJECT, "on_cgroup_skb") as (program, collection):
        with pytest.raises(InputError, match="say its attach_type"):
            link.attach_cgroup(program, cgroup)
        with link.attach_cgroup(program, cgroup, attach_type=AttachType.CGROUP_INET_EGRESS):
            inside(cgroup, ACTIONS["on_cgroup_egress"])
        assert runs(collection) >= 1


def test_a_cgroup_can_be_given_as_a_descriptor_and_must_be_one(cgroup, tmp_path):
    with only(OBJECT, "on_sock_create") as (program, _):
        fd = os.open(cgroup, os.O_RDONLY)
        try:
            with link.attach_cgroup(program, fd) as attached:
                assert attached.text == f"on_sock_create to cgroup_inet_sock_create of cgroup fd {fd}"
        finally:
            os.close(fd)
        with pytest.raises(FileNotFoundError, match="cgroup /no/such"):
            link.attach_cgroup(program, "/no/such")
        with pytest.raises(KernelError, match="no cgroup of version 2"):
            link.attach_cgroup(program, tmp_path)
    with only(OBJECT, "on_xdp") as (program, _), pytest.raises(InputError, match="is not for cgroups"):
        link.attach_cgroup(program, cgroup)


def test_a_link_of_a_cgroup_changes_its_program(cgroup):
    with loaded(OBJECT, "on_cgroup_egress", "on_cgroup_skb") as collection:
        one, two = collection.programs["on_cgroup_egress"], collection.programs["on_cgroup_skb"]
        with link.attach_cgroup(one, cgroup) as attached:
            attached.update(two, expected=one)
            assert attached.info.prog_id == two.info.id
            attached.sever()
            assert attached.info.number == 0
            assert attached_to(cgroup, AttachType.CGROUP_INET_EGRESS).prog_ids == ()


def test_programs_of_a_cgroup_run_in_the_order_that_anchors_say(cgroup):
    egress = AttachType.CGROUP_INET_EGRESS
    with loaded(OBJECT, "on_cgroup_egress", "on_cgroup_skb") as collection:
        one, two = collection.programs["on_cgroup_egress"], collection.programs["on_cgroup_skb"]
        with link.attach_cgroup(one, cgroup) as first:
            try:
                attached = link.attach_cgroup(two, cgroup, attach_type=egress, anchor=link.Before(first))
            except KernelError as error:
                features.since("6.17", f"this kernel has no order in cgroups (Linux 6.17): {error}")
            with attached:
                assert attached_to(cgroup, egress).prog_ids == (two.info.id, one.info.id)


def test_without_a_link_a_program_stays_until_it_is_detached(cgroup):
    kind = AttachType.CGROUP_INET_SOCK_CREATE
    with only(OBJECT, "on_sock_create") as (program, collection):
        check_attachment(lambda: link.attach_cgroup_directly(program, cgroup))
        with link.attach_cgroup_directly(program, cgroup):
            inside(cgroup, "socket.socket()")
            assert runs(collection) >= 1
            assert attached_to(cgroup, kind).flags == AttachFlags.ALLOW_MULTI
        assert attached_to(cgroup, kind).prog_ids == ()
        link.attach_cgroup_directly(program, cgroup).leave()
        assert attached_to(cgroup, kind).prog_ids == (program.info.id,)
        with loaded(OBJECT, "on_sock_create") as other:
            new = other.programs["on_sock_create"]
            with link.attach_cgroup_directly(new, cgroup, replace=program):
                assert attached_to(cgroup, kind).prog_ids == (new.info.id,)
        with link.attach_cgroup_directly(program, cgroup, flags=AttachFlags.ALLOW_OVERRIDE) as attached:
            assert attached_to(cgroup, kind).flags == AttachFlags.ALLOW_OVERRIDE
            with pytest.raises(UnsupportedError, match=r"cgroup links can \(Linux 5\.7\)"):
                attached.pin("/sys/fs/bpf/x")


def test_an_attachment_whose_cgroup_has_gone_closes_quietly():
    path = mount_point() / f"ebpfpy-{uuid.uuid4().hex}"
    with only(OBJECT, "on_sock_create") as (program, _):
        with made(path):
            attached = link.attach_cgroup_directly(program, path)
            one = link.attach_cgroup(program, path)
        attached.close()
        one.close()


def test_a_security_hook_runs_for_one_cgroup(cgroup):
    with only(OBJECT, "on_bind") as (program, collection):
        with unless_missing():
            attached = link.attach_cgroup(program, cgroup)
        with attached:
            bind = "socket.socket().bind(('127.0.0.1', 0))"
            with socket.socket() as outside:
                outside.bind(("127.0.0.1", 0))
            assert runs(collection) == 0
            inside(cgroup, bind)
            assert runs(collection) == 1
        with pytest.raises(UnsupportedError, match=r"link\.attach_cgroup"):
            link.attach(program)
        check_link(lambda: link.attach_cgroup(program, cgroup), LinkType.CGROUP)


def test_a_security_hook_runs_for_everybody():
    with only(OBJECT, "on_any_bind") as (program, collection):
        with pytest.raises(InputError, match="is for all processes"):
            link.attach_cgroup(program, "/")
        with link.attach(program) as attached, suppress(OSError), socket.socket() as bound:
            assert attached.text.startswith("on_any_bind to vmlinux:socket_bind")
            bound.bind(("127.0.0.1", 0))
        if not runs(collection):
            modules = Path("/sys/kernel/security/lsm")
            listed = modules.read_text() if modules.exists() else "not known here"
            assert "bpf" not in listed.split(",")
            pytest.skip(f"BPF is not among this kernel's security modules (lsm=...,bpf): they are {listed}")
        check_link(lambda: link.attach(program), LinkType.TRACING, details=linkinfo.TracingDetails)
