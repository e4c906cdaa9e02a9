// SPDX-License-Identifier: MIT
/* struct_ops: a congestion control of TCP, small and harmless: the window never grows beyond what Reno would allow.
 *
 * Shows: .struct_ops (registered by filling the map) and .struct_ops.link (by a link, Linux 6.4), a member that no
 * kernel has (zero: it is left out), values and functions by name of the member, one program in two maps.
 * Trigger: setsockopt(TCP_CONGESTION, "ebpfpy_cc") and a connection.
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

struct sock {
} KERNEL_TYPE;

struct tcp_sock {
	__u32 snd_cwnd;
	__u32 snd_ssthresh;
} KERNEL_TYPE;

struct rate_sample;
struct ack_sample;
union tcp_cc_info;

/* In another order than the kernel's, and with fewer members: they are found by name. */
struct tcp_congestion_ops {
	char name[16];
	__u32 (*ssthresh)(struct sock *sk);
	void (*cong_avoid)(struct sock *sk, __u32 ack, __u32 acked);
	__u32 (*undo_cwnd)(struct sock *sk);
	void (*init)(struct sock *sk);
	void (*release)(struct sock *sk);
	__u64 ebpfpy_no_such_member;
	__u32 flags;
};

__u64 inits, releases, avoids;

SEC("struct_ops")
void BPF_PROG(cc_init, struct sock *sk)
{
	__sync_fetch_and_add(&inits, 1);
}

SEC("struct_ops/cc_release")
void BPF_PROG(cc_release, struct sock *sk)
{
	__sync_fetch_and_add(&releases, 1);
}

SEC("struct_ops")
__u32 BPF_PROG(cc_ssthresh, struct sock *sk)
{
	__u32 window = ((struct tcp_sock *)sk)->snd_cwnd >> 1;

	return window > 2 ? window : 2;
}

SEC("struct_ops")
void BPF_PROG(cc_avoid, struct sock *sk, __u32 ack, __u32 acked)
{
	__sync_fetch_and_add(&avoids, 1);
}

SEC("struct_ops")
__u32 BPF_PROG(cc_undo, struct sock *sk)
{
	return ((struct tcp_sock *)sk)->snd_cwnd;
}

SEC(".struct_ops")
struct tcp_congestion_ops by_map = {
	.init = (void *)cc_init,
	.release = (void *)cc_release,
	.ssthresh = (void *)cc_ssthresh,
	.cong_avoid = (void *)cc_avoid,
	.undo_cwnd = (void *)cc_undo,
	.name = "ebpfpy_cc",
};

SEC("?.struct_ops.link")
struct tcp_congestion_ops by_link = {
	.init = (void *)cc_init,
	.ssthresh = (void *)cc_ssthresh,
	.cong_avoid = (void *)cc_avoid,
	.undo_cwnd = (void *)cc_undo,
	.name = "ebpfpy_cc_link",
};
