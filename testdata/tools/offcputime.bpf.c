// SPDX-License-Identifier: MIT
/* Where in the kernel and in user space threads stop running, and how long they stay off the processor there.
 *
 * Shows: a map of stack traces, a key with two stacks, a task's state as a filter, kconfig externs. Trigger: sleeping.
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

#define MAX_DEPTH 127

extern unsigned int CONFIG_HZ __kconfig;

struct key {
	__u32 pid;
	__u32 tid;
	__s32 kernel_stack; /* ids in `stacks`; negative: none */
	__s32 user_stack;
};

struct value {
	__u64 nanoseconds;
	__u64 times;
	__u64 ticks; /* nanoseconds in the kernel's own unit */
	char comm[TASK_COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_STACK_TRACE);
	__uint(max_entries, 1024);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, MAX_DEPTH * sizeof(__u64));
} stacks SEC(".maps");

struct left {
	__u64 when;
	struct key key;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32); /* thread */
	__type(value, struct left);
} off SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct key);
	__type(value, struct value);
} times SEC(".maps");

const volatile __u32 only_pid = 0; /* 0: all */
const volatile _Bool with_user_stacks = 1;
const volatile __u64 at_least = 1000; /* nanoseconds */
const volatile long state_mask = -1;  /* bits of task states; -1: all */

SEC("tp_btf/sched_switch")
int BPF_PROG(change, _Bool preempted, struct task_struct *previous, struct task_struct *next)
{
	__u32 tid = previous->pid;
	struct value fresh = {}, *value;
	struct left left = {}, *then;
	long state = task_state(previous);
	__u64 passed;

	if (tid && (!only_pid || only_pid == previous->tgid) && (state_mask == -1 || state & state_mask)) {
		left.when = bpf_ktime_get_ns();
		left.key.pid = previous->tgid;
		left.key.tid = tid;
		left.key.kernel_stack = bpf_get_stackid(ctx, &stacks, 0);
		left.key.user_stack = with_user_stacks ? bpf_get_stackid(ctx, &stacks, BPF_F_USER_STACK) : -1;
		bpf_map_update_elem(&off, &tid, &left, BPF_ANY);
	}

	tid = next->pid;
	then = bpf_map_lookup_elem(&off, &tid);
	if (!then)
		return 0;
	passed = bpf_ktime_get_ns() - then->when;
	if (passed >= at_least) {
		value = bpf_map_lookup_elem(&times, &then->key);
		if (!value) {
			BPF_CORE_READ_STR_INTO(&fresh.comm, next, comm);
			bpf_map_update_elem(&times, &then->key, &fresh, BPF_NOEXIST);
			value = bpf_map_lookup_elem(&times, &then->key);
		}
		if (value) {
			value->nanoseconds += passed;
			value->times++;
			value->ticks = value->nanoseconds / (1000000000 / CONFIG_HZ);
		}
	}
	bpf_map_delete_elem(&off, &tid);
	return 0;
}
