// SPDX-License-Identifier: MIT
/* Numbers of a map definition, each by __ulong: libbpf takes that for map_extra only.
 *
 * Trigger: running `touch` with BPF_PROG_TEST_RUN.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

#ifndef __ulong /* in newer bpf_helpers.h */
#define __ulong(name, val) enum { __ulong_concat(name, __LINE__) = val } name
#define __ulong_concat(a, b) __ulong_concat_(a, b)
#define __ulong_concat_(a, b) a##b
#endif

struct {
	__ulong(type, BPF_MAP_TYPE_HASH);
	__ulong(max_entries, 32);
	__ulong(map_flags, BPF_F_NO_PREALLOC | BPF_F_NUMA_NODE);
	__ulong(key_size, 4);
	__ulong(value_size, 8);
	__ulong(numa_node, 0);
} numbered SEC(".maps");

SEC("socket")
int touch(struct __sk_buff *skb)
{
	__u32 key = skb->len;
	__u64 value = 1;

	return bpf_map_update_elem(&numbered, &key, &value, BPF_ANY);
}
