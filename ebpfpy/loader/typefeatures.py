"""Which kinds, flags and names of BTF the running kernel does not take: asked once, after it has refused an object's.

For each `btf.Feature` the smallest BTF that needs it is offered. Nothing is asked as long as the kernel takes objects
as they are.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Final

from ebpfpy import btf
from ebpfpy.btf import Feature
from ebpfpy.errors import KernelError

if TYPE_CHECKING:
    from collections.abc import Iterator

_lock: Final = threading.Lock()
_answer: list[Feature] = []


def known_missing() -> Feature | None:
    """What the kernel lacks, if it has been asked already."""
    return _answer[0] if _answer else None


def missing_features() -> Feature:
    """What the kernel lacks of BTF, remembered for the life of the process (CAP_BPF).

    Raises:
        KernelError: PermissionError.
    """
    with _lock:
        if not _answer:
            missing = Feature(0)
            for feature, blob in _smallest():
                if not _takes(blob):
                    missing |= feature
            _answer.append(missing)
        return _answer[0]


def _takes(blob: bytes) -> bool:
    try:
        btf.Handle.load(blob, name="probe").close()
    except KernelError as error:
        if isinstance(error, PermissionError):
            raise
        return False
    return True


def _smallest() -> Iterator[tuple[Feature, bytes]]:
    number = btf.Int("int", 4, 1)
    struct = btf.Struct("s", 4, (btf.Member("m", number),))
    variable = btf.Var("v", number, 1)
    places = (btf.VarSecinfo(variable, 0, 4),)
    prototype = btf.FuncProto(number, ())
    shapes: dict[Feature, btf.Type] = {
        Feature.FUNC: btf.Func("f", prototype, 0),
        Feature.FUNC_LINKAGE: btf.Func("f", prototype, 1),
        Feature.DATASEC: btf.Datasec(".data", 4, places),
        Feature.EMPTY_DATASEC: btf.Datasec(".rodata", 4),
        Feature.FLOAT: btf.Float("double", 8),
        Feature.DECL_TAG: btf.DeclTag("t", struct),
        Feature.TYPE_TAG: btf.Pointer(btf.TypeTag("t", struct)),
        Feature.ENUM64: btf.Enum("e", 8, (btf.Enumerator("A", 1 << 40),), is64=True),
        Feature.QMARK_DATASEC: btf.Datasec("?.data", 4, places),
        Feature.TAG_ATTRIBUTES: btf.DeclTag("t", struct, attribute=True),
        Feature.LAYOUT: number,
    }
    for feature, shape in shapes.items():
        builder = btf.Builder()
        builder.add(shape)
        yield feature, builder.marshal(header_size=32 if feature is Feature.LAYOUT else 24)
