// SPDX-License-Identifier: MIT
/* How long programs wait for the address of a host name.
 *
 * Shows: uprobe and uretprobe on a function of the C library, a string of user space, a map between the two, a ring
 * buffer. Trigger: getaddrinfo(3).
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

#define HOST_LEN 80

struct event {
	__u64 nanoseconds;
	__u32 pid;
	__s32 result;
	char comm[TASK_COMM_LEN];
	char host[HOST_LEN];
};

struct event *unused_event __attribute__((unused));

struct question {
	__u64 start;
	char host[HOST_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u32); /* thread */
	__type(value, struct question);
} questions SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

const volatile __u32 only_pid = 0; /* 0: all */

SEC("uprobe/libc.so.6:getaddrinfo")
int BPF_KPROBE(ask, const char *host)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct question question = {};

	if (!host || (only_pid && only_pid != current_pid()))
		return 0;
	question.start = bpf_ktime_get_ns();
	bpf_probe_read_user_str(question.host, sizeof(question.host), host);
	bpf_map_update_elem(&questions, &tid, &question, BPF_ANY);
	return 0;
}

SEC("uretprobe/libc.so.6:getaddrinfo")
int BPF_KRETPROBE(answer, int result)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct question *question = bpf_map_lookup_elem(&questions, &tid);
	struct event *event;

	if (!question)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (event) {
		event->nanoseconds = bpf_ktime_get_ns() - question->start;
		event->pid = current_pid();
		event->result = result;
		bpf_get_current_comm(event->comm, sizeof(event->comm));
		__builtin_memcpy(event->host, question->host, sizeof(event->host));
		bpf_ringbuf_submit(event, 0);
	}
	bpf_map_delete_elem(&questions, &tid);
	return 0;
}
