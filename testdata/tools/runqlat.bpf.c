// SPDX-License-Identifier: MIT
/* How long tasks wait for a processor, once they could run: a histogram for each process.
 *
 * Shows: typed tracepoints with tasks as arguments, a member that changed name and type (task_state), a member of a
 * structure that depends on the kernel's configuration, histograms in a map. Trigger: sleeping, and being woken.
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

struct waits {
	struct histogram microseconds;
	char comm[TASK_COMM_LEN];
};

static const struct waits empty;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32); /* thread */
	__type(value, __u64);
} starts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32); /* process */
	__type(value, struct waits);
} by_process SEC(".maps");

const volatile __u32 only_pid = 0; /* 0: all */

static __always_inline int ready(struct task_struct *task)
{
	__u64 now = bpf_ktime_get_ns();
	__u32 tid = task->pid;

	if (!tid || (only_pid && only_pid != task->tgid))
		return 0;
	bpf_map_update_elem(&starts, &tid, &now, BPF_ANY);
	return 0;
}

SEC("tp_btf/sched_wakeup")
int BPF_PROG(wakeup, struct task_struct *task)
{
	return ready(task);
}

SEC("tp_btf/sched_wakeup_new")
int BPF_PROG(wakeup_new, struct task_struct *task)
{
	return ready(task);
}

SEC("tp_btf/sched_switch")
int BPF_PROG(change, _Bool preempted, struct task_struct *previous, struct task_struct *next)
{
	__u32 tid = next->pid, pid = next->tgid;
	struct waits *waits;
	__u64 *start;

	if (task_state(previous) == TASK_RUNNING)
		ready(previous);
	start = bpf_map_lookup_elem(&starts, &tid);
	if (!start)
		return 0;
	waits = bpf_map_lookup_elem(&by_process, &pid);
	if (!waits) {
		bpf_map_update_elem(&by_process, &pid, &empty, BPF_NOEXIST);
		waits = bpf_map_lookup_elem(&by_process, &pid);
	}
	if (waits) {
		record(&waits->microseconds, (bpf_ktime_get_ns() - *start) / 1000);
		BPF_CORE_READ_STR_INTO(&waits->comm, next, comm);
	}
	bpf_map_delete_elem(&starts, &tid);
	return 0;
}
