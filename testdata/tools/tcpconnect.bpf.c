// SPDX-License-Identifier: MIT
/* Which process connects to where, over TCP.
 *
 * Shows: one tool for kernels with and without fexit, of which the user loads one half ("?": nothing by itself); sockets
 * through CO-RE, addresses of both families; a list of ports in constants; a hash map of counts and a ring buffer.
 * Trigger: connect(2).
 */
#include "tool.h"

char LICENSE[] SEC("license") = "GPL";

#define AF_INET 2
#define AF_INET6 10
#define MAX_PORTS 16

struct in6 {
	__u8 bytes[16];
};

struct sock_common {
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_dport; /* network order */
	__u16 skc_num;   /* our port */
	struct in6 skc_v6_daddr;
	struct in6 skc_v6_rcv_saddr;
} KERNEL_TYPE;

struct sock {
	struct sock_common __sk_common;
} KERNEL_TYPE;

struct event {
	__u64 time;
	__u32 pid;
	__u32 uid;
	__u16 family;
	__u16 source_port;
	__u16 port;
	__s16 result;
	__u8 source[16];
	__u8 destination[16]; /* IPv4: the first 4 bytes */
	char comm[TASK_COMM_LEN];
};

struct event *unused_event __attribute__((unused));

struct flow {
	__u8 destination[16];
	__u16 port;
	__u16 family;
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32); /* thread */
	__type(value, struct sock *);
} sockets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct flow);
	__type(value, __u64);
} counts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 64 * 1024);
} events SEC(".maps");

const volatile __u32 only_pid = 0; /* 0: all */
const volatile __u16 ports[MAX_PORTS] = {};
const volatile __u32 ports_used = 0; /* 0: all ports */
const volatile _Bool count_only = 0;

static __always_inline int wanted(__u16 port)
{
	if (only_pid && only_pid != current_pid())
		return 0;
	if (!ports_used)
		return 1;
	for (int i = 0; i < MAX_PORTS && i < ports_used; i++)
		if (ports[i] == port)
			return 1;
	return 0;
}

static __always_inline int report(struct sock *sk, __u16 family, int result)
{
	__u16 port = __builtin_bswap16(BPF_CORE_READ(sk, __sk_common.skc_dport));
	struct flow flow = { .port = port, .family = family };
	struct event *event;
	__u64 one = 1, *count;

	if (!wanted(port))
		return 0;
	if (family == AF_INET)
		BPF_CORE_READ_INTO((__u32 *)flow.destination, sk, __sk_common.skc_daddr);
	else
		BPF_CORE_READ_INTO((struct in6 *)flow.destination, sk, __sk_common.skc_v6_daddr);
	count = bpf_map_lookup_elem(&counts, &flow);
	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&counts, &flow, &one, BPF_NOEXIST);
	if (count_only)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->pid = current_pid();
	event->uid = bpf_get_current_uid_gid();
	event->family = family;
	event->source_port = BPF_CORE_READ(sk, __sk_common.skc_num);
	event->port = port;
	event->result = result;
	if (family == AF_INET)
		BPF_CORE_READ_INTO((__u32 *)event->source, sk, __sk_common.skc_rcv_saddr);
	else
		BPF_CORE_READ_INTO((struct in6 *)event->source, sk, __sk_common.skc_v6_rcv_saddr);
	__builtin_memcpy(event->destination, flow.destination, sizeof(event->destination));
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("?fexit/tcp_v4_connect")
int BPF_PROG(fexit_v4, struct sock *sk, void *address, int length, int result)
{
	return report(sk, AF_INET, result);
}

SEC("?fexit/tcp_v6_connect")
int BPF_PROG(fexit_v6, struct sock *sk, void *address, int length, int result)
{
	return report(sk, AF_INET6, result);
}

static __always_inline int remember(struct sock *sk)
{
	__u32 tid = bpf_get_current_pid_tgid();

	bpf_map_update_elem(&sockets, &tid, &sk, BPF_ANY);
	return 0;
}

static __always_inline int recall(__u16 family, int result)
{
	__u32 tid = bpf_get_current_pid_tgid();
	struct sock **sk = bpf_map_lookup_elem(&sockets, &tid);

	if (!sk)
		return 0;
	report(*sk, family, result);
	bpf_map_delete_elem(&sockets, &tid);
	return 0;
}

SEC("?kprobe/tcp_v4_connect")
int BPF_KPROBE(enter_v4, struct sock *sk)
{
	return remember(sk);
}

SEC("?kretprobe/tcp_v4_connect")
int BPF_KRETPROBE(leave_v4, int result)
{
	return recall(AF_INET, result);
}

SEC("?kprobe/tcp_v6_connect")
int BPF_KPROBE(enter_v6, struct sock *sk)
{
	return remember(sk);
}

SEC("?kretprobe/tcp_v6_connect")
int BPF_KRETPROBE(leave_v6, int result)
{
	return recall(AF_INET6, result);
}
