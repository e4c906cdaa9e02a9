// SPDX-License-Identifier: MIT
/* How often each system call is made, how long it takes, and how often it fails.
 *
 * Shows: tracepoints of all system calls, per-CPU hash maps with counts and sums, constants as filters. Trigger: system
 * calls.
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

struct call {
	__u64 start;
	long number;
};

struct total {
	__u64 count;
	__u64 failed;
	__u64 nanoseconds;
	__u64 longest; /* nanoseconds */
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32); /* thread */
	__type(value, struct call);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32); /* number of the system call */
	__type(value, struct total);
} totals SEC(".maps");

const volatile __u32 only_pid = 0; /* 0: all */
const volatile __s32 only_error = 0; /* positive: calls that failed so; 0: all calls */

SEC("tp/raw_syscalls/sys_enter")
int enter(struct trace_event_raw_sys_enter *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct call call = { .start = bpf_ktime_get_ns(), .number = ctx->id };

	if (!only_pid || only_pid == current_pid())
		bpf_map_update_elem(&calls, &tid, &call, BPF_ANY);
	return 0;
}

SEC("tp/raw_syscalls/sys_exit")
int leave(struct trace_event_raw_sys_exit *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid(), number;
	struct total fresh = {}, *total;
	struct call *call;
	long result;
	__u64 passed;

	call = bpf_map_lookup_elem(&calls, &tid);
	if (!call)
		return 0;
	result = ctx->ret;
	number = call->number;
	passed = bpf_ktime_get_ns() - call->start;
	bpf_map_delete_elem(&calls, &tid);
	if (only_error && result != -only_error)
		return 0;
	total = bpf_map_lookup_elem(&totals, &number);
	if (!total) {
		bpf_map_update_elem(&totals, &number, &fresh, BPF_NOEXIST);
		total = bpf_map_lookup_elem(&totals, &number);
		if (!total)
			return 0;
	}
	total->count++;
	total->failed += result < 0 && result >= -4095;
	total->nanoseconds += passed;
	if (passed > total->longest)
		total->longest = passed;
	return 0;
}
