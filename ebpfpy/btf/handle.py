"""BTF objects that live in the kernel.

The kernel keeps one BTF object for itself ("vmlinux"), one for each loaded module that has BTF, and one for each that a
program loaded. Each has an id; a descriptor keeps it alive. The id tells which object it is: a module that is
unloaded and loaded again gets a new one.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy import sys
from ebpfpy.errors import InputError, KernelError
from ebpfpy.sys.vmlinux import VMLINUX

from .spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .loadedmodules import Incarnation

_LOG_SIZE, _MAX_LOG = 1 << 16, 1 << 26


class HandleInfo(NamedTuple):
    """What the kernel says of a BTF object.

    Attributes:
        id: unique while the object lives; 0: it belonged to a module that has been unloaded.
        name: "vmlinux", the module's name, or "" for one that a program loaded.
        kernel: it belongs to the kernel or a module.
        size: bytes of the blob.
    """

    id: int
    name: str
    kernel: bool
    size: int

    @property
    def is_vmlinux(self) -> bool:
        """Whether it is the kernel's own."""
        return self.kernel and self.name == VMLINUX

    @property
    def is_module(self) -> bool:
        """Whether it is a module's: split BTF on the kernel's own."""
        return self.kernel and self.name != VMLINUX


def _load_with_log(data: bytes, name: str, first: KernelError) -> sys.Fd:
    """Try again with a log that grows until it fits; the refusal that comes back is the first one's."""
    size = _LOG_SIZE
    while True:
        try:
            return sys.btf_load(data, name=name, log_level=1, log_size=size)[0]
        except KernelError as error:
            if error.errno == errno.ENOSPC and size < _MAX_LOG:
                size = min(_MAX_LOG, max(error.log_true_size, 4 * size))
                continue
            first.log = error.log
            raise first from None


class Handle:
    """Owner of a descriptor of a BTF object in the kernel. A context manager; `close` is idempotent.

    Args:
        fd: the descriptor, which the handle takes over.

    Attributes:
        incarnation: for a module's object that a `Cache` found: which loading of the module it belongs to.
    """

    incarnation: Incarnation | None = None

    def __init__(self, fd: sys.Fd) -> None:
        self._fd = fd
        self._info: HandleInfo | None = None

    @classmethod
    def from_id(cls, btf_id: int) -> Handle:
        """The object with this id (Linux 4.18; CAP_SYS_ADMIN).

        Raises:
            KernelError: FileNotFoundError: no object has the id (any more); PermissionError.
            InputError: that is no id.
        """
        if not 0 < btf_id < 1 << 32:
            raise InputError(f"{btf_id} is no id of a BTF object")
        return cls(sys.fd_by_id("btf", btf_id))

    @classmethod
    def load(cls, source: Spec | bytes, *, name: str = "") -> Handle:
        """Load BTF into the kernel (Linux 4.18; CAP_BPF).

        The first try asks for no log; after a refusal a second one fetches the reason.

        Args:
            source: types that stand alone, or their blob, in the machine's byte order.
            name: what to call it in errors.

        Raises:
            KernelError: the kernel refused; the attribute ``log`` has its reason.
            InputError: `source` is split BTF, or something else.
        """
        if isinstance(source, Spec):
            if source.split:
                raise InputError(f"{source.name or 'BTF'}: split BTF cannot be loaded: only BTF that stands alone can")
            data, name = bytes(source.raw), name or source.name
        else:
            try:
                data = bytes(memoryview(source))
            except TypeError:
                raise InputError(f"BTF is a Spec or bytes, not {type(source).__name__}") from None
        try:
            return cls(sys.btf_load(data, name=name)[0])
        except KernelError as error:
            if isinstance(error, PermissionError):
                raise
            return cls(_load_with_log(data, name, error))

    @property
    def info(self) -> HandleInfo:
        """What the kernel says of it."""
        if self._info is None:
            raw = sys.btf_info(self._fd)
            self._info = HandleInfo(raw.id, raw.name, raw.kernel_btf, raw.size)
        return self._info

    def spec(self, base: Spec | None = None) -> Spec:
        """Read its types out of the kernel.

        Args:
            base: for a module's object, the types of the running kernel; not needed for others.

        Raises:
            InputError: a module's object, and no base.
            BtfError: the types are malformed.
        """
        info = self.info
        if info.is_module and base is None:
            raise InputError(f"module {info.name}: its types continue the kernel's: pass base=btf.load_kernel_spec()")
        return Spec(sys.btf_data(self._fd), base if info.is_module else None, name=info.name)

    def fileno(self) -> int:
        """The descriptor; still owned by the handle."""
        return self._fd.fileno()

    def close(self) -> None:
        """Let go of the object."""
        self._fd.close()

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._fd.closed

    def __repr__(self) -> str:
        what = f"id {self._info.id} {self._info.name or '(anon)'} " if self._info is not None else ""
        return f"<Handle {what}{'closed' if self._fd.closed else f'fd {self._fd.fileno()}'}>"


def iter_handles() -> Iterator[Handle]:
    """Every BTF object in the kernel, by id (Linux 5.4; CAP_SYS_ADMIN). The caller closes each.

    Objects that go away meanwhile are left out.
    """
    btf_id = sys.next_id("btf")
    while btf_id is not None:
        try:
            handle = Handle.from_id(btf_id)
        except FileNotFoundError:
            pass
        else:
            yield handle
        btf_id = sys.next_id("btf", btf_id)
