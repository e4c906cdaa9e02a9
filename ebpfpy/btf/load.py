"""Reading BTF from wherever it lies: in a file of whatever sort (see `source`), or in the running kernel."""

from __future__ import annotations

import os
from typing import IO, TYPE_CHECKING, Final

from ebpfpy.errors import InputError, NotFoundError

from .header import looks_like_btf
from .source import SYSFS, Source, contents, read_sysfs, unwrap
from .spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

NO_MODULE_TYPES: Final = (
    "this kernel keeps no types of modules: Linux 5.11 and newer do (CONFIG_DEBUG_INFO_BTF_MODULES)"
)
_MAX_MODULE_NAME = 255


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
        KernelError: the file cannot be read; also the matching OSError.
    """
    data, name = contents(source)
    if looks_like_btf(data):  # thousands are read one after the other
        return Spec(data, base, name=name)
    return unwrap(data, name).spec(base)


def load_spec_from_reader(reader: IO[bytes]) -> Spec:
    """`load_spec` for an open binary file."""
    return load_spec(reader)


def load_split_spec(source: Source, base: Spec) -> Spec:
    """`load_spec` for split BTF: the types of a kernel module, on the BTF of its kernel."""
    return load_spec(source, base=base)


def load_split_spec_from_reader(reader: IO[bytes], base: Spec) -> Spec:
    """`load_split_spec` for an open binary file."""
    return load_spec(reader, base=base)


def load_kernel_spec() -> Spec:
    """The types of the running kernel, named "vmlinux".

    /sys/kernel/btf/vmlinux is asked first (Linux 5.4, CONFIG_DEBUG_INFO_BTF), then the places where distributions put
    an uncompressed kernel. No capability is needed.

    Raises:
        NotFoundError: this kernel has no BTF, and no vmlinux lies in the usual places.
    """
    path = f"{SYSFS}/vmlinux"
    if os.path.exists(path):
        return Spec(read_sysfs(path, shared=True), name="vmlinux")
    release = os.uname().release
    for candidate in _vmlinux_paths(release):
        if os.path.exists(candidate):
            spec = load_spec(candidate)
            spec.name = "vmlinux"
            return spec
    raise NotFoundError(
        f"the running kernel ({release}) offers no BTF: {path} is missing (CONFIG_DEBUG_INFO_BTF),"
        " and no vmlinux was found"
    )


def load_kernel_module_spec(name: str, base: Spec | None = None) -> Spec:
    """The types of a loaded module of the running kernel (Linux 5.11), named after it.

    Args:
        name: as ``lsmod`` prints it; "-" is read as "_".
        base: the kernel's own types, if they are at hand; read anew otherwise.

    Raises:
        NotFoundError: no such module is loaded, or it has no BTF.
        InputError: that is no module name.
    """
    name = name.replace("-", "_")
    if not name or "/" in name or "\0" in name or name.startswith(".") or len(name) > _MAX_MODULE_NAME:
        raise InputError(f"{name!r} is not the name of a module")
    if name == "vmlinux":
        raise InputError("vmlinux is the kernel itself: load_kernel_spec() reads its types")
    path = f"{SYSFS}/{name}"
    try:
        data = read_sysfs(path)
    except FileNotFoundError:
        loaded = os.path.exists(f"/sys/module/{name}")
        why = "it is loaded, but has no BTF" if loaded else "it is not loaded"
        never = "" if has_module_types(base if base is not None else load_kernel_spec()) else f"; {NO_MODULE_TYPES}"
        raise NotFoundError(f"no BTF of module {name}: {why} ({path} is missing){never}") from None
    return Spec(data, base if base is not None else load_kernel_spec(), name=name)


def has_module_types(kernel: Spec) -> bool:
    """Whether a kernel keeps the BTF of its modules (Linux 5.11): its own types tell of the structure for that."""
    return bool(kernel.ids_by_name(b"btf_module"))


def kernel_module_names() -> tuple[str, ...]:
    """The names of all loaded modules that have BTF, sorted; empty where the kernel offers none."""
    try:
        return tuple(sorted(name for name in os.listdir(SYSFS) if name != "vmlinux"))
    except FileNotFoundError:
        return ()


def _vmlinux_paths(release: str) -> Iterator[str]:
    yield f"/boot/vmlinux-{release}"
    yield f"/lib/modules/{release}/vmlinux-{release}"
    yield f"/lib/modules/{release}/build/vmlinux"
    yield f"/usr/lib/modules/{release}/kernel/vmlinux"
    yield f"/usr/lib/debug/boot/vmlinux-{release}"
    yield f"/usr/lib/debug/boot/vmlinux-{release}.debug"
    yield f"/usr/lib/debug/lib/modules/{release}/vmlinux"
