"""Definitions of maps, good and bad, compiled here: libbpf opens the object, or refuses it, as ebpfpy does."""

from __future__ import annotations

import pytest

from tests.differential import opened

HEADER = """
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#define ULONG(name, val) enum { name##_value = val } name
struct key { __u32 a; __u16 b; };
struct value { __u64 count; char text[9]; };
#define MAP(...) struct { __VA_ARGS__ } map SEC(".maps")
#define HASH __uint(type, BPF_MAP_TYPE_HASH); __uint(max_entries, 4);
#define ARRAY_OF_MAPS __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 4); __type(key, int);
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 2); __type(key, int); __type(value, int); };
"""

CASES = {
    "types": "MAP(HASH __type(key, struct key); __type(value, struct value););",
    "sizes": "MAP(HASH __uint(key_size, 12); __uint(value_size, 3););",
    "sizes as types say": """MAP(HASH __type(key, int); __uint(key_size, 4);
                                 __type(value, int); __uint(value_size, 4););""",
    "key_size against its type": "MAP(HASH __type(key, int); __uint(key_size, 8); __type(value, int););",
    "key_size against its type, before it": "MAP(HASH __uint(key_size, 8); __type(key, int); __type(value, int););",
    "value_size against its type": "MAP(HASH __type(key, int); __type(value, int); __uint(value_size, 8););",
    "flags, extra and node": """MAP(HASH __type(key, int); __type(value, int); __uint(map_flags, 4);
                                    __uint(map_extra, 7); __uint(numa_node, 0););""",
    "map_extra by a large number": """MAP(HASH __type(key, int); __type(value, int);
                                          ULONG(map_extra, 0x1234567890ULL););""",
    "other numbers by __ulong": "MAP(HASH __type(key, int); __type(value, int); ULONG(map_flags, 1););",
    "an unknown member": "MAP(HASH __type(key, int); __type(value, int); __uint(colour, 3););",
    "no type": "MAP(__uint(max_entries, 4); __type(key, int); __type(value, int););",
    "no entries": "MAP(__uint(type, BPF_MAP_TYPE_HASH); __type(key, int); __type(value, int););",
    "nothing": "MAP();",
    "no key": "MAP(HASH __type(value, int););",
    "a type of the future": "MAP(__uint(type, 200); __uint(max_entries, 1); __type(key, int); __type(value, int););",
    "pinned by name": "MAP(HASH __type(key, int); __type(value, int); __uint(pinning, LIBBPF_PIN_BY_NAME););",
    "not pinned": "MAP(HASH __type(key, int); __type(value, int); __uint(pinning, LIBBPF_PIN_NONE););",
    "pinned in an unknown way": "MAP(HASH __type(key, int); __type(value, int); __uint(pinning, 2););",
    "a number that is a type": "MAP(__type(type, int); __uint(max_entries, 4); __type(key, int); __type(value, int););",
    "a number that is a number": "MAP(int type; __uint(max_entries, 4); __type(key, int); __type(value, int););",
    "a key that is no pointer": "MAP(HASH int key; __type(value, int););",
    "a key without a size": "MAP(HASH __type(key, void); __type(value, int););",
    "a union": 'union { __uint(type, BPF_MAP_TYPE_HASH); } map SEC(".maps");',
    "a number": 'int map SEC(".maps");',
    "a structure by another name": 'typedef struct inner type; type map SEC(".maps");',
    "a constant": 'const struct inner map SEC(".maps") = {};',
    "two of a kind": 'struct inner map SEC(".maps"), other SEC(".maps");',
    "a static one": """static struct inner map SEC(".maps");
                       SEC("socket") int use(void *ctx) { int key = 0; return !bpf_map_lookup_elem(&map, &key); }""",
    "a hidden one": '__hidden struct inner map SEC(".maps");',
    "a weak one": '__weak struct inner map SEC(".maps");',
    "maps in it": "MAP(ARRAY_OF_MAPS __array(values, struct inner););",
    "maps in it, by instance": """struct inner one SEC(".maps");
        struct { ARRAY_OF_MAPS __array(values, struct inner); } map SEC(".maps") = { .values = { [3] = &one } };""",
    "a map in it that is not there": """struct inner one;
        struct { ARRAY_OF_MAPS __array(values, struct inner); } map SEC(".maps") = { .values = { [3] = &one } };""",
    "maps in it, by descriptors": "MAP(ARRAY_OF_MAPS __uint(value_size, 4); __array(values, struct inner););",
    "maps in it, of another size": "MAP(ARRAY_OF_MAPS __uint(value_size, 8); __array(values, struct inner););",
    "maps in it that are not said": "MAP(ARRAY_OF_MAPS __uint(value_size, 4););",
    "maps in maps in it": """struct outer { ARRAY_OF_MAPS __array(values, struct inner); };
                             MAP(ARRAY_OF_MAPS __array(values, struct outer););""",
    "a pinned map in it": """MAP(ARRAY_OF_MAPS __array(values, struct { HASH __type(key, int); __type(value, int);
                                 __uint(pinning, LIBBPF_PIN_BY_NAME); }););""",
    "values of a hash": "MAP(HASH __type(key, int); __array(values, struct inner););",
    "values that are numbers": "MAP(ARRAY_OF_MAPS __array(values, int););",
    "programs in it": """MAP(__uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2); __type(key, int);
                             __array(values, int (void *)););""",
    "programs in it that are maps": """MAP(__uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2);
                                           __type(key, int); __array(values, struct inner););""",
    "programs in it, with a type": """MAP(__uint(type, BPF_MAP_TYPE_PROG_ARRAY); __uint(max_entries, 2);
                                          __type(key, int); __type(value, int););""",
    "a ring buffer": "MAP(__uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096););",
    "a ring buffer of records": """MAP(__uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096);
                                       __type(value, struct value););""",
    "an array of perf events": """MAP(__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY); __uint(key_size, 4);
                                      __uint(value_size, 4););""",
    "storage of tasks": """MAP(__uint(type, BPF_MAP_TYPE_TASK_STORAGE); __uint(map_flags, BPF_F_NO_PREALLOC);
                               __type(key, int); __type(value, long););""",
}

EXPLAINED = {
    "a static one": "where it is, is known; libbpf keeps the meaning of such maps open",
    "a hidden one": "as a static one, which is what libbpf takes it for",
    "other numbers by __ulong": "libbpf takes it for map_extra only",
    "a ring buffer of records": "the type says what its records are; libbpf would ask the kernel for a value size",
}
"""Where the two differ on purpose, and why."""


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """What libbpf says of each case, and the path of its object."""
    texts = {name: f'{HEADER}\n{text}\nchar LICENSE[] SEC("license") = "GPL";\n' for name, text in CASES.items()}
    paths = opened.compiled(texts, tmp_path_factory.mktemp("maps"))
    found = opened.by_libbpf(list(paths.values()))
    return {name: (path, answer) for (name, path), answer in zip(paths.items(), found, strict=True)}


@pytest.mark.parametrize("name", CASES)
def test_a_definition_is_taken_or_refused_as_by_libbpf(name, answers):
    path, theirs = answers[name]
    ours = opened.by_ebpfpy(path)
    if name in EXPLAINED:
        assert ours != theirs, "no difference any more"
    else:
        assert ours == theirs
