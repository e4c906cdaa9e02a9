// SPDX-License-Identifier: MIT
/* Which process binds a socket to which port and listens there, with which options.
 *
 * Shows: kprobe and kretprobe on one function, bit-fields through CO-RE, and options that were bit-fields until Linux 6.5
 * and are bits of a number since (bpf_core_field_exists, flavours). Trigger: bind(2), listen(2).
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

#define INET_FLAGS_FREEBIND 11
#define INET_FLAGS_TRANSPARENT 15
#define INET_FLAGS_BIND_ADDRESS_NO_PORT 18

struct sock_common {
	__u32 skc_rcv_saddr;
	__u16 skc_num;
	unsigned char skc_reuse : 4;
	unsigned char skc_reuseport : 1;
	int skc_bound_dev_if;
} KERNEL_TYPE;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	unsigned int sk_max_ack_backlog;
} KERNEL_TYPE;

struct socket {
	struct sock *sk;
} KERNEL_TYPE;

struct inet_sock___bits {
	__u8 freebind : 1;
	__u8 transparent : 1;
	__u8 bind_address_no_port : 1;
} KERNEL_TYPE;

struct inet_sock___number {
	unsigned long inet_flags;
} KERNEL_TYPE;

union options {
	__u8 all;
	struct {
		__u8 freebind : 1;
		__u8 transparent : 1;
		__u8 bind_address_no_port : 1;
		__u8 reuseaddress : 1;
		__u8 reuseport : 1;
	};
};

struct event {
	__u64 time;
	__u32 pid;
	__u32 address; /* IPv4, in network order */
	__s32 result;
	__s32 interface;
	__u32 backlog; /* of listen(2); 0 for bind(2) */
	__u16 port;
	__u16 protocol;
	union options options;
	char comm[TASK_COMM_LEN];
};

struct event *unused_event __attribute__((unused));

struct call {
	struct socket *socket;
	__u32 backlog;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32); /* thread */
	__type(value, struct call);
} calls SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

const volatile __u32 only_pid = 0; /* 0: all */
const volatile _Bool without_errors = 0;

static __always_inline int enter(struct socket *socket, __u32 backlog)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct call call = { .socket = socket, .backlog = backlog };

	if (!only_pid || only_pid == current_pid())
		bpf_map_update_elem(&calls, &tid, &call, BPF_ANY);
	return 0;
}

static __always_inline union options options_of(struct sock *sk)
{
	struct inet_sock___number *number = (void *)sk;
	struct inet_sock___bits *bits = (void *)sk;
	union options options = {};
	unsigned long flags;

	if (bpf_core_field_exists(number->inet_flags)) {
		flags = BPF_CORE_READ(number, inet_flags);
		options.freebind = flags >> INET_FLAGS_FREEBIND & 1;
		options.transparent = flags >> INET_FLAGS_TRANSPARENT & 1;
		options.bind_address_no_port = flags >> INET_FLAGS_BIND_ADDRESS_NO_PORT & 1;
	} else {
		options.freebind = BPF_CORE_READ_BITFIELD_PROBED(bits, freebind);
		options.transparent = BPF_CORE_READ_BITFIELD_PROBED(bits, transparent);
		options.bind_address_no_port = BPF_CORE_READ_BITFIELD_PROBED(bits, bind_address_no_port);
	}
	options.reuseaddress = BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_reuse);
	options.reuseport = BPF_CORE_READ_BITFIELD_PROBED(sk, __sk_common.skc_reuseport);
	return options;
}

static __always_inline int leave(int result)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct socket *socket;
	struct event *event;
	struct call *call;
	struct sock *sk;

	call = bpf_map_lookup_elem(&calls, &tid);
	if (!call)
		return 0;
	if (without_errors && result)
		goto out;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		goto out;
	__builtin_memset(event, 0, sizeof(*event));
	socket = call->socket;
	sk = BPF_CORE_READ(socket, sk);
	event->time = bpf_ktime_get_ns();
	event->pid = current_pid();
	event->address = BPF_CORE_READ(sk, __sk_common.skc_rcv_saddr);
	event->result = result;
	event->interface = BPF_CORE_READ(sk, __sk_common.skc_bound_dev_if);
	event->backlog = call->backlog;
	event->port = BPF_CORE_READ(sk, __sk_common.skc_num);
	event->protocol = BPF_CORE_READ(sk, sk_protocol);
	event->options = options_of(sk);
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpf_ringbuf_submit(event, 0);
out:
	bpf_map_delete_elem(&calls, &tid);
	return 0;
}

SEC("kprobe/inet_bind")
int BPF_KPROBE(bind_enter, struct socket *socket)
{
	return enter(socket, 0);
}

SEC("kretprobe/inet_bind")
int BPF_KRETPROBE(bind_leave, int result)
{
	return leave(result);
}

SEC("kprobe/inet_listen")
int BPF_KPROBE(listen_enter, struct socket *socket, int backlog)
{
	return enter(socket, backlog);
}

SEC("kretprobe/inet_listen")
int BPF_KRETPROBE(listen_leave, int result)
{
	return leave(result);
}
