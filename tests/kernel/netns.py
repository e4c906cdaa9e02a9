"""Network namespaces of the tests' own, and traffic in them."""

import ctypes
import os
import socket
import subprocess
from contextlib import contextmanager

import pytest

from tests.kernel import features

_CLONE_NEWNET = 0x40000000
PAYLOAD = b"x" * 333
PACKET = 20 + 8 + len(PAYLOAD)
"""Bytes of a datagram with its headers."""
FRAME = 14 + PACKET
"""The same on an interface, with the link's header."""


def ip(*words):
    subprocess.run(["ip", *words], check=True)


@contextmanager
def own_namespace():
    """A network namespace for this thread, with nothing in it but a loopback interface, up."""
    libc = ctypes.CDLL(None, use_errno=True)
    before = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.unshare(_CLONE_NEWNET):
            features.require(f"no network namespaces here: {os.strerror(ctypes.get_errno())}")
        try:
            ip("link", "set", "lo", "up")
            yield
        finally:
            assert libc.setns(before, _CLONE_NEWNET) == 0
    finally:
        os.close(before)


@pytest.fixture
def namespace():
    with own_namespace():
        yield


def send(times=1):
    """Send datagrams over the loopback interface to a socket that takes them."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(20)
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            for _ in range(times):
                sender.sendto(PAYLOAD, receiver.getsockname())
                assert receiver.recv(1000) == PAYLOAD


@contextmanager
def connection():
    """Both ends of a TCP connection over the loopback interface."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname(), timeout=20) as one:
            other, _ = listener.accept()
            with other:
                other.settimeout(20)
                yield one, other
