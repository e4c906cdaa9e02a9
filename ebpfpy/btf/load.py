"""Reading BTF from wherever it lies: raw, in an ELF file, compressed, in a running kernel."""

from __future__ import annotations

import errno
import os
from typing import IO, TYPE_CHECKING, Any, TypeAlias

from ebpfpy.errors import BtfError, InputError, NotFoundError, UnsupportedError, kernel_error
from ebpfpy.sys.filemap import map_read_only

from .elfsection import sections
from .header import looks_like_btf
from .spec import Spec

if TYPE_CHECKING:
    from collections.abc import Iterator

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]

MAX_SIZE = 1 << 30
"""Bytes that a compressed file may grow to."""

SYSFS = "/sys/kernel/btf"

_MAX_MODULE_NAME = 255
_CHUNK = 1 << 22
_SUFFIXES = frozenset({".btf", ".ko", ".o", ".bpf", ".elf", ".raw", ".xz", ".gz", ".bz2", ".zst"})


def load_spec(source: Source, *, base: Spec | None = None) -> Spec:
    """Read BTF.

    Args:
        source: a path, bytes, or a binary file. Raw BTF, an ELF file with a .BTF section (an object, a module, a
            vmlinux), or either of them compressed with gzip, bzip2, xz or zstd (zstd: Python 3.14, or the package
            zstandard).
        base: for split BTF (a kernel module's), the BTF that it continues.

    Returns:
        A `Spec` named after the file.

    Raises:
        BtfError, ElfError: it is malformed, or something else altogether; the error says what it looks like.
        NotFoundError: an ELF file without BTF.
        KernelError: the file cannot be read; also the matching OSError.
    """
    data, name = _contents(source)
    return _from_bytes(data, base, name)


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
        return Spec(_read_sysfs(path, shared=True), name="vmlinux")
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
        data = _read_sysfs(path)
    except FileNotFoundError:
        loaded = os.path.exists(f"/sys/module/{name}")
        why = "it is loaded, but has no BTF" if loaded else "it is not loaded"
        raise NotFoundError(f"no BTF of module {name}: {why} ({path} is missing)") from None
    return Spec(data, base if base is not None else load_kernel_spec(), name=name)


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


def _contents(source: Source) -> tuple[Any, str]:
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), ""
    if isinstance(source, (str, os.PathLike)):
        path = os.fspath(source)
        name = _stem(path)
        if path.startswith(SYSFS + "/"):
            return _read_sysfs(path, shared=name == "vmlinux"), name
        return _read_file(path), name
    if not hasattr(source, "read"):
        raise InputError(f"BTF is read from a path, bytes or a binary file, not from {type(source).__name__}")
    data = source.read()
    if not isinstance(data, bytes):
        raise InputError("the reader returns text: open the file in binary mode")
    name = getattr(source, "name", "")
    return data, _stem(name) if isinstance(name, str) else ""


def _read_file(path: str) -> bytes:
    data = bytearray()
    try:
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK):
                data += chunk
                if len(data) > MAX_SIZE:
                    raise BtfError(f"larger than {MAX_SIZE} bytes", source=path)
    except OSError as error:
        raise kernel_error(error.errno or errno.EIO, "open", subject=path) from error
    except ValueError as error:  # a NUL in the path
        if isinstance(error, BtfError):
            raise
        raise InputError(f"{path!r} is no path: {error}") from None
    return bytes(data)


def _stem(path: str) -> str:
    """What a spec is called after its file: "tun" for tun.ko.xz, "vmlinux-6.1.0" for vmlinux-6.1.0."""
    name = os.path.basename(path)
    while True:
        stem, suffix = os.path.splitext(name)
        if not stem or suffix not in _SUFFIXES:
            return name
        name = stem


def _read_sysfs(path: str, *, shared: bool = False) -> Any:
    """The bytes of a file in sysfs; with `shared`, mapped where the kernel allows it (Linux 6.16)."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        if shared and size:
            try:
                return map_read_only(descriptor, size)
            except OSError:
                pass  # this kernel does not map files of sysfs
        return _read_all(descriptor, size)
    finally:
        os.close(descriptor)


def _read_all(descriptor: int, size: int) -> bytes:
    buffer = bytearray(size)
    view, at = memoryview(buffer), 0
    while at < size:
        count = os.readv(descriptor, [view[at:]])
        if count == 0:
            break
        at += count
    return bytes(view[:at])


def _from_bytes(data: Any, base: Spec | None, name: str) -> Spec:
    view = memoryview(data)
    for _ in range(3):  # a compressed file may hold an ELF file; nothing is nested deeper than that
        if looks_like_btf(view):
            return Spec(data, base, name=name)
        if bytes(view[:4]) == b"\x7fELF":
            return _from_elf(view, base, name)
        data = _decompress(view, name)
        view = memoryview(data)
    raise BtfError("compressed more than twice", source=name or None)


def _from_elf(view: memoryview, base: Spec | None, name: str) -> Spec:
    source = name or "ELF file"
    found = sections(view, (".BTF", ".BTF.base"), source=source)
    if ".BTF" not in found:
        raise NotFoundError(f"{source}: the ELF file has no .BTF section")
    if ".BTF.base" not in found:
        return Spec(found[".BTF"].tobytes(), base, name=name)
    distilled = Spec(found[".BTF.base"].tobytes(), name=f"{name}.base" if name else "distilled base")
    split = Spec(found[".BTF"].tobytes(), distilled, name=name)
    if base is None:
        return split
    from .relocatebase import relocate_base

    return relocate_base(split, base)


def _decompress(view: memoryview, name: str) -> bytes:
    head = bytes(view[:6])
    source = name or None
    try:
        if head.startswith(b"\xfd7zXZ\0"):
            import lzma

            return _bounded(lzma.LZMADecompressor(), view, source)
        if head.startswith(b"\x1f\x8b"):
            import zlib

            return _bounded(zlib.decompressobj(31), view, source)
        if head.startswith(b"BZh"):
            import bz2

            return _bounded(bz2.BZ2Decompressor(), view, source)
        if head.startswith(b"\x28\xb5\x2f\xfd"):
            return _bounded(_zstd_decompressor(), view, source)
    except BtfError:
        raise
    except _decompressor_errors() as error:
        raise BtfError(f"damaged compressed file: {error}", source=source) from None
    raise BtfError(f"neither BTF nor ELF: {_looks_like(view)}", source=source, offset=0)


def _decompressor_errors() -> tuple[type[Exception], ...]:
    import lzma
    import zlib

    return OSError, EOFError, ValueError, lzma.LZMAError, zlib.error


def _zstd_decompressor() -> Any:
    try:
        from compression.zstd import ZstdDecompressor  # type: ignore[import-not-found]
    except ImportError:
        try:
            from zstandard import ZstdDecompressor as Package  # type: ignore[import-not-found]
        except ImportError:
            raise UnsupportedError(
                "zstd-compressed: needs Python 3.14 or the package zstandard", feature="zstd"
            ) from None
        return Package()
    return ZstdDecompressor()


def _bounded(decompressor: Any, view: memoryview, source: str | None) -> bytes:
    try:
        data: bytes = decompressor.decompress(view, MAX_SIZE)
    except TypeError:  # the package zstandard: no limit there, but a reader
        data = decompressor.stream_reader(view).read(MAX_SIZE)
        if len(data) >= MAX_SIZE:
            raise BtfError("compressed file grows beyond what any kernel has", source=source) from None
        return data
    if not getattr(decompressor, "eof", True):
        what = "grows beyond what any kernel has" if len(data) >= MAX_SIZE else "is cut short"
        raise BtfError(f"compressed file {what}", source=source)
    return data


def _looks_like(view: memoryview) -> str:
    head = bytes(view[:1024])
    if not head:
        return "the file is empty"
    if head.startswith(b"!<arch>"):
        return "it looks like an ar archive (a .deb package?)"
    if head.startswith(b"PK"):
        return "it looks like a zip file"
    if head[0x202:0x206] == b"HdrS":
        return "it looks like a compressed kernel image (vmlinuz): decompress it to a vmlinux first"
    if all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head[:64]):
        return f"it looks like text: {head[:20].decode('ascii')!r}"
    return f"it starts with {head[:8].hex(' ')}"
