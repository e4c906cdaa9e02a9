// SPDX-License-Identifier: MIT
/* Which files are opened, by whom, and with what result.
 *
 * Shows: two tracepoints of system calls joined by a hash map, their records through CO-RE, a perf buffer, constants as
 * configuration. Trigger: openat(2).
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

#define PATH_LEN 256

struct event {
	__u64 nanoseconds; /* that the call took */
	__u32 pid;
	__u32 tid;
	__u32 uid;
	__s32 result; /* descriptor, or the error as a negative number */
	__s32 flags;
	char comm[TASK_COMM_LEN];
	char path[PATH_LEN];
};

struct event *unused_event __attribute__((unused));

struct call {
	__u64 start;
	const char *path;
	__s32 flags;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, __u32); /* thread */
	__type(value, struct call);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

const volatile __u32 only_pid = 0;          /* 0: all */
const volatile __u32 only_uid = (__u32)-1;  /* -1: all */
const volatile _Bool only_failed = 0;

SEC("tp/syscalls/sys_enter_openat")
int enter(struct trace_event_raw_sys_enter *ctx)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct call call = {};

	if (only_pid && only_pid != current_pid())
		return 0;
	if (only_uid != (__u32)-1 && only_uid != (__u32)bpf_get_current_uid_gid())
		return 0;
	call.start = bpf_ktime_get_ns();
	call.path = (const char *)ctx->args[1];
	call.flags = ctx->args[2];
	bpf_map_update_elem(&calls, &tid, &call, BPF_ANY);
	return 0;
}

SEC("tp/syscalls/sys_exit_openat")
int leave(struct trace_event_raw_sys_exit *ctx)
{
	__u64 id = bpf_get_current_pid_tgid();
	__u32 tid = id;
	struct event event = {};
	struct call *call;

	call = bpf_map_lookup_elem(&calls, &tid);
	if (!call)
		return 0;
	event.result = ctx->ret;
	if (!only_failed || event.result < 0) {
		event.nanoseconds = bpf_ktime_get_ns() - call->start;
		event.pid = id >> 32;
		event.tid = tid;
		event.uid = bpf_get_current_uid_gid();
		event.flags = call->flags;
		bpf_get_current_comm(event.comm, sizeof(event.comm));
		bpf_probe_read_user_str(event.path, sizeof(event.path), call->path);
		bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	}
	bpf_map_delete_elem(&calls, &tid);
	return 0;
}
