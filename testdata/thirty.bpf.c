// SPDX-License-Identifier: MIT
/* Thirty programs of many types, as a large tool has them: for timing a load, beside libbpf's (bench/).
 *
 * Shows: XDP, tc, sockets, cgroups, kprobes, tracepoints, raw tracepoints and perf events in one object; maps of
 * several types, constants, counters, static and global subprograms; CO-RE relocations in the tracing programs.
 * thirty_plain.bpf.o is the same without CO-RE, and reads kernel memory at places that mean nothing.
 * Trigger: loaded only. Nothing in it needs more than Linux 5.10.
 */
#include <linux/ptrace.h>
#include <linux/bpf_perf_event.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include <bpf/bpf_tracing.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#ifdef PLAIN
#define KERNEL_TYPE
#define READ BPF_PROBE_READ
#else
#define KERNEL_TYPE __attribute__((preserve_access_index))
#define READ BPF_CORE_READ
#endif

#define TASK_COMM_LEN 16

char LICENSE[] SEC("license") = "GPL";

struct mm_struct {
	unsigned long total_vm;
} KERNEL_TYPE;

struct task_struct {
	int pid;
	int tgid;
	struct task_struct *real_parent;
	struct mm_struct *mm;
	char comm[TASK_COMM_LEN];
} KERNEL_TYPE;

struct qstr {
	const unsigned char *name;
} KERNEL_TYPE;

struct dentry {
	struct qstr d_name;
	struct dentry *d_parent;
} KERNEL_TYPE;

struct path {
	struct dentry *dentry;
} KERNEL_TYPE;

struct inode {
	unsigned long i_ino;
	unsigned short i_mode;
} KERNEL_TYPE;

struct file {
	struct path f_path;
	struct inode *f_inode;
	unsigned int f_flags;
} KERNEL_TYPE;

struct sock_common {
	unsigned short skc_family;
	unsigned short skc_dport;
	unsigned short skc_num;
	unsigned int skc_daddr;
	unsigned int skc_rcv_saddr;
} KERNEL_TYPE;

struct sock {
	struct sock_common __sk_common;
	int sk_sndbuf;
	int sk_rcvbuf;
} KERNEL_TYPE;

struct sk_buff {
	unsigned int len;
	unsigned int data_len;
	unsigned short protocol;
	struct sock *sk;
} KERNEL_TYPE;

enum { PACKETS, BYTES, DROPPED, COUNTERS };

struct flow {
	__u32 source;
	__u32 destination;
	__u16 source_port;
	__u16 destination_port;
	__u8 protocol;
	__u8 unused[3];
};

struct traffic {
	__u64 packets;
	__u64 bytes;
	__u64 last;
};

struct event {
	__u64 when;
	__u32 pid;
	__u32 parent;
	__u32 kind;
	__u32 number;
	__u64 value;
	char comm[TASK_COMM_LEN];
	char name[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 16);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1024);
	__type(key, struct flow);
	__type(value, struct traffic);
} flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, COUNTERS);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} started SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);
	__type(value, __u32);
} blocked SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u64);
} histogram SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 64);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

const volatile __u32 wanted_pid;
const volatile __u32 largest_packet = 1 << 16;
const volatile _Bool counts_bytes = 1;
__u64 seen;
__u64 dropped;
__u32 sample_every = 1;

static __noinline void count(__u32 which, __u64 amount)
{
	__u64 *value = bpf_map_lookup_elem(&counters, &which);

	if (value)
		*value += amount;
}

static __noinline int bucket_of(__u64 value)
{
	int bucket = 0;

	for (int bit = 32; bit; bit >>= 1)
		if (value >> bit) {
			value >>= bit;
			bucket += bit;
		}
	return bucket;
}

/* Global: the verifier looks at it once, whoever calls it. */
__noinline int record_time(__u32 key, __u64 now)
{
	__u64 *start = bpf_map_lookup_elem(&started, &key);
	__u32 bucket;
	__u64 *slot;

	if (!start)
		return -1;
	bucket = bucket_of(now - *start) & 63;
	slot = bpf_map_lookup_elem(&histogram, &bucket);
	if (slot)
		__sync_fetch_and_add(slot, 1);
	bpf_map_delete_elem(&started, &key);
	return 0;
}

static __always_inline int parse(void *data, void *end, struct flow *flow)
{
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return -1;
	flow->source = ip->saddr;
	flow->destination = ip->daddr;
	flow->protocol = ip->protocol;
	if (ip->protocol == IPPROTO_TCP) {
		struct tcphdr *tcp = (void *)(ip + 1);

		if ((void *)(tcp + 1) > end)
			return -1;
		flow->source_port = tcp->source;
		flow->destination_port = tcp->dest;
	} else if (ip->protocol == IPPROTO_UDP) {
		struct udphdr *udp = (void *)(ip + 1);

		if ((void *)(udp + 1) > end)
			return -1;
		flow->source_port = udp->source;
		flow->destination_port = udp->dest;
	}
	return 0;
}

static __noinline int account(struct flow *flow, __u64 bytes)
{
	struct traffic *known;

	if (!flow)
		return -1;
	known = bpf_map_lookup_elem(&flows, flow);
	if (known) {
		known->packets++;
		known->bytes += bytes;
		known->last = bpf_ktime_get_ns();
	} else {
		struct traffic fresh = { 1, bytes, bpf_ktime_get_ns() };

		bpf_map_update_elem(&flows, flow, &fresh, BPF_ANY);
	}
	return 0;
}

static __always_inline struct event *begin(__u32 kind)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	__u32 pid = bpf_get_current_pid_tgid() >> 32;
	struct event *event;

	if (wanted_pid && pid != wanted_pid)
		return 0;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (!event)
		return 0;
	event->when = bpf_ktime_get_ns();
	event->pid = pid;
	event->parent = READ(task, real_parent, tgid);
	event->kind = kind;
	event->number = 0;
	event->value = 0;
	event->name[0] = 0;
	bpf_get_current_comm(event->comm, sizeof(event->comm));
	return event;
}

/* --- packets ------------------------------------------------------------------------------------- */

SEC("xdp") int xdp_count(struct xdp_md *ctx)
{
	count(PACKETS, 1);
	count(BYTES, ctx->data_end - ctx->data);
	return XDP_PASS;
}

SEC("xdp") int xdp_block(struct xdp_md *ctx)
{
	struct flow flow = {};

	if (parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, &flow))
		return XDP_PASS;
	if (bpf_map_lookup_elem(&blocked, &flow.source)) {
		__sync_fetch_and_add(&dropped, 1);
		return XDP_DROP;
	}
	return XDP_PASS;
}

SEC("xdp") int xdp_flows(struct xdp_md *ctx)
{
	struct flow flow = {};

	if (!parse((void *)(long)ctx->data, (void *)(long)ctx->data_end, &flow))
		account(&flow, ctx->data_end - ctx->data);
	return XDP_PASS;
}

SEC("xdp") int xdp_reflect(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;
	unsigned char other[ETH_ALEN];

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	__builtin_memcpy(other, eth->h_dest, ETH_ALEN);
	__builtin_memcpy(eth->h_dest, eth->h_source, ETH_ALEN);
	__builtin_memcpy(eth->h_source, other, ETH_ALEN);
	return XDP_TX;
}

SEC("tc") int tc_in(struct __sk_buff *skb)
{
	struct flow flow = {};

	if (!parse((void *)(long)skb->data, (void *)(long)skb->data_end, &flow))
		account(&flow, skb->len);
	return TC_ACT_OK;
}

SEC("tc") int tc_out(struct __sk_buff *skb)
{
	struct flow flow = {};

	if (parse((void *)(long)skb->data, (void *)(long)skb->data_end, &flow))
		return TC_ACT_OK;
	return bpf_map_lookup_elem(&blocked, &flow.destination) ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("tc") int tc_mark(struct __sk_buff *skb)
{
	skb->mark = skb->len > largest_packet ? 2 : 1;
	return TC_ACT_UNSPEC;
}

SEC("tc") int tc_sample(struct __sk_buff *skb)
{
	struct event *event;

	if (sample_every && bpf_get_prandom_u32() % sample_every)
		return TC_ACT_OK;
	event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);
	if (event) {
		__builtin_memset(event, 0, sizeof(*event));
		event->value = skb->len;
		bpf_ringbuf_submit(event, 0);
	}
	return TC_ACT_OK;
}

SEC("action") int action_police(struct __sk_buff *skb)
{
	count(skb->len > largest_packet ? DROPPED : PACKETS, 1);
	return skb->len > largest_packet ? TC_ACT_SHOT : TC_ACT_OK;
}

SEC("lwt_xmit") int lwt_seen(struct __sk_buff *skb)
{
	count(BYTES, skb->len);
	return BPF_OK;
}

/* --- sockets and cgroups ------------------------------------------------------------------------- */

SEC("socket") int socket_udp(struct __sk_buff *skb)
{
	__u8 protocol = 0;

	bpf_skb_load_bytes(skb, ETH_HLEN + __builtin_offsetof(struct iphdr, protocol), &protocol, 1);
	return protocol == IPPROTO_UDP ? skb->len : 0;
}

SEC("socket") int socket_count(struct __sk_buff *skb)
{
	count(PACKETS, 1);
	__sync_fetch_and_add(&seen, 1);
	return 0;
}

SEC("cgroup_skb/ingress") int cgroup_in(struct __sk_buff *skb)
{
	if (counts_bytes)
		count(BYTES, skb->len);
	return 1;
}

SEC("cgroup_skb/egress") int cgroup_out(struct __sk_buff *skb)
{
	__u32 remote = skb->remote_ip4;

	return !bpf_map_lookup_elem(&blocked, &remote);
}

SEC("cgroup/sock_create") int cgroup_sock(struct bpf_sock *sock)
{
	return sock->family != 17 || sock->type != 3;
}

SEC("cgroup/dev") int cgroup_device(struct bpf_cgroup_dev_ctx *ctx)
{
	return ctx->major != 1 || ctx->minor != 1;
}

SEC("sockops") int sock_ops(struct bpf_sock_ops *ops)
{
	__u32 key = ops->local_port;

	if (ops->op == BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB)
		bpf_sock_hash_update(ops, &sockets, &key, BPF_ANY);
	return 1;
}

SEC("sk_msg") int message(struct sk_msg_md *msg)
{
	__u32 key = msg->remote_port;

	return bpf_msg_redirect_hash(msg, &sockets, &key, BPF_F_INGRESS);
}

SEC("sk_skb/stream_parser") int stream_parser(struct __sk_buff *skb)
{
	return skb->len;
}

SEC("sk_skb/stream_verdict") int stream_verdict(struct __sk_buff *skb)
{
	__u32 key = skb->local_port;

	return bpf_sk_redirect_hash(skb, &sockets, &key, 0);
}

/* --- tracing ------------------------------------------------------------------------------------- */

SEC("kprobe/vfs_open") int BPF_KPROBE(opened, struct path *path)
{
	struct event *event = begin(1);

	if (!event)
		return 0;
	bpf_probe_read_kernel_str(event->name, sizeof(event->name), READ(path, dentry, d_name.name));
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("kprobe/vfs_read") int BPF_KPROBE(read_begins, struct file *file)
{
	__u32 key = bpf_get_current_pid_tgid();
	__u64 now = bpf_ktime_get_ns();

	if ((READ(file, f_inode, i_mode) & 0170000) == 0100000)
		bpf_map_update_elem(&started, &key, &now, BPF_ANY);
	return 0;
}

SEC("kretprobe/vfs_read") int BPF_KRETPROBE(read_ends, long result)
{
	record_time(bpf_get_current_pid_tgid(), bpf_ktime_get_ns());
	return 0;
}

SEC("kprobe/vfs_unlink") int BPF_KPROBE(unlinked, void *idmap, struct inode *directory, struct dentry *dentry)
{
	struct event *event = begin(2);

	if (!event)
		return 0;
	event->value = READ(directory, i_ino);
	bpf_probe_read_kernel_str(event->name, sizeof(event->name), READ(dentry, d_name.name));
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("kprobe/tcp_connect") int BPF_KPROBE(connecting, struct sock *sk)
{
	struct event *event = begin(3);
	struct flow flow = {};

	if (!event)
		return 0;
	flow.source = READ(sk, __sk_common.skc_rcv_saddr);
	flow.destination = READ(sk, __sk_common.skc_daddr);
	flow.destination_port = READ(sk, __sk_common.skc_dport);
	flow.source_port = READ(sk, __sk_common.skc_num);
	flow.protocol = IPPROTO_TCP;
	event->number = flow.destination_port;
	event->value = flow.destination;
	account(&flow, 0);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("raw_tp/sched_switch") int switched(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *before = (void *)ctx->args[1], *after = (void *)ctx->args[2];
	__u32 pid = READ(before, pid);
	__u64 now = bpf_ktime_get_ns();

	if (pid)
		bpf_map_update_elem(&started, &pid, &now, BPF_ANY);
	return record_time(READ(after, pid), now) * 0;
}

SEC("raw_tp/sched_process_exec") int executed(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)ctx->args[0];
	struct event *event = begin(4);

	if (!event)
		return 0;
	event->value = READ(task, mm, total_vm);
	bpf_probe_read_kernel_str(event->name, TASK_COMM_LEN, &task->comm);
	bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("raw_tp/net_dev_queue") int queued(struct bpf_raw_tracepoint_args *ctx)
{
	struct sk_buff *skb = (void *)ctx->args[0];
	struct sock *sk = READ(skb, sk);

	count(BYTES, READ(skb, len));
	if (sk && READ(sk, sk_sndbuf) < (int)READ(skb, data_len))
		count(DROPPED, 1);
	return 0;
}

SEC("tp/syscalls/sys_enter_openat") int entered(void *ctx)
{
	struct event *event = begin(5);

	if (event)
		bpf_ringbuf_submit(event, 0);
	return 0;
}

SEC("perf_event") int sampled(struct bpf_perf_event_data *ctx)
{
	__u32 bucket = bucket_of(ctx->sample_period) & 63;
	__u64 *slot = bpf_map_lookup_elem(&histogram, &bucket);

	if (slot)
		__sync_fetch_and_add(slot, 1);
	return 0;
}
