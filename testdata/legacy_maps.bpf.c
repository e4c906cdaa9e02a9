// SPDX-License-Identifier: MIT
/* A map in the old style, five words in a section "maps": a loader of today refuses it and says what to write
 * instead. Never loaded.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

struct bpf_map_def {
	unsigned int type;
	unsigned int key_size;
	unsigned int value_size;
	unsigned int max_entries;
	unsigned int map_flags;
};

struct bpf_map_def SEC("maps") old_map = {
	.type = BPF_MAP_TYPE_ARRAY,
	.key_size = sizeof(__u32),
	.value_size = sizeof(__u64),
	.max_entries = 1,
};

SEC("socket")
int use_old_map(void *ctx)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&old_map, &zero) != 0;
}
