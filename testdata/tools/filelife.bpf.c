// SPDX-License-Identifier: MIT
/* Files that live for a short time: how old they were when they were deleted, who made them, who deleted them.
 *
 * Shows: kprobes on functions of which two have kept their parameters in all kernels (security hooks), a map keyed by a
 * pointer, a name behind two pointers, a per-CPU array as room for an event, a perf buffer. Trigger: making and deleting
 * a file.
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

#define NAME_LEN 64

struct qstr {
	const unsigned char *name;
} KERNEL_TYPE;

struct dentry {
	struct qstr d_name;
} KERNEL_TYPE;

struct event {
	__u64 nanoseconds; /* that the file lived */
	__u32 creator;     /* processes */
	__u32 pid;
	char comm[TASK_COMM_LEN];
	char creator_comm[TASK_COMM_LEN];
	char name[NAME_LEN];
};

struct event *unused_event __attribute__((unused));

struct birth {
	__u64 when;
	__u32 pid;
	char comm[TASK_COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct dentry *);
	__type(value, struct birth);
} births SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct event);
} room SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

const volatile __u32 only_pid = 0; /* of the creator; 0: all */

SEC("kprobe/security_inode_create")
int BPF_KPROBE(create, void *directory, struct dentry *dentry)
{
	struct birth birth = { .when = bpf_ktime_get_ns(), .pid = current_pid() };

	if (only_pid && only_pid != birth.pid)
		return 0;
	bpf_get_current_comm(birth.comm, sizeof(birth.comm));
	bpf_map_update_elem(&births, &dentry, &birth, BPF_ANY);
	return 0;
}

SEC("kprobe/security_inode_unlink")
int BPF_KPROBE(delete, void *directory, struct dentry *dentry)
{
	struct birth *birth = bpf_map_lookup_elem(&births, &dentry);
	struct event *event;
	__u32 zero = 0;

	if (!birth)
		return 0;
	event = bpf_map_lookup_elem(&room, &zero);
	if (event) {
		event->nanoseconds = bpf_ktime_get_ns() - birth->when;
		event->creator = birth->pid;
		event->pid = current_pid();
		bpf_get_current_comm(event->comm, sizeof(event->comm));
		__builtin_memcpy(event->creator_comm, birth->comm, sizeof(event->creator_comm));
		__builtin_memset(event->name, 0, sizeof(event->name));
		bpf_probe_read_kernel_str(event->name, sizeof(event->name), BPF_CORE_READ(dentry, d_name.name));
		bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, event, sizeof(*event));
	}
	bpf_map_delete_elem(&births, &dentry);
	return 0;
}
