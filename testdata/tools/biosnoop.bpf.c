// SPDX-License-Identifier: MIT
/* Every input and output of block devices: which process asked, where on the disk, how much, how long it took.
 *
 * Shows: tracepoints whose records have other names and places in other kernels: the type is chosen by
 * bpf_core_type_exists, and its members are read as memory, since clang would join the accesses of both branches to one
 * that the verifier refuses. Trigger: reading from or writing to a block device.
 */
#include "block.h"

char LICENSE[] SEC("license") = "GPL";

/* Since Linux 5.11 these records are shared by several tracepoints and named after what they share. */
struct trace_event_raw_block_bio {
	unsigned int dev;
	unsigned long sector;
	unsigned int nr_sector;
	char rwbs[8];
} KERNEL_TYPE;

struct trace_event_raw_block_bio_queue {
	unsigned int dev;
	unsigned long sector;
	unsigned int nr_sector;
	char rwbs[8];
} KERNEL_TYPE;

struct trace_event_raw_block_rq_completion {
	unsigned int dev;
	unsigned long sector;
	int error;
} KERNEL_TYPE;

struct trace_event_raw_block_rq_complete {
	unsigned int dev;
	unsigned long sector;
	int error;
} KERNEL_TYPE;

struct event {
	__u64 sector;
	__u64 nanoseconds;
	__u32 device;
	__u32 sectors;
	__u32 pid;
	__s32 error;
	char comm[TASK_COMM_LEN];
	char operation[8]; /* "R": read, "W": write, and letters for how */
};

struct event *unused_event __attribute__((unused));

struct place {
	__u64 sector;
	__u32 device;
	__u32 unused;
};

struct request_info {
	__u64 start;
	__u32 sectors;
	__u32 pid;
	char comm[TASK_COMM_LEN];
	char operation[8];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct place);
	__type(value, struct request_info);
} pending SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERF_EVENT_ARRAY);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, sizeof(__u32));
} events SEC(".maps");

const volatile __u32 only_device = 0; /* 0: all */

SEC("tp/block/block_bio_queue")
int queue(struct trace_event_raw_block_bio *ctx)
{
	struct trace_event_raw_block_bio_queue *old = (void *)ctx;
	struct request_info info = {};
	struct place place = {};

	if (bpf_core_type_exists(struct trace_event_raw_block_bio)) {
		place.device = BPF_CORE_READ(ctx, dev);
		place.sector = BPF_CORE_READ(ctx, sector);
		info.sectors = BPF_CORE_READ(ctx, nr_sector);
		bpf_core_read(info.operation, sizeof(info.operation), &ctx->rwbs);
	} else {
		place.device = BPF_CORE_READ(old, dev);
		place.sector = BPF_CORE_READ(old, sector);
		info.sectors = BPF_CORE_READ(old, nr_sector);
		bpf_core_read(info.operation, sizeof(info.operation), &old->rwbs);
	}
	if (only_device && only_device != place.device)
		return 0;
	info.start = bpf_ktime_get_ns();
	info.pid = current_pid();
	bpf_get_current_comm(info.comm, sizeof(info.comm));
	bpf_map_update_elem(&pending, &place, &info, BPF_ANY);
	return 0;
}

SEC("tp/block/block_rq_complete")
int complete(struct trace_event_raw_block_rq_completion *ctx)
{
	struct trace_event_raw_block_rq_complete *old = (void *)ctx;
	struct request_info *info;
	struct place place = {};
	struct event event = {};

	if (bpf_core_type_exists(struct trace_event_raw_block_rq_completion)) {
		place.device = BPF_CORE_READ(ctx, dev);
		place.sector = BPF_CORE_READ(ctx, sector);
		event.error = BPF_CORE_READ(ctx, error);
	} else {
		place.device = BPF_CORE_READ(old, dev);
		place.sector = BPF_CORE_READ(old, sector);
		event.error = BPF_CORE_READ(old, error);
	}
	info = bpf_map_lookup_elem(&pending, &place);
	if (!info)
		return 0;
	event.nanoseconds = bpf_ktime_get_ns() - info->start;
	event.sector = place.sector;
	event.device = place.device;
	event.sectors = info->sectors;
	event.pid = info->pid;
	__builtin_memcpy(event.comm, info->comm, sizeof(event.comm));
	__builtin_memcpy(event.operation, info->operation, sizeof(event.operation));
	bpf_perf_event_output(ctx, &events, BPF_F_CURRENT_CPU, &event, sizeof(event));
	bpf_map_delete_elem(&pending, &place);
	return 0;
}
