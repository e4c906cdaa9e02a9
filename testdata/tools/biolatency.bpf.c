// SPDX-License-Identifier: MIT
/* How long block devices take for a request: histograms by device and by operation.
 *
 * Shows: typed tracepoints whose first parameter went away in Linux 5.11 (the user looks, and says so in a constant), a
 * member that moved to another structure, histograms in a hash map. Trigger: reading from or writing to a block device.
 */
#include "block.h"

char LICENSE[] SEC("license") = "GPL";

#define OPERATION 0xff

struct key {
	__u32 device;
	__u32 operation; /* 0: read, 1: write; of enum req_op */
};

static const struct histogram empty;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 10240);
	__type(key, struct request *);
	__type(value, __u64);
} starts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, struct key);
	__type(value, struct histogram);
} histograms SEC(".maps");

const volatile __u32 only_device = 0;         /* 0: all */
const volatile _Bool in_milliseconds = 0;     /* else microseconds */
const volatile _Bool request_comes_second = 0; /* of the tracepoint's parameters */

SEC("tp_btf/block_rq_issue")
int issue(__u64 *ctx)
{
	struct request *request = request_comes_second ? (void *)ctx[1] : (void *)ctx[0];
	__u64 now = bpf_ktime_get_ns();

	if (only_device && only_device != device_of(request))
		return 0;
	bpf_map_update_elem(&starts, &request, &now, BPF_ANY);
	return 0;
}

SEC("tp_btf/block_rq_complete")
int BPF_PROG(complete, struct request *request, int error, unsigned int bytes)
{
	struct histogram *histogram;
	struct key key = {};
	__u64 *start;
	__s64 passed;

	start = bpf_map_lookup_elem(&starts, &request);
	if (!start)
		return 0;
	passed = bpf_ktime_get_ns() - *start;
	if (passed < 0)
		goto out;
	key.device = device_of(request);
	key.operation = BPF_CORE_READ(request, cmd_flags) & OPERATION;
	histogram = bpf_map_lookup_elem(&histograms, &key);
	if (!histogram) {
		bpf_map_update_elem(&histograms, &key, &empty, BPF_NOEXIST);
		histogram = bpf_map_lookup_elem(&histograms, &key);
		if (!histogram)
			goto out;
	}
	record(histogram, passed / (in_milliseconds ? 1000000 : 1000));
out:
	bpf_map_delete_elem(&starts, &request);
	return 0;
}
