// SPDX-License-Identifier: MIT
/* Which processes end, when, and why: exit status or signal.
 *
 * Shows: a tracepoint whose own record is not used (it changed: 7.x), the current task through CO-RE, a ring buffer.
 * Trigger: the end of a process.
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

struct task_struct___ending {
	int exit_code;
	struct task_struct___ending *group_leader;
	struct task_struct___ending *real_parent;
	int tgid;
	__u64 start_time;
} KERNEL_TYPE;

struct event {
	__u64 start_time; /* nanoseconds since boot */
	__u64 exit_time;
	__u32 pid;
	__u32 tid;
	__u32 ppid;
	__s32 status; /* what exit(2) was given */
	__u32 signal; /* 0: none */
	char comm[TASK_COMM_LEN];
};

struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

const volatile __u32 only_ppid = 0; /* 0: all */
const volatile _Bool with_threads = 0;
const volatile _Bool only_failed = 0;

SEC("tp/sched/sched_process_exit")
int leave(void *ctx)
{
	struct task_struct___ending *task = (void *)bpf_get_current_task();
	__u64 id = bpf_get_current_pid_tgid();
	__u32 pid = id >> 32, tid = id, ppid = BPF_CORE_READ(task, real_parent, tgid);
	int code = BPF_CORE_READ(task, exit_code);
	struct event *event;

	if (!with_threads && pid != tid)
		return 0;
	if (only_ppid && only_ppid != ppid)
		return 0;
	if (only_failed && !code)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->start_time = BPF_CORE_READ(task, group_leader, start_time);
	event->exit_time = bpf_ktime_get_ns();
	event->pid = pid;
	event->tid = tid;
	event->ppid = ppid;
	event->status = code >> 8 & 0xff;
	event->signal = code & 0x7f;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpf_ringbuf_submit(event, 0);
	return 0;
}
