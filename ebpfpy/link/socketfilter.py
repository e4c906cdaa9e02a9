"""Single sockets: filters for what they receive, and choosing one of several that share a port."""

from __future__ import annotations

import errno
import socket
import struct
from typing import TYPE_CHECKING, Final

from ebpfpy.errors import KernelError, kernel_error
from ebpfpy.sys import ProgramType

from .attachment import Attachment, keep
from .refusal import check_type

if TYPE_CHECKING:
    from ebpfpy.loader import Program

# include/uapi/asm-generic/socket.h, the same on every machine that ebpfpy knows
_ATTACH_BPF: Final = 50
_DETACH_FILTER: Final = 27
_ATTACH_REUSEPORT_EBPF: Final = 52
_DETACH_REUSEPORT: Final = 68


def attach_socket_filter(program: Program, sock: socket.socket) -> Attachment:
    """Let a program see, shorten or drop what a socket receives (Linux 3.19).

    Args:
        program: of type SOCKET_FILTER; it returns how many bytes of a packet to keep, 0 for none.
        sock: an open socket, which stays the caller's. A filter that it has is replaced.

    Returns:
        The attachment: closing it takes the filter off; it ends with the socket, too.

    Raises:
        KernelError: the kernel refused: EPERM: the socket's filter is locked.
    """
    check_type(program, "sockets", ProgramType.SOCKET_FILTER)
    return _attach(program, sock, "filter", _ATTACH_BPF, _DETACH_FILTER)


def attach_reuseport(program: Program, sock: socket.socket) -> Attachment:
    """Let a program choose among the sockets that share a port by SO_REUSEPORT (Linux 4.5; SK_REUSEPORT 4.19).

    Args:
        program: of type SK_REUSEPORT or SOCKET_FILTER.
        sock: any one of the group, which stays the caller's.

    Returns:
        The attachment: closing it takes the program off (Linux 5.3; before, it stays until the group has gone).

    Raises:
        KernelError: the kernel refused: EINVAL: the socket has no SO_REUSEPORT.
    """
    check_type(program, "groups of sockets", ProgramType.SK_REUSEPORT, ProgramType.SOCKET_FILTER)
    return _attach(program, sock, "reuseport group", _ATTACH_REUSEPORT_EBPF, _DETACH_REUSEPORT)


def _attach(program: Program, sock: socket.socket, what: str, attach: int, detach: int) -> Attachment:
    text = f"{program.name} to {what} of socket fd {sock.fileno()}"
    own = keep(program, text)
    try:
        _set(sock, attach, own.fileno(), text)
    except BaseException:
        own.close()
        raise

    def undo() -> None:
        if sock.fileno() < 0:  # closed meanwhile
            return
        try:
            _set(sock, detach, 0, text)
        except KernelError as error:
            if error.errno != errno.ENOPROTOOPT:  # before Linux 5.3 a group keeps its program
                raise

    return Attachment(own, text, undo)


def _set(sock: socket.socket, option: int, value: int, text: str) -> None:
    try:
        sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("=I", value))
    except OSError as error:
        raise kernel_error(error.errno or 0, "setsockopt", subject=text) from error
