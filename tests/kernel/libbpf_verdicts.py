"""The distribution's libbpf loads an object and runs its programs: what does each return?

As a program, `python -m tests.kernel.libbpf_verdicts OBJECT`, in a process of its own, since libbpf may take it down:
prints {"pid": its own, "verdicts": {program: what BPF_PROG_TEST_RUN returned}} as JSON.
"""

from __future__ import annotations

import ctypes
import json
import os
import sys

from tests.differential.libbpf import library, programs


class TestRunOptions(ctypes.Structure):
    """struct bpf_test_run_opts of libbpf 1.1; sz says how much of it there is."""

    _fields_ = (
        ("sz", ctypes.c_size_t),
        ("data_in", ctypes.c_void_p),
        ("data_out", ctypes.c_void_p),
        ("data_size_in", ctypes.c_uint32),
        ("data_size_out", ctypes.c_uint32),
        ("ctx_in", ctypes.c_void_p),
        ("ctx_out", ctypes.c_void_p),
        ("ctx_size_in", ctypes.c_uint32),
        ("ctx_size_out", ctypes.c_uint32),
        ("retval", ctypes.c_uint32),
        ("repeat", ctypes.c_int),
        ("duration", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
        ("cpu", ctypes.c_uint32),
        ("batch_size", ctypes.c_uint32),
    )


def verdicts(path: str) -> dict[str, int]:
    """Load an object for the running kernel and run every program that was loaded."""
    lib = library()
    lib.bpf_program__fd.argtypes = [ctypes.c_void_p]
    lib.bpf_prog_test_run_opts.argtypes = [ctypes.c_int, ctypes.c_void_p]
    handle = lib.bpf_object__open_file(path.encode(), None)
    if not handle:
        raise OSError(ctypes.get_errno(), f"libbpf cannot open {path}")
    error = lib.bpf_object__load(handle)
    if error:
        raise OSError(-error, f"libbpf cannot load {path}")
    found = {}
    for program in programs(handle):
        fd = lib.bpf_program__fd(program)
        if fd < 0:  # not to be loaded
            continue
        options = TestRunOptions(sz=ctypes.sizeof(TestRunOptions))
        error = lib.bpf_prog_test_run_opts(fd, ctypes.byref(options))
        name = lib.bpf_program__name(program).decode()
        if error:
            raise OSError(-error, f"{name} cannot be run")
        found[name] = options.retval
    lib.bpf_object__close(handle)
    return found


if __name__ == "__main__":
    json.dump({"pid": os.getpid(), "ppid": os.getppid(), "verdicts": verdicts(sys.argv[1])}, sys.stdout)
