"""struct_ops: structures of the kernel's functions that programs implement (Linux 5.6; by link 6.4).

What is attached is the map that holds the structure, not a program. One of the section .struct_ops.link is attached by
a link; one of .struct_ops is used by the kernel from the moment that it has its value.
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, NoReturn

from ebpfpy import sys
from ebpfpy.errors import InputError, KernelError
from ebpfpy.loader import Map
from ebpfpy.sys import AttachType, LinkType, MapFlags, MapType

from .attachment import Attachment, keep
from .link import Link
from .refusal import attaching

if TYPE_CHECKING:
    from ebpfpy.loader import Program

_HINTS = {
    errno.EEXIST: "the kernel has something of that name already",
    errno.EINVAL: "the structure is incomplete, or what it is for refuses it",
}


class StructOpsLink(Link):
    """A structure of programs in use by the kernel."""

    def update(self, program: Program, *, expected: Program | None = None) -> NoReturn:  # noqa: ARG002
        """Refuse: the whole structure is replaced, by `update_map`.

        Raises:
            InputError: always.
        """
        raise InputError(f"{self.text}: replace the whole structure, with update_map")

    def update_map(self, operations: Map, *, expected: Map | None = None) -> None:
        """Put another structure in its place at once (Linux 6.4), if what it is for can do that.

        Args:
            operations: a map of the section .struct_ops.link.
            expected: replace only this one, fail with EPERM if another is there by now.

        Raises:
            KernelError: the kernel refused; EOPNOTSUPP: this structure cannot be replaced.
        """
        _register(operations)
        sys.link_update(self, operations, old_prog_fd=expected, subject=f"{operations.name} for {self.text}")


def attach_struct_ops(operations: Map) -> Link:
    """Let the kernel use a structure of programs (Linux 5.6; by link 6.4; CAP_BPF and what the structure is for needs).

    Args:
        operations: a map of the section .struct_ops.link or .struct_ops, of a `Collection`.

    Returns:
        A `StructOpsLink`, or for a map of .struct_ops an `Attachment`, which can be made once only; the caller closes
        it.

    Raises:
        InputError: that is no such map.
        KernelError: FileExistsError: the kernel has something of that name.
        UnsupportedError: the kernel has no links of struct_ops.
    """
    if not isinstance(operations, Map):
        raise InputError(f"a structure of programs is a Map, not a {type(operations).__name__}")
    if operations.type != MapType.STRUCT_OPS:
        raise InputError(f"map {operations.name} of type {operations.type.name} holds no structure of programs")
    text = f"map {operations.name} to struct_ops"
    if not operations.spec.flags & MapFlags.LINK:
        return _attach_directly(operations, text)
    with attaching(text, LinkType.STRUCT_OPS, hints=_HINTS):
        _register(operations)
        return StructOpsLink(sys.link_create(operations, attach_type=AttachType.STRUCT_OPS), text)


def _register(operations: Map) -> None:
    try:
        operations.register()
    except KernelError as error:
        if error.errno != errno.EBUSY:  # it has its value already
            raise


def _attach_directly(operations: Map, text: str) -> Attachment:
    own = keep(operations, text)
    try:
        with attaching(text, hints=_HINTS):
            operations.register()
    except BaseException:
        own.close()
        raise

    def undo() -> None:
        sys.map_delete(own, bytes(operations.spec.key_size))

    return Attachment(own, text, undo, instead=("struct_ops links (section .struct_ops.link)", "6.4"))
