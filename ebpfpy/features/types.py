"""BTF: of the kernel, of modules, of programs."""

from __future__ import annotations

import errno
import os
from functools import cache

from ebpfpy.errors import KernelError, kernel_error

from .asking import about
from .support import Support


@cache
def have_btf() -> Support:
    """Whether the kernel has types of its own, for CO-RE and tracing programs (/sys/kernel/btf; no capability).

    Raises:
        KernelError: sysfs is not there to be asked.
    """
    if not os.path.isdir("/sys/kernel"):
        raise kernel_error(errno.ENOENT, "stat", subject="/sys/kernel", hint="sysfs is not mounted")
    return Support("kernel BTF", os.path.exists("/sys/kernel/btf/vmlinux"), "5.4")


@cache
def have_module_btf() -> Support:
    """Whether the kernel keeps the types of modules: whether its own types tell of such a thing (no capability).

    Raises:
        KernelError: sysfs is not there to be asked.
        BtfError: the kernel's types are malformed.
    """
    from ebpfpy import btf
    from ebpfpy.btf.load import has_module_types

    known = bool(have_btf()) and has_module_types(btf.load_kernel_spec())
    return Support("module BTF", known, "5.11")


@cache
def have_btf_load() -> Support:
    """Whether programs can bring types of their own (CAP_BPF).

    Raises:
        KernelError: no answer.
    """
    from ebpfpy import btf

    builder = btf.Builder()
    builder.add(btf.Int("int", 4, 1))
    feature = "BTF of programs"
    with about(feature):
        try:
            btf.Handle.load(builder.marshal(), name="probe").close()
        except KernelError as error:
            if error.errno != errno.EINVAL:
                raise
            return Support(feature, False, "4.18")
    return Support(feature, True, "4.18")
