"""The BTF of testdata as files that libbpf takes: raw, in either byte order, and with a module's types in one blob.

libbpf takes one blob as the target's types, without a base, so a module cannot be handed to it as it is. But split BTF
goes on where its base ends: its first id follows the base's last, its strings follow the base's. Written behind one
another, the types of both and the strings of both are therefore a BTF that stands alone, in which every type has the id
that it has in the module.
"""

from __future__ import annotations

import ctypes
import lzma
import struct
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy import btf
from tests.differential.libbpf import library

if TYPE_CHECKING:
    from pathlib import Path

_HEADER = struct.Struct(
    "<HBBIIIII"
)  # u16 magic, u8 version, u8 flags, u32 length, types at, length, strings at, length
_BIG_ENDIAN = 1


class Kernel(NamedTuple):
    """Types to relocate against.

    Attributes:
        name: of the file, "6.1.0-56-amd64" or "6.1.0-56-amd64 tun".
        path: of the blob for libbpf.
        specs: the same for us: the kernel's own, and the module's as a split of it.
    """

    name: str
    path: Path
    specs: tuple[btf.Spec, ...]


def unpacked(path: Path) -> bytes:
    """A blob of testdata."""
    return lzma.decompress(path.read_bytes())


def flattened(base: bytes, split: bytes) -> bytes:
    """A base and a split of it as one blob that stands alone."""
    (types, strings), (more_types, more_strings) = _parts(base), _parts(split)
    size = len(types) + len(more_types)
    head = _HEADER.pack(0xEB9F, 1, 0, _HEADER.size, 0, size, size, len(strings) + len(more_strings))
    return head + types + more_types + strings + more_strings


def _parts(blob: bytes) -> tuple[bytes, bytes]:
    _, _, _, length, types_at, types, strings_at, strings = _HEADER.unpack_from(blob)
    return blob[length + types_at :][:types], blob[length + strings_at :][:strings]


def all_kernels(testdata: Path, scratch: Path) -> list[Kernel]:
    """Every kernel of testdata, alone and with each of its modules."""
    found = []
    for path in sorted(testdata.glob("btf/**/vmlinux.btf.xz")):
        release = path.parent.name
        base = unpacked(path)
        vmlinux = btf.Spec(base, name="vmlinux")
        file = scratch / f"{release}.btf"
        file.write_bytes(base)
        found.append(Kernel(release, file, (vmlinux,)))
        for module in sorted(set(path.parent.glob("*.btf.xz")) - {path}):
            name = module.name.removesuffix(".btf.xz")
            split = unpacked(module)
            file = scratch / f"{release}-{name}.btf"
            file.write_bytes(flattened(base, split))
            found.append(Kernel(f"{release} {name}", file, (vmlinux, btf.Spec(split, vmlinux, name=name))))
    return found


def big_endian(blob: bytes) -> bytes:
    """The same BTF in the other byte order, turned by libbpf."""
    lib = library()
    lib.btf__set_endianness.argtypes = [ctypes.c_void_p, ctypes.c_int]
    handle = lib.btf__new(blob, len(blob))
    size = ctypes.c_uint32()
    lib.btf__set_endianness(handle, _BIG_ENDIAN)
    turned = ctypes.string_at(lib.btf__raw_data(handle, ctypes.byref(size)), size.value)
    lib.btf__free(handle)
    return turned
