"""The kernel's own performance monitoring units for probes: ``kprobe`` and ``uprobe`` (Linux 4.17).

A unit's number, and which bits of the configuration mean what, are in sysfs.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from ebpfpy.errors import UnsupportedError

_DEVICES: Final = "/sys/bus/event_source/devices"


@cache
def unit(name: str) -> int:
    """The number of a unit, for ``perf_event_attr.type``.

    Raises:
        UnsupportedError: the kernel has no such unit.
    """
    return int(_read(name, "type"))


@cache
def return_bit(name: str) -> int:
    """The bit of ``perf_event_attr.config`` that asks for functions' return.

    Raises:
        UnsupportedError: the kernel has no such unit.
    """
    return 1 << _first_bit(_read(name, "format/retprobe"))


@cache
def counter_shift(name: str) -> int:
    """Where in ``perf_event_attr.config`` the offset of a reference counter starts (uprobe; Linux 4.20).

    Raises:
        UnsupportedError: the kernel has no such unit, or no reference counters.
    """
    return _first_bit(_read(name, "format/ref_ctr_offset"))


def _first_bit(text: str) -> int:
    """Of "config:32-63": 32."""
    number = text.strip().partition(":")[2].partition("-")[0]
    return int(number) if number.isdigit() else 0


def _read(name: str, file: str) -> str:
    path = f"{_DEVICES}/{name}/{file}"
    try:
        with open(path, encoding="ascii") as opened:
            return opened.read()
    except OSError:
        raise UnsupportedError(
            f"this kernel has no {name}s as perf events: {path} is not there (CONFIG_{name.upper()}_EVENTS,"
            " Linux 4.17, and sysfs mounted)",
            feature=f"{name}s as perf events",
            minimum="4.17",
        ) from None
