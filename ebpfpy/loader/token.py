"""BPF tokens: loading without capabilities, with rights that a bpf file system delegates (Linux 6.9).

Somebody with capabilities mounts a bpf file system for a user namespace and says what it delegates::

    mount -t bpf -o delegate_cmds=any,delegate_maps=any,delegate_progs=any,delegate_attachs=any bpf /run/bpf

A process in that namespace makes a token from it, and hands the token to every command that would otherwise need
capabilities: making maps, loading BTF, loading programs.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ebpfpy import sys
from ebpfpy.errors import kernel_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ebpfpy.sys import HasFileno


@contextmanager
def token_of(source: str | os.PathLike[str] | HasFileno | None) -> Iterator[int]:
    """The descriptor of a token while the block runs; 0 for none.

    Args:
        source: the path of a bpf file system, or a token.

    Raises:
        KernelError: the file system cannot be opened, or delegates nothing to this process.
    """
    if source is None:
        yield 0
    elif isinstance(source, (str, bytes, os.PathLike)):
        try:
            directory = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise kernel_error(error.errno or 0, "open", subject=os.fspath(source)) from None
        try:
            token = sys.token_create(directory)
        finally:
            os.close(directory)
        with token:
            yield token.fileno()
    else:
        yield sys.number_of(source)
