"""Parameters tagged as contexts get the type that older kernels want; everything else keeps its id."""

from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.elf import load_collection_spec
from ebpfpy.loader.contextargs import with_contexts

TESTDATA = Path(__file__).parents[3] / "testdata"
ALL = {"first_word", "of_registers", "of_arguments", "of_event"}
CHANGED = {
    # of the object's functions, those whose tagged parameter may be meant for a context of that name
    "__sk_buff": {"first_word", "of_event"},
    "xdp_md": {"first_word", "of_event"},
    "bpf_user_pt_regs_t": {"first_word", "of_event", "of_registers"},
    "bpf_perf_event_data": {"first_word", "of_event", "of_registers"},
    "bpf_raw_tracepoint_args": {"first_word", "of_event", "of_arguments"},
}


@pytest.fixture(scope="module")
def types() -> btf.Spec:
    spec = load_collection_spec(TESTDATA / "context_tags.bpf.o")
    assert spec.types is not None
    return spec.types


@pytest.mark.parametrize("context", CHANGED)
def test_tagged_parameters_point_to_the_context_in_a_second_version_of_the_function(
    types: btf.Spec, context: str
) -> None:
    blob, versions = with_contexts(types, context)
    after = btf.Spec(blob)
    assert all(btf.same_type(old, new) for old, new in zip(types, after, strict=False))
    names = set()
    for first, second in versions.items():
        old, new = types.type_by_id(first), after.type_by_id(second)
        assert isinstance(old, btf.Func)
        assert isinstance(new, btf.Func)
        assert (old.name, old.linkage) == (new.name, new.linkage)
        assert isinstance(old.proto, btf.FuncProto)
        assert isinstance(new.proto, btf.FuncProto)
        assert [each.name for each in old.proto.params] == [each.name for each in new.proto.params]
        pointer = new.proto.params[0].type
        assert isinstance(pointer, btf.Pointer)
        assert isinstance(pointer.target, btf.Struct)
        assert (pointer.target.name, pointer.target.size) == (context, 0)
        for mine, theirs in zip(old.proto.params[1:], new.proto.params[1:], strict=True):
            assert btf.same_type(mine.type, theirs.type)
        names.add(old.name)
    assert names == CHANGED[context]


def test_an_object_without_tags_stays_as_it_is() -> None:
    types = load_collection_spec(TESTDATA / "subprogs.bpf.o").types
    assert types is not None
    assert with_contexts(types, "__sk_buff") == (bytes(types.raw), {})
