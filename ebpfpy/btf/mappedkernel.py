"""The running kernel's own types, mapped once for the life of the process (Linux 6.16).

They lie in the kernel's image and never change. Mapped, they cost the process neither memory nor a descriptor; mapping
and unmapping their thousand pages costs more than most questions about them. Where the kernel does not map files of
sysfs the types have to be read, which is no business of this file.
"""

from __future__ import annotations

import os
from typing import Any, Final

from ebpfpy.sys.filemap import map_read_only

from .loadedmodules import SYSFS

PATH: Final = f"{SYSFS}/vmlinux"

_mapped: dict[str, Any] = {}


def mapped_kernel() -> Any:
    """The kernel's types as a buffer whose slices are bytes, the same one each time; None where they are not mapped."""
    if not _mapped:
        try:
            descriptor = os.open(PATH, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:  # sysfs is not mounted (yet)
            return None
        try:
            _mapped.setdefault(PATH, map_read_only(descriptor, os.fstat(descriptor).st_size))
        except OSError:
            _mapped.setdefault(PATH, None)
        finally:
            os.close(descriptor)
    return _mapped[PATH]
