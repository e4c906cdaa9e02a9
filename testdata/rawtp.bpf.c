// SPDX-License-Identifier: MIT
/* Counts system calls and context switches by process; needs no BTF of the kernel.
 *
 * Shows: raw tracepoints, a hash map that user space reads, a per-CPU array.
 * Trigger: any system call (`calls`, by process id); any context switch (`switches`).
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32);
	__type(value, __u64);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} switches SEC(".maps");

SEC("raw_tp/sys_enter")
int count_calls(void *ctx)
{
	__u32 pid = current_pid();
	__u64 one = 1, *count = bpf_map_lookup_elem(&calls, &pid);

	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&calls, &pid, &one, BPF_ANY);
	return 0;
}

SEC("raw_tracepoint/sched_switch")
int count_switches(void *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&switches, &zero);

	if (count)
		*count += 1;
	return 0;
}
