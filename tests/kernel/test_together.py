"""One object with all that touches modules: functions called and traced, variables, types, structures of functions."""

import errno
import socket

import pytest

import ebpfpy
from ebpfpy import link
from tests.kernel import features, modules, triggers
from tests.kernel.blueprints import path_of
from tests.kernel.netns import own_namespace
from tests.kernel.test_struct_ops import converse

PACKET = bytes(64)
CONFIRMED = 8
"""IPS_CONFIRMED of include/uapi/linux/netfilter/nf_conntrack_common.h."""
XDP_DROP, XDP_PASS = 1, 2
MAGIC = 0x1122334455667788


@pytest.fixture
def together(cache, options):
    """The object, loaded: with the module's structure where modules can have such."""
    features.require_module_tracing()
    modules.load("nf_conntrack")  # it stays: tracing tools use it, too
    with modules.unloaded_afterwards(modules.DEMO):
        modules.reload(modules.DEMO)
        spec = ebpfpy.load_collection_spec(path_of("together.bpf.o"))
        spec.variables["source"].set(int.from_bytes(socket.inet_aton("192.0.2.1"), "little"))
        spec.variables["destination"].set(int.from_bytes(socket.inet_aton("192.0.2.2"), "little"))
        spec.variables["source_port"].set(socket.htons(1234))
        spec.variables["port"].set(socket.htons(53))
        known = cache.module(modules.DEMO).ids_by_name(b"bpf_struct_ops_ebpfpy_demo_ops")
        spec.maps["of_the_module"].autocreate = bool(known)
        with ebpfpy.Collection(spec, options) as collection:
            yield collection


def test_a_connection_that_one_program_inserts_is_found_by_others(together):
    programs, variables = together.programs, together.variables
    with own_namespace(), link.attach(programs["on_insert"]):
        assert programs["find_tc"].test_run(data=PACKET).retval == 0
        assert variables["error_after"].get() == -errno.ENOENT
        assert programs["find_xdp"].test_run(data=PACKET).retval == XDP_DROP
        assert programs["insert"].test_run(data=PACKET).retval == 0
        assert variables["error_before"].get() == -errno.ENOENT
        assert variables["sum"].get() == len(PACKET) + 42 + 1000, "a function of the other module"
        assert variables["inserted"].get() == 1, "the function that is traced was called by the function that is called"
        assert programs["find_xdp"].test_run(data=PACKET).retval == XDP_PASS
        assert variables["status"].get() & CONFIRMED
        variables["status"].set(0)
        assert programs["find_tc"].test_run(data=PACKET).retval == 42
        assert variables["status"].get() & CONFIRMED
        assert variables["error_after"].get() == 0
        assert programs["insert"].test_run(data=PACKET).retval == 1, "it is there already"


def test_the_same_object_reads_a_modules_variable_and_types_and_implements_structures(together):
    values = together.variables
    with link.attach(together.programs["on_poke"]) as attached:
        assert attached.text.startswith("on_poke to ebpfpy_demo:ebpfpy_demo_poke")
        triggers.poke(21)
        assert (values["poked"].get(), values["returned"].get()) == (21, 43)
        assert values["magic"].get() == MAGIC
        assert values["writes"].get() == 4701
    with link.attach_struct_ops(together.maps["congestion"]):
        assert converse(b"ebpfpy_all") == b"ebpfpy_all"
        assert values["windows"].get() > 0
    if "of_the_module" in together.maps:
        with link.attach_struct_ops(together.maps["of_the_module"]):
            triggers.poke(21)
            assert triggers.read_file("/proc/ebpfpy_demo").split()[1] == b"%d" % (2 * (43 + 1000))
