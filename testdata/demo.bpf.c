// SPDX-License-Identifier: MIT
/* The object of `make demo`: one event for every program that is executed.
 *
 * Shows: CO-RE chains through pointers (task->real_parent->tgid, task->mm->total_vm), a string behind a
 * tracepoint's argument, a ring buffer, a hash map, a constant that the loader sets (only_pid) and a counter in
 * .bss. Trigger: execute any program, for example /bin/true.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "Dual MIT/GPL";

#define FILENAME_LEN 64

struct linux_binprm {
	const char *filename;
} KERNEL_TYPE;

struct event {
	__u64 time;       /* nanoseconds since boot */
	__u64 start_time; /* nanoseconds since boot: when the process was forked */
	__u64 total_vm;   /* pages */
	__u32 pid;
	__u32 ppid;
	char comm[TASK_COMM_LEN];
	char filename[FILENAME_LEN];
};

/* Keeps the declaration of struct event in BTF. */
struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 256 * 1024);
} events SEC(".maps");

/* Executions by parent process. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} by_parent SEC(".maps");

/* Only this process is reported; 0: all. */
const volatile __u32 only_pid = 0;
/* Only children of this process are reported; 0: all. */
const volatile __u32 only_ppid = 0;

__u64 seen;    /* executions */
__u64 dropped; /* events for which the ring buffer had no room */

SEC("tp_btf/sched_process_exec")
int BPF_PROG(on_exec, struct task_struct *task, int old_pid, struct linux_binprm *binprm)
{
	__u32 pid = task->tgid;
	__u32 ppid = BPF_CORE_READ(task, real_parent, tgid);
	struct event *event;
	__u64 one = 1, *count;

	__sync_fetch_and_add(&seen, 1);
	if (only_pid && pid != only_pid)
		return 0;
	if (only_ppid && ppid != only_ppid)
		return 0;

	count = bpf_map_lookup_elem(&by_parent, &ppid);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&by_parent, &ppid, &one, BPF_ANY);

	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event) {
		__sync_fetch_and_add(&dropped, 1);
		return 0;
	}
	event->time = bpf_ktime_get_ns();
	event->start_time = task->start_time;
	event->total_vm = BPF_CORE_READ(task, mm, total_vm);
	event->pid = pid;
	event->ppid = ppid;
	__builtin_memset(event->comm, 0, sizeof(event->comm));
	__builtin_memset(event->filename, 0, sizeof(event->filename));
	BPF_CORE_READ_STR_INTO(&event->comm, task, comm);
	bpf_probe_read_kernel_str(event->filename, sizeof(event->filename), BPF_CORE_READ(binprm, filename));
	bpf_ringbuf_submit(event, 0);
	return 0;
}
