"""Pieces of real BTF, small enough to change thousands of times: a run of records whose references stay inside it."""

from __future__ import annotations

from array import array
from pathlib import Path
from typing import TYPE_CHECKING

from ebpfpy.btf.elfsection import sections
from ebpfpy.btf.records import id_words, make_blob, record_end, string_words

if TYPE_CHECKING:
    from ebpfpy import btf

TESTDATA = Path(__file__).parents[1] / "testdata"
KERNELS = tuple(TESTDATA / "btf" / name for name in ("6.1.0-56-amd64", "6.12.117+deb12-amd64"))
OBJECTS = tuple(sorted(TESTDATA.glob("*.o")))


def slice_of(spec: btf.Spec, first: int, count: int) -> bytes:
    """Some records of a spec as BTF that stands alone.

    References that lead out of the slice lead to some other type of it: real shapes, and nonsense in between.

    Args:
        spec: base or split BTF.
        first: the id of the first record.
        count: how many.
    """
    words, strings, offsets = array("I"), bytearray(b"\0"), {0: 0}
    for type_id in range(first, first + count):
        where, at, end = record_end(spec, type_id)
        record = array("I", where[at:end].tolist())
        for index in id_words(record, 0):
            if record[index]:
                record[index] = (record[index] - first) % count + 1
        for index in string_words(record, 0):
            old = record[index]
            if old not in offsets:
                offsets[old] = len(strings)
                strings += spec.string_bytes(old) + b"\0"
            record[index] = offsets[old]
        words.extend(record)
    return make_blob(words, bytes(strings), spec.byte_order)


def object_sections(path: Path) -> dict[str, bytes]:
    """The sections ``.BTF`` and ``.BTF.ext`` of an object."""
    found = sections(memoryview(path.read_bytes()), (".BTF", ".BTF.ext"), source=path.name)
    return {name: bytes(data) for name, data in found.items()}
