// SPDX-License-Identifier: MIT
/* Counts how often each kind of hook for packets, sockets, cgroups and security ran.
 *
 * Shows: XDP, tc, tcx, netkit, cgroup hooks, socket filters, maps of sockets, sk_lookup, flow dissector, netfilter.
 * Trigger: what the section says; hooks for packets count those of `wanted_length` bytes only (0: any).
 */
#include "probe.h"

char LICENSE[] SEC("license") = "GPL";

const volatile __u32 wanted_length = 0;

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 64);
	__type(key, __u64);
	__type(value, __u64);
} runs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u32);
} sockets SEC(".maps");

/* Count a run under `key`. */
static __always_inline void count(__u64 key)
{
	__u64 one = 1, *seen = bpf_map_lookup_elem(&runs, &key);

	if (seen)
		__sync_fetch_and_add(seen, 1);
	else
		bpf_map_update_elem(&runs, &key, &one, BPF_ANY);
}

#define COUNTS(section, name, type, verdict)                                                                   \
	SEC(section) int name(type *ctx)                                                                       \
	{                                                                                                      \
		count(0);                                                                                      \
		return verdict;                                                                                \
	}

#define COUNTS_PACKETS(section, name, verdict, key)                                                            \
	SEC(section) int name(struct __sk_buff *skb)                                                           \
	{                                                                                                      \
		if (!wanted_length || skb->len == wanted_length)                                               \
			count(key);                                                                            \
		return verdict;                                                                                \
	}

static __always_inline void count_frame(struct xdp_md *ctx, __u64 key)
{
	if (!wanted_length || ctx->data_end - ctx->data == wanted_length)
		count(key);
}

SEC("?xdp") int on_xdp(struct xdp_md *ctx)
{
	count_frame(ctx, 0);
	return XDP_PASS;
}

SEC("?xdp") int on_xdp_too(struct xdp_md *ctx)
{
	count_frame(ctx, 1);
	return XDP_PASS;
}

SEC("?xdp.frags/devmap") int on_devmap(struct xdp_md *ctx)
{
	return XDP_PASS;
}

COUNTS_PACKETS("?tcx/ingress", on_tcx_ingress, -1 /* TCX_NEXT */, 0)
COUNTS_PACKETS("?tcx/egress", on_tcx_egress, -1, 0)
COUNTS_PACKETS("?tc", on_tc, 0 /* TC_ACT_OK */, 0)
COUNTS_PACKETS("?tc", on_tc_next, -1, 1)
COUNTS_PACKETS("?tc/ingress", on_tc_ingress, -1, 0)
COUNTS_PACKETS("?netkit/primary", on_netkit, -1, 0)
COUNTS_PACKETS("?netkit/peer", on_netkit_peer, -1, 0)
COUNTS_PACKETS("?cgroup_skb/egress", on_cgroup_egress, 1, 0)
COUNTS_PACKETS("?cgroup_skb/ingress", on_cgroup_ingress, 1, 0)
COUNTS_PACKETS("?cgroup/skb", on_cgroup_skb, 1, 0)
COUNTS_PACKETS("?socket", on_socket, -1, 0)
COUNTS_PACKETS("?sk_skb/stream_verdict", on_stream_verdict, SK_PASS, 0)
COUNTS_PACKETS("?sk_skb/verdict", on_verdict, SK_PASS, 0)

SEC("?sk_skb/stream_parser") int on_stream_parser(struct __sk_buff *skb)
{
	count(1);
	return skb->len;
}

COUNTS("?sk_msg", on_message, struct sk_msg_md, SK_PASS)
COUNTS("?cgroup/sock_create", on_sock_create, struct bpf_sock, 1)
COUNTS("?cgroup/connect4", on_connect4, struct bpf_sock_addr, 1)
COUNTS("?cgroup/sendmsg4", on_sendmsg4, struct bpf_sock_addr, 1)
COUNTS("?cgroup/setsockopt", on_setsockopt, struct bpf_sockopt, 1)
COUNTS("?cgroup/sysctl", on_sysctl, struct bpf_sysctl, 1)
COUNTS("?cgroup/dev", on_device, struct bpf_cgroup_dev_ctx, 1)
COUNTS("?sockops", on_sockops, struct bpf_sock_ops, 1)
COUNTS("?lsm_cgroup/socket_bind", on_bind, void, 1)
COUNTS("?lsm/socket_bind", on_any_bind, void, 0)
COUNTS("?sk_lookup", on_lookup, struct bpf_sk_lookup, SK_PASS)
COUNTS("?sk_reuseport", on_reuseport, struct sk_reuseport_md, SK_PASS)
COUNTS("?netfilter", on_netfilter, void, 1 /* NF_ACCEPT */)
COUNTS("?flow_dissector", on_flow, struct __sk_buff, 129 /* BPF_FLOW_DISSECTOR_CONTINUE */)
COUNTS("?fmod_ret/bpf_modify_return_test", on_modify_return, void, 0)
COUNTS("?lwt_xmit", on_route, struct __sk_buff, 0)
COUNTS("?syscall", on_call, void, 0)
