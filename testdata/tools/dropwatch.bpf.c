// SPDX-License-Identifier: MIT
/* Which packets the network stack throws away, where, and why.
 *
 * Shows: a member of a record that older kernels lack (the reason, Linux 5.17), the value of an enumerator as the running
 * kernel has it, a global variable that says what the kernel can tell. Trigger: a datagram that nobody waits for.
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

/* The numbers are the kernel's, and differ between kernels. */
enum skb_drop_reason {
	SKB_DROP_REASON_NO_SOCKET = 1,
};

struct trace_event_raw_kfree_skb {
	void *location;
	unsigned short protocol;
	enum skb_drop_reason reason;
} KERNEL_TYPE;

struct event {
	__u64 location; /* address in the kernel */
	__u32 reason;   /* 0: the kernel does not say */
	__u16 protocol; /* of Ethernet */
	_Bool no_socket;
};

struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

const volatile __u16 only_protocol = 0; /* 0: all */
_Bool knows_reasons;

SEC("tp/skb/kfree_skb")
int drop(struct trace_event_raw_kfree_skb *ctx)
{
	struct event *event;

	if (only_protocol && only_protocol != ctx->protocol)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->location = (__u64)ctx->location;
	event->protocol = ctx->protocol;
	if (bpf_core_field_exists(ctx->reason)) {
		knows_reasons = 1;
		event->reason = ctx->reason;
		if (bpf_core_enum_value_exists(enum skb_drop_reason, SKB_DROP_REASON_NO_SOCKET))
			event->no_socket =
				event->reason == bpf_core_enum_value(enum skb_drop_reason, SKB_DROP_REASON_NO_SOCKET);
	}
	bpf_ringbuf_submit(event, 0);
	return 0;
}
