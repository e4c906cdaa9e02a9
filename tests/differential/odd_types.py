"""Types that kernels have rarely or not yet, each with the layout that a compiler gave it, or could have."""

from __future__ import annotations

from ebpfpy.btf import (
    Array,
    Builder,
    Const,
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
    Spec,
    Struct,
    Type,
    Typedef,
    TypeTag,
    Union,
    Void,
    Volatile,
)

INT = Int("int", 4, 1)
CHAR = Int("char", 1, 1)
U8 = Int("unsigned char", 1)
SHORT = Int("short int", 2, 1)
LONG = Int("long int", 8, 1)
BOOL = Int("_Bool", 1, 4)
U32 = Typedef("u32", Int("unsigned int", 4))
I128 = Int("__int128", 16, 1)


def struct(name: str, size: int, *members: tuple) -> Struct:
    """Members: (name, type, byte offset) or (name, type, bit offset, width)."""
    made = []
    for member in members:
        label, of, at, *width = member
        made.append(Member(label, of, at, width[0]) if width else Member(label, of, 8 * at))
    return Struct(name, size, tuple(made))


def function(result: Type, *params: tuple[str, Type]) -> FuncProto:
    return FuncProto(result, tuple(Param(name, of) for name, of in params))


def each_odd_type() -> list[Type]:
    """All of them; some share a name."""
    natural = struct("natural", 16, ("c", CHAR, 0), ("i", INT, 4), ("p", Pointer(Void()), 8))
    flexible = struct("flexible", 4, ("n", INT, 0), ("data", Array(INT, INT, 0), 4))
    callback = Pointer(function(INT, ("", Pointer(Fwd("only_in_parameters"))), ("", Void())))
    cyclic = Struct("cyclic", 8, (Member("next", Pointer(lambda: cyclic)),))
    knot = Typedef("knot_t", lambda: knotted)
    knotted = Struct("knotted", 8, (Member("self", Pointer(knot)),))
    va_list = Typedef(
        "__gnuc_va_list", Typedef("__builtin_va_list", Array(struct("__va_list_tag", 24, ("p", LONG, 0)), INT, 1))
    )
    small_enum = Enum("small", 1, (Enumerator("SMALL_A", 0), Enumerator("SMALL_Z", 255)))
    types: list[Type] = [
        natural,
        flexible,
        cyclic,
        knotted,
        struct("packed_all", 9, ("c", CHAR, 0), ("p", Pointer(Void()), 1)),
        struct("packed_end", 9, ("p", Pointer(Void()), 0), ("c", CHAR, 8)),
        struct("holds_packed", 24, ("c", CHAR, 0), ("in", struct("packed_in", 9, ("x", LONG, 1)), 1), ("l", LONG, 16)),
        struct("aligned_member", 128, ("a", INT, 0), ("b", natural, 64)),
        struct("aligned_bytes", 64, ("a", CHAR, 0), ("b", CHAR, 32)),
        struct("aligned_pages", 8192, ("a", CHAR, 0), ("b", LONG, 4096)),
        struct("wide", 48, ("c", CHAR, 0), ("i", I128, 16), ("d", CHAR, 32)),
        struct("wide_packed", 24, ("l", LONG, 0), ("i", I128, 8)),
        struct("bits", 8, ("a", INT, 0, 3), ("b", INT, 3, 5), ("c", CHAR, 1), ("d", INT, 32, 31), ("e", BOOL, 63, 1)),
        struct("bits_apart", 16, ("a", INT, 0, 3), ("b", INT, 32, 5), ("c", LONG, 64, 40)),
        struct("bits_gap", 4, ("a", INT, 2, 3), ("b", U32, 17, 7)),
        struct("bits_packed", 6, ("a", INT, 0, 30), ("b", INT, 30, 17)),
        struct("bits_enum", 4, ("e", small_enum, 0, 8), ("f", Enum("tiny", 4, (Enumerator("TINY", 1),)), 8, 1)),
        struct("bits_legacy", 4, ("a", Int("int", 4, 1, 5, 0), 0), ("b", Int("int", 4, 1, 7, 5), 0)),
        struct("zero_in_the_middle", 8, ("a", INT, 0), ("z", Array(LONG, INT, 0), 8), ("b", INT, 4)),
        struct("zero_first", 4, ("z", Array(INT, INT, 0), 0), ("a", INT, 0)),
        struct("zero_alone", 0, ("z", Array(INT, INT, 0), 0)),
        struct("holds_flexible", 12, ("f", flexible, 0), ("a", INT, 4), ("b", INT, 8)),
        struct("flexible_structs", 4, ("n", INT, 0), ("many", Array(struct("empty", 0), INT, 0), 4)),
        struct("opaque", 24),
        struct("opaque_large", 100_000),
        Union("widened", 32, (Member("a", INT), Member("b", CHAR))),
        Union("packed_union", 9, (Member("a", LONG), Member("b", Array(CHAR, INT, 9)))),
        Union("union_of_flexible", 4, (Member("a", INT), Member("b", Array(INT, INT, 0)))),
        struct(
            "unnamed_parts",
            24,
            ("", Union("", 8, (Member("a", INT), Member("b", LONG))), 0),
            ("", struct("", 4, ("c", SHORT, 0), ("d", SHORT, 2)), 8),
            ("e", Array(struct("", 4, ("f", INT, 0)), INT, 2), 12),
            ("g", Enum("", 4, (Enumerator("G_ONE", 1),)), 20),
        ),
        struct("extends", 24, ("", natural, 0), ("more", INT, 16)),
        struct("overlapping", 8, ("a", LONG, 0), ("b", INT, 2), ("c", INT, 33, 3)),
        struct("twice", 8, ("same", INT, 0), ("same", INT, 4)),
        struct("words", 8, ("if", INT, 0), ("core::option", CHAR, 4), ("7up", CHAR, 5)),
        struct("alloc::vec::Vec<u8>", 8, ("len", LONG, 0)),
        struct("int", 4, ("x", INT, 0)),
        struct(
            "pointers",
            56,
            ("handlers", Array(callback, INT, 4), 0),
            ("returns", Pointer(function(Pointer(function(INT)))), 32),
            ("rows", Pointer(Array(Array(INT, INT, 3), INT, 2)), 40),
            ("deep", Pointer(Const(Pointer(Volatile(Pointer(Const(CHAR)))))), 48),
        ),
        struct("qualified", 24, ("a", Const(Array(Const(Pointer(INT)), INT, 2)), 0), ("r", Restrict(Pointer(INT)), 16)),
        struct("tagged", 8, ("p", Pointer(TypeTag("user", INT)), 0)),
        struct("attributed", 8, ("p", Pointer(TypeTag("address_space(1)", INT, True)), 0)),
        struct("hostile_tag", 8, ("p", Pointer(TypeTag('x")) int; "\\', INT)), 0)),
        struct("hostile_attribute", 8, ("p", Pointer(TypeTag("a)) int x; ((", INT, True)), 0)),
        struct("arguments", 32, ("fmt", Pointer(Const(CHAR)), 0), ("args", Typedef("va_list", va_list), 8)),
        struct("state", 4, ("a", INT, 0)),
        struct("state", 8, ("a", LONG, 0)),
        struct("uses_state", 8, ("p", Pointer(Fwd("state")), 0)),
        struct("uses_forward", 8, ("p", Pointer(Fwd("natural", True)), 0)),
        struct(
            "floats", 24, ("f", Float("float", 4), 0), ("d", Float("double", 8), 8), ("h", Float("_Float16", 2), 16)
        ),
        struct("vectors", 48, ("q", Float("long double", 16), 0), ("b", Float("__bf16", 2), 16), ("i", I128, 32)),
        struct("polys", 32, ("a", Int("__Poly8_t", 1), 0), ("b", Int("__Poly128_t", 16), 16)),
        struct("rusty", 8, ("a", Int("u32", 4), 0), ("b", Int("DW_ATE_unsigned_24", 3), 4)),
        struct("booleans", 2, ("a", Typedef("bool", BOOL), 0), ("b", Int("bool", 1, 4), 1)),
        small_enum,
        Enum("two_bytes", 2, (Enumerator("TWO_NEGATIVE", -1),), True),
        Enum("eight_small", 8, (Enumerator("EIGHT_ONE", 1),), False, True),
        Enum("eight_large", 8, (Enumerator("EIGHT_MAX", (1 << 64) - 1),), False, True),
        Enum("eight_signed", 8, (Enumerator("EIGHT_MIN", -(1 << 63)), Enumerator("EIGHT_TOP", 5)), True, True),
        Enum("forward_enum", 4, ()),
        struct("uses_forward_enum", 4, ("e", Enum("forward_enum", 4), 0)),
        Enum("", 4, (Enumerator("false", 0), Enumerator("true", 1))),
        Enum("clash", 4, (Enumerator("SMALL_A", 7), Enumerator("u32", 1))),
        Typedef("state_t", struct("", 4, ("a", INT, 0))),
        Typedef("state_t", Pointer(Void())),
        Typedef("handler_t", function(Void(), ("u32", U32), ("u32", U32))),
        struct("holds_holder", 24, ("h", Typedef("holder_t", struct("", 24, ("n", natural, 0), ("i", INT, 16))), 0)),
        struct(
            "array_pointer", 8, ("p", Pointer(Array(Typedef("late_t", struct("late", 4, ("x", INT, 0))), INT, 4)), 0)
        ),
        DeclTag("bpf_kfunc", Func("kfunc_demo", function(Pointer(natural), ("u32", U32), ("p", Pointer(natural))), 1)),
        DeclTag("bpf_kfunc", Func("kfunc_variadic", function(Void(), ("fmt", Pointer(Const(CHAR))), ("", Void())), 1)),
        Func("no_kfunc", function(INT), 1),
    ]
    return types


def odd_spec(base: Spec | None = None, *, name: str = "odd") -> Spec:
    """All odd types as one BTF."""
    builder = Builder(base)
    builder.add_all(each_odd_type())
    return builder.spec(name)
