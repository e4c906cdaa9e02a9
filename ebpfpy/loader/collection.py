"""A whole object in the kernel."""

from __future__ import annotations

import os
import sys as _sys
from contextlib import ExitStack
from typing import TYPE_CHECKING

from ebpfpy import btf
from ebpfpy.elf import CollectionSpec, load_collection_spec
from ebpfpy.errors import InputError, UnsupportedError

from .externs import Externs, kconfig_map
from .map import Map, create_map
from .objectbtf import load_types
from .options import CollectionOptions
from .pinning import shared_map
from .program import Program, ProgramLoader
from .variable import Variable

if TYPE_CHECKING:
    from typing import BinaryIO

    from ebpfpy.elf.spec import MapSpec

    from .objectbtf import ObjectTypes


class Collection:
    """The maps, programs and variables of an object, loaded.

    Everything is loaded, or nothing: when one part fails, the others are closed again. Programs whose section starts
    with "?" are left out. Owns what it made: close it, or use it as a context manager; links keep their programs
    alive by themselves.

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
        options = options or CollectionOptions()
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
        cache = options.cache if options.cache is not None else btf.Cache()
        with ExitStack() as undo:
            undo.callback(self.close)
            with ExitStack() as while_loading:
                types = self._load_types(spec)
                if types is not None:
                    while_loading.enter_context(types.handle)
                self._make_maps(spec, types, options, undo)
                handle = types.handle if types is not None else None
                loader = ProgramLoader(options.programs, cache, self.maps, handle, Externs(spec, cache))
                while_loading.enter_context(loader)
                for name, program_spec in spec.programs.items():
                    if program_spec.autoload:
                        self.programs[name] = loader.load(program_spec)
            for name, variable in spec.variables.items():
                self.variables[name] = Variable(variable, self.maps[variable.map.name])
            undo.pop_all()

    def _make_maps(
        self, spec: CollectionSpec, types: ObjectTypes | None, options: CollectionOptions, undo: ExitStack
    ) -> None:
        wanted = list(spec.maps.values())
        kconfig = kconfig_map(spec)
        if kconfig is not None:
            wanted.append(kconfig)
        for each in wanted:
            self.maps[each.name] = self._make_map(each, types, options, undo)

    def _load_types(self, spec: CollectionSpec) -> ObjectTypes | None:
        if spec.types is None:
            return None
        types, note = load_types(spec.types, name=spec.source)
        if note is not None:
            self.notes.append(note)
        return types

    def _make_map(self, spec: MapSpec, types: ObjectTypes | None, options: CollectionOptions, undo: ExitStack) -> Map:
        if spec.pinning and options.maps.pin_path is not None:
            path = os.path.join(os.fspath(options.maps.pin_path), spec.name)
            shared, is_new = shared_map(path, spec, types)
            if is_new:  # what a failed load has pinned is unpinned
                undo.callback(os.unlink, path)
            return shared
        if not spec.data_section:
            return create_map(spec, types)
        # the kernel keeps 15 characters: a few of the object's name, and all of the section's if possible
        stem = os.path.basename(self.spec.source).split(".")[0][: max(0, 15 - len(spec.name))]
        named = create_map(_renamed(spec, stem + spec.name), types)
        named.name = spec.name
        return named

    def close(self) -> None:
        """Close all programs and maps."""
        with ExitStack() as everything:
            for each in self.maps.values():
                everything.callback(each.close)
            for program in self.programs.values():
                everything.callback(program.close)

    def __enter__(self) -> Collection:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Collection {self.spec.source}: {len(self.programs)} programs, {len(self.maps)} maps>"


def _renamed(spec: MapSpec, name: str) -> MapSpec:
    import attrs

    return attrs.evolve(spec, name=name)


def load_collection(
    source: str | os.PathLike[str] | bytes | BinaryIO, options: CollectionOptions | None = None
) -> Collection:
    """Read an object file and load it: `load_collection_spec` and `Collection` in one.

    Raises:
        ElfError, BtfError: the object is malformed.
        EbpfError: as `Collection` raises it.
    """
    if isinstance(source, (bytearray, memoryview)):
        raise InputError("pass bytes, a path or a binary file")
    return Collection(load_collection_spec(source), options)
