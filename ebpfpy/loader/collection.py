"""A whole object in the kernel."""

from __future__ import annotations

import errno
import os
import sys as _sys
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import attrs

from ebpfpy import btf, sys
from ebpfpy.elf import CollectionSpec, load_collection_spec
from ebpfpy.elf.readbefore import ReadBefore
from ebpfpy.errors import InputError, KernelError, NotFoundError, UnsupportedError
from ebpfpy.sys import MapType, ProgramType

from . import structops
from .creation import create_map, section_map_name
from .externs import Externs, kconfig_map
from .modulehandles import ModuleHandles
from .objectbtf import load_types
from .options import CollectionOptions
from .pinning import shared_map
from .programloader import ProgramLoader
from .slots import check_slots
from .token import token_of
from .variable import Variable
from .wellformed import check_collection, check_options

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import BinaryIO

    from ebpfpy.elf.spec import MapSpec, ProgramSpec

    from .map import Map
    from .objectbtf import ObjectTypes
    from .program import Program

_STRUCT_OPS = ProgramType.STRUCT_OPS  # to get at the member of an enum takes as long as the question, for each program


class Collection:
    """The maps, programs and variables of an object, loaded.

    Everything is loaded, or nothing: when one part fails, the others are closed again. Programs and maps whose section
    starts with "?" are left out, and so are the programs of a struct_ops map that is left out; one that is made brings
    its programs, those whose section starts with "?", too. What `MapSpec.slots` names is put into maps of maps and
    program arrays; an element that the object itself fills with a program that is left out stays empty, with a note.
    Owns what it made: close it, or use it as a context manager; links keep their programs alive by themselves. A
    program array is emptied by the kernel when the last descriptor and pin of it is gone.

    Args:
        spec: the blueprint; it is not changed.
        options: how to load.

    Attributes:
        maps, programs, variables: by name.
        notes: what a user should know: the object's notes, and what the kernel did not take.

    Raises:
        EbpfError: as the parts raise it.
    """

    def __init__(self, spec: CollectionSpec, options: CollectionOptions | None = None) -> None:
        if not isinstance(spec, CollectionSpec):
            raise InputError(
                f"a Collection is made from a CollectionSpec, not {type(spec).__name__}: use load_collection()"
            )
        options = CollectionOptions() if options is None else options
        check_options(options)
        check_collection(spec)
        if spec.byte_order != _sys.byteorder:
            raise UnsupportedError(
                f"{spec.source}: {spec.byte_order}-endian code cannot be loaded"
                f" on this {_sys.byteorder}-endian machine;"
                " compile it with -target bpf on this machine, or with -target bpfel or bpfeb to match",
                feature="foreign byte order",
            )
        self.spec = spec
        self.maps: dict[str, Map] = {}
        self.programs: dict[str, Program] = {}
        self.variables: dict[str, Variable] = {}
        self.notes = list(spec.notes)
        wanted = dict(self._wanted_programs())
        self.notes += check_slots(spec, wanted.keys())
        cache = options.cache if options.cache is not None else btf.Cache()
        with ExitStack() as undo:
            undo.callback(self.close)
            with ExitStack() as while_loading:
                self._token_fd = while_loading.enter_context(token_of(options.token))
                types = self._load_types(spec)
                if types is not None:
                    while_loading.enter_context(types.handle)
                operations = self._make_maps(spec, types, options, undo, cache)
                loader = ProgramLoader(
                    options.programs,
                    cache,
                    self.maps,
                    types,
                    Externs(spec, cache),
                    blueprints=spec.maps,
                    token_fd=self._token_fd,
                )
                while_loading.enter_context(loader)
                loader.load(wanted.items(), self.programs)
            self._bind_constants()
            self._fill_program_arrays()
            descriptors = {name: program.fileno() for name, program in self.programs.items()}
            for each, found in operations:
                self.maps[each.name].set_struct_ops_value(structops.kernel_value(each, found, descriptors))
            for name, variable in spec.variables.items():
                if variable.map.name in self.maps:
                    self.variables[name] = Variable(variable, self.maps[variable.map.name])
            undo.pop_all()

    def _make_maps(
        self,
        spec: CollectionSpec,
        types: ObjectTypes | None,
        options: CollectionOptions,
        undo: ExitStack,
        cache: btf.Cache,
    ) -> list[tuple[MapSpec, structops.Operations]]:
        """Make all maps, and fill the maps of maps; those of struct_ops, and the kernel's structures for them."""
        wanted = [each for each in spec.maps.values() if each.autocreate]
        kconfig = kconfig_map(spec)
        if kconfig is not None:
            wanted.append(kconfig)
        names: set[str] = set()
        for each in wanted:
            if each.name in names:
                raise InputError(
                    f"map {each.name}: two maps of the blueprint have this name:"
                    f" {', '.join(repr(key) for key, other in spec.maps.items() if other.name == each.name)} in `maps`;"
                    " take a copy() for the second, and give it another name"
                )
            names.add(each.name)
        operations: list[tuple[MapSpec, structops.Operations]] = []
        made: list[Map] = []
        for each in wanted:
            if each.type == MapType.STRUCT_OPS:
                operations.append((each, self._struct_ops(each, types, cache)))
            else:
                self.maps[each.name], is_new = self._make_map(each, types, options, undo)
                if is_new:
                    made.append(self.maps[each.name])
        for outer in made:
            if outer.spec.inner is not None:
                self._fill_map_of_maps(outer)
        return operations

    def _struct_ops(self, spec: MapSpec, types: ObjectTypes | None, cache: btf.Cache) -> structops.Operations:
        if not isinstance(spec.value, btf.Struct):
            raise InputError(f"map {spec.name}: a struct_ops map's blueprint says its structure in `value`")
        found = structops.find_operations(cache, spec.value.name)
        kernel = attrs.evolve(spec, value=found.value, value_size=found.value.size)
        with closing(ModuleHandles(cache)) as handles:
            try:
                module_fd = handles.fd(found.module, found.incarnation) if found.module is not None else 0
                self.maps[spec.name] = create_map(
                    kernel, types, token_fd=self._token_fd, kernel_value_id=found.value_id, module_btf_fd=module_fd
                )
            except NotFoundError as error:
                raise NotFoundError(f"map {spec.name}: {error}") from error
            except KernelError as error:
                blamed = handles.blame(error)
                if blamed is None:
                    raise
                raise NotFoundError(f"map {spec.name}: {blamed[1]}") from error
        return found

    def _fill_map_of_maps(self, outer: Map) -> None:
        for index, name in outer.spec.slots.items():
            inner = self.maps.get(name)
            if inner is None:
                raise InputError(f"map {outer.name}: element {index} is to be map {name!r}, which is not there")
            try:
                outer.update_bytes(index.to_bytes(outer.spec.key_size, _sys.byteorder), _descriptor(inner))
            except KernelError as error:
                if error.errno == errno.EINVAL or not error.hint:
                    error.hint = _unlike(outer.spec.inner, index, inner.spec)
                raise

    def _bind_constants(self) -> None:
        """Let each program keep the maps of constants also where it reads none: who has a program, finds them.

        That is how bpftool shows the variables ``bpf_metadata_...`` of a program (Linux 5.10).
        """
        constants = [each for name, each in self.maps.items() if name.startswith(".rodata") and each.spec.data_section]
        for program in self.programs.values():
            used = {reference.name for reference in program.spec.references}
            for each in constants:
                if each.name not in used:
                    try:
                        sys.prog_bind_map(program, each)
                    except KernelError:  # an older kernel, or one that does not allow it: nothing depends on it
                        return

    def _fill_program_arrays(self) -> None:
        for each in self.maps.values():
            if each.type == MapType.PROG_ARRAY:
                for index, name in each.spec.slots.items():
                    program = self.programs.get(name)
                    if program is not None:
                        each.update_bytes(index.to_bytes(each.spec.key_size, _sys.byteorder), _descriptor(program))

    def _wanted_programs(self) -> Iterator[tuple[str, ProgramSpec]]:
        """All but those that are to be left out, or that no structure of struct_ops that is made refers to any more."""
        for name, program in self.spec.programs.items():
            if program.type != _STRUCT_OPS:
                if program.autoload:
                    yield name, program
            elif structops.is_used(program, self.spec.maps.values()):
                yield name, structops.implementing(program, self.spec.maps.values())

    def _load_types(self, spec: CollectionSpec) -> ObjectTypes | None:
        if spec.types is None:
            return None
        sizes = {
            section.name: each.value_size
            for each in spec.maps.values()
            if isinstance(each.value, btf.Datasec)
            and (each.value.spec is not spec.types or each.value.size != each.value_size)
            for section in spec.types.any_types_by_name(each.value.name)
            if isinstance(section, btf.Datasec) and section.size != each.value_size
        }
        types, note = load_types(spec.types, name=spec.source, sizes=sizes, token_fd=self._token_fd)
        if note is not None:
            self.notes.append(note)
        return types

    def _make_map(
        self, spec: MapSpec, types: ObjectTypes | None, options: CollectionOptions, undo: ExitStack
    ) -> tuple[Map, bool]:
        """A map, and whether it is new."""
        if spec.pinning and options.maps.pin_path is not None:
            # bpf file systems take no dots; libbpf writes the same for them
            path = os.path.join(os.fspath(options.maps.pin_path), spec.name.replace(".", "_"))
            shared, is_new = shared_map(path, spec, types, token_fd=self._token_fd)
            if is_new:  # what a failed load has pinned is unpinned
                undo.callback(os.unlink, path)
            return shared, is_new
        if not spec.data_section:
            return create_map(spec, types, token_fd=self._token_fd), True
        named = create_map(
            attrs.evolve(spec, name=section_map_name(self.spec.source, spec.name)), types, token_fd=self._token_fd
        )
        named.name = spec.name
        return named, True

    def close(self) -> None:
        """Close all programs and maps."""
        failed: BaseException | None = None
        everything: list[Program | Map] = [*self.programs.values(), *self.maps.values()]
        for each in everything:
            try:
                each.close()
            except BaseException as error:  # the others are closed all the same
                failed = error
        if failed is not None:
            raise failed

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Collection {self.spec.source}: {len(self.programs)} programs, {len(self.maps)} maps>"


def _unlike(template: MapSpec | None, index: int, inner: MapSpec) -> str:
    """Why a map may not be what a map of maps has inside."""
    fields = ("key_size", "value_size", "max_entries", "flags")
    pairs: list[tuple[str, Any, Any]] = [("type", template and template.type.name, inner.type.name)]
    pairs += [(field, getattr(template, field, None), getattr(inner, field)) for field in fields]
    differences = [f"{field} is {there}, not {wanted}" for field, wanted, there in pairs if there != wanted]
    return f"element {index}, map {inner.name}, has to be like the template: {'; '.join(differences) or 'it looks so'}"


def _descriptor(of: Map | Program) -> bytes:
    return of.fileno().to_bytes(4, _sys.byteorder)


def load_collection(
    source: str | os.PathLike[str] | bytes | BinaryIO, options: CollectionOptions | None = None
) -> Collection:
    """Read an object file and load it: `load_collection_spec` and `Collection` in one.

    With a cache among the options, an object that was loaded before with that cache, and has not changed since, is not
    read again.

    Raises:
        ElfError, BtfError: the object is malformed.
        EbpfError: as `Collection` raises it.
    """
    if isinstance(source, (bytearray, memoryview)):
        raise InputError("pass bytes, a path or a binary file")
    if isinstance(options, CollectionOptions) and isinstance(options.cache, btf.Cache):
        return Collection(ReadBefore.of(options.cache).load(source), options)
    return Collection(load_collection_spec(source), options)
