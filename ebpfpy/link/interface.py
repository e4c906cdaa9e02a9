"""Network interfaces, by name or number."""

from __future__ import annotations

import socket

from ebpfpy.errors import InputError, NotFoundError


def interface_index(interface: str | int) -> int:
    """The number of an interface in this process's network namespace.

    Args:
        interface: its name ("eth0"), or the number itself.

    Raises:
        NotFoundError: there is no interface of that name.
        InputError: no interface can have that number.
    """
    if isinstance(interface, int):
        if not 0 < interface < 1 << 31:
            raise InputError(f"no interface has the number {interface}")
        return interface
    try:
        return socket.if_nametoindex(interface)
    except (OSError, ValueError):  # ValueError: a NUL in the name
        names = ", ".join(name for _, name in socket.if_nameindex()) or "none"
        raise NotFoundError(
            f"no network interface {interface!r} in this network namespace; there are {names}"
        ) from None
