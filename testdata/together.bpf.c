// SPDX-License-Identifier: MIT
/* Everything that touches modules in one object: functions of two modules that programs call (the lookups of connection
 * tracking, from traffic control and from XDP), a per-CPU variable of a module, fentry and fexit on a module's function,
 * types of modules by CO-RE, struct_ops of the kernel and of a module.
 *
 * Needs the modules nf_conntrack and testdata/kmod (Linux 6.1). Trigger: BPF_PROG_TEST_RUN of `insert`, then of `find_xdp`
 * or `find_tc`; echo 21 > /proc/ebpfpy_demo; a connection with the congestion control "ebpfpy_all".
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

#define IPPROTO_UDP 17

struct nf_conn {
	unsigned long status;
} KERNEL_TYPE;

/* A name of the kernel's own: a connection that is not inserted yet. A mere declaration would not do: what the object says
 * of functions is compared with what the kernel says, and there it is a structure.
 */
struct nf_conn___init {
	unsigned long status;
};

/* The first 12 bytes, which all kernels take. */
struct bpf_ct_opts {
	int netns_id;
	int error;
	__u8 l4proto;
	__u8 dir;
	__u8 reserved[2];
};

extern struct nf_conn___init *bpf_skb_ct_alloc(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size,
					       struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern struct nf_conn *bpf_skb_ct_lookup(struct __sk_buff *skb, struct bpf_sock_tuple *tuple, __u32 size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern struct nf_conn *bpf_xdp_ct_lookup(struct xdp_md *xdp, struct bpf_sock_tuple *tuple, __u32 size,
					 struct bpf_ct_opts *opts, __u32 opts_size) __ksym;
extern void bpf_ct_set_timeout(struct nf_conn___init *connection, __u32 milliseconds) __ksym;
extern struct nf_conn *bpf_ct_insert_entry(struct nf_conn___init *connection) __ksym;
extern void bpf_ct_release(struct nf_conn *connection) __ksym;
extern __u64 ebpfpy_demo_kfunc_add(__u64 a, __u64 b) __ksym;
extern const int ebpfpy_demo_writes __ksym;

const volatile __u32 source = 0, destination = 0; /* network order */
const volatile __u16 source_port = 0, port = 0;   /* network order */

int error_before, error_after, writes = -1;
__u64 status, inserted, poked, returned, magic, windows, sum;

#define TUPLE_AND_OPTIONS()                                                                                    \
	struct bpf_sock_tuple tuple = {                                                                        \
		.ipv4 = { .saddr = source, .daddr = destination, .sport = source_port, .dport = port },        \
	};                                                                                                     \
	struct bpf_ct_opts opts = { .netns_id = BPF_F_CURRENT_NETNS, .l4proto = IPPROTO_UDP }

/* Returns 0 when the connection was not there and is now. */
SEC("tc")
int insert(struct __sk_buff *skb)
{
	struct nf_conn___init *fresh;
	struct nf_conn *connection;
	TUPLE_AND_OPTIONS();

	sum = ebpfpy_demo_kfunc_add(skb->len, 42);
	connection = bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
	if (connection) {
		bpf_ct_release(connection);
		return 1;
	}
	error_before = opts.error;
	opts.error = 0;
	fresh = bpf_skb_ct_alloc(skb, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
	if (!fresh)
		return 2;
	bpf_ct_set_timeout(fresh, 60000);
	connection = bpf_ct_insert_entry(fresh);
	if (!connection)
		return 3;
	bpf_ct_release(connection);
	return 0;
}

/* Returns 42 when the connection is there. */
SEC("tc")
int find_tc(struct __sk_buff *skb)
{
	struct nf_conn *connection;
	TUPLE_AND_OPTIONS();

	connection = bpf_skb_ct_lookup(skb, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
	error_after = opts.error;
	if (!connection)
		return 0;
	status = connection->status;
	bpf_ct_release(connection);
	return 42;
}

SEC("xdp")
int find_xdp(struct xdp_md *xdp)
{
	struct nf_conn *connection;
	TUPLE_AND_OPTIONS();

	connection = bpf_xdp_ct_lookup(xdp, &tuple, sizeof(tuple.ipv4), &opts, sizeof(opts));
	error_after = opts.error;
	if (!connection)
		return XDP_DROP;
	status = connection->status;
	bpf_ct_release(connection);
	return XDP_PASS;
}

SEC("fentry/nf_conntrack:nf_conntrack_hash_check_insert")
int BPF_PROG(on_insert, struct nf_conn *connection)
{
	__sync_fetch_and_add(&inserted, 1);
	return 0;
}

struct ebpfpy_demo_state {
	__u64 magic;
} KERNEL_TYPE;

SEC("fexit/ebpfpy_demo_poke")
int BPF_PROG(on_poke, struct ebpfpy_demo_state *target, int value, int result)
{
	const int *mine = bpf_this_cpu_ptr(&ebpfpy_demo_writes);

	poked = value;
	returned = result;
	magic = target->magic;
	writes = *mine;
	return 0;
}

struct sock {
} KERNEL_TYPE;

struct tcp_sock {
	__u32 snd_cwnd;
} KERNEL_TYPE;

struct tcp_congestion_ops {
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	char name[16];
};

SEC("struct_ops")
__u32 BPF_PROG(window, struct sock *sk)
{
	__u32 now = ((struct tcp_sock *)sk)->snd_cwnd;

	__sync_fetch_and_add(&windows, 1);
	return now > 2 ? now : 2;
}

SEC("struct_ops")
void BPF_PROG(avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	__sync_fetch_and_add(&windows, 1);
}

SEC("struct_ops")
__u32 BPF_PROG(undo, struct sock *sk)
{
	return ((struct tcp_sock *)sk)->snd_cwnd;
}

SEC(".struct_ops")
struct tcp_congestion_ops congestion = {
	.ssthresh = (void *)window,
	.cong_avoid = (void *)avoid,
	.undo_cwnd = (void *)undo,
	.name = "ebpfpy_all",
};

struct ebpfpy_demo_scale {
	int factor, divisor;
};

struct ebpfpy_demo_ops {
	int (*transform)(int value);
	struct {
		struct ebpfpy_demo_scale scale;
	} tuning;
};

SEC("struct_ops")
int BPF_PROG(transform, int value)
{
	return value + 1000;
}

SEC("?.struct_ops.link")
struct ebpfpy_demo_ops of_the_module = {
	.transform = (void *)transform,
	.tuning = { .scale = { .factor = 2, .divisor = 1 } },
};
