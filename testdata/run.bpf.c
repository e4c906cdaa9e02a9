// SPDX-License-Identifier: MIT
/* Programs that are run by hand: what goes in and what comes out; and callbacks of timers.
 *
 * Trigger: BPF_PROG_TEST_RUN.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

struct arguments {
	__u64 left;
	__u64 right;
	__u64 sum;
};

SEC("syscall")
int add(struct arguments *ctx)
{
	ctx->sum = ctx->left + ctx->right;
	return 3;
}

/* Swaps the two addresses of an Ethernet header. */
SEC("xdp")
int swap(struct xdp_md *ctx)
{
	__u8 *data = (void *)(long)ctx->data, *end = (void *)(long)ctx->data_end;

	if (data + 14 > end)
		return XDP_ABORTED;
	for (int i = 0; i < 6; i++) {
		__u8 byte = data[i];

		data[i] = data[6 + i];
		data[6 + i] = byte;
	}
	return XDP_TX;
}

SEC("tc")
int mark(struct __sk_buff *skb)
{
	skb->cb[0] = skb->mark + 1;
	return skb->len;
}

__u64 sleepable_seen, cpu_seen;

SEC("raw_tp/task_rename")
int on_cpu(void *ctx)
{
	cpu_seen = bpf_get_smp_processor_id() + 1;
	return 0;
}

struct element {
	struct bpf_timer timer;
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct element);
} timers SEC(".maps");

__u64 fired;

static int on_timer(void *map, __u32 *key, struct element *value)
{
	__sync_fetch_and_add(&fired, 1);
	return 0;
}

SEC("?tc")
int start_timer(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct element *element = bpf_map_lookup_elem(&timers, &zero);

	if (!element)
		return 1;
	bpf_timer_init(&element->timer, &timers, 1 /* CLOCK_MONOTONIC */);
	bpf_timer_set_callback(&element->timer, on_timer);
	return bpf_timer_start(&element->timer, 0, 0);
}
