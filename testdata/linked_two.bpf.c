// SPDX-License-Identifier: MIT
/* The other half of `linked.bpf.o`; see `linked_one.bpf.c`. */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u64);
} shared SEC(".maps");

__u64 calls = 5;

__noinline int weak_number(int value)
{
	barrier_var(value);
	return value + 100;
}

static __noinline int same_name(int value)
{
	barrier_var(value);
	return value + 10;
}

__noinline int number_of_two(int value)
{
	return same_name(value) + 1000;
}

SEC("tc")
int other(struct __sk_buff *skb)
{
	return number_of_two(5);
}
