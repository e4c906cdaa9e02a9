"""A little of rtnetlink(7): messages with attributes to the kernel's network configuration, and its answers.

A message is a header, a fixed part, and attributes, each of which is a length, a type and a value, padded to 4 bytes::

    u32 length, u16 type, u16 flags, u32 sequence, u32 port      struct nlmsghdr
    u16 length, u16 type, value ...                              struct nlattr

The kernel answers with messages of the same shape and, because it is asked to, with an NLMSG_ERROR at the end, whose
error number is 0 for success. With NETLINK_EXT_ACK it says why in words.

Source: netlink(7), rtnetlink(7), include/uapi/linux/netlink.h.
"""

from __future__ import annotations

import errno
import socket
import struct
from typing import Final

from ebpfpy.errors import KernelError, kernel_error

REQUEST: Final = 1
ACK: Final = 4
ECHO: Final = 8
EXCL: Final = 0x200
CREATE: Final = 0x400

_ERROR: Final = 2
_DONE: Final = 3
_SOL_NETLINK: Final = 270
_EXT_ACK: Final = 11
_CAPPED: Final = 0x100
_TLVS: Final = 0x200
_MESSAGE: Final = 1  # NLMSGERR_ATTR_MSG
_TYPE_MASK: Final = 0x3FFF

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")


def attribute(kind: int, value: bytes | int | str) -> bytes:
    """An attribute: bytes as they are, a number as u32, text with its NUL."""
    if isinstance(value, int):
        value = struct.pack("=I", value)
    elif isinstance(value, str):
        value = value.encode() + b"\0"
    padding = b"\0" * (-len(value) % 4)
    return _ATTRIBUTE.pack(_ATTRIBUTE.size + len(value), kind) + value + padding


def attributes(data: bytes) -> dict[int, bytes]:
    """The attributes in `data` by type; what is malformed ends them."""
    found, at = {}, 0
    while at + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, at)
        if length < _ATTRIBUTE.size or at + length > len(data):
            break
        found[kind & _TYPE_MASK] = data[at + _ATTRIBUTE.size : at + length]
        at += length + -length % 4
    return found


def request(kind: int, flags: int, body: bytes, *, subject: str, call: str) -> list[bytes]:
    """Send one message and take the answers.

    Args:
        kind: RTM_*.
        flags: besides REQUEST and ACK.
        body: the fixed part and the attributes.
        subject: for the error's message.
        call: the message's name ("RTM_NEWTFILTER"), for the error's message.

    Returns:
        The bodies of the messages that the kernel sent before its acknowledgement.

    Raises:
        KernelError: the kernel refused; the hint is what it says.
    """
    try:
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE) as link:
            link.setsockopt(_SOL_NETLINK, _EXT_ACK, 1)
            link.bind((0, 0))
            link.send(_HEADER.pack(_HEADER.size + len(body), kind, flags | REQUEST | ACK, 1, 0) + body)
            return _answers(link, subject, call)
    except OSError as error:
        if isinstance(error, KernelError):
            raise
        raise kernel_error(error.errno or errno.EIO, call, subject=subject) from error


def _answers(link: socket.socket, subject: str, call: str) -> list[bytes]:
    found: list[bytes] = []
    while True:
        data, at = link.recv(1 << 16), 0
        if not data:
            raise kernel_error(errno.EIO, call, subject=subject)
        while at + _HEADER.size <= len(data):
            length, kind, flags, _, _ = _HEADER.unpack_from(data, at)
            body = data[at + _HEADER.size : at + max(length, _HEADER.size)]
            at += max(_HEADER.size, length + -length % 4)
            if kind == _DONE:
                return found
            if kind != _ERROR:
                found.append(body)
                continue
            (code,) = struct.unpack_from("=i", body)
            if not code:
                return found
            raise kernel_error(-code, call, subject=subject, hint=_reason(body, flags))


def _reason(body: bytes, flags: int) -> str | None:
    """What the kernel says about a refusal, in words; None if it says nothing."""
    if not flags & _TLVS:
        return None
    (length,) = struct.unpack_from("=I", body, 4)  # of the message that is answered, which comes first unless capped
    at = 4 + (_HEADER.size if flags & _CAPPED else length + -length % 4)
    text = attributes(body[at:]).get(_MESSAGE)
    return text.partition(b"\0")[0].decode("utf-8", "replace") if text else None
