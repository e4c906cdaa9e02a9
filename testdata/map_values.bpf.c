// SPDX-License-Identifier: MIT
/* Maps that hold maps or programs, with their contents in the object; members of definitions that are rare.
 *
 * Shows: `values` as a template of inner maps, as inner maps themselves (with a hole), and as programs of a tail call;
 * numa_node.
 * Trigger: running `chain` with BPF_PROG_TEST_RUN; results in .bss.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} first SEC(".maps"), second SEC(".maps");

/* Inner maps by instance: at 0 and 2; 1 stays empty. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 4);
	__type(key, __u32);
	__array(values, struct inner);
} of_maps SEC(".maps") = {
	.values = {
		[0] = &first,
		[2] = &second,
	},
};

/* Inner maps by template: user space puts them in. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH_OF_MAPS);
	__uint(max_entries, 8);
	__uint(key_size, sizeof(__u64));
	__array(values, struct {
		__uint(type, BPF_MAP_TYPE_HASH);
		__uint(max_entries, 16);
		__type(key, __u32);
		__type(value, __u32);
	});
} by_template SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 32);
	__uint(map_flags, BPF_F_NUMA_NODE);
	__uint(numa_node, 0);
	__type(key, __u32);
	__type(value, __u32);
} placed SEC(".maps");

__u64 steps;
__u64 sums[3];

int step_one(struct __sk_buff *skb);
int step_two(struct __sk_buff *skb);

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__uint(key_size, sizeof(__u32));
	__array(values, int(struct __sk_buff *));
} steps_in_order SEC(".maps") = {
	.values = {
		[0] = &step_one,
		[2] = &step_two,
	},
};

static __always_inline void add(__u32 outer, __u64 number)
{
	void *inner = bpf_map_lookup_elem(&of_maps, &outer);
	__u32 zero = 0;
	__u64 *value;

	if (!inner)
		return;
	value = bpf_map_lookup_elem(inner, &zero);
	if (value) {
		*value += number;
		if (outer < 3)
			sums[outer] = *value;
	}
}

SEC("tc")
int step_two(struct __sk_buff *skb)
{
	steps += 100;
	add(2, 7);
	return 2;
}

SEC("tc")
int step_one(struct __sk_buff *skb)
{
	steps += 10;
	add(0, 5);
	add(1, 1000);
	bpf_tail_call(skb, &steps_in_order, 2);
	return 1;
}

SEC("tc")
int chain(struct __sk_buff *skb)
{
	__u32 key = 0, one = 1;

	steps += 1;
	bpf_map_update_elem(&placed, &key, &one, BPF_ANY);
	bpf_tail_call(skb, &steps_in_order, 1); /* empty: goes on here */
	bpf_tail_call(skb, &steps_in_order, 0);
	return -1;
}
