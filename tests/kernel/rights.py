"""Another process that may do less than this one: what comes of something there."""

import ctypes
import os
import pickle
import struct
import traceback
from contextlib import contextmanager, suppress
from pathlib import Path

from ebpfpy.errors import EbpfError
from ebpfpy.sys.rights import CAPABILITIES
from tests.kernel import features

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_NR_BPF = {"x86_64": 321, "aarch64": 280}
_PR_SET_KEEPCAPS, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 8, 22, 38
_CLONE_NEWNS, _CLONE_NEWUSER = 0x00020000, 0x10000000
_libc = ctypes.CDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int, *[ctypes.c_ulong] * 4)


class BrokenError(Exception):
    """The other process broke; its traceback."""


def elsewhere(action, *lacking, before=None):
    """What comes of an action in a process of its own: None, or the error.

    Args:
        action: what to do there; what it returns is lost.
        lacking: names of capabilities that it does not have there.
        before: what to do there before the capabilities are dropped.
    """
    receiver, sender = os.pipe()
    child = os.fork()
    if not child:
        os.close(receiver)
        with os.fdopen(sender, "wb") as answer:
            answer.write(_outcome(action, lacking, before))
        os._exit(0)
    os.close(sender)
    with os.fdopen(receiver, "rb") as answer:
        text = answer.read()
    os.waitpid(child, 0)
    outcome = pickle.loads(text)
    if isinstance(outcome, BrokenError):
        raise outcome
    return outcome


def _outcome(action, lacking, before):
    try:
        if before is not None:
            before()
        if lacking:
            _drop(lacking)
        action()
    except EbpfError as error:
        return pickle.dumps(error)
    except BaseException:
        return pickle.dumps(BrokenError(traceback.format_exc()))
    return pickle.dumps(None)


def _drop(lacking):
    """Give up capabilities, for good."""
    header = struct.pack("=Ii", _VERSION, 0)
    rows = ctypes.create_string_buffer(24)
    _must(_libc.capget(header, rows))
    gone = sum(1 << CAPABILITIES[name] for name in lacking)
    words = list(struct.unpack("=6I", rows.raw))  # effective, permitted, inheritable: low halves, then high ones
    kept = [word & ~(gone >> 32 * (index // 3) & 0xFFFFFFFF) for index, word in enumerate(words)]
    _must(_libc.capset(header, struct.pack("=6I", *kept)))


def _must(result):
    if result:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def another_user():
    """Be a user that has locked no memory yet, with all capabilities."""
    _must(_libc.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setuid(12345)
    header, rows = struct.pack("=Ii", _VERSION, 0), ctypes.create_string_buffer(24)
    _must(_libc.capget(header, rows))
    words = list(struct.unpack("=6I", rows.raw))
    words[0], words[3] = words[1], words[4]
    _must(_libc.capset(header, struct.pack("=6I", *words)))


def forbid_bpf():
    """Install a filter of system calls that refuses bpf(2) with EPERM, as container runtimes do."""
    number = _NR_BPF[os.uname().machine]
    rows = ((0x20, 0, 0, 0), (0x15, 0, 1, number), (0x06, 0, 0, 0x50000 | 1), (0x06, 0, 0, 0x7FFF0000))
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *row) for row in rows))
    program = ctypes.create_string_buffer(struct.pack("@HP", len(rows), ctypes.addressof(code)))
    _must(_libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    _must(_libc.prctl(_PR_SET_SECCOMP, 2, ctypes.addressof(program), 0, 0))


def into_a_user_namespace():
    """Be root in a user namespace of its own."""
    _must(_libc.unshare(_CLONE_NEWUSER))
    Path("/proc/self/uid_map").write_text("0 0 1")


def without_securityfs():
    """Take the file system away that tells of lockdown, in a mount namespace of its own."""
    _must(_libc.unshare(_CLONE_NEWNS))
    _must(_libc.mount(b"none", b"/", None, 1 << 18 | 1 << 14, None))  # MS_PRIVATE | MS_REC: the others keep theirs
    while not _libc.umount2(b"/sys/kernel/security", 2):  # MNT_DETACH
        pass


@contextmanager
def sysctl(name, value):
    """Set a parameter of the kernel for a while."""
    path = Path("/proc/sys", *name.split("."))
    before = path.read_text()
    try:
        path.write_text(value)
    except OSError as error:
        features.require(f"{name} cannot be set to {value} here: {error}")
    try:
        yield
    finally:
        with suppress(OSError):
            path.write_text(before)
