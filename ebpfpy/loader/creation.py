"""Making maps: blueprint -> kernel object, and why the kernel would not.

A map is made with the BTF types of its key and value if the object has them. Some types of maps refuse such types, and
old kernels refuse some BTF: then it is made without. A map of maps is made with a template of the maps inside, which
the kernel needs only for that moment.

Why a map was refused is looked for afterwards: see `maprefusal`.
"""

from __future__ import annotations

import mmap
import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import attrs

from ebpfpy import btf, sys
from ebpfpy.errors import InputError, KernelError, UnsupportedError
from ebpfpy.sys import MapFlags, MapType

from .map import Map
from .wellformed import OF_MAPS, check_map

if TYPE_CHECKING:
    from ebpfpy.elf.spec import MapSpec

    from .objectbtf import ObjectTypes

_NAME_LENGTH = 15
RINGS = frozenset({MapType.RINGBUF, MapType.USER_RINGBUF})
# types whose kernel code refuses key and value types
_WITHOUT_BTF = (
    RINGS
    | OF_MAPS
    | {
        MapType.PERF_EVENT_ARRAY,
        MapType.CGROUP_ARRAY,
        MapType.STACK_TRACE,
        MapType.DEVMAP,
        MapType.DEVMAP_HASH,
        MapType.CPUMAP,
        MapType.XSKMAP,
        MapType.SOCKMAP,
        MapType.SOCKHASH,
        MapType.QUEUE,
        MapType.STACK,
        MapType.ARENA,
    }
)


def create_map(
    spec: MapSpec, types: ObjectTypes | None, *, token_fd: int = 0, kernel_value_id: int = 0, module_btf_fd: int = 0
) -> Map:
    """Make a map from its blueprint, fill it and freeze it as the blueprint says.

    What `MapSpec.slots` names is not put in: that is for who knows the other maps and the programs.

    Args:
        spec: the blueprint.
        types: the object's BTF in the kernel, for key and value types; None without.
        token_fd: descriptor of a BPF token, or 0.
        kernel_value_id: type id of a struct_ops map's value in the kernel's BTF, or 0.
        module_btf_fd: descriptor of the module's BTF that `kernel_value_id` is of, or 0 for the kernel's own.

    Raises:
        InputError: values of wrong types; a map of maps that does not say what is inside.
        KernelError: the kernel refused; the hint says why where that could be found out.
    """
    check_map(spec)
    with ExitStack() as until_made:
        wanted: dict[str, Any] = {
            "type": spec.type,
            "key_size": spec.key_size,
            "value_size": spec.value_size,
            "max_entries": real_max_entries(spec),
            "name": spec.name,
            "flags": real_flags(spec),
            "numa_node": spec.numa_node or 0,
            "map_extra": spec.map_extra,
            "token_fd": token_fd,
        }
        if spec.type in OF_MAPS:
            if spec.inner is None:
                raise InputError(f"map {spec.name} of maps does not say what is inside: set its blueprint's `inner`")
            inner = until_made.enter_context(create_map(spec.inner, types, token_fd=token_fd))
            wanted["inner_map_fd"] = inner.fileno()
        if kernel_value_id:
            wanted["btf_vmlinux_value_type_id"] = kernel_value_id
            wanted["value_type_btf_obj_fd"] = module_btf_fd
            wanted["btf_fd"] = types.handle.fileno() if types is not None else 0
        with_types = {} if kernel_value_id else _type_attributes(spec, types)
        try:
            fd = _create(spec, wanted, with_types)
        except KernelError:
            if not spec.data_section or not spec.flags & MapFlags.MMAPABLE or not _cannot_be_mapped():
                raise
            spec = attrs.evolve(spec, flags=spec.flags & ~MapFlags.MMAPABLE)
            fd = _create(spec, {**wanted, "flags": real_flags(spec)}, with_types)
    created = Map(fd, spec)
    try:
        if spec.type == MapType.ARENA:
            _fill_arena(created, bytes(spec.contents or b""))
        elif spec.contents is not None and not kernel_value_id:
            created.update_bytes(bytes(spec.key_size), bytes(spec.contents).ljust(spec.value_size, b"\0"))
        if spec.frozen:
            sys.map_freeze(fd, subject=f"map {spec.name}")
    except BaseException:
        created.close()
        raise
    return created


def _fill_arena(arena: Map, contents: bytes) -> None:
    memory = arena.memory()  # programs can be loaded only when the arena has its place in memory
    if len(contents) > len(memory):
        raise InputError(f"arena {arena.name} of {len(memory)} bytes has variables of {len(contents)}")
    memory[: len(contents)] = contents


def _create(spec: MapSpec, wanted: dict[str, Any], with_types: dict[str, Any]) -> sys.Fd:
    try:
        return sys.map_create(**wanted, **with_types)
    except KernelError as error:
        if with_types and not isinstance(error, PermissionError):
            try:  # this kernel's map type, or its BTF, does not go with these types
                return sys.map_create(**wanted)
            except KernelError as second:
                error = second
        from . import maprefusal  # which a map that is made does not need

        if spec.type == MapType.STRUCT_OPS and spec.flags & MapFlags.LINK and maprefusal.knows_no_links():
            raise UnsupportedError(
                f"map {spec.name} is in a section .struct_ops.link, and this kernel has no links of struct_ops:"
                " Linux 6.4 and newer have; or put it into .struct_ops",
                feature="struct_ops links",
                minimum="6.4",
            ) from error
        error.hint = maprefusal.reason(spec, wanted, error) or error.hint
        raise error from None


def _cannot_be_mapped() -> bool:
    """Whether this kernel has no arrays that can be mapped (Linux 5.5); variables are then read by system calls."""
    from ebpfpy import features

    try:
        return not features.have_map_flag(MapFlags.MMAPABLE)
    except KernelError:  # no answer
        return False


def real_flags(spec: MapSpec) -> int:
    """The flags to create a map with."""
    return spec.flags | (MapFlags.NUMA_NODE if spec.numa_node is not None else 0)


def real_max_entries(spec: MapSpec) -> int:
    """The number of elements (ring buffers: of bytes) to create a map with."""
    if spec.type == MapType.PERF_EVENT_ARRAY and not spec.max_entries:
        return sys.possible_cpus()
    if spec.type in RINGS and spec.max_entries >= 0:  # whole pages, a power of two: other machines have other pages
        size = mmap.PAGESIZE
        while size < spec.max_entries:
            size *= 2
        return size
    return spec.max_entries


def section_map_name(source: str, section: str) -> str:
    """The name in the kernel of a data section's map, which is libbpf's: "demo.bss" of demo.bpf.o, ".data.hot".

    The kernel keeps 15 characters. At least 7 are for the section, the others are the start of the object's name; a
    section with a name of its own behind the second dot goes without.
    """
    if "." in section[1:]:
        return section
    stem = os.path.basename(source).partition(".")[0]
    return stem[: max(0, _NAME_LENGTH - max(7, len(section)))] + section


def _type_attributes(spec: MapSpec, types: ObjectTypes | None) -> dict[str, Any]:
    if types is None or spec.value is None or spec.type in _WITHOUT_BTF:
        return {}
    owner = types.spec
    value = spec.value
    if isinstance(value, btf.Datasec) and value.spec is not owner:  # resized: another type in the blueprint only
        value = next((each for each in owner.any_types_by_name(value.name) if isinstance(each, btf.Datasec)), value)
    if value.spec is not owner or (spec.key is not None and spec.key.spec is not owner):
        return {}  # types from elsewhere, in a blueprint that was edited: their ids mean something else
    return {
        "btf_fd": types.handle.fileno(),
        "btf_key_type_id": owner.type_id(spec.key) if spec.key is not None else 0,
        "btf_value_type_id": owner.type_id(value),
    }
