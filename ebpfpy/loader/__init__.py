"""Blueprint -> kernel object: maps, programs, variables, collections."""

from ebpfpy.elf import CollectionSpec, MapSpec, ProgramSpec, VariableSpec, load_collection_spec

from .collection import Collection, load_collection
from .creation import create_map
from .map import Map
from .options import CollectionOptions, MapOptions, ProgramOptions
from .program import Program
from .target import AttachTarget, find_target
from .variable import Variable

__all__ = [
    "AttachTarget",
    "Collection",
    "CollectionOptions",
    "CollectionSpec",
    "Map",
    "MapOptions",
    "MapSpec",
    "Program",
    "ProgramOptions",
    "ProgramSpec",
    "Variable",
    "VariableSpec",
    "create_map",
    "find_target",
    "load_collection",
    "load_collection_spec",
]
