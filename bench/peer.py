"""The distribution's libbpf through ctypes: the peer that is measured beside ebpfpy, in the same process."""

from __future__ import annotations

import ctypes

STRUCT = 4


class OpenOptions(ctypes.Structure):
    """``struct bpf_object_open_opts`` up to btf_custom_path; sz tells libbpf how much of it there is."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("object_name", ctypes.c_char_p),
        ("relaxed_maps", ctypes.c_bool),
        ("pin_root_path", ctypes.c_char_p),
        ("reserved", ctypes.c_uint32),
        ("kconfig", ctypes.c_char_p),
        ("btf_custom_path", ctypes.c_char_p),
    )


class Libbpf:
    """The few calls that are measured.

    Raises:
        OSError: libbpf.so.1 is not installed.
    """

    def __init__(self) -> None:
        pointer = ctypes.c_void_p
        self._lib = lib = ctypes.CDLL("libbpf.so.1", use_errno=True)
        lib.btf__parse_raw.restype = pointer
        lib.btf__parse_raw.argtypes = [ctypes.c_char_p]
        lib.btf__find_by_name_kind.argtypes = [pointer, ctypes.c_char_p, ctypes.c_uint32]
        lib.btf__free.argtypes = [pointer]
        lib.btf__free.restype = None
        lib.bpf_object__open_file.restype = pointer
        lib.bpf_object__open_file.argtypes = [ctypes.c_char_p, pointer]
        lib.bpf_object__next_program.restype = pointer
        lib.bpf_object__next_program.argtypes = [pointer, pointer]
        lib.bpf_program__set_type.argtypes = [pointer, ctypes.c_int]
        lib.bpf_program__set_autoload.argtypes = [pointer, ctypes.c_bool]
        lib.bpf_object__load.argtypes = [pointer]
        lib.bpf_object__close.argtypes = [pointer]
        lib.bpf_object__close.restype = None
        lib.libbpf_set_print.restype = pointer
        lib.libbpf_set_print(None)
        lib.libbpf_version_string.restype = ctypes.c_char_p
        self.version = lib.libbpf_version_string().decode()

    def open_and_find(self, path: str, name: str) -> int:
        """Read raw BTF and find one struct; its id."""
        btf = self._lib.btf__parse_raw(path.encode())
        if not btf:
            raise OSError(f"libbpf cannot read {path}")
        found: int = self._lib.btf__find_by_name_kind(btf, name.encode(), STRUCT)
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
        program = lib.bpf_object__next_program(handle, None)
        while program:
            lib.bpf_program__set_type(program, 0)
            lib.bpf_program__set_autoload(program, relocations)
            program = lib.bpf_object__next_program(handle, program)
        result: int = lib.bpf_object__load(handle)
        lib.bpf_object__close(handle)
        return result
