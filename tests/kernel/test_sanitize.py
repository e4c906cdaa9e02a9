"""BTF made plain enough for this kernel, whichever it is."""

from __future__ import annotations

import sys

import pytest

import ebpfpy
from ebpfpy import asm, btf
from ebpfpy.btf import Feature
from ebpfpy.errors import KernelError
from ebpfpy.loader.objectbtf import kernel_blob, load_types
from ebpfpy.loader.typefeatures import missing_features
from tests.kernel.blueprints import TESTDATA, collection_of, program_of

OBJECTS = sorted(path.name for path in TESTDATA.glob("*.bpf.o") if "legacy" not in path.name)
NUMBER = btf.Int("int", 4, 1)
UNARY = btf.FuncProto(NUMBER, (btf.Param("", NUMBER),))
SINGLE = [feature for feature in Feature if feature is not Feature.LAYOUT]


def object_types(name: str) -> btf.Spec:
    """The object's types as the loader gives them to the kernel."""
    types = ebpfpy.load_collection_spec(TESTDATA / name).types
    assert types is not None
    return btf.Spec(kernel_blob(types), name=name)


def everything() -> btf.Spec:
    """A type of every kind, with every flag that a compiler may set."""
    number = btf.Int("int", 4, 1)
    variable = btf.Var("count", number, 1)
    struct = btf.Struct("S", 8, (btf.Member("a", number), btf.Member("b", number, 32, 3)))
    builder = btf.Builder()
    builder.add_all(
        (
            struct,
            btf.Func("prog", btf.FuncProto(number, (btf.Param("arg", btf.Pointer(struct)),)), 1),
            variable,
            btf.Datasec(".data.x", 8, (btf.VarSecinfo(variable, 4, 4),)),
            btf.Datasec("?.data.y", 8, (btf.VarSecinfo(btf.Var("other", number, 1), 0, 4),)),
            btf.Datasec(".rodata", 24),
            btf.Float("double", 8),
            btf.DeclTag("on a member", struct, 0),
            btf.DeclTag("on a variable", variable),
            btf.Pointer(btf.TypeTag("noderef", btf.TypeTag("user", number), attribute=True)),
            btf.Pointer(btf.TypeTag("address_space(1)", struct, attribute=True)),
            btf.DeclTag("attribute", struct, attribute=True),
            btf.Enum("big", 8, (btf.Enumerator("A", 1 << 40), btf.Enumerator("B", 2)), is64=True),
            btf.Enum("low", 4, (btf.Enumerator("M", -1),), signed=True),
            btf.Union("u", 8, (btf.Member("f", btf.Float("float", 4)), btf.Member("e", btf.Enum("e8", 8, is64=True)))),
            btf.Typedef("callback", btf.Pointer(btf.FuncProto(btf.Void(), (btf.Param("", btf.Void()),)))),
        )
    )
    return btf.Spec(builder.marshal(header_size=32), name="everything")


def loads(data: bytes) -> bool:
    try:
        btf.Handle.load(data).close()
    except KernelError as error:
        print(error, error.log, file=sys.stderr)
        return False
    return True


@pytest.mark.parametrize("name", OBJECTS)
def test_an_object_sanitised_for_everything_loads_on_any_kernel(name: str) -> None:
    assert loads(btf.sanitize(object_types(name), Feature.everything()))


def test_every_kind_sanitised_for_everything_loads_on_any_kernel() -> None:
    assert loads(btf.sanitize(everything(), Feature.everything()))


def test_what_the_kernel_lacks_is_found_out_by_asking() -> None:
    missing = missing_features()
    kernel = btf.load_kernel_spec()
    for feature in (Feature.FLOAT, Feature.DECL_TAG, Feature.TYPE_TAG, Feature.ENUM64):
        listed = bool(kernel.string_offsets(f"BTF_KIND_{feature.name}".encode()))
        assert (feature in missing) is not listed, feature
    assert not missing & (Feature.FUNC | Feature.FUNC_LINKAGE | Feature.DATASEC)
    assert loads(btf.sanitize(everything(), missing))
    assert missing_features() is missing


def test_an_objects_types_lose_only_what_the_kernel_lacks() -> None:
    spec = ebpfpy.load_collection_spec(TESTDATA / "tagged.bpf.o")
    assert spec.types is not None
    kinds = {btf.Kind.FLOAT: Feature.FLOAT, btf.Kind.DECL_TAG: Feature.DECL_TAG, btf.Kind.TYPE_TAG: Feature.TYPE_TAG,
             btf.Kind.ENUM64: Feature.ENUM64}  # fmt: skip
    for _ in range(2):
        types, note = load_types(spec.types, name="tagged")
        assert types is not None
        assert note is None
        with types.handle:
            loaded = {each.kind for each in types.handle.spec()}
        assert {kind for kind in kinds if kind not in loaded} == {
            kind for kind, feature in kinds.items() if feature in missing_features()
        }


def test_a_kernel_that_has_been_asked_gets_names_as_they_are_if_it_takes_them() -> None:
    asked = missing_features()
    spec = ebpfpy.load_collection_spec(TESTDATA / "struct_ops.bpf.o")
    assert spec.types is not None
    types, _ = load_types(spec.types, name="struct_ops")
    assert types is not None
    with types.handle:
        sections = {each.name for each in types.handle.spec() if isinstance(each, btf.Datasec)}
    assert ("?.struct_ops.link" in sections) is (Feature.QMARK_DATASEC not in asked)


@pytest.mark.parametrize("name", OBJECTS)
def test_what_a_kernel_refuses_as_it_is_loads_once_it_is_sanitised(name: str) -> None:
    """Some objects have no kind that the oldest kernel lacks: those load as they are."""
    types = object_types(name)
    needed = Feature(0)
    if loads(btf.sanitize(types, needed)):
        return
    for feature in reversed(SINGLE):  # the youngest first
        needed |= feature
        if loads(btf.sanitize(types, needed)):
            return
    pytest.fail("nothing that is left out helps")


def test_types_of_maps_and_64_bit_enums_need_no_more_left_out_than_this_kernel_lacks() -> None:
    """Nothing that every kernel since 5.10 has is needed: functions and variables stay."""
    younger = Feature.everything() & ~(Feature.FUNC | Feature.FUNC_LINKAGE | Feature.DATASEC)
    for name in OBJECTS:
        assert loads(btf.sanitize(object_types(name), younger)), name


@pytest.mark.parametrize("feature", SINGLE, ids=lambda feature: feature.name)
def test_leaving_out_one_feature_never_makes_loadable_types_refused(feature: Feature) -> None:
    """Replacements must also fit beside kinds that the kernel knows."""
    missing = Feature.LAYOUT
    types = everything()
    for each in reversed(SINGLE):
        if loads(btf.sanitize(types, missing)):
            break
        missing |= each
    assert loads(btf.sanitize(types, missing | feature))


@pytest.mark.parametrize("extern", [btf.Func("maybe", UNARY, 2), btf.Var("elsewhere", NUMBER, 2)], ids=["func", "var"])
def test_externs_in_no_section_leave_the_functions_of_all_programs_known(extern: btf.Func | btf.Var) -> None:
    builder = btf.Builder()
    builder.add_all((btf.Func("p", btf.FuncProto(NUMBER, (btf.Param("ctx", NUMBER),)), 1), extern))
    types = builder.spec()
    program = program_of(
        (asm.mov_imm(0, 7), asm.exit_()),
        name="p",
        func_infos=((0, types.type_id(types.type_by_name("p"))),),
    )
    spec = collection_of(program)
    spec.types = types
    with ebpfpy.Collection(spec) as collection:
        assert collection.notes == []
        assert collection.programs["p"].run(bytes(64)).retval == 7
