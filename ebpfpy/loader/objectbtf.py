"""An object's BTF, as the kernel takes it: externs made into what the kernel understands.

clang describes ``__kconfig`` and ``__ksym`` things in two data sections without sizes and offsets, with the linkage
"extern", which the kernel refuses. Before loading, in a copy of the blob:

* ``.kconfig``: its variables are laid out as in the map that the loader makes for their values, and sorted by offset.
* ``.ksyms``: each entry becomes 4 bytes of an integer variable: nobody reads it there, it only has to be valid. A
  function cannot be in a data section at all; one made-up variable takes the place of each.
* the array at the end of a data section that was resized gets its new length.
* extern functions and variables become global ones, those in no section (declared without ``__ksym``), too; parameters
  without a name get one, which the kernel insists on.

Ids stay what they are: what is made up comes behind all other types.
"""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

from ebpfpy import btf, sys
from ebpfpy.btf.kinds import INT_SIGNED, VLEN_MASK, Kind, make_info
from ebpfpy.errors import KernelError

from .btfpatch import Patch
from .typefeatures import known_missing, missing_features

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ebpfpy.btf import Spec

KCONFIG = ".kconfig"
KSYMS = ".ksyms"
_DUMMY = "dummy_ksym"
_GLOBAL = 1
_EXTERN_FUNC = make_info(Kind.FUNC, 2)
_VAR = make_info(Kind.VAR)
_EXTERN = 2
_INT_BYTES = 4


class Place(NamedTuple):
    """Where a kconfig variable lies in the map that holds all of them, in bytes."""

    offset: int
    size: int


def kconfig_places(types: Spec) -> dict[str, Place]:
    """The layout of the kconfig variables of an object, by name.

    Ordered as libbpf does it, so that no byte is wasted: by falling alignment, then by rising size, then by name.
    """
    variables = [
        (-btf.alignof(entry.var.type), btf.sizeof(entry.var.type), entry.var.name)
        for section in types.any_types_by_name(KCONFIG)
        if isinstance(section, btf.Datasec)
        for entry in section.variables
        if isinstance(entry.var, btf.Var)
    ]
    places: dict[str, Place] = {}
    end = 0
    for align, size, name in sorted(variables):
        offset = end // align * align  # rounded up: align is negative
        places[name] = Place(offset, size)
        end = offset + size
    return places


def kernel_blob(types: Spec, sizes: Mapping[str, int] | None = None) -> bytes:
    """The object's BTF with its externs made acceptable; the blob as it is where there is nothing to do.

    Args:
        types: the types.
        sizes: of data sections whose last variable is an array of another length now, in bytes. Where that cannot be
            (no array, or no whole number of elements) the section stays as it is, and its map is made without BTF.
    """
    names = {KCONFIG, KSYMS, *(sizes or ())}
    sections = [
        section for name in names for section in types.any_types_by_name(name) if isinstance(section, btf.Datasec)
    ]
    rewriter = _Rewriter(types)
    functions = types.ids_of(_EXTERN_FUNC)
    variables = [each for each in types.ids_of(_VAR) if rewriter.get(rewriter.place(each) + 12) == _EXTERN]
    if not sections and not functions and not variables:
        return bytes(types.raw)
    return rewriter.rewrite(sections, sizes or {}, functions, variables)


# What else may be left out where the kernel refuses BTF without what it lacks, youngest first: each adds to the others.
_STEPS = (
    btf.Feature.LAYOUT | btf.Feature.TAG_ATTRIBUTES | btf.Feature.QMARK_DATASEC,
    btf.Feature.ENUM64,
    btf.Feature.TYPE_TAG | btf.Feature.DECL_TAG | btf.Feature.FLOAT,
    btf.Feature.EMPTY_DATASEC,
    btf.Feature.FUNC_LINKAGE | btf.Feature.DATASEC,
    btf.Feature.FUNC,
)


class ObjectTypes(NamedTuple):
    """An object's BTF, loaded.

    Attributes:
        handle: the BTF object in the kernel.
        spec: the types as the object has them; ids are the same.
    """

    handle: btf.Handle
    spec: Spec


def load_types(
    types: Spec, *, name: str, sizes: Mapping[str, int] | None = None, token_fd: int = 0
) -> tuple[ObjectTypes | None, str | None]:
    """Load an object's BTF into the kernel, in as new a form as the kernel takes.

    It is offered as it is, and after a refusal without what the kernel lacks, see `typefeatures`; in a process in which
    that is known already, without it at once.

    Args:
        types: the types.
        name: of the object, for errors.
        sizes: of data sections that were resized, in bytes.
        token_fd: descriptor of a BPF token, or 0.

    Returns:
        The BTF object, None if the kernel refuses every form; and a note for users, None where nothing is worth saying.

    Raises:
        KernelError: PermissionError.
    """
    blob = kernel_blob(types, sizes)
    first: KernelError | None = None
    for missing in _forms(ask=not token_fd):
        try:
            form = btf.sanitize(btf.Spec(blob), missing) if missing else blob
            handle = _load(form, name, token_fd)
        except KernelError as error:
            if isinstance(error, PermissionError):
                raise
            first = first or error
        else:
            return ObjectTypes(handle, types), None
    return None, f"loaded without BTF, which this kernel refused: {first}"


def _forms(*, ask: bool) -> Iterator[btf.Feature]:
    """What to leave out, as long as the kernel refuses; `ask`: the kernel may be asked what it lacks."""
    missing = known_missing() if ask else None
    if not missing:  # not asked yet, or nothing
        yield btf.Feature(0)
    if missing is None:
        missing = missing_features() if ask else btf.Feature(0)
    if missing:
        yield missing
    for step in _STEPS:
        if step & ~missing:
            missing |= step
            yield missing


def _load(blob: bytes, name: str, token_fd: int) -> btf.Handle:
    if token_fd:
        return btf.Handle(sys.btf_load(blob, name=name, token_fd=token_fd)[0])
    return btf.Handle.load(blob, name=name)


class _Rewriter(Patch):
    @cached_property
    def _int(self) -> int:
        """An integer of 4 bytes."""
        for each in self.types:
            if isinstance(each, btf.Int) and each.size == _INT_BYTES:
                return self.types.type_id(each)
        info = make_info(Kind.INT)
        return self.add(self.name(_DUMMY), info, _INT_BYTES, INT_SIGNED << 24 | 8 * _INT_BYTES)

    def rewrite(
        self, sections: list[btf.Datasec], sizes: Mapping[str, int], functions: list[int], variables: list[int]
    ) -> bytes:
        for type_id in functions:
            function = self.types.type_by_id(type_id)
            assert isinstance(function, btf.Func)
            self._name_params(function)
            at = self.place(type_id)
            self.set(at + 4, self.get(at + 4) & ~VLEN_MASK | _GLOBAL)
        for type_id in variables:
            self.set(self.place(type_id) + 12, _GLOBAL)
        for section in sections:
            if section.name == KCONFIG:
                self._lay_out_kconfig(section)
            elif section.name == KSYMS:
                self._replace_ksyms(section)
            else:
                self._resize(section, sizes[section.name])
        return self.blob()

    def _resize(self, section: btf.Datasec, size: int) -> None:
        """Make the last variable of a data section, an array, as long as the section wants it."""
        last = section.variables[-1] if section.variables else None
        array = btf.resolve(last.var.type) if last is not None and isinstance(last.var, btf.Var) else None
        if last is None or not isinstance(array, btf.Array):
            return
        element = btf.sizeof(array.element)
        if size <= last.offset or not element or (size - last.offset) % element:
            return
        element_id, index_id = self.types.type_id(array.element), self.types.type_id(array.index)
        longer = self.add(0, make_info(Kind.ARRAY), 0, element_id, index_id, (size - last.offset) // element)
        self.set(self.place(self.types.type_id(last.var)) + 8, longer)
        at = self.place(self.types.type_id(section))
        self.set(at + 8, size)
        self.set(at + 12 * len(section.variables) + 8, size - last.offset)

    def _lay_out_kconfig(self, section: btf.Datasec) -> None:
        at = self.place(self.types.type_id(section))
        places = kconfig_places(self.types)
        rows = sorted((places[entry.var.name], self.types.type_id(entry.var)) for entry in section.variables)  # type: ignore[attr-defined]
        for number, (place, type_id) in enumerate(rows):
            # u32 type, u32 offset, u32 size
            for index, word in enumerate((type_id, place.offset, place.size)):
                self.set(at + 12 + 12 * number + 4 * index, word)
        self.set(at + 8, max((place.offset + place.size for place in places.values()), default=0))

    def _replace_ksyms(self, section: btf.Datasec) -> None:
        at = self.place(self.types.type_id(section))
        for number, entry in enumerate(section.variables):
            type_id = self.types.type_id(entry.var)
            if isinstance(entry.var, btf.Func):
                type_id = self._dummy
            else:
                self.set(self.place(type_id) + 8, self._int)
            self.set(at + 12 + 12 * number, type_id)
            self.set(at + 12 + 12 * number + 4, _INT_BYTES * number)
            self.set(at + 12 + 12 * number + 8, _INT_BYTES)
        self.set(at + 8, _INT_BYTES * len(section.variables))

    @cached_property
    def _dummy(self) -> int:
        """A variable that takes the place of functions."""
        return self.add(self.name(_DUMMY), make_info(Kind.VAR), self._int, _GLOBAL)

    def _name_params(self, function: btf.Func) -> None:
        proto = function.proto
        if not isinstance(proto, btf.FuncProto):
            return
        at = self.place(self.types.type_id(proto))
        for number, param in enumerate(proto.params):
            if not param.name and not isinstance(param.type, btf.Void):
                self.set(at + 12 + 8 * number, self.name(_DUMMY))
