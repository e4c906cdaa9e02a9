"""What the running kernel can do, asked of the kernel itself, never of its version.

A test that needs more is skipped with the name of what is missing. On the project's own virtual machines, which set
EBPFPY_VM, everything must run: there a missing feature is a failure.
"""

import errno
import os
import shutil
import sys as python
from functools import cache

import pytest

from ebpfpy import asm, btf, sys
from ebpfpy import features as ebpf_features
from ebpfpy.btf.kernelsearch import KernelSearch
from ebpfpy.btf.kinds import Kind
from ebpfpy.errors import KernelError, NotFoundError, UnsupportedError
from ebpfpy.sys.refusals import ENOTSUPP

_PSEUDO_BTF_ID = 3
RETURN_0 = asm.encode([asm.mov_imm(0, 0), asm.exit_()], python.byteorder)
RELEASE = os.uname().release
BPFFS = "/sys/fs/bpf"


def require(missing):
    """Skip, or fail on our own virtual machines, when *missing* names a feature; do nothing for None."""
    if missing is None:
        return
    if os.environ.get("EBPFPY_VM"):
        pytest.fail(f"this virtual machine lacks what it is there for: {missing}", pytrace=False)
    pytest.skip(missing)


def since(version, missing):
    """Skip when *missing* names a feature; fail on those of our own virtual machines whose kernel must have it.

    Args:
        version: the first kernel with the feature, "6.9".
        missing: what is missing, or None.
    """
    machine = os.environ.get("EBPFPY_VM", "")
    if missing is not None and machine and _numbers(machine) < _numbers(version):
        pytest.skip(missing)
    require(missing)


def require_option(option, missing):
    """Skip when *missing* names what an option of the kernel's configuration brings; fail on our own if it is set.

    Args:
        option: "CONFIG_NETKIT".
        missing: what is missing, or None.
    """
    if missing is None:
        return
    if option in sys.read_config():
        require(missing)
    pytest.skip(f"this kernel is built without {option}: {missing}")


def _numbers(version):
    return [int(part) for part in version.split(".") if part.isdigit()]


@cache
def no_modules():
    """Why modules cannot be loaded here, or None."""
    if not os.path.exists("/proc/modules"):
        return "this kernel has no loadable modules"
    if not os.path.isdir(f"/lib/modules/{RELEASE}"):
        return f"no modules of this kernel: /lib/modules/{RELEASE} is missing"
    missing = [tool for tool in ("modprobe", "rmmod", "insmod") if shutil.which(tool) is None]
    return f"{', '.join(missing)} missing (package kmod)" if missing else None


@cache
def no_fentry():
    """Why fentry programs cannot be loaded here, or None."""
    try:
        spec = btf.load_kernel_spec()
        target = spec.type_id(spec.type_by_name("do_nanosleep", btf.Func))
        fd, _ = sys.prog_load(
            type=sys.ProgramType.TRACING,
            expected_attach_type=sys.AttachType.TRACE_FENTRY,
            attach_btf_id=target,
            insns=RETURN_0,
            license="GPL",
            name="probe",
        )
        with fd, sys.raw_tracepoint_open(fd):
            return None
    except NotFoundError as error:
        return f"no types of this kernel: {error}"
    except KernelError as error:
        name = "ENOTSUPP" if error.errno == ENOTSUPP else errno.errorcode.get(error.errno, error.errno)
        return f"this kernel refuses fentry programs ({name})"


@cache
def no_prev_state():
    """Why the tracepoint sched_switch does not tell the state of the task that is left, or None."""
    event = btf.load_kernel_spec().type_by_name("btf_trace_sched_switch", btf.Typedef)
    arguments = btf.resolve(event).target.params[1:]  # what the tracepoint itself has for them comes first
    return None if len(arguments) > 3 else "this kernel's sched_switch has no argument prev_state"


@cache
def no_search():
    """Why the kernel cannot be asked for its types by name, or None."""
    try:
        with KernelSearch() as search:
            search.find(b"task_struct", Kind.STRUCT)
    except UnsupportedError as error:
        return str(error)
    return None


@cache
def no_module_types():
    """Why the kernel offers no types of modules (Linux 5.11), or None."""
    spec = btf.load_kernel_spec()
    if not any(member.name == "attach_btf_obj_fd" for member in _bpf_attr_members(spec)):
        return "this kernel has no types of modules: union bpf_attr has no attach_btf_obj_fd"
    return None


def _bpf_attr_members(spec):
    for member in spec.type_by_name("bpf_attr", btf.Union).members:
        yield member
        of = btf.resolve(member.type)
        if not member.name and isinstance(of, btf.Struct | btf.Union):
            for inner in of.members:
                yield inner
                deeper = btf.resolve(inner.type)
                if not inner.name and isinstance(deeper, btf.Struct | btf.Union):
                    yield from deeper.members


@cache
def no_objects_of_the_kernel():
    """Why the kernel's own types have no id and no descriptor (Linux 5.11), or None."""
    members = btf.load_kernel_spec().type_by_name("bpf_btf_info", btf.Struct).members
    if not any(member.name == "kernel_btf" for member in members):
        return "this kernel gives its own types no id: struct bpf_btf_info has no kernel_btf"
    return None


@cache
def no_structs_as_arguments():
    """Why functions that take structs by value cannot be traced (Linux 6.1), or None."""
    model = btf.load_kernel_spec().type_by_name("btf_func_model", btf.Struct)
    if all(member.name != "arg_flags" for member in model.members):
        return "this kernel hands no structs to tracing programs: struct btf_func_model has no arg_flags"
    return None


@cache
def finds_functions_by_bare_name():
    """Whether the kernel takes a module's function for another of that name (before commit 31bf1dbccfb0, Linux 6.4)."""
    aux = btf.load_kernel_spec().type_by_name("bpf_prog_aux", btf.Struct)
    return all(member.name != "mod" for member in aux.members)


@cache
def takes_functions_as_values():
    """Whether a program can load the address of a kernel function by its type id (Linux 6.3)."""
    try:
        spec = btf.load_kernel_spec()
        [number] = spec.ids_by_name(b"do_nanosleep", (Kind.FUNC,))
        code = asm.encode([asm.Instruction(0x18, 1, _PSEUDO_BTF_ID, 0, number)], python.byteorder) + RETURN_0
        sys.prog_load(type=sys.ProgramType.SOCKET_FILTER, insns=code, license="GPL")[0].close()
    except (NotFoundError, KernelError):
        return False
    return True


def no_bpffs():
    """Why nothing can be pinned, or None."""
    with open("/proc/self/mountinfo") as mounts:
        found = any(line.split(" - ")[1].startswith("bpf ") for line in mounts)
    return None if found else f"no BPF file system at {BPFFS}"


def require_modules():
    """The test loads modules and reads their types."""
    require(no_modules())
    since("5.11", no_module_types())


def require_module_tracing():
    """The test attaches to functions of modules."""
    require_modules()
    require(no_fentry())


def require_map_type(kind):
    """The test makes a map of that type."""
    support = ebpf_features.have_map_type(kind)
    since(support.minimum, None if support else f"this kernel has no {support.feature}")
