// SPDX-License-Identifier: MIT
/* How often each kind of soft interrupt is served, and how long that takes.
 *
 * Shows: typed tracepoints with a number as argument, a per-CPU array, counters and histograms in global arrays, a
 * configuration in constants. Trigger: network packets, timers.
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

enum vector {
	HI,
	TIMER,
	NET_TX,
	NET_RX,
	BLOCK,
	IRQ_POLL,
	TASKLET,
	SCHED,
	HRTIMER,
	RCU,
	VECTORS,
};

enum vector unused_vector;

#define ROOM 16 /* for all vectors: older kernels' verifiers keep a bound in mind that is a power of two */

__u64 counts[ROOM];
__u64 nanoseconds[ROOM];
struct histogram histograms[ROOM]; /* of microseconds */

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} starts SEC(".maps");

const volatile _Bool with_histograms = 0;

SEC("tp_btf/softirq_entry")
int BPF_PROG(entry, unsigned int vector)
{
	__u64 now = bpf_ktime_get_ns();
	__u32 zero = 0;

	bpf_map_update_elem(&starts, &zero, &now, BPF_ANY);
	return 0;
}

SEC("tp_btf/softirq_exit")
int BPF_PROG(leave, unsigned int vector)
{
	__u64 *start, passed;
	__u32 zero = 0;

	if (vector >= VECTORS)
		return 0;
	start = bpf_map_lookup_elem(&starts, &zero);
	if (!start || !*start)
		return 0;
	passed = bpf_ktime_get_ns() - *start;
	__sync_fetch_and_add(&counts[vector], 1);
	__sync_fetch_and_add(&nanoseconds[vector], passed);
	if (with_histograms)
		record(&histograms[vector], passed / 1000);
	return 0;
}
