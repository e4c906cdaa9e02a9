/* SPDX-License-Identifier: MIT
 *
 * What several tools share: records of tracepoints, the state of a task under both its names, histograms.
 */
#ifndef EBPFPY_TESTDATA_TOOL_H
#define EBPFPY_TESTDATA_TOOL_H

#include "../probe.h"
#include <asm/ptrace.h> /* the registers that a kprobe sees */

struct trace_event_raw_sys_enter {
	long id;
	unsigned long args[6];
} KERNEL_TYPE;

struct trace_event_raw_sys_exit {
	long id;
	long ret;
} KERNEL_TYPE;

#define TASK_RUNNING 0

/* Before Linux 5.14 the member was `long state`. */
struct task_struct___before_5_14 {
	volatile long state;
} KERNEL_TYPE;

struct task_struct___since_5_14 {
	unsigned int __state;
} KERNEL_TYPE;

static __always_inline long task_state(void *task)
{
	struct task_struct___since_5_14 *renamed = task;
	struct task_struct___before_5_14 *old = task;

	if (bpf_core_field_exists(renamed->__state))
		return BPF_CORE_READ(renamed, __state);
	return BPF_CORE_READ(old, state);
}

#define SLOTS 32 /* a power of two */

/* slots[n] counts values from 2^n to 2^(n+1) - 1; the first 0 as well, the last everything above. */
struct histogram {
	__u32 slots[SLOTS];
};

static __always_inline __u32 log2_of(__u64 value)
{
	__u32 found = 0;

	for (int step = 32; step; step >>= 1) {
		if (value >> step) {
			value >>= step;
			found += step;
		}
	}
	return found;
}

static __always_inline void record(struct histogram *histogram, __u64 value)
{
	__u32 slot = log2_of(value);

	if (slot >= SLOTS)
		slot = SLOTS - 1;
	barrier_var(slot); /* the compiler knows, the verifier of older kernels has forgotten */
	slot &= SLOTS - 1;
	__sync_fetch_and_add(&histogram->slots[slot], 1);
}

#endif
