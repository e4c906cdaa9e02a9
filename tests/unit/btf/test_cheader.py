"""Headers as text; that compilers agree is shown in tests/differential."""

import itertools
import struct
import subprocess
import sys
import time

import pytest

from ebpfpy import btf
from ebpfpy.btf import (
    Array,
    Builder,
    Const,
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
    Spec,
    Struct,
    Typedef,
    Union,
    Void,
)
from ebpfpy.errors import BtfError, EbpfError, InputError

INT = Int("int", 4, 1)


def header(*types, base=None, name="test", **options):
    builder = Builder(base)
    builder.add_all(types)
    return "".join(btf.format_header(builder.spec(name), **options))


def body(text):
    """What is between the pragmas."""
    return text.partition("#endif\n\n")[2].partition("#if defined(__clang__)")[0].strip()


def test_an_empty_spec_is_a_guard_and_nothing_else():
    text = header()
    assert text.startswith("#ifndef __TEST_H__\n#define __TEST_H__\n")
    assert text.endswith("#endif /* __TEST_H__ */\n")
    assert body(text) == ""


def test_what_is_contained_comes_before_what_contains_it():
    inner = Struct("inner", 4, (Member("x", INT),))
    alias = Typedef("inner_t", inner)
    outer = Struct("outer", 8, (Member("many", Array(alias, INT, 2)),))
    text = body(header(outer))
    places = [text.index(part) for part in ("typedef struct inner inner_t;", "struct inner {", "struct outer {")]
    assert places[2] == max(places)


def test_a_tag_is_declared_before_only_if_a_parameter_list_would_hide_it():
    callback = Pointer(FuncProto(Void(), (Param("", Pointer(Fwd("hidden"))),)))
    ops = Struct("ops", 16, (Member("call", callback), Member("plain", Pointer(Fwd("shown")), 64)))
    text = body(header(ops))
    assert text.startswith("struct hidden;\n\nstruct ops {")
    assert "struct shown;" not in text


def test_types_of_one_name_are_numbered_and_a_forward_declaration_means_the_first():
    first, second = Struct("state", 4, (Member("a", INT),)), Struct("state", 4, (Member("b", INT),))
    targets = {"a": first, "b": second, "c": Fwd("state")}
    user = Struct("user", 24, tuple(Member(n, Pointer(t), 64 * i) for i, (n, t) in enumerate(targets.items())))
    text = body(header(first, second, user))
    assert "struct state {\n\tint a;" in text
    assert "struct state___2 {\n\tint b;" in text
    assert "\tstruct state *a;\n\tstruct state___2 *b;\n\tstruct state *c;\n" in text


def test_tags_and_ordinary_names_are_apart():
    text = body(
        header(Struct("both", 4, (Member("a", INT),)), Typedef("both", INT), Enum("e", 4, (Enumerator("both", 1),)))
    )
    assert "struct both {" in text
    assert "typedef int both;" in text
    assert "\tboth___2 = 1," in text


def test_an_unnamed_enum_that_two_members_use_gives_its_names_once():
    shared = Enum("", 4, (Enumerator("ONE", 1),))
    text = body(header(Struct("s", 8, (Member("a", shared), Member("b", shared, 32)))))
    assert text.count("\tONE = 1,") == 1
    assert text.count("ONE___2 = 1,") == 1


def test_kfuncs_have_prototypes_and_other_functions_do_not():
    kfunc = Func("kfunc", FuncProto(INT, (Param("x", INT),)), 1)
    fast = Func("fast", FuncProto(INT), 1)
    tags = [DeclTag("bpf_kfunc", kfunc), DeclTag("bpf_kfunc", fast), DeclTag("bpf_fastcall", fast)]
    text = header(*tags, Func("plain", FuncProto(INT), 1))
    assert "extern int kfunc(int x) __weak __ksym;\n" in text
    assert "extern int fast(void) __bpf_fastcall __weak __ksym;\n" in text
    assert "plain" not in text


def test_numbers_that_c_does_not_know_become_typedefs():
    text = body(header(Struct("s", 8, (Member("a", Int("__Poly8_t", 1)), Member("b", Int("u32", 4), 32)))))
    assert text.startswith("typedef unsigned char __Poly8_t;\n\ntypedef unsigned int u32;\n\nstruct s {")


def test_a_split_includes_its_base_and_repeats_nothing():
    builder = Builder()
    inner = Struct("inner", 4, (Member("x", INT),))
    builder.add(inner)
    base = builder.spec("vmlinux")
    own = Struct("own", 4, (Member("in", base.type_by_name("inner", Struct)),))
    text = header(own, Struct("inner", 4, (Member("y", INT),)), base=base, name="mod", include="kernel.h")
    assert text.startswith('#ifndef __MOD_H__\n#define __MOD_H__\n\n#include "kernel.h"\n')
    assert "struct own {\n\tstruct inner in;\n};" in text
    assert "struct inner {" not in text
    assert "struct inner___2 {\n\tint y;\n};" in text


def guard_of(spec):
    return "".join(btf.format_header(spec)).partition("\n")[0].removeprefix("#ifndef ")


def test_no_two_headers_have_one_guard():
    builder = Builder()
    builder.add(INT)
    bases = [Spec(builder.marshal(), name=name) for name in ("", "vmlinux", "6.1/vmlinux")]
    assert {guard_of(base) for base in bases} == {"__VMLINUX_H__"}
    splits = []
    for base in bases:
        for name in ("", "vmlinux", "\N{LATIN SMALL LETTER E WITH ACUTE}"):
            for member in ("a", "b"):
                builder = Builder(base)
                builder.add(Struct("own", 4, (Member(member, base.type_by_name("int")),)))
                splits.append(builder.spec(name))
    guards = [guard_of(split) for split in splits]
    assert "__VMLINUX_H__" not in guards
    assert len(set(guards[:6])) >= 4
    assert len({guard_of(Builder(bases[0]).spec(name)) for name in ("tun", "dir/tun")}) == 1


def test_a_long_chain_of_pointers_is_refused_soon():
    builder, chain = Builder(), INT
    for _ in range(100_000):
        chain = Pointer(chain)
        builder.add(chain)
    builder.add(Struct("s", 8, (Member("p", chain),)))
    spec = builder.spec()
    started = time.process_time()
    with pytest.raises(BtfError, match="proportion"):
        "".join(btf.format_header(spec))
    assert time.process_time() - started < 5


def test_unnamed_unions_deep_in_one_another_take_time_like_their_number():
    builder, inner = Builder(), Union("", 4, (Member("x", INT),))
    for index in range(20_000):
        inner = Union("", 4, (Member("", inner), Member(f"y{index}", INT)))
        builder.add(inner)
    builder.add_all(
        [Struct("one", 4, (Member("", inner),)), Struct("two", 8, (Member("x", INT), Member("", inner, 32)))]
    )
    started = time.process_time()
    text = "".join(btf.format_header(builder.spec()))
    assert time.process_time() - started < 5
    assert text.count("} unnamed;") == 1, "one has no x of its own, two has"
    assert text.index("} unnamed;") > text.index("struct two {")


@pytest.mark.parametrize("options", [{"guard": "a b"}, {"include": 'x"y'}, {"include": ""}])
def test_an_unsuitable_option_is_refused(options):
    base = Builder().spec("base")
    with pytest.raises(InputError):
        header(base=base, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda of: Struct("s", 8, (Member("x", of),)),
        lambda of: Struct("s", 8, (Member("x", Pointer(Array(of, INT, 2))),)),
        lambda of: Typedef("t", of),
        lambda of: Typedef("t", Pointer(FuncProto(Void(), (Param("", of),)))),
        lambda of: Struct("s", 8, (Member("x", Struct("", 8, (Member("y", of),))),)),
    ],
)
def test_a_circle_that_c_cannot_express_is_an_error(make):
    made = make(lambda: made)
    with pytest.raises(EbpfError, match="itself"):
        header(made)


def test_deep_types_need_no_deep_stack():
    deep = Struct("d0", 4, (Member("x", INT),))
    for index in range(20_000):
        deep = Struct(f"d{index + 1}", 4, (Member("x", Typedef(f"t{index}", deep)),))
    text = header(deep)
    assert text.count("struct d") >= 20_000


def test_many_types_may_share_a_long_chain():
    count = 20_000
    inner, members = INT, []
    for index in range(count):
        inner = Const(inner)
        members.append(Member(f"m{index}", inner, 32 * index))
    text = header(Struct("s", 4 * count, tuple(members)))
    assert text.count("\tconst int m") == count


def test_malformed_words_give_a_header_or_an_error():
    """Every word of a small spec, replaced by values that mean trouble."""
    builder = Builder()
    inner = Struct("", 8, (Member("a", INT, 0, 3), Member("b", Array(INT, INT, 1), 32)))
    call = Pointer(FuncProto(INT, (Param("x", INT), Param("", Void()))))
    colour = Enum("e", 4, (Enumerator("A", 1),))
    members = (Member("in", Typedef("t", inner)), Member("call", call, 64), Member("e", colour, 128))
    builder.add(Struct("s", 24, members))
    data = builder.marshal()
    types_end = 24 + struct.unpack_from("<I", data, 12)[0]
    outcomes = {"text": 0, "error": 0}
    for offset, value in itertools.product(range(24, types_end, 4), (0, 1, 5, 7, 0x7FFFFFFF, 0xFFFFFFFF, 0x84000003)):
        changed = data[:offset] + struct.pack("<I", value) + data[offset + 4 :]
        try:
            "".join(btf.format_header(Spec(changed)))
            outcomes["text"] += 1
        except EbpfError:
            outcomes["error"] += 1
    assert outcomes["text"] > 50
    assert outcomes["error"] > 50


def test_command_prints_a_header_or_one_declaration(kernel_dir, vmlinux):
    number = vmlinux.ids_by_name(b"list_head")[0]
    path = str(kernel_dir / "vmlinux.btf.xz")
    command = [sys.executable, "-m", "ebpfpy", "btf", "dump", path, "--format", "c"]
    one = subprocess.run([*command, "--id", str(number)], capture_output=True, text=True, check=True)
    assert one.stdout.startswith("struct list_head {\n")
    split = [*command[:5], str(kernel_dir / "tun.btf.xz"), "--base", path, "--format", "c", "--include", "k.h"]
    module = subprocess.run(split, capture_output=True, text=True, check=True).stdout
    assert '#include "k.h"' in module
    assert "struct tun_file {" in module
    both = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)
    assert both.returncode == 2
