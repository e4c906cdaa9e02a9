"""What makes the functions run that the tests attach to."""

import fcntl
import os
import socket
import struct
import subprocess
from contextlib import contextmanager

LOOP_CTL_GET_FREE = 0x4C82
LOOP_CONFIGURE = 0x4C0A
LOOP_CONFIG_SIZE = 304  # u32 fd, u32 block_size, struct loop_info64 (232 bytes), u64 reserved[8]


def open_tun():
    """Call tun_chr_open of the module tun."""
    os.close(os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC))


def poke(value):
    """Call ebpfpy_demo_poke and ebpfpy_demo_clash of our module, with a value."""
    with open("/proc/ebpfpy_demo", "w") as file:
        file.write(str(value))


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


def free_loop_device():
    """The number of a loop device that is not in use."""
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        return fcntl.ioctl(control, LOOP_CTL_GET_FREE)
    finally:
        os.close(control)


@contextmanager
def loop_device(number, path, *options):
    """Bind a file to a loop device by losetup, which calls loop_configure; gives the process id of losetup."""
    device = f"/dev/loop{number}"
    process = subprocess.Popen(["losetup", *options, device, path], stdin=subprocess.DEVNULL)
    assert process.wait(30) == 0
    try:
        yield process.pid
    finally:
        subprocess.run(["losetup", "-d", device], check=True)


def bind_nothing_to_loop_device(number):
    """Call loop_configure with a descriptor that does not exist; gives the error number."""
    device = os.open(f"/dev/loop{number}", os.O_RDWR | os.O_CLOEXEC)
    config = struct.pack("=iI", -1, 0).ljust(LOOP_CONFIG_SIZE, b"\0")
    try:
        fcntl.ioctl(device, LOOP_CONFIGURE, config)
    except OSError as error:
        return error.errno
    finally:
        os.close(device)
    return 0


@contextmanager
def veth_pair(name, peer):
    """Two network devices joined by a cable, up; gives their interface indices."""
    _ip("link", "add", name, "type", "veth", "peer", "name", peer)
    try:
        _ip("addr", "add", "10.98.76.1/24", "dev", name)
        _ip("link", "set", name, "up")
        _ip("link", "set", peer, "up")
        _ip("neigh", "add", "10.98.76.2", "lladdr", "02:00:00:00:00:02", "dev", name)
        yield socket.if_nametoindex(name), socket.if_nametoindex(peer)
    finally:
        _ip("link", "del", name)


def send_datagram(payload):
    """Send a UDP datagram over the pair of `veth_pair`, which calls veth_xmit.

    Gives the length of the packet without its link header: when veth_xmit returns, the peer has taken that off.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(payload, ("10.98.76.2", 9))
    return 20 + 8 + len(payload)


def run_true():
    """Execute a program; gives its process id."""
    process = subprocess.Popen(["true"])
    process.wait(30)
    return process.pid


def sleep_briefly(times):
    """Call do_nanosleep of the kernel, in processes of their own."""
    for _ in range(times):
        subprocess.run(["sleep", "0.001"], check=True)


def _ip(*words):
    subprocess.run(["ip", *words], check=True)
