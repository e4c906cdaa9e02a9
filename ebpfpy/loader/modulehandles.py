"""Descriptors of modules' BTF objects, held while programs that need them are loaded; and what to say if a module goes.

A program is loaded in steps: its target is found in a module's types, the module's BTF object is opened, offsets are
taken from the types, the kernel is handed all of it. A module can be unloaded, or be loaded anew from another file,
between any two of these. So each number remembers the module's incarnation (`ebpfpy.btf.loadedmodules`): numbers of
different incarnations are never mixed, and when the kernel refuses a program whose module has changed meanwhile, that
is the reason which the error gives.

Nobody waits here for a module to come back. Whatever fails because a module is not there (any more, or not quite yet)
is a LookupError, too (`TargetNotFoundError`, `ExternError`, `NotFoundError`): who expects the module may catch that and
load again.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from ebpfpy.btf import loadedmodules
from ebpfpy.errors import NotFoundError

if TYPE_CHECKING:
    from ebpfpy import btf
    from ebpfpy.btf.loadedmodules import Incarnation
    from ebpfpy.errors import KernelError

_NOT_LIVE = frozenset({errno.ENOENT, errno.ENXIO, errno.ENODEV})
"""What the kernel says if it is asked for the code of a module that is coming or going."""


class ModuleHandles:
    """Owns a descriptor of each module's BTF object that was asked for.

    Args:
        cache: the running kernel's types.
    """

    def __init__(self, cache: btf.Cache) -> None:
        self._cache = cache
        self._handles: dict[str, btf.Handle] = {}
        self._used: set[str] = set()

    def begin(self) -> None:
        """For a new program: let go of modules that have changed, so that it gets those which are there now."""
        self._used.clear()
        for module, handle in list(self._handles.items()):
            if self._cache.incarnation(module) != handle.incarnation:
                del self._handles[module]
                handle.close()

    def fd(self, module: str, found: Incarnation | None) -> int:
        """The descriptor of a module's BTF object; it stays open until `begin` or `close`.

        Args:
            module: its name.
            found: the incarnation in which type ids were found; None where that is not known.

        Raises:
            NotFoundError: now it is another one, or none.
            KernelError: PermissionError.
        """
        handle = self._handles.get(module)
        if handle is None:
            handle = self._handles[module] = self._cache.module_handle(module)
        self._used.add(module)
        self.check(module, found)
        return handle.fileno()

    def check(self, module: str, found: Incarnation | None) -> None:
        """Whether what was found belongs to the module whose descriptor is open.

        Raises:
            NotFoundError: it does not.
        """
        handle = self._handles[module]
        if None not in (found, handle.incarnation) and found != handle.incarnation:
            raise NotFoundError(_changed(module))

    def blame(self, error: KernelError) -> tuple[str, str] | None:
        """The module whose coming or going explains that the kernel refused a program, and in words how; or None."""
        for module in sorted(self._used):
            now, state = self._cache.incarnation(module), loadedmodules.state(module)
            before = self._handles[module].incarnation
            if before is not None and (now is None or state == "Unloading"):
                return module, f"module {module} was unloaded meanwhile: load again when it is back"
            if before is not None and now != before:
                return module, _changed(module)
            if error.errno in _NOT_LIVE and state != "Live":
                return module, f"module {module} is only just being loaded: load again when it is live"
        return None

    def set_aside(self) -> set[str]:
        """Forget which modules the program at hand needs, while others are loaded; `take_back` is given them again."""
        used, self._used = self._used, set()
        return used

    def take_back(self, used: set[str]) -> None:
        """Turn again to the program that was set aside."""
        self._used = used

    @property
    def in_use(self) -> bool:
        """Whether the program at hand needs a module."""
        return bool(self._used)

    def may_have_become_live(self, error: KernelError) -> bool:
        """Whether a refusal that nothing explains may be over: a module was not live, and is now."""
        return self.in_use and error.errno in _NOT_LIVE

    def close(self) -> None:
        """Let go of all of them."""
        for handle in self._handles.values():
            handle.close()
        self._handles.clear()


def _changed(module: str) -> str:
    return f"module {module} was unloaded and loaded anew meanwhile: load again"
