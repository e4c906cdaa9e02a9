"""Constructs of C that people's objects have, compiled here: libbpf opens the object, or not, as ebpfpy does."""

from __future__ import annotations

import pytest

from ebpfpy.elf import load_collection_spec
from ebpfpy.sys.enums import MapFlags
from tests.differential import opened

HEADER = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define PROG(section, name) SEC(section) int name(void *ctx)
"""
LICENSE = 'char LICENSE[] SEC("license") = "GPL";'

CASES = {
    "a program": 'PROG("xdp", one) { return 0; }',
    "two in a section": 'PROG("xdp", one) { return 0; } PROG("xdp", two) { return 1; }',
    "a global function beside": '__noinline int helper(int x) { return x; } PROG("xdp", one) { return helper(1); }',
    "a function that nobody calls": 'int helper(int x) { return x; } PROG("xdp", one) { return 0; }',
    "only functions": "int helper(int x) { return x; }",
    "a weak function": '__weak __noinline int helper(int x) { return x; } PROG("xdp", one) { return helper(1); }',
    "a weak program": 'SEC("xdp") __weak int one(void *ctx) { return 0; }',
    "a program that calls itself": 'SEC("xdp") int one(void *ctx) { return ctx ? one(0) : 0; }',
    "a program that calls a program": 'PROG("xdp", two) { return 1; } PROG("tc", one) { return two(ctx); }',
    "no section that is known": 'PROG("whatever/x", one) { return 0; }',
    "an optional one": 'PROG("?kprobe/x", one) { return 0; }',
    "nothing at all": "",
    "strings": 'PROG("xdp", one) { bpf_printk("text %d", 1); return 0; }',
    "sections of variables": """
        int data SEC(".data.mine") = 1; const volatile int constant SEC(".rodata.mine") = 2;
        int zeros SEC(".bss.mine"); int other SEC(".data.mine.too") = 4;
        PROG("xdp", one) { return data + constant + zeros + other; }""",
    "a section of variables by another name": 'int data SEC("mine") = 1; PROG("xdp", one) { return data; }',
    "variables that are aligned": """
        char first = 1; struct { long a[8]; } __attribute__((aligned(64))) second = {{1}}; char third = 3;
        PROG("xdp", one) { return first + second.a[0] + third; }""",
    "a variable with a flexible array": """
        struct { int n; int a[]; } flexible = { 2, { 1, 2 } }; PROG("xdp", one) { return flexible.a[1]; }""",
    "a variable that points to another": 'int x = 1; int *volatile p = &x; PROG("xdp", one) { return *p; }',
    "a table of functions": """
        static int f(void) { return 1; } static int (*volatile table[])(void) = { f };
        PROG("xdp", one) { return table[0] != 0; }""",
    "variables that are declared only": 'extern int nowhere; PROG("xdp", one) { return nowhere; }',
    "a weak declaration": 'extern int nowhere __weak; PROG("xdp", one) { return &nowhere ? 1 : 0; }',
    "a function that is declared only": 'int nowhere(void); PROG("xdp", one) { return nowhere(); }',
    "a kernel variable": 'extern const int x __ksym; PROG("xdp", one) { return x; }',
    "a kernel function": 'extern int f(int) __ksym; PROG("xdp", one) { return f(1); }',
    "a weak kernel function": 'extern int f(int) __ksym __weak; PROG("xdp", one) { return f ? f(1) : 0; }',
    "an option of the kernel": 'extern int CONFIG_HZ __kconfig; PROG("xdp", one) { return CONFIG_HZ; }',
    "an option of a strange type": """
        struct s { int a; }; extern struct s CONFIG_X __kconfig; PROG("xdp", one) { return CONFIG_X.a; }""",
    "an option of 3 bytes": 'extern char CONFIG_X[3] __kconfig; PROG("xdp", one) { return CONFIG_X[1]; }',
    "a version": 'int number SEC("version") = 5; PROG("xdp", one) { return 0; }',
    "a callback": """
        static int each(int i, void *ctx) { return 0; }
        PROG("tc", one) { return bpf_loop(3, each, 0, 0); }""",
    "a loop": 'PROG("xdp", one) { int n = 0; for (volatile int i = 0; i < 9; i++) n += i; return n; }',
    "two variables by one name": """
        int f(void) { static volatile int x = 1; return x++; } int g(void) { static volatile int x = 2; return x++; }
        PROG("xdp", one) { return f() + g(); }""",
    "a name that is long": 'PROG("xdp", a_name_that_is_longer_than_what_the_kernel_keeps) { return 0; }',
}
WITHOUT_LICENSE = {
    "no license": 'PROG("xdp", one) { return 0; }',
    "an empty license": 'char L[] SEC("license") = ""; PROG("xdp", one) { return 0; }',
}
INSPECTED = {
    "a section of variables by another name": "it cannot be loaded",
    "variables that are declared only": "it cannot be loaded",
    "a weak declaration": "it cannot be loaded",
    "a function that is declared only": "it cannot be loaded",
    "an option of a strange type": "",
}
"""What libbpf refuses to open, and ebpfpy opens to be looked at, with a note; it refuses to load the program."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What libbpf says of each case, and the path of its object."""
    texts = {name: f"{HEADER}\n{text}\n{LICENSE}\n" for name, text in CASES.items()}
    texts |= {name: f"{HEADER}\n{text}\n" for name, text in WITHOUT_LICENSE.items()}
    paths = opened.compiled(texts, tmp_path_factory.mktemp("constructs"))
    found = opened.by_libbpf(list(paths.values()))
    return {name: (path, answer) for (name, path), answer in zip(paths.items(), found, strict=True)}


@pytest.mark.parametrize("name", [*CASES, *WITHOUT_LICENSE])
def test_an_object_is_opened_as_by_libbpf(name, answers):
    path, theirs = answers[name]
    ours = opened.by_ebpfpy(path)
    if ours is not None and theirs is not None:
        theirs["map"].pop(".kconfig", None)
        for facts in (*ours["map"].values(), *theirs["map"].values()):
            facts[4] &= ~MapFlags.MMAPABLE
    if name in INSPECTED:
        assert theirs is None
        assert INSPECTED[name] in " ".join(load_collection_spec(path).notes)
    else:
        assert ours == theirs
