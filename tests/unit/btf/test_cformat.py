"""One type as a C declaration."""

import re
import time

import pytest

from ebpfpy import btf
from ebpfpy.btf import (
    Array,
    Const,
    Datasec,
    DeclTag,
    Enum,
    Enumerator,
    Float,
    Func,
    FuncProto,
    Fwd,
    Int,
    Member,
    Param,
    Pointer,
    Restrict,
    Struct,
    Typedef,
    TypeTag,
    Union,
    Var,
    VarSecinfo,
    Void,
    Volatile,
)
from ebpfpy.errors import BtfError, InputError

INT = Int("int", 4, 1)
CHAR = Int("char", 1, 1)


def proto(*params, result=INT):
    return FuncProto(result, tuple(Param(name, of) for name, of in params))


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (Void(), "void"),
        (INT, "int"),
        (Float("double", 8), "double"),
        (Pointer(Const(CHAR)), "const char *"),
        (Const(Pointer(CHAR)), "char *const"),
        (Const(Pointer(Volatile(Const(CHAR)))), "volatile const char *const"),
        (Restrict(Pointer(INT)), "int *restrict"),
        (Restrict(INT), "int"),
        (Array(INT, INT, 4), "int [4]"),
        (Array(Array(INT, INT, 3), INT, 2), "int [2][3]"),
        (Const(Array(INT, INT, 4)), "const int [4]"),
        (Pointer(Array(INT, INT, 4)), "int (*)[4]"),
        (Array(Pointer(proto()), INT, 4), "int (*[4])(void)"),
        (Pointer(proto(result=Pointer(proto()))), "int (*(*)(void))(void)"),
        (Pointer(Pointer(proto())), "int (**)(void)"),
        (Pointer(Const(proto())), "int (*)(void)"),
        (Array(Pointer(proto(result=Pointer(Array(INT, INT, 3)))), INT, 4), "int (*(*[4])(void))[3]"),
        (Pointer(proto(("", Pointer(proto(("", Pointer(CHAR))))))), "int (*)(int (*)(char *))"),
        (proto(result=Pointer(proto(("x", INT)))), "int (*(void))(int x)"),
        (Volatile(Const(Pointer(Const(Volatile(INT))))), "const volatile int *const volatile"),
        (Const(Restrict(Pointer(Restrict(Pointer(INT))))), "int *restrict *restrict const"),
        (Pointer(Const(Array(INT, INT, 2))), "const int (*)[2]"),
        (Const(Array(Volatile(INT), INT, 2)), "const volatile int [2]"),
        (Array(Array(Pointer(INT), INT, 0), INT, 3), "int *[3][0]"),
        (Pointer(Const(Typedef("p_t", Pointer(INT)))), "const p_t *"),
        (proto(("a", INT), ("", Void())), "int (int a, ...)"),
        (proto(("", Void())), "int (void)"),
        (Pointer(TypeTag("user", INT)), 'int __attribute__((btf_type_tag("user"))) *'),
        (Pointer(TypeTag("f", proto())), 'int (__attribute__((btf_type_tag("f"))) *)(void)'),
        (Pointer(TypeTag("a", Array(INT, INT, 2))), 'int (__attribute__((btf_type_tag("a"))) *)[2]'),
        (Pointer(TypeTag("b", TypeTag("a", INT))),
         'int __attribute__((btf_type_tag("a"))) __attribute__((btf_type_tag("b"))) *'),
        (Pointer(TypeTag("packed", INT, True)), "int *"),
        (Pointer(TypeTag("address_space(1)", INT, True)), "int __attribute__((address_space(1))) *"),
        (Pointer(TypeTag("a)) int x; ((", INT, True)), "int *"),
        (Fwd("later"), "struct later;"),
        (Fwd("later", True), "union later;"),
        (Typedef("u32", Int("unsigned int", 4)), "typedef unsigned int u32;"),
        (Typedef("handler_t", Pointer(proto())), "typedef int (*handler_t)(void);"),
        (Typedef("node_t", Struct("", 4, (Member("a", INT),))), "typedef struct {\n\tint a;\n} node_t;"),
        (Func("f", proto(("x", INT)), 0), "static int f(int x);"),
        (Func("f", proto(), 1), "int f(void);"),
        (Func("f", proto(), 2), "extern int f(void);"),
        (Var("v", Array(INT, INT, 2), 0), "static int v[2];"),
        (Enum("e", 4, (Enumerator("A", 0), Enumerator("B", -1)), True), "enum e {\n\tA = 0,\n\tB = -1,\n};"),
        (Enum("forward", 4), "enum forward;"),
        (Enum("e", 1, (Enumerator("A", 1),)), "enum e {\n\tA = 1,\n} __attribute__((mode(QI)));"),
        (Enum("e", 8, (Enumerator("A", 1),), False, True), "enum e {\n\tA = 1ULL,\n} __attribute__((mode(DI)));"),
        (Enum("e", 8, (Enumerator("A", -(1 << 40)),), True, True), "enum e {\n\tA = -1099511627776LL,\n};"),
        (Struct("empty", 0), "struct empty {};"),
        (Struct("flex", 4, (Member("n", INT), Member("d", Array(CHAR, INT, 0), 32))),
         "struct flex {\n\tint n;\n\tchar d[];\n};"),
        (DeclTag("user", INT), '__attribute__((btf_decl_tag("user")))'),
    ],
)  # fmt: skip
def test_a_type_is_written_as_a_c_programmer_writes_it(of, text):
    assert btf.format_c(of) == text


@pytest.mark.parametrize(
    ("of", "text"),
    [
        (Struct("if", 4, (Member("while", INT),)), "struct if_ {\n\tint while_;\n};"),
        (Struct("core::fmt", 4, (Member("a b", INT),)), "struct core__fmt {\n\tint a_b;\n};"),
        (Typedef("int", CHAR), "typedef char int_;"),
        (Func("operator new", proto(("int", INT), ("int", INT)), 1), "int operator_new(int int_, int);"),
        (Var("3d", INT, 1), "int _3d;"),
        (Fwd("a.b"), "struct a_b;"),
        (Enum("x-y", 4, (Enumerator("goto", 0),)), "enum x_y {\n\tgoto_ = 0,\n};"),
        (Typedef("", INT), "typedef int unnamed;"),
        (Enum("", 4), "enum {\n\t___empty = 0,\n};"),
        (Struct("twice", 8, (Member("a", INT), Member("a", INT, 32))), "struct twice {\n\tint a;\n\tint a___2;\n};"),
    ],
)
def test_names_that_c_does_not_allow_are_made_ones(of, text):
    assert btf.format_c(of) == text


def test_declaration_tags_are_attributes_of_what_they_are_on():
    tagged = Struct("s", 8, (Member("a", INT), Member("b", INT, 32, 3)))
    function = Func("f", proto(("x", INT)), 1)
    alias, variable = Typedef("t", INT), Var("v", INT, 1)
    builder = btf.Builder()
    builder.add_all(
        DeclTag(text, of, component)
        for text, of, component in [
            ("on s", tagged, -1),
            ("on b", tagged, 1),
            ("again", tagged, 1),
            ("on f", function, -1),
            ("on x", function, 0),
            ("on t", alias, -1),
            ("on v", variable, -1),
        ]
    )
    spec = builder.spec()

    def text(name, cls):
        return btf.format_c(spec.type_by_name(name, cls)).replace("__attribute__((btf_decl_tag", "TAG")

    assert text("s", Struct) == ('struct s {\n\tint a;\n\tint b: 3 TAG("on b"))) TAG("again")));\n} TAG("on s")));')
    assert text("f", Func) == 'int f(int x TAG("on x")))) TAG("on f")));'
    assert text("t", Typedef) == 'typedef int t TAG("on t")));'
    assert text("v", Var) == 'int v TAG("on v")));'


def test_a_section_is_its_variables():
    count = Var("count", INT, 1)
    section = Datasec(".bss", 4, (VarSecinfo(count, 0, 4),))
    assert btf.format_c(section) == "/* .bss, 4 bytes */\nint count;"
    assert btf.format_c(Datasec("*/ x", 0)) == "/* * / x, 0 bytes */"


def test_padding_is_written_only_where_the_natural_layout_differs():
    natural = Struct("a", 8, (Member("c", CHAR), Member("i", INT, 32)))
    assert btf.format_c(natural) == "struct a {\n\tchar c;\n\tint i;\n};"
    apart = Struct("b", 16, (Member("c", CHAR), Member("i", INT, 64)))
    assert btf.format_c(apart) == "struct b {\n\tchar c;\n\tint: 0;\n\tint: 32;\n\tint i;\n\tint: 32;\n};"
    packed = Struct("c", 5, (Member("c", CHAR), Member("i", INT, 8)))
    assert btf.format_c(packed) == "struct c {\n\tchar c;\n\tint i;\n} __attribute__((packed));"


def test_a_bitfield_behind_a_gap_is_preceded_by_an_unnamed_one():
    flags = Struct("f", 4, (Member("a", INT, 0, 3), Member("b", INT, 8, 5)))
    assert btf.format_c(flags) == "struct f {\n\tint a: 3;\n\tint: 5;\n\tint b: 5;\n};"


@pytest.mark.parametrize(
    ("of", "note"),
    [
        (Struct("s", 8, (Member("a", INT), Member("b", INT, 64))), "b, at bits 64 to 96 of 64"),
        (Struct("s", 8, (Member("a", INT), Member("b", INT, 40))), "b, at bits 40 to 72 of 64"),
        (Struct("s", 8, (Member("b", Struct("", 4, (Member("x", INT),)), 12),)), "b, at bits 12 to 44 of 64"),
        (Struct("s", 8, (Member("a", INT, 60, 5),)), "a, at bits 60 to 65 of 64"),
        (Struct("s", 8, (Member("a", INT, 0, 40),)), "a, a bitfield of 40 bits, which its type has not"),
        (Struct("s", 8, (Member("", Struct("", 4), 64),)), "a member without a name, at bits 64 to 96 of 64"),
        (Union("u", 4, (Member("a", INT), Member("b", Array(INT, INT, 4)))), "b, at bits 0 to 128 of 32"),
    ],
)
def test_a_member_that_c_cannot_have_there_is_noted(of, note):
    notes = [line.strip() for line in btf.format_c(of).splitlines() if "/*" in line]
    assert notes == [f"/* not here: {note} */"]
    builder = btf.Builder()
    builder.add(of)
    assert notes[0] in "".join(btf.format_header(builder.spec()))


def test_unnamed_members_are_spelled_out_where_they_are():
    inner = Union("", 4, (Member("a", INT), Member("b", CHAR)))
    outer = Struct(
        "outer", 12, (Member("", inner), Member("in", Array(Struct("", 4, (Member("x", INT),)), INT, 2), 32))
    )
    assert btf.format_c(outer).splitlines() == [
        "struct outer {",
        "\tunion {",
        "\t\tint a;",
        "\t\tchar b;",
        "\t};",
        "\tstruct {",
        "\t\tint x;",
        "\t} in[2];",
        "};",
    ]


def test_a_cyclic_type_is_written_once():
    node = Struct("node", 8, (Member("next", Pointer(lambda: node)),))
    assert btf.format_c(node) == "struct node {\n\tstruct node *next;\n};"


def test_depth_does_not_matter():
    deep = INT
    for _ in range(20_000):
        deep = Pointer(deep)
    assert btf.format_c(deep) == "int " + "*" * 20_000
    nested = Struct("", 4, (Member("x", INT),))
    for _ in range(5_000):
        nested = Struct("", 4, (Member("", nested),))
    assert btf.format_c(nested).count("struct {") == 5_001
    function = proto()
    for _ in range(1_000):
        function = proto(("", Pointer(function)))
    assert btf.format_c(function).count("(*)") == 1_000


def test_a_type_whose_text_is_exponentially_long_is_refused():
    doubled = Struct("", 4, (Member("x", INT),))
    for _ in range(40):
        doubled = Struct("", doubled.size * 2, (Member("a", doubled), Member("b", doubled, doubled.size * 8)))
        if doubled.size > 1 << 25:
            break
    with pytest.raises(BtfError, match="proportion"):
        btf.format_c(doubled)


@pytest.mark.parametrize("make", [Pointer, lambda of: of], ids=["behind pointers", "inside"])
def test_a_type_that_doubles_at_every_level_is_refused_at_once(make, vmlinux):
    doubled = Union("", 8, (Member("x", INT),))
    for _ in range(30):
        doubled = Union("", 8, (Member("a", make(doubled)), Member("b", make(doubled))))
    builder = btf.Builder(vmlinux)  # a large base is no reason for a long text
    builder.add(Typedef("doubled", doubled))
    spec = builder.spec()
    started = time.process_time()
    with pytest.raises(BtfError, match="proportion"):
        btf.format_c(spec.type_by_name("doubled", Typedef))
    with pytest.raises(BtfError, match="proportion"):
        "".join(btf.format_header(spec))
    assert time.process_time() - started < 4


@pytest.mark.parametrize(
    "make",
    [
        lambda: _circle(lambda of: Struct("s", 8, (Member("x", of),))),
        lambda: _circle(lambda of: Struct("s", 8, (Member("x", Array(of, INT, 2)),))),
        lambda: _circle(Pointer),
        lambda: _circle(Const),
        lambda: _circle(lambda of: proto(("", Pointer(of)))),
    ],
)
def test_a_type_that_contains_itself_is_an_error(make):
    with pytest.raises(BtfError, match="itself"):
        btf.format_c(make())


def _circle(make):
    made = make(lambda: made)
    return made


def test_what_is_no_type_is_an_error():
    with pytest.raises(InputError, match="no type"):
        btf.format_c("int")


def test_types_of_a_kernel_look_like_its_source(vmlinux):
    assert btf.format_c(vmlinux.type_by_name("list_head", Struct)) == (
        "struct list_head {\n\tstruct list_head *next;\n\tstruct list_head *prev;\n};"
    )
    assert btf.format_c(vmlinux.type_by_name("vfs_read", Func)) == (
        "static ssize_t vfs_read(struct file *file, char *buf, size_t count, loff_t *pos);"
    )
    assert "\t__u8 pkt_type: 3;\n" in btf.format_c(vmlinux.type_by_name("sk_buff", Struct))


def test_a_type_by_hand_may_refer_to_a_kernels(vmlinux):
    task = vmlinux.type_by_name("task_struct", Struct)
    mine = Struct("mine", 8, (Member("task", Pointer(task)),))
    assert btf.format_c(mine) == "struct mine {\n\tstruct task_struct *task;\n};"


@pytest.mark.parametrize("name", ["a\x01b", "a\x011\x02b", "int;", "my-int", "1x"])
def test_numbers_with_names_that_c_has_not_are_given_names_that_it_has(name):
    text = btf.format_c(btf.Struct("s", 4, (btf.Member("m", btf.Int(name, 4)),)))

    assert re.fullmatch(r"struct s \{\n\t\w+ m;\n\};", text.strip())


def test_enumerators_have_names_and_each_its_own():
    values = tuple(Enumerator(name, value) for value, name in enumerate(("", "A", "A", "A___2", "")))
    text = btf.format_c(Enum("e", 4, values))
    names = re.findall(r"(\w+) = ", text)
    assert names[0] == "unnamed"
    assert names[1] == "A"
    assert "A___2" in names
    assert len(set(names)) == 5
