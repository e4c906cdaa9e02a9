"""BTF that C has no words for, put before compilers: headers compile, and what C does have is in its place."""

import shutil
import subprocess

import pytest

from ebpfpy import btf
from ebpfpy.btf import (
    Array,
    DeclTag,
    Enum,
    Enumerator,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Param,
    Pointer,
    Struct,
    Typedef,
    Union,
    Void,
)

INT = Int("int", 4, 1)
VECTOR = Typedef("v4", Void())
COMPILERS = {
    "clang-14 for BPF": ["clang-14", "-target", "bpf"],
    "clang-19 for BPF": ["clang-19", "-target", "bpf"],
    "clang-19, C11": ["clang-19", "-std=gnu11"],
    "clang-19, C23": ["clang-19", "-target", "bpf", "-std=gnu23"],
    "gcc, C11": ["gcc", "-std=gnu11"],
    "gcc, C17": ["gcc"],
}
every_compiler = pytest.mark.parametrize("compiler", COMPILERS)


def check(compiler, directory, spec, *assertions):
    """Compile the header of a spec without a warning, and what must hold with it."""
    (directory / "types.h").write_text("".join(btf.format_header(spec)))
    compile_with(compiler, directory, ["types.h"], assertions)


def compile_with(compiler, directory, headers, assertions):
    if shutil.which(COMPILERS[compiler][0]) is None:
        pytest.skip(f"{COMPILERS[compiler][0]} is not installed")
    lines = [*(f'#include "{each}"' for each in headers), *(f'_Static_assert({each}, "");' for each in assertions)]
    (directory / "types.c").write_text("\n".join([*lines, "int x;", ""]))
    command = [*COMPILERS[compiler], "-Werror", "-fsyntax-only", "-I", str(directory), str(directory / "types.c")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]


def place(tag, **offsets):
    return [f"__builtin_offsetof({tag}, {member}) == {offset}" for member, offset in offsets.items()]


def spec_of(*types):
    builder = btf.Builder()
    builder.add_all(types)
    return builder.spec("types")


@every_compiler
def test_a_member_without_a_size_leaves_the_others_where_they_are(compiler, tmp_path):
    prototype = FuncProto(INT, (Param("x", INT),))
    three, sixteen = (Enum(f"e{size}", size, (Enumerator(f"E{size}", 1),)) for size in (3, 16))
    types = []
    odd = (VECTOR, Void(), Fwd("only_declared"), prototype, Typedef("f_t", prototype), three, sixteen)
    for index, of in enumerate(odd):
        deep = Typedef(f"t{index}", Array(Array(of, INT, 2), INT, 3))
        for name, each in (("plain", of), ("array", Array(of, INT, 3)), ("deep", deep)):
            gone = Member("gone", each, 128)
            types.append(Struct(f"{name}{index}", 48, (Member("a", INT), gone, Member("b", INT, 256))))
            types.append(Union(f"u_{name}{index}", 16, (Member("x", INT), Member("gone", each))))
    spec = spec_of(*types)
    tags = [each.name for each in types if isinstance(each, Struct)]
    assertions = [line for tag in tags for line in (f"sizeof(struct {tag}) == 48", *place(f"struct {tag}", a=0, b=32))]
    assertions += [f"sizeof(union {each.name}) == 16" for each in types if isinstance(each, Union)]
    check(compiler, tmp_path, spec, *assertions)
    text = "".join(btf.format_header(spec))
    assert "/* not here: gone, of type void, at bit 128 */" in text
    assert "/* not here: gone, an enum of 3 bytes, at bit 128 */" in text
    assert "/* not here: gone, of type void, at bit 128 */" in btf.format_c(spec.type_by_name("plain0"))


@every_compiler
def test_pointers_to_what_c_does_not_have_are_pointers(compiler, tmp_path):
    prototype = FuncProto(INT, (Param("x", INT),))
    odd = [
        Pointer(Array(VECTOR, INT, 3)),
        Pointer(Array(Array(Fwd("only_declared"), INT, 3), INT, 2)),
        Pointer(Array(prototype, INT, 3)),
        Pointer(FuncProto(Array(INT, INT, 3))),
        Pointer(FuncProto(Typedef("ints", Array(INT, INT, 3)))),
        Pointer(FuncProto(prototype)),
        Pointer(FuncProto(INT, (Param("x", VECTOR), Param("", Typedef("w4", VECTOR))))),
        Pointer(FuncProto(INT, (Param("", VECTOR),))),
        Pointer(FuncProto(VECTOR, (Param("x", INT),))),
    ]
    holder = Struct("holder", 8 * len(odd), tuple(Member(f"p{at}", each, 64 * at) for at, each in enumerate(odd)))
    function = Func("odd_function", FuncProto(Array(INT, INT, 2), (Param("x", VECTOR),)), 1)
    aliases = [Typedef(f"alias{index}", each) for index, each in enumerate(odd)]
    spec = spec_of(holder, DeclTag("bpf_kfunc", function), Typedef("vectors", Array(VECTOR, INT, 3)), *aliases)
    for each in spec:
        btf.format_c(each)
    places = place("struct holder", **{f"p{index}": 8 * index for index in range(len(odd))})
    check(compiler, tmp_path, spec, f"sizeof(struct holder) == {8 * len(odd)}", *places)


@every_compiler
def test_one_name_at_two_levels_is_no_clash(compiler, tmp_path):
    def union(*names):
        return Union("", 4, tuple(Member(name, INT) for name in names))

    two = Struct("", 8, (Member("", union("x")), Member("", union("unnamed"), 32)))
    same = Struct("", 8, (Member("a", INT), Member("a", INT, 32)))
    inner = Struct("", 8, (Member("q", INT), Member("", union("q"), 32)))
    types = [
        Struct("direct", 8, (Member("a", INT), Member("", union("a", "b"), 32))),
        Struct("later", 8, (Member("", union("a", "b")), Member("b", INT, 32))),
        Struct("siblings", 8, (Member("", union("a")), Member("", union("a", "c"), 32))),
        Struct("made", 8, (Member("a b", INT), Member("", union("a.b"), 32))),
        Struct("taken", 16, (Member("unnamed", INT), Member("x", INT, 32), Member("", two, 64))),
        Struct("bits", 8, (Member("a", INT, 0, 3), Member("", union("a"), 32))),
        Struct("numbered", 16, (Member("a___2", INT), Member("", same, 64))),
        Struct("within", 8, (Member("in", inner),)),
    ]
    assertions = [f"sizeof(struct {each.name}) == {each.size}" for each in types]
    check(compiler, tmp_path, spec_of(*types), *assertions, *place("struct direct", a=0), *place("struct later", b=4))


@every_compiler
def test_large_gaps_at_several_levels_have_names_of_their_own(compiler, tmp_path):
    def gap(name):
        return Struct("", 4096, (Member(f"{name}0", INT), Member(f"{name}1", INT, 8 * 4092)))

    types = [
        Union("gaps", 4096, (Member("", gap("a")), Member("", gap("b")))),
        Struct("overlaps", 8192, (Member("a", INT, 8 * 4090), Member("b", INT, 8 * 4091), Member("c", INT, 8 * 4090))),
    ]
    assertions = [*place("union gaps", a1=4092, b1=4092), *place("struct overlaps", a=4090, b=4091, c=4090)]
    check(compiler, tmp_path, spec_of(*types), *assertions, "sizeof(struct overlaps) == 8192")


@every_compiler
def test_words_of_any_standard_and_macros_of_any_machine_are_no_trouble(compiler, tmp_path):
    words = ["nullptr", "constexpr", "thread_local", "static_assert", "alignas", "alignof", "typeof_unqual", "typeof"]
    macros = ["linux", "unix", "i386", "mips"]
    types = [
        each
        for word in (*words, *macros)
        for each in (
            Struct(word, 4, (Member(word, INT),)),
            Enum(f"of_{word}", 4, (Enumerator(word, 1),)),
            Typedef(f"{word}", INT),
        )
    ]
    check(compiler, tmp_path, spec_of(*types), *place("struct linux", linux=0), *place("struct nullptr_", nullptr_=0))


@every_compiler
def test_headers_of_splits_without_a_name_are_not_skipped(compiler, tmp_path):
    base = spec_of(Struct("inner", 4, (Member("x", INT),)))
    base = btf.Spec(base.raw)
    (tmp_path / "vmlinux.h").write_text("".join(btf.format_header(base)))
    splits = []
    for name in ("one", "two"):
        builder = btf.Builder(base)
        builder.add(Struct(name, 4, (Member("in", base.type_by_name("inner", Struct)),)))
        splits.append(btf.load_split_spec(builder.marshal(), base))
        (tmp_path / f"{name}.h").write_text("".join(btf.format_header(splits[-1])))
    compile_with(compiler, tmp_path, ["one.h", "two.h"], ["sizeof(struct one) == sizeof(struct two)"])


def test_vectors_that_gcc_writes_as_void_leave_the_others_in_their_places(tmp_path):
    """``gcc -gbtf`` has no vectors: it writes ``typedef void v4``."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    source = tmp_path / "vectors.c"
    source.write_text(
        "typedef int v4 __attribute__((vector_size(16)));\n"
        "struct vs { int a; v4 v; int b; v4 many[2]; int c; v4 *p; v4 (*f)(v4, v4); } x;\n"
    )
    made = tmp_path / "vectors.o"
    command = ["gcc", "-gbtf", "-c", str(source), "-o", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode and "gbtf" in done.stderr:
        pytest.skip("this gcc has no -gbtf")
    assert done.returncode == 0, done.stderr
    spec = btf.load_spec(made)
    assert isinstance(btf.resolve(spec.type_by_name("v4")), Void)
    places = place("struct vs", a=0, b=32, c=80, p=88, f=96)
    check("gcc, C17", tmp_path, spec, "sizeof(struct vs) == 112", *places)
