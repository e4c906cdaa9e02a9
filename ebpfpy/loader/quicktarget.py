"""Attach targets by the kernel's own search, where its answer can only be the right one.

The kernel answers at once (`ebpfpy.btf.kernelsearch`), and takes the first type of a name. The rule of `target` is that
a name found in two places is an error, so an answer counts only if there is no second place:

* A hook (tp_btf, LSM, an iterator) has a name that the kernel's linker has seen to it is there once, and the kernel's
  own comes before any module's: an answer from the kernel's own types counts as it is. Nothing is read.
* Any other function may be there twice: two files of the kernel may each have a static function of that name, and
  modules have what they like. So the bytes of the kernel's BTF and of each module's are searched for the name
  (`ebpfpy.btf.namesakes`): that reads the files (a mapped kernel costs nothing), but walks over no record. One bearer
  of the name at most, and the answer counts.
* A module's answer counts if its BTF object is that of the module which is loaded now.

The bytes are searched before the kernel is asked: it then finds in the processor's caches what it looks through.

A question and the search of the bytes take a tenth of the time of the one walk after which ids cost next to nothing. So
a load asks for a few functions only, and for none where most of the walk has been made: by CO-RE, say, or by an earlier
load with the same `Cache`. What the kernel has answered about its own types, which never change, the `Cache` keeps:
the next load asks only modules that have come meanwhile.

Whenever something is missing, doubtful or refused (a kernel before 5.14, a policy, a name that is there twice) there is
no answer here, and `target` looks for itself: it finds what is found here, or says why not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ebpfpy.btf.kernelsearch import KernelSearch
from ebpfpy.errors import EbpfError, UnsupportedError
from ebpfpy.sys.vmlinux import VMLINUX

if TYPE_CHECKING:
    from ebpfpy import btf
    from ebpfpy.btf.kinds import Kind
    from ebpfpy.btf.loadedmodules import Incarnation
    from ebpfpy.btf.namesakes import Namesakes

_FEW = 8
"""Functions that a load asks for; then the walk is due."""
_MOST = 0.5
"""How much of the kernel's types is most of the walk."""


class QuickTargets:
    """Looks up targets for one load: modules are those that are there when the first function is asked for.

    A context manager, which owns the program that asks the kernel.

    Args:
        cache: the running kernel's types.
        token_fd: descriptor of a BPF token, or 0.
    """

    def __init__(self, cache: btf.Cache, token_fd: int = 0) -> None:
        self._cache = cache
        self._search: KernelSearch | None = KernelSearch(token_fd)
        self._namesakes: Namesakes | None = None
        self._functions = 0

    def find(
        self, name: bytes, kind: Kind, module: str | None, *, is_hook: bool
    ) -> tuple[int, str | None, Incarnation | None] | None:
        """The type id of a target, the module that has it (None: the kernel), and which loading of the module.

        Args:
            name: of the type.
            kind: of the type.
            module: the only place where it may be; "vmlinux" for the kernel itself; None for anywhere.
            is_hook: there cannot be two of that name in the kernel, and none in a module counts beside it.

        Returns:
            None where only looking for oneself can tell.
        """
        known = self._cache.kernel_ids.get((name, kind))
        place = None if module is None else module.replace("-", "_")
        if known is not None:
            bearer = place or VMLINUX if is_hook else self._only_bearer(name, kind, place)
            return (known, None, None) if bearer == VMLINUX else None
        if self._search is None or not self._is_worth_asking(is_hook=is_hook):
            return None
        try:
            self._search.load()  # where the kernel cannot be asked, nothing need be read
            if not is_hook:
                place = self._only_bearer(name, kind, place)
                if place is None:
                    return None
            found = self._search.find(name, kind)
        except UnsupportedError:
            self.close()
            return None
        if found is None:
            return None
        if found.module is None:
            self._cache.kernel_ids[name, kind] = found.type_id
            return (found.type_id, None, None) if place in (None, VMLINUX) else None
        with found.module as handle:
            if is_hook:
                place = self._only_bearer(name, kind, place)
            return None if place is None else self._in_module(found.type_id, handle, place)

    def _is_worth_asking(self, *, is_hook: bool) -> bool:
        """Whether asking the kernel once more costs less than looking."""
        if self._cache.kernel_is_read and self._cache.kernel().walked > _MOST:
            return False
        self._functions += not is_hook
        return self._functions <= _FEW

    def _in_module(
        self, type_id: int, handle: btf.Handle, module: str
    ) -> tuple[int, str | None, Incarnation | None] | None:
        """The answer for what the kernel has found in a module, if it is the only bearer's, as it is loaded now."""
        try:
            if handle.info.name != module:
                return None
            with self._cache.module_handle(module) as now:
                is_loaded, incarnation = now.info.id == handle.info.id, now.incarnation
        except EbpfError:  # it has just gone, or needs more rights than there are: `target` says so
            return None
        return (type_id, module, incarnation) if is_loaded else None

    def _only_bearer(self, name: bytes, kind: Kind, place: str | None) -> str | None:
        """The only place that has a type of that name, and has one; None if there is another or if it is not `place`.

        Where the kernel itself is asked for (`VMLINUX`), modules do not count.
        """
        bearers = self._bearers(name, kind, everywhere=place != VMLINUX)
        return bearers[0] if len(bearers) == 1 and place in (None, bearers[0]) else None

    def _bearers(self, name: bytes, kind: Kind, *, everywhere: bool) -> list[str]:
        """The places that have a type of that name, as often as they have one: the kernel; or modules, too."""
        try:
            if self._namesakes is None:
                self._namesakes = self._cache.namesakes()
            places = [VMLINUX] * self._namesakes.in_kernel(name, kind)
            if everywhere:
                for each, count in self._namesakes.in_modules(name, kind).items():
                    places += [each] * count
        except EbpfError:
            return []
        return places

    def close(self) -> None:
        """Let go of the program that asks the kernel; from now on there are no answers."""
        if self._search is not None:
            self._search.close()
            self._search = None

    def __enter__(self) -> QuickTargets:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()
