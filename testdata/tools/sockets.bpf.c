// SPDX-License-Identifier: MIT
/* Lists the sockets of TCP: state, addresses, ports, owner.
 *
 * Shows: an iterator that writes text, with libbpf's BPF_SEQ_PRINTF; members of sockets through CO-RE. Trigger: reading it.
 */
#include "../probe.h"
#include <bpf/bpf_endian.h>

char LICENSE[] SEC("license") = "GPL";

struct sock_common {
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	__u16 skc_dport; /* network order */
	__u16 skc_num;   /* our port */
	unsigned short skc_family;
	volatile unsigned char skc_state;
} KERNEL_TYPE;

struct seq_file;

struct bpf_iter_meta {
	struct seq_file *seq;
	__u64 seq_num;
} KERNEL_TYPE;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
	unsigned int uid;
} KERNEL_TYPE;

const volatile __u16 only_port = 0; /* either port; 0: all */

SEC("iter/tcp")
int list(struct bpf_iter__tcp *ctx)
{
	struct seq_file *seq = ctx->meta->seq;
	struct sock_common *sk = ctx->sk_common;
	__u16 port;

	if (!sk || sk->skc_family != 2)
		return 0;
	port = bpf_ntohs(sk->skc_dport);
	if (only_port && sk->skc_num != only_port && port != only_port)
		return 0;
	BPF_SEQ_PRINTF(seq, "%u %pI4:%u %pI4:%u %u\n", sk->skc_state, &sk->skc_rcv_saddr, sk->skc_num, &sk->skc_daddr,
		       port, ctx->uid);
	return 0;
}
