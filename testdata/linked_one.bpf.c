// SPDX-License-Identifier: MIT
/* Half of `linked.bpf.o`, which `bpftool gen object` joins from this and `linked_two.bpf.c`.
 *
 * Shows: a weak function that the other half overrides, a function and a map that the other half defines, and a
 * static function of the same name in both.
 * Trigger: running `answer` with BPF_PROG_TEST_RUN.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

__weak __noinline int weak_number(int value)
{
	barrier_var(value);
	return value + 1; /* overridden: never runs */
}

extern int number_of_two(int value);

static __noinline int same_name(int value)
{
	barrier_var(value);
	return value + 1;
}

extern struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} shared SEC(".maps");

extern __u64 calls;

SEC("tc")
int answer(struct __sk_buff *skb)
{
	__u32 key = 1;
	__u64 *value = bpf_map_lookup_elem(&shared, &key);

	if (value)
		*value += 1;
	calls++;
	return weak_number(0) + number_of_two(0) + same_name(0);
}
