// SPDX-License-Identifier: MIT
/* Connections that the firewall tracks, as they are confirmed: protocol, addresses, ports; and how many are let go.
 *
 * Shows: functions and types of a module (nf_conntrack): fentry and fexit by "MODULE:FUNCTION", a pointer with flags in its
 * low bits, unions and structures in structures. Trigger: a packet of a new connection, where connections are tracked.
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

#define NF_ACCEPT 1
#define POINTER_MASK (~7UL) /* enum ip_conntrack_info is in the low bits */

struct sk_buff {
	unsigned long _nfct;
} KERNEL_TYPE;

union nf_inet_addr {
	__u32 ip;
} KERNEL_TYPE;

union nf_conntrack_man_proto {
	__u16 all;
} KERNEL_TYPE;

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union nf_conntrack_man_proto u;
	__u16 l3num;
} KERNEL_TYPE;

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__u16 all;
		} u;
		__u8 protonum;
	} dst;
} KERNEL_TYPE;

struct nf_conntrack_tuple_hash {
	struct nf_conntrack_tuple tuple;
} KERNEL_TYPE;

struct nf_conn {
	struct nf_conntrack_tuple_hash tuplehash[2];
	unsigned long status;
} KERNEL_TYPE;

struct event {
	__u32 source; /* IPv4, in network order */
	__u32 destination;
	__u16 source_port; /* in host order */
	__u16 port;
	__u16 family;
	__u8 protocol;
	__u64 status;
};

struct event *unused_event __attribute__((unused));

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

const volatile __u16 only_port = 0; /* of the destination; 0: all */
__u64 attempts, confirmed;

SEC("fentry/nf_conntrack:__nf_conntrack_confirm")
int BPF_PROG(attempt, struct sk_buff *skb)
{
	__sync_fetch_and_add(&attempts, 1);
	return 0;
}

SEC("fexit/nf_conntrack:__nf_conntrack_confirm")
int BPF_PROG(confirm, struct sk_buff *skb, int result)
{
	struct nf_conn *connection = (void *)(skb->_nfct & POINTER_MASK);
	__u16 port;
	struct event *event;

	if (result != NF_ACCEPT || !connection)
		return 0;
	__sync_fetch_and_add(&confirmed, 1);
	port = __builtin_bswap16(BPF_CORE_READ(connection, tuplehash[0].tuple.dst.u.all));
	if (only_port && only_port != port)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->source = BPF_CORE_READ(connection, tuplehash[0].tuple.src.u3.ip);
	event->destination = BPF_CORE_READ(connection, tuplehash[0].tuple.dst.u3.ip);
	event->source_port = __builtin_bswap16(BPF_CORE_READ(connection, tuplehash[0].tuple.src.u.all));
	event->port = port;
	event->family = BPF_CORE_READ(connection, tuplehash[0].tuple.src.l3num);
	event->protocol = BPF_CORE_READ(connection, tuplehash[0].tuple.dst.protonum);
	event->status = BPF_CORE_READ(connection, status);
	bpf_ringbuf_submit(event, 0);
	return 0;
}
