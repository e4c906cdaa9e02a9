"""Objects that were read before: who loads the same object again, with the same `btf.Cache`, does not read it again.

Reading an object takes Python as long as all its own work for the kernel does. So the blueprints of the last objects
are kept, by name and content of the file, and copies of them handed out: what becomes of a copy changes no other.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from .objectfile import ObjectFile, read_object
from .reader import read_blueprints

if TYPE_CHECKING:
    from cachetools import LRUCache

    from ebpfpy import btf

    from .objectfile import Source
    from .spec import CollectionSpec

KEPT: Final = 16
"""Objects whose blueprints a cache keeps."""
LARGEST: Final = 1 << 20
"""Bytes: a larger object is read each time. What is kept of one weighs about as much as the object."""


class ReadBefore:
    """The objects that a `btf.Cache` has seen. Thread-safe."""

    def __init__(self) -> None:
        from cachetools import LRUCache

        self._lock = threading.Lock()
        self._specs: LRUCache[tuple[str, bytes], CollectionSpec] = LRUCache(KEPT)

    @classmethod
    def of(cls, cache: btf.Cache) -> ReadBefore:
        """Those of a cache."""
        found: ReadBefore = cache.derived.get(cls) or cache.derived.setdefault(cls, cls())
        return found

    def load(self, source: Source) -> CollectionSpec:
        """`load_collection_spec`; a copy of what was read before if the file has that content still.

        Raises:
            EbpfError: as `load_collection_spec` raises it.
        """
        data, name = read_object(source)
        with self._lock:
            known = self._specs.get((name, data))
        if known is None:
            known = read_blueprints(ObjectFile(data, name))
            if len(data) > LARGEST:
                return known
            with self._lock:
                self._specs[name, data] = known
        return known.copy()
