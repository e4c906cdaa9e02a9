// SPDX-License-Identifier: MIT
/* TCP connections from their begin to their end: by whom, between which ports, how long, how many bytes.
 *
 * Shows: a tracepoint's record with addresses, an LRU hash map with the kernel's pointer as a key, sums that the kernel
 * keeps in another structure than the socket's (tcp_sock), enumerators whose values are the kernel's. Trigger: a connection
 * that is closed.
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

#define IPPROTO_TCP 6

struct trace_event_raw_inet_sock_set_state {
	const void *skaddr;
	int oldstate;
	int newstate;
	__u16 sport;
	__u16 dport;
	__u16 family;
	__u16 protocol;
	__u8 saddr[4];
	__u8 daddr[4];
	__u8 saddr_v6[16];
	__u8 daddr_v6[16];
} KERNEL_TYPE;

struct tcp_sock {
	__u64 bytes_received;
	__u64 bytes_acked;
} KERNEL_TYPE;

enum tcp_state {
	ESTABLISHED = 1,
	SYN_SENT,
	SYN_RECV,
	FIN_WAIT1,
	FIN_WAIT2,
	TIME_WAIT,
	CLOSE,
	CLOSE_WAIT,
	LAST_ACK,
};

struct event {
	__u64 microseconds; /* from first to last state */
	__u64 sent;         /* bytes; the kernel counts SYN and FIN as bytes, too */
	__u64 received;
	__u32 pid;
	__u16 source_port;
	__u16 port;
	__u16 family;
	__u8 source[16];
	__u8 destination[16]; /* IPv4: the first 4 bytes */
	char comm[TASK_COMM_LEN];
};

struct event *unused_event __attribute__((unused));

struct owner {
	__u64 birth;
	__u32 pid;
	char comm[TASK_COMM_LEN];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 10240);
	__type(key, const void *);
	__type(value, struct owner);
} connections SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

const volatile __u16 only_port = 0; /* either port; 0: all */

SEC("tp/sock/inet_sock_set_state")
int change(struct trace_event_raw_inet_sock_set_state *ctx)
{
	const void *sk = ctx->skaddr;
	int state = ctx->newstate;
	struct owner fresh = {}, *owner;
	struct event *event;

	if (ctx->protocol != IPPROTO_TCP)
		return 0;
	if (only_port && ctx->sport != only_port && ctx->dport != only_port)
		return 0;

	owner = bpf_map_lookup_elem(&connections, &sk);
	if (!owner && state < FIN_WAIT1) {
		fresh.birth = bpf_ktime_get_ns();
		bpf_map_update_elem(&connections, &sk, &fresh, BPF_ANY);
		owner = bpf_map_lookup_elem(&connections, &sk);
	}
	if (!owner)
		return 0;
	if (state == SYN_SENT || state == LAST_ACK || (state == FIN_WAIT1 && !owner->pid)) {
		owner->pid = current_pid(); /* in other states the current process may be any */
		bpf_get_current_comm(owner->comm, sizeof(owner->comm));
	}
	if (state != CLOSE)
		return 0;

	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (event) {
		__builtin_memset(event, 0, sizeof(*event));
		event->microseconds = (bpf_ktime_get_ns() - owner->birth) / 1000;
		event->sent = BPF_CORE_READ((struct tcp_sock *)sk, bytes_acked);
		event->received = BPF_CORE_READ((struct tcp_sock *)sk, bytes_received);
		event->pid = owner->pid;
		event->source_port = ctx->sport;
		event->port = ctx->dport;
		event->family = ctx->family;
		if (event->family == 2) {
			bpf_core_read(event->source, 4, &ctx->saddr);
			bpf_core_read(event->destination, 4, &ctx->daddr);
		} else {
			bpf_core_read(event->source, 16, &ctx->saddr_v6);
			bpf_core_read(event->destination, 16, &ctx->daddr_v6);
		}
		__builtin_memcpy(event->comm, owner->comm, sizeof(event->comm));
		bpf_ringbuf_submit(event, 0);
	}
	bpf_map_delete_elem(&connections, &sk);
	return 0;
}
