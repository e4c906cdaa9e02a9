// SPDX-License-Identifier: MIT
/* Which programs are executed, with which arguments, by which parent; failed attempts, too.
 *
 * Shows: an event that grows in a map, since the stack is too small for it, and is sent through a perf buffer with as many
 * bytes as it has; a bounded loop over memory of user space; CO-RE through two pointers. Trigger: execve(2).
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

#define ARGUMENT_LEN 128
#define MAX_ARGUMENTS 20
#define ARGUMENTS_LEN 2048

struct event {
	__u32 pid;
	__u32 ppid;
	__u32 uid;
	__s32 result;
	__u32 count; /* arguments that were read */
	__u32 size;  /* bytes of `arguments` */
	char comm[TASK_COMM_LEN];
	char arguments[ARGUMENTS_LEN + ARGUMENT_LEN]; /* each with its zero behind it */
};

struct event *unused_event __attribute__((unused));

static const struct event empty;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32); /* thread */
	__type(value, struct event);
} attempts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

const volatile __u32 only_ppid = 0; /* 0: all */
const volatile __u32 max_arguments = MAX_ARGUMENTS;
const volatile _Bool with_failed = 0;

SEC("tp/syscalls/sys_enter_execve")
int enter(struct trace_event_raw_sys_enter *ctx)
{
	struct task_struct *task = (struct task_struct *)bpf_get_current_task();
	__u32 tid = bpf_get_current_pid_tgid(), ppid = BPF_CORE_READ(task, real_parent, tgid);
	const char *const *arguments = (const char *const *)ctx->args[1];
	struct event *event;
	const char *argument;
	__u32 size = 0;
	long length;

	if (only_ppid && only_ppid != ppid)
		return 0;
	if (bpf_map_update_elem(&attempts, &tid, &empty, BPF_NOEXIST))
		return 0;
	event = bpf_map_lookup_elem(&attempts, &tid);
	if (!event)
		return 0;
	event->pid = current_pid();
	event->ppid = ppid;
	event->uid = bpf_get_current_uid_gid();
	for (int i = 0; i < MAX_ARGUMENTS && i < max_arguments; i++) {
		argument = 0;
		bpf_probe_read_user(&argument, sizeof(argument), &arguments[i]);
		if (!argument || size >= ARGUMENTS_LEN)
			break;
		length = bpf_probe_read_user_str(&event->arguments[size & (ARGUMENTS_LEN - 1)], ARGUMENT_LEN, argument);
		if (length < 0)
			break;
		/* Many kernels say 0 of an empty string. A branch here would double the verifier's work at every turn. */
		size += length + ((length - 1) >> 63 & 1);
		event->count++;
	}
	event->size = size;
	return 0;
}

SEC("tp/syscalls/sys_exit_execve")
int leave(struct trace_event_raw_sys_exit *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct event *event;
	__u64 size;

	event = bpf_map_lookup_elem(&attempts, &tid);
	if (!event)
		return 0;
	event->result = ctx->ret;
	if (!event->result || with_failed) {
		bpf_get_current_comm(event->comm, sizeof(event->comm));
		size = __builtin_offsetof(struct event, arguments) + event->size;
		if (size <= sizeof(*event))
			bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, event, size);
	}
	bpf_map_delete_elem(&attempts, &tid);
	return 0;
}
