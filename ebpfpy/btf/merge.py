"""One file for a kernel and its modules.

A module's BTF continues its kernel's: both number their own types from the same id on, so two modules cannot be read
together. For archives that want a single file, `merge_splits` writes the kernel's types, then those of each module
with new ids, and each of them once. Modules share types that the kernel does not have (two drivers include one
header), and those become one.

The kernel's types keep their ids and string offsets. Types of one name that differ stay apart, as in any BTF. A kernel
cannot be given a merged file: the ids of modules' types in it mean nothing to a running kernel.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Any

from ebpfpy.errors import BtfError, InputError, NotFoundError

from .dedup import deduplicate_with_map
from .header import layout_section
from .records import id_words, make_blob, record_end, string_words
from .spec import Spec, spec_list
from .typebase import as_number

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .types import Type


class MergedSpec(Spec):
    """The types of a kernel and of modules, as one spec without a base, which tells where they come from.

    Made by `merge_splits`.

    Attributes:
        modules: the names of the modules, in the order in which they were given.
    """

    modules: tuple[str, ...] = ()
    _kernel: str = ""
    _kernel_end: int = 1  # the first id that is no type of the kernel
    _ids: tuple[tuple[int, ...], ...] = ()  # for each module: merged id of each of its own types

    def origins(self, of: Type | int) -> tuple[str, ...]:
        """Where a type comes from: the kernel's name, or the names of all modules that have it.

        A type that the kernel has comes from the kernel, whatever modules repeat it.

        Args:
            of: a type of this spec, or its id.

        Raises:
            NotFoundError: it is no type of this spec.
        """
        type_id = of if isinstance(of, int) else self.type_id(of)
        if not 0 <= type_id <= len(self):
            raise NotFoundError(f"{self.name or 'merged BTF'}: no type has id {type_id}")
        if type_id < self._kernel_end:
            return (self._kernel,)
        found: list[str] = []
        for index in self._origin_table()[type_id - self._kernel_end]:
            if self.modules[index] not in found:
                found.append(self.modules[index])
        return tuple(found)

    def merged_id(self, module: int, type_id: int) -> int:
        """The id that a type of a module has here.

        Args:
            module: which of the splits, counted from 0.
            type_id: its id in that split; ids of the kernel's types stay what they are.

        Raises:
            NotFoundError: there is no such module, or no such type in it.
        """
        module, type_id = as_number(module), as_number(type_id)
        if not 0 <= module < len(self._ids):
            raise NotFoundError(f"{self.name or 'merged BTF'}: no module {module}, it was made of {len(self._ids)}")
        if 0 <= type_id < self._kernel_end:
            return type_id
        if not 0 <= type_id - self._kernel_end < len(self._ids[module]):
            raise NotFoundError(f"{self.name or 'merged BTF'}: module {module} has no type with id {type_id}")
        return self._ids[module][type_id - self._kernel_end]

    def _origin_table(self) -> list[list[int]]:
        """For each type behind the kernel's, the indices of the modules that have it."""
        table: list[list[int]] | None = self.derived.get(MergedSpec)
        if table is None:
            table = [[] for _ in range(len(self) + 1 - self._kernel_end)]
            for index, ids in enumerate(self._ids):
                for type_id in ids:
                    if type_id >= self._kernel_end:
                        table[type_id - self._kernel_end].append(index)
            self.derived[MergedSpec] = table
        return table

    def __reduce__(self) -> tuple[Any, ...]:
        state = (self.modules, self._kernel, self._kernel_end, self._ids)
        return _unpickle, (bytes(self.raw), self.name, self._pointer_size, state)


def _unpickle(data: bytes, name: str, pointer_size: int | None, state: tuple[Any, ...]) -> MergedSpec:
    spec = MergedSpec(data, name=name)
    spec._pointer_size = pointer_size
    spec.modules, spec._kernel, spec._kernel_end, spec._ids = state
    return spec


def merge_splits(splits: Iterable[Spec], *, name: str = "") -> MergedSpec:
    """The types of a kernel and of some of its modules in one blob.

    Args:
        splits: the modules' split BTF, all on the same base.
        name: what to call the result; the base's name if nothing is said.

    Raises:
        InputError: nothing to merge; one of them is no split, or splits a split; or their bases differ.
        BtfError: one of them is malformed.
    """
    modules = spec_list(splits)
    if not modules:
        raise InputError("no split BTF to merge")
    base = _common_base(modules)
    together = _Together(base)
    for module in modules:
        together.append(module)
    merged = deduplicate_with_map(together.spec())
    # ids and string offsets of the split continue the base's, so their sections do, too
    split = merged.spec
    words = array("I", base._words.tobytes() + split._words.tobytes())
    strings = base.own_strings() + split.own_strings()
    layout = bytes(layout_section(base.raw, base.byte_order))
    spec = MergedSpec(make_blob(words, strings, base.byte_order, layout), name=name or base.name)
    spec._pointer_size = base._pointer_size
    spec.modules = tuple(module.name for module in modules)
    spec._kernel, spec._kernel_end = base.name, split.first_id
    at = split.first_id
    ids = []
    for module in modules:
        ids.append(tuple(merged.ids[at : at + len(module)]))
        at += len(module)
    spec._ids = tuple(ids)
    return spec


def _common_base(modules: list[Spec]) -> Spec:
    base = modules[0].base
    for module in modules:
        if module.base is None:
            raise InputError(f"{module.name or 'BTF'}: it stands alone: only split BTF on one base can be merged")
        if module.base.base is not None:
            raise InputError(f"{module.name or 'BTF'}: its base is split BTF, too, which cannot be merged")
        if module.base is not base and (base is None or module.base.raw != base.raw):
            raise InputError(
                f"{module.name or 'BTF'} and {modules[0].name or 'BTF'} continue different bases:"
                f" {module.base!r} and {base!r}"
            )
    if base is None:
        raise InputError("no split BTF to merge")
    return base


class _Together:
    """Several splits of one base, one behind the other, as one split."""

    def __init__(self, base: Spec) -> None:
        self._base = base
        self._words = array("I")
        self._strings = bytearray()
        self._count = 0

    def append(self, module: Spec) -> None:
        first, count = module.first_id, len(module)
        first_string = self._base.strings_end
        words = array("I", module._words.tobytes())
        for type_id in range(first, first + count):
            _, at, _ = record_end(module, type_id)
            for index in id_words(words, at):
                if words[index] >= first + count:
                    raise BtfError(
                        f"type {type_id} refers to type {words[index]}, but the last one is {first + count - 1}",
                        source=module.name or "BTF",
                    )
                if words[index] >= first:
                    words[index] += self._count
            for index in string_words(words, at):
                if words[index]:
                    module.string_bytes(words[index])  # says so if there is none
                    if words[index] >= first_string:
                        words[index] += len(self._strings)
        self._words += words
        self._strings += module.own_strings()
        self._count += count

    def spec(self) -> Spec:
        blob = make_blob(self._words, bytes(self._strings), self._base.byte_order)
        return Spec(blob, self._base, name=self._base.name)
