"""The contexts of tracing programs: names, slots, refusals, and C that compiles."""

import random
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

from ebpfpy import btf
from ebpfpy.btf.builder import Builder
from ebpfpy.errors import AmbiguousTypeError, InputError, TypeNotFoundError, UnsupportedError

TYPES = Path(__file__).parents[3] / "testdata" / "btf" / "6.12.117+deb12-amd64"
INT = btf.Int("int", 4, 1)
BYTE = btf.Int("unsigned char", 1)
LONG = btf.Int("unsigned long", 8)
WIDE = btf.Int("__int128", 16, 1)
VOID = btf.Void()
TASK = btf.Pointer(btf.Struct("task_struct", 64, []))
PAIR = btf.Struct("pair", 16, [btf.Member("a", LONG, 0), btf.Member("b", LONG, 64)])
SMALL = btf.Typedef("kuid_t", btf.Struct("", 4, [btf.Member("val", INT, 0)]))
LARGE = btf.Struct("large", 24, [])


def proto(*params, result=VOID):
    return btf.FuncProto(result, [btf.Param(name, kind) for name, kind in params])


def types_of(*functions, order="little", base=None, name="vmlinux", more=()):
    """BTF with functions (name, prototype), and other types."""
    builder = Builder(base)
    for each in [btf.Func(title, kind, 0) for title, kind in functions] + list(more):
        builder.add(each)
    return btf.Spec(builder.marshal(order), base, name=name)


def slots(context):
    return [(each.name, each.slot, each.slots) for each in context.slots]


def test_each_argument_has_the_slots_that_its_bytes_need():
    kernel = types_of(("f", proto(("a", INT), ("p", PAIR), ("id", SMALL), ("w", WIDE), ("t", TASK), result=INT)))
    places = [("a", 0, 1), ("p", 1, 2), ("id", 3, 1), ("w", 4, 2), ("t", 6, 1)]
    assert slots(btf.context_of(kernel, "fentry/f")) == places
    context = btf.context_of(kernel, "fexit/f")
    assert slots(context)[-1] == ("ret", 7, 1)
    assert context.size == 64
    assert (context.name, context.module) == ("fexit_f", None)
    assert context.as_dict()["arguments"][2] == {"name": "id", "type": "kuid_t", "offset": 24, "size": 4, "note": None}


@pytest.mark.parametrize("kind", ["fexit", "fexit.s", "fmod_ret", "fsession", "fsession.s"])
def test_the_result_comes_last_unless_there_is_none(kind):
    kernel = types_of(("f", proto(("ret", INT), result=TASK)), ("g", proto()))
    assert slots(btf.context_of(kernel, f"{kind}/f")) == [("ret", 0, 1), ("retval", 1, 1)]
    assert slots(btf.context_of(kernel, f"{kind}/g")) == []


def test_names_that_c_does_not_allow_are_numbered():
    kernel = types_of(("f", proto(("", INT), ("int", INT), ("x", INT), ("x", INT), ("a b", INT), ("bool", INT))))
    assert [each.name for each in btf.context_of(kernel, "fentry/f").arguments] == [
        "arg0", "arg1", "x", "arg3", "a_b", "arg5",
    ]  # fmt: skip


def test_what_a_suffix_tells_the_verifier_is_kept_as_a_comment():
    kernel = types_of(("f", proto(("sk__nullable", TASK))))
    assert "\tstruct task_struct *sk__nullable; /* may be NULL: compare it before it is used */\n" in (
        btf.context_of(kernel, "fentry/f").c()
    )


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (proto(("big", LARGE)), "its argument big is 24 bytes by value, 16 at most can be followed"),
        (proto(("a", INT), ("", VOID)), "it takes a variable number of arguments"),
        (proto(*[(f"a{n}", INT) for n in range(13)]), "it takes 13 arguments, 12 at most can be followed"),
        (proto(result=PAIR), "it returns a struct by value"),
        (proto(("x", btf.Float("double", 8))), "its argument x is neither a number, a pointer nor a struct"),
        (proto(result=btf.Float("double", 8)), "what it returns is neither a number nor a pointer"),
    ],
)
def test_what_the_verifier_cannot_follow_is_refused_with_the_reason(kind, why):
    with pytest.raises(UnsupportedError, match="fentry/f: programs cannot attach to f: ") as caught:
        btf.context_of(types_of(("f", kind)), "fentry/f")
    assert str(caught.value).endswith(why)


def tracepoint(name, *params):
    function = proto(("", btf.Pointer(VOID)), *[("", each) for each in params])
    return btf.Typedef(f"btf_trace_{name}", btf.Pointer(function))


@pytest.mark.parametrize("maker", ["__traceiter_", "__probestub_", "__bpf_trace_"])
def test_a_tracepoint_gets_its_names_from_the_functions_that_are_made_for_it(maker):
    named = proto(("__data", btf.Pointer(VOID)), ("prev", TASK), ("state", INT))
    kernel = types_of((f"{maker}switch", named), more=[tracepoint("switch", TASK, INT)])
    context = btf.context_of(kernel, "tp_btf/switch")
    assert slots(context) == [("prev", 0, 1), ("state", 1, 1)]
    assert context.prototype == "tracepoint switch(struct task_struct *prev, int state)"
    assert slots(btf.context_of(kernel, "raw_tp.w/switch")) == slots(context)


def test_names_of_a_function_with_other_types_are_not_taken():
    other = proto(("__data", btf.Pointer(VOID)), ("prev", INT), ("state", INT))
    kernel = types_of(("__traceiter_switch", other), more=[tracepoint("switch", TASK, INT)])
    assert [each.name for each in btf.context_of(kernel, "tp_btf/switch").arguments] == ["arg0", "arg1"]


def test_a_modules_function_is_found_in_the_module_and_two_of_a_name_are_ambiguous():
    kernel = types_of(("f", proto(("a", INT))), ("only", proto()))
    module = types_of(("f", proto(("b", LONG))), base=kernel, name="mod-ule")
    both = [kernel, module]
    assert btf.context_of(both, "fentry/mod_ule:f").arguments[0].name == "b"
    assert btf.context_of(both, "fentry/mod-ule:f").module == "mod_ule"
    assert btf.context_of(both, "fentry/vmlinux:f").arguments[0].name == "a"
    assert btf.context_of(both, "fentry/only").module is None
    with pytest.raises(AmbiguousTypeError, match=r"vmlinux \(id \d+\), mod_ule \(id \d+\)"):
        btf.context_of(both, "fentry/f")
    with pytest.raises(TypeNotFoundError, match="no types of other are among those given"):
        btf.context_of(both, "fentry/other:f")


def test_a_malformed_module_is_passed_over():
    kernel = types_of(("f", proto(("a", INT))))
    good = bytes(types_of(("g", proto()), base=kernel).raw)
    broken = btf.Spec(good.replace(b"\x00\x00\x00\x0d", b"\x00\x00\x00\x1f"), kernel, name="broken")
    assert btf.context_of([kernel, broken], "fentry/f").arguments[0].name == "a"


@pytest.mark.parametrize("section", ["fentry", "fentry/", "", "kprobe/f", "xdp", "uprobe/x", "/f"])
def test_sections_without_named_arguments_are_an_input_error(section):
    with pytest.raises(InputError):
        btf.context_of(types_of(("f", proto())), section)


def test_on_big_endian_machines_small_numbers_are_read_by_accessors():
    kernel = types_of(("f", proto(("small", INT), ("t", TASK))), order="big")
    text = btf.context_of(kernel, "fentry/f").c()
    assert "\tunsigned long long small; /* int: fentry_f__small(ctx) */\n" in text
    assert "return (int)*(const volatile unsigned long long *)((const char *)ctx + 0);" in text


# --- real kernels -------------------------------------------------------------------------------------


@cache
def real():
    kernel = btf.load_spec(TYPES / "vmlinux.btf.xz")
    kernel.name = "vmlinux"
    return kernel, btf.load_spec(TYPES / "tun.btf.xz", base=kernel)


def sections_of(kernel, count):
    """Sections for a sample of functions, and for all tracepoints, hooks and iterators."""
    functions = sorted({each.name for each in kernel if isinstance(each, btf.Func)})
    found = [f"fexit/{name}" for name in random.Random(5).sample(functions, count)]
    found += [f"lsm/{name.removeprefix('bpf_lsm_')}" for name in functions if name.startswith("bpf_lsm_")]
    for each in kernel:
        if isinstance(each, btf.Typedef) and each.name.startswith("btf_trace_"):
            found.append(f"tp_btf/{each.name.removeprefix('btf_trace_')}")
        elif isinstance(each, btf.Struct) and each.name.startswith("bpf_iter__"):
            found.append(f"iter/{each.name.removeprefix('bpf_iter__')}")
    return found


def test_nearly_all_tracepoints_of_a_real_kernel_have_names():
    kernel, _ = real()
    named = unnamed = 0
    for section in sections_of(kernel, 0):
        if section.startswith("tp_btf/"):
            context = btf.context_of(kernel, section)
            unnamed += any(each.name.startswith("arg") for each in context.arguments)
            named += 1
    assert named > 500
    assert unnamed < named // 100


@pytest.mark.parametrize("compiler", ["clang-14", "clang-19"])
def test_contexts_of_a_real_kernel_compile_and_every_argument_is_in_its_slot(compiler, tmp_path):
    if shutil.which(compiler) is None:
        pytest.skip(f"{compiler} is not installed")
    kernel, tun = real()
    sections = sections_of(kernel, 500) + [f"fexit/tun:{each.name}" for each in tun if isinstance(each, btf.Func)]
    (tmp_path / "vmlinux.h").write_text("".join(btf.format_header(kernel)))
    (tmp_path / "tun.h").write_text("".join(btf.format_header(tun)))
    text, written, refused = ['#include "vmlinux.h"', '#include "tun.h"'], 0, 0
    for section in sections:
        try:
            context = btf.context_of([kernel, tun], section)
        except (UnsupportedError, AmbiguousTypeError):
            refused += 1
            continue
        written += 1
        text.append(context.c())
        text.append(f'_Static_assert(sizeof(struct {context.name}) == {context.size}, "");')
        for each in context.slots:
            place = f"__builtin_offsetof(struct {context.name}, {each.name})"
            text.append(f'_Static_assert({place} == {8 * each.slot}, "");')
    (tmp_path / "all.c").write_text("\n".join(text))
    flags = ["-target", "bpf", "-O2", "-Wall", "-Werror", "-Wno-unused-function", "-c", "all.c", "-o", "all.o"]
    done = subprocess.run([compiler, *flags], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[:2000]
    assert written > 1400
    assert refused < 100


@pytest.mark.parametrize("section", ["fentry/\udc80", "tp_btf/\udc80", "iter/\udc80", "struct_ops/\udc80:x"])
def test_a_name_that_is_no_text_is_not_found(section):
    with pytest.raises(TypeNotFoundError):
        btf.context_of(types_of(("f", proto())), section)


@pytest.mark.parametrize(("kernel", "section"), [([1], "fentry/f"), (None, "fentry/f"), ([], 7)])
def test_what_is_no_types_or_no_section_is_an_input_error(kernel, section):
    with pytest.raises(InputError):
        btf.context_of(kernel, section)
