// SPDX-License-Identifier: MIT
/* What runs on the processors: stacks, sampled by a clock.
 *
 * Shows: a program on perf events, one on each processor; stacks of kernel and user space; counts by key. Trigger: a
 * process that computes, and events that the user opens.
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

#define MAX_DEPTH 127

struct key {
	__u32 pid;
	__s32 kernel_stack; /* ids in `stacks`; negative: none */
	__s32 user_stack;
	char comm[TASK_COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1024);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, MAX_DEPTH * sizeof(__u64));
} stacks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct key);
	__type(value, __u64);
} samples SEC(".maps");

const volatile __u32 only_pid = 0; /* 0: all */
const volatile _Bool with_idle = 0;

SEC("perf_event")
int sample(struct bpf_perf_event_data *ctx)
{
	__u64 id = bpf_get_current_pid_tgid(), one = 1, *count;
	struct key key = {};

	if (!with_idle && !(__u32)id)
		return 0;
	if (only_pid && only_pid != id >> 32)
		return 0;
	key.pid = id >> 32;
	bpf_get_current_comm(key.comm, sizeof(key.comm));
	key.kernel_stack = bpf_get_stackid(ctx, &stacks, 0);
	key.user_stack = bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK);
	count = bpf_map_lookup_elem(&samples, &key);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&samples, &key, &one, BPF_NOEXIST);
	return 0;
}
