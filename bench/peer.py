"""The distribution's libbpf through ctypes: the peer that is measured beside ebpfpy, in the same process."""

from __future__ import annotations

import ctypes
import time

from tests.differential.libbpf import OpenOptions, library, programs

STRUCT = 4


class Libbpf:
    """The few calls that are measured.

    Raises:
        OSError: libbpf.so.1 is not installed.
    """

    def __init__(self) -> None:
        self._lib = library()
        self._lib.libbpf_set_print(None)
        self.version = self._lib.libbpf_version_string().decode()

    def open_and_find(self, path: str, name: str, kind: int = STRUCT) -> int:
        """Read raw BTF and find one type, a struct for example; its id."""
        btf = self._lib.btf__parse_raw(path.encode())
        if not btf:
            raise OSError(f"libbpf cannot read {path}")
        found: int = self._lib.btf__find_by_name_kind(btf, name.encode(), kind)
        self._lib.btf__free(btf)
        return found

    def relocate(self, path: str, btf_path: str, *, relocations: bool) -> int:
        """Load an object whose programs have no type, which ends after relocation.

        Args:
            path: the object.
            btf_path: the target's types.
            relocations: False leaves every program but one out, so that the rest of the work can be taken away.

        Returns:
            libbpf's (negative) result.
        """
        lib = self._lib
        options = OpenOptions(sz=ctypes.sizeof(OpenOptions), btf_custom_path=btf_path.encode() if relocations else None)
        handle = lib.bpf_object__open_file(path.encode(), ctypes.byref(options))
        if not handle:
            raise OSError(f"libbpf cannot open {path}")
        for program in programs(handle):
            lib.bpf_program__set_type(program, 0)
            lib.bpf_program__set_autoload(program, relocations)
        result: int = lib.bpf_object__load(handle)
        lib.bpf_object__close(handle)
        return result

    def load(self, path: str) -> None:
        """Load an object as it is into the kernel, and let go of it."""
        handle = self._lib.bpf_object__open_file(path.encode(), None)
        if not handle or self._lib.libbpf_get_error(handle):
            raise OSError(f"libbpf cannot open {path}")
        result = self._lib.bpf_object__load(handle)
        self._lib.bpf_object__close(handle)
        if result:
            raise OSError(-result, f"libbpf cannot load {path}")

    def deduplicate(self, data: bytes) -> float:
        """Deduplicate BTF that stands alone; the milliseconds of processor time that this alone takes."""
        lib = self._lib
        handle = lib.btf__new(data, len(data))
        if not handle:
            raise OSError("libbpf cannot read the BTF")
        start = time.process_time()
        result: int = lib.btf__dedup(handle, None)
        taken = time.process_time() - start
        lib.btf__free(handle)
        if result:
            raise OSError(-result, "libbpf cannot deduplicate the BTF")
        return taken * 1000
