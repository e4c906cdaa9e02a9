"""The running kernel's types, kept for as long as the caller likes.

Reading a kernel's types costs milliseconds, finding a module's BTF object a walk over all ids. A `Cache` does either
once, and every answer is checked against the module's *incarnation* (see `loadedmodules`): one stat(2) of its file in
/sys/kernel/btf tells whether what is remembered is still that module. So a module that was unloaded, loaded again, or
replaced by another build is noticed, and what was found in it is not taken for the other's.

A module that cannot be read matters only to those who ask for it.
"""

from __future__ import annotations

import os
import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final

from ebpfpy.errors import EbpfError, InputError, KernelError, NotFoundError
from ebpfpy.sys.kallsyms import CODE, find_symbols
from ebpfpy.sys.paths import path_text

from .handle import Handle, iter_handles
from .load import load_kernel_module_spec, load_kernel_spec
from .loadedmodules import (
    DIRECTORY,
    NO_BTF,
    SYSFS,
    Incarnation,
    incarnation,
    kernel_module_names,
    loaded_names,
    module_name,
    why_no_types,
)
from .namesakes import Blob, Namesakes, running_kernel
from .source import read_sysfs

if TYPE_CHECKING:
    from cachetools import LRUCache

    from ebpfpy.sys.kallsyms import Symbol

    from .spec import Spec

DEFAULT_SIZE: Final = 128 << 20
"""Bytes of module BTF that a cache keeps."""
_SYMBOLS: Final = 256
"""Names whose addresses a cache keeps."""
_TRIES: Final = 3
"""Times that a module may be loaded anew while its object is looked for; more than one is hard to achieve."""


class Cache:
    """Specs of the running kernel and its modules. Thread-safe.

    A spec that was handed out stays as it is, whatever becomes of its module; `Spec.incarnation` says which loading of
    it was read.

    Args:
        size: bytes of module BTF to keep; what was used longest ago goes first. The kernel's own types always stay.
            What was decoded of a spec comes on top, and goes with it.
        directory: where the kernel shows its BTF, if sysfs is mounted elsewhere (in a container, for example).

    Attributes:
        derived: what higher floors keep from one load to the next, keyed by their own classes.
        directory: see above, as text.
        kernel_ids: of types of the kernel's own, by name and kind, the first id: what the kernel has answered
            (`ebpfpy.btf.kernelsearch`). Of a few names only, those that loads have asked for.
        walks: how often the ids of all BTF objects were walked.
    """

    def __init__(self, size: int = DEFAULT_SIZE, *, directory: str | os.PathLike[str] = SYSFS) -> None:
        if not isinstance(size, int) or size < 0:
            raise InputError(f"a cache has room for a number of bytes, not {size!r}")
        self.directory = path_text(directory, DIRECTORY)
        self._lock = threading.RLock()
        self._kernel: Spec | None = None
        self._size = size
        self._ids: dict[str, tuple[Incarnation | None, int]] = {}
        self._namesakes: Namesakes | None = None
        self.derived: dict[Any, Any] = {}
        self.kernel_ids: dict[tuple[bytes, int], int] = {}
        self.walks = 0

    @cached_property
    def _modules(self) -> LRUCache[str, Spec]:
        from cachetools import LRUCache

        return LRUCache(self._size, getsizeof=lambda spec: len(spec.raw))

    @cached_property
    def _symbols(self) -> LRUCache[str, tuple[frozenset[bytes], tuple[Symbol, ...]]]:
        from cachetools import LRUCache

        return LRUCache(_SYMBOLS)

    def kernel(self) -> Spec:
        """The kernel's own types.

        Raises:
            NotFoundError: the running kernel offers none.
        """
        with self._lock:
            if self._kernel is None:
                self._kernel = load_kernel_spec(directory=self.directory)
            return self._kernel

    @property
    def kernel_is_read(self) -> bool:
        """Whether anybody has asked for `kernel` yet."""
        return self._kernel is not None

    def module(self, name: str) -> Spec:
        """The types of a loaded module, split on `kernel`'s.

        Raises:
            NotFoundError: it is not loaded (any more), or has no BTF.
            BtfError: its BTF is malformed.
            KernelError: its file cannot be read.
        """
        name = module_name(name)
        with self._lock:
            known = self._modules.get(name)
            if known is not None:
                if known.incarnation == incarnation(name, self.directory):
                    return known
                del self._modules[name]
            spec = load_kernel_module_spec(name, self.kernel(), directory=self.directory)
            if len(spec.raw) <= self._size:
                self._modules[name] = spec
            return spec

    def namesakes(self) -> Namesakes:
        """Who has types of a name, told by the bytes of the kernel's BTF and of all modules' that are loaded now.

        Raises:
            NotFoundError: the running kernel offers none.
        """
        with self._lock:
            if self._namesakes is None:
                mapped = running_kernel() if self.directory == SYSFS else None
                self._namesakes = Namesakes(mapped or Blob.of(self.kernel()), self._size)
            loaded = {name: incarnation(name, self.directory) for name in self.module_names()}
            self._namesakes.follow(loaded, lambda name: read_sysfs(f"{self.directory}/{name}"))
            return self._namesakes

    def module_names(self) -> tuple[str, ...]:
        """The names of all modules that have BTF right now; none where the kernel does not let them be listed."""
        try:
            return kernel_module_names(self.directory)
        except KernelError:
            return ()

    def modules(self) -> list[Spec]:
        """The types of every loaded module that can be read; the others are left out."""
        found = []
        for name in self.module_names():
            try:
                found.append(self.module(name))
            except EbpfError:  # it has just gone, or is malformed: nobody asked for it
                continue
        return found

    def incarnation(self, name: str) -> Incarnation | None:
        """Which loading of a module the kernel has now, to compare with `Spec.incarnation`; None if none."""
        return incarnation(module_name(name), self.directory)

    def code_symbols(self, name: str) -> tuple[Symbol, ...]:
        """Every function called exactly so in /proc/kallsyms, which is read once for a name, until modules change.

        Raises:
            KernelError: it cannot be read.
        """
        with self._lock:
            modules = loaded_names()
            known = self._symbols.get(name)
            if known is None or known[0] != modules:
                found = find_symbols([name]).get(name, [])
                known = self._symbols[name] = modules, tuple(each for each in found if each.kind in CODE)
            return known[1]

    def module_handle(self, name: str) -> Handle:
        """A descriptor of a loaded module's BTF object (Linux 5.11; CAP_SYS_ADMIN). The caller closes it.

        The object is that of the module which is loaded now; `Handle.incarnation` says which loading that is.

        Raises:
            NotFoundError: no module of that name is loaded, or it has no BTF.
            KernelError: PermissionError.
        """
        name = module_name(name)
        why = "it comes and goes all the time"
        with self._lock:
            for _ in range(_TRIES):
                now = incarnation(name, self.directory)
                if now is None and os.path.isdir(self.directory):
                    why = why_no_types(name)
                    if why != NO_BTF:  # else it may have been loaded since
                        break
                    continue
                handle = self._open(name, now)
                if handle is None:
                    continue
                if incarnation(name, self.directory) == now:  # so it was this one all the time
                    handle.incarnation = now
                    return handle
                handle.close()
        raise NotFoundError(f"the kernel has no BTF object of a module {name}: {why}")

    def _open(self, name: str, now: Incarnation | None) -> Handle | None:
        """The object of an incarnation, if the kernel has it."""
        known = self._ids.get(name)
        if known is None or now is None or known[0] != now:
            self._walk()
            known = self._ids.get(name)
            if known is None or known[0] != now:
                return None
        handle = None
        try:
            handle = Handle.from_id(known[1])
            info = handle.info
            if info.is_module and info.name == name and info.id:
                return handle
        except FileNotFoundError:
            pass
        except BaseException:
            if handle is not None:
                handle.close()
            raise
        if handle is not None:  # its module has gone, or the id went to something else
            handle.close()
        del self._ids[name]
        return None

    def _walk(self) -> None:
        """Note every module's object; a module that is loaded anew meanwhile differs from what is noted."""
        self.walks += 1
        self._ids = {}
        loaded = {name: incarnation(name, self.directory) for name in self.module_names()}
        for handle in iter_handles():
            with handle:
                info = handle.info
                if info.is_module and info.id:
                    self._ids[info.name] = loaded.get(info.name), info.id
