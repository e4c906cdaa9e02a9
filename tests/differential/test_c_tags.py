"""Declaration and type tags through C and back: what clang makes of a header says of tags what the original said."""

import shutil
import subprocess

import pytest

from ebpfpy import btf

CLANG = "clang-19"
SOURCE = """\
#define D(text) __attribute__((btf_decl_tag(text)))
#define T(text) __attribute__((btf_type_tag(text)))
struct inner { int x; } D("inner tag");
struct tagged {
	int plain;
	int one D("one");
	int two D("first") D("second");
	int bits : 3 D("of a bitfield");
	int T("user") *pointer;
	int T("a") T("b") *both;
	const int T("rcu") *constant;
	int T("in") * T("out") *nested;
	int (T("function") *callback)(int, struct inner T("argument") *);
	int (T("array") *rows)[4];
	struct inner T("percpu") *inner D("and the member");
	struct { int hidden D("hidden"); } D("nameless");
	struct { int y; } D("its type") named D("its member");
	int list[4] D("array member");
	char odd D("quote \\" backslash \\\\ line \\n");
} D("struct tag") D("another");
union choice { int a D("in a union"); char b; } D("union tag");
typedef int tagged_t D("typedef tag");
typedef void (*handler_t)(int) D("handler");
typedef struct { int z; } D("nameless struct") nameless_t D("its typedef");
struct __attribute__((preserve_access_index)) relocated { int q; };

struct tagged tagged_v; union choice choice_v; tagged_t tagged_t_v; handler_t handler_v; nameless_t nameless_v;
struct relocated relocated_v;
int variable D("variable tag");
int function(int a D("parameter"), int T("type tag") *b) D("function tag");
int function(int a D("parameter"), int T("type tag") *b) { return a + *b; }
"""
USES = """
struct tagged tagged_v; union choice choice_v; tagged_t tagged_t_v; handler_t handler_v; nameless_t nameless_v;
struct relocated relocated_v;
"""


def compiled(source, directory, name, compiler=(CLANG, "-target", "bpf"), *options):
    if shutil.which(compiler[0]) is None:
        pytest.skip(f"{compiler[0]} is not installed")
    (directory / f"{name}.c").write_text(source)
    out = directory / f"{name}.o"
    command = [*compiler, "-g", "-O2", "-Wall", "-Werror", *options, "-I", directory, "-c", directory / f"{name}.c"]
    done = subprocess.run([*command, "-o", out], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:3000]
    return out


def said(spec):
    """All that a spec says of tags: of which declaration, or where in which declaration's type."""
    found = set()
    for of in spec:
        label = f"{of.kind.name} {getattr(of, 'name', '')}"
        if isinstance(of, btf.DeclTag):
            target = of.target
            owner = f"{target.kind.name} {target.name}"
            if of.component >= 0:
                parts = target.members if isinstance(target, (btf.Struct, btf.Union)) else target.params
                owner = f"{owner or 'nameless'}.{parts[of.component].name or of.component}"
            found.add((owner, of.name, of.attribute))
        for member in getattr(of, "members", ()):
            found.add((f"{label}.{member.name}", *chain(member.type)))
        if isinstance(of, (btf.Typedef,)):
            found.add((label, *chain(of.target)))
    return found


def chain(of):
    """The type tags, pointers and arrays from a type downwards."""
    steps = []
    while isinstance(of, (btf.Pointer, btf.TypeTag, btf.Const, btf.Array, btf.FuncProto)):
        steps.append(f"{of.kind.name}:{getattr(of, 'name', '')}")
        if isinstance(of, btf.FuncProto):
            for param in of.params:
                steps += chain(param.type)
            break
        of = of.element if isinstance(of, btf.Array) else of.target
    return steps


def declared(spec, name):
    """The one type of that name that is no tag."""
    (found,) = (of for of in spec.any_types_by_name(name) if not isinstance(of, (btf.DeclTag, btf.TypeTag)))
    return found


def of_types(facts):
    """Without those of functions and variables, which a header does not have."""
    return {fact for fact in facts if not fact[0].startswith(("FUNC ", "VAR "))}


def test_tags_come_out_of_a_header_as_they_went_in(tmp_path):
    original = btf.load_spec(compiled(SOURCE, tmp_path, "original"))
    facts = said(original)
    assert len([fact for fact in facts if "TYPE_TAG" in str(fact)]) >= 7
    assert ("STRUCT tagged.two", "second", False) in facts
    (tmp_path / "tagged.h").write_text("".join(btf.format_header(original)))
    again = btf.load_spec(compiled(f'#include "tagged.h"\n{USES}', tmp_path, "again"))
    assert of_types(said(again)) == of_types(facts)


def test_tags_come_out_of_single_declarations(tmp_path):
    original = btf.load_spec(compiled(SOURCE, tmp_path, "original"))
    order = ["inner", "tagged", "choice", "tagged_t", "handler_t", "nameless_t", "relocated", "variable", "function"]
    text = "\n".join(btf.format_c(declared(original, name)) for name in order)
    source = f"{text}\n{USES}int caller(int *b) {{ return function(1, b); }}\n"
    again = btf.load_spec(compiled(source, tmp_path, "again"))
    assert of_types(said(again)) == of_types(said(original))
    assert ("FUNC function.a", "parameter", False) in said(original)
    # clang keeps no names of parameters of what is only declared
    assert {("FUNC function.0", "parameter", False), ("FUNC function", "function tag", False)} <= said(again)
    assert ("VAR variable", "variable tag", False) in said(again)


@pytest.mark.parametrize("compiler", [("gcc",), (CLANG,), ("clang-14", "-target", "bpf")])
def test_a_header_with_tags_compiles_where_they_are_unknown(compiler, tmp_path):
    original = btf.load_spec(compiled(SOURCE, tmp_path, "original"))
    (tmp_path / "tagged.h").write_text("".join(btf.format_header(original)))
    compiled(f'#include "tagged.h"\n{USES}', tmp_path, "again", compiler)


def test_attributes_are_plain_ones_and_those_that_move_members_are_left_out(tmp_path):
    number = btf.Int("int", 4, 1)
    space = btf.Pointer(btf.TypeTag("address_space(1)", number, True))
    holder = btf.Struct("holder", 16, (btf.Member("arena", space), btf.Member("x", number, 64)))
    builder = btf.Builder()
    builder.add_all(
        [
            btf.DeclTag("preserve_access_index", holder, -1, True),
            btf.DeclTag("packed", holder, -1, True),
            btf.DeclTag("aligned(64)", holder, 1, True),
            btf.DeclTag("deprecated) evil", holder, 1, True),
        ]
    )
    text = "".join(btf.format_header(builder.spec("attributes")))
    assert "int __btf_attribute((address_space(1))) *arena;" in text
    assert "} __btf_attribute((preserve_access_index));" in text
    assert "packed" not in text.partition("struct holder")[2]
    assert "aligned" not in text
    assert "evil" not in text
    (tmp_path / "attributes.h").write_text(text)
    check = (
        '#include "attributes.h"\n_Static_assert(__builtin_offsetof(struct holder, x) == 8, "");\nstruct holder h;\n'
    )
    for name, compiler in (("bpf", (CLANG, "-target", "bpf")), ("gcc", ("gcc",))):
        compiled(check, tmp_path, name, compiler)


def test_tags_of_kfuncs_and_their_parameters_are_in_the_prototype(tmp_path):
    number = btf.Int("int", 4, 1)
    proto = btf.FuncProto(number, (btf.Param("a", number), btf.Param("b", btf.Pointer(btf.TypeTag("rcu", number)))))
    kfunc = btf.Func("kfunc", proto, 1)
    builder = btf.Builder()
    builder.add_all([btf.DeclTag("bpf_kfunc", kfunc), btf.DeclTag("mine", kfunc), btf.DeclTag("of a", kfunc, 0)])
    text = "".join(btf.format_header(builder.spec("kfuncs")))
    expected = (
        'extern int kfunc(int a __btf_decl_tag("of a"), int __btf_type_tag("rcu") *b) __btf_decl_tag("mine") __weak'
    )
    assert expected in text
    (tmp_path / "kfuncs.h").write_text(text)
    used = '#include "kfuncs.h"\nint x;\nint f(void) { return kfunc(1, &x); }\n'
    again = btf.load_spec(compiled(used, tmp_path, "used"))
    assert ("FUNC kfunc.0", "of a", False) in said(again)
    assert ("FUNC kfunc", "mine", False) in said(again)
