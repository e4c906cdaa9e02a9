"""The running kernel's types, kept for as long as the caller likes.

Reading a kernel's types costs milliseconds, finding a module's BTF object a walk over all ids. A `Cache` does either
once and
notices when modules come and go: a module's file in /sys/kernel/btf gets a new inode when the module is loaded again,
and its id is asked for again when the kernel no longer knows it. A module that cannot be read matters only to those
who ask for it.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from ebpfpy.errors import BtfError, KernelError, NotFoundError

from .handle import Handle, iter_handles
from .load import kernel_module_names, load_kernel_module_spec, load_kernel_spec
from .namesakes import Namesakes
from .source import SYSFS, read_sysfs

if TYPE_CHECKING:
    from .spec import Spec

DEFAULT_SIZE = 128 << 20
"""Bytes of module BTF that a cache keeps."""


class Cache:
    """Specs of the running kernel and its modules. Thread-safe.

    Args:
        size: bytes of module BTF to keep; what was used longest ago goes first. The kernel's own types always stay.

    Attributes:
        walks: how often the ids of all BTF objects were walked.
    """

    def __init__(self, size: int = DEFAULT_SIZE) -> None:
        from cachetools import LRUCache

        self._lock = threading.RLock()
        self._kernel: Spec | None = None
        self._modules: LRUCache[str, tuple[tuple[int, int], Spec]] = LRUCache(
            size, getsizeof=lambda entry: len(entry[1].raw)
        )
        self._ids: dict[str, int] = {}
        self._namesakes: Namesakes | None = None
        self.walks = 0

    def kernel(self) -> Spec:
        """The kernel's own types.

        Raises:
            NotFoundError: the running kernel offers none.
        """
        with self._lock:
            if self._kernel is None:
                self._kernel = load_kernel_spec()
            return self._kernel

    @property
    def kernel_is_read(self) -> bool:
        """Whether anybody has asked for `kernel` yet."""
        return self._kernel is not None

    def module(self, name: str) -> Spec:
        """The types of a loaded module, split on `kernel`'s.

        Raises:
            NotFoundError: it is not loaded, or has no BTF.
            BtfError: its BTF is malformed.
        """
        name = name.replace("-", "_")
        with self._lock:
            identity = _identity(name)
            known = self._modules.get(name)
            if known is not None and known[0] == identity:
                return known[1]
            self._modules.pop(name, None)
            spec = load_kernel_module_spec(name, self.kernel())
            if identity is not None and len(spec.raw) <= self._modules.maxsize:
                self._modules[name] = (identity, spec)
            return spec

    def namesakes(self) -> Namesakes:
        """Who has types of a name, told by the bytes of the kernel's BTF and of all modules' that are loaded now.

        Raises:
            NotFoundError: the running kernel offers none.
        """
        with self._lock:
            if self._namesakes is None:
                self._namesakes = Namesakes(self.kernel(), int(self._modules.maxsize))
            loaded = {name: _identity(name) for name in self.module_names()}
            self._namesakes.follow(loaded, lambda name: read_sysfs(f"{SYSFS}/{name}"))
            return self._namesakes

    def module_names(self) -> tuple[str, ...]:
        """The names of all modules that have BTF right now."""
        return kernel_module_names()

    def modules(self) -> list[Spec]:
        """The types of every loaded module that can be read; the others are left out."""
        found = []
        for name in self.module_names():
            try:
                found.append(self.module(name))
            except (
                NotFoundError,
                BtfError,
                OSError,
            ):  # it has just gone, or is malformed: nobody asked for it
                continue
        return found

    def module_handle(self, name: str) -> Handle:
        """A descriptor of a loaded module's BTF object (Linux 5.11; CAP_SYS_ADMIN). The caller closes it.

        Raises:
            NotFoundError: no BTF object has that module's name.
            KernelError: PermissionError.
        """
        name = name.replace("-", "_")
        with self._lock:
            if name in self._ids:
                handle = self._open(name)
                if handle is not None:
                    return handle
            self._walk()
            handle = self._open(name) if name in self._ids else None
        if handle is None:
            raise NotFoundError(f"the kernel has no BTF object of a module {name}")
        return handle

    def _open(self, name: str) -> Handle | None:
        """The object with the id that `name` had, if it still is that module's."""
        try:
            handle = Handle.from_id(self._ids[name])
        except FileNotFoundError:
            return None
        try:
            if handle.info.name == name:
                return handle
        except KernelError:
            handle.close()
            raise
        handle.close()
        return None

    def _walk(self) -> None:
        self.walks += 1
        self._ids = {}
        for handle in iter_handles():
            with handle:
                if handle.info.is_module:
                    self._ids[handle.info.name] = handle.info.id


def _identity(name: str) -> tuple[int, int] | None:
    try:
        status = os.stat(f"{SYSFS}/{name}")
    except OSError:
        return None
    return status.st_ino, status.st_size
