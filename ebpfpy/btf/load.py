"""Reading BTF from wherever it lies: in a file of whatever sort (see `source`), or in the running kernel."""

from __future__ import annotations

import errno
import os
from typing import IO, TYPE_CHECKING, Final

from ebpfpy.errors import EbpfError, NotFoundError, kernel_error
from ebpfpy.sys.paths import path_text
from ebpfpy.sys.vmlinux import VMLINUX

from .header import looks_like_btf
from .loadedmodules import DIRECTORY, GONE, NO_BTF, SYSFS, module_name, why_no_types
from .source import Source, contents, read_sysfs, read_sysfs_with_inode, unwrap
from .spec import Spec, check_spec
from .standsalone import refuse_alone
from .types import Struct

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_MODULE_TYPES: Final = (
    "this kernel keeps no types of modules: Linux 5.11 and newer do (CONFIG_DEBUG_INFO_BTF_MODULES)"
)
_TRIES = 3
"""Times that a module without a file is looked for: in between, it may have been loaded."""


def load_spec(source: Source, *, base: Spec | None = None) -> Spec:
    """Read BTF.

    Args:
        source: a path, bytes, or a binary file. Raw BTF, or an ELF file with a .BTF section (an object, a module, a
            vmlinux); either of them also in a vmlinuz (bzImage), in a tar archive of one file (BTFhub's), or compressed
            with gzip, bzip2, xz, lzma, lz4 (legacy frame) or zstd (Python 3.14, libzstd.so.1 or the package zstandard).
            Nothing is written to a disk. At most 1 GiB, as it is and unpacked.
        base: for split BTF (a kernel module's), the BTF that it continues.

    Returns:
        A `Spec` named after the file. Its pointers have the size of `long`; without a `long` in it the ELF file tells,
        and BPF objects have 8 bytes always.

    Raises:
        BtfError, ElfError: it is malformed, or something else altogether; the error says what it looks like.
        UnsupportedError: it is compressed in a way that is not read here; the error says what does.
        NotFoundError: an ELF file without BTF.
        InputError: a base was given, and what was read stands alone: a kernel's BTF, not a module's.
        KernelError: the file cannot be read; also the matching OSError.
    """
    data, name = contents(source)
    # thousands are read one after the other
    spec = Spec(data, base, name=name) if looks_like_btf(data) else unwrap(data, name).spec(base)
    if base is not None:
        refuse_alone(spec)
    return spec


def load_spec_from_reader(reader: IO[bytes]) -> Spec:
    """`load_spec` for an open binary file."""
    return load_spec(reader)


def load_split_spec(source: Source, base: Spec) -> Spec:
    """`load_spec` for split BTF: the types of a kernel module, on the BTF of its kernel."""
    return load_spec(source, base=base)


def load_split_spec_from_reader(reader: IO[bytes], base: Spec) -> Spec:
    """`load_split_spec` for an open binary file."""
    return load_spec(reader, base=base)


def load_kernel_spec(*, directory: str = SYSFS) -> Spec:
    """The types of the running kernel, named "vmlinux".

    /sys/kernel/btf/vmlinux is asked first (Linux 5.4, CONFIG_DEBUG_INFO_BTF), then the places where distributions put
    an uncompressed kernel. No capability is needed.

    Args:
        directory: where the kernel shows its BTF, if sysfs is mounted elsewhere.

    Raises:
        NotFoundError: this kernel has no BTF, and no vmlinux lies in the usual places.
        KernelError: the file cannot be read; also the matching OSError.
    """
    path = f"{directory}/vmlinux"
    try:
        data = read_sysfs(path, shared=True)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # the last: a NUL in the path
        pass
    except OSError as error:
        raise kernel_error(error.errno or errno.EIO, "read", subject=path) from error
    else:
        return Spec(data, name=VMLINUX)
    release = os.uname().release
    for candidate in _vmlinux_paths(release):
        if os.path.exists(candidate):
            spec = load_spec(candidate)
            spec.name = VMLINUX
            return spec
    raise NotFoundError(
        f"the running kernel ({release}) offers no BTF: {path} is missing (CONFIG_DEBUG_INFO_BTF),"
        " and no vmlinux was found"
    )


def load_kernel_module_spec(name: str, base: Spec | None = None, *, directory: str = SYSFS) -> Spec:
    """The types of a loaded module of the running kernel (Linux 5.11), named after it.

    Args:
        name: as ``lsmod`` prints it; "-" is read as "_".
        base: the kernel's own types, if they are at hand; read anew otherwise.
        directory: where the kernel shows its BTF, if sysfs is mounted elsewhere.

    Raises:
        NotFoundError: no such module is loaded (any more, or not quite yet), or it has no BTF; the error says which.
        InputError: that is no module name, no `Spec`, or no path.
        BtfError: its BTF is malformed.
        KernelError: its file cannot be read; also the matching OSError.
    """
    name = module_name(name)
    if base is not None:
        check_spec(base)
    path = f"{path_text(directory, DIRECTORY)}/{name}"
    try:
        data, inode = _read_module(name, path)
    except NotFoundError as error:
        if has_module_types(base if base is not None else load_kernel_spec(directory=directory)):
            raise
        raise NotFoundError(f"{error}; {NO_MODULE_TYPES}") from None
    spec = Spec(data, base if base is not None else load_kernel_spec(directory=directory), name=name)
    spec.incarnation = inode, len(data)
    return spec


def has_module_types(kernel: Spec) -> bool:
    """Whether a kernel keeps the BTF of its modules (Linux 5.11): its own types tell of the structure for that."""
    return bool(kernel.ids_by_name(b"btf_module"))


def looks_into_modules(kernel: Spec) -> bool:
    """Whether a kernel takes the address of a module's function from that module (Linux 6.4).

    Before commit 31bf1dbccfb0 ("bpf: Fix attaching fentry/fexit/fmod_ret/lsm to modules") it takes the first symbol of
    that name anywhere. Since then a program remembers the module, in a member ``mod`` of struct bpf_prog_aux.
    """
    known = kernel.derived.get(looks_into_modules)
    if known is None:
        from .namesakes import members_by_bytes

        try:
            names = members_by_bytes(kernel, b"bpf_prog_aux")
            if names is None:
                names = {member.name.encode() for member in kernel.type_by_name("bpf_prog_aux", Struct).members}
            known = b"mod" in names
        except EbpfError:
            known = False
        kernel.derived[looks_into_modules] = known
    return bool(known)


def _read_module(name: str, path: str) -> tuple[bytes, int]:
    tries = _TRIES
    while True:
        try:
            return read_sysfs_with_inode(path)
        except OSError as error:
            if error.errno not in GONE:
                raise kernel_error(error.errno or errno.EIO, "read", subject=path) from error
        tries -= 1
        why = why_no_types(name)
        if tries == 0 or why != NO_BTF:  # else it may have been loaded since
            raise NotFoundError(f"no BTF of module {name}: {why} ({path} is missing)")


def _vmlinux_paths(release: str) -> Iterator[str]:
    yield f"/boot/vmlinux-{release}"
    yield f"/lib/modules/{release}/vmlinux-{release}"
    yield f"/lib/modules/{release}/build/vmlinux"
    yield f"/usr/lib/modules/{release}/kernel/vmlinux"
    yield f"/usr/lib/debug/boot/vmlinux-{release}"
    yield f"/usr/lib/debug/boot/vmlinux-{release}.debug"
    yield f"/usr/lib/debug/lib/modules/{release}/vmlinux"
