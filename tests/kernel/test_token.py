"""BPF tokens: a process without capabilities loads with what a bpf file system delegates."""

import subprocess
import sys as python

import pytest

from ebpfpy import btf
from ebpfpy.errors import KernelError
from ebpfpy.loader.token import token_of
from tests.kernel import features as machine
from tests.kernel.blueprints import TESTDATA, path_of

# Two processes, because a file system can be made for a user namespace only by somebody in it, and delegate only by
# the word of somebody outside: the child opens a context for a bpf file system in a namespace of its own, the parent
# says what is delegated and mounts it, and the child makes a token of it.
SCRIPT = r"""
import ctypes, os, socket, sys
libc = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER, CLONE_NEWNS = 0x10000000, 0x20000
FSOPEN, FSCONFIG, FSMOUNT = 430, 431, 432  # the same on every machine
SET_STRING, CREATE = 1, 6

def call(*arguments):
    result = libc.syscall(*arguments)
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(arguments))
    return result

ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
child = os.fork()
if child:
    theirs.close()
    ours.recv(1)
    for name in ("uid_map", "gid_map"):
        with open(f"/proc/{child}/{name}", "w") as file:
            file.write("0 0 1")
    ours.send(b"m")
    _, descriptors, _, _ = socket.recv_fds(ours, 1, 1)
    context = descriptors[0]
    if "--delegate" in sys.argv:
        for what in ("delegate_cmds", "delegate_maps", "delegate_progs", "delegate_attachs"):
            call(FSCONFIG, context, SET_STRING, what.encode(), b"any", 0)
    call(FSCONFIG, context, CREATE, None, None, 0)
    mount = call(FSMOUNT, context, 0, 0)
    socket.send_fds(ours, [b"f"], [mount])
    _, status = os.waitpid(child, 0)
    sys.exit(os.waitstatus_to_exitcode(status))

import ebpfpy
from ebpfpy.errors import EbpfError
ours.close()
call_result = libc.unshare(CLONE_NEWUSER | CLONE_NEWNS)
if call_result:
    number = ctypes.get_errno()
    raise OSError(number, "unshare")
theirs.send(b"u")
theirs.recv(1)
context = call(FSOPEN, b"bpf", 0)
socket.send_fds(theirs, [b"c"], [context])
_, descriptors, _, _ = socket.recv_fds(theirs, 1, 1)
path = f"/proc/self/fd/{descriptors[0]}"
spec = ebpfpy.load_collection_spec(sys.argv[1])
del spec.programs["fill"]
try:
    with ebpfpy.Collection(spec):
        print("without: loaded")
except EbpfError as error:
    print("without:", type(error).__name__, error.errno)
try:
    with ebpfpy.Collection(spec, ebpfpy.CollectionOptions(token=path)) as collection:
        print("path:", len(collection.maps), collection.notes)
    replaced = ebpfpy.load_collection_spec(sys.argv[2])
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    with ebpfpy.sys.token_create(directory) as token:
        with ebpfpy.Collection(replaced, ebpfpy.CollectionOptions(token=token)) as collection:
            print("token:", sorted(collection.programs))
except EbpfError as error:
    print("refused:", error)
"""


def run(*options):
    command = [python.executable, "-c", SCRIPT, path_of("maps.bpf.o"), path_of("replaced.bpf.o"), *options]
    environment = {"PYTHONPATH": str(TESTDATA.parent)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=240)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def tokens():
    """Skip where the kernel has no tokens."""
    commands = {each.name for each in btf.load_kernel_spec().type_by_name("bpf_cmd", btf.Enum).enumerators}
    machine.since("6.9", None if "BPF_TOKEN_CREATE" in commands else "this kernel has no BPF tokens")


@pytest.fixture
def namespaces():
    """Skip where no user namespace can be made: in a chroot, for instance."""
    ask = "import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare(0x10000000) != 0)"
    refused = subprocess.run([python.executable, "-c", ask], check=False).returncode
    machine.require("no user namespaces can be made here (a chroot, or a limit)" if refused else None)


@pytest.mark.usefixtures("namespaces")
def test_a_process_without_capabilities_loads_what_its_file_system_delegates():
    lines = run("--delegate").splitlines()
    assert lines[0] == "without: KernelError 1"
    assert lines[1] == "path: 12 []"
    assert lines[2] == "token: ['classify']"


@pytest.mark.usefixtures("namespaces")
def test_a_file_system_that_delegates_nothing_makes_no_token():
    assert "refused: BPF token: BPF_TOKEN_CREATE: No such file or directory" in run()


def test_the_initial_user_namespace_has_no_tokens(tmp_path):
    subprocess.run(["mount", "-t", "bpf", "bpf", str(tmp_path)], check=True)
    try:
        with (
            pytest.raises(KernelError, match=r"BPF token: BPF_TOKEN_CREATE.*other than the initial one"),
            token_of(tmp_path),
        ):
            pass
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
    with pytest.raises(FileNotFoundError), token_of(tmp_path / "nowhere"):
        pass


def test_a_directory_that_makes_no_token_says_why(tmp_path):
    with pytest.raises(KernelError, match=f"{tmp_path} is in no BPF file system"), token_of(tmp_path):
        pass
