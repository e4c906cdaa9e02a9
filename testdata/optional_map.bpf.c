// SPDX-License-Identifier: MIT
/* Maps that a program can do without: which one it uses is a constant, set before loading.
 *
 * Shows: `autocreate` of ordinary maps; the verifier never comes to the code that uses the map which is left out.
 * Trigger: running `choose` with BPF_PROG_TEST_RUN.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

const volatile _Bool use_ring = 0;

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096);
} ring SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

SEC("tc")
int choose(struct __sk_buff *skb)
{
	__u64 number = skb->len;
	__u32 zero = 0;

	if (use_ring)
		return bpf_ringbuf_output(&ring, &number, sizeof(number), 0) ? 1 : 2;
	return bpf_map_update_elem(&counts, &zero, &number, BPF_ANY) ? 3 : 4;
}
