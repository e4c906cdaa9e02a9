"""Messages of rtnetlink: attributes there and back, and what the kernel answers."""

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ebpfpy.errors import KernelError
from ebpfpy.sys import netlink


def test_an_attribute_is_padded_to_four_bytes_and_numbers_have_four():
    assert len(netlink.attribute(1, b"x")) == 8
    assert netlink.attribute(1, "bpf") == netlink.attribute(1, b"bpf\0")
    assert netlink.attribute(6, 7)[4:] == (7).to_bytes(4, sys.byteorder)


@given(st.dictionaries(st.integers(0, 0x3FFF), st.binary(max_size=40), max_size=8))
def test_attributes_are_read_as_they_were_written(values):
    assert netlink.attributes(b"".join(netlink.attribute(kind, value) for kind, value in values.items())) == values


@given(st.binary(max_size=64))
def test_any_bytes_can_be_read_as_attributes(data):
    assert sum(map(len, netlink.attributes(data).values())) <= len(data)


@pytest.mark.skipif(sys.platform != "linux", reason="rtnetlink is Linux's")
def test_a_refusal_names_the_message_and_the_subject():
    with pytest.raises(KernelError, match="interface nothing: RTM_NEWQDISC: ") as refused:
        netlink.request(36, 0, bytes(20), subject="interface nothing", call="RTM_NEWQDISC")
    assert refused.value.errno
