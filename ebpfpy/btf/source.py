"""From a path, bytes or a binary file to the BTF in it, through whatever it is wrapped in.

A file is raw BTF or an ELF file with a section .BTF; or either of them inside something else: compressed, in a bzImage
(`vmlinuz`), in a tar archive of one file. The layers are taken off one by one. Everything happens in memory, and once:
what is found can be read alone, and on any base.
"""

from __future__ import annotations

import errno
import os
from typing import IO, Any, NamedTuple, TypeAlias

from ebpfpy.errors import BtfError, InputError, NotFoundError, kernel_error
from ebpfpy.sys.filemap import map_read_only
from ebpfpy.sys.vmlinux import VMLINUX

from .header import extent, looks_like_btf
from .loadedmodules import SYSFS
from .mappedkernel import PATH, mapped_kernel
from .spec import Spec

Source: TypeAlias = str | os.PathLike[str] | bytes | bytearray | memoryview | IO[bytes]

_CHUNK = 1 << 22
_PIECE = 1 << 16  # bytes that nearly every module's BTF fits into; for more, the allocator asks the kernel each time
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)  # not every system has both
_DEEPEST = 3
"""Layers: a vmlinuz that somebody compressed and put into an archive."""
_SUFFIXES = frozenset(
    {".btf", ".ko", ".o", ".bpf", ".elf", ".raw", ".tar", ".xz", ".gz", ".bz2", ".zst", ".lz4", ".lzma", ".txz", ".tgz"}
)
_EM_BPF = 247


class Found(NamedTuple):
    """The BTF that a source has.

    Attributes:
        name: of the file, without its suffixes; "" where it has none.
        blob: the BTF.
        distilled: the content of .BTF.base, where the source is an ELF file that has one.
        elf_class: 32 or 64 where the source is an ELF file, else None.
        machine: the number of the machine that the ELF file is for.
    """

    name: str
    blob: Any
    distilled: bytes | None = None
    elf_class: int | None = None
    machine: int | None = None

    def spec(self, base: Spec | None = None) -> Spec:
        """The types; on a base. Of a module with a distilled base: on that, or relocated to `base`.

        Raises:
            BtfError: the BTF is malformed; BaseMismatchError: `base` lacks types that the distilled base has.
        """
        if self.distilled is None:
            spec = Spec(self.blob, base, name=self.name)
            return spec if self.elf_class is None else self._sized(spec)
        distilled = self._sized(Spec(self.distilled, name=f"{self.name}.base" if self.name else "distilled base"))
        split = Spec(self.blob, distilled, name=self.name)
        if base is None:
            return split
        from .relocatebase import relocate_base

        return relocate_base(split, base)

    def _sized(self, spec: Spec) -> Spec:
        """With the size of a pointer that the ELF file tells, where the types do not tell it."""
        if self.elf_class is not None and spec.base is None:
            if self.machine == _EM_BPF:
                spec.pointer_size = 8  # whatever `long` is in there: BPF has no other
            elif self.elf_class == 32 and spec.size_of_long() is None:
                spec.pointer_size = 4
        return spec


def find_btf(source: Source) -> Found:
    """The BTF in a path, bytes or binary file.

    Raises:
        BtfError, ElfError: it is damaged, or something else altogether.
        UnsupportedError: it is compressed in a way that is not read here.
        NotFoundError: an ELF file without BTF.
        KernelError: the file cannot be read; also the matching OSError.
    """
    return unwrap(*contents(source))


def unwrap(data: Any, name: str) -> Found:
    """`find_btf` for the content of a source, and what it is called."""
    view = memoryview(data).cast("B")
    layers: list[str] = []

    def wanted(head: memoryview) -> None:
        if not (looks_like_btf(head) or bytes(head[:4]) == b"\x7fELF" or _wrapping(head)):
            raise _something_else(head, name, layers)

    while True:
        if looks_like_btf(view):
            return Found(name, data)
        if bytes(view[:4]) == b"\x7fELF":
            return _in_elf(view, name)
        layer = _wrapping(view)
        if not layer:
            raise _something_else(view, name, layers)
        layers.append(layer)
        if len(layers) > _DEEPEST:
            raise BtfError(f"packed more than {_DEEPEST} times: {' in '.join(reversed(layers))}", source=name or None)
        if layer == "tar":
            from .tararchive import only_file

            member, view = only_file(view, source=name or None)
            data, name = bytes(view), name or stem(member)
        else:
            data = _unwrapped(view, layer, name, wanted)
            view = memoryview(data)


def _wrapping(view: memoryview) -> str:
    """What these bytes are wrapped in; "" where that is not known."""
    from .compressed import format_of
    from .tararchive import is_tar
    from .vmlinuz import is_bzimage

    form = format_of(view)
    if form is not None:
        return form.name
    return "vmlinuz" if is_bzimage(view) else "tar" if is_tar(view) else ""


def _unwrapped(view: memoryview, layer: str, name: str, wanted: Any) -> bytes:
    from .compressed import format_of, unpack
    from .vmlinuz import vmlinux

    if layer == "vmlinuz":
        return vmlinux(view, source=name or None, wanted=wanted)
    form = format_of(view)
    assert form is not None
    return unpack(view, form, source=name or None, wanted=wanted)


def _something_else(view: memoryview, name: str, layers: list[str]) -> BtfError:
    from .lookslike import looks_like

    inside = f", inside {' in '.join(reversed(layers))}" if layers else ""
    return BtfError(f"neither BTF nor ELF: {looks_like(view)}{inside}", source=name or None, offset=0)


def _in_elf(view: memoryview, name: str) -> Found:
    from .elfsection import sections

    source = name or "ELF file"
    found = sections(view, (".BTF", ".BTF.base"), source=source)
    if ".BTF" not in found:
        raise NotFoundError(f"{source}: the ELF file has no .BTF section")
    distilled = found[".BTF.base"].tobytes() if ".BTF.base" in found else None
    machine = int.from_bytes(view[18:20], "big" if view[5] == 2 else "little")
    return Found(name, found[".BTF"].tobytes(), distilled, 64 if view[4] == 2 else 32, machine)


# --- the bytes --------------------------------------------------------------------------------------


def contents(source: Source) -> tuple[Any, str]:
    """The bytes of a source, and what its file is called without suffixes; "" where it has no name.

    Raises:
        KernelError: the file cannot be read; also the matching OSError. BtfError: it is larger than 1 GiB.
        InputError: that is no source.
    """
    if source.__class__ is str and not source.startswith(SYSFS):
        return _read_file(source), stem(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source), ""
    if isinstance(source, (str, os.PathLike)):
        path = os.fsdecode(source)
        name = stem(path)
        if path.startswith(SYSFS + "/"):
            try:
                return read_sysfs(path, shared=name == VMLINUX), name
            except OSError as error:
                raise kernel_error(error.errno or errno.EIO, "open", subject=path) from error
            except ValueError as error:  # a NUL in the path
                raise InputError(f"{path!r} is no path: {error}") from None
        return _read_file(path), name
    if not hasattr(source, "read"):
        raise InputError(f"BTF is read from a path, bytes or a binary file, not from {type(source).__name__}")
    given = getattr(source, "name", "")
    path = given if isinstance(given, str) else ""  # a descriptor's file has a number
    return _read_open(source, path), stem(path)


def _read_file(path: str) -> bytes:
    """The bytes of a file; thousands of modules are read one after the other, so without Python's file objects."""
    try:
        descriptor = os.open(path, _READ)
    except OSError as error:
        raise kernel_error(error.errno or errno.EIO, "open", subject=path) from error
    except ValueError as error:  # a NUL in the path
        raise InputError(f"{path!r} is no path: {error}") from None
    try:
        data = os.read(descriptor, _PIECE)
        size = extent(data)
        if size == len(data):  # asking whether there is more would take longer
            return data
        if len(data) == _PIECE < size < _CHUNK:
            whole = _from_start(descriptor, size + 1)  # a buffer of the right size is not copied any more
            if len(whole) == size:
                return whole
        more = os.read(descriptor, _CHUNK if len(data) == _PIECE else 1)  # a buffer of that size costs time
        if not more:
            return data
        from .compressed import MAX_SIZE

        pieces, size = [data], len(data)
        while more:
            pieces.append(more)
            size += len(more)
            if size > MAX_SIZE:
                raise BtfError(f"larger than {MAX_SIZE} bytes", source=path)
            more = os.read(descriptor, _CHUNK)
        return b"".join(pieces)
    except OSError as error:
        raise kernel_error(error.errno or errno.EIO, "read", subject=path) from error
    finally:
        os.close(descriptor)


def _from_start(descriptor: int, count: int) -> bytes:
    """The first bytes of a file that has been read from; none of what has no start any more, such as a pipe."""
    try:
        return os.pread(descriptor, count, 0)
    except OSError:
        return b""  # what is wrong with it, if anything is, the next read says


def _read_open(file: IO[bytes], name: str) -> bytes:
    from .compressed import MAX_SIZE

    data = bytearray()
    try:
        while True:
            chunk = file.read(_CHUNK)
            if not isinstance(chunk, (bytes, bytearray)):
                raise InputError("the reader returns text: open the file in binary mode", source=name or None)
            if not chunk:
                return bytes(data)
            data += chunk
            if len(data) > MAX_SIZE:
                raise BtfError(f"larger than {MAX_SIZE} bytes", source=name or None)
    except OSError as error:
        raise kernel_error(error.errno or errno.EIO, "read", subject=name or None) from error
    except UnicodeDecodeError:
        raise InputError("the reader returns text: open the file in binary mode", source=name or None) from None


def read_sysfs(path: str, *, shared: bool = False) -> Any:
    """The bytes of a file in sysfs; with `shared`, mapped where the kernel allows it (Linux 6.16).

    Raises:
        OSError: it cannot be opened or read.
    """
    data = mapped_kernel() if shared and path == PATH else None
    if data is not None:
        return data
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


def read_sysfs_with_inode(path: str) -> tuple[bytes, int]:
    """The bytes of a file in sysfs, and the number of its inode: a file of that name that comes later has another.

    Raises:
        OSError: it cannot be opened or read; ENODEV: it was removed meanwhile.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        return _read_all(descriptor, status.st_size), status.st_ino
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


def stem(path: str) -> str:
    """What a spec is called after its file: "tun" for tun.ko.xz, "vmlinux-6.1.0" for vmlinux-6.1.0."""
    name = path.rpartition("/")[2]
    while "." in name:
        rest, dot, suffix = name.rpartition(".")
        if not rest or dot + suffix not in _SUFFIXES:
            return name
        name = rest
    return name
