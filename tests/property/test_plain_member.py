"""The short cut for a struct's own, plain member says what the walk by name says: on real objects and real kernels."""

from __future__ import annotations

from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.core.access import Access, match_fields, walk_fields
from ebpfpy.core.query import LocalType, evaluations
from ebpfpy.core.rawtypes import raw_types
from ebpfpy.core.relocation import RelocationKind
from ebpfpy.core.values import field_value, memory_size_reason
from ebpfpy.elf import load_collection_spec

TESTDATA = Path(__file__).parents[2] / "testdata"
OBJECTS = sorted(path for path in TESTDATA.glob("*.o") if not path.name.endswith("-eb.o") and "legacy" not in path.name)
KERNELS = sorted(TESTDATA.glob("btf/*/vmlinux.btf.xz"))


@pytest.fixture(scope="module", params=KERNELS, ids=lambda path: path.parent.name)
def kernel(request: pytest.FixtureRequest) -> btf.Spec:
    return btf.load_spec(request.param)


def test_the_short_cut_and_the_walk_agree_on_every_offset_in_every_object(kernel: btf.Spec) -> None:
    taken = 0
    for path in OBJECTS:
        for program in load_collection_spec(path).programs.values():
            for relocation in program.relocations:
                if relocation.kind != RelocationKind.BYTE_OFF:
                    continue
                query = LocalType(relocation.spec, relocation.type_id).query(relocation)
                local, target = raw_types(relocation.spec), raw_types(kernel)
                walked = walk_fields(local, relocation.type_id, relocation.access)
                assert query.access == walked
                assert query.value == field_value(local, walked, query.kind, big_endian=False)
                if query.name is None:
                    continue
                ids = kernel.ids_by_essential_name(local.essential_name(relocation.type_id), (4, 5))
                for type_id, candidate in zip(ids, evaluations(relocation.spec, kernel, ids), strict=True):
                    answer = candidate._plain_answer(query, query.name)
                    if answer is None:
                        continue
                    access = match_fields(local, walked, target, type_id)
                    assert isinstance(access, Access)
                    value = field_value(target, access, query.kind, big_endian=False)
                    assert (answer.access, answer.value, answer.bits) == (access, value, access.bits)
                    assert answer.memory_size_reason == memory_size_reason(local, query.value, target, value)
                    taken += 1
    assert taken > 300
